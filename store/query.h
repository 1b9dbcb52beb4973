// SPDX-License-Identifier: MIT
// All SQL that the server speaks. Every text is built here; keys, values and types enter it only
// through query_quote.
//
// The texts rely on the session that query_session prepares: character set binary, backslash
// escapes on, every statement a transaction.
#ifndef STORE_QUERY_H
#define STORE_QUERY_H

#include "base/bytes.h"
#include "store/core/placement.h"
#include "store/operation.h"

enum {
    QUERY_SCHEMA_VERSION = 4, // what database_definition.sql writes to sherd_schema
    QUERY_TRIGGERS = 1,
    QUERY_LARGE = 64 * 1024, // bytes; larger values are fetched and written alone
    QUERY_UNSTAMPED = 1,     // there are rows to stamp
    QUERY_UNBURIED = 2,      // there are rows to bury
};

// query_quote appends `s` as a string literal, quotes included.
void query_quote(struct bytes *sql, struct slice s);

// query_session prepares a new connection. `timeout_ms` is how long the client will wait for an
// answer: the server gives up a little before.
void query_session(struct bytes *sql, unsigned timeout_ms);

// query_check asks what row_check reads.
void query_check(struct bytes *sql);

// query_select fetches the rows of `count` operations, dead ones too; row_pair reads them. The keys
// are sorted and may repeat. Values over QUERY_LARGE come only if `large`; else their size does.
// With `alive` the partition itself leaves out what is dead.
void query_select(struct bytes *sql, struct operation *const *operations, size_t count, bool large,
                  bool alive);

// query_look fetches the rows of `count` operations whatever they are, tombstones and rows that SQL
// removed among them; row_pair reads them. For one key two rows may come: the newer counts.
void query_look(struct bytes *sql, struct operation *const *operations, size_t count, bool large);

// On what terms a partition takes a batch of writes. All of it is part of the statement: nothing
// has to be set in the session before.
struct query_terms {
    unsigned id;      // of the partition
    unsigned divert;  // the home for which it takes them; 0 = itself
    int64_t least_us; // microseconds since 1970 UTC: versions are not below that
    int64_t most_us;  // a clock that is beyond that refuses: error 30004
    uint64_t epoch;   // of the placement by which they go there; under another: error 30005
};

// query_apply brings rows of other partitions (OPERATION_APPLY, distinct, sorted keys): the newer
// version wins; of equal ones a tombstone, then the larger value. row_stamp reads what is there
// afterwards. Errors 30001: a version lies more than 5 s in the future; 30002: one is below the
// floor; 30003: SQL removed a row later.
void query_apply(struct bytes *sql, struct operation *const *operations, size_t count);

// query_watch asks a partition how it is; row_watch reads the rows.
void query_watch(struct bytes *sql);

// query_claim declares a blank partition complete: that of a new store.
void query_claim(struct bytes *sql, unsigned id, uint32_t ring);

// query_placement asks for the placement; row_placement reads the row, if there is one.
void query_placement(struct bytes *sql);

// query_place gives a partition a placement, unless it has one of another store, or one that is as
// new. It waits for the batches that are under way. As a part of a block it needs a semicolon.
void query_place(struct bytes *sql, const struct placement *placement);

// query_place_first does so where there is no placement at all.
void query_place_first(struct bytes *sql, const struct placement *placement);

// A server, as the table `servers` has it.
struct query_server {
    uint64_t id;
    struct slice host;
    unsigned pid;
    struct slice version;
    uint64_t epoch;
    struct slice reaches; // as gone_format writes ids
};

// query_report tells a partition of a server, query_report_end that it has stopped.
void query_report(struct bytes *sql, const struct query_server *server);
void query_report_end(struct bytes *sql, uint64_t id);

// query_servers asks for id, host, pid, epoch, reaches of the servers that told of themselves in
// the last `seconds`.
void query_servers(struct bytes *sql, unsigned seconds);

// query_upsert writes the pairs and tombstones of `count` unconditional operations with distinct,
// sorted keys, and their log entry, in one statement; row_stamp reads the rows.
void query_upsert(struct bytes *sql, struct operation *const *operations, size_t count,
                  const struct query_terms *terms);

// query_insert writes one pair or tombstone if the key has no row; error 1062 means that it has.
// row_stamp reads the row.
void query_insert(struct bytes *sql, const struct operation *operation,
                  const struct query_terms *terms);

// query_replace writes one pair or tombstone if the key has a row that meets the precondition: one
// row for row_stamp, or none.
void query_replace(struct bytes *sql, const struct operation *operation,
                   const struct query_terms *terms);

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

// ---------------------------------------------------------------- rows that SQL wrote
//
// A row that SQL wrote last is unstamped: `touched` is not NULL. Stamping gives it, for good, the
// effective version that everybody has read it with, and a log entry. Rows that SQL deleted are in
// `removed`; burying makes tombstones of them. Both queues have no cursor and no gaps, and any
// number of sherd-servers and syncs may work on them at the same time.

// query_unstamped asks for up to `limit` unstamped rows that nobody has locked, in the order of
// `touched` and key, behind those of an earlier page's last row (empty: from the beginning):
// touched, k, 1 for a tombstone.
void query_unstamped(struct bytes *sql, struct slice touched, struct slice key, unsigned limit);

// query_stamp stamps the rows with these keys that are still unstamped. `tombstones` says of each
// whether it is one.
void query_stamp(struct bytes *sql, unsigned id, const struct slice *keys, const bool *tombstones,
                 size_t count);

// query_stamp_block does the same in two statements of one block, which takes the server half of
// the time. A block that is killed leaves its transaction open: its connection must roll back.
void query_stamp_block(struct bytes *sql, unsigned id, const struct slice *keys,
                       const bool *tombstones, size_t count);

// query_bury buries up to `most` rows that SQL removed, with keys behind `after`, and asks how many
// notes of them that worked off; query_unburied asks for the keys of such rows.
void query_bury(struct bytes *sql, unsigned id, struct slice after, unsigned most);
void query_unburied(struct bytes *sql, struct slice after, unsigned limit);

// ---------------------------------------------------------------- sync
//
// A change that sync makes is one statement, a block: query_guard, what it is to do, query_commit.
// It happens as a whole or not at all, nothing stays locked when the program is stopped in the
// middle of it, and it does nothing once a newer sync has put its token into sherd_partition.

enum {
    QUERY_FENCED = 30010, // error number of a block that came too late
};

// query_sync_session prepares a session, after query_session, for sync: what it deletes is no news.
// The server ends it after `idle_s` without a statement, 0 = never.
void query_sync_session(struct bytes *sql, unsigned idle_s);

// query_sync_lock asks for the lock of all syncs of `database`: one row, 1 when it was free.
void query_sync_lock(struct bytes *sql, const char *database);

// query_own makes `token` the one that may change anything, and the row of a blank partition.
void query_own(struct bytes *sql, unsigned id, uint64_t token);

// query_guard begins a block.
void query_guard(struct bytes *sql, uint64_t token);
void query_commit(struct bytes *sql);

// Parts of a block: what the partition knows of itself.
void query_set_id(struct bytes *sql, unsigned id); // it holds another partition's dump
void query_set_doubted(struct bytes *sql, uint64_t floor);
void query_set_seeded(struct bytes *sql, uint64_t pass, uint32_t ring, uint64_t floor);
void query_set_pass(struct bytes *sql, uint64_t pass);
void query_set_cursor_pass(struct bytes *sql, unsigned source, uint64_t pass);
void query_set_floor(struct bytes *sql, uint64_t floor);
void query_set_verified(struct bytes *sql, struct slice key);

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

// query_itself asks for one row: whether there is a row, id, seeded, ring, pass, floor, clock in
// microseconds, and `verified`, a key or empty.
void query_itself(struct bytes *sql);

// query_cursors asks for source, pass, high, marked, frontier, gaps; query_diverts for target,
// writer, version.
void query_cursors(struct bytes *sql);
void query_diverts(struct bytes *sql);

// query_mark puts a mark into the log: one row, its number and the clock in milliseconds; no row
// when fenced. query_last asks for the last number instead, and writes nothing.
void query_mark(struct bytes *sql, uint64_t token);
void query_last(struct bytes *sql);

// query_changes asks for seq, op, ks of the log, after < seq <= to; ks (row_entry_key reads it) is
// empty where sync need not look at it.
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
// row that begins like that of query_log_ends (with `after` for `at`) and says what there is to do
// (QUERY_UNSTAMPED, QUERY_UNBURIED, or both added), then those of row_change; query_limit and
// query_feed_end come behind it, query_or_between in between.
void query_feed(struct bytes *sql, uint64_t after, uint64_t to);
void query_feed_end(struct bytes *sql);

// query_feed_rows asks for the rows that some keys have now, and for those that SQL removed: no
// entry speaks for them yet. row_current reads them; if a key comes twice, its first row counts.
void query_feed_rows(struct bytes *sql, const struct slice *keys, size_t count, bool values);

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
// created, expires, in the order of keys, v only up to QUERY_LARGE unless `large` (LENGTH(v) is
// NULL for a tombstone); query_removed counts those that SQL removed. All of them show unstamped
// rows as stamping would make them.
void query_versions(struct bytes *sql, const struct slice *keys, size_t count);
void query_rows(struct bytes *sql, const struct slice *keys, size_t count, bool large);
// query_rows_after asks the same of the rows with after < k <= to, of which `to` may be empty: to
// the end. `slots` has a 0 or a 1 for each slot, whether its rows are wanted; empty: all are.
// query_no_pairs asks for one row, 1 when there are none.
void query_rows_after(struct bytes *sql, struct slice after, struct slice to, struct slice slots,
                      unsigned limit);
void query_no_pairs(struct bytes *sql);
void query_removed(struct bytes *sql, const struct slice *keys, size_t count);
void query_unsettled(struct bytes *sql); // counts what is to stamp or to bury, up to 500 each

// query_applying is a part of a block: query_apply without an answer, of rows that
// query_applied_row has appended to `rows`, with commas between. `entry` is their log entry as
// query_entry_key appends it, or empty: nothing is logged. `newest` is the greatest of their
// versions.
void query_applied_row(struct bytes *rows, const struct pair *pair);
void query_entry_key(struct bytes *entry, struct slice key, bool tombstone);
void query_applying(struct bytes *sql, struct slice rows, struct slice entry, uint64_t newest);

// A part of the key space, after < k <= to; `to` may be empty: to the end.
struct query_range {
    struct slice after;
    struct slice to;
};

// query_estimate asks how many rows there are, and how many bytes they have on average, roughly.
void query_estimate(struct bytes *sql);

// query_border asks for the key of the `step`th row of a range: no row when it has fewer.
void query_border(struct bytes *sql, const struct query_range *range, unsigned step);

// query_digest asks for class, rows, digest, and how many hashes are wrong, of a range. `classes`
// has the class of each slot in two bytes, big-endian; empty: all slots are of class 0. Rows that
// were dead before `floor` are left out, and those that never had a version.
void query_digest(struct bytes *sql, const struct query_range *range, struct slice classes,
                  uint64_t floor);

// query_wrong asks for up to `limit` keys of a range whose rows have a wrong hash: somebody
// switched off the constraint. query_mend is a part of a block: corrects all of them.
void query_wrong(struct bytes *sql, const struct query_range *range, unsigned limit);
void query_mend(struct bytes *sql, const struct query_range *range);

// query_list asks for k, version of the same rows, of all classes, in the order of keys.
void query_list(struct bytes *sql, const struct query_range *range, uint64_t floor);

// query_dead counts the rows that were dead before `floor` and whose log entries are not behind
// `seq`: SQL may have removed a row in a transaction that took long. query_purge is a part of a
// block: deletes up to `limit` of them.
void query_dead(struct bytes *sql, uint64_t floor, uint64_t seq);
void query_purge(struct bytes *sql, uint64_t floor, uint64_t seq, unsigned limit);

// query_sweep is a part of a block: deletes the rows of a range that lie in `slots` (as in
// query_rows_after), unless they were written behind entry `seq` of the log.
void query_sweep(struct bytes *sql, const struct query_range *range, struct slice slots,
                 uint64_t seq);

// query_drop is a part of a block: deletes rows that still have these versions, unless they were
// written behind entry `seq` of the log.
void query_drop(struct bytes *sql, const struct slice *keys, const uint64_t *versions, size_t count,
                uint64_t seq);

// query_log_head asks for seq, version, op at the beginning of the log; query_trim is a part of a
// block: deletes up to `seq`.
void query_log_head(struct bytes *sql, unsigned limit);
void query_trim(struct bytes *sql, uint64_t seq);

// query_waiting counts, up to `limit`, the log entries of SQL and the server from `version` on.
void query_waiting(struct bytes *sql, uint64_t version, unsigned limit);

#endif
