// SPDX-License-Identifier: MIT
// Ranges: the key space cut into pieces of so many rows each, which a crew shares out. The hand
// that asks for the next one finds its end, while the others work.
#ifndef SYNC_RANGES_H
#define SYNC_RANGES_H

#include <pthread.h>

#include "store/query.h"
#include "sync/crew.h"

// A range of one's own; see struct query_range.
struct range {
    struct bytes after;
    struct bytes to;
};

void range_fini(struct range *range);

// range_set copies; the slices may lie in `range`. ERROR_MEMORY.
enum error range_set(struct range *range, struct slice after, struct slice to) MUST_USE;

static inline struct query_range range_borrow(const struct range *range)
{
    return (struct query_range){bytes_slice(&range->after), bytes_slice(&range->to)};
}

// range_border finds the key of the `step`th row of a range on a partition; *found is false when
// there are fewer.
enum error range_border(struct hand *hand, struct peer *peer, const struct query_range *range,
                        unsigned step, struct bytes *key, bool *found) MUST_USE;

// range_count returns how many ranges of `step` rows a partition has, roughly; for the progress
// bar, 1 without it.
size_t range_count(struct pass *pass, struct peer *peer, unsigned step);

struct ranges {
    struct peer *peer; // whose rows are counted
    unsigned step;     // rows of a range
    size_t left;       // ranges to hand out, at most
    pthread_mutex_t lock;
    struct range rest; // what was not handed out
    struct bytes turn; // afterwards go on from the beginning to this key; empty = do not
    bool done;
    enum error error;
};

// ranges_init begins behind the key `start` and goes once round the key space, `most` ranges at
// most. ERROR_MEMORY: ranges_fini is needed all the same.
enum error ranges_init(struct ranges *ranges, struct peer *peer, unsigned step, struct slice start,
                       size_t most) MUST_USE;
void ranges_fini(struct ranges *ranges);

// ranges_next takes the next range; false: there is none, or ranges->error tells why.
bool ranges_next(struct ranges *ranges, struct hand *hand, struct range *range) MUST_USE;

#endif
