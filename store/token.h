// SPDX-License-Identifier: MIT
// A token: how far the change logs of all partitions were read, as a text of unreserved characters
// (RFC 3986) that a client brings back to any daemon of the store:
//
//   1.1042-7731v1829000000017_2.887~880~882-885k888-3_3.t1829000000000000..cm9vbXM
//
// Log 1 was read up to number 1042, whose entry is known by the mark 7731 (a log that began anew
// has another), log 2 up to 887 but for 880 and 882 to 885, and 3 keys of entry 888, of log 3
// everything counts that was written since that time (microseconds since 1970 UTC), of a log that
// is not mentioned all of it. What was read of log 1 is not as new as the time behind `v`
// (milliseconds, by its clock). What follows `..` is the key, in base64 for URLs, behind which a
// list of the present state goes on; the logs are to be read when it has ended.
#ifndef STORE_TOKEN_H
#define STORE_TOKEN_H

#include "store/cursor.h"
#include "store/key.h"

enum {
    TOKEN_GAPS_MAX = 64, // of a log, in a client's text; what lies behind counts as unread
    TOKEN_SHORT = 1024,  // bytes; a text up to this length has no more gaps than that
    TOKEN_TEXT_MAX = 1024 * 1024,
};

// Where to go on in a log.
struct position {
    enum {
        POSITION_START,  // at its beginning
        POSITION_NOW,    // at its end; not in a text
        POSITION_TIME,   // with what was written at `time_us` or later
        POSITION_CURSOR, // behind `cursor`
    } kind;
    int64_t time_us;    // since 1970 UTC
    uint32_t mark;      // token_mark of entry cursor.high; 0 = unknown
    uint64_t newest_ms; // since 1970 UTC; no version that was read of it is as new
    struct cursor cursor;
    uint64_t part_of; // the entry of which the first `part` keys were read; 0 = none
    uint64_t part;
};

struct token {
    bool listing; // a list goes on behind `after`
    size_t after_len;
    char after[KEY_MAX];
    unsigned partitions;
    struct position at[]; // of partition id at[id - 1]
};

// token_mark returns by what an entry with that version is known, 1 to 2^24; 0 for a filler.
uint32_t token_mark(uint64_t version);

// token_new makes a token of POSITION_START everywhere.
enum error token_new(unsigned partitions, struct token **token) MUST_USE;
void token_free(struct token **token);

// token_parse reads a text. ERROR_MALFORMED; ERROR_UNAVAILABLE for a partition that there is not:
// a daemon that was started later may know it.
enum error token_parse(struct slice text, unsigned partitions, struct token **token) MUST_USE;

// token_format appends the text without a list's key, at a client's length or with all gaps;
// token_format_after appends that key.
void token_format(const struct token *token, struct bytes *out);
void token_format_whole(const struct token *token, struct bytes *out);
void token_format_after(struct slice after, struct bytes *out);

// position_note: what was read of the log is not as new as newest_ms.
void position_note(struct position *position, uint64_t newest_ms);

// position_is_past tells whether a newer version than that may have been read of the log.
bool position_is_past(const struct position *position, uint64_t version);

// position_copy makes `to` equal to `from`.
enum error position_copy(struct position *to, const struct position *from) MUST_USE;

// token_copy makes `to` equal to `from`, which has as many partitions.
enum error token_copy(struct token *to, const struct token *from) MUST_USE;

#endif
