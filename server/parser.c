// SPDX-License-Identifier: MIT
#include "server/parser.h"

enum {
    FRAMING_FREE = GUARD_HEAD_MAX, // bytes of framing that every body may have
    FRAMING_PER_BYTE = 8,          // and for each of its bytes: chunks of one byte need five
};

static const struct {
    struct slice name;
    bool list; // may come several times
} fields[HEADERS] = {
    [HEADER_ACCEPT] = {{"Accept", 6}, true},
    [HEADER_AUTHORIZATION] = {{"Authorization", 13}, false},
    [HEADER_CACHE_CONTROL] = {{"Cache-Control", 13}, true},
    [HEADER_CONTENT_ENCODING] = {{"Content-Encoding", 16}, true},
    [HEADER_CONTENT_RANGE] = {{"Content-Range", 13}, false},
    [HEADER_CONTENT_TYPE] = {{"Content-Type", 12}, false},
    [HEADER_EXPECT] = {{"Expect", 6}, true},
    [HEADER_IF_MATCH] = {{"If-Match", 8}, true},
    [HEADER_IF_MODIFIED_SINCE] = {{"If-Modified-Since", 17}, false},
    [HEADER_IF_NONE_MATCH] = {{"If-None-Match", 13}, true},
    [HEADER_IF_RANGE] = {{"If-Range", 8}, false},
    [HEADER_IF_UNMODIFIED_SINCE] = {{"If-Unmodified-Since", 19}, false},
    [HEADER_LAST_EVENT_ID] = {{"Last-Event-ID", 13}, false},
    [HEADER_ORIGIN] = {{"Origin", 6}, false},
    [HEADER_RANGE] = {{"Range", 5}, false},
    [HEADER_SEC_FETCH_SITE] = {{"Sec-Fetch-Site", 14}, false},
    [HEADER_X_TTL] = {{"X-TTL", 5}, false},
};

static int on_field(llhttp_t *llhttp, const char *at, size_t len)
{
    struct parser *parser = llhttp->data;
    struct head *head = parser->head;
    head->current = HEADERS;
    for (enum header i = 0; i < HEADERS; i++)
        if (len == fields[i].name.len &&
            slice_equal_nocase((struct slice){at, len}, fields[i].name))
            head->current = i;
    return 0;
}

// join adds a further line of a list field to what came before. Each join copies that, at most a
// hundred lines of a head of 16 KiB; the room for all is made first, so that slices stay valid.
static bool join(struct head *head, enum header i, struct slice more)
{
    struct bytes *joined = &head->joined;
    if (joined->cap == 0)
        bytes_room(joined, (size_t)GUARD_HEADERS_MAX * GUARD_HEAD_MAX);
    size_t begin = joined->len;
    bytes_append_slice(joined, head->value[i]);
    bytes_append(joined, ", ", 2);
    bytes_append_slice(joined, more);
    if (bytes_failed(joined))
        return false;
    head->value[i] = (struct slice){joined->data + begin, joined->len - begin};
    return true;
}

static int on_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct parser *parser = llhttp->data;
    struct head *head = parser->head;
    if (head->current == HEADERS)
        return 0;
    enum header i = head->current;
    struct slice value = slice_trim((struct slice){at, len});
    if (!head->value[i].data) {
        head->value[i] = value;
    } else if (fields[i].list) {
        if (!join(head, i, value))
            return -1;
    } else {
        head->repeated = fields[i].name.data;
    }
    return 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    struct parser *parser = llhttp->data;
    parser->body += len;
    parser->on_body(parser, (struct slice){at, len});
    return 0;
}

// An Upgrade is declined by going on as if it had not been asked for.
static int on_head(llhttp_t *llhttp)
{
    llhttp->upgrade = 0;
    return 0;
}

// llhttp is too kind to trailers (folded lines, bare LF): they are left to check_trailer.
static int on_chunk(llhttp_t *llhttp)
{
    struct parser *parser = llhttp->data;
    uint64_t size = llhttp->content_length;
    parser->announced = size > UINT64_MAX - parser->body ? UINT64_MAX : parser->body + size;
    parser->trailing = size == 0;
    parser->trailer_last = '\n';
    parser->trailer_line = 0;
    parser->trailer_named = false;
    return parser->trailing ? HPE_PAUSED : 0;
}

static int on_end(llhttp_t *llhttp)
{
    struct parser *parser = llhttp->data;
    parser->ended = true;
    return HPE_PAUSED; // what follows is another request
}

static const llhttp_settings_t settings = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_chunk_header = on_chunk,
    .on_body = on_body,
    .on_message_complete = on_end,
};

// execute runs llhttp and tells how far it came.
static enum error execute(struct parser *parser, struct slice bytes, size_t *used)
{
    llhttp_errno_t code = llhttp_execute(&parser->llhttp, bytes.data, bytes.len);
    *used = bytes.len;
    if (code == HPE_OK)
        return ERROR_NONE;
    if (code == HPE_PAUSED && (parser->ended || parser->trailing)) {
        *used = (size_t)(llhttp_get_error_pos(&parser->llhttp) - bytes.data);
        return ERROR_NONE;
    }
    return ERROR_MALFORMED;
}

// trailer_byte takes the next byte behind the last chunk: lines of a name, a colon and anything,
// each ended by CR LF, up to an empty one. What they say is not used.
static enum error trailer_byte(struct parser *parser, unsigned char c)
{
    bool in_order = parser->trailer_last == '\r' ? c == '\n' : c != '\n';
    bool ends = c == '\r' || c == '\n';
    bool named = parser->trailer_named || (parser->trailer_line && c == ':');
    bool right = ends ? named || parser->trailer_line == 0 : named || guard_is_name(c);
    bool control = (c < 0x20 && !ends && c != '\t') || c == 0x7f;
    if (!in_order || !right || control)
        return ERROR_MALFORMED;
    if (c == '\n') {
        parser->ended = parser->trailer_line == 0;
        parser->trailer_line = 0;
        parser->trailer_named = false;
    } else if (c != '\r') {
        parser->trailer_line++;
        parser->trailer_named = named;
    }
    parser->trailer_last = (char)c;
    return ERROR_NONE;
}

static enum error trailers(struct parser *parser, struct slice bytes, size_t *used)
{
    for (; *used < bytes.len && !parser->ended; ++*used)
        if (trailer_byte(parser, (unsigned char)bytes.data[*used]))
            return ERROR_MALFORMED;
    return ERROR_NONE;
}

enum error parser_head(struct parser *parser, struct head *head, struct slice bytes)
{
    size_t used;
    for (enum header i = 0; i < HEADERS; i++)
        head->value[i] = (struct slice){NULL, 0};
    head->repeated = NULL;
    bytes_shrink(&head->joined, 0);
    llhttp_init(&parser->llhttp, HTTP_REQUEST, &settings);
    parser->llhttp.data = parser;
    parser->head = head;
    parser->ended = false;
    parser->trailing = false;
    parser->body = 0;
    parser->announced = 0;
    parser->framing = 0;
    enum error error = execute(parser, bytes, &used);
    head->keep_alive =
        llhttp_should_keep_alive(&parser->llhttp) && !(parser->llhttp.flags & F_CONNECTION_CLOSE);
    if (!error && used != bytes.len)
        error = ERROR_MALFORMED;
    return error;
}

enum error parser_body(struct parser *parser, struct slice bytes, size_t *used)
{
    uint64_t before = parser->body;
    enum error error = ERROR_NONE;
    *used = 0;
    if (!parser->trailing)
        error = execute(parser, bytes, used);
    if (!error && parser->trailing)
        error = trailers(parser, bytes, used);
    if (error)
        return error;
    parser->framing += *used - (parser->body - before);
    bool outgrown = parser->framing > FRAMING_FREE + FRAMING_PER_BYTE * parser->body;
    return outgrown ? ERROR_TOO_LARGE : ERROR_NONE;
}

void head_fini(struct head *head)
{
    bytes_fini(&head->joined);
}
