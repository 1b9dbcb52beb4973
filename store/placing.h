// SPDX-License-Identifier: MIT
// Keeps the store of one thread by the placement that the partitions show (store/core/placement.h).
//
// A new epoch counts once all of its members that are up show it: until then one of them might take
// writes by the epoch before. A member that was away when the epoch came is given it. Where no
// partition shows any placement, and all are there, the store is new to this: it is given the first
// one, from the configuration.
#ifndef STORE_PLACING_H
#define STORE_PLACING_H

#include <stdatomic.h>

#include "store/store.h"

struct placing;

// What the threads of a process tell the one that reports: a server works by the epoch of its
// slowest thread, and reaches what all of them reach.
struct placing_shared {
    unsigned threads;
    struct placing_thread {
        atomic_uint_least64_t epoch;
        atomic_bool up[CONF_PARTITIONS_MAX]; // by id - 1
    } thread[];
};

enum error placing_shared_new(unsigned threads, struct placing_shared **shared) MUST_USE;
void placing_shared_free(struct placing_shared **shared);

struct placing_options {
    const struct conf *conf;       // borrowed
    bool speaks;                   // logs what happens
    bool leads;                    // gives placements to partitions: one thread does
    struct placing_shared *shared; // borrowed; NULL: it is nobody's business what this one knows
    unsigned thread;               // which of them this is; the first tells the partitions
};

// placing_new begins with what the configuration wants, as epoch 0.
enum error placing_new(struct event_base *base, struct store *store,
                       const struct placing_options *options, struct placing **placing) MUST_USE;
void placing_free(struct placing **placing);

// placing_up notes whether partition `id` can be asked now.
void placing_up(struct placing *placing, unsigned id, bool up);

// placing_heard takes what partition `id` says of itself.
void placing_heard(struct placing *placing, unsigned id, const struct watch *watch);

// placing_ask asks partition `id`, which refused a batch, for its placement.
void placing_ask(struct placing *placing, unsigned id);

// placing_leave takes back what the partitions were told of this server.
void placing_leave(struct placing *placing);

// placing_idle is true while nothing is under way.
bool placing_idle(const struct placing *placing);

// placing_may is true while a store without a placement may yet get one: a partition shows one, or
// none is down.
bool placing_may(const struct placing *placing);

// placing_done is true while the store works by a placement that all members which are up show.
bool placing_done(const struct placing *placing);

#endif
