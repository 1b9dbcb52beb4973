// SPDX-License-Identifier: MIT
#include "store/store.h"

#include <assert.h>
#include <event2/event_struct.h>
#include <stdlib.h>

#include "store/key.h"
#include "store/slot.h"

struct store {
    const struct ring *ring;
    struct event work; // once a turn of the loop, after everything that came in during it
    unsigned partitions;
    struct partition *partition[];
};

// Work is put off to the end of the loop's turn, so that all requests that arrived in it share
// their statements, and no callback comes from inside a call.
static void on_partition_work(struct partition *partition, void *context)
{
    struct store *store = context;
    (void)partition;
    event_active(&store->work, EV_TIMEOUT, 0);
}

static void on_work(evutil_socket_t fd, short what, void *context)
{
    struct store *store = context;
    (void)fd;
    (void)what;
    for (unsigned i = 0; i < store->partitions; i++)
        partition_work(store->partition[i]);
}

// The largest statement: a value of which every byte needs a backslash, its key, and the rest.
static uint64_t max_packet_needed(const struct conf *conf)
{
    uint64_t one = conf->server.max_value;
    uint64_t largest = one > BATCH_BYTES ? one : BATCH_BYTES;
    return 2 * largest + 256 * 1024;
}

enum error store_new(struct event_base *base, const struct store_options *options,
                     struct store **store)
{
    const struct conf *conf = options->conf;
    unsigned partitions = conf->store.partitions;
    struct store *s = calloc(1, sizeof *s + sizeof s->partition[0] * partitions);
    *store = s;
    if (!s)
        return ERROR_MEMORY;
    s->ring = options->ring;
    s->partitions = partitions;
    evtimer_assign(&s->work, base, on_work, s);
    for (unsigned i = 0; i < partitions; i++) {
        const char *address = options->addresses[i].text;
        const struct partition_options partition_options = {
            .pool = {.partition = &conf->partition[i],
                     .address = address[0] ? address : NULL,
                     .connections = options->connections,
                     .timeout_ms = conf->store.timeout,
                     .max_packet_needed = max_packet_needed(conf),
                     .speaks = options->speaks},
            .batch = conf->store.batch,
            .max_value = conf->server.max_value,
            .queue = conf->store.queue};
        enum error error =
            partition_new(base, &partition_options, on_partition_work, s, &s->partition[i]);
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
    event_del(&s->work);
    free(s);
}

void store_submit(struct store *store, struct operation *operation)
{
    assert(key_valid(operation->key));
    unsigned home = ring_home(store->ring, slot_of(operation->key));
    partition_submit(store_partition(store, home), operation);
}

bool store_idle(const struct store *store)
{
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
