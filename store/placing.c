// SPDX-License-Identifier: MIT
#include "store/placing.h"

#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/release.h"
#include "store/query.h"

enum {
    REPORT_MS = 2000,
    REPORT_LOOK_MS = 100, // what is new is reported sooner
    PATIENCE_MS = 500, // sync gives a placement to all members; who has not got it by then was away
};

// A statement of ours on one partition, one at a time.
struct errand {
    struct placing *placing;
    unsigned id;
    struct partition_request request;
    struct bytes sql;
    bool under_way;
    bool last; // nothing comes behind it
};

// What is known of a partition, by id - 1.
struct seen {
    struct errand ask;    // for its placement
    struct errand give;   // it one
    struct errand report; // of this server
    bool heard;           // it has spoken since it came up
    bool free;            // it is not another partition of a store without a placement
    bool stranger;
    uint64_t epoch;
    int64_t behind_since; // clock_ms; 0 = it shows the latest epoch
};

struct placing {
    struct store *store;
    struct placing_options options;
    struct members wanted; // by the configuration, as it was at the start
    struct layout *layout; // by which the store works
    struct layout *next;   // that is known; NULL = none
    struct event report;
    uint64_t server;     // our id in `servers`
    int64_t reported_ms; // clock_ms
    uint64_t reported_epoch;
    struct bytes reported; // ids, as they were told
    struct bytes reached;  // as they are
    bool left;
    unsigned partitions;
    struct seen seen[]; // [partitions]
};

static void renew(struct placing *p);
static void end_report(struct errand *e);

// ---------------------------------------------------------------- errands

static bool is_up(const struct placing *p, unsigned id)
{
    return pool_state(partition_pool(store_partition(p->store, id))) == POOL_UP;
}

// begin clears the errand's statement; false while the last one is under way.
static bool begin(struct errand *e)
{
    if (e->under_way || !is_up(e->placing, e->id))
        return false;
    bytes_clear(&e->sql);
    return true;
}

static void send_errand(struct errand *e, pool_on_answer *on_answer)
{
    if (bytes_failed(&e->sql)) {
        bytes_fini(&e->sql);
        return; // the next time
    }
    e->under_way = true;
    e->request = (struct partition_request){
        .sql = bytes_slice(&e->sql), .on_answer = on_answer, .context = e};
    list_init(&e->request.link);
    partition_query(store_partition(e->placing->store, e->id), &e->request);
}

static void on_given(struct connection *connection, const struct answer *answer, void *context)
{
    struct errand *e = context;
    (void)connection;
    e->under_way = false;
    if (answer && !answer->error)
        placing_ask(e->placing, e->id); // what it has now: that, or somebody else's
}

static void on_told(struct connection *connection, const struct answer *answer, void *context)
{
    struct errand *e = context;
    (void)connection;
    (void)answer; // what was not done is done the next time
    e->under_way = false;
    if (e->placing->left && !e->last)
        end_report(e);
}

// ---------------------------------------------------------------- a new epoch

static const struct placement *latest_placement(const struct placing *p)
{
    return p->next ? &p->next->placement : &p->layout->placement;
}

static uint64_t latest(const struct placing *p)
{
    return latest_placement(p)->epoch;
}

static void say_members(const struct placement *placement)
{
    struct bytes text = {0};
    members_format(&placement->now, &text);
    if (!bytes_failed(&text))
        log_write(LOG_INFO, "placement: epoch %llu, %s, members %.*s",
                  (unsigned long long)placement->epoch, placement_phase_text(placement->phase),
                  (int)text.len, text.data);
    bytes_fini(&text);
}

// say_missing names members that this configuration does not know: nobody guesses what they have.
static void say_missing(const struct placing *p)
{
    for (unsigned id = 1; id <= CONF_PARTITIONS_MAX; id++)
        if (store_lacks(p->store, id))
            log_write(LOG_ERROR,
                      "partition-%u is a member of the store, but the configuration has no section "
                      "for it: its keys cannot be reached",
                      id);
}

static void adopt(struct placing *p)
{
    struct layout *old = p->layout;
    if (store_place(p->store, p->next))
        return; // no memory: with the next watch
    p->layout = p->next;
    p->next = NULL;
    layout_free(&old);
    if (p->options.speaks) {
        say_members(&p->layout->placement);
        say_missing(p);
    }
    if (p->options.shared)
        atomic_store(&p->options.shared->thread[p->options.thread].epoch,
                     p->layout->placement.epoch);
}

// all_show: no member that is up could still take writes by an older epoch.
static bool all_show(const struct placing *p, const struct placement *placement)
{
    for (unsigned id = 1; id <= p->partitions; id++) {
        const struct seen *s = &p->seen[id - 1];
        if (placement_has(placement, id) && is_up(p, id) && !s->stranger &&
            (!s->heard || s->epoch < placement->epoch))
            return false;
    }
    return true;
}

// all_heard: no partition could come yet with a later placement than the first that this server is
// to work by.
static bool all_heard(const struct placing *p)
{
    for (unsigned id = 1; id <= p->partitions; id++)
        if (!p->seen[id - 1].heard &&
            pool_state(partition_pool(store_partition(p->store, id))) != POOL_DOWN)
            return false;
    return true;
}

// begins_here: of several stores, which a wrong configuration may name, the first partition's is
// meant.
static bool begins_here(const struct placing *p, unsigned id)
{
    for (unsigned before = 1; before < id; before++)
        if (pool_state(partition_pool(store_partition(p->store, before))) != POOL_DOWN &&
            (!p->seen[before - 1].heard || p->seen[before - 1].epoch))
            return false;
    return true;
}

static bool is_ours(const struct placing *p, const struct placement *placement, unsigned id)
{
    if (latest(p) == 0)
        return begins_here(p, id);
    return strcmp(latest_placement(p)->store, placement->store) == 0;
}

// keeps_owners: what comes next is only announced, or settled. A change that was missed is none of
// that.
static bool keeps_owners(const struct placing *p, const struct placement *next)
{
    const struct placement *now = &p->layout->placement;
    return next->epoch == now->epoch + 1 && members_equal(&next->now, &now->now);
}

static void take(struct placing *p, unsigned id, const struct placement *placement)
{
    struct layout *layout;
    if (!is_ours(p, placement, id))
        return;
    if (p->seen[id - 1].epoch < placement->epoch)
        p->seen[id - 1].epoch = placement->epoch;
    outlook_shows(store_outlook(p->store), id, placement->epoch);
    if (placement->epoch > latest(p) && layout_new(placement, &layout) == ERROR_NONE) {
        layout_free(&p->next);
        p->next = layout; // without memory: with the next watch
        if (p->layout->placement.epoch && keeps_owners(p, placement))
            outlook_expect(store_outlook(p->store), placement->epoch);
    }
    renew(p);
}

static void on_placement(struct connection *connection, const struct answer *answer, void *context)
{
    struct errand *e = context;
    struct row row;
    struct placement placement;
    e->under_way = false;
    if (!answer || answer->error)
        return;
    while (connection_row(connection, &row))
        if (row_placement(&row, &placement) == ERROR_NONE)
            take(e->placing, e->id, &placement);
}

void placing_ask(struct placing *p, unsigned id)
{
    struct errand *e = &p->seen[id - 1].ask;
    if (!begin(e))
        return;
    query_placement(&e->sql);
    send_errand(e, on_placement);
}

// ---------------------------------------------------------------- giving it

// give_first gives the store its first placement, which begins on the first of its partitions: two
// programs that do so at the same time agree on one.
static void give_first(struct placing *p)
{
    struct placement placement = {.epoch = 1, .now = p->wanted};
    struct errand *e = NULL;
    for (unsigned id = p->partitions; id >= 1; id--) {
        const struct seen *s = &p->seen[id - 1];
        if (!partition_exists(store_partition(p->store, id)))
            continue;
        if (!is_up(p, id) || !s->heard || s->epoch)
            return;
        e = &p->seen[id - 1].give;
    }
    if (!e || !begin(e))
        return;
    random_uuid(placement.store);
    query_place_first(&e->sql, &placement);
    send_errand(e, on_given);
}

// give gives a member that is behind the latest placement.
static void give(struct placing *p, unsigned id)
{
    struct errand *e = &p->seen[id - 1].give;
    if (!begin(e))
        return;
    query_place(&e->sql, latest_placement(p));
    send_errand(e, on_given);
}

// catch_up gives the latest placement to members that have been behind for a while.
static void catch_up(struct placing *p)
{
    const struct placement *placement = latest_placement(p);
    int64_t now = clock_ms();
    for (unsigned id = 1; id <= p->partitions; id++) {
        struct seen *s = &p->seen[id - 1];
        bool behind = placement_has(placement, id) && is_up(p, id) && s->heard && !s->stranger &&
                      s->epoch < placement->epoch && (s->epoch || s->free);
        if (!behind)
            s->behind_since = 0;
        else if (s->behind_since == 0)
            s->behind_since = now;
        if (behind && (s->epoch == 0 || now - s->behind_since >= PATIENCE_MS))
            give(p, id);
    }
}

// renew does what follows from what is known.
static void renew(struct placing *p)
{
    bool first = p->layout->placement.epoch == 0;
    if (p->next && (!first || all_heard(p)) && all_show(p, &p->next->placement))
        adopt(p);
    if (p->options.leads && latest(p))
        catch_up(p);
    else if (p->options.leads)
        give_first(p);
}

static void tell_stranger(const struct placing *p, unsigned id)
{
    if (p->options.speaks)
        log_write(LOG_ERROR, "partition-%u belongs to another store: it is not asked", id);
}

void placing_heard(struct placing *p, unsigned id, const struct watch *watch)
{
    struct seen *s = &p->seen[id - 1];
    bool stranger =
        latest(p) && watch->epoch && watch->store != placement_store_crc(latest_placement(p));
    s->heard = true;
    s->epoch = watch->epoch;
    s->free = watch->id == id || watch->id == 0;
    if (stranger && !s->stranger)
        tell_stranger(p, id);
    s->stranger = stranger;
    outlook_stranger(store_outlook(p->store), id, stranger);
    if (!stranger && watch->epoch > latest(p))
        placing_ask(p, id);
    renew(p);
}

// ---------------------------------------------------------------- telling of this server

static bool reports(const struct placing *p)
{
    return p->options.shared && p->options.thread == 0;
}

void placing_up(struct placing *p, unsigned id, bool up)
{
    if (!up)
        p->seen[id - 1].heard = false; // it may come back from a backup
    if (p->options.shared)
        atomic_store(&p->options.shared->thread[p->options.thread].up[id - 1], up);
}

// sum_up finds out what all threads know.
static uint64_t sum_up(const struct placing *p, struct bytes *reached)
{
    const struct placing_shared *shared = p->options.shared;
    bool up[CONF_PARTITIONS_MAX] = {false};
    uint64_t epoch = UINT64_MAX;
    for (unsigned id = 1; id <= p->partitions; id++)
        up[id - 1] = !p->seen[id - 1].stranger;
    for (unsigned i = 0; i < shared->threads; i++) {
        uint64_t its = atomic_load(&shared->thread[i].epoch);
        epoch = its < epoch ? its : epoch;
        for (unsigned id = 1; id <= p->partitions; id++)
            up[id - 1] &= atomic_load(&shared->thread[i].up[id - 1]);
    }
    gone_format(up, reached);
    return epoch;
}

static void report_to(struct placing *p, unsigned id, struct slice host)
{
    struct errand *e = &p->seen[id - 1].report;
    const struct query_server server = {.id = p->server,
                                        .host = host,
                                        .pid = (unsigned)getpid(),
                                        .version = SLICE(SHERD_VERSION),
                                        .epoch = p->reported_epoch,
                                        .reaches = bytes_slice(&p->reported)};
    if (p->seen[id - 1].stranger || !begin(e))
        return;
    query_report(&e->sql, &server);
    send_errand(e, on_told);
}

static void report(struct placing *p)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    for (unsigned id = 1; id <= p->partitions; id++)
        report_to(p, id, slice_of(host));
    p->reported_ms = clock_ms();
}

// is_news tells whether what the threads know is something else than was told, and takes it.
static bool is_news(struct placing *p)
{
    bytes_clear(&p->reached);
    uint64_t epoch = sum_up(p, &p->reached);
    if (bytes_failed(&p->reached)) {
        bytes_fini(&p->reached);
        return false;
    }
    if (epoch == p->reported_epoch &&
        slice_equal(bytes_slice(&p->reached), bytes_slice(&p->reported)))
        return false;
    const struct bytes told = p->reported;
    p->reported = p->reached;
    p->reached = told; // its memory serves the next look
    p->reported_epoch = epoch;
    return true;
}

static void on_report(evutil_socket_t fd, short what, void *context)
{
    struct placing *p = context;
    (void)fd;
    (void)what;
    if (!p->left && (is_news(p) || clock_ms() - p->reported_ms >= REPORT_MS))
        report(p);
}

static void end_report(struct errand *e)
{
    if (!begin(e))
        return;
    e->last = true;
    query_report_end(&e->sql, e->placing->server);
    send_errand(e, on_told);
}

void placing_leave(struct placing *p)
{
    if (!reports(p) || p->left)
        return;
    p->left = true;
    event_del(&p->report);
    for (unsigned i = 0; i < p->partitions; i++)
        end_report(&p->seen[i].report); // or on_told does
}

// ---------------------------------------------------------------- life

enum error placing_shared_new(unsigned threads, struct placing_shared **shared)
{
    *shared = calloc(1, sizeof **shared + threads * sizeof(*shared)->thread[0]);
    if (!*shared)
        return ERROR_MEMORY;
    (*shared)->threads = threads;
    return ERROR_NONE;
}

void placing_shared_free(struct placing_shared **shared)
{
    free(*shared);
    *shared = NULL;
}

static void init_errand(struct errand *e, struct placing *p, unsigned id)
{
    *e = (struct errand){.placing = p, .id = id};
    list_init(&e->request.link);
}

static enum error begin_layout(struct placing *p)
{
    const struct placement wanted = {.epoch = 0, .now = p->wanted};
    enum error error = layout_new(&wanted, &p->layout);
    return error ? error : store_place(p->store, p->layout);
}

enum error placing_new(struct event_base *base, struct store *store,
                       const struct placing_options *options, struct placing **placing)
{
    static const struct timeval look = {0, REPORT_LOOK_MS * 1000};
    unsigned partitions = options->conf->store.partitions;
    struct placing *p = calloc(1, sizeof *p + sizeof p->seen[0] * partitions);
    *placing = p;
    if (!p)
        return ERROR_MEMORY;
    p->store = store;
    p->options = *options;
    members_of_conf(options->conf, &p->wanted);
    p->partitions = partitions;
    p->server = random_below(UINT32_MAX) + 1ull;
    event_assign(&p->report, base, -1, EV_PERSIST, on_report, p);
    for (unsigned i = 0; i < partitions; i++) {
        init_errand(&p->seen[i].ask, p, i + 1);
        init_errand(&p->seen[i].give, p, i + 1);
        init_errand(&p->seen[i].report, p, i + 1);
    }
    enum error error = begin_layout(p);
    if (error)
        placing_free(placing);
    else if (reports(p))
        event_add(&p->report, &look);
    return error;
}

void placing_free(struct placing **placing)
{
    struct placing *p = *placing;
    if (!p)
        return;
    *placing = NULL;
    event_del(&p->report);
    for (unsigned i = 0; i < p->partitions; i++) {
        bytes_fini(&p->seen[i].ask.sql);
        bytes_fini(&p->seen[i].give.sql);
        bytes_fini(&p->seen[i].report.sql);
    }
    bytes_fini(&p->reported);
    bytes_fini(&p->reached);
    layout_free(&p->layout);
    layout_free(&p->next);
    free(p);
}

bool placing_idle(const struct placing *p)
{
    for (unsigned i = 0; i < p->partitions; i++) {
        const struct seen *s = &p->seen[i];
        if (s->ask.under_way || s->give.under_way || s->report.under_way)
            return false;
    }
    return true;
}

bool placing_may(const struct placing *p)
{
    bool down = false;
    for (unsigned id = 1; id <= p->partitions; id++) {
        const struct partition *partition = store_partition(p->store, id);
        if (p->seen[id - 1].epoch)
            return true;
        down |= partition_exists(partition) && pool_state(partition_pool(partition)) == POOL_DOWN;
    }
    return !down;
}

bool placing_done(const struct placing *p)
{
    return p->layout->placement.epoch && !p->next && all_show(p, &p->layout->placement);
}
