// SPDX-License-Identifier: MIT
// The parser: llhttp behind the guard. A head is parsed in one piece, after guard_check passed it;
// a body in whatever pieces come. One parser a client; the struct head is shared by all clients of
// a thread, because a head is read and used up in one go.
#ifndef SERVER_PARSER_H
#define SERVER_PARSER_H

#include <llhttp.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "server/guard.h"

// The header fields that Sherd looks at.
enum header {
    HEADER_ACCEPT,
    HEADER_AUTHORIZATION,
    HEADER_CACHE_CONTROL,
    HEADER_CONTENT_ENCODING,
    HEADER_CONTENT_RANGE,
    HEADER_CONTENT_TYPE,
    HEADER_EXPECT,
    HEADER_IF_MATCH,
    HEADER_IF_MODIFIED_SINCE,
    HEADER_IF_NONE_MATCH,
    HEADER_IF_RANGE,
    HEADER_IF_UNMODIFIED_SINCE,
    HEADER_LAST_EVENT_ID,
    HEADER_ORIGIN,
    HEADER_RANGE,
    HEADER_SEC_FETCH_SITE,
    HEADER_X_TTL,
    HEADERS,
};

// A head; its slices are borrowed from the input and from `joined`, until the next head.
struct head {
    struct guard_line line;
    struct slice value[HEADERS]; // data is NULL without such a header; list fields joined by ", "
    const char *repeated;        // name of a header that may come once and came twice, or NULL
    bool keep_alive;

    // Private to the parser.
    enum header current; // HEADERS: one that nobody looks at
    struct bytes joined;
};

struct parser {
    llhttp_t llhttp;
    struct head *head;
    void (*on_body)(struct parser *parser, struct slice piece);
    bool ended;          // the message is complete
    bool trailing;       // the last chunk has come
    char trailer_last;   // the last byte of the trailers so far
    size_t trailer_line; // bytes of the present trailer line
    bool trailer_named;  // its colon has come
    uint64_t body;       // bytes of body so far
    uint64_t announced;  // bytes of body with the whole of the present chunk
    uint64_t framing;    // bytes of chunk heads and trailers so far
};

// parser_head parses a head that passed the guard, for which `head->line` is filled in. Afterwards
// parser->ended tells whether the message has no body. ERROR_MALFORMED if llhttp disagrees.
enum error parser_head(struct parser *parser, struct head *head, struct slice bytes) MUST_USE;

// parser_body parses what follows, up to the end of the message: *used says how much. on_body gets
// the pieces. ERROR_MALFORMED on a framing error, ERROR_TOO_LARGE when chunk heads and trailers
// outgrow what they carry (looked at after each piece: where exactly depends on the pieces).
enum error parser_body(struct parser *parser, struct slice bytes, size_t *used) MUST_USE;

void head_fini(struct head *head);

#endif
