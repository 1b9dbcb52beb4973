// SPDX-License-Identifier: MIT
// All SQL that the server speaks. Every text is built here; keys, values and types enter it only
// through query_quote.
//
// The texts rely on the session that query_session prepares: character set binary, backslash
// escapes on, every statement a transaction.
#ifndef STORE_QUERY_H
#define STORE_QUERY_H

#include "base/bytes.h"
#include "store/operation.h"

enum {
    QUERY_SCHEMA_VERSION = 2, // what database_definition.sql writes to sherd_schema
    QUERY_TRIGGERS = 5,
    QUERY_LARGE = 64 * 1024, // bytes; larger values are fetched and written alone
};

// query_quote appends `s` as a string literal, quotes included.
void query_quote(struct bytes *sql, struct slice s);

// query_session prepares a new connection. `id` is the partition's; `timeout_ms` is how long the
// client will wait for an answer: the server gives up a little before.
void query_session(struct bytes *sql, unsigned id, unsigned timeout_ms);

// query_check asks what row_check reads.
void query_check(struct bytes *sql);

// query_select fetches the pairs of `count` operations that are alive; row_pair reads the rows. The
// keys are sorted and may repeat. Values over QUERY_LARGE come only if `large`; else
// their size does.
void query_select(struct bytes *sql, struct operation *const *operations, size_t count, bool large);

// query_upsert writes the pairs and tombstones of `count` unconditional operations with distinct,
// sorted keys; row_stamp reads the rows.
void query_upsert(struct bytes *sql, struct operation *const *operations, size_t count);

// query_insert writes one pair or tombstone if the key has no row; error 1062 means that it has.
// row_stamp reads the row.
void query_insert(struct bytes *sql, const struct operation *operation);

// query_replace writes one pair or tombstone if the key has a row that meets the precondition: one
// row for row_stamp, or none.
void query_replace(struct bytes *sql, const struct operation *operation);

// query_without_waiting begins any of the statements above so that it does not wait for a lock:
// error 1205 at once.
void query_without_waiting(struct bytes *sql);

// What one page of one partition holds: keys from `from` (inclusive or not) to before `end`, alive,
// in byte order, at most `limit`.
struct query_page {
    struct slice from;
    bool inclusive;
    struct slice end; // empty = no end
    unsigned limit;
};

// query_page fetches a page; row_entry reads the rows.
void query_page(struct bytes *sql, const struct query_page *page);

#endif
