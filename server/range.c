// SPDX-License-Identifier: MIT
#include "server/range.h"

#include <stdbool.h>

// read_position reads digits; a number beyond 64 bits becomes the largest, which is beyond any end.
static bool read_position(struct slice digits, uint64_t *position)
{
    unsigned long long number = UINT64_MAX;
    if (slice_number(digits, UINT64_MAX, &number) == ERROR_MALFORMED)
        return false;
    *position = number;
    return true;
}

static enum range_kind parse_suffix(struct slice digits, uint64_t size, struct range *out)
{
    uint64_t len;
    if (!read_position(digits, &len))
        return RANGE_WHOLE;
    if (len == 0)
        return RANGE_UNSATISFIABLE;
    if (size == 0)
        return RANGE_WHOLE;
    *out = (struct range){len < size ? size - len : 0, size - 1};
    return RANGE_PART;
}

enum range_kind range_parse(struct slice value, uint64_t size, struct range *out)
{
    struct slice rest = slice_trim(value);
    struct slice unit = slice_token(&rest, '=');
    rest = slice_trim(rest);
    if (!slice_equal_nocase(unit, SLICE("bytes")) || !rest.data)
        return RANGE_WHOLE;
    struct slice begin = slice_token(&rest, '-');
    uint64_t first, last = UINT64_MAX;
    if (!rest.data)
        return RANGE_WHOLE;
    if (begin.len == 0)
        return parse_suffix(rest, size, out);
    if (!read_position(begin, &first) || (rest.len > 0 && !read_position(rest, &last)))
        return RANGE_WHOLE;
    if (last < first)
        return RANGE_WHOLE;
    if (first >= size)
        return RANGE_UNSATISFIABLE;
    *out = (struct range){first, last < size ? last : size - 1};
    return RANGE_PART;
}
