// SPDX-License-Identifier: MIT
// A pair as it lies in a row: all bytes borrowed from the row.
#ifndef STORE_PAIR_H
#define STORE_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    TYPE_MAX = 128, // bytes; the width of pairs.type
};

struct pair {
    struct slice key;
    struct slice value; // only if `whole`
    struct slice type;
    uint64_t size;    // bytes of the value, also when it was not fetched
    uint64_t version; // the effective one
    uint64_t created; // only of OPERATION_LOOK
    uint64_t expires; // ms since 1970 UTC; 0 = never; of a dead row a time that is over
    bool whole;       // the value was fetched with the row, or there is none
    bool tombstone;
    bool dead; // a tombstone, or expired; only of OPERATION_LOOK
};

// What a write gave: version, the version at which this life of the key began, and when it ends.
struct stamp {
    uint64_t version;
    uint64_t created;
    uint64_t expires; // as in struct pair
    bool tombstone;
};

#endif
