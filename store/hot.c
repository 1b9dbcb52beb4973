// SPDX-License-Identifier: MIT
#include "store/hot.h"

#include <stdlib.h>

#include "base/clock.h"

enum error hot_new(size_t bytes, unsigned partitions, unsigned staleness_ms, struct hot **hot)
{
    struct hot *h = calloc(1, sizeof *h + sizeof h->read_us[0] * partitions);
    *hot = h;
    if (!h)
        return ERROR_MEMORY;
    h->staleness_us = (int64_t)staleness_ms * 1000;
    h->partitions = partitions;
    enum error error = cache_new(bytes, &h->cache);
    if (error)
        hot_free(hot);
    else
        hot_lost(h);
    return error;
}

void hot_free(struct hot **hot)
{
    struct hot *h = *hot;
    if (!h)
        return;
    *hot = NULL;
    cache_free(&h->cache);
    free(h);
}

void hot_read(struct hot *hot, unsigned id, int64_t read_us)
{
    atomic_store(&hot->read_us[id - 1], read_us);
}

void hot_lost(struct hot *hot)
{
    for (unsigned i = 0; i < hot->partitions; i++)
        atomic_store(&hot->read_us[i], INT64_MIN / 2);
    cache_clear(hot->cache);
}

bool hot_get(struct hot *hot, unsigned id, struct slice key, uint64_t now_ms, struct pair *pair,
             struct bytes *copy)
{
    int64_t read_us = atomic_load(&hot->read_us[id - 1]);
    return clock_us() - read_us <= hot->staleness_us &&
           cache_get(hot->cache, key, now_ms, pair, copy);
}
