// SPDX-License-Identifier: MIT
// What was encoded decodes to itself; what decodes is stable; parameters lie within their query.
#include <assert.h>
#include <stdint.h>

#include "server/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(void (*encode)(struct bytes *, struct slice), struct slice plain)
{
    struct bytes encoded = {0};
    char decoded[4096];
    size_t len = 0;
    encode(&encoded, plain);
    for (size_t i = 0; i < encoded.len; i++)
        assert(encoded.data[i] >= ' ' && encoded.data[i] <= '~');
    assert(target_decode(bytes_slice(&encoded), decoded, sizeof decoded, &len) == ERROR_NONE);
    assert(slice_equal((struct slice){decoded, len}, plain));
    bytes_fini(&encoded);
}

static void check_decode(struct slice in)
{
    char whole[4096], part[16];
    size_t len = 0, part_len = 99;
    if (target_decode(in, whole, sizeof whole, &len) != ERROR_NONE)
        return;
    assert(len <= in.len);
    check_round_trip(target_encode, (struct slice){whole, len});
    enum error error = target_decode(in, part, sizeof part, &part_len);
    assert(error == (len > sizeof part ? ERROR_TOO_LARGE : ERROR_NONE));
    assert(part_len == (error == ERROR_NONE ? len : 99));
}

static void check_query(struct slice target)
{
    struct slice path, query, name, value;
    target_split(target, &path, &query);
    assert(path.len > 0);
    const char *at = query.data;
    const char *end = query.data ? query.data + query.len : NULL;
    while (target_query_next(&query, &name, &value)) {
        assert(name.data >= at && name.data + name.len <= end);
        at = name.data + name.len;
        assert(name.len + value.len > 0 || value.data);
        assert(!value.data || (value.data > at - 1 && value.data + value.len <= end));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = {(const char *)data, size};
    if (size > 4096)
        return 0;
    check_round_trip(target_encode, in);
    check_round_trip(target_encode_printable, in);
    check_decode(in);
    check_query(in);
    return 0;
}
