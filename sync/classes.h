// SPDX-License-Identifier: MIT
// Classes: the slots that have the same owners, in whatever order, are of one class. All of its
// owners must have the same of it. With two rings, those who own it by either are its owners. Pure.
#ifndef SYNC_CLASSES_H
#define SYNC_CLASSES_H

#include "base/bytes.h"
#include "store/ring.h"

struct classes {
    unsigned count;
    uint16_t *slot;     // [count]: one of each
    struct bytes table; // the class of each slot in two bytes, big-endian; empty: there is but one
};

// classes_init computes the classes; `ring` is one of so many members, `other` may be NULL.
// ERROR_MEMORY.
enum error classes_init(struct classes *classes, const struct ring *ring, const struct ring *other,
                        unsigned members) MUST_USE;
void classes_fini(struct classes *classes);

#endif
