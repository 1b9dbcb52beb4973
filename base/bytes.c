// SPDX-License-Identifier: MIT
#include "base/bytes.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

int slice_compare(struct slice a, struct slice b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

bool slice_starts(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.len && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

struct slice slice_token(struct slice *rest, char separator)
{
    struct slice token = *rest;
    const char *at = rest->len ? memchr(rest->data, separator, rest->len) : NULL;
    if (!at) {
        *rest = (struct slice){NULL, 0};
        return token;
    }
    token.len = (size_t)(at - rest->data);
    rest->len -= token.len + 1;
    rest->data = at + 1;
    return token;
}

enum error slice_number(struct slice s, unsigned long long max, unsigned long long *number)
{
    unsigned long long n = 0;
    bool large = false;
    if (s.len == 0)
        return ERROR_MALFORMED;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return ERROR_MALFORMED;
        unsigned long long digit = (unsigned long long)(s.data[i] - '0');
        large = __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n) || large;
    }
    if (large || n > max)
        return ERROR_TOO_LARGE;
    *number = n;
    return ERROR_NONE;
}

void bytes_fini(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

void bytes_clear(struct bytes *b)
{
    b->len = 0;
    b->failed = false;
}

void bytes_shrink(struct bytes *b, size_t keep)
{
    if (b->cap > keep)
        bytes_fini(b);
    bytes_clear(b);
}

char *bytes_grow(struct bytes *b, size_t more)
{
    assert(b->len <= b->cap);
    if (b->failed)
        return NULL;
    if (more > SIZE_MAX / 2 - b->len) {
        b->failed = true;
        return NULL;
    }
    size_t cap = b->cap ? b->cap : 256;
    while (cap - b->len < more)
        cap *= 2;
    char *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return NULL;
    }
    b->data = data;
    b->cap = cap;
    return b->data + b->len;
}

void bytes_append_number(struct bytes *b, unsigned long long number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    bytes_append(b, digits + at, sizeof digits - at);
}

void bytes_format(struct bytes *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        b->failed = true;
        return;
    }
    char *room =
        bytes_room(b, (size_t)len + 1); // vsnprintf also writes a NUL, which is not counted
    if (!room)
        return;
    va_start(args, format);
    vsnprintf(room, (size_t)len + 1, format, args);
    va_end(args);
    b->len += (size_t)len;
}

void bytes_consume(struct bytes *b, size_t len)
{
    assert(len <= b->len);
    if (len == 0)
        return;
    b->len -= len;
    memmove(b->data, b->data + len, b->len);
}
