// SPDX-License-Identifier: MIT
// Hot values in memory, and how fresh they are: the cache of a process, and up to when the change
// logs were read that keep it true. Shared by all threads.
#ifndef STORE_HOT_H
#define STORE_HOT_H

#include <stdatomic.h>

#include "store/cache.h"

struct hot {
    struct cache *cache;
    int64_t staleness_us; // the log of a key's home must have been read so recently
    unsigned partitions;
    atomic_int_least64_t read_us[]; // [partitions]: clock_us
};

enum error hot_new(size_t bytes, unsigned partitions, unsigned staleness_ms,
                   struct hot **hot) MUST_USE;
void hot_free(struct hot **hot);

// hot_read: all that the log of partition `id` had at clock_us `read_us` was invalidated.
void hot_read(struct hot *hot, unsigned id, int64_t read_us);

// hot_lost: the logs are not read any more, or were not for a while.
void hot_lost(struct hot *hot);

// hot_get is cache_get of a key whose home is partition `id`, while that one's log is fresh.
bool hot_get(struct hot *hot, unsigned id, struct slice key, uint64_t now_ms, struct pair *pair,
             struct bytes *copy) MUST_USE;

#endif
