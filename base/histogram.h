// SPDX-License-Identifier: MIT
// A histogram over buckets that double: bucket i counts values up to first << i, the last one all
// that is larger. One thread writes, any thread reads (base/counter.h).
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include "base/counter.h"

enum {
    HISTOGRAM_BUCKETS = 18,
};

struct histogram {
    counter bucket[HISTOGRAM_BUCKETS];
    counter sum;
};

// histogram_add counts `value` in a histogram whose first bucket ends at `first` >= 1.
static inline void histogram_add(struct histogram *h, uint64_t first, uint64_t value)
{
    unsigned i = 0;
    while (i < HISTOGRAM_BUCKETS - 1 && value > first << i)
        i++;
    counter_add(&h->bucket[i], 1);
    counter_add(&h->sum, value);
}

#endif
