// SPDX-License-Identifier: MIT
#include "sync/keys.h"

#include <stdlib.h>

void keys_fini(struct keys *keys)
{
    bytes_fini(&keys->text);
    free(keys->key);
    free(keys->version);
    *keys = (struct keys){0};
}

void keys_clear(struct keys *keys)
{
    bytes_clear(&keys->text);
    keys->count = 0;
}

static enum error grow(struct keys *keys)
{
    size_t cap = keys->cap ? 2 * keys->cap : 64;
    struct slice *key = realloc(keys->key, cap * sizeof *key);
    if (key)
        keys->key = key;
    uint64_t *version = realloc(keys->version, cap * sizeof *version);
    if (version)
        keys->version = version;
    if (!key || !version)
        return ERROR_MEMORY;
    keys->cap = cap;
    return ERROR_NONE;
}

enum error keys_add(struct keys *keys, struct slice key, uint64_t version)
{
    if (keys->count == keys->cap && grow(keys))
        return ERROR_MEMORY;
    bytes_append_slice(&keys->text, key);
    if (bytes_failed(&keys->text))
        return ERROR_MEMORY;
    keys->key[keys->count] = (struct slice){NULL, key.len};
    keys->version[keys->count++] = version;
    return ERROR_NONE;
}

void keys_settle(struct keys *keys)
{
    const char *at = keys->text.data;
    for (size_t i = 0; i < keys->count; i++) {
        keys->key[i].data = at;
        at += keys->key[i].len;
    }
}

// A heap sort of two arrays that belong together, which qsort could not move.
static void swap(struct keys *keys, size_t a, size_t b)
{
    struct slice key = keys->key[a];
    uint64_t version = keys->version[a];
    keys->key[a] = keys->key[b];
    keys->version[a] = keys->version[b];
    keys->key[b] = key;
    keys->version[b] = version;
}

static void sift(struct keys *keys, size_t root, size_t end)
{
    for (size_t child; (child = 2 * root + 1) < end; root = child) {
        if (child + 1 < end && slice_compare(keys->key[child], keys->key[child + 1]) < 0)
            child++;
        if (slice_compare(keys->key[root], keys->key[child]) >= 0)
            return;
        swap(keys, root, child);
    }
}

static bool sorted(const struct keys *keys)
{
    for (size_t i = 1; i < keys->count; i++)
        if (slice_compare(keys->key[i - 1], keys->key[i]) >= 0)
            return false;
    return true;
}

static void drop_repeated(struct keys *keys)
{
    size_t kept = 0;
    for (size_t i = 0; i < keys->count; i++) {
        if (kept && slice_equal(keys->key[kept - 1], keys->key[i]))
            continue;
        keys->key[kept] = keys->key[i];
        keys->version[kept++] = keys->version[i];
    }
    keys->count = kept;
}

void keys_sort(struct keys *keys)
{
    keys_settle(keys);
    if (sorted(keys))
        return;
    for (size_t i = keys->count / 2; i-- > 0;)
        sift(keys, i, keys->count);
    for (size_t end = keys->count; end-- > 1;) {
        swap(keys, 0, end);
        sift(keys, 0, end);
    }
    drop_repeated(keys);
}

ptrdiff_t keys_find(const struct keys *keys, struct slice key)
{
    size_t low = 0, high = keys->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = slice_compare(keys->key[middle], key);
        if (order == 0)
            return (ptrdiff_t)middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}
