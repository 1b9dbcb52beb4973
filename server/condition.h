// SPDX-License-Identifier: MIT
// Conditions of a request: entity tags and dates (RFC 9110, 8.8 and 13).
//
// Sherd's entity tags are strong, `"version"` with the version in decimal, so a tag in a condition
// is either a version or matches nothing.
#ifndef SERVER_CONDITION_H
#define SERVER_CONDITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    CONDITION_TAGS_MAX = 16,
    CONDITION_DATE_SIZE = 30, // `Sun, 06 Nov 1994 08:49:37 GMT` and a NUL
};

// The comparison of RFC 9110, 8.8.3.2: strong for If-Match, weak for If-None-Match.
enum condition_strength {
    CONDITION_STRONG,
    CONDITION_WEAK,
};

// If-Match or If-None-Match. A list of which nothing remained is present and matches nothing.
struct condition {
    bool present;
    bool any; // `*`
    size_t count;
    uint64_t version[CONDITION_TAGS_MAX];
};

// A date header; one that is invalid is not present.
struct condition_date {
    bool present;
    int64_t seconds; // since 1970-01-01 UTC
};

struct conditions {
    struct condition match;                 // If-Match
    struct condition none_match;            // If-None-Match
    struct condition_date modified_since;   // If-Modified-Since
    struct condition_date unmodified_since; // If-Unmodified-Since
};

enum condition_outcome {
    CONDITION_PASS,
    CONDITION_NOT_MODIFIED, // 304
    CONDITION_FAILED,       // 412
};

// condition_parse reads `*` or a list of entity tags, the joined values of all header lines.
// Drops what can match nothing: tags that are no version, and with CONDITION_STRONG weak ones.
// ERROR_MALFORMED for anything else, ERROR_TOO_LARGE when more than CONDITION_TAGS_MAX remain.
enum error condition_parse(struct slice value, enum condition_strength strength,
                           struct condition *out) MUST_USE;

// condition_matches is true if `c` is `*` or names `version`, the one of an existing pair.
bool condition_matches(const struct condition *c, uint64_t version);

// condition_date_parse reads any of the three formats of HTTP-date, strictly: the day of the week
// must be right too (RFC 9110, 5.6.7). Of a year of two digits, 00 to 68 are 2000 to 2068.
struct condition_date condition_date_parse(struct slice value) MUST_USE;

// condition_date_format writes `seconds` since 1970 as IMF-fixdate and a NUL; times before 1970 and
// after 9999 become the nearest that can be written.
void condition_date_format(int64_t seconds, char out[CONDITION_DATE_SIZE]);

// condition_evaluate_read decides on GET or HEAD of an existing pair, in the order of RFC 9110,
// 13.2.2. An absent pair is 404 whatever the conditions (13.2.1).
enum condition_outcome condition_evaluate_read(const struct conditions *c, uint64_t version,
                                               int64_t modified_seconds) MUST_USE;

// condition_allows_range tells whether If-Range lets Range apply: it holds the strong tag of
// `version`, or exactly the date of its Last-Modified (RFC 9110, 13.1.5).
bool condition_allows_range(struct slice if_range, uint64_t version, int64_t modified_seconds);

#endif
