// SPDX-License-Identifier: MIT
#include "store/prefixes.h"

#include <stdlib.h>

void prefixes_fini(struct prefixes *p)
{
    for (size_t i = 0; i < p->count; i++)
        free((char *)p->prefix[i].data);
    free(p->prefix);
    *p = (struct prefixes){0};
}

// not_behind returns how many prefixes are not behind the key.
static size_t not_behind(const struct prefixes *p, struct slice key)
{
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (slice_compare(p->prefix[middle], key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum error prefixes_add(struct prefixes *p, struct slice prefix)
{
    if (prefixes_cover(p, prefix))
        return ERROR_NONE;
    struct slice *grown = realloc(p->prefix, (p->count + 1) * sizeof *grown);
    if (grown)
        p->prefix = grown;
    char *data = malloc(prefix.len + 1);
    if (!grown || !data) {
        free(data);
        return ERROR_MEMORY;
    }
    memcpy(data, prefix.data, prefix.len);
    size_t at = not_behind(p, prefix), last = at;
    while (last < p->count && slice_starts(p->prefix[last], prefix)) // it covers these
        free((char *)p->prefix[last++].data);
    memmove(&p->prefix[at + 1], &p->prefix[last], (p->count - last) * sizeof *p->prefix);
    p->prefix[at] = (struct slice){data, prefix.len};
    p->count += 1 - (last - at);
    return ERROR_NONE;
}

bool prefixes_equal(const struct prefixes *a, const struct prefixes *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = slice_equal(a->prefix[i], b->prefix[i]);
    return equal;
}

// Only the last prefix that is not behind the key can begin it.
bool prefixes_cover(const struct prefixes *p, struct slice key)
{
    size_t at = not_behind(p, key);
    return at && slice_starts(key, p->prefix[at - 1]);
}

struct slice prefixes_next(const struct prefixes *p, struct slice key)
{
    size_t at = not_behind(p, key);
    return at < p->count ? p->prefix[at] : (struct slice){NULL, 0};
}
