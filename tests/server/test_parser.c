// SPDX-License-Identifier: MIT
// Every body is fed whole, a byte at a time and in two pieces cut anywhere: the verdict, the body
// and the end must not depend on how the network cut it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "server/parser.h"

#define SAME(slice, text) assert_true(slice_equal((slice), SLICE(text)))
#define GET               "GET /keys/a HTTP/1.1\r\nHost: a\r\n"
#define PUT               "PUT /keys/a HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED           PUT "Transfer-Encoding: chunked\r\n\r\n"
#define NEXT              "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

enum {
    CUT_MAX = 300, // longer bodies are cut at the first so many bytes only
};

struct fixture {
    struct parser parser;
    struct head head;
    struct bytes body;
};

static void on_body(struct parser *parser, struct slice piece)
{
    struct fixture *f = CONTAINER_OF(parser, struct fixture, parser);
    bytes_append_slice(&f->body, piece);
}

static void fixture_fini(struct fixture *f)
{
    head_fini(&f->head);
    bytes_fini(&f->body);
}

// parse_head parses a head that must pass the guard.
static void parse_head(struct fixture *f, struct slice head)
{
    bytes_clear(&f->body);
    f->parser.on_body = on_body;
    assert_int_equal(guard_head_end(head.data, head.len, 0), head.len);
    assert_int_equal(guard_check(head, &f->head.line), GUARD_OK);
    assert_int_equal(parser_head(&f->parser, &f->head, head), ERROR_NONE);
}

// feed parses `bytes` in pieces that end at `first`, then every `step` bytes; *used says how much
// of them belongs to the message.
static enum error feed(struct fixture *f, struct slice bytes, size_t first, size_t step,
                       size_t *used)
{
    enum error error = ERROR_NONE;
    *used = 0;
    while (!error && !f->parser.ended && *used < bytes.len) {
        size_t piece = *used < first ? first - *used : step, taken;
        if (piece > bytes.len - *used)
            piece = bytes.len - *used;
        error = parser_body(&f->parser, (struct slice){bytes.data + *used, piece}, &taken);
        if (error)
            break;
        assert_true(taken <= piece);
        assert_true(taken == piece || f->parser.ended);
        *used += taken;
    }
    return error;
}

struct expected {
    enum error error;
    bool ended;
    struct slice body;
    size_t end; // bytes that belong to the message, when it ended
};

static void expect_fed(struct slice head, struct slice bytes, size_t first, size_t step,
                       const struct expected *e)
{
    struct fixture f = {0};
    size_t used;
    parse_head(&f, head);
    assert_false(f.parser.ended);
    enum error error = feed(&f, bytes, first, step, &used);
    bool same = error == e->error && (error || f.parser.ended == e->ended);
    if (same && !error)
        same = slice_equal(bytes_slice(&f.body), e->body) && (!e->ended || used == e->end);
    if (!same)
        fail_msg("%.*s cut at %zu by %zu: error %d, ended %d, used %zu, body %.*s", (int)bytes.len,
                 bytes.data, first, step, (int)error, f.parser.ended, used, (int)f.body.len,
                 f.body.data ? f.body.data : "");
    fixture_fini(&f);
}

static void expect(struct slice head, struct slice bytes, const struct expected *e)
{
    expect_fed(head, bytes, 0, bytes.len, e);
    expect_fed(head, bytes, 0, 1, e);
    for (size_t cut = 1; cut < bytes.len && cut < CUT_MAX; cut++)
        expect_fed(head, bytes, cut, bytes.len, e);
}

// EXPECT_BODY: `text` is a whole body, and what follows it is left alone.
#define EXPECT_BODY(head, text, content)                                                           \
    do {                                                                                           \
        const struct expected e = {ERROR_NONE, true, SLICE(content), sizeof(text) - 1};            \
        expect(SLICE(head), SLICE(text), &e);                                                      \
        expect(SLICE(head), SLICE(text NEXT), &e);                                                 \
    } while (0)

// EXPECT_MORE: `text` is the beginning of a body.
#define EXPECT_MORE(head, text, content)                                                           \
    expect(SLICE(head), SLICE(text), &(struct expected){ERROR_NONE, false, SLICE(content), 0})

#define EXPECT_BAD(head, text)                                                                     \
    expect(SLICE(head), SLICE(text), &(struct expected){.error = ERROR_MALFORMED})

// ---------------------------------------------------------------- heads

static void parser_head__finds_the_fields_it_knows(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum header header;
    } fields[] = {
        {"Accept", HEADER_ACCEPT},
        {"authorization", HEADER_AUTHORIZATION},
        {"cache-control", HEADER_CACHE_CONTROL},
        {"content-encoding", HEADER_CONTENT_ENCODING},
        {"CONTENT-RANGE", HEADER_CONTENT_RANGE},
        {"Content-Type", HEADER_CONTENT_TYPE},
        {"Expect", HEADER_EXPECT},
        {"If-Match", HEADER_IF_MATCH},
        {"If-Modified-Since", HEADER_IF_MODIFIED_SINCE},
        {"If-None-Match", HEADER_IF_NONE_MATCH},
        {"If-Range", HEADER_IF_RANGE},
        {"If-Unmodified-Since", HEADER_IF_UNMODIFIED_SINCE},
        {"Last-Event-ID", HEADER_LAST_EVENT_ID},
        {"Origin", HEADER_ORIGIN},
        {"Range", HEADER_RANGE},
        {"Sec-Fetch-Site", HEADER_SEC_FETCH_SITE},
        {"x-ttl", HEADER_X_TTL},
    };
    assert_int_equal(sizeof fields / sizeof fields[0], HEADERS);
    struct fixture f = {0};
    for (size_t i = 0; i < HEADERS; i++) {
        struct bytes text = {0};
        bytes_format(&text, GET "%s:\t a value \t\r\nOther: other\r\n\r\n", fields[i].name);
        parse_head(&f, bytes_slice(&text));
        for (enum header h = 0; h < HEADERS; h++) {
            if (h == fields[i].header)
                SAME(f.head.value[h], "a value");
            else
                assert_null(f.head.value[h].data);
        }
        assert_null(f.head.repeated);
        assert_true(f.parser.ended);
        bytes_fini(&text);
    }
    fixture_fini(&f);
}

static void parser_head__tells_an_empty_field_from_none(void **state)
{
    (void)state;
    struct fixture f = {0};
    parse_head(&f, SLICE(GET "If-Match:\r\nRange: \t\r\nAccept: \r\n\r\n"));
    assert_non_null(f.head.value[HEADER_IF_MATCH].data);
    assert_int_equal(f.head.value[HEADER_IF_MATCH].len, 0);
    assert_non_null(f.head.value[HEADER_RANGE].data);
    assert_int_equal(f.head.value[HEADER_RANGE].len, 0);
    assert_non_null(f.head.value[HEADER_ACCEPT].data);
    assert_null(f.head.value[HEADER_X_TTL].data);
    fixture_fini(&f);
}

static void parser_head__joins_the_lines_of_a_list(void **state)
{
    (void)state;
    struct fixture f = {0};
    parse_head(&f, SLICE(GET "If-Match: \"1\"\r\nAccept: a\r\nif-match: \"2\" , \"3\"\r\n"
                             "ACCEPT: b\r\nIf-Match:\r\nIf-Match: \"4\"\r\n\r\n"));
    SAME(f.head.value[HEADER_IF_MATCH], "\"1\", \"2\" , \"3\", , \"4\"");
    SAME(f.head.value[HEADER_ACCEPT], "a, b");
    assert_null(f.head.repeated);
    fixture_fini(&f);
}

static void parser_head__joins_as_many_lines_as_the_guard_lets_pass(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct bytes text = {0}, joined = {0};
    bytes_append_text(&text, GET);
    for (unsigned i = 1; i < GUARD_HEADERS_MAX; i++) {
        bytes_format(&text, "%s: %0140u\r\n", i % 2 ? "If-Match" : "Accept", i);
        if (i % 2)
            bytes_format(&joined, "%s%0140u", joined.len ? ", " : "", i);
    }
    bytes_append_text(&text, "\r\n");
    assert_true(text.len > 14000 && text.len <= GUARD_HEAD_MAX);
    parse_head(&f, bytes_slice(&text));
    assert_true(slice_equal(f.head.value[HEADER_IF_MATCH], bytes_slice(&joined)));
    assert_true(slice_starts(f.head.value[HEADER_ACCEPT], SLICE("000")));
    bytes_fini(&text);
    bytes_fini(&joined);
    fixture_fini(&f);
}

static void parser_head__names_a_single_field_that_came_twice(void **state)
{
    (void)state;
    static const char *const names[] = {"Content-Range", "Content-Type",        "If-Modified-Since",
                                        "If-Range",      "If-Unmodified-Since", "Range",
                                        "X-TTL"};
    struct fixture f = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct bytes text = {0};
        bytes_format(&text, GET "%s: 1\r\n%s: 1\r\n\r\n", names[i], names[i]);
        parse_head(&f, bytes_slice(&text));
        assert_non_null(f.head.repeated);
        assert_string_equal(f.head.repeated, names[i]);
        bytes_fini(&text);
        bytes_format(&text, GET "%s:\r\n%s: 1\r\n\r\n", names[i], names[i]); // the first one empty
        parse_head(&f, bytes_slice(&text));
        assert_non_null(f.head.repeated);
        bytes_fini(&text);
    }
    parse_head(&f, SLICE(GET "Other: 1\r\nOther: 2\r\n\r\n"));
    assert_null(f.head.repeated);
    fixture_fini(&f);
}

static void parser_head__forgets_the_head_before(void **state)
{
    (void)state;
    struct fixture f = {0};
    parse_head(&f, SLICE(GET "Accept: a\r\nAccept: b\r\nRange: 1\r\nRange: 2\r\n"
                             "Connection: close\r\n\r\n"));
    assert_false(f.head.keep_alive);
    assert_non_null(f.head.repeated);
    parse_head(&f, SLICE(GET "\r\n"));
    for (enum header h = 0; h < HEADERS; h++)
        assert_null(f.head.value[h].data);
    assert_null(f.head.repeated);
    assert_true(f.head.keep_alive);
    parse_head(&f, SLICE(GET "Accept: c\r\nAccept: d\r\n\r\n"));
    SAME(f.head.value[HEADER_ACCEPT], "c, d");
    fixture_fini(&f);
}

static void parser_head__knows_whether_to_keep_alive(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool keep_alive;
    } cases[] = {
        {GET "\r\n", true},
        {GET "Connection: keep-alive\r\n\r\n", true},
        {GET "Connection: close\r\n\r\n", false},
        {GET "cOnnection: CLOSE\r\n\r\n", false},
        {GET "Connection: foo, close\r\n\r\n", false},
        {GET "Connection: close, foo\r\n\r\n", false},
        {GET "Connection: foo\r\nConnection: close\r\n\r\n", false},
        {GET "Connection: close\r\nConnection: foo\r\n\r\n", false},
        {GET "Connection: keep-alive, close\r\n\r\n", false},
        {GET "Connection: closed\r\n\r\n", true},
        {GET "X-Connection: close\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive, foo\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
        {PUT "Content-Length: 5\r\n\r\n", true},
        {PUT "Content-Length: 5\r\nConnection: close\r\n\r\n", false},
        {PUT "Content-Length: 0\r\nConnection: close\r\n\r\n", false},
        {CHUNKED, true},
        {PUT "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n", false},
    };
    struct fixture f = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        parse_head(&f, slice_of(cases[i].text));
        if (f.head.keep_alive != cases[i].keep_alive)
            fail_msg("%s", cases[i].text);
    }
    fixture_fini(&f);
}

static void parser_head__declines_an_upgrade(void **state)
{
    (void)state;
    struct fixture f = {0};
    parse_head(&f, SLICE(GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    assert_true(f.parser.ended);
    parse_head(&f, SLICE(GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                             "HTTP2-Settings: AAMAAABk\r\n\r\n"));
    assert_true(f.parser.ended);
    assert_true(f.head.keep_alive);
    fixture_fini(&f);
    EXPECT_BODY(PUT "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n", "hello",
                "hello");
}

static void parser_head__ends_a_message_without_body(void **state)
{
    (void)state;
    static const char *const heads[] = {
        GET "\r\n",
        PUT "\r\n",
        PUT "Content-Length: 0\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.0\r\n\r\n",
    };
    struct fixture f = {0};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        parse_head(&f, slice_of(heads[i]));
        assert_true(f.parser.ended);
        assert_int_equal(f.parser.body, 0);
    }
    fixture_fini(&f);
}

// ---------------------------------------------------------------- bodies by length

static void parser_body__takes_content_length_bytes_and_no_more(void **state)
{
    (void)state;
    EXPECT_BODY(PUT "Content-Length: 5\r\n\r\n", "hello", "hello");
    EXPECT_BODY(PUT "Content-Length: 1\r\n\r\n", "\r", "\r");
    EXPECT_BODY(PUT "Content-Length: 8\r\n\r\n", "0\r\n\r\n\0\xff\n", "0\r\n\r\n\0\xff\n");
    EXPECT_BODY(GET "Content-Length: 3\r\n\r\n", "abc", "abc");
    EXPECT_MORE(PUT "Content-Length: 6\r\n\r\n", "hello", "hello");
}

static void parser_body__takes_a_body_that_looks_like_a_request(void **state)
{
    (void)state;
    struct bytes head = {0};
    struct slice body = SLICE(NEXT);
    bytes_format(&head, PUT "Content-Length: %zu\r\n\r\n", body.len);
    expect(bytes_slice(&head), body, &(struct expected){ERROR_NONE, true, body, body.len});
    bytes_fini(&head);
}

// ---------------------------------------------------------------- chunks

static void parser_body__puts_chunks_together(void **state)
{
    (void)state;
    EXPECT_BODY(CHUNKED, "0\r\n\r\n", "");
    EXPECT_BODY(CHUNKED, "5\r\nhello\r\n0\r\n\r\n", "hello");
    EXPECT_BODY(CHUNKED, "5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", "hello world");
    EXPECT_BODY(CHUNKED, "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789");
    EXPECT_BODY(CHUNKED, "0000000005\r\nhello\r\n0000\r\n\r\n", "hello");
    EXPECT_BODY(CHUNKED, "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n");
    EXPECT_BODY(CHUNKED, "5;a=b\r\nhello\r\n0;c\r\n\r\n", "hello");
    EXPECT_BODY(CHUNKED, "3\r\n\0\xff\n\r\n0\r\n\r\n", "\0\xff\n");
}

static void parser_body__waits_for_the_whole_end(void **state)
{
    (void)state;
    static const char text[] = "5\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        struct fixture f = {0};
        size_t used;
        parse_head(&f, SLICE(CHUNKED));
        assert_int_equal(feed(&f, (struct slice){text, len}, 0, 1, &used), ERROR_NONE);
        assert_false(f.parser.ended);
        fixture_fini(&f);
    }
}

static void parser_body__refuses_crooked_chunk_sizes(void **state)
{
    (void)state;
    EXPECT_BAD(CHUNKED, "+3\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "-3\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0x3\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0X3\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, " 3\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "\t3\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\t\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "\r\n3\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3_0\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3.\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3h\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "g\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, ";a\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "\"3\"\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\0\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "\xef\xbc\x93\r\nabc\r\n0\r\n\r\n"); // a full-width 3
}

static void parser_body__refuses_chunk_sizes_that_overflow(void **state)
{
    (void)state;
    EXPECT_BAD(CHUNKED, "10000000000000000\r\nabc\r\n0\r\n\r\n"); // 2^64
    EXPECT_BAD(CHUNKED, "10000000000000003\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "fffffffffffffffff\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "f0000000000000003\r\nabc\r\n0\r\n\r\n");
    EXPECT_MORE(CHUNKED, "ffffffffffffffff\r\nabc\r\n0\r\n\r\n", "abc\r\n0\r\n\r\n");
    EXPECT_MORE(CHUNKED, "1\r\na\r\nffffffffffffffff\r\nabc", "aabc");
}

static void parser_body__refuses_bare_lf_and_cr(void **state)
{
    (void)state;
    EXPECT_BAD(CHUNKED, "3\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\r\nabc\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\r\nabc\r\n0\n\r\n");
    EXPECT_BAD(CHUNKED, "3\r\nabc\r\n0\r\n\n");
    EXPECT_BAD(CHUNKED, "0\r\n\n");
    EXPECT_BAD(CHUNKED, "0\n\n");
    EXPECT_BAD(CHUNKED, "0\n\r\n");
    EXPECT_BAD(CHUNKED, "3\r\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\rabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\n\r\r\n");
    EXPECT_BAD(CHUNKED, "0\r\n\rG");
    EXPECT_BAD(CHUNKED, "3;a\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3;a\rb\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3;\n\r\nabc\r\n0\r\n\r\n");
}

static void parser_body__wants_crlf_behind_each_chunk(void **state)
{
    (void)state;
    EXPECT_BAD(CHUNKED, "3\r\nabc0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\r\nabcd\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\r\nabcXX0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\r\nabc\rX0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\r\nab\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3\r\nabc \r\n0\r\n\r\n");
}

static void parser_body__refuses_crooked_extensions(void **state)
{
    (void)state;
    EXPECT_BAD(CHUNKED, "3;\r\nabc\r\n0\r\n\r\n"); // an extension has a name
    EXPECT_BAD(CHUNKED, "3;\0\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3;a=\x01\r\nabc\r\n0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "3;a=\x7f\r\nabc\r\n0\r\n\r\n");
}

// ---------------------------------------------------------------- trailers

static void parser_body__passes_over_good_trailers(void **state)
{
    (void)state;
    EXPECT_BODY(CHUNKED, "0\r\nA: b\r\n\r\n", "");
    EXPECT_BODY(CHUNKED, "3\r\nabc\r\n0\r\nA: b\r\nC:\r\nD: e \t\r\n\r\n", "abc");
    EXPECT_BODY(CHUNKED, "0\r\nA: b:c \x80\xff\r\n\r\n", "");
    EXPECT_BODY(CHUNKED, "0\r\n!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n", "");
    // What they say is not used.
    EXPECT_BODY(CHUNKED, "0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n", "");
}

static void parser_body__refuses_crooked_trailers(void **state)
{
    (void)state;
    EXPECT_BAD(CHUNKED, "0\r\nA: b\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA: b\rC: d\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA: b\r\n\n");
    EXPECT_BAD(CHUNKED, "0\r\n A: b\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA: b\r\n c\r\n\r\n"); // obs-fold
    EXPECT_BAD(CHUNKED, "0\r\nA: b\r\n\tc\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA: b\r\n \r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\n: b\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA: \0\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA: \x01\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA: \x7f\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA : b\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA b: c\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\n\xc3\xa4: c\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\nA(b): c\r\n\r\n");
    EXPECT_BAD(CHUNKED, "0\r\n" NEXT); // a request line is no field
}

// ---------------------------------------------------------------- framing that outgrows its body

// endless feeds `piece` again and again behind `begin` and returns how many bytes were borne.
static size_t endless(struct slice begin, struct slice piece, enum error *error)
{
    struct fixture f = {0};
    size_t used, fed = 0;
    parse_head(&f, SLICE(CHUNKED));
    *error = feed(&f, begin, 0, begin.len, &used);
    while (!*error && fed < 1024 * 1024) {
        *error = feed(&f, piece, 0, piece.len, &used);
        fed += piece.len;
    }
    fixture_fini(&f);
    return fed;
}

static void parser_body__ends_endless_extensions(void **state)
{
    (void)state;
    enum error error;
    assert_in_range(endless(SLICE("5;"), SLICE("aaaaaaaaaaaaaaaa"), &error), 8192, 65536);
    assert_int_equal(error, ERROR_TOO_LARGE);
    assert_in_range(endless(SLICE("0;"), SLICE("a"), &error), 8192, 65536);
    assert_int_equal(error, ERROR_TOO_LARGE);
    assert_in_range(endless(SLICE(""), SLICE("0"), &error), 8192, 65536);
    assert_int_equal(error, ERROR_TOO_LARGE);
}

static void parser_body__ends_endless_trailers(void **state)
{
    (void)state;
    enum error error;
    assert_in_range(endless(SLICE("0\r\n"), SLICE("A: b\r\n"), &error), 8192, 65536);
    assert_int_equal(error, ERROR_TOO_LARGE);
    assert_in_range(endless(SLICE("0\r\nA: "), SLICE("b"), &error), 8192, 65536);
    assert_int_equal(error, ERROR_TOO_LARGE);
}

static void parser_body__ends_chunks_of_a_byte_with_long_extensions(void **state)
{
    (void)state;
    enum error error;
    size_t fed = endless(SLICE(""), SLICE("1;aaaaaaaaaaaaaaaaaaaa\r\nb\r\n"), &error);
    assert_int_equal(error, ERROR_TOO_LARGE);
    assert_true(fed < 65536);
}

static void parser_body__bears_any_number_of_small_chunks(void **state)
{
    (void)state;
    enum error error;
    assert_true(endless(SLICE(""), SLICE("1\r\na\r\n"), &error) >= 1024 * 1024);
    assert_int_equal(error, ERROR_NONE);
    assert_true(endless(SLICE(""), SLICE("1;a\r\nb\r\n"), &error) >= 1024 * 1024);
    assert_int_equal(error, ERROR_NONE);
}

static void parser_body__counts_what_came(void **state)
{
    (void)state;
    struct fixture f = {0};
    size_t used;
    parse_head(&f, SLICE(CHUNKED));
    assert_int_equal(feed(&f, SLICE("5\r\nhe"), 0, 1, &used), ERROR_NONE);
    assert_int_equal(f.parser.body, 2);
    assert_int_equal(f.parser.announced, 5);
    assert_int_equal(feed(&f, SLICE("llo\r\n3\r\n"), 0, 1, &used), ERROR_NONE);
    assert_int_equal(f.parser.body, 5);
    assert_int_equal(f.parser.announced, 8);
    assert_int_equal(feed(&f, SLICE("abc\r\nffffffffffffffff\r\n"), 0, 1, &used), ERROR_NONE);
    assert_int_equal(f.parser.body, 8);
    assert_true(f.parser.announced == UINT64_MAX);
    parse_head(&f, SLICE(CHUNKED));
    assert_int_equal(f.parser.body, 0);
    assert_int_equal(f.parser.announced, 0);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parser_head__finds_the_fields_it_knows),
        cmocka_unit_test(parser_head__tells_an_empty_field_from_none),
        cmocka_unit_test(parser_head__joins_the_lines_of_a_list),
        cmocka_unit_test(parser_head__joins_as_many_lines_as_the_guard_lets_pass),
        cmocka_unit_test(parser_head__names_a_single_field_that_came_twice),
        cmocka_unit_test(parser_head__forgets_the_head_before),
        cmocka_unit_test(parser_head__knows_whether_to_keep_alive),
        cmocka_unit_test(parser_head__declines_an_upgrade),
        cmocka_unit_test(parser_head__ends_a_message_without_body),
        cmocka_unit_test(parser_body__takes_content_length_bytes_and_no_more),
        cmocka_unit_test(parser_body__takes_a_body_that_looks_like_a_request),
        cmocka_unit_test(parser_body__puts_chunks_together),
        cmocka_unit_test(parser_body__waits_for_the_whole_end),
        cmocka_unit_test(parser_body__refuses_crooked_chunk_sizes),
        cmocka_unit_test(parser_body__refuses_chunk_sizes_that_overflow),
        cmocka_unit_test(parser_body__refuses_bare_lf_and_cr),
        cmocka_unit_test(parser_body__wants_crlf_behind_each_chunk),
        cmocka_unit_test(parser_body__refuses_crooked_extensions),
        cmocka_unit_test(parser_body__passes_over_good_trailers),
        cmocka_unit_test(parser_body__refuses_crooked_trailers),
        cmocka_unit_test(parser_body__ends_endless_extensions),
        cmocka_unit_test(parser_body__ends_endless_trailers),
        cmocka_unit_test(parser_body__ends_chunks_of_a_byte_with_long_extensions),
        cmocka_unit_test(parser_body__bears_any_number_of_small_chunks),
        cmocka_unit_test(parser_body__counts_what_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
