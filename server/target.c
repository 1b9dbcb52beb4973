// SPDX-License-Identifier: MIT
#include "server/target.h"

void target_split(struct slice target, struct slice *path, struct slice *query)
{
    *query = target;
    *path = slice_token(query, '?');
    if (path->len == 0)
        *path = SLICE("/");
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

// decode_byte reads the byte at in.data[*at], which may be %XX, and moves *at behind it.
static bool decode_byte(struct slice in, size_t *at, char *out)
{
    *out = in.data[*at];
    if (*out != '%') {
        ++*at;
        return true;
    }
    if (in.len - *at < 3)
        return false;
    int high = hex_value(in.data[*at + 1]);
    int low = hex_value(in.data[*at + 2]);
    *at += 3;
    *out = (char)(unsigned char)(high * 16 + low);
    return high >= 0 && low >= 0;
}

enum error target_decode(struct slice in, char *out, size_t cap, size_t *len)
{
    size_t n = 0;
    for (size_t at = 0; at < in.len; n++) {
        char byte;
        if (!decode_byte(in, &at, &byte))
            return ERROR_MALFORMED;
        if (n < cap) // a mistake further on is still the better answer
            out[n] = byte;
    }
    if (n > cap)
        return ERROR_TOO_LARGE;
    *len = n;
    return ERROR_NONE;
}

static bool is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static bool is_plain_in_url(unsigned char c)
{
    return is_unreserved(c) || c == '/';
}

static bool is_plain_in_text(unsigned char c)
{
    return c >= 0x20 && c <= 0x7e && c != '%';
}

// encode appends runs of plain bytes whole: most keys are a single one.
static void encode(struct bytes *out, struct slice in, bool (*is_plain)(unsigned char))
{
    size_t begin = 0;
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.data[i];
        if (is_plain(c))
            continue;
        char escape[3] = {'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]};
        bytes_append(out, in.data + begin, i - begin);
        bytes_append(out, escape, sizeof escape);
        begin = i + 1;
    }
    if (begin < in.len)
        bytes_append(out, in.data + begin, in.len - begin);
}

void target_encode(struct bytes *out, struct slice in)
{
    encode(out, in, is_plain_in_url);
}

void target_encode_printable(struct bytes *out, struct slice in)
{
    encode(out, in, is_plain_in_text);
}

bool target_query_next(struct slice *query, struct slice *name, struct slice *value)
{
    while (query->data) {
        *value = slice_token(query, '&');
        if (value->len == 0)
            continue;
        *name = slice_token(value, '=');
        return true;
    }
    return false;
}

unsigned target_query_which(const struct slice names[], unsigned count, struct slice name,
                            struct slice value, unsigned *seen)
{
    unsigned which = 0;
    while (which < count && !slice_equal(name, names[which]))
        which++;
    if (which == count || *seen & 1u << which || !value.data)
        return count;
    *seen |= 1u << which;
    return which;
}
