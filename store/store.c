// SPDX-License-Identifier: MIT
#include "store/store.h"

#include <assert.h>
#include <event2/event_struct.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/key.h"
#include "store/placing.h"
#include "store/query.h"
#include "store/relay.h"
#include "store/slot.h"

enum {
    COPY_KEEP = 64 * 1024, // bytes
    PULSE_MS = 250,        // as often as this is, time passes
    WOKE_MS = 1000,        // a partition that has not spoken since is down
    AGAIN_MS = 20,         // until what came under an epoch that has passed is tried again
};

// A partition of a new store is told that it is complete.
struct claim {
    struct partition_request request;
    struct bytes sql;
};

struct store {
    const struct layout *layout; // by which partitions own
    struct placing *placing;
    uint64_t epoch;    // of the layout, for the batches
    atomic_bool knows; // that is not 0
    struct event pulse;
    int64_t pulse_ms;     // clock_ms of the last one
    int64_t woke_until;   // clock_ms
    struct list again;    // operations that came under an epoch that has passed
    struct event retry;   // for them
    struct list refused;  // operations that have nowhere to go
    struct event refusal; // at the end of the loop's turn, for them
    struct outlook *outlook;
    unsigned write_acks;
    unsigned timeout_ms;
    struct list relays;  // under way
    struct hot *hot;     // NULL = none
    struct list asked;   // reads that memory may answer
    struct event recall; // at the end of the loop's turn, for them
    struct bytes copy;   // of what memory answered
    struct claim *claim; // [partitions] while claims are under way
    unsigned claims;
    unsigned partitions;
    struct partition *partition[];
};

static void on_partition_up(struct partition *partition, bool up, void *context)
{
    struct store *store = context;
    unsigned id = partition_id(partition);
    outlook_up(store->outlook, id, up);
    placing_up(store->placing, id, up);
    if (!up && pool_silent(partition_pool(partition)))
        outlook_silent(store->outlook, id);
}

static void on_partition_watch(struct partition *partition, struct connection *connection,
                               int64_t sent_us, void *context)
{
    struct store *store = context;
    struct row row;
    struct watch watch;
    int64_t partition_us = sent_us, heard_us = clock_unix_us();
    outlook_hear_begin(store->outlook, partition_id(partition));
    struct watch itself = {0};
    while (connection_row(connection, &row)) {
        if (row_watch(&row, &watch) || outlook_hear(store->outlook, &watch))
            return; // not our kind of row: the partition stays unknown
        if (watch.kind == WATCH_ITSELF)
            itself = watch;
    }
    if (itself.now_us)
        partition_us = (int64_t)itself.now_us;
    outlook_hear_end(store->outlook, sent_us, heard_us);
    placing_heard(store->placing, partition_id(partition), &itself);
    partition_check_clock(partition, partition_us);
}

static void on_partition_clock(struct partition *partition, struct pool_clock *clock, bool floor,
                               void *context)
{
    struct store *store = context;
    int64_t now = clock_unix_us();
    clock->now_us = now + outlook_reference_us(store->outlook);
    outlook_clock(store->outlook, partition_id(partition), now, &clock->least_us,
                  &clock->partition_us);
    clock->floor_us = floor ? outlook_floor_us(store->outlook) : 0;
}

// The largest statement: a value of which every byte needs a backslash, its key, and the rest.
static uint64_t max_packet_needed(const struct conf *conf)
{
    uint64_t one = conf->server.max_value;
    uint64_t largest = one > BATCH_BYTES ? one : BATCH_BYTES;
    return 2 * largest + 256 * 1024;
}

// ---------------------------------------------------------------- operations

static void dispatch(struct store *store, struct operation *operation);

// remember keeps the hot values in step with what an operation did or found. A write is forgotten
// whatever came of it, before anybody hears of it; a value is kept if it comes from where alone all
// reads go. What a client has seen in another way must not be followed by something older.
static void remember(struct store *store, const struct operation *operation,
                     const struct outcome *outcome)
{
    unsigned slot = slot_of(operation->key), home = ring_home(store->layout->now, slot);
    bool writes = operation_writes(operation);
    if (!writes && !outcome->error && outcome->found && outcome->pair.whole && operation->fills &&
        outcome->partition == home && outlook_usual_slot(store->outlook, slot))
        cache_fill(store->hot->cache, operation->key, operation->ticket, &outcome->pair);
    else if (writes || !outcome->error)
        cache_invalidate(store->hot->cache, operation->key);
}

static void end(struct operation *operation, const struct outcome *outcome)
{
    if (operation->store->hot)
        remember(operation->store, operation, outcome);
    if (outcome->error == ERROR_NONE)
        outlook_see(operation->store->outlook,
                    operation_writes(operation) ? outcome->stamp.version : outcome->pair.version);
    operation->on_done = operation->caller_done;
    operation->on_done(operation, outcome);
}

// on_home_done: what was not carried out because its home went away, or cannot write, goes another
// way.
static void on_home_done(struct operation *operation, const struct outcome *outcome)
{
    struct store *store = operation->store;
    if (outcome->error == ERROR_UNAVAILABLE && outcome->refusing)
        outlook_refusing(store->outlook, outcome->partition);
    bool away =
        outcome->error == ERROR_UNAVAILABLE && !outlook_usual(store->outlook, outcome->partition);
    if (outcome->moved) {
        placing_ask(store->placing, outcome->partition);
        store_again(store, operation);
        return;
    }
    if (away && clock_ms() < operation->give_up)
        dispatch(store, operation);
    else
        end(operation, outcome);
}

static void dispatch(struct store *store, struct operation *operation)
{
    unsigned slot = slot_of(operation->key), home = ring_home(store->layout->now, slot);
    bool writes = operation_writes(operation);
    bool alone =
        writes ? store->write_acks == 1 : !operation->quorum && outlook_heard_all(store->outlook);
    if (writes && store->epoch == 0 && placing_may(store->placing)) {
        store_again(store, operation);
    } else if (writes && store->epoch == 0) { // nobody knows who owns what
        operation->on_done = end;
        store_refuse(store, operation, home);
    } else if (alone && outlook_usual_slot(store->outlook, slot)) {
        operation->session = (struct session){.epoch = store->epoch};
        store_send(store, home, operation, on_home_done);
    } else {
        relay_start(store, operation, end);
    }
}

void store_ask_placement(struct store *store, unsigned id)
{
    placing_ask(store->placing, id);
}

bool store_woke(struct store *store)
{
    int64_t now = clock_ms();
    if (now - store->pulse_ms > OUTLOOK_FRESH_MS)
        store->woke_until = now + WOKE_MS;
    store->pulse_ms = now;
    return now < store->woke_until && !outlook_fresh(store->outlook);
}

static void on_pulse(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    store_woke(context);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    struct store *store = context;
    struct list now, *link;
    (void)fd;
    (void)what;
    list_init(&now);
    list_splice(&now, &store->again);
    while ((link = list_shift(&now)))
        dispatch(store, CONTAINER_OF(link, struct operation, link));
}

void store_again(struct store *store, struct operation *operation)
{
    static const struct timeval pause = {0, AGAIN_MS * 1000};
    if (clock_ms() >= operation->give_up) {
        operation->on_done = end;
        store_refuse(store, operation, ring_home(store->layout->now, slot_of(operation->key)));
        return;
    }
    list_append(&store->again, &operation->link);
    if (!evtimer_pending(&store->retry, NULL))
        evtimer_add(&store->retry, &pause);
}

static void on_refusal(evutil_socket_t fd, short what, void *context)
{
    struct store *store = context;
    struct list now, *link;
    (void)fd;
    (void)what;
    list_init(&now);
    list_splice(&now, &store->refused);
    while ((link = list_shift(&now))) {
        struct operation *operation = CONTAINER_OF(link, struct operation, link);
        const struct outcome outcome = {
            .error = ERROR_UNAVAILABLE, .partition = operation->wanted, .retry_after = 1};
        operation->on_done(operation, &outcome);
    }
}

void store_refuse(struct store *store, struct operation *operation, unsigned id)
{
    operation->wanted = id;
    list_append(&store->refused, &operation->link);
    event_active(&store->refusal, EV_TIMEOUT, 0);
}

// ---------------------------------------------------------------- memory

static bool recall(struct store *store, struct operation *operation)
{
    unsigned slot = slot_of(operation->key), home = ring_home(store->layout->now, slot);
    struct outcome outcome = {.partition = home, .found = true, .cached = true};
    if (home > store->partitions || !outlook_usual_slot(store->outlook, slot))
        return false;
    // An expiry counts by the home's clock.
    int64_t now_us = clock_unix_us() + outlook_offset_us(store->outlook, home);
    bytes_clear(&store->copy);
    if (!hot_get(store->hot, home, operation->key, (uint64_t)now_us / 1000, &outcome.pair,
                 &store->copy))
        return false;
    operation->on_done = operation->caller_done;
    operation->on_done(operation, &outcome);
    return true;
}

static void on_recall(evutil_socket_t fd, short what, void *context)
{
    struct store *store = context;
    struct list now, *link;
    (void)fd;
    (void)what;
    list_init(&now);
    list_splice(&now, &store->asked);
    while ((link = list_shift(&now))) {
        struct operation *operation = CONTAINER_OF(link, struct operation, link);
        if (!recall(store, operation))
            dispatch(store, operation);
    }
    bytes_shrink(&store->copy, COPY_KEEP);
}

void store_submit(struct store *store, struct operation *operation)
{
    assert(key_valid(operation->key));
    operation->store = store;
    operation->caller_done = operation->on_done;
    operation->plans = 0;
    operation->give_up = clock_ms() + store->timeout_ms;
    operation->fills = store->hot && operation->kind == OPERATION_GET && !operation->quorum;
    if (operation->fills)
        operation->ticket = cache_ticket(store->hot->cache, operation->key);
    if (!store->hot || operation_writes(operation) || operation->quorum || operation->fresh) {
        dispatch(store, operation);
        return;
    }
    list_append(&store->asked, &operation->link);
    event_active(&store->recall, EV_TIMEOUT, 0);
}

void store_send(struct store *store, unsigned partition, struct operation *operation,
                void (*on_done)(struct operation *operation, const struct outcome *outcome))
{
    operation->on_done = on_done;
    partition_submit(store_partition(store, partition), operation);
}

struct list *store_relays(struct store *store)
{
    return &store->relays;
}

// ---------------------------------------------------------------- a new store

static void on_claimed(struct connection *connection, const struct answer *answer, void *context)
{
    struct store *store = context;
    (void)connection;
    (void)answer; // who cannot be told stays untrusted until sync has filled it
    store->claims--;
}

void store_claim(struct store *store)
{
    if (store->claim)
        return;
    store->claim = calloc(store->partitions, sizeof *store->claim);
    for (unsigned id = 1; store->claim && id <= store->partitions; id++) {
        struct claim *claim = &store->claim[id - 1];
        if (!outlook_blank(store->outlook, id) || id > store->layout->last)
            continue;
        query_claim(&claim->sql, id, store->layout->fingerprint[id - 1]);
        if (bytes_failed(&claim->sql))
            continue;
        claim->request.sql = bytes_slice(&claim->sql);
        claim->request.on_answer = on_claimed;
        claim->request.context = store;
        store->claims++;
        partition_query(store_partition(store, id), &claim->request);
    }
}

// ---------------------------------------------------------------- life

enum error store_new(struct event_base *base, const struct store_options *options,
                     struct store **store)
{
    static const struct timeval pulse = {0, PULSE_MS * 1000};
    const struct conf *conf = options->conf;
    unsigned partitions = conf->store.partitions;
    struct store *s = calloc(1, sizeof *s + sizeof s->partition[0] * partitions);
    *store = s;
    if (!s)
        return ERROR_MEMORY;
    list_init(&s->relays);
    list_init(&s->asked);
    s->hot = options->hot;
    evtimer_assign(&s->recall, base, on_recall, s);
    list_init(&s->again);
    list_init(&s->refused);
    evtimer_assign(&s->retry, base, on_retry, s);
    event_assign(&s->pulse, base, -1, EV_PERSIST, on_pulse, s);
    s->pulse_ms = clock_ms();
    event_add(&s->pulse, &pulse);
    evtimer_assign(&s->refusal, base, on_refusal, s);
    s->write_acks = conf->store.write_acks;
    s->timeout_ms = conf->store.timeout;
    s->partitions = partitions;
    const struct placing_options placing = {.conf = conf,
                                            .speaks = options->speaks,
                                            .leads = options->leads,
                                            .shared = options->placing,
                                            .thread = options->thread};
    enum error error = outlook_new(NULL, partitions, options->shared, &s->outlook);
    if (!error)
        error = placing_new(base, s, &placing, &s->placing);
    if (error) {
        store_free(store);
        return error;
    }
    const struct partition_events events = {on_partition_up, on_partition_watch, on_partition_clock,
                                            s};
    for (unsigned i = 0; i < partitions; i++) {
        const struct partition_options partition_options = {
            .pool = {.partition = &conf->partition[i],
                     .connections = options->connections,
                     .timeout_ms = conf->store.timeout,
                     .max_packet_needed = max_packet_needed(conf),
                     .speaks = options->speaks},
            .batch = conf->store.batch,
            .max_value = conf->server.max_value,
            .queue = conf->store.queue};
        error = partition_new(base, &partition_options, &events, &s->partition[i]);
        if (error) {
            store_free(store);
            return error;
        }
    }
    return ERROR_NONE;
}

void store_free(struct store **store)
{
    struct store *s = *store;
    if (!s)
        return;
    *store = NULL;
    for (unsigned i = 0; i < s->partitions; i++)
        partition_free(&s->partition[i]);
    relay_free_all(&s->relays);
    event_del(&s->recall);
    event_del(&s->retry);
    event_del(&s->pulse);
    event_del(&s->refusal);
    placing_free(&s->placing);
    bytes_fini(&s->copy);
    for (unsigned i = 0; s->claim && i < s->partitions; i++)
        bytes_fini(&s->claim[i].sql);
    free(s->claim);
    outlook_free(&s->outlook);
    free(s);
}

// reload_partition: where another server may answer now, that one is unknown until it speaks.
static void reload_partition(struct store *store, struct partition *partition,
                             const struct conf_partition *conf)
{
    const struct conf_partition *before = partition_conf(partition);
    unsigned id = partition_id(partition);
    if (conf_partition_equal(before, conf))
        return;
    partition_reload(partition, conf);
    if (!conf_same_server(before, conf) && outlook_is_up(store->outlook, id)) {
        placing_up(store->placing, id, false);
        outlook_up(store->outlook, id, false);
        placing_up(store->placing, id, true);
        outlook_up(store->outlook, id, true);
    }
}

void store_reload(struct store *store, const struct conf_partition *partitions)
{
    for (unsigned i = 0; i < store->partitions; i++)
        reload_partition(store, store->partition[i], &partitions[i]);
}

bool store_idle(const struct store *store)
{
    if (!list_empty(&store->relays) || !list_empty(&store->asked) || store->claims ||
        !list_empty(&store->again) || !list_empty(&store->refused) || !placing_idle(store->placing))
        return false;
    for (unsigned i = 0; i < store->partitions; i++)
        if (!partition_idle(store->partition[i]))
            return false;
    return true;
}

unsigned store_partitions(const struct store *store)
{
    return store->partitions;
}

struct partition *store_partition(const struct store *store, unsigned id)
{
    assert(id >= 1 && id <= store->partitions);
    return store->partition[id - 1];
}

void store_leave(struct store *store)
{
    placing_leave(store->placing);
}

enum error store_place(struct store *store, const struct layout *layout)
{
    enum error error = outlook_place(store->outlook, layout);
    if (error)
        return error;
    store->layout = layout;
    store->epoch = layout->placement.epoch;
    atomic_store(&store->knows, store->epoch != 0);
    return ERROR_NONE;
}

bool store_knows(const struct store *store)
{
    return atomic_load(&store->knows);
}

bool store_placed(const struct store *store)
{
    return placing_done(store->placing);
}

bool store_lacks(const struct store *store, unsigned id)
{
    return placement_has(store_placement(store), id) &&
           (id > store->partitions || !partition_exists(store->partition[id - 1]));
}

const struct placement *store_placement(const struct store *store)
{
    return &store->layout->placement;
}

const struct ring *store_ring(const struct store *store)
{
    return store->layout->now;
}

struct outlook *store_outlook(const struct store *store)
{
    return store->outlook;
}

unsigned store_write_acks(const struct store *store)
{
    return store->write_acks;
}
