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
    QUERY_SCHEMA_VERSION = 3, // what database_definition.sql writes to sherd_schema
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

// query_look fetches the rows of `count` operations whatever they are, tombstones and rows that SQL
// removed among them; row_pair reads them. For one key two rows may come: the newer counts.
void query_look(struct bytes *sql, struct operation *const *operations, size_t count, bool large);

// query_enter tells the triggers what the session's next writes are. `floor_us` (if
// session->raised) and `ceiling_us` bound the times of the versions that they give.
void query_enter(struct bytes *sql, const struct session *session, int64_t floor_us,
                 int64_t ceiling_us);

// query_apply brings rows of other partitions (OPERATION_APPLY, distinct, sorted keys), in a
// session with `apply`: the newer version wins; of equal ones a tombstone, then the larger value.
// row_stamp reads what is there afterwards.
void query_apply(struct bytes *sql, struct operation *const *operations, size_t count);

// query_watch asks a partition how it is; row_watch reads the rows.
void query_watch(struct bytes *sql);

// query_claim declares a blank partition complete: that of a new store.
void query_claim(struct bytes *sql, unsigned id, uint32_t ring);

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
    bool dead; // tombstones, expired pairs and removed rows too
};

// query_page fetches a page; row_entry reads the rows. With `dead` a key may come twice.
void query_page(struct bytes *sql, const struct query_page *page);

// ---------------------------------------------------------------- sync
//
// A change that sync makes is one statement, a block: query_guard, what it is to do, query_commit.
// It happens as a whole or not at all, nothing stays locked when the program is stopped in the
// middle of it, and it does nothing once a newer sync has put its token into sherd_partition.

enum {
    QUERY_FENCED = 30010, // error number of a block that came too late
};

// query_sync_session prepares a session, after query_session, for sync.
void query_sync_session(struct bytes *sql);

// query_sync_lock asks for the lock of all syncs of `database`: one row, 1 when it was free.
void query_sync_lock(struct bytes *sql, const char *database);

// query_own makes `token` the one that may change anything, and the row of a blank partition.
void query_own(struct bytes *sql, unsigned id, uint64_t token);

// query_guard begins a block; `apply` is what @sherd_apply shall be.
void query_guard(struct bytes *sql, uint64_t token, unsigned apply);
void query_commit(struct bytes *sql);

// Parts of a block: what the partition knows of itself.
void query_set_id(struct bytes *sql, unsigned id); // it holds another partition's dump
void query_set_doubted(struct bytes *sql, uint64_t floor);
void query_set_seeded(struct bytes *sql, uint64_t pass, uint32_t ring, uint64_t floor);
void query_set_pass(struct bytes *sql, uint64_t pass);
void query_set_cursor_pass(struct bytes *sql, unsigned source, uint64_t pass);
void query_set_floor(struct bytes *sql, uint64_t floor);
void query_set_verified(struct bytes *sql, unsigned slot);

struct query_cursor {
    unsigned source;
    uint64_t pass;
    uint64_t high;
    struct slice gaps;
    uint64_t marked;
    uint64_t frontier;
};

// query_set_cursor is a part of a block.
void query_set_cursor(struct bytes *sql, const struct query_cursor *cursor);

// query_clear_divert is a part of a block: forgets a divert that did not grow meanwhile.
void query_clear_divert(struct bytes *sql, uint64_t target, uint64_t writer, uint64_t version);

// query_itself asks for one row of numbers: whether there is a row, id, seeded, ring, pass, floor,
// verified, clock in microseconds.
void query_itself(struct bytes *sql);

// query_cursors asks for source, pass, high, marked, frontier, gaps; query_diverts for target,
// writer, version.
void query_cursors(struct bytes *sql);
void query_diverts(struct bytes *sql);

// query_mark puts a mark into the log: one row, its number and the clock in milliseconds; no row
// when fenced. query_last asks for the last number instead, and writes nothing.
void query_mark(struct bytes *sql, uint64_t token);
void query_last(struct bytes *sql);

// query_changes asks for seq, op, k of the log, after < seq <= to; k is empty where sync need not
// look at it.
void query_changes(struct bytes *sql, uint64_t after, uint64_t to, unsigned limit);

// query_missing, with query_or_between for each range and query_limit, asks the same for ranges.
void query_missing(struct bytes *sql, uint64_t after);
void query_or_between(struct bytes *sql, uint64_t from, uint64_t to);
void query_limit(struct bytes *sql, unsigned limit);

#define QUERY_NO_ENTRY UINT64_MAX

// The feed reads a log together with what became of its keys. query_log_ends asks for one row: how
// far it was trimmed, its greatest number (0 for an empty log), the clock in microseconds, the
// version of entry `at` (QUERY_NO_ENTRY for none), its least number, the first number with a
// version of at least `version` (0 for none), and the version of its last entry. query_log_gaps
// asks for the ranges (from, to) that are missing among from..to.
void query_log_ends(struct bytes *sql, uint64_t at, uint64_t version);
void query_log_gaps(struct bytes *sql, uint64_t from, uint64_t to);

// query_feed begins to ask for the entries with after < seq, and seq <= to unless that is 0: one
// row that begins like that of query_log_ends (with `after` for `at`), then those of row_change;
// query_limit and query_feed_end come behind it, query_or_between in between.
void query_feed(struct bytes *sql, uint64_t after, uint64_t to, bool values);
void query_feed_end(struct bytes *sql);

// query_feed_fill begins, or goes on with, a statement of its own that fills from..to of the log
// where nothing is, without waiting: error 1205 where a transaction holds a number.
void query_feed_fill(struct bytes *sql, uint64_t from, uint64_t to);

// query_holes asks for the ranges (from, to) that are missing in the log below `mark`, at most
// `lookback` numbers below its first entry.
void query_holes(struct bytes *sql, uint64_t mark, unsigned lookback);

// query_fill is a part of a block: fills from..to of the log where nothing is; error 1205 where a
// transaction is under way.
void query_fill(struct bytes *sql, uint64_t from, uint64_t to);

// query_versions asks for k, version of keys; query_rows for k, v, LENGTH(v), type, version,
// created, expires, in the order of keys, v only up to QUERY_LARGE unless `large`; query_removed
// counts those that SQL removed.
void query_versions(struct bytes *sql, const struct slice *keys, size_t count);
void query_rows(struct bytes *sql, const struct slice *keys, size_t count, bool large);
// query_rows_after asks the same of the rows with after < k <= to, of which `to` may be empty: to
// the end; query_no_pairs for one row, 1 when there are none.
void query_rows_after(struct bytes *sql, struct slice after, struct slice to, unsigned limit);
void query_no_pairs(struct bytes *sql);
void query_removed(struct bytes *sql, const struct slice *keys, size_t count);
void query_removed_any(struct bytes *sql); // counts all of them, up to 500

// query_apply_head, values of rows as query_apply_row appends them with commas between, and
// query_apply_tail are a part of a block: query_apply without an answer.
void query_apply_head(struct bytes *sql);
void query_apply_row(struct bytes *sql, const struct pair *pair, bool tombstone);
void query_apply_tail(struct bytes *sql);

// query_materialise makes tombstones of up to 500 removed rows; query_materialised asks for how
// many were looked at and how many were made.
void query_materialise(struct bytes *sql, uint64_t token);
void query_materialised(struct bytes *sql);

// query_digest asks for slot, rows, digest, dead rows; rows that were dead before `floor` are left
// out of the first two.
void query_digest(struct bytes *sql, unsigned first, unsigned last, uint64_t floor);

// query_list asks for k, version of the rows in slots, in no order, without those that
// were dead before `floor`.
void query_list(struct bytes *sql, const uint16_t *slots, size_t count, uint64_t floor);

// query_purge is a part of a block: deletes up to `limit` rows that were dead before `floor`.
void query_purge(struct bytes *sql, unsigned first, unsigned last, uint64_t floor, unsigned limit);

// query_drop is a part of a block: deletes rows that still have these versions.
void query_drop(struct bytes *sql, const struct slice *keys, const uint64_t *versions,
                size_t count);

// query_log_head asks for seq, version, op at the beginning of the log; query_trim is a part of a
// block: deletes up to `seq`.
void query_log_head(struct bytes *sql, unsigned limit);
void query_trim(struct bytes *sql, uint64_t seq);

// query_waiting counts, up to `limit`, the changes of SQL and the server from `version` on.
void query_waiting(struct bytes *sql, uint64_t version, unsigned limit);

#endif
