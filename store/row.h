// SPDX-License-Identifier: MIT
// Rows as the client library hands them over, read into structs. A row that does not have the shape
// its query asked for is ERROR_MALFORMED: the bytes come from another machine.
#ifndef STORE_ROW_H
#define STORE_ROW_H

#include "base/bytes.h"
#include "base/error.h"
#include "store/check.h"
#include "store/core/placement.h"
#include "store/pair.h"

// One row: texts and lengths of its fields, a NULL text for SQL's NULL. Borrowed.
struct row {
    char *const *field;
    const unsigned long *length;
    unsigned fields;
};

// row_pair reads a row of query_select or query_look.
enum error row_pair(const struct row *row, struct pair *pair) MUST_USE;

// row_entry reads a row of query_page: key, type, version and touched, and whether it is dead.
enum error row_entry(const struct row *row, struct pair *pair) MUST_USE;

// row_stamp reads what a write gave: a row of query_upsert, query_insert, query_replace,
// query_apply.
enum error row_stamp(const struct row *row, struct slice *key, struct stamp *stamp) MUST_USE;

// What a partition tells of itself and of the others: one row of query_watch.
struct watch {
    enum {
        WATCH_ITSELF, // one row
        WATCH_CURSOR, // a row a partition that sync has read into it
        WATCH_DIVERT, // a row a home for which it holds writes
    } kind;
    unsigned id;      // its own (0 = none given yet), the cursor's source, the divert's target
    bool seeded;      // itself
    bool has_pairs;   // itself
    uint32_t ring;    // itself
    uint64_t pass;    // itself, cursor
    uint64_t floor;   // itself
    uint64_t version; // divert: of the last write
    uint64_t marked;  // cursor: when sync last read to the end of the source's log, ms since 1970
    uint64_t now_us;  // itself: its clock, microseconds since 1970 UTC
    uint64_t epoch;   // itself: of its placement; 0 = it has none
    uint32_t store;   // itself: placement_store_crc
};

enum error row_watch(const struct row *row, struct watch *watch) MUST_USE;

// row_placement reads the row of query_placement.
enum error row_placement(const struct row *row, struct placement *placement) MUST_USE;

// An entry of a change log: a batch of changes.
struct change {
    uint64_t seq;
    unsigned op;       // as in the table: 0 filler, 1 written there, 129 an echo
    uint64_t version;  // that the batch was given
    struct slice keys; // for row_entry_key
};

enum error row_change(const struct row *row, struct change *change) MUST_USE;

// row_entry_key takes the next key of an entry off `keys`, and whether it was removed. It returns
// false when there is none, or when the bytes are not an entry's: *malformed is then true.
bool row_entry_key(struct slice *keys, struct slice *key, bool *tombstone,
                   bool *malformed) MUST_USE;

// The row that a key has now, as the feed needs it: pair.value.data is NULL when the value was not
// asked for or is too large.
struct current {
    uint64_t seq; // the entry that speaks for it; 0: none, for SQL wrote the row last
    struct pair pair;
};

enum error row_current(const struct row *row, struct current *current) MUST_USE;

// row_unstamped reads a row of query_unstamped.
enum error row_unstamped(const struct row *row, struct slice *touched, struct slice *key,
                         bool *tombstone) MUST_USE;

// row_check reads the row of query_check.
enum error row_check(const struct row *row, struct check *check) MUST_USE;

// ---------------------------------------------------------------- sync

// row_numbers reads fields first..first + count - 1, NULL as 0; row_bytes returns a field;
// row_key reads a field that holds a key.
enum error row_numbers(const struct row *row, unsigned first, unsigned count,
                       uint64_t *numbers) MUST_USE;
struct slice row_bytes(const struct row *row, unsigned i);
enum error row_key(const struct row *row, unsigned i, struct slice *key) MUST_USE;

// row_copy reads a row of query_rows. pair->whole is false for a value that was too large for it.
enum error row_copy(const struct row *row, struct pair *pair) MUST_USE;

#endif
