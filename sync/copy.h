// SPDX-License-Identifier: MIT
// Copying rows from one partition to another: what is newer wins there, whatever the order and
// however often it is done.
#ifndef SYNC_COPY_H
#define SYNC_COPY_H

#include "store/pair.h"
#include "sync/crew.h"
#include "sync/pass.h"

enum {
    COPY_MAX = 500,       // keys at a time
    COPY_PAGE_MAX = 2000, // rows of copy_page
};

struct copy {
    struct hand *hand;
    struct peer *from;
    struct peer *to;
    const struct slice *keys; // sorted, distinct; not for copy_page
    size_t count;             // at most COPY_MAX
    bool known;               // the rows are known to be needed; else versions are compared
    bool repairs;             // counts as repaired instead of copied
    struct slice slots;       // copy_page: as in query_rows_after
    // Whether most rows were needed the time before, and are this time: they are fetched at once
    // then, before it is known. NULL: never.
    bool *mostly;
    // Stored together with the last rows, or alone; NULL for none.
    const struct cursor *cursor;
    // Stored instead when rows had to be left out, now or (*left_out) before.
    const struct cursor *held;
    bool *left_out;
};

// copy_run copies. ERROR_REJECTED and ERROR_OUTCOME have been told.
enum error copy_run(const struct copy *copy) MUST_USE;

// Where copy_page is. `rows` is how many it looks at: COPY_MAX at first, afterwards as many as a
// statement carries.
struct copy_at {
    struct bytes key;
    unsigned rows;
};

// copy_page copies the next at->rows rows behind at->key up to `to` (empty: to the end) that
// `wanted` accepts, in the order of keys; at->key is empty afterwards when those were the last.
enum error copy_page(const struct copy *copy, struct copy_at *at, struct slice to,
                     bool (*wanted)(const struct copy *copy, const struct pair *pair)) MUST_USE;

#endif
