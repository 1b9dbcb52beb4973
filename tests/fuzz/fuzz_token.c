// SPDX-License-Identifier: MIT
// A token that is taken says the same again, and again to the last number; cursors stay sorted.
#include <assert.h>
#include <stdint.h>

#include "store/token.h"

enum { PARTITIONS = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cursor(const struct cursor *c)
{
    for (size_t i = 0; i < c->count; i++) {
        assert(c->gap[i].from >= 1 && c->gap[i].from <= c->gap[i].to && c->gap[i].to <= c->high);
        assert(i == 0 || c->gap[i - 1].to < c->gap[i].from);
    }
}

static void check_same(const struct token *a, const struct token *b)
{
    assert(a->partitions == b->partitions);
    for (unsigned i = 0; i < a->partitions; i++) {
        const struct position *x = &a->at[i], *y = &b->at[i];
        assert(x->kind == y->kind && x->mark == y->mark && x->newest_ms == y->newest_ms);
        assert(x->kind != POSITION_TIME || x->time_us == y->time_us);
        assert(x->kind != POSITION_CURSOR || x->cursor.high == y->cursor.high);
        assert(x->kind != POSITION_CURSOR || x->cursor.count == y->cursor.count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token *token, *again;
    struct bytes text = {0}, second = {0};
    if (token_parse((struct slice){(const char *)data, size}, PARTITIONS, &token))
        return 0;
    assert(token->after_len <= KEY_MAX);
    for (unsigned i = 0; i < PARTITIONS; i++)
        check_cursor(&token->at[i].cursor);
    token_format_whole(token, &text);
    if (token->listing)
        token_format_after((struct slice){token->after, token->after_len}, &text);
    for (size_t i = 0; i < text.len; i++)
        assert(text.data[i] > ' ' && text.data[i] < 0x7f && !strchr("&=+%#\"", text.data[i]));
    assert(token_parse(bytes_slice(&text), PARTITIONS, &again) == ERROR_NONE);
    check_same(token, again);
    assert(token->listing == again->listing);
    assert(slice_equal((struct slice){token->after, token->after_len},
                       (struct slice){again->after, again->after_len}));
    token_format(token, &second); // a client's length has no more gaps
    token_free(&again);
    assert(token_parse(bytes_slice(&second), PARTITIONS, &again) == ERROR_NONE);
    for (unsigned i = 0; i < PARTITIONS; i++)
        assert(again->at[i].cursor.count <= TOKEN_GAPS_MAX);
    token_free(&again);
    token_free(&token);
    bytes_fini(&text);
    bytes_fini(&second);
    return 0;
}
