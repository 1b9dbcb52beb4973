// SPDX-License-Identifier: MIT
#include "store/store.h"

#include <assert.h>
#include <event2/event_struct.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/key.h"
#include "store/query.h"
#include "store/relay.h"
#include "store/slot.h"

enum {
    COPY_KEEP = 64 * 1024, // bytes
};

// A partition of a new store is told that it is complete.
struct claim {
    struct partition_request request;
    struct bytes sql;
};

struct store {
    const struct ring *ring;
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
    while (connection_row(connection, &row)) {
        if (row_watch(&row, &watch) || outlook_hear(store->outlook, &watch))
            return; // not our kind of row: the partition stays unknown
        if (watch.kind == WATCH_ITSELF)
            partition_us = (int64_t)watch.now_us;
    }
    outlook_hear_end(store->outlook, sent_us, heard_us);
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
    unsigned home = ring_home(store->ring, slot_of(operation->key));
    bool writes = operation_writes(operation);
    if (!writes && !outcome->error && outcome->found && outcome->pair.whole && operation->fills &&
        outcome->partition == home && outlook_usual(store->outlook, home))
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

    if (away && clock_ms() < operation->give_up)
        dispatch(store, operation);
    else
        end(operation, outcome);
}

static void dispatch(struct store *store, struct operation *operation)
{
    unsigned home = ring_home(store->ring, slot_of(operation->key));
    bool writes = operation_writes(operation);
    bool alone =
        writes ? store->write_acks == 1 : !operation->quorum && outlook_heard_all(store->outlook);
    if (alone && outlook_usual(store->outlook, home)) {
        operation->session = (struct session){0};
        store_send(store, home, operation, on_home_done);
    } else {
        relay_start(store, operation, end);
    }
}

// ---------------------------------------------------------------- memory

static bool recall(struct store *store, struct operation *operation)
{
    unsigned home = ring_home(store->ring, slot_of(operation->key));
    struct outcome outcome = {.partition = home, .found = true, .cached = true};
    if (!outlook_usual(store->outlook, home))
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
        query_claim(&claim->sql, id, ring_fingerprint(store->ring, id));
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
    s->ring = options->ring;
    s->write_acks = conf->store.write_acks;
    s->timeout_ms = conf->store.timeout;
    s->partitions = partitions;
    enum error error = outlook_new(options->ring, partitions, options->shared, &s->outlook);
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
        outlook_up(store->outlook, id, false);
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
    if (!list_empty(&store->relays) || !list_empty(&store->asked) || store->claims)
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

const struct ring *store_ring(const struct store *store)
{
    return store->ring;
}

struct outlook *store_outlook(const struct store *store)
{
    return store->outlook;
}

unsigned store_write_acks(const struct store *store)
{
    return store->write_acks;
}
