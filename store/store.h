// SPDX-License-Identifier: MIT
// The store as one thread sees it: finds the partition of a key and hands the operation over.
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/address.h"
#include "store/operation.h"
#include "store/partition.h"
#include "store/ring.h"

struct store;

struct store_options {
    const struct conf *conf;         // borrowed
    const struct ring *ring;         // borrowed
    const struct address *addresses; // [partitions], borrowed
    unsigned connections;            // to each partition
    bool speaks;                     // logs what happens to the partitions
};

// store_new makes the store of one thread on its loop and starts to connect.
enum error store_new(struct event_base *base, const struct store_options *options,
                     struct store **store) MUST_USE;

// store_free closes all connections; no operation may be under way.
void store_free(struct store **store);

// store_submit sends an operation to the home of its key; on_done follows from the loop.
void store_submit(struct store *store, struct operation *operation);

// store_idle is true while no operation is under way and no statement unanswered.
bool store_idle(const struct store *store);

unsigned store_partitions(const struct store *store);

// store_partition returns the partition with that id, 1..store_partitions.
struct partition *store_partition(const struct store *store, unsigned id);

const struct ring *store_ring(const struct store *store);

#endif
