// SPDX-License-Identifier: MIT
// Bytes: borrowed ones (struct slice) and a growing buffer of one's own (struct bytes).
//
// Nothing here is NUL-terminated; every length is explicit. A struct bytes remembers a failed
// allocation: appends after it do nothing, so that a caller who builds a text checks once, at the
// end, with bytes_failed. Invariants: len <= cap; data is NULL only while cap is 0.
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"

struct slice {
    const char *data;
    size_t len;
};

// SLICE makes a slice of a string literal.
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

// slice_compare orders by bytes, a prefix before what it begins: the order of VARBINARY in SQL.
int slice_compare(struct slice a, struct slice b);

// slice_equal_nocase compares ignoring the case of ASCII letters.
bool slice_equal_nocase(struct slice a, struct slice b);

// slice_starts is true if `s` begins with `prefix`.
bool slice_starts(struct slice s, struct slice prefix);

// slice_trim returns `s` without spaces and tabs at both ends.
struct slice slice_trim(struct slice s);

// slice_token cuts `*rest` at its first `separator`: returns what stands before, leaves what
// follows. After the last token rest->data is NULL.
struct slice slice_token(struct slice *rest, char separator);

// slice_number reads `s`, decimal digits only and all of it, into *number. ERROR_MALFORMED on
// anything else, ERROR_TOO_LARGE above `max`.
enum error slice_number(struct slice s, unsigned long long max,
                        unsigned long long *number) MUST_USE;

struct bytes {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
};

// bytes_fini frees what `b` holds and leaves it empty and usable.
void bytes_fini(struct bytes *b);

// bytes_clear forgets the content and a failure, keeps the memory.
void bytes_clear(struct bytes *b);

// bytes_shrink is bytes_clear that also gives back memory beyond `keep` bytes.
void bytes_shrink(struct bytes *b, size_t keep);

// bytes_grow is bytes_room for when there is too little.
char *bytes_grow(struct bytes *b, size_t more);

// bytes_room makes room for `more` bytes and returns where they go (add to len what was written);
// NULL when memory is out.
static inline char *bytes_room(struct bytes *b, size_t more)
{
    bool enough = b->data && !b->failed && more <= b->cap - b->len;
    return enough ? b->data + b->len : bytes_grow(b, more);
}

static inline void bytes_append(struct bytes *b, const void *data, size_t len)
{
    char *room = len ? bytes_room(b, len) : NULL;
    if (room) {
        memcpy(room, data, len);
        b->len += len;
    }
}

static inline void bytes_append_slice(struct bytes *b, struct slice s)
{
    bytes_append(b, s.data, s.len);
}

static inline void bytes_append_text(struct bytes *b, const char *text)
{
    bytes_append(b, text, strlen(text));
}

static inline void bytes_append_char(struct bytes *b, char c)
{
    bytes_append(b, &c, 1);
}

void bytes_append_number(struct bytes *b, unsigned long long number);
void bytes_format(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

// bytes_consume drops the first `len` bytes.
void bytes_consume(struct bytes *b, size_t len);

static inline bool bytes_failed(const struct bytes *b)
{
    return b->failed;
}

// bytes_slice borrows the content; valid until the next change.
static inline struct slice bytes_slice(const struct bytes *b)
{
    return (struct slice){b->data, b->len};
}

#endif
