// SPDX-License-Identifier: MIT
// Any bytes as a request: fed whole and in pieces that the input itself cuts, the parser must give
// the same verdict, the same body and the same end. The first byte says how the pieces are cut.
#include <assert.h>
#include <stdint.h>

#include "base/list.h"
#include "server/parser.h"

struct run {
    struct parser parser;
    struct head head;
    struct bytes body;
    enum error error;
    size_t used;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_body(struct parser *parser, struct slice piece)
{
    struct run *run = CONTAINER_OF(parser, struct run, parser);
    assert(piece.len > 0);
    bytes_append_slice(&run->body, piece);
}

// cut returns the length of the next piece: from one byte to the whole of `rest`.
static size_t cut(struct slice rest, uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223 + (unsigned char)rest.data[0];
    size_t piece = 1 + (*seed >> 16) % (*seed & 1 ? 4 : 64);
    return piece < rest.len ? piece : rest.len;
}

static void parse(struct run *run, struct slice head, struct slice rest, bool whole, uint32_t seed)
{
    run->parser.on_body = on_body;
    run->error = parser_head(&run->parser, &run->head, head);
    while (!run->error && !run->parser.ended && run->used < rest.len) {
        struct slice left = {rest.data + run->used, rest.len - run->used};
        size_t taken = SIZE_MAX;
        if (!whole)
            left.len = cut(left, &seed);
        run->error = parser_body(&run->parser, left, &taken);
        if (run->error)
            break;
        assert(taken <= left.len && (taken == left.len || run->parser.ended));
        run->used += taken;
    }
    if (!run->error)
        assert(run->body.len == run->parser.body);
}

static void run_fini(struct run *run)
{
    head_fini(&run->head);
    bytes_fini(&run->body);
}

static void check_length(const struct run *run, const struct guard_line *line, size_t rest)
{
    bool length = line->framing == GUARD_LENGTH;
    if (line->framing == GUARD_CHUNKED)
        return;
    assert(run->error == ERROR_NONE);
    assert(run->body.len == run->used);
    assert(run->used == (length && line->length > rest ? rest : length ? line->length : 0));
    assert(run->parser.ended == (!length || line->length <= rest));
}

static void check_same(const struct run *a, const struct run *b)
{
    assert(a->error == b->error);
    for (enum header h = 0; h < HEADERS; h++)
        assert(slice_equal(a->head.value[h], b->head.value[h]));
    assert(a->head.keep_alive == b->head.keep_alive);
    if (a->error)
        return;
    assert(a->used == b->used && a->parser.ended == b->parser.ended);
    assert(slice_equal(bytes_slice(&a->body), bytes_slice(&b->body)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // How much framing a body may have is looked at after each piece: below this it never is.
    if (size == 0 || size > GUARD_HEAD_MAX)
        return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1, end = guard_head_end(text, len, 0);
    struct guard_line line;
    struct slice head = {text, end}, rest = {text + end, len - end};
    if (end == 0 || guard_check(head, &line) != GUARD_OK)
        return 0;
    struct run whole = {.head.line = line}, pieces = {.head.line = line};
    parse(&whole, head, rest, true, 0);
    parse(&pieces, head, rest, false, data[0]);
    assert(whole.error == ERROR_NONE || whole.error == ERROR_MALFORMED);
    check_length(&whole, &line, rest.len);
    check_same(&whole, &pieces);
    run_fini(&whole);
    run_fini(&pieces);
    return 0;
}
