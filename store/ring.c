// SPDX-License-Identifier: MIT
// The score of a partition for a slot is -log2(u) / weight, u being a hash of both taken as a
// number between 0 and 1; the smallest wins (Schindelhauer, Schomaker: Weighted distributed hash
// tables, 2005). The logarithm is computed in integers, so that every machine gets the same table.
#include "store/ring.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "store/slot.h"

struct ring {
    unsigned replicas;
    uint16_t owners[]; // [SLOT_COUNT][replicas]
};

struct candidate {
    uint64_t score;
    uint16_t id;
};

enum {
    LOG_BITS = 12, // the table of logarithms has 2^12 steps between two powers of two
    LOG_STEPS = 1 << LOG_BITS,
    FRACTION_BITS = 32, // logarithms are multiples of 2^-32
};

// log2_fraction returns log2(m / 2^63) * 2^32 for m from 2^63 to 2^64 - 1, digit by digit: squaring
// doubles the logarithm, and its next binary digit is whether the square reached 2.
static uint64_t log2_fraction(uint64_t m)
{
    uint64_t log = 0;
    for (int bit = 0; bit < FRACTION_BITS; bit++) {
        unsigned __int128 square = (unsigned __int128)m * m;
        bool reached = square >> 127;
        m = (uint64_t)(square >> (reached ? 64 : 63));
        log = log << 1 | reached;
    }
    return log;
}

static void log_table_init(uint64_t table[LOG_STEPS + 1])
{
    for (uint64_t i = 0; i < LOG_STEPS; i++)
        table[i] = log2_fraction(UINT64_C(1) << 63 | i << (63 - LOG_BITS));
    table[LOG_STEPS] = UINT64_C(1) << FRACTION_BITS;
}

// minus_log2 returns -log2(h / 2^64) * 2^32 for h >= 1: more than 0, at most 64 * 2^32. Between two
// steps of the table it goes straight.
static uint64_t minus_log2(uint64_t h, const uint64_t table[LOG_STEPS + 1])
{
    int zeros = __builtin_clzll(h);
    uint64_t m = h << zeros << 1; // the digits behind the leading one
    uint64_t step = m >> (64 - LOG_BITS);
    uint64_t between = m << LOG_BITS >> 32;
    uint64_t log = table[step] + ((table[step + 1] - table[step]) * between >> 32);
    return ((uint64_t)(zeros + 1) << FRACTION_BITS) - log;
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit.
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t score(unsigned slot, unsigned id, unsigned weight, const uint64_t *table)
{
    uint64_t h = mix(mix(slot + UINT64_C(0x9e3779b97f4a7c15)) + id * UINT64_C(0x9e3779b97f4a7c15));
    // 38 bits of logarithm, shifted up so that dividing by the weight loses nothing that matters.
    return (minus_log2(h | 1, table) << 20) / weight;
}

static int candidate_compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->score != y->score) // GCOVR_EXCL_BR_LINE: equal for one in 2^64
        return x->score < y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

// insert puts a candidate where it belongs among the `kept` best so far; the worst of more than
// `replicas` falls out.
static unsigned insert(struct candidate *best, unsigned kept, unsigned replicas,
                       const struct candidate *candidate)
{
    unsigned at = kept;
    if (kept == replicas && candidate_compare(candidate, &best[kept - 1]) > 0)
        return kept;
    kept += kept < replicas;
    while (at > 0 && candidate_compare(candidate, &best[at - 1]) < 0)
        at--;
    memmove(&best[at + 1], &best[at], (kept - 1 - at) * sizeof *best);
    best[at] = *candidate;
    return kept;
}

// The ranking of a ring: what is the same for all slots.
struct ranking {
    const unsigned *weight;
    unsigned count;
    unsigned replicas;
    uint64_t *log_table;
    struct candidate *best; // [replicas]
};

static void rank(const struct ranking *r, unsigned slot, uint16_t *owners)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < r->count; i++) {
        if (r->weight[i] == 0)
            continue;
        const struct candidate candidate = {score(slot, i + 1, r->weight[i], r->log_table),
                                            (uint16_t)(i + 1)};
        kept = insert(r->best, kept, r->replicas, &candidate);
    }
    assert(kept == r->replicas);
    for (unsigned i = 0; i < kept; i++)
        owners[i] = r->best[i].id;
}

static unsigned count_members(const unsigned *weight, unsigned count)
{
    unsigned members = 0;
    for (unsigned i = 0; i < count; i++)
        members += weight[i] > 0;
    return members;
}

enum error ring_new(const unsigned *weight, unsigned count, unsigned replicas, struct ring **ring)
{
    unsigned members = count_members(weight, count);
    assert(members >= 1 && count <= UINT16_MAX);
    if (replicas == 0 || replicas > members)
        replicas = members;
    struct ring *r = malloc(sizeof *r + sizeof r->owners[0] * SLOT_COUNT * replicas);
    const struct ranking ranking = {.weight = weight,
                                    .count = count,
                                    .replicas = replicas,
                                    .log_table = malloc(sizeof(uint64_t) * (LOG_STEPS + 1)),
                                    .best = malloc(sizeof *ranking.best * (replicas + 1))};
    *ring = r;
    if (!r || !ranking.best || !ranking.log_table) {
        ring_free(ring);
        goto out;
    }
    r->replicas = replicas;
    log_table_init(ranking.log_table);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        rank(&ranking, slot, &r->owners[(size_t)slot * replicas]);
out:
    free(ranking.best);
    free(ranking.log_table);
    return *ring ? ERROR_NONE : ERROR_MEMORY;
}

void ring_free(struct ring **ring)
{
    free(*ring);
    *ring = NULL;
}

unsigned ring_replicas(const struct ring *ring)
{
    return ring->replicas;
}

const uint16_t *ring_owners(const struct ring *ring, unsigned slot)
{
    assert(slot < SLOT_COUNT);
    return &ring->owners[(size_t)slot * ring->replicas];
}

bool ring_owns(const struct ring *ring, unsigned slot, unsigned id)
{
    const uint16_t *owners = ring_owners(ring, slot);
    for (unsigned i = 0; i < ring->replicas; i++)
        if (owners[i] == id)
            return true;
    return false;
}

void ring_leave_out(struct ring *ring, unsigned id)
{
    for (size_t slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t *owners = &ring->owners[slot * ring->replicas];
        unsigned kept = 0;
        for (unsigned i = 0; i < ring->replicas; i++)
            if (owners[i] != id)
                owners[kept++] = owners[i];
        while (kept < ring->replicas)
            owners[kept++] = NO_OWNER;
    }
}

uint32_t ring_fingerprint(const struct ring *ring, unsigned id)
{
    uint8_t owned[SLOT_COUNT];
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        owned[slot] = ring_owns(ring, slot, id);
    return (uint32_t)crc32(0, owned, sizeof owned);
}

enum { FINGERPRINTS_AT_ONCE = 64 }; // a megabyte

// note_owned sets what the `some` partitions from `first` on own.
static void note_owned(const struct ring *ring, unsigned first, unsigned some,
                       uint8_t (*owned)[SLOT_COUNT])
{
    memset(owned, 0, some * sizeof *owned);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        const uint16_t *owners = ring_owners(ring, slot);
        for (unsigned i = 0; i < ring->replicas; i++)
            if (owners[i] >= first && owners[i] - first < some)
                owned[owners[i] - first][slot] = 1;
    }
}

enum error ring_fingerprints(const struct ring *ring, unsigned count, uint32_t *fingerprint)
{
    uint8_t(*owned)[SLOT_COUNT] = malloc(FINGERPRINTS_AT_ONCE * sizeof *owned);
    if (!owned)
        return ERROR_MEMORY;
    for (unsigned first = 1; first <= count; first += FINGERPRINTS_AT_ONCE) {
        unsigned left = count + 1 - first;
        unsigned some = left < FINGERPRINTS_AT_ONCE ? left : FINGERPRINTS_AT_ONCE;
        note_owned(ring, first, some, owned);
        for (unsigned i = 0; i < some; i++)
            fingerprint[first - 1 + i] = (uint32_t)crc32(0, owned[i], sizeof owned[i]);
    }
    free(owned);
    return ERROR_NONE;
}
