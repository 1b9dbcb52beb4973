// SPDX-License-Identifier: MIT
// A line is an operation within bounds, or has a fault with a sentence; the next line knows nothing
// of it.
#include <assert.h>
#include <stdint.h>

#include "server/bulk_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct bulk_line *line, struct bulk_fault fault)
{
    const struct operation *operation = &line->operation;
    assert(line->key_len <= KEY_MAX);
    if (fault.status) {
        assert(fault.status >= 400 && fault.status < 500 && fault.detail && *fault.detail);
        return;
    }
    assert(!fault.detail && line->key_len > 0);
    assert(operation->key.data == line->key && operation->key.len == line->key_len);
    assert(operation->kind == OPERATION_PUT || operation->kind == OPERATION_GET ||
           operation->kind == OPERATION_DELETE);
    assert(!operation->precondition || operation->precondition == &line->precondition);
    assert(operation->kind != OPERATION_GET || !operation->precondition);
    if (operation->kind == OPERATION_PUT) {
        assert(operation->value.len == line->value.len);
        assert(operation->type.data == line->type && operation->type.len <= TYPE_MAX);
        assert(operation->ttl_ms / 1000 <= OPERATION_TTL_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bulk_line line;
    static const char plain[] = "{\"op\":\"get\",\"key\":\"k\"}";
    check(&line, bulk_line_parse((struct slice){(const char *)data, size}, &line));
    struct bulk_fault fault = bulk_line_parse(slice_of(plain), &line);
    assert(!fault.status && line.key_len == 1 && line.value.len == 0);
    assert(line.operation.kind == OPERATION_GET && !line.operation.precondition);
    bytes_fini(&line.value);
    return 0;
}
