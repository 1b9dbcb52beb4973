// SPDX-License-Identifier: MIT
// Which format the client wants for lists and errors, by its Accept header (RFC 9110, 12.5.1).
#ifndef SERVER_ACCEPT_H
#define SERVER_ACCEPT_H

#include <stdbool.h>

#include "base/bytes.h"

// In the order of preference where the client has none.
enum format {
    FORMAT_NONE,   // nothing the client accepts: 406
    FORMAT_JSON,   // application/json, application/problem+json
    FORMAT_TEXT,   // text/plain
    FORMAT_HTML,   // text/html
    FORMAT_XML,    // application/xml, text/xml, application/problem+xml
    FORMAT_NDJSON, // application/x-ndjson, application/jsonl
    FORMAT_EVENTS, // text/event-stream
};

// Sets of formats: those of errors and lists, and those of the feed.
#define FORMATS_DOCUMENT                                                                           \
    (1u << FORMAT_JSON | 1u << FORMAT_TEXT | 1u << FORMAT_HTML | 1u << FORMAT_XML |                \
     1u << FORMAT_NDJSON)
#define FORMATS_FEED (1u << FORMAT_JSON | 1u << FORMAT_NDJSON | 1u << FORMAT_EVENTS)

// accept_choose returns the format of the set `among` with the highest quality in `accept`, the
// joined values of all Accept headers; of equal ones that which is named more specifically, then
// earlier, then in the order above. The most specific range that covers a format sets its quality;
// `type/*` covers a format by the first of its names. Parameters other than q are ignored, and so
// is a range with a malformed q. With no usable range (absent, empty, malformed) it is FORMAT_JSON.
enum format accept_choose(struct slice accept, bool present, unsigned among) MUST_USE;

#endif
