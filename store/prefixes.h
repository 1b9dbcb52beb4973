// SPDX-License-Identifier: MIT
// A set of keys: those that begin with one of its prefixes. The empty prefix is all keys.
#ifndef STORE_PREFIXES_H
#define STORE_PREFIXES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"

// The prefixes are in key order, and none begins with another. All zero: no keys.
struct prefixes {
    struct slice *prefix; // data are owned
    size_t count;
};

void prefixes_fini(struct prefixes *prefixes);

// prefixes_add adds the keys that begin with `prefix`, which is copied.
enum error prefixes_add(struct prefixes *prefixes, struct slice prefix) MUST_USE;

// prefixes_equal tells whether both are the same keys.
bool prefixes_equal(const struct prefixes *a, const struct prefixes *b);

// prefixes_cover tells whether all keys that begin with `key` are in the set, it among them.
bool prefixes_cover(const struct prefixes *prefixes, struct slice key);

// prefixes_next returns the first prefix behind `key`, which is not covered: no key between them is
// in the set. Without data if there is none.
struct slice prefixes_next(const struct prefixes *prefixes, struct slice key);

#endif
