// SPDX-License-Identifier: MIT
// An operation: one request for one key, on its way through the store, and its outcome.
#ifndef STORE_OPERATION_H
#define STORE_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "store/cache.h"
#include "store/pair.h"
#include "store/session.h"

struct relay;
struct store;

enum operation_kind {
    OPERATION_GET,
    OPERATION_HEAD, // all of the pair but its value
    OPERATION_LOOK, // the row as it is, also of a tombstone or an expired pair; the store's own
    OPERATION_PUT,
    OPERATION_DELETE,
    OPERATION_APPLY, // brings another partition's row, unless a newer is there; the store's own
};

enum {
    PRECONDITION_VERSIONS = 16,
};

#define OPERATION_TTL_MAX INT64_C(3153600000) // seconds; a hundred years

// What must be true of the key's present state for a write to happen. An expired pair and a
// tombstone count as absent.
struct precondition {
    bool must_exist;     // If-Match, If-Unmodified-Since
    bool must_match;     // and its version is one of version[]
    bool must_differ;    // If-None-Match: absent, or its version none of version[]
    bool must_be_absent; // If-None-Match: *
    uint64_t version[PRECONDITION_VERSIONS];
    unsigned count;
    uint64_t below; // If-Unmodified-Since: its version must be less than this; 0 = no such bound
};

struct outcome {
    enum error error;   // ERROR_NONE, _UNAVAILABLE, _OUTCOME, _PRECONDITION, _REJECTED, _TOO_LARGE
    unsigned partition; // id of the partition that answered or should have
    unsigned retry_after; // seconds, with ERROR_UNAVAILABLE
    bool refusing;        // with ERROR_UNAVAILABLE: the partition answers but cannot write
    bool moved;           // with ERROR_UNAVAILABLE: it came by another epoch than the partition's
    bool found;           // reads: the key is there; pair is filled in
    bool cached;          // reads: from memory
    bool created;         // writes: the key was absent before
    struct stamp stamp;   // writes: what the partition gave
    struct pair pair;     // reads; borrowed, valid only during the callback
    unsigned acks;        // writes: on how many partitions the write is
    unsigned acks_wanted; // write_acks
    // Reads: the partitions that could know something newer and did not answer; borrowed as pair.
    const uint16_t *stale;
    unsigned stale_count;
};

struct operation {
    // Set by the caller; all bytes borrowed until on_done.
    enum operation_kind kind;
    struct slice key; // valid (key_valid)
    struct slice value;
    struct slice type;                       // at most TYPE_MAX bytes
    uint64_t ttl_ms;                         // PUT: 0 = never expires
    const struct precondition *precondition; // writes; NULL = none
    bool quorum;                             // reads: ask a majority of the owners
    bool fresh;                              // reads: not from memory
    // Called exactly once, never inside the call that submits.
    void (*on_done)(struct operation *operation, const struct outcome *outcome);

    // Private to the store.
    struct list link;
    int64_t deadline; // clock_ms; nothing is sent for the operation after it
    bool resent;      // it was sent once on a connection that was lost
    bool alone;       // travels in a statement of its own
    bool doubtful;    // reads: the pair is about to expire, so that its partition has to decide
    bool fills;       // what it reads may be kept in memory, if `ticket` is still good then
    struct cache_ticket ticket;
    struct session session;
    struct stamp stamp; // OPERATION_APPLY: the row's version, created, expires
    struct store *store;
    struct relay *relay;
    void (*caller_done)(struct operation *operation, const struct outcome *outcome);
    int64_t give_up; // clock_ms; it is not sent anywhere else after it
    unsigned plans;  // that were made for it
    unsigned wanted; // store_refuse: the partition for want of which it ends
};

// outcome_short: the write is on fewer partitions than write_acks asks for.
static inline bool outcome_short(const struct outcome *outcome)
{
    return !outcome->error && outcome->acks < outcome->acks_wanted;
}

static inline bool operation_writes(const struct operation *operation)
{
    return operation->kind >= OPERATION_PUT;
}

#endif
