// SPDX-License-Identifier: MIT
// A list of keys, copied.
#ifndef SYNC_KEYS_H
#define SYNC_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

// Invariant: between keys_add and keys_settle or keys_sort only `count` may be looked at.
struct keys {
    struct bytes text;
    struct slice *key;
    uint64_t *version; // of each key, for whoever needs one; 0 at first
    size_t count;
    size_t cap;
};

void keys_fini(struct keys *keys);

// keys_clear forgets the keys and keeps the memory.
void keys_clear(struct keys *keys);

enum error keys_add(struct keys *keys, struct slice key, uint64_t version) MUST_USE;

// keys_settle makes key[] point to the bytes, in the order in which they came.
void keys_settle(struct keys *keys);

// keys_sort settles, sorts by bytes and drops what is there twice (any of them stays).
void keys_sort(struct keys *keys);

// keys_find returns the index of a key in sorted keys, or -1.
ptrdiff_t keys_find(const struct keys *keys, struct slice key);

#endif
