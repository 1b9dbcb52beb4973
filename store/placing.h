// SPDX-License-Identifier: MIT
// Keeps the store of one thread by the placement that the partitions show (store/core/placement.h).
//
// A new epoch counts once all of its members that are up show it: until then one of them might take
// writes by the epoch before. A member that was away when the epoch came is given it. Where no
// partition shows any placement, and all are there, the store is new to this: it is given the first
// one, from the configuration.
#ifndef STORE_PLACING_H
#define STORE_PLACING_H

#include "store/store.h"

struct placing;

struct placing_options {
    const struct conf *conf; // borrowed
    bool speaks;             // logs what happens
    bool leads;              // gives placements to partitions: one thread does
    bool reports;            // tells the partitions of this server: one thread does
};

// placing_new begins with what the configuration wants, as epoch 0.
enum error placing_new(struct event_base *base, struct store *store,
                       const struct placing_options *options, struct placing **placing) MUST_USE;
void placing_free(struct placing **placing);

// placing_heard takes what partition `id` says of itself.
void placing_heard(struct placing *placing, unsigned id, const struct watch *watch);

// placing_ask asks partition `id`, which refused a batch, for its placement.
void placing_ask(struct placing *placing, unsigned id);

// placing_leave takes back what placing_options.reports told.
void placing_leave(struct placing *placing);

// placing_idle is true while nothing is under way.
bool placing_idle(const struct placing *placing);

// placing_done is true while the store works by a placement that all members which are up show.
bool placing_done(const struct placing *placing);

const struct layout *placing_layout(const struct placing *placing);

#endif
