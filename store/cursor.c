// SPDX-License-Identifier: MIT
#include "store/cursor.h"

#include <assert.h>
#include <stdlib.h>

#include "store/version.h"

void cursor_init(struct cursor *c)
{
    *c = (struct cursor){0};
}

void cursor_fini(struct cursor *c)
{
    free(c->gap);
    cursor_init(c);
}

// insert_gap puts a gap at `index` of the list.
static enum error insert_gap(struct cursor *c, size_t index, struct gap gap)
{
    if (c->count == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 8;
        struct gap *grown = realloc(c->gap, cap * sizeof *grown);
        if (!grown)
            return ERROR_MEMORY;
        c->gap = grown;
        c->cap = cap;
    }
    memmove(&c->gap[index + 1], &c->gap[index], (c->count - index) * sizeof *c->gap);
    c->gap[index] = gap;
    c->count++;
    return ERROR_NONE;
}

enum error cursor_copy(struct cursor *to, const struct cursor *from)
{
    struct cursor copy = *from;
    copy.gap = NULL;
    if (from->count) {
        copy.gap = malloc(from->count * sizeof *copy.gap);
        if (!copy.gap)
            return ERROR_MEMORY;
        memcpy(copy.gap, from->gap, from->count * sizeof *copy.gap);
    }
    copy.cap = from->count;
    cursor_fini(to);
    *to = copy;
    return ERROR_NONE;
}

// ---------------------------------------------------------------- text

static bool read_until(struct slice *rest, char end, uint64_t *number)
{
    unsigned long long n;
    struct slice token = slice_token(rest, end);
    if (slice_number(token, UINT64_MAX, &n))
        return false;
    *number = n;
    return true;
}

static bool parse_gap(struct slice text, struct gap *gap)
{
    struct slice rest = text;
    unsigned long long since;
    if (!read_until(&rest, '-', &gap->from) || !read_until(&rest, '@', &gap->to) ||
        !read_until(&rest, ':', &gap->seen) || slice_number(rest, UINT64_MAX, &since))
        return false;
    gap->since = since;
    return gap->from >= 1 && gap->from <= gap->to;
}

enum error cursor_parse(struct cursor *c, struct slice gaps)
{
    struct slice rest = gaps;
    uint64_t last = 0;
    c->count = 0;
    while (rest.len) {
        struct gap gap;
        if (!parse_gap(slice_token(&rest, ' '), &gap) || gap.from <= last || gap.to > c->high)
            return ERROR_MALFORMED;
        if (insert_gap(c, c->count, gap))
            return ERROR_MEMORY;
        last = gap.to;
    }
    return ERROR_NONE;
}

void cursor_format(const struct cursor *c, struct bytes *out)
{
    for (size_t i = 0; i < c->count; i++)
        bytes_format(out, "%s%llu-%llu@%llu:%llu", i ? " " : "", (unsigned long long)c->gap[i].from,
                     (unsigned long long)c->gap[i].to, (unsigned long long)c->gap[i].seen,
                     (unsigned long long)c->gap[i].since);
}

// ---------------------------------------------------------------- reading

enum error cursor_miss(struct cursor *c, uint64_t from, uint64_t to, uint64_t now)
{
    assert(from > c->high && from <= to);
    struct gap gap = {.from = from, .to = to, .seen = now, .since = c->marked};
    enum error error = insert_gap(c, c->count, gap);
    if (!error)
        c->high = to;
    return error;
}

enum error cursor_take(struct cursor *c, uint64_t seq, uint64_t now)
{
    assert(seq > c->high);
    if (seq > c->high + 1) {
        enum error error = cursor_miss(c, c->high + 1, seq - 1, now);
        if (error)
            return error;
    }
    c->high = seq;
    return ERROR_NONE;
}

// find_gap returns the index of the first gap that ends at `seq` or later.
static size_t find_gap(const struct cursor *c, uint64_t seq)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c->gap[middle].to < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum error cursor_close(struct cursor *c, uint64_t from, uint64_t to)
{
    size_t first = find_gap(c, from), last = first;
    if (first == c->count || c->gap[first].from > to)
        return ERROR_NONE;
    if (c->gap[first].from < from) { // its beginning stays
        struct gap rest = c->gap[first];
        if (rest.to > to) {
            rest.from = to + 1;
            c->gap[first].to = from - 1;
            enum error error = insert_gap(c, first + 1, rest);
            if (error)
                c->gap[first].to = rest.to;
            return error;
        }
        c->gap[first].to = from - 1;
        first++;
        last++;
    }
    while (last < c->count && c->gap[last].to <= to)
        last++;
    if (last < c->count && c->gap[last].from <= to)
        c->gap[last].from = to + 1;
    memmove(&c->gap[first], &c->gap[last], (c->count - last) * sizeof *c->gap);
    c->count -= last - first;
    return ERROR_NONE;
}

enum error cursor_reopen(struct cursor *c, uint64_t seq, uint64_t now)
{
    const struct gap gap = {.from = seq, .to = seq, .seen = now, .since = c->marked};
    return cursor_read(c, seq) ? insert_gap(c, find_gap(c, seq), gap) : ERROR_NONE;
}

enum error cursor_mark(struct cursor *c, uint64_t mark, uint64_t now)
{
    uint64_t oldest = now;
    if (mark > c->high) {
        enum error error = cursor_take(c, mark, now);
        if (error)
            return error;
    }
    for (size_t i = 0; i < c->count; i++)
        if (c->gap[i].since < oldest)
            oldest = c->gap[i].since;
    c->marked = now;
    c->frontier = oldest * 1000 << VERSION_PARTITION_BITS;
    return ERROR_NONE;
}

// ---------------------------------------------------------------- questions

bool cursor_read(const struct cursor *c, uint64_t seq)
{
    size_t i = find_gap(c, seq);
    return seq <= c->high && (i == c->count || c->gap[i].from > seq);
}

bool cursor_covers(const struct cursor *c, const struct cursor *other)
{
    if (c->high < other->high)
        return false;
    for (size_t i = 0; i < c->count && c->gap[i].from <= other->high; i++) {
        const struct gap *gap = &c->gap[i];
        uint64_t to = gap->to < other->high ? gap->to : other->high;
        size_t at = find_gap(other, gap->from);
        if (at == other->count || other->gap[at].from > gap->from || other->gap[at].to < to)
            return false;
    }
    return true;
}

uint64_t cursor_whole(const struct cursor *c)
{
    return c->count ? c->gap[0].from - 1 : c->high;
}

uint64_t cursor_missing(const struct cursor *c)
{
    uint64_t missing = 0;
    for (size_t i = 0; i < c->count; i++)
        missing += c->gap[i].to - c->gap[i].from + 1;
    return missing;
}

void cursor_check(const struct cursor *c)
{
    uint64_t last = 0;
    for (size_t i = 0; i < c->count; i++) {
        assert(c->gap[i].from > last && c->gap[i].from <= c->gap[i].to);
        assert(c->gap[i].to <= c->high);
        last = c->gap[i].to;
    }
    assert(c->count <= c->cap);
}
