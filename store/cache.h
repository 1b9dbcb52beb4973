// SPDX-License-Identifier: MIT
// The values that are asked for most, in memory, shared by all threads of a process. It knows no
// database: it is told what was read and what has changed.
//
// The promise: a cache_get that begins after cache_invalidate(key) or cache_clear has returned
// gives nothing that was read before that call began. A reader may have read the old value before
// the change and come to fill after it; so it takes a ticket *before* it asks the database, and a
// fill whose ticket is older than the last invalidation of its key keeps nothing. Invalidate after
// the change is committed and before anybody is told that it is. One counter serves many keys: a
// ticket may be refused without need, never honoured wrongly. Nor does anything that was offered to
// cache_fill, kept or not, come after something older: readers do not see a value go back.
//
// Which values stay: a hand goes round from the oldest and passes over what was hit since it came
// by (CLOCK). What it stops at goes only for a value that is asked for more often, by a sketch of
// how often each key was asked for lately (Einziger, Friedman, Manes: TinyLFU: A Highly Efficient
// Cache Admission Policy, 2017). For a value that needs the room of several, their frequencies
// count together (Einziger, Eytan, Friedman, Manes: Lightweight Robust Size Aware Cache Management,
// 2022). What was asked for once displaces nothing, so that a scan of cold keys does no harm.
//
// Locks are held for a look-up and a copy, or while the hand passes a bounded number of values.
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "store/pair.h"

enum {
    CACHE_VALUE_MAX = 1 << 20, // bytes; larger values are never kept
    CACHE_SHARE = 64,          // nor what would take more than this part of the budget
};

struct cache;

// A moment in the life of a key, see above.
struct cache_ticket {
    uint64_t hash;
    uint32_t stamp;
    uint32_t generation;
};

struct cache_stats {
    uint64_t hits;
    uint64_t misses;        // also of a value that was there and has expired
    uint64_t fills;         // that were kept
    uint64_t refused;       // fills: asked for too rarely, or too large
    uint64_t late;          // fills: the ticket was too old
    uint64_t evictions;     // values that had to make room
    uint64_t invalidations; // calls, whether the value was there or not
    uint64_t clears;
    uint64_t entries; // now; those that a clear has left behind go within the next calls
    uint64_t bytes;   // what the entries take now, <= the budget
};

// cache_new makes an empty cache. `bytes` bounds what values, keys, their bookkeeping and the
// tables take, as the allocator rounds it; on top come 260 KiB of counters, and the copies that
// fills under way have made. ERROR_MEMORY.
enum error cache_new(size_t bytes, struct cache **cache) MUST_USE;

// cache_free: no other thread uses it any more.
void cache_free(struct cache **cache);

// cache_get looks for `key`, and counts that it was asked for. On a hit it appends type and value
// to `copy` and fills `pair`: the slices of type and value borrow from `copy`, that of the key from
// `key`. Never a value that has expired at `now_ms`, milliseconds since 1970 UTC. Memory that is
// out is a miss, and `copy` says so.
bool cache_get(struct cache *cache, struct slice key, uint64_t now_ms, struct pair *pair,
               struct bytes *copy) MUST_USE;

// cache_ticket returns what cache_fill wants to see; take it before the database is asked.
struct cache_ticket cache_ticket(const struct cache *cache, struct slice key);

// cache_fill offers what the database said of `key` after `ticket` was taken, and tells whether it
// was kept. `pair->key` is not looked at; one that is not whole, or dead, is not kept, nor one that
// is not newer than what is there.
bool cache_fill(struct cache *cache, struct slice key, struct cache_ticket ticket,
                const struct pair *pair);

// cache_invalidate forgets `key`, and what readers under way will bring of it.
void cache_invalidate(struct cache *cache, struct slice key);

// cache_clear is cache_invalidate of all keys, in constant time.
void cache_clear(struct cache *cache);

// cache_stats adds up all shards, one after the other.
void cache_stats(struct cache *cache, struct cache_stats *stats);

// cache_check asserts the invariants: every entry is in the one slot and the one segment where it
// belongs, and the sums are right and within the budget. For tests.
void cache_check(struct cache *cache);

#endif
