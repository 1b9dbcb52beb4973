// SPDX-License-Identifier: MIT
// What is to be done about a key, from the versions of it that the partitions have. Pure.
#ifndef SYNC_COMPARE_H
#define SYNC_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

// A partition that is up, as seen from one key.
struct side {
    bool owner;   // of the key's slot
    bool trusted; // it has all that it should
    bool has;
    uint64_t version; // if it has
    // What follows:
    bool fill; // bring it the newest version
    bool drop; // delete the row; only after all others have been filled
};

enum comparison {
    COMPARE_EQUAL,  // nothing to do
    COMPARE_FILL,   // copy from `newest`
    COMPARE_PURGED, // all others know that it is gone: drop what is left
};

// compare decides. `missing` is true if an owner is not up. *newest is the index of a side with the
// newest version, an owner if one has it.
enum comparison compare_sides(struct side *side, unsigned count, bool missing, uint64_t floor,
                              unsigned *newest);

#endif
