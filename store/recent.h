// SPDX-License-Identifier: MIT
// The last versions of some keys, as many as were noted of late: a table of fixed size that forgets
// the oldest. Keys are told apart by a seeded hash of 64 bits.
#ifndef STORE_RECENT_H
#define STORE_RECENT_H

#include <sodium.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

enum {
    RECENT_WAYS = 4, // keys that share a place
};

struct recent {
    size_t places;
    unsigned char seed[crypto_shorthash_KEYBYTES];
    struct recent_key {
        uint64_t hash;
        uint64_t version; // 0: free
    } (*place)[RECENT_WAYS];
    uint64_t forgotten; // the greatest version that had to make room
};

// recent_init makes room for about `keys` keys.
enum error recent_init(struct recent *recent, size_t keys) MUST_USE;
void recent_fini(struct recent *recent);

// recent_version returns the version that was noted of a key, 0 if none is remembered.
uint64_t recent_version(const struct recent *recent, struct slice key);

// recent_note notes a version that is not less than the one noted before.
void recent_note(struct recent *recent, struct slice key, uint64_t version);

#endif
