// SPDX-License-Identifier: MIT
// A cursor: how far a change log was read, exactly, although its numbers become visible out of
// order. A number is given when a row is inserted and visible when its transaction commits: what is
// missing below the highest one read may still come (a gap) or never (rolled back). Gaps are kept
// and looked at again; they never hold back what comes after them.
//
// Pure arithmetic: it is told what was seen and when, in milliseconds since 1970 UTC by the clock
// of the log's partition.
#ifndef STORE_CURSOR_H
#define STORE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct gap {
    uint64_t from;
    uint64_t to;    // inclusive
    uint64_t seen;  // mark of the pass that first saw it
    uint64_t since; // mark before that: what fills it did not begin earlier
};

// Invariants: gaps are sorted, overlap nowhere, and end at high at the latest.
struct cursor {
    uint64_t pass;
    uint64_t high; // every number up to it was read, or is in a gap
    uint64_t marked;
    uint64_t frontier; // a version
    struct gap *gap;
    size_t count;
    size_t cap;
};

// cursor_init makes the cursor of a log that was never read.
void cursor_init(struct cursor *cursor);

// cursor_fini frees what `cursor` holds and leaves it as cursor_init does.
void cursor_fini(struct cursor *cursor);

// cursor_copy makes `to` (initialised) equal to `from`.
enum error cursor_copy(struct cursor *to, const struct cursor *from) MUST_USE;

// cursor_parse reads gaps as cursor_format writes them, `from-to@seen:since` with blanks between;
// high must be set. ERROR_MALFORMED.
enum error cursor_parse(struct cursor *cursor, struct slice gaps) MUST_USE;
void cursor_format(const struct cursor *cursor, struct bytes *out);

// cursor_take notes that number `seq` > high was read; what was left out becomes a gap, first seen
// now.
enum error cursor_take(struct cursor *cursor, uint64_t seq, uint64_t now) MUST_USE;

// cursor_miss notes that from..to > high are missing, without anything read behind them.
enum error cursor_miss(struct cursor *cursor, uint64_t from, uint64_t to, uint64_t now) MUST_USE;

// cursor_close notes that from..to was read, or will never come; harmless where no gap is.
enum error cursor_close(struct cursor *cursor, uint64_t from, uint64_t to) MUST_USE;

// cursor_reopen notes that `seq` is to be read again.
enum error cursor_reopen(struct cursor *cursor, uint64_t seq, uint64_t now) MUST_USE;

// cursor_mark ends a reading: the log was read up to `mark`, a number that was visible at `now`
// when all greater ones were still to be given. Sets high, marked and frontier.
enum error cursor_mark(struct cursor *cursor, uint64_t mark, uint64_t now) MUST_USE;

// cursor_read tells whether `seq` was read.
bool cursor_read(const struct cursor *cursor, uint64_t seq);

// cursor_covers tells whether everything that `other` has read was read.
bool cursor_covers(const struct cursor *cursor, const struct cursor *other);

// cursor_whole returns the number up to which nothing is missing.
uint64_t cursor_whole(const struct cursor *cursor);

// cursor_missing returns how many numbers are in gaps.
uint64_t cursor_missing(const struct cursor *cursor);

void cursor_check(const struct cursor *cursor);

#endif
