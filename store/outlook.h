// SPDX-License-Identifier: MIT
// What one thread knows of all partitions, and what follows from it for a key: where to write, whom
// to read. Pure: it is told what happens and computes.
//
// A partition is *trusted* while it says that it has all that it should: it is seeded, for the
// slots that it owns now, and no other partition remembers it further on than it is (which would
// make it a restored backup). A home is *usual* while it is up and trusted, takes writes, and
// nobody holds diverts for it: then it alone is asked. Otherwise several partitions are, and while
// the placement changes those that own a key, or did or will (store/core/placement.h).
#ifndef STORE_OUTLOOK_H
#define STORE_OUTLOOK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "conf/conf.h"
#include "store/core/placement.h"
#include "store/ring.h"
#include "store/row.h"

enum {
    OUTLOOK_FRESH_MS = 1500, // what a partition said counts for so long
    DIVERTED_MS = 2000, // for so long after a divert this process knows of it without being told
    REFUSING_MS = 1000, // a partition that cannot write is not asked again for so long
    NOTICE_MS = 900,    // all daemons have noticed a silent partition after so long

};

struct outlook;

// What the threads of a process tell each other at once.
struct outlook_shared {
    atomic_int_least64_t floor_us;   // the last floor that was given, or a later version
    atomic_int_least64_t diverted[]; // [partitions]: clock_ms until which a home may be diverted
};

enum error outlook_shared_new(unsigned partitions, struct outlook_shared **shared) MUST_USE;
void outlook_shared_free(struct outlook_shared **shared);

// outlook_new: `shared` is borrowed, and `ring`, by which partitions 1..`partitions` own. It may be
// NULL if outlook_place follows.
enum error outlook_new(const struct ring *ring, unsigned partitions, struct outlook_shared *shared,
                       struct outlook **outlook) MUST_USE;

// outlook_place makes `layout` (borrowed until the next call) the one by which partitions own.
// ERROR_MEMORY: nothing was changed.
enum error outlook_place(struct outlook *outlook, const struct layout *layout) MUST_USE;

void outlook_free(struct outlook **outlook);

// outlook_up tells whether partition `id` can be asked now; one that came up is unknown until it
// speaks.
void outlook_up(struct outlook *outlook, unsigned id, bool up);

// outlook_silent notes that partition `id` went down without a word: it may be frozen, and carry
// out what it was sent when it wakes up.
void outlook_silent(struct outlook *outlook, unsigned id);

// outlook_refusing notes that partition `id` cannot write now (read-only, disk full).
void outlook_refusing(struct outlook *outlook, unsigned id);

// outlook_hear takes the rows of query_watch from partition `id`: begin, each row, end. `sent_us`
// and `heard_us` are clock_unix_us when the question left and when the answer came.
void outlook_hear_begin(struct outlook *outlook, unsigned id);
enum error outlook_hear(struct outlook *outlook, const struct watch *watch) MUST_USE;
void outlook_hear_end(struct outlook *outlook, int64_t sent_us, int64_t heard_us);

// outlook_stranger tells whether partition `id` is of another store: then it is as if it were down.
void outlook_stranger(struct outlook *outlook, unsigned id, bool stranger);

// outlook_shows notes that partition `id` shows an epoch, which was learned in another way than by
// hearing it.
void outlook_shows(struct outlook *outlook, unsigned id, uint64_t epoch);

// outlook_epoch returns the epoch that partition `id` showed last; 0 for none.
uint64_t outlook_epoch(const struct outlook *outlook, unsigned id);

// outlook_outdated: a member shows a later epoch than the one that counts here, and what that one
// changes is not known: somebody else may own a key.
bool outlook_outdated(const struct outlook *outlook);

// outlook_expect notes that up to that epoch the owners stay who they are.
void outlook_expect(struct outlook *outlook, uint64_t epoch);

// outlook_fresh: every partition that is up has spoken lately.
bool outlook_fresh(const struct outlook *outlook);

bool outlook_is_up(const struct outlook *outlook, unsigned id);
bool outlook_known(const struct outlook *outlook, unsigned id);
bool outlook_trusted(const struct outlook *outlook, unsigned id);

// outlook_all_blank is true when every partition is up and has neither pairs nor a past: a new
// store.
bool outlook_all_blank(const struct outlook *outlook);
bool outlook_blank(const struct outlook *outlook, unsigned id);

// outlook_holds returns the version of the last write that partition `id` holds for `target`; 0 for
// none.
uint64_t outlook_holds(const struct outlook *outlook, unsigned id, unsigned target);

// outlook_offset_us returns how far the clock of partition `id` is ahead of this machine's, at
// most; outlook_reference_us the same for the median of all clocks, this machine's included.
int64_t outlook_offset_us(const struct outlook *outlook, unsigned id);

// outlook_clock tells between which times, microseconds since 1970 UTC, the clock of partition `id`
// is at `now_us` by this machine's; 0 and INT64_MAX while it was never heard.
void outlook_clock(const struct outlook *outlook, unsigned id, int64_t now_us, int64_t *least_us,
                   int64_t *most_us);
int64_t outlook_reference_us(const struct outlook *outlook);

// outlook_lag_us returns how long ago partition `id` was last known to have all writes of the
// others; -1 while sync has never brought it any.
int64_t outlook_lag_us(const struct outlook *outlook, unsigned id);

// outlook_see notes a version that a partition gave. One may lie in the future: after a raised
// write the next one of the same key is a little later, whatever the clock.
void outlook_see(struct outlook *outlook, uint64_t version);

// outlook_floor_us returns a time (microseconds since 1970 UTC) for a write whose key may be
// written elsewhere: greater than that of any version that was given, or that a frozen partition
// may give when it wakes up, and than all floors before.
int64_t outlook_floor_us(struct outlook *outlook);

// outlook_floor returns the greatest floor of purged tombstones that any partition knows.
uint64_t outlook_floor(const struct outlook *outlook);

// outlook_usual: keys of that home need nobody but their home, unless the home of their slot
// changes; outlook_usual_slot: those of the slot.
bool outlook_usual(const struct outlook *outlook, unsigned home);
bool outlook_usual_slot(const struct outlook *outlook, unsigned slot);

// outlook_heard_all: no partition is down that has not been heard since the process began. Such a
// one may hold diverts from before, so that reads of all its slots may be old.
bool outlook_heard_all(const struct outlook *outlook);

// outlook_divert notes that a key of `home` is about to be written elsewhere.
void outlook_divert(struct outlook *outlook, unsigned home);

// Whom a read asks. Ids; the first asked is the first owner that is up.
struct plan {
    unsigned count;
    unsigned missing_count; // partitions that may know something newer and cannot be asked
    unsigned majority;      // that must answer for a quorum
    uint16_t ask[CONF_PARTITIONS_MAX];
    uint16_t missing[CONF_PARTITIONS_MAX];
};

enum plan_kind {
    PLAN_READ,
    PLAN_QUORUM,    // at least a majority of the owners
    PLAN_CONDITION, // for a conditional write
};

// outlook_plan plans a look at a key in `slot`.
void outlook_plan(const struct outlook *outlook, unsigned slot, enum plan_kind kind,
                  struct plan *plan);

// outlook_writer returns the first owner of `slot` that is up and takes writes, beginning behind
// the first `skip` such owners; 0 if there is none.
unsigned outlook_writer(const struct outlook *outlook, unsigned slot, unsigned skip);

// outlook_owns tells whether partition `id` owns `slot`, or did, or will.
bool outlook_owns(const struct outlook *outlook, unsigned slot, unsigned id);

// outlook_knows tells whether partition `id` has all of `slot` that it should: then what it has
// nothing of, and is old enough to have been purged, is gone.
bool outlook_knows(const struct outlook *outlook, unsigned slot, unsigned id);

// outlook_changes is true while the placement changes: what a key's home has is not all.
bool outlook_changes(const struct outlook *outlook);

// outlook_replicas returns how many owners a slot has at least.
unsigned outlook_replicas(const struct outlook *outlook);

#endif
