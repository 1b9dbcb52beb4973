// SPDX-License-Identifier: MIT
// A pass: what one run of sync knows of the partitions and of its own success. The steps are
// carried out in the order of pass_run; each works on all partitions at once (crew.h).
#ifndef SYNC_PASS_H
#define SYNC_PASS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "store/core/placement.h"
#include "store/cursor.h"
#include "store/ring.h"
#include "sync/channel.h"
#include "sync/throttle.h"

#define PASS_CLOCK_BOUND_US INT64_C(5000000) // how far apart clocks may be

enum pass_exit {
    PASS_CONVERGED = 0,
    PASS_FAILED = 1,
    PASS_BUSY = 75,   // another sync runs, or not all could be reached
    PASS_CONFIG = 78, // what can never work
};

enum peer_state {
    PEER_UP,
    PEER_AWAY,
    PEER_CLOCK, // its clock is too far from the others'; treated as away
    PEER_WRONG, // it answers but can never work
    PEER_APART, // it is no member of the store
};

struct divert {
    uint64_t target;
    uint64_t writer;
    uint64_t version;
};

// A cursor of this partition into the log of another one.
struct reading {
    struct cursor cursor;
    bool present; // in the partition when the pass began
    bool done;    // the log was read to its mark in this pass
};

// A partition during a pass. Only one thread at a time works on `control` and the fields;
// reading[s] belongs to the stream from s.
struct peer {
    const struct conf_partition *conf;
    _Atomic(enum peer_state) state;
    struct channel *control;

    bool member; // it takes part in the placement
    bool placed; // it shows a placement
    struct placement placement;

    uint64_t rows; // for a plan: how many it has, and their bytes, roughly
    uint64_t row_bytes;

    bool present; // it has a row on itself
    unsigned id;
    bool seeded;
    bool trusted;
    uint32_t ring;
    uint64_t pass;
    uint64_t floor;
    struct bytes verified;   // the key behind which the next pass goes on to compare; empty = start
    int64_t offset_us;       // its clock against ours
    struct reading *reading; // [partitions], by source - 1
    struct divert *divert;
    size_t diverts;
    size_t diverts_cap;

    uint64_t mark; // in its log
    uint64_t mark_ms;
    uint64_t pending; // entries of other logs that it has not got
    double lag_seconds;
    bool lag_known;
};

struct pass_options {
    bool dry_run;
    bool verify_all;
    bool progress;   // show a bar on standard error
    bool plan;       // print who would own what, and do nothing
    unsigned forget; // the member to give up; 0 = none
};

// What a round of a pass is for.
enum pass_mode {
    PASS_KEEP,  // the partitions have what they own, and nothing else
    PASS_JOIN,  // those who will own something get it
    PASS_MOVE,  // those who own get what the others have; nothing is removed
    PASS_SWEEP, // as PASS_KEEP, of all rows: what nobody owns is removed
};

// What was done; added to by any thread.
struct pass_counts {
    atomic_uint_least64_t copied;
    atomic_uint_least64_t repaired;
    atomic_uint_least64_t stamped;
    atomic_uint_least64_t tombstones;
    atomic_uint_least64_t purged;
    atomic_uint_least64_t trimmed;
    atomic_uint_least64_t conflicts;
    atomic_uint_least64_t rejected;
    atomic_uint_least64_t dropped; // rows that lay where they do not belong
    atomic_uint_least64_t bytes;
};

struct crew;
struct keeper;

struct pass {
    const struct conf *conf;
    struct members wanted;   // by the configuration
    struct layout *layout;   // the placement; NULL before it is known
    const struct ring *ring; // of the layout: who own
    unsigned unknown;        // a member that the configuration has no section for; 0 = none
    struct layout *moved;    // the change that this pass has brought about; NULL = none
    uint64_t epoch;          // of the placement that the partitions show
    bool announced;          // and they know what it will be
    enum pass_mode mode;
    struct pass_options options;
    unsigned partitions;
    struct peer *peer; // [partitions]
    uint64_t token;
    uint64_t number;
    uint64_t floor; // the floor of purged tombstones that is on all partitions
    bool risen;     // it was raised in this pass
    uint64_t max_packet_needed;
    int64_t started_us;
    struct crew *crew;
    struct keeper *keeper;
    struct throttle throttle;
    struct pass_counts counts;
    atomic_bool fenced;
    atomic_bool streams_failed;
    atomic_bool verify_failed;
    atomic_int exit_code;
    atomic_size_t steps_done; // of steps_total, for the progress bar
    size_t steps_total;
};

// pass_run carries out a pass over the partitions of `conf` and returns how it ended. `pass` is
// filled in for the report; pass_fini follows.
enum pass_exit pass_run(struct pass *pass, const struct conf *conf,
                        const struct pass_options *options);

void pass_fini(struct pass *pass);

// pass_trouble notes that the pass ends with `code`, or with a worse one noted already, and tells
// why in a line.
void pass_trouble(struct pass *pass, enum pass_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// pass_ask runs a statement on a partition. A partition that is lost by it is away from now on;
// ERROR_REJECTED: the server refused, and nothing was told yet.
enum error pass_ask(struct pass *pass, struct peer *peer, struct channel *channel,
                    const struct bytes *sql, channel_on_row *on_row, void *context) MUST_USE;

// pass_refused tells what the partition refused last, unless the pass has stopped anyway.
void pass_refused(struct pass *pass, struct peer *peer, struct channel *channel);

// pass_do is pass_ask for statements that are not supposed to be refused: tells it.
enum error pass_do(struct pass *pass, struct peer *peer, struct channel *channel,
                   const struct bytes *sql, channel_on_row *on_row, void *context) MUST_USE;

static inline bool peer_up(const struct peer *peer)
{
    return atomic_load(&peer->state) == PEER_UP;
}

// pass_stopped is true when nothing more must be changed anywhere.
static inline bool pass_stopped(const struct pass *pass)
{
    return atomic_load(&pass->fenced);
}

// pass_all_up is true while every member of the store takes part.
bool pass_all_up(const struct pass *pass);

// pass_owns tells whether a partition is to get the pairs of a slot; pass_has whether it is to get
// them or, while they move, had them; pass_knows whether it has all of them that it should.
bool pass_owns(const struct pass *pass, unsigned slot, unsigned id);
bool pass_has(const struct pass *pass, unsigned slot, unsigned id);
bool pass_knows(const struct pass *pass, unsigned slot, const struct peer *peer);

// pass_clears: what lies where it does not belong is removed in this round.
static inline bool pass_clears(const struct pass *pass)
{
    return pass->mode == PASS_KEEP || pass->mode == PASS_SWEEP;
}

const char *peer_state_text(enum peer_state state);

#endif
