// SPDX-License-Identifier: MIT
#include "store/pool.h"

#include <assert.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/random.h"
#include "store/query.h"
#include "store/version.h"

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_LAST_MS = 500,
    CONNECT_TIMEOUT_MS = 500,
    STEADY_MS = 1000,     // a connection that lasted so long is opened again without a pause
    WATCH_SQL_MAX = 2048, // bytes
};

// A place for one connection.
struct place {
    struct pool *pool;
    struct connection *connection;
    const struct conf_partition *partition; // the settings that it was opened with last
    struct list idle;                       // in pool->idle while the connection is IDLE
    bool is_open;                           // it was opened and has not been found lost
    int64_t opened;                         // clock_ms
    pool_on_answer *on_answer;
    void *context;
};

struct pool {
    enum pool_state state;
    struct pool_options options;
    struct pool_events events;
    struct event retry; // the pause before closed connections are tried again
    unsigned backoff_ms;
    struct list idle;
    unsigned idle_count;
    struct event watch; // the next query_watch is due
    int64_t watch_sent; // clock_unix_us
    struct bytes watch_sql;
    struct check check;
    bool misconfigured;
    bool silent;
    char why[256];
    struct place place[]; // options.connections, and the watch's
};

static const char *partition_name(const struct pool *pool, char name[static 24])
{
    snprintf(name, 24, "partition-%u", pool->options.partition->id);
    return name;
}

static void set_idle(struct place *place, bool idle)
{
    struct pool *pool = place->pool;
    if (idle == !list_empty(&place->idle))
        return;
    if (idle) {
        list_prepend(&pool->idle, &place->idle); // the one used last is the warmest
        pool->idle_count++;
    } else {
        list_remove(&place->idle);
        pool->idle_count--;
    }
}

static void tell_change(struct pool *pool)
{
    pool->events.on_change(pool, pool->events.context);
}

static void open_place(struct place *place)
{
    place->partition = place->pool->options.partition;
    connection_open(place->connection, place->partition, CONNECT_TIMEOUT_MS);
}

// is_outdated tells whether the settings are others since the place was opened.
static bool is_outdated(const struct place *place)
{
    return place->partition != place->pool->options.partition;
}

// renew opens an idle connection anew.
static void renew(struct place *place)
{
    if (connection_state(place->connection) != CONNECTION_IDLE)
        return;
    set_idle(place, false);
    place->is_open = false;
    connection_close(place->connection);
    open_place(place);
}

// The last place is the watch's: it is never idle.
static struct place *watch_place(struct pool *pool)
{
    return &pool->place[pool->options.connections];
}

static void open_closed_places(struct pool *pool)
{
    for (unsigned i = 0; i <= pool->options.connections; i++)
        if (connection_state(pool->place[i].connection) == CONNECTION_CLOSED)
            open_place(&pool->place[i]);
}

static void retry_after_pause(struct pool *pool)
{
    if (evtimer_pending(&pool->retry, NULL))
        return;
    unsigned half = pool->backoff_ms / 2;
    unsigned ms = half + random_below(half + 1); // clones should not knock in step
    struct timeval tv = {0, (suseconds_t)ms * 1000};
    evtimer_add(&pool->retry, &tv);
    pool->backoff_ms *= 2;
    if (pool->backoff_ms > BACKOFF_LAST_MS)
        pool->backoff_ms = BACKOFF_LAST_MS;
}

static void close_all(struct pool *pool)
{
    evtimer_del(&pool->watch);
    for (unsigned i = 0; i <= pool->options.connections; i++) {
        struct place *place = &pool->place[i];
        enum connection_state state = connection_state(place->connection);
        set_idle(place, false);
        place->is_open = false;
        if (state == CONNECTION_IDLE)
            connection_close(place->connection);
        else if (state != CONNECTION_CLOSED)
            connection_abort(place->connection);
    }
}

static void go_down(struct pool *pool, enum error error, const char *why)
{
    char name[24];
    bool news = pool->state != POOL_DOWN || strcmp(pool->why, why) != 0;
    pool->misconfigured = error == ERROR_MISCONFIGURED;
    snprintf(pool->why, sizeof pool->why, "%s", why);
    if (news && pool->options.speaks)
        log_write(pool->misconfigured ? LOG_ERROR : LOG_WARN, "%s is down: %s",
                  partition_name(pool, name), why);
    if (pool->state != POOL_DOWN) {
        pool->state = POOL_DOWN;
        close_all(pool);
        tell_change(pool);
    }
    retry_after_pause(pool);
}

static void warn_of_settings(const struct pool *pool)
{
    char name[24];
    if (pool->check.flush_at_commit != 1)
        log_write(LOG_WARN,
                  "%s: innodb_flush_log_at_trx_commit is %llu: a power loss can lose acknowledged "
                  "writes; 1 would keep them",
                  partition_name(pool, name), (unsigned long long)pool->check.flush_at_commit);
    if (pool->check.read_only)
        log_write(LOG_WARN, "%s: the server is read-only", partition_name(pool, name));
}

static void go_up(struct pool *pool)
{
    char name[24];
    bool first = pool->state == POOL_STARTING;
    pool->state = POOL_UP;
    pool->misconfigured = false;
    pool->why[0] = '\0';
    if (pool->options.speaks) {
        log_write(first ? LOG_DEBUG : LOG_INFO, "%s is up", partition_name(pool, name));
        warn_of_settings(pool);
    }
    open_closed_places(pool);
}

// clock_is_off tells whether the partition's clock has run away, and says so in `why`.
static bool clock_is_off(struct pool *pool, int64_t partition_us, char *why, size_t size)
{
    struct pool_clock clock;
    pool->events.clock(&clock, false, pool->events.context);
    int64_t ahead = partition_us - clock.now_us;
    if (ahead >= -CLOCK_BOUND_US && ahead <= CLOCK_BOUND_US)
        return false;
    snprintf(why, size, "its clock is %lld s %s the others", llabs(ahead) / 1000000,
             ahead > 0 ? "ahead of" : "behind");
    return true;
}

void pool_check_clock(struct pool *pool, int64_t partition_us)
{
    char why[80];
    if (pool->state == POOL_UP && clock_is_off(pool, partition_us, why, sizeof why))
        go_down(pool, ERROR_UNAVAILABLE, why);
}

static void send_watch(struct pool *pool)
{
    struct place *place = watch_place(pool);
    if (connection_state(place->connection) != CONNECTION_IDLE)
        return; // on_open sends it
    bytes_clear(&pool->watch_sql);
    query_watch(&pool->watch_sql);
    pool->watch_sent = clock_unix_us();
    connection_query(place->connection, bytes_slice(&pool->watch_sql));
}

static void on_watch_due(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    send_watch(context);
}

static void watch_later(struct pool *pool)
{
    static const struct timeval pause = {0, POOL_WATCH_MS * 1000};
    evtimer_add(&pool->watch, &pause);
}

static void on_open(struct connection *connection, void *context)
{
    struct place *place = context;
    struct pool *pool = place->pool;
    char why[80];
    if (is_outdated(place)) {
        renew(place);
        return;
    }
    pool->check = *connection_check(connection);
    if (pool->state != POOL_UP &&
        clock_is_off(pool, (int64_t)pool->check.now_us, why, sizeof why)) {
        connection_close(connection);
        go_down(pool, ERROR_UNAVAILABLE, why);
        return;
    }
    pool->backoff_ms = BACKOFF_FIRST_MS;
    place->is_open = true;
    place->opened = clock_ms();
    if (place == watch_place(pool))
        send_watch(pool);
    else
        set_idle(place, true);
    if (pool->state != POOL_UP)
        go_up(pool);
    tell_change(pool);
}

static void on_closed(struct connection *connection, enum error error, const char *why,
                      void *context)
{
    struct place *place = context;
    struct pool *pool = place->pool;
    bool was_open = place->is_open;
    bool steady = was_open && clock_ms() - place->opened >= STEADY_MS;
    set_idle(place, false);
    place->is_open = false;
    if (is_outdated(place) && pool->state != POOL_DOWN) {
        open_place(place); // whatever was wrong, the settings are others now
        return;
    }
    pool->silent = !connection_refused(connection);
    if (pool->state == POOL_DOWN || (!was_open && pool_open(pool) == 0))
        go_down(pool, error, why);
    else if (steady)
        open_place(place);
    else
        retry_after_pause(pool); // the server ends what it accepts, or has run out of connections
}

static void on_lost(struct place *place, const struct answer *answer)
{
    struct pool *pool = place->pool;
    place->is_open = false;
    pool->silent = answer->timed_out;
    if (pool->state != POOL_UP)
        return;
    if (answer->timed_out)
        go_down(pool, ERROR_UNAVAILABLE, "no answer to a statement in time");
    else
        open_place(place);
}

static void on_watch_answer(struct place *place, const struct answer *answer)
{
    struct pool *pool = place->pool;
    if (answer->error == ERROR_OUTCOME) {
        on_lost(place, answer);
        return;
    }
    if (is_outdated(place)) {
        renew(place); // what it says is of another server, perhaps
        return;
    }
    watch_later(pool);
    if (!answer->error)
        pool->events.on_watch(pool, place->connection, pool->watch_sent, pool->events.context);
}

static void on_answer(struct connection *connection, const struct answer *answer, void *context)
{
    struct place *place = context;
    struct pool *pool = place->pool;
    if (place == watch_place(pool)) {
        on_watch_answer(place, answer);
        tell_change(pool);
        return;
    }
    bool outdated = is_outdated(place);
    if (answer->error == ERROR_OUTCOME)
        on_lost(place, answer);
    else if (!outdated)
        set_idle(place, true);
    place->on_answer(connection, answer, place->context);
    if (outdated)
        renew(place); // its rows have been read
    tell_change(pool);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    struct pool *pool = context;
    (void)fd;
    (void)what;
    if (pool->state == POOL_UP)
        open_closed_places(pool);
    else if (connection_state(pool->place[0].connection) == CONNECTION_CLOSED)
        open_place(&pool->place[0]);
    else
        retry_after_pause(pool);
}

enum error pool_new(struct event_base *base, const struct pool_options *options,
                    const struct pool_events *events, struct pool **pool)
{
    struct pool *p = calloc(1, sizeof *p + sizeof p->place[0] * (options->connections + 1));
    *pool = p;
    if (!p)
        return ERROR_MEMORY;
    p->state = POOL_STARTING;
    p->options = *options;
    p->events = *events;
    p->backoff_ms = BACKOFF_FIRST_MS;
    list_init(&p->idle);
    evtimer_assign(&p->retry, base, on_retry, p);
    evtimer_assign(&p->watch, base, on_watch_due, p);
    // So that building a watch cannot fail.
    enum error error = bytes_room(&p->watch_sql, WATCH_SQL_MAX) ? ERROR_NONE : ERROR_MEMORY;
    for (unsigned i = 0; i <= options->connections && !error; i++) {
        struct place *place = &p->place[i];
        bool watches = i == options->connections;
        place->pool = p;
        list_init(&place->idle);
        const struct connection_events connection_events = {on_open, on_answer, on_closed, place};
        error = connection_new(base, watches ? POOL_WATCH_TIMEOUT_MS : options->timeout_ms,
                               options->max_packet_needed, &connection_events, &place->connection);
    }
    if (error) {
        pool_free(pool);
        return error;
    }
    if (conf_partition_exists(options->partition)) {
        open_place(&p->place[0]);
    } else {
        p->state = POOL_DOWN;
        snprintf(p->why, sizeof p->why, "it has left the store");
    }
    return ERROR_NONE;
}

void pool_free(struct pool **pool)
{
    struct pool *p = *pool;
    if (!p)
        return;
    *pool = NULL;
    evtimer_del(&p->retry);
    evtimer_del(&p->watch);
    for (unsigned i = 0; i <= p->options.connections; i++)
        connection_free(&p->place[i].connection);
    bytes_fini(&p->watch_sql);
    free(p);
}

void pool_reload(struct pool *pool, const struct conf_partition *partition)
{
    char name[24];
    pool->options.partition = partition;
    if (pool->options.speaks)
        log_write(LOG_INFO, "%s has other settings: its connections are opened anew",
                  partition_name(pool, name));
    for (unsigned i = 0; i <= pool->options.connections; i++)
        renew(&pool->place[i]);
    tell_change(pool);
}

enum pool_state pool_state(const struct pool *pool)
{
    return pool->state;
}

unsigned pool_idle(const struct pool *pool)
{
    return pool->state == POOL_UP ? pool->idle_count : 0;
}

unsigned pool_busy(const struct pool *pool)
{
    unsigned busy = 0;
    for (unsigned i = 0; i < pool->options.connections; i++)
        busy += connection_state(pool->place[i].connection) == CONNECTION_BUSY;
    return busy;
}

unsigned pool_open(const struct pool *pool)
{
    unsigned open = 0;
    for (unsigned i = 0; i < pool->options.connections; i++)
        open += connection_state(pool->place[i].connection) >= CONNECTION_IDLE;
    return open;
}

void pool_query(struct pool *pool, struct slice sql, pool_on_answer *callback, void *context)
{
    assert(!list_empty(&pool->idle) && pool->state == POOL_UP);
    struct place *place = CONTAINER_OF(list_first(&pool->idle), struct place, idle);
    set_idle(place, false);
    place->on_answer = callback;
    place->context = context;
    connection_query(place->connection, sql);
}

void pool_clock(struct pool *pool, bool floor, struct pool_clock *clock)
{
    pool->events.clock(clock, floor, pool->events.context);
}

bool pool_silent(const struct pool *pool)
{
    return pool->silent;
}

const struct check *pool_check(const struct pool *pool)
{
    return &pool->check;
}

bool pool_misconfigured(const struct pool *pool)
{
    return pool->misconfigured;
}

const char *pool_why(const struct pool *pool)
{
    return pool->why;
}
