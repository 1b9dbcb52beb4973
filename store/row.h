// SPDX-License-Identifier: MIT
// Rows as the client library hands them over, read into structs. A row that does not have the shape
// its query asked for is ERROR_MALFORMED: the bytes come from another machine.
#ifndef STORE_ROW_H
#define STORE_ROW_H

#include "base/bytes.h"
#include "base/error.h"
#include "store/check.h"
#include "store/pair.h"

// One row: texts and lengths of its fields, a NULL text for SQL's NULL. Borrowed.
struct row {
    char *const *field;
    const unsigned long *length;
    unsigned fields;
};

// row_pair reads a row of query_select.
enum error row_pair(const struct row *row, struct pair *pair) MUST_USE;

// row_entry reads a row of query_page: key, type and version.
enum error row_entry(const struct row *row, struct pair *pair) MUST_USE;

// What a write gave: a row of query_upsert, query_insert, query_replace.
struct stamp {
    struct slice key;
    uint64_t version;
    uint64_t created;
};

enum error row_stamp(const struct row *row, struct stamp *stamp) MUST_USE;

// row_check reads the row of query_check.
enum error row_check(const struct row *row, struct check *check) MUST_USE;

#endif
