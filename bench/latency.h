// SPDX-License-Identifier: MIT
// Latencies in microseconds, counted in buckets that are never wider than 1/64 of what they count:
// 64 to each power of two (the layout of HdrHistogram).
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

enum {
    LATENCY_BITS = 6,
    LATENCY_SUB = 1 << LATENCY_BITS,
    LATENCY_BUCKETS = 32 * LATENCY_SUB, // up to an hour
};

struct latency {
    uint64_t count;
    uint64_t max;
    uint64_t bucket[LATENCY_BUCKETS];
};

static inline void latency_add(struct latency *l, int64_t us)
{
    uint64_t value = us > 0 ? (uint64_t)us : 0;
    unsigned shift = 0;
    while (value >> shift >= 2 * LATENCY_SUB)
        shift++;
    unsigned i = shift * LATENCY_SUB + (unsigned)(value >> shift);
    l->bucket[i < LATENCY_BUCKETS ? i : LATENCY_BUCKETS - 1]++;
    l->count++;
    if (value > l->max)
        l->max = value;
}

static inline void latency_merge(struct latency *into, const struct latency *from)
{
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
    into->count += from->count;
    if (from->max > into->max)
        into->max = from->max;
}

// latency_at returns the latency that `part` (0.99) of all do not exceed, by the upper end of its
// bucket.
static inline uint64_t latency_at(const struct latency *l, double part)
{
    uint64_t seen = 0, wanted = (uint64_t)((double)l->count * part);
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += l->bucket[i];
        if (seen > wanted) {
            unsigned shift = i < 2 * LATENCY_SUB ? 0 : i / LATENCY_SUB - 1;
            uint64_t end = ((uint64_t)(i - shift * LATENCY_SUB) + 1) << shift;
            return end - 1 < l->max ? end - 1 : l->max;
        }
    }
    return l->max;
}

#endif
