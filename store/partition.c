// SPDX-License-Identifier: MIT
#include "store/partition.h"

#include <event2/event_struct.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/gather.h"

enum {
    PATIENCE_US = 2000, // reads wait this long for one read statement before another joins it
};

enum direction {
    READS,
    WRITES,
    DIRECTIONS,
};

// A batch and the list it is in: free, or none while it runs.
struct lane {
    struct partition *partition;
    struct batch *batch;
    enum direction direction;
    int64_t since; // clock_us when it was sent
    struct list link;
};

struct partition {
    struct partition_options options;
    struct partition_events events;
    bool up;
    struct pool *pool;
    struct list queue[DIRECTIONS]; // of operations
    size_t queued[DIRECTIONS];
    struct list refused;  // operations that found the queue full
    struct list requests; // of partition_query
    bool page_turn;       // the next idle connection takes a request, if there is one
    struct list free;     // of lanes
    unsigned running[DIRECTIONS];
    int64_t hurry_until; // see store/batch.h
    struct gather gather[DIRECTIONS];
    int64_t put_off_us; // until what waits for company leaves without; 0: nothing waits
    struct event work;  // at the end of the loop's turn, or when something has waited long enough
    struct partition_stats stats;
    struct lane lane[]; // one a connection
};

static size_t all_queued(const struct partition *p)
{
    return p->queued[READS] + p->queued[WRITES];
}

// Work is put off to the end of the loop's turn, so that all requests that arrived in it share
// their statements, and no callback comes from inside a call.
static void want_work(struct partition *p)
{
    event_active(&p->work, EV_TIMEOUT, 0);
}

static void end_unavailable(struct partition *p, struct operation *operation)
{
    struct outcome outcome = {
        .error = ERROR_UNAVAILABLE, .partition = p->options.pool.partition->id, .retry_after = 1};
    operation->on_done(operation, &outcome);
}

// end_all ends what is in the list now; what its callbacks submit waits for the next turn.
static void end_all(struct partition *p, struct list *list)
{
    struct list now, *link;
    list_init(&now);
    list_splice(&now, list);
    while ((link = list_shift(&now)))
        end_unavailable(p, CONTAINER_OF(link, struct operation, link));
}

// ---------------------------------------------------------------- from the batches and the pool

static void on_batch_done(struct batch *batch, void *context)
{
    struct lane *lane = context;
    struct partition *p = lane->partition;
    (void)batch;
    gather_answered(&p->gather[lane->direction], clock_us() - lane->since);
    p->running[lane->direction]--;
    list_append(&p->free, &lane->link);
    want_work(p);
}

static void on_batch_again(struct operation *operation, void *context)
{
    struct lane *lane = context;
    list_prepend(&lane->partition->queue[lane->direction], &operation->link);
    lane->partition->queued[lane->direction]++;
    want_work(lane->partition);
}

static void on_pool_change(struct pool *pool, void *context)
{
    struct partition *p = context;
    counter_set(&p->stats.state, pool_state(pool));
    counter_set(&p->stats.open, pool_open(pool));
    counter_set(&p->stats.durable, pool_check(pool)->flush_at_commit == 1);
    bool up = pool_state(pool) == POOL_UP;
    if (up != p->up)
        p->events.on_up(p, up, p->events.context);
    if (!up)
        counter_set(&p->stats.known, 0);
    p->up = up;
    want_work(p);
}

static void on_pool_watch(struct pool *pool, struct connection *connection, int64_t sent_us,
                          void *context)
{
    struct partition *p = context;
    (void)pool;
    p->events.on_watch(p, connection, sent_us, p->events.context);
    counter_set(&p->stats.known, 1);
}

static void on_pool_clock(struct pool_clock *clock, bool floor, void *context)
{
    struct partition *p = context;
    p->events.clock(p, clock, floor, p->events.context);
}

// ---------------------------------------------------------------- work

// drop_late ends what has waited too long at the front of a queue.
static void drop_late(struct partition *p, enum direction direction)
{
    int64_t now = clock_ms();
    struct list *link;
    while ((link = list_first(&p->queue[direction]))) {
        struct operation *operation = CONTAINER_OF(link, struct operation, link);
        if (operation->deadline > now)
            return;
        list_remove(link);
        p->queued[direction]--;
        end_unavailable(p, operation);
    }
}

// read_wait_us returns for how many microseconds waiting reads should wait longer. While one read
// statement is under way the others are better off together in the next than alone in a second
// beside it; but not behind a slow one, nor when they already fill a statement.
static int64_t read_wait_us(struct partition *p)
{
    int64_t now = clock_us(), last = now - PATIENCE_US;
    if (p->queued[READS] >= p->options.batch)
        return 0;
    if (p->running[READS] == 0)
        return gather_wait_us(&p->gather[READS], p->queued[READS], now);
    for (unsigned i = 0; i < p->options.pool.connections; i++) {
        const struct lane *lane = &p->lane[i];
        bool reads = list_empty(&lane->link) && lane->direction == READS;
        if (reads && lane->since > last)
            last = lane->since;
    }
    return last + PATIENCE_US - now;
}

// put_off notes that something leaves in `wait` microseconds, or nothing waits (0).
static void put_off(struct partition *p, int64_t wait)
{
    if (wait > 0 && (p->put_off_us == 0 || wait < p->put_off_us))
        p->put_off_us = wait;
}

// may_write: the writers that are idle wait for company, like reads.
static bool may_write(struct partition *p)
{
    unsigned connections = p->options.pool.connections;
    unsigned writers = connections > 1 ? connections - 1 : 1;
    if (p->queued[WRITES] == 0 || p->running[WRITES] >= writers)
        return false;
    int64_t wait = 0;
    if (p->queued[WRITES] < p->options.batch)
        wait = gather_wait_us(&p->gather[WRITES], p->queued[WRITES], clock_us());
    put_off(p, wait);
    return wait <= 0;
}

static bool may_read(struct partition *p)
{
    int64_t wait = p->queued[READS] ? read_wait_us(p) : 0;
    put_off(p, wait);
    return p->queued[READS] && wait <= 0;
}

// next_direction chooses what the next idle connection does. Writes, which wait for the disk, come
// first but leave one connection to the reads, so that neither waits behind the other; with a
// single connection the two take turns.
static enum direction next_direction(struct partition *p)
{
    bool writes = may_write(p);
    if (writes && p->options.pool.connections == 1 && !list_empty(&p->queue[READS]))
        return p->lane[0].direction == READS ? WRITES : READS;
    if (writes)
        return WRITES;
    return may_read(p) ? READS : DIRECTIONS;
}

static bool run_one(struct partition *p)
{
    enum direction direction = next_direction(p);
    struct list *first = list_first(&p->free);
    if (direction == DIRECTIONS || !first)
        return false;
    struct lane *lane = CONTAINER_OF(first, struct lane, link);
    list_remove(first);
    lane->direction = direction;
    lane->since = clock_us();
    size_t count = batch_fill(lane->batch, &p->queue[direction]);
    p->queued[direction] -= count;
    gather_sent(&p->gather[direction], count);
    p->running[direction]++;
    histogram_add(direction == READS ? &p->stats.reads : &p->stats.writes, 1, count);
    batch_run(lane->batch, p->pool);
    return true;
}

// drop_late_requests is drop_late for the pages of listings.
static void drop_late_requests(struct partition *p)
{
    int64_t now = clock_ms();
    struct list *link;
    while ((link = list_first(&p->requests))) {
        struct partition_request *request = CONTAINER_OF(link, struct partition_request, link);
        if (request->deadline > now)
            return;
        list_remove(link);
        request->on_answer(NULL, NULL, request->context);
    }
}

static bool run_request(struct partition *p)
{
    struct list *first = list_shift(&p->requests);
    if (!first)
        return false;
    struct partition_request *request = CONTAINER_OF(first, struct partition_request, link);
    pool_query(p->pool, request->sql, request->on_answer, request->context);
    return true;
}

static void refuse_requests(struct partition *p)
{
    struct list now, *link;
    list_init(&now);
    list_splice(&now, &p->requests);
    while ((link = list_shift(&now))) {
        struct partition_request *request = CONTAINER_OF(link, struct partition_request, link);
        request->on_answer(NULL, NULL, request->context);
    }
}

// on_work sends what can be sent and ends what cannot.
static void on_work(evutil_socket_t fd, short what, void *context)
{
    struct partition *p = context;
    (void)fd;
    (void)what;
    end_all(p, &p->refused);
    if (pool_state(p->pool) == POOL_DOWN) {
        list_splice(&p->refused, &p->queue[READS]);
        list_splice(&p->refused, &p->queue[WRITES]);
        p->queued[READS] = p->queued[WRITES] = 0;
        end_all(p, &p->refused);
        refuse_requests(p);
    }
    drop_late(p, READS);
    drop_late(p, WRITES);
    drop_late_requests(p);
    p->put_off_us = 0;
    // Pages of listings and batches take turns, so that neither starves the other.
    bool ran = true;
    while (ran && pool_idle(p->pool)) {
        p->page_turn = !p->page_turn;
        ran = p->page_turn ? run_request(p) || run_one(p) : run_one(p) || run_request(p);
    }
    if (p->put_off_us) {
        const struct timeval tv = {0, (suseconds_t)p->put_off_us};
        evtimer_add(&p->work, &tv);
    }
    counter_set(&p->stats.queued, all_queued(p));
}

// ---------------------------------------------------------------- the interface

void partition_submit(struct partition *p, struct operation *operation)
{
    enum direction direction = operation_writes(operation) ? WRITES : READS;
    struct list *queue = &p->queue[direction];
    operation->deadline = clock_ms() + p->options.pool.timeout_ms;
    operation->resent = false;
    operation->alone = false;
    operation->doubtful = false;
    counter_add(&p->stats.operations, 1);
    counter_add(&p->stats.diverts, operation->session.divert != 0);
    counter_add(&p->stats.applied, operation->session.apply);
    if (all_queued(p) >= p->options.queue)
        queue = &p->refused;
    else
        p->queued[direction]++;
    list_append(queue, &operation->link);
    want_work(p);
}

void partition_query(struct partition *p, struct partition_request *request)
{
    request->deadline = clock_ms() + p->options.pool.timeout_ms;
    list_append(&p->requests, &request->link);
    want_work(p);
}

bool partition_cancel(struct partition_request *request)
{
    bool waiting = !list_empty(&request->link);
    list_remove(&request->link);
    return waiting;
}

enum error partition_new(struct event_base *base, const struct partition_options *options,
                         const struct partition_events *events, struct partition **partition)
{
    unsigned connections = options->pool.connections;
    struct partition *p = calloc(1, sizeof *p + sizeof p->lane[0] * connections);
    enum error error = ERROR_MEMORY;
    *partition = p;
    if (!p)
        return error;
    const struct batch_options batch_options = {.id = options->pool.partition->id,
                                                .limit = options->batch,
                                                .max_value = options->max_value,
                                                .hurry_until = &p->hurry_until};
    p->options = *options;
    p->events = *events;
    for (int i = 0; i < DIRECTIONS; i++)
        list_init(&p->queue[i]);
    list_init(&p->refused);
    list_init(&p->requests);
    list_init(&p->free);
    evtimer_assign(&p->work, base, on_work, p);
    for (unsigned i = 0; i < connections; i++) {
        struct lane *lane = &p->lane[i];
        const struct batch_events batch_events = {on_batch_done, on_batch_again, lane};
        lane->partition = p;
        error = batch_new(&batch_options, &batch_events, &lane->batch);
        if (error)
            goto fail;
        list_append(&p->free, &lane->link);
    }
    const struct pool_events pool_events = {on_pool_change, on_pool_watch, on_pool_clock, p};
    error = pool_new(base, &options->pool, &pool_events, &p->pool);
    if (error)
        goto fail;
    counter_set(&p->stats.state, pool_state(p->pool));
    return ERROR_NONE;
fail:
    partition_free(partition);
    return error;
}

void partition_free(struct partition **partition)
{
    struct partition *p = *partition;
    if (!p)
        return;
    *partition = NULL;
    pool_free(&p->pool);
    event_del(&p->work); // which the end of the pool may have wanted
    for (unsigned i = 0; i < p->options.pool.connections; i++)
        batch_free(&p->lane[i].batch);
    free(p);
}

bool partition_idle(const struct partition *p)
{
    return all_queued(p) == 0 && list_empty(&p->refused) && list_empty(&p->requests) &&
           pool_busy(p->pool) == 0;
}

void partition_reload(struct partition *p, const struct conf_partition *conf)
{
    p->options.pool.partition = conf;
    pool_reload(p->pool, conf);
}

const struct conf_partition *partition_conf(const struct partition *p)
{
    return p->options.pool.partition;
}

unsigned partition_id(const struct partition *p)
{
    return p->options.pool.partition->id;
}

bool partition_exists(const struct partition *p)
{
    return conf_partition_exists(p->options.pool.partition);
}

void partition_check_clock(struct partition *p, int64_t partition_us)
{
    pool_check_clock(p->pool, partition_us);
}

const struct pool *partition_pool(const struct partition *p)
{
    return p->pool;
}

const struct partition_stats *partition_stats(const struct partition *p)
{
    return &p->stats;
}
