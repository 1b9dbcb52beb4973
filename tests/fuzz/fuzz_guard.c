// SPDX-License-Identifier: MIT
// Whatever the guard lets pass must mean the same to llhttp: no error, the same method, target,
// version, framing and number of headers, and an end at the same byte.
#include <assert.h>
#include <llhttp.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/guard.h"

struct seen {
    struct slice url;
    size_t headers;
    bool field_begun;
    bool complete;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct seen *seen = parser->data;
    if (!seen->url.data)
        seen->url.data = at;
    assert(seen->url.data + seen->url.len == at);
    seen->url.len += len;
    return 0;
}

static int on_header_field_complete(llhttp_t *parser)
{
    struct seen *seen = parser->data;
    seen->headers++;
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct seen *seen = parser->data;
    seen->complete = true;
    parser->upgrade = 0;
    return 0;
}

static struct slice raw_target(struct slice head)
{
    slice_token(&head, ' ');
    return slice_token(&head, ' ');
}

static void check_same(const llhttp_t *parser, const struct seen *seen,
                       const struct guard_line *line, struct slice head)
{
    bool chunked = parser->flags & F_CHUNKED;
    bool length = parser->flags & F_CONTENT_LENGTH;
    assert(slice_equal(slice_of(llhttp_method_name(parser->method)), line->method));
    assert(slice_equal(seen->url, raw_target(head)));
    assert(parser->http_major == 1 && parser->http_minor == line->minor);
    assert(seen->headers == line->headers);
    assert(chunked == (line->framing == GUARD_CHUNKED));
    if (line->framing == GUARD_LENGTH && line->length > 0)
        assert(length && parser->content_length == line->length);
    if (line->framing != GUARD_LENGTH)
        assert(!length && parser->content_length == 0);
}

static void check_with_llhttp(struct slice head, const struct guard_line *line)
{
    struct seen seen = {0};
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field_complete = on_header_field_complete;
    settings.on_headers_complete = on_headers_complete;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &seen;
    assert(llhttp_execute(&parser, head.data, head.len - 1) == HPE_OK);
    assert(!seen.complete);
    uint16_t flags = parser.flags; // cleared when the message is complete
    llhttp_errno_t error = llhttp_execute(&parser, head.data + head.len - 1, 1);
    assert(error == HPE_OK ||
           (error == HPE_PAUSED_UPGRADE && slice_equal(line->method, SLICE("CONNECT"))));
    assert(seen.complete);
    parser.flags = flags;
    check_same(&parser, &seen, line, head);
}

// Found in two pieces or whole, the end is the same.
static size_t find_end(const char *text, size_t len)
{
    size_t end = guard_head_end(text, len, 0);
    size_t half = len / 2;
    size_t first = guard_head_end(text, half, 0);
    assert(end == (first ? first : guard_head_end(text, len, half)));
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct guard_line line;
    const char *wrong;
    size_t skip = guard_skip_blank(text, size);
    size_t end = find_end(text + skip, size - skip);
    struct slice head = {text + skip, end};
    if (end == 0)
        head.len = size - skip; // the guard must also bear what its caller never passes
    enum guard_verdict verdict = guard_check(head, &line);
    assert((verdict == GUARD_OK) == (line.wrong == NULL));
    if (verdict != GUARD_OK)
        return 0;
    assert(end > 0);
    for (size_t len = 0; len <= end; len++)
        assert(guard_check_start((struct slice){head.data, len}, &wrong) == GUARD_OK);
    check_with_llhttp(head, &line);
    return 0;
}
