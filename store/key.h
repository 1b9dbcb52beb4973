// SPDX-License-Identifier: MIT
// Keys: 1 to 512 bytes of anything, compared and ordered as bytes, never normalised.
#ifndef STORE_KEY_H
#define STORE_KEY_H

#include <stdbool.h>

#include "base/bytes.h"

enum {
    KEY_MAX = 512, // bytes; the width of pairs.k
};

static inline bool key_valid(struct slice key)
{
    return key.len >= 1 && key.len <= KEY_MAX;
}

// key_prefix_end writes to `end` (KEY_MAX bytes) the smallest byte string that is greater than
// every key which begins with `prefix`, and returns its length; 0 when there is none (a prefix that
// is empty or all 0xff), which means: to the end of the store. prefix.len <= KEY_MAX.
size_t key_prefix_end(struct slice prefix, char *end);

#endif
