// SPDX-License-Identifier: MIT
// A batch: operations that leave in one statement, and how its answer, or its failure, comes back
// to each of them.
//
// Reads share a SELECT, writes without precondition a multi-row upsert; whatever is large or has a
// precondition travels alone. A statement that the server refuses is split in halves until only the
// operations that are to blame fail.
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include "base/list.h"
#include "store/operation.h"
#include "store/pool.h"

enum {
    BATCH_MAX = 500,           // operations
    BATCH_BYTES = 1024 * 1024, // of keys and values in one statement of several operations
};

struct batch;

struct batch_events {
    // on_done: the batch is empty again.
    void (*on_done)(struct batch *batch, void *context);
    // on_again: the operation was not carried out and should be queued once more, at the front.
    void (*on_again)(struct operation *operation, void *context);
    void *context;
};

struct batch_options {
    unsigned id;      // of the partition
    unsigned limit;   // operations in one statement, at most
    size_t max_value; // bytes; how large a value may be
    // clock_ms until which statements do not wait for locks, because one was found held for long;
    // shared by the batches of a partition.
    int64_t *hurry_until;
};

// batch_new makes an empty batch.
enum error batch_new(const struct batch_options *options, const struct batch_events *events,
                     struct batch **batch) MUST_USE;

void batch_free(struct batch **batch);

// batch_fill takes from the front of `queue` (of operations, all reads or all writes) what can
// travel together and returns how many that are: what is of another kind or needs another session
// than the first is passed over. Keys in a batch of writes are distinct: of several writes to one
// key the first comes along, the others keep their place.
size_t batch_fill(struct batch *batch, struct list *queue);

// batch_run sends a filled batch; pool_idle(pool) > 0. on_done follows.
void batch_run(struct batch *batch, struct pool *pool);

// batch_operations returns the operations of a filled batch in the order of their keys.
struct operation *const *batch_operations(const struct batch *batch, size_t *count);

#endif
