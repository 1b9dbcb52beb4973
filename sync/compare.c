// SPDX-License-Identifier: MIT
#include "sync/compare.h"

#include <assert.h>

static unsigned find_newest(const struct side *side, unsigned count)
{
    unsigned newest = count;
    for (unsigned i = 0; i < count; i++) {
        if (!side[i].has)
            continue;
        if (newest == count || side[i].version > side[newest].version ||
            (side[i].version == side[newest].version && side[i].owner && !side[newest].owner))
            newest = i;
    }
    assert(newest < count);
    return newest;
}

// is_purged: an owner that has all that it should has nothing of an old key. It was deleted, and
// even its tombstone is gone; what is left comes from a backup.
static bool is_purged(const struct side *side, unsigned count, uint64_t newest, uint64_t floor)
{
    bool known = false;
    if (newest >= floor)
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (!side[i].owner || !side[i].trusted)
            continue;
        if (side[i].has)
            return false;
        known = true;
    }
    return known;
}

enum comparison compare_sides(struct side *side, unsigned count, bool missing, uint64_t floor,
                              unsigned *newest)
{
    *newest = find_newest(side, count);
    uint64_t version = side[*newest].version;
    bool purged = is_purged(side, count, version, floor), work = false;
    for (unsigned i = 0; i < count; i++) {
        struct side *s = &side[i];
        s->fill = !purged && s->owner && (!s->has || s->version < version);
        s->drop = s->has && (purged || (!s->owner && !missing));
        work |= s->fill || s->drop;
    }
    if (purged)
        return COMPARE_PURGED;
    return work ? COMPARE_FILL : COMPARE_EQUAL;
}
