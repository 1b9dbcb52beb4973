// SPDX-License-Identifier: MIT
// How long reads that could leave now wait for others to leave with them. A statement costs the
// database as much as some twenty keys in it, and clients that were just answered mostly ask again
// at once: a moment's patience lets one statement do the work of two. Who is alone never waits.
#ifndef STORE_GATHER_H
#define STORE_GATHER_H

#include <stddef.h>
#include <stdint.h>

// All zero: nothing was sent yet.
struct gather {
    size_t expected;     // a few more than the last statement had; fewer when they did not come
    int64_t since_us;    // clock_us since when it waits for them; 0: it does not
    int64_t patience_us; // half of what the last statement took, but not long
};

// gather_wait_us returns for how many microseconds the `waiting` operations should wait for more,
// 0 if they should leave.
int64_t gather_wait_us(struct gather *gather, size_t waiting, int64_t now_us);

// gather_sent: `count` operations left in one statement.
void gather_sent(struct gather *gather, size_t count);

// gather_answered: their answer came after `took_us` microseconds.
void gather_answered(struct gather *gather, int64_t took_us);

#endif
