// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/guard.h"

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
#define END  "\r\n"

#define VERDICT(expected, text)                                                                    \
    assert_int_equal(verdict_of((struct slice){(text), sizeof(text) - 1}), (expected))
#define SAME(slice, text) assert_true(slice_equal((slice), slice_of(text)))

static enum guard_verdict verdict_of(struct slice head)
{
    struct guard_line line;
    enum guard_verdict verdict = guard_check(head, &line);
    if (verdict == GUARD_OK)
        assert_null(line.wrong);
    else
        assert_non_null(line.wrong);
    return verdict;
}

static struct guard_line passed(const char *text)
{
    struct guard_line line;
    assert_int_equal(guard_check(slice_of(text), &line), GUARD_OK);
    return line;
}

static void guard_skip_blank__skips_up_to_four_empty_lines(void **state)
{
    (void)state;
    assert_int_equal(guard_skip_blank("", 0), 0);
    assert_int_equal(guard_skip_blank("GET", 3), 0);
    assert_int_equal(guard_skip_blank("\r", 1), 0);
    assert_int_equal(guard_skip_blank("\r\n", 2), 2);
    assert_int_equal(guard_skip_blank("\r\n\r", 3), 2);
    assert_int_equal(guard_skip_blank("\r\nG", 3), 2);
    assert_int_equal(guard_skip_blank("\n\r\n", 3), 0);
    assert_int_equal(guard_skip_blank("\r\n\r\n\r\n\r\n\r\n", 10), 8);
}

static void guard_head_end__finds_the_first_empty_line(void **state)
{
    (void)state;
    const char text[] = GET "A: b\r\n\r\nmore\r\n\r\n";
    size_t end = sizeof(GET "A: b\r\n\r\n") - 1;
    assert_int_equal(guard_head_end(text, sizeof text - 1, 0), end);
    assert_int_equal(guard_head_end(text, end, 0), end);
    for (size_t len = 0; len < end; len++)
        assert_int_equal(guard_head_end(text, len, 0), 0);
}

static void guard_head_end__resumes_anywhere(void **state)
{
    (void)state;
    const char text[] = GET END;
    size_t end = sizeof text - 1;
    for (size_t searched = 0; searched < end; searched++)
        assert_int_equal(guard_head_end(text, end, searched), end);
    for (size_t len = 1; len <= end; len++) // a byte at a time
        assert_int_equal(guard_head_end(text, len, len - 1), len == end ? end : 0);
}

static void guard_head_end__takes_nothing_less_than_crlf_crlf(void **state)
{
    (void)state;
    static const char *const open[] = {"\n\n",     "\r\n\n", "\n\r\n",
                                       "\r\r\n\n", "\r\n\r", "\n\r\n\r"};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        assert_int_equal(guard_head_end(open[i], strlen(open[i]), 0), 0);
    assert_int_equal(guard_head_end("\r\n\r\n", 4, 0), 4);
}

static void guard_check_start__passes_every_beginning_of_a_good_head(void **state)
{
    (void)state;
    const char text[] = GET "A: b" END END;
    const char *wrong;
    for (size_t len = 0; len < sizeof text; len++)
        assert_int_equal(guard_check_start((struct slice){text, len}, &wrong), GUARD_OK);
    assert_null(wrong);
    assert_int_equal(guard_check_start(SLICE("\r"), &wrong), GUARD_OK);
}

static void guard_check_start__refuses_what_cannot_become_a_request(void **state)
{
    (void)state;
    static const struct slice bad[] = {
        {"\x16\x03\x01", 3}, {"\0", 1},  {" GET", 4}, {"\tGET", 4}, {"\n", 1},
        {"\r\n", 2},         {"\rG", 2}, {":", 1},    {"\x80", 1},  {"GET / HTTP/1.1\n", 15},
        {"GET /\n", 6},      {"(", 1},   {"\x7f", 1},
    };
    const char *wrong;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(guard_check_start(bad[i], &wrong), GUARD_BAD);
        assert_non_null(wrong);
    }
}

static void guard_check_unended__blames_what_was_too_long(void **state)
{
    (void)state;
    static char text[GUARD_HEAD_MAX + 100];
    const char *wrong;
    memset(text, 'a', sizeof text);
    struct slice all = {text, sizeof text};
    assert_int_equal(guard_check_unended(all, &wrong), GUARD_URI_TOO_LONG);
    memcpy(text + GUARD_HEAD_MAX, "\r\n", 2);
    assert_int_equal(guard_check_unended(all, &wrong), GUARD_URI_TOO_LONG);
    memcpy(text + GUARD_HEAD_MAX - 2, "\r\n", 2);
    assert_int_equal(guard_check_unended(all, &wrong), GUARD_TOO_LARGE);
    assert_non_null(wrong);
}

static void guard_check__tells_the_parts(void **state)
{
    (void)state;
    struct guard_line line = passed("PUT /keys/a?ttl=3 HTTP/1.1\r\nhOsT:\t b:80 \t\r\nX:y\r\n\r\n");
    SAME(line.method, "PUT");
    SAME(line.target, "/keys/a?ttl=3");
    SAME(line.host, "b:80");
    assert_null(line.authority.data);
    assert_int_equal(line.minor, 1);
    assert_int_equal(line.headers, 2);
    assert_int_equal(line.framing, GUARD_NO_BODY);
    assert_int_equal(line.length, 0);
}

static void guard_check__refuses_a_head_without_end(void **state)
{
    (void)state;
    VERDICT(GUARD_BAD, "");
    VERDICT(GUARD_BAD, "G");
    VERDICT(GUARD_BAD, "\r\n");
    VERDICT(GUARD_BAD, "\r\n\r\n");
    VERDICT(GUARD_BAD, GET);
    VERDICT(GUARD_BAD, GET "\r");
    VERDICT(GUARD_BAD, GET END "\r\n");
    VERDICT(GUARD_BAD, GET END GET END);
}

static void guard_check__refuses_lf_without_cr(void **state)
{
    (void)state;
    VERDICT(GUARD_BAD, "GET / HTTP/1.1\nHost: a\r\n\r\n");
    VERDICT(GUARD_BAD, "GET / HTTP/1.1\r\nHost: a\n\r\n");
    VERDICT(GUARD_BAD, GET "A: b\nB: c\r\n\r\n");
    VERDICT(GUARD_BAD, GET "\n");
    VERDICT(GUARD_BAD, "\n" GET END);
}

static void guard_check__refuses_cr_without_lf(void **state)
{
    (void)state;
    VERDICT(GUARD_BAD, GET "A: b\rc\r\n\r\n");
    VERDICT(GUARD_BAD, GET "A: b\r\r\n\r\n");
    VERDICT(GUARD_BAD, GET "\rA: b\r\n\r\n");
    VERDICT(GUARD_BAD, GET "A\r: b\r\n\r\n");
    VERDICT(GUARD_BAD, GET "A: b\r\n\r\r\n");
    VERDICT(GUARD_BAD, "GET /\r HTTP/1.1\r\n" HOST END);
}

// Every byte at every place of a value: the check goes by words, so the place matters.
static void guard_check__refuses_control_bytes_in_values(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 20; at++) {
            char text[] = GET "Aa: bcdefghijklmnopqrstuvw\r\n\r\n";
            text[sizeof GET + 3 + at] = (char)c;
            enum guard_verdict expected =
                (c < 0x20 && c != '\t') || c == 0x7f ? GUARD_BAD : GUARD_OK;
            assert_int_equal(verdict_of((struct slice){text, sizeof text - 1}), expected);
        }
    }
}

static void guard_check__refuses_tokens_with_other_bytes(void **state)
{
    (void)state;
    const char allowed[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                           "uvwxyz:";
    for (int c = 0; c < 256; c++) {
        char text[] = GET "Name: b\r\n\r\n";
        text[sizeof GET + 1] = (char)c;
        enum guard_verdict expected = c && strchr(allowed, c) ? GUARD_OK : GUARD_BAD;
        assert_int_equal(verdict_of((struct slice){text, sizeof text - 1}), expected);
    }
}

static void guard_check__refuses_obs_fold(void **state)
{
    (void)state;
    VERDICT(GUARD_BAD, GET "A: b\r\n c\r\n\r\n");
    VERDICT(GUARD_BAD, GET "A: b\r\n\tc\r\n\r\n");
    VERDICT(GUARD_BAD, GET "A: b\r\n \r\n\r\n");
    VERDICT(GUARD_BAD, GET "A: b\r\n c: d\r\n\r\n");
    VERDICT(GUARD_BAD, "GET / HTTP/1.1\r\n Host: a\r\n\r\n");
    VERDICT(GUARD_BAD, POST "Transfer-Encoding:\r\n chunked\r\n\r\n");
}

static void guard_check__refuses_lines_that_are_no_header(void **state)
{
    (void)state;
    VERDICT(GUARD_BAD, GET ": b\r\n\r\n");
    VERDICT(GUARD_BAD, GET ":\r\n\r\n");
    VERDICT(GUARD_BAD, GET "A\r\n\r\n");
    VERDICT(GUARD_BAD, GET "A b: c\r\n\r\n");
    VERDICT(GUARD_BAD, GET "A : b\r\n\r\n");
    VERDICT(GUARD_BAD, GET "A\t: b\r\n\r\n");
    VERDICT(GUARD_BAD, GET "GET / HTTP/1.1\r\n\r\n");
    VERDICT(GUARD_BAD, GET "\x80: b\r\n\r\n");
    VERDICT(GUARD_OK, GET "A:\r\n\r\n");
    VERDICT(GUARD_OK, GET "A: \r\n\r\n");
    VERDICT(GUARD_OK, GET "A::\r\n\r\n");
    VERDICT(GUARD_OK, GET "A:\tb\tc \x80\xff\r\n\r\n");
}

static void guard_check__refuses_a_crooked_request_line(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "GET",
        "GET ",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/.1",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTP/1,1",
        "GET / http/1.1",
        "GET / HTTP/a.1",
        "GET / HTTP/1.a",
        "GET / HTTP 1.1",
        "GET / RTSP/1.0",
        "GET / ICE/1.0",
        "GET / ",
        " / HTTP/1.1",
        "/ HTTP/1.1",
        "G@T / HTTP/1.1",
        "G\"T / HTTP/1.1",
        "\x80 / HTTP/1.1",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "GET: / HTTP/1.1",
        "GET / HTTP/-.1",
        "GET / HTTP/+.1",
        "GET / XHTTP/1.1",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[200];
        int len = snprintf(text, sizeof text, "%s\r\n" HOST END, lines[i]);
        assert_int_equal(verdict_of((struct slice){text, (size_t)len}), GUARD_BAD);
    }
}

static void guard_check__knows_versions(void **state)
{
    (void)state;
    for (char major = '0'; major <= '9'; major++) {
        for (char minor = '0'; minor <= '9'; minor++) {
            char text[] = "GET / HTTP/x.y\r\n" HOST END;
            text[11] = major;
            text[13] = minor;
            enum guard_verdict expected = major == '1' && minor <= '1' ? GUARD_OK : GUARD_VERSION;
            assert_int_equal(verdict_of(slice_of(text)), expected);
        }
    }
    VERDICT(GUARD_VERSION, "PRI * HTTP/2.0\r\n\r\n");
    assert_int_equal(passed("GET / HTTP/1.0\r\n\r\n").minor, 0);
}

static void guard_check__knows_methods(void **state)
{
    (void)state;
    static const char *const known[] = {"GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "TRACE"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "%s / HTTP/1.1\r\n" HOST END, known[i]);
        SAME(passed(text).method, known[i]);
    }
    VERDICT(GUARD_METHOD, "get / HTTP/1.1\r\n" HOST END);
    VERDICT(GUARD_METHOD, "GETX / HTTP/1.1\r\n" HOST END);
    VERDICT(GUARD_METHOD, "GE / HTTP/1.1\r\n" HOST END);
    VERDICT(GUARD_METHOD, "PROPFIND / HTTP/1.1\r\n" HOST END);
    VERDICT(GUARD_METHOD, "M-SEARCH * HTTP/1.1\r\n" HOST END);
    VERDICT(GUARD_METHOD, "!#$%&'*+-.^_`|~ / HTTP/1.1\r\n" HOST END);
}

static void check_target_byte(int c)
{
    char text[] = "GET /axb HTTP/1.1\r\n" HOST END;
    text[6] = (char)c;
    enum guard_verdict expected = c > 0x20 && c < 0x7f && c != '#' ? GUARD_OK : GUARD_BAD;
    assert_int_equal(verdict_of((struct slice){text, sizeof text - 1}), expected);
}

static void guard_check__wants_visible_ascii_in_targets(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++)
        check_target_byte(c);
}

static void guard_check__knows_the_forms_of_a_target(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *target;
        enum guard_verdict verdict;
    } cases[] = {
        {"GET", "/", GUARD_OK},
        {"GET", "//", GUARD_OK},
        {"GET", "/..?//", GUARD_OK},
        {"GET", "/%zz\"<>\\^`{|}", GUARD_OK}, // decoding is for later
        {"GET", "*", GUARD_BAD},
        {"OPTIONS", "*", GUARD_OK},
        {"OPTIONS", "*a", GUARD_BAD},
        {"OPTIONS", "/", GUARD_OK},
        {"GET", "a", GUARD_BAD},
        {"GET", "?a", GUARD_BAD},
        {"GET", "a:80", GUARD_BAD},
        {"GET", "http:", GUARD_BAD},
        {"GET", "http:/a", GUARD_BAD},
        {"GET", "http://", GUARD_BAD},
        {"GET", "http:///a", GUARD_BAD},
        {"GET", "http://?a", GUARD_BAD},
        {"GET", "http://u@a/", GUARD_BAD},
        {"GET", "http://u:p@a/", GUARD_BAD},
        {"GET", "http://a,b/", GUARD_BAD},
        {"GET", "http://a:/", GUARD_OK},
        {"GET", "http://:80/", GUARD_BAD},
        {"GET", "http://a:x/", GUARD_BAD},
        {"GET", "http://a:65535/", GUARD_OK},
        {"GET", "http://a:65536/", GUARD_BAD},
        {"GET", "http://[::1]/", GUARD_OK},
        {"GET", "http://[::1/", GUARD_BAD},
        {"GET", "http://[]/", GUARD_BAD},
        {"GET", "http://[::1]x/", GUARD_BAD},
        {"GET", "http://a\\b/", GUARD_BAD},
        {"GET", "http://a/#b", GUARD_BAD},
        {"GET", "http://a/u@b", GUARD_OK},
        {"GET", "ftp://a/", GUARD_BAD},
        {"GET", "xhttp://a/", GUARD_BAD},
        {"CONNECT", "a:80", GUARD_OK},
        {"CONNECT", "[::1]:80", GUARD_OK},
        {"CONNECT", "a", GUARD_BAD},
        {"CONNECT", "a:", GUARD_BAD},
        {"CONNECT", "[::1]", GUARD_BAD},
        {"CONNECT", ":80", GUARD_BAD},
        {"CONNECT", "/", GUARD_BAD},
        {"CONNECT", "*", GUARD_BAD},
        {"CONNECT", "a:80/", GUARD_BAD},
        {"CONNECT", "http://a:80/", GUARD_BAD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, "%s %s HTTP/1.1\r\n" HOST END, cases[i].method,
                 cases[i].target);
        assert_int_equal(verdict_of(slice_of(text)), cases[i].verdict);
    }
}

static void guard_check__takes_absolute_targets_apart(void **state)
{
    (void)state;
    struct guard_line line = passed("GET HtTp://b.c:80/d?e HTTP/1.1\r\n" HOST END);
    SAME(line.authority, "b.c:80");
    SAME(line.target, "/d?e");
    SAME(line.host, "a");
    line = passed("GET https://b?e/f HTTP/1.1\r\n" HOST END);
    SAME(line.authority, "b");
    SAME(line.target, "?e/f");
    line = passed("GET http://b HTTP/1.1\r\n" HOST END);
    SAME(line.authority, "b");
    assert_int_equal(line.target.len, 0);
    line = passed("CONNECT b:1 HTTP/1.1\r\n" HOST END);
    SAME(line.authority, "b:1");
    assert_int_equal(line.target.len, 0);
}

static void guard_check__wants_one_host(void **state)
{
    (void)state;
    VERDICT(GUARD_BAD, "GET / HTTP/1.1\r\n\r\n");
    VERDICT(GUARD_BAD, "GET / HTTP/1.1\r\nHostx: a\r\n\r\n");
    VERDICT(GUARD_BAD, "GET http://a/ HTTP/1.1\r\n\r\n");
    VERDICT(GUARD_BAD, GET HOST END);
    VERDICT(GUARD_BAD, GET "hoST: a\r\n\r\n");
    VERDICT(GUARD_BAD, "GET / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n");
    VERDICT(GUARD_BAD, "GET / HTTP/1.0\r\n" HOST HOST END);
    VERDICT(GUARD_OK, "GET / HTTP/1.0\r\n" HOST END);
    VERDICT(GUARD_OK, "GET / HTTP/1.0\r\n\r\n");
    assert_null(passed("GET / HTTP/1.0\r\n\r\n").host.data);
    assert_non_null(passed("GET / HTTP/1.1\r\nHost:\r\n\r\n").host.data);
}

static void guard_check__wants_a_sane_host(void **state)
{
    (void)state;
    static const char *const good[] = {"",      " ",          "a",     "a.b-c_d~e", "127.0.0.1:80",
                                       "[::1]", "[::1]:8080", "a:",    "a%20b",     "a:0",
                                       "A.B:1", "[1::2.3.4]", "a:080", "[::1]:"};
    static const char *const bad[] = {"a,b",
                                      "a, b",
                                      "a b",
                                      "a\tb",
                                      "u@a",
                                      "a/",
                                      ":80",
                                      "a:b",
                                      "a:1:2",
                                      "::1",
                                      "[::1",
                                      "::1]",
                                      "[]",
                                      "[a]b",
                                      "[::1]80",
                                      "a?b",
                                      "a#b",
                                      "a:99999",
                                      "\x80",
                                      "a:+1",
                                      "\"a\"",
                                      "a\\b",
                                      "[fe80::1%25e]",
                                      "http://a",
                                      "[v1.x]",
                                      "a:1000000000000000000000"};
    char text[200];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
        assert_int_equal(verdict_of(slice_of(text)), GUARD_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        assert_int_equal(verdict_of(slice_of(text)), GUARD_BAD);
    }
}

static void guard_check__reads_content_length(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint64_t length;
    } good[] = {
        {"0", 0},
        {"5", 5},
        {"007", 7},
        {"5 ", 5},
        {"\t 5  ", 5},
        {"9223372036854775807", INT64_MAX},
        {"0000000000000000005", 5},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, POST "content-LENGTH:%s\r\n\r\n", good[i].value);
        struct guard_line line = passed(text);
        assert_int_equal(line.framing, GUARD_LENGTH);
        assert_true(line.length == good[i].length);
    }
}

static void guard_check__refuses_doubtful_content_lengths(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "+5",
        "-5",
        "0x5",
        "5a",
        "5, 5",
        "5,5",
        "5,",
        "5 5",
        "5.0",
        "\"5\"",
        "5;",
        "\xb2",
        "5\t",
        "5 \t ",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999",
        "00000000000000000005",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, POST "Content-Length: %s\r\n\r\n", bad[i]);
        assert_int_equal(verdict_of(slice_of(text)), GUARD_BAD);
    }
    VERDICT(GUARD_BAD, POST "Content-Length : 5\r\n\r\n");
    VERDICT(GUARD_BAD, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n");
    VERDICT(GUARD_BAD, POST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n");
    VERDICT(GUARD_BAD, POST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n");
}

static void guard_check__reads_transfer_encoding(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        enum guard_verdict verdict;
    } cases[] = {
        {"chunked", GUARD_OK},
        {"CHUNKed", GUARD_OK},
        {" \tchunked  ", GUARD_OK},
        {"chunked\t", GUARD_BAD},
        {"gzip, chunked", GUARD_CODING},
        {"a , b,chunked", GUARD_CODING},
        {"identity, chunked", GUARD_CODING},
        {"", GUARD_BAD},
        {",", GUARD_BAD},
        {"chunked,", GUARD_BAD},
        {",chunked", GUARD_BAD},
        {"gzip,,chunked", GUARD_BAD},
        {"xchunked", GUARD_BAD},
        {"chunkedx", GUARD_BAD},
        {"identity", GUARD_BAD},
        {"gzip", GUARD_BAD},
        {"chunked, gzip", GUARD_BAD},
        {"chunked, chunked", GUARD_BAD},
        {"chunked;a=b", GUARD_BAD},
        {"gzip;a=b, chunked", GUARD_BAD},
        {"\"chunked\"", GUARD_BAD},
        {"chunked chunked", GUARD_BAD},
        {"\x0b"
         "chunked",
         GUARD_BAD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, POST "Transfer-Encoding:%s\r\n\r\n", cases[i].value);
        assert_int_equal(verdict_of(slice_of(text)), cases[i].verdict);
    }
    assert_int_equal(passed(POST "Transfer-Encoding: chunked\r\n\r\n").framing, GUARD_CHUNKED);
}

static void guard_check__refuses_two_framings(void **state)
{
    (void)state;
    VERDICT(GUARD_BAD, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
    VERDICT(GUARD_BAD, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n");
    VERDICT(GUARD_BAD, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    VERDICT(GUARD_BAD, POST "Content-Length: 0\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n");
    VERDICT(GUARD_BAD, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    VERDICT(GUARD_OK, POST "Transfer_Encoding: x\r\nContent_Length: y\r\n\r\n");
}

static struct slice head_with(char *text, size_t headers)
{
    size_t len = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 1; i < headers; i++)
        len += (size_t)sprintf(text + len, "A: b\r\n");
    len += (size_t)sprintf(text + len, "\r\n");
    return (struct slice){text, len};
}

static void guard_check__bounds_the_number_of_headers(void **state)
{
    (void)state;
    char text[2000];
    assert_int_equal(verdict_of(head_with(text, GUARD_HEADERS_MAX)), GUARD_OK);
    assert_int_equal(verdict_of(head_with(text, GUARD_HEADERS_MAX + 1)), GUARD_TOO_LARGE);
}

static void guard_check__bounds_the_size(void **state)
{
    (void)state;
    static char text[GUARD_HEAD_MAX + 2];
    memset(text, 'a', sizeof text);
    memcpy(text, GET "A:", sizeof(GET "A:") - 1);
    memcpy(text + GUARD_HEAD_MAX - 4, "\r\n\r\n", 4);
    assert_int_equal(verdict_of((struct slice){text, GUARD_HEAD_MAX}), GUARD_OK);
    memcpy(text + GUARD_HEAD_MAX - 4, "a\r\n\r\n", 5);
    assert_int_equal(verdict_of((struct slice){text, GUARD_HEAD_MAX + 1}), GUARD_TOO_LARGE);
}

static void guard_status__maps_every_verdict(void **state)
{
    (void)state;
    assert_int_equal(guard_status(GUARD_OK), 200);
    assert_int_equal(guard_status(GUARD_BAD), 400);
    assert_int_equal(guard_status(GUARD_URI_TOO_LONG), 414);
    assert_int_equal(guard_status(GUARD_TOO_LARGE), 431);
    assert_int_equal(guard_status(GUARD_METHOD), 501);
    assert_int_equal(guard_status(GUARD_CODING), 501);
    assert_int_equal(guard_status(GUARD_VERSION), 505);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guard_skip_blank__skips_up_to_four_empty_lines),
        cmocka_unit_test(guard_head_end__finds_the_first_empty_line),
        cmocka_unit_test(guard_head_end__resumes_anywhere),
        cmocka_unit_test(guard_head_end__takes_nothing_less_than_crlf_crlf),
        cmocka_unit_test(guard_check_start__passes_every_beginning_of_a_good_head),
        cmocka_unit_test(guard_check_start__refuses_what_cannot_become_a_request),
        cmocka_unit_test(guard_check_unended__blames_what_was_too_long),
        cmocka_unit_test(guard_check__tells_the_parts),
        cmocka_unit_test(guard_check__refuses_a_head_without_end),
        cmocka_unit_test(guard_check__refuses_lf_without_cr),
        cmocka_unit_test(guard_check__refuses_cr_without_lf),
        cmocka_unit_test(guard_check__refuses_control_bytes_in_values),
        cmocka_unit_test(guard_check__refuses_tokens_with_other_bytes),
        cmocka_unit_test(guard_check__refuses_obs_fold),
        cmocka_unit_test(guard_check__refuses_lines_that_are_no_header),
        cmocka_unit_test(guard_check__refuses_a_crooked_request_line),
        cmocka_unit_test(guard_check__knows_versions),
        cmocka_unit_test(guard_check__knows_methods),
        cmocka_unit_test(guard_check__wants_visible_ascii_in_targets),
        cmocka_unit_test(guard_check__knows_the_forms_of_a_target),
        cmocka_unit_test(guard_check__takes_absolute_targets_apart),
        cmocka_unit_test(guard_check__wants_one_host),
        cmocka_unit_test(guard_check__wants_a_sane_host),
        cmocka_unit_test(guard_check__reads_content_length),
        cmocka_unit_test(guard_check__refuses_doubtful_content_lengths),
        cmocka_unit_test(guard_check__reads_transfer_encoding),
        cmocka_unit_test(guard_check__refuses_two_framings),
        cmocka_unit_test(guard_check__bounds_the_number_of_headers),
        cmocka_unit_test(guard_check__bounds_the_size),
        cmocka_unit_test(guard_status__maps_every_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
