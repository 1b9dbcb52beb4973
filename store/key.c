// SPDX-License-Identifier: MIT
#include "store/key.h"

#include <assert.h>

size_t key_prefix_end(struct slice prefix, char *end)
{
    assert(prefix.len <= KEY_MAX);
    size_t len = prefix.len;
    while (len && (unsigned char)prefix.data[len - 1] == 0xff)
        len--;
    if (len == 0)
        return 0;
    memcpy(end, prefix.data, len);
    end[len - 1] = (char)((unsigned char)end[len - 1] + 1);
    return len;
}
