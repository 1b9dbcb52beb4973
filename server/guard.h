// SPDX-License-Identifier: MIT
// The guard: a strict check of a request's head before the lenient parser sees it.
//
// llhttp 8.1 accepts folded lines, bare LF, HTTP/0.9, `Host` twice and more; where two parsers
// disagree about a head, one of them can be made to see a request that the other did not. What
// passes here means the same to both, by RFC 9112. Any verdict but GUARD_OK ends the connection
// after the answer: where the next request begins is then unknown.
#ifndef SERVER_GUARD_H
#define SERVER_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    GUARD_HEAD_MAX = 16 * 1024, // bytes of a head, the final CRLF CRLF included
    GUARD_HEADERS_MAX = 100,    // header lines
    GUARD_BLANK_MAX = 4,        // empty lines before a request line
};

enum guard_verdict {
    GUARD_OK,
    GUARD_BAD,          // 400: breaks the grammar, or could be understood in two ways
    GUARD_URI_TOO_LONG, // 414: no end of the request line within GUARD_HEAD_MAX
    GUARD_TOO_LARGE,    // 431: over GUARD_HEAD_MAX or GUARD_HEADERS_MAX
    GUARD_METHOD,       // 501: a method that HTTP or Sherd does not know
    GUARD_CODING,       // 501: chunked, but with another transfer coding below it
    GUARD_VERSION,      // 505: neither HTTP/1.0 nor HTTP/1.1
};

enum guard_framing {
    GUARD_NO_BODY,
    GUARD_LENGTH,
    GUARD_CHUNKED,
};

// What a head says, borrowed from its bytes; meaningful only after GUARD_OK, except `wrong`.
struct guard_line {
    struct slice method;
    struct slice target;    // `/path?query`, `*`, what follows the authority of an absolute target
                            // (maybe empty or `?query`), nothing for CONNECT
    struct slice authority; // of an absolute target or of CONNECT; data is NULL otherwise
    struct slice host;      // value of Host, maybe empty; data is NULL without one
    unsigned minor;         // 0 or 1 of HTTP/1.x
    size_t headers;         // header lines
    enum guard_framing framing;
    uint64_t length;   // Content-Length; 0 unless framing is GUARD_LENGTH
    const char *wrong; // a constant phrase that says why the verdict is not GUARD_OK, else NULL
};

// guard_skip_blank returns how many bytes of empty lines (CRLF) to drop before a request line, at
// most GUARD_BLANK_MAX lines (RFC 9112, 2.2).
size_t guard_skip_blank(const char *data, size_t len);

// guard_head_end returns the length of the head at the start of `data`, its CRLF CRLF included, or
// 0 when that has not come. The first `searched` bytes were searched by earlier calls; pass `len`
// of the last call, 0 at first. Never looks at a byte twice, but for the last three.
size_t guard_head_end(const char *data, size_t len, size_t searched);

// guard_check_start tells early that the beginning of a head cannot become a good one, and sets
// *wrong as guard_check does: another protocol, too many empty lines, a first line without CR.
enum guard_verdict guard_check_start(struct slice start, const char **wrong) MUST_USE;

// guard_check_unended returns the verdict on at least GUARD_HEAD_MAX bytes without an end:
// GUARD_URI_TOO_LONG when not even the request line ended in them, otherwise GUARD_TOO_LARGE.
enum guard_verdict guard_check_unended(struct slice start, const char **wrong) MUST_USE;

// guard_check checks a whole head, as long as guard_head_end said, and tells in *line what it says
// (RFC 9112, 2 to 6; RFC 9110, 5 and 7.2).
enum guard_verdict guard_check(struct slice head, struct guard_line *line) MUST_USE;

// guard_is_name tells whether `c` may stand in the name of a field (RFC 9110, 5.6.2).
bool guard_is_name(unsigned char c);

// guard_status returns the HTTP status of a verdict, 200 for GUARD_OK.
int guard_status(enum guard_verdict verdict);

#endif
