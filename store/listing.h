// SPDX-License-Identifier: MIT
// A listing: the keys of all partitions merged in byte order, each partition read page by page from
// where the last page ended, so that no page costs more than another. With a delimiter, keys that
// share what lies between the prefix and its first delimiter come as one folder, and a folder is
// skipped, not read.
//
// Only what a GET would answer is listed: living pairs on the home partition of their key. While
// the outlook on a home is not usual, its keys come from all partitions that are up, and of each
// the newest version counts. A listing that loses a partition on its way goes on without it.
#ifndef STORE_LISTING_H
#define STORE_LISTING_H

#include "store/prefixes.h"
#include "store/store.h"

struct listing;

struct listing_options {
    struct slice prefix;         // copied; at most KEY_MAX bytes
    struct slice after;          // keys up to this one are left out; copied; at most KEY_MAX bytes
    struct slice delimiter;      // copied; at most KEY_MAX bytes; empty = no folders
    uint64_t expected;           // about how many items will be taken; 0 = all
    const struct prefixes *only; // keys that are listed; borrowed; NULL = all
};

enum listing_result {
    LISTING_ITEM,   // *item is filled in, valid until the next call
    LISTING_WAIT,   // on_ready follows from the loop
    LISTING_END,    // no more items
    LISTING_FAILED, // a partition is unavailable: see listing_failed_partition
};

struct listing_item {
    struct slice key; // or the folder's name: prefix up to and with the delimiter
    bool folder;
    struct slice type; // not for folders
    uint64_t version;  // not for folders
};

// listing_new makes a listing; `on_ready` follows each LISTING_WAIT.
enum error listing_new(struct store *store, const struct listing_options *options,
                       void (*on_ready)(struct listing *listing, void *context), void *context,
                       struct listing **listing) MUST_USE;

// listing_free ends a listing at any time, also from on_ready; on_ready does not come any more.
void listing_free(struct listing **listing);

enum listing_result listing_next(struct listing *listing, struct listing_item *item) MUST_USE;

// listing_waiting is true between LISTING_WAIT and on_ready; listing_next must not be called then.
bool listing_waiting(const struct listing *listing);

// listing_missing returns the ids of the partitions that were down when the listing began: what
// only they have is not listed.
const uint16_t *listing_missing(const struct listing *listing, unsigned *count);

// listing_failed_partition returns the id of the partition to blame, after LISTING_FAILED.
unsigned listing_failed_partition(const struct listing *listing);

#endif
