// SPDX-License-Identifier: MIT
#include "store/token.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#include "conf/conf.h"
#include "store/version.h"

uint32_t token_mark(uint64_t version)
{
    return version ? (uint32_t)((version ^ version >> 24 ^ version >> 48) & 0xffffff) + 1 : 0;
}

enum error token_new(unsigned partitions, struct token **token)
{
    struct token *t = calloc(1, sizeof *t + sizeof t->at[0] * partitions);
    *token = t;
    if (!t)
        return ERROR_MEMORY;
    t->partitions = partitions;
    return ERROR_NONE;
}

void token_free(struct token **token)
{
    struct token *t = *token;
    if (!t)
        return;
    *token = NULL;
    for (unsigned i = 0; i < t->partitions; i++)
        cursor_fini(&t->at[i].cursor);
    free(t);
}

void position_note(struct position *position, uint64_t newest_ms)
{
    if (position->newest_ms < newest_ms)
        position->newest_ms = newest_ms;
}

bool position_is_past(const struct position *position, uint64_t version)
{
    return (uint64_t)version_unix_us(version) / 1000 < position->newest_ms;
}

enum error position_copy(struct position *to, const struct position *from)
{
    to->kind = from->kind;
    to->time_us = from->time_us;
    to->mark = from->mark;
    to->newest_ms = from->newest_ms;
    to->part_of = from->part_of;
    to->part = from->part;
    return cursor_copy(&to->cursor, &from->cursor);
}

enum error token_copy(struct token *to, const struct token *from)
{
    assert(to->partitions == from->partitions);
    for (unsigned i = 0; i < from->partitions; i++)
        if (position_copy(&to->at[i], &from->at[i]))
            return ERROR_MEMORY;
    to->listing = from->listing;
    to->after_len = from->after_len;
    memcpy(to->after, from->after, from->after_len);
    return ERROR_NONE;
}

// ---------------------------------------------------------------- reading

static bool read_number(struct slice text, uint64_t *number)
{
    unsigned long long n;
    if (slice_number(text, INT64_MAX, &n))
        return false;
    *number = n;
    return true;
}

// read_gap reads `from` or `from-to`.
static bool read_gap(struct slice text, uint64_t *from, uint64_t *to)
{
    struct slice rest = text;
    if (!read_number(slice_token(&rest, '-'), from))
        return false;
    *to = *from;
    return (!rest.data || read_number(rest, to)) && *from >= 1 && *from <= *to;
}

// read_cursor reads a number, its mark, and its gaps, in ascending order: as cursor_miss wants to
// be told.
static enum error read_cursor(struct slice text, struct position *at)
{
    struct slice rest = text;
    struct slice mark = slice_token(&rest, '~');
    struct slice number = slice_token(&mark, '-');
    struct cursor *cursor = &at->cursor;
    uint64_t high, from, to;
    if (!read_number(number, &high))
        return ERROR_MALFORMED;
    if (mark.data && (!read_number(mark, &from) || from > 1u << 24))
        return ERROR_MALFORMED;
    at->mark = mark.data ? (uint32_t)from : 0;
    while (rest.data) {
        if (!read_gap(slice_token(&rest, '~'), &from, &to) || from <= cursor->high || to > high)
            return ERROR_MALFORMED;
        cursor->high = from - 1;
        if (cursor_miss(cursor, from, to, 0))
            return ERROR_MEMORY;
    }
    cursor->high = high;
    return ERROR_NONE;
}

static bool is_blank(const struct position *at)
{
    return at->kind == POSITION_START && !at->newest_ms;
}

static enum error read_position(struct slice text, struct token *token)
{
    struct slice rest = text;
    uint64_t id, time_us;
    if (!read_number(slice_token(&rest, '.'), &id) || id < 1 || id > CONF_PARTITIONS_MAX ||
        !rest.len)
        return ERROR_MALFORMED;
    if (id > token->partitions)
        return ERROR_UNAVAILABLE;
    struct position *at = &token->at[id - 1];
    struct slice where = slice_token(&rest, 'v');
    if (!is_blank(at) || (rest.data && (!read_number(rest, &at->newest_ms) || !at->newest_ms)))
        return ERROR_MALFORMED;
    if (where.len == 0)
        return ERROR_NONE;
    if (where.data[0] == 't') {
        at->kind = POSITION_TIME;
        if (!read_number((struct slice){where.data + 1, where.len - 1}, &time_us))
            return ERROR_MALFORMED;
        at->time_us = (int64_t)time_us;
        return ERROR_NONE;
    }
    at->kind = POSITION_CURSOR;
    struct slice cursor = slice_token(&where, 'k');
    if (where.data && (!read_number(slice_token(&where, '-'), &at->part_of) || !at->part_of ||
                       !where.data || !read_number(where, &at->part) || !at->part))
        return ERROR_MALFORMED;
    return read_cursor(cursor, at);
}

// cut_after takes the key of a list off the end of the text.
static bool cut_after(struct slice *text, struct token *token)
{
    for (size_t i = 0; i + 1 < text->len; i++) {
        if (text->data[i] != '.' || text->data[i + 1] != '.')
            continue;
        const char *encoded = text->data + i + 2;
        size_t len = text->len - i - 2;
        text->len = i;
        token->listing = true;
        return sodium_base642bin((unsigned char *)token->after, sizeof token->after, encoded, len,
                                 NULL, &token->after_len, NULL,
                                 sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
    }
    return true;
}

enum error token_parse(struct slice text, unsigned partitions, struct token **token)
{
    struct slice rest = text;
    enum error error = token_new(partitions, token);
    if (error)
        return error;
    bool right = text.len && text.len <= TOKEN_TEXT_MAX && cut_after(&rest, *token) && rest.len;
    error = right ? ERROR_NONE : ERROR_MALFORMED;
    while (!error && rest.data)
        error = read_position(slice_token(&rest, '_'), *token);
    if (error)
        token_free(token);
    return error;
}

// ---------------------------------------------------------------- writing

static void format_cursor(const struct position *at, size_t most, struct bytes *out)
{
    const struct cursor *cursor = &at->cursor;
    uint32_t mark = at->mark;
    size_t gaps = cursor->count;
    uint64_t high = cursor->high;
    if (gaps > most) {
        gaps = most;
        high = cursor->gap[gaps].from - 1;
        mark = 0;
    }
    bytes_append_number(out, high);
    if (mark) {
        bytes_append_char(out, '-');
        bytes_append_number(out, mark);
    }
    for (size_t i = 0; i < gaps; i++) {
        bytes_append_char(out, '~');
        bytes_append_number(out, cursor->gap[i].from);
        if (cursor->gap[i].to > cursor->gap[i].from) {
            bytes_append_char(out, '-');
            bytes_append_number(out, cursor->gap[i].to);
        }
    }
}

static void format_part(const struct position *at, struct bytes *out)
{
    if (!at->part_of)
        return;
    bytes_append_char(out, 'k');
    bytes_append_number(out, at->part_of);
    bytes_append_char(out, '-');
    bytes_append_number(out, at->part);
}

static void format(const struct token *token, size_t gaps, struct bytes *out)
{
    const char *separator = "";
    for (unsigned i = 0; i < token->partitions; i++) {
        const struct position *at = &token->at[i];
        assert(at->kind != POSITION_NOW);
        if (is_blank(at))
            continue;
        bytes_append_text(out, separator);
        separator = "_";
        bytes_append_number(out, i + 1);
        bytes_append_char(out, '.');
        if (at->kind == POSITION_CURSOR) {
            format_cursor(at, gaps, out);
            format_part(at, out);
        } else if (at->kind == POSITION_TIME) {
            bytes_append_char(out, 't');
            bytes_append_number(out, (unsigned long long)at->time_us);
        }
        if (at->newest_ms) {
            bytes_append_char(out, 'v');
            bytes_append_number(out, at->newest_ms);
        }
    }
}

void token_format(const struct token *token, struct bytes *out)
{
    format(token, TOKEN_GAPS_MAX, out);
}

void token_format_whole(const struct token *token, struct bytes *out)
{
    format(token, SIZE_MAX, out);
}

void token_format_after(struct slice after, struct bytes *out)
{
    size_t room = sodium_base64_ENCODED_LEN(after.len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    bytes_append_text(out, "..");
    char *to = bytes_room(out, room);
    if (!to)
        return;
    sodium_bin2base64(to, room, (const unsigned char *)after.data, after.len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    out->len += room - 1; // without its NUL
}
