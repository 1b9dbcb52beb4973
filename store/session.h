// SPDX-License-Identifier: MIT
// What sets writes apart that may not share a statement.
#ifndef STORE_SESSION_H
#define STORE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

enum {
    // So long after it was sent, a statement gives no version any more: one that lay in a frozen
    // partition is refused when that wakes up. What is diverted until then gets versions beyond it.
    SESSION_CEILING_MS = 1000,
};

struct session {
    bool apply;      // the rows bring their versions
    bool raised;     // versions begin above all clocks: the key may have been written elsewhere
    unsigned divert; // the home for which the rows are taken; 0 = none
    uint64_t epoch;  // of the placement by which the rows come here; not with `apply`
};

static inline bool session_equal(const struct session *a, const struct session *b)
{
    return a->apply == b->apply && a->raised == b->raised && a->divert == b->divert &&
           a->epoch == b->epoch;
}

#endif
