// SPDX-License-Identifier: MIT
#include "server/guard.h"

#include <stdbool.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// clang-format off
// tchar of RFC 9110, 5.6.2.
static const bool token_char[256] = {
    ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true,
    ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true, ['^'] = true, ['_'] = true,
    ['`'] = true, ['|'] = true, ['~'] = true,
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

// reg-name of RFC 3986, 3.2.2, without the comma, which joins two Host lines into one.
static const bool host_char[256] = {
    ['-'] = true, ['.'] = true, ['_'] = true, ['~'] = true, ['%'] = true, ['!'] = true,
    ['$'] = true, ['&'] = true, ['\''] = true, ['('] = true, [')'] = true, ['*'] = true,
    ['+'] = true, [';'] = true, ['='] = true,
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

// Between the brackets of an IPv6address; no zone, no future version.
static const bool address_char[256] = {
    [':'] = true, ['.'] = true,
    ['0' ... '9'] = true, ['A' ... 'F'] = true, ['a' ... 'f'] = true,
};
// clang-format on

static enum guard_verdict refuse(enum guard_verdict verdict, const char *text, const char **wrong)
{
    *wrong = text;
    return verdict;
}

static enum guard_verdict bad(struct guard_line *line, const char *text)
{
    return refuse(GUARD_BAD, text, &line->wrong);
}

static bool all_of(struct slice s, const bool allowed[256])
{
    for (size_t i = 0; i < s.len; i++)
        if (!allowed[(unsigned char)s.data[i]])
            return false;
    return true;
}

bool guard_is_name(unsigned char c)
{
    return token_char[c];
}

static bool is_token(struct slice s)
{
    return s.len > 0 && all_of(s, token_char);
}

// has_plain_only is true if no byte of `word` is below 0x20 or 0x7f: the test for a zero byte of
// "Hacker's Delight", 6-1, eight bytes at once.
static bool has_plain_only(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    uint64_t from_delete = word ^ (ones * 0x7f);
    uint64_t low = (word - ones * 0x20) & ~word;
    uint64_t deletes = (from_delete - ones) & ~from_delete;
    return ((low | deletes) & tops) == 0;
}

static bool is_text_byte(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

// is_text sees every byte of every request, so it goes by words; those with a tab byte by byte.
static bool is_text(struct slice s)
{
    size_t at = 0;
    while (at < s.len) {
        uint64_t word;
        if (s.len - at >= sizeof word) {
            memcpy(&word, s.data + at, sizeof word);
            if (has_plain_only(word)) {
                at += sizeof word;
                continue;
            }
        }
        if (!is_text_byte((unsigned char)s.data[at++]))
            return false;
    }
    return true;
}

static bool is_visible(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 0x21 || s.data[i] > 0x7e)
            return false;
    return true;
}

static struct slice between(const char *from, const char *to)
{
    return (struct slice){from, (size_t)(to - from)};
}

static bool contains(struct slice s, char c)
{
    return s.len > 0 && memchr(s.data, c, s.len);
}

size_t guard_skip_blank(const char *data, size_t len)
{
    size_t skip = 0;
    while (skip < 2UL * GUARD_BLANK_MAX && len - skip >= 2 && memcmp(data + skip, "\r\n", 2) == 0)
        skip += 2;
    return skip;
}

size_t guard_head_end(const char *data, size_t len, size_t searched)
{
    while (searched < len) {
        const char *lf = memchr(data + searched, '\n', len - searched);
        if (!lf)
            return 0;
        searched = (size_t)(lf - data) + 1;
        if (searched >= 4 && memcmp(lf - 3, "\r\n\r\n", 4) == 0)
            return searched;
    }
    return 0;
}

enum guard_verdict guard_check_start(struct slice start, const char **wrong)
{
    const char *lf = start.len ? memchr(start.data, '\n', start.len) : NULL;
    *wrong = NULL;
    if (start.len == 0 || (start.len == 1 && start.data[0] == '\r')) // maybe an empty line
        return GUARD_OK;
    if (!token_char[(unsigned char)start.data[0]])
        return refuse(GUARD_BAD, "the request does not begin with a method", wrong);
    if (lf && lf[-1] != '\r')
        return refuse(GUARD_BAD, "a line ends in LF without CR", wrong);
    return GUARD_OK;
}

enum guard_verdict guard_check_unended(struct slice start, const char **wrong)
{
    if (start.len > GUARD_HEAD_MAX)
        start.len = GUARD_HEAD_MAX;
    if (!memmem(start.data, start.len, "\r\n", 2))
        return refuse(GUARD_URI_TOO_LONG, "the request line is too long", wrong);
    return refuse(GUARD_TOO_LARGE, "the request's headers are too large", wrong);
}

// next_line cuts the first line off *rest, without its CRLF. A CR elsewhere counts as a control.
static enum guard_verdict next_line(struct slice *rest, struct slice *text, struct guard_line *line)
{
    const char *lf = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    if (!lf)
        return bad(line, "the headers do not end");
    if (lf == rest->data || lf[-1] != '\r')
        return bad(line, "a line ends in LF without CR");
    *text = between(rest->data, lf - 1);
    *rest = between(lf + 1, rest->data + rest->len);
    if (!is_text(*text))
        return bad(line, "a control character, or CR without LF");
    return GUARD_OK;
}

// is_address is true for host [":" port]; `with_port` demands the port (RFC 3986, 3.2).
static bool is_address(struct slice s, bool with_port)
{
    struct slice rest = s, host;
    bool literal = s.len > 0 && s.data[0] == '[';
    if (literal) {
        rest = between(s.data + 1, s.data + s.len);
        host = slice_token(&rest, ']');
        if (!rest.data || (rest.len > 0 && rest.data[0] != ':'))
            return false;
        rest = rest.len ? between(rest.data + 1, rest.data + rest.len) : (struct slice){NULL, 0};
    } else {
        host = slice_token(&rest, ':');
    }
    if (host.len == 0 || !all_of(host, literal ? address_char : host_char))
        return false;
    unsigned long long port;
    if (rest.len > 0)
        return slice_number(rest, 65535, &port) == ERROR_NONE;
    return !with_port;
}

static bool is_known_method(struct slice method)
{
    static const struct slice known[] = {
        {"GET", 3},     {"PUT", 3},   {"HEAD", 4},  {"POST", 4},    {"DELETE", 6},
        {"OPTIONS", 7}, {"PATCH", 5}, {"TRACE", 5}, {"CONNECT", 7},
    };
    for (size_t i = 0; i < COUNT(known); i++)
        if (slice_equal(method, known[i]))
            return true;
    return false;
}

static enum guard_verdict check_version(struct slice version, struct guard_line *line)
{
    const char *v = version.data;
    if (version.len != 8 || memcmp(v, "HTTP/", 5) != 0 || v[6] != '.' || v[5] < '0' || v[5] > '9' ||
        v[7] < '0' || v[7] > '9')
        return bad(line, "the request line is not `method target HTTP/x.y`");
    if (v[5] != '1' || v[7] > '1') // llhttp knows no 1.2 either
        return refuse(GUARD_VERSION, "only HTTP/1.0 and HTTP/1.1 are spoken here", &line->wrong);
    line->minor = (unsigned)(v[7] - '0');
    return GUARD_OK;
}

// scheme_len returns the length of `http://` or `https://` at the start of `target`, or 0.
static size_t scheme_len(struct slice target)
{
    static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < COUNT(schemes); i++)
        if (target.len >= schemes[i].len &&
            slice_equal_nocase((struct slice){target.data, schemes[i].len}, schemes[i]))
            return schemes[i].len;
    return 0;
}

static enum guard_verdict check_absolute(struct slice target, struct guard_line *line)
{
    size_t scheme = scheme_len(target);
    if (scheme == 0)
        return bad(line, "the request target is neither a path nor an http URL");
    const char *end = target.data + target.len;
    const char *path = target.data + scheme;
    while (path < end && *path != '/' && *path != '?')
        path++;
    line->authority = between(target.data + scheme, path);
    line->target = between(path, end);
    if (!is_address(line->authority, false))
        return bad(line, "the request target names no valid host");
    return GUARD_OK;
}

static enum guard_verdict check_target(struct slice target, struct guard_line *line)
{
    line->target = target;
    if (target.len == 0 || !is_visible(target) || contains(target, '#'))
        return bad(line, "the request target has a character that must be percent-encoded");
    if (slice_equal(line->method, SLICE("CONNECT"))) {
        line->authority = target;
        line->target = (struct slice){NULL, 0};
        return is_address(target, true) ? GUARD_OK : bad(line, "CONNECT needs host:port");
    }
    if (target.data[0] == '/')
        return GUARD_OK;
    if (slice_equal(target, SLICE("*")) && slice_equal(line->method, SLICE("OPTIONS")))
        return GUARD_OK;
    return check_absolute(target, line);
}

// check_request_line checks `method SP target SP version` (RFC 9112, 3). Its shape comes before the
// version and the version before the method, so that each verdict speaks of what it names.
static enum guard_verdict check_request_line(struct slice text, struct guard_line *line)
{
    struct slice rest = text;
    line->method = slice_token(&rest, ' ');
    struct slice target = slice_token(&rest, ' ');
    if (!is_token(line->method) || !rest.data)
        return bad(line, "the request line is not `method target HTTP/x.y`");
    enum guard_verdict verdict = check_version(rest, line);
    if (verdict != GUARD_OK)
        return verdict;
    if (!is_known_method(line->method))
        return refuse(GUARD_METHOD, "the method is not known here", &line->wrong);
    return check_target(target, line);
}

static enum guard_verdict check_host(struct slice value, struct guard_line *line)
{
    if (line->host.data)
        return bad(line, "Host is given twice");
    line->host = value;
    if (value.len > 0 && !is_address(value, false))
        return bad(line, "Host is not `name` or `name:port`");
    return GUARD_OK;
}

static enum guard_verdict check_framing(struct slice value, const char *end,
                                        struct guard_line *line)
{
    if (line->framing != GUARD_NO_BODY)
        return bad(line, "Content-Length or Transfer-Encoding is given twice, or both are");
    // Allowed by RFC 9110, 5.6.3, but llhttp takes a tab there for a part of the value.
    if (contains(between(value.data + value.len, end), '\t'))
        return bad(line, "a tab follows the value of Content-Length or Transfer-Encoding");
    return GUARD_OK;
}

static enum guard_verdict check_length(struct slice value, struct guard_line *line)
{
    unsigned long long length;
    if (value.len > 19 || slice_number(value, INT64_MAX, &length) != ERROR_NONE)
        return bad(line, "Content-Length is not a number, or too large a one");
    line->framing = GUARD_LENGTH;
    line->length = length;
    return GUARD_OK;
}

// check_coding: a last coding other than chunked is 400 (RFC 9112, 6.3), an unknown one below
// chunked 501 (6.1), chunked twice 400 (7.1).
static enum guard_verdict check_coding(struct slice value, struct guard_line *line)
{
    bool more = false;
    if (line->minor == 0)
        return bad(line, "HTTP/1.0 has no Transfer-Encoding");
    for (struct slice rest = value; rest.data; more = more || rest.data) {
        struct slice coding = slice_trim(slice_token(&rest, ','));
        bool chunked = slice_equal_nocase(coding, SLICE("chunked"));
        if (!is_token(coding) || chunked == (rest.data != NULL))
            return bad(line, "Transfer-Encoding is not `chunked`");
    }
    if (more)
        return refuse(GUARD_CODING, "the only transfer coding known here is chunked", &line->wrong);
    line->framing = GUARD_CHUNKED;
    return GUARD_OK;
}

static enum guard_verdict check_field(struct slice text, struct guard_line *line)
{
    struct slice rest = text;
    struct slice name = slice_token(&rest, ':');
    if (++line->headers > GUARD_HEADERS_MAX)
        return refuse(GUARD_TOO_LARGE, "the request has too many headers", &line->wrong);
    if (!rest.data || !is_token(name)) // also a folded line: a space begins no token
        return bad(line, "a header line is not `name: value`");
    struct slice value = slice_trim(rest);
    if (name.len == 4 && slice_equal_nocase(name, SLICE("Host")))
        return check_host(value, line);
    bool length = name.len == 14 && slice_equal_nocase(name, SLICE("Content-Length"));
    bool coding = name.len == 17 && slice_equal_nocase(name, SLICE("Transfer-Encoding"));
    if (!length && !coding)
        return GUARD_OK;
    enum guard_verdict verdict = check_framing(value, text.data + text.len, line);
    if (verdict != GUARD_OK)
        return verdict;
    return length ? check_length(value, line) : check_coding(value, line);
}

static enum guard_verdict check_fields(struct slice rest, struct guard_line *line)
{
    for (;;) {
        struct slice text;
        enum guard_verdict verdict = next_line(&rest, &text, line);
        if (verdict != GUARD_OK)
            return verdict;
        if (text.len == 0)
            return rest.len == 0 ? GUARD_OK : bad(line, "the headers end early");
        verdict = check_field(text, line);
        if (verdict != GUARD_OK)
            return verdict;
    }
}

enum guard_verdict guard_check(struct slice head, struct guard_line *line)
{
    struct slice rest = head, text;
    *line = (struct guard_line){0};
    if (head.len > GUARD_HEAD_MAX)
        return guard_check_unended(head, &line->wrong);
    enum guard_verdict verdict = next_line(&rest, &text, line);
    if (verdict == GUARD_OK)
        verdict = check_request_line(text, line);
    if (verdict == GUARD_OK)
        verdict = check_fields(rest, line);
    if (verdict == GUARD_OK && line->minor == 1 && !line->host.data)
        return bad(line, "HTTP/1.1 needs Host");
    return verdict;
}

int guard_status(enum guard_verdict verdict)
{
    switch (verdict) {
    case GUARD_OK:
        return 200;
    case GUARD_BAD:
        return 400;
    case GUARD_URI_TOO_LONG:
        return 414;
    case GUARD_TOO_LARGE:
        return 431;
    case GUARD_METHOD:
    case GUARD_CODING:
        return 501;
    case GUARD_VERSION:
        return 505;
    }
    return 400;
}
