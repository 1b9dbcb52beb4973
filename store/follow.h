// SPDX-License-Identifier: MIT
// Follows the change logs of all partitions: reads what was not read yet, again and again, and
// tells of each change once, or reads up to where another has come, and ends.
//
// An entry of a log has the keys of a batch. A key is told (`told`) only if its row still names the
// entry: what was overwritten since is in another entry. So of one key and one partition no version
// is told after a greater one. Between partitions, an entry that was written long before it is read
// (its partition was away, or the reader) is told only if no other partition has a newer row: that
// one's entry tells of it. While that cannot be known, such an entry may wait, as a gap. Echoes,
// rows that were brought from another partition, are told where they reach the key's home: from
// then on a GET finds them.
//
// Rows that SQL wrote or deleted have no entry: who reads for ever gives them one, when it finds
// some (store/query.h says how).
#ifndef STORE_FOLLOW_H
#define STORE_FOLLOW_H

#include "store/store.h"
#include "store/token.h"

struct follow;

enum {
    FOLLOW_VALUE_MAX = 64 * 1024, // bytes of the values that come along
};

struct follow_options {
    const struct token *from;  // copied
    const struct token *until; // copied; NULL: for ever
    bool values;               // fetch values, up to FOLLOW_VALUE_MAX
};

// A key of an entry.
struct follow_entry {
    unsigned partition;
    uint64_t seq; // the entry's number in the log
    bool last;    // of its keys
    bool told;
    bool dead;        // the key was removed; else pair is filled in
    uint64_t version; // also when dead
    struct slice key;
    struct pair pair; // value.data is NULL if it was not fetched
};

struct follow_events {
    // on_entry: a key of a log's entry was read; all of it borrowed. follow_token is behind it
    // already. Without `until`, all keys of an entry come one after the other, from one turn of the
    // loop.
    void (*on_entry)(struct follow *follow, const struct follow_entry *entry, void *context);
    // on_read: all that the log of partition `id` had at clock_us `asked_us` was told. `settled`:
    // that was all that was committed, also by SQL. May be NULL.
    void (*on_read)(struct follow *follow, unsigned id, int64_t asked_us, bool settled,
                    void *context);
    // on_trimmed: the log of partition `id` no longer reaches back to where this was. Nothing more
    // comes; all logs are looked at before the first entry is told. Without `until`, also when
    // there is no memory to tell the rest of an entry.
    void (*on_trimmed)(struct follow *follow, unsigned id, void *context);
    // on_done, with `until`: what can be read now was. Comes again when a partition comes back;
    // `whole` when nothing is missing any more. May be NULL without.
    void (*on_done)(struct follow *follow, bool whole, void *context);
    void *context;
};

// follow_new begins to read on the store's loop.
enum error follow_new(struct event_base *base, struct store *store,
                      const struct follow_options *options, const struct follow_events *events,
                      struct follow **follow) MUST_USE;

// follow_free ends it at any time, also from its callbacks, of which none comes any more.
void follow_free(struct follow **follow);

// follow_pause holds back entries until follow_resume, from which they may come at once.
void follow_pause(struct follow *follow);
void follow_resume(struct follow *follow);

// follow_want_values: from now on statements fetch values, or do not. follow_has_values: all that
// come now have them.
void follow_want_values(struct follow *follow, bool values);
bool follow_has_values(const struct follow *follow);

// follow_asked_us returns the clock_us up to which all that the partitions had was told, of those
// that can be asked and were read to their end since they were away.
int64_t follow_asked_us(const struct follow *follow);

// follow_settled_us returns the same for what was committed, also by SQL.
int64_t follow_settled_us(const struct follow *follow);

// follow_token returns how far it is; no position is POSITION_NOW once an entry or on_read came.
const struct token *follow_token(const struct follow *follow);

// follow_finished tells whether the log of partition `id` was read up to `until`.
bool follow_finished(const struct follow *follow, unsigned id);

#endif
