// SPDX-License-Identifier: MIT
#include "store/cache.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/random.h"
#include "store/key.h"

enum {
    SHARDS = 16,
    SHARD_SHIFT = 60, // where a hash has its shard
    STAMPS = 1 << 16,
    STAMP_SHIFT = 48,
    SLOT_BYTES = 256, // of the budget for each slot of the index and each word of the sketch
    SLOTS_MIN = 16,
    ALIGNMENT = 16,  // of the allocator
    CHUNK_BYTES = 8, // what the allocator itself needs of each allocation

    ROWS = 4,
    BLOCK_WORDS = 8, // a line of the processor's cache: all counters of a key are in one
    WORD_COUNTERS = 14,
    FREQUENCY_MAX = 15,
    SAMPLE = 10, // counts for each entry until all of them are halved
    SAMPLE_ENTRIES_MIN = 64,

    STALE_STEP = 32, // entries from before a clear that each call frees
    SEEN_MAX = 256,  // entries that the hand passes for one that wants to come in
};

struct entry {
    struct list link; // in its shard's `live` or `stale`
    struct entry *chained;
    uint64_t hash;
    uint64_t version;
    uint64_t created;
    uint64_t expires;
    uint32_t generation; // another one than the shard's: stale
    uint32_t charge;     // bytes of the budget
    uint32_t value_len;
    uint16_t key_len;
    uint8_t type_len;
    bool hit;    // since the hand came by
    char data[]; // key, type, value
};

// How often keys were asked for lately: a count-min sketch that raises only the least of a key's
// counters. A word is 14 counters of 4 bits and, in its top byte, the epoch of its last halving;
// what it missed it makes up for when it is looked at, so that nobody ever halves all of them.
struct sketch {
    uint64_t *word;
    uint64_t block_mask;
    uint64_t added; // in this epoch
    uint8_t epoch;
};

struct shard {
    pthread_mutex_t lock;
    uint32_t generation; // the cache's when somebody last came here
    size_t room;         // for entries
    struct entry **slot;
    uint64_t slot_mask;
    struct sketch sketch;
    struct list live;  // the latest first, the hand at the end
    struct list stale; // from before a clear
    struct cache_stats stats;
    atomic_uint_least32_t *stamp; // the cache's
};

struct cache {
    size_t entry_max; // bytes
    unsigned char hash_key[crypto_shorthash_KEYBYTES];
    atomic_uint_least32_t generation;
    struct shard shard[SHARDS];
    atomic_uint_least32_t stamp[STAMPS]; // invalidations of the keys that share it
};

_Static_assert(sizeof(struct cache) <= 260 * 1024, "what cache.h says of memory");

// A key's hash has its shard in the highest 4 bits, its stamp in the highest 16 (so that a stamp
// belongs to one shard), the counters of the sketch in bits 32 to 59, slot and block in the lowest.
static uint64_t hash_of(const struct cache *c, struct slice key)
{
    uint64_t hash;
    assert(key_valid(key));
    _Static_assert(sizeof hash == crypto_shorthash_BYTES, "64 bits");
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)key.data, key.len, c->hash_key);
    return hash;
}

// ---------------------------------------------------------------- the sketch

// sketch_word returns the word of `row` in which a key has a counter, brought to this epoch, and
// how far the counter lies from its lowest bit.
static uint64_t *sketch_word(const struct sketch *k, uint64_t hash, unsigned row, unsigned *shift)
{
    unsigned bits = (unsigned)(hash >> (32 + 7 * row)) & 127;
    size_t block = (hash & k->block_mask) * BLOCK_WORDS;
    uint64_t *word = &k->word[block + row * (BLOCK_WORDS / ROWS) + (bits & 1)];
    uint64_t counters = *word & UINT64_C(0x00ffffffffffffff);
    for (unsigned missed = (uint8_t)(k->epoch - (*word >> 56)); missed && counters; missed--)
        counters = counters >> 1 & UINT64_C(0x0077777777777777);
    *word = counters | (uint64_t)k->epoch << 56;
    *shift = ((bits >> 1) * WORD_COUNTERS >> 6) * 4;
    return word;
}

static unsigned sketch_frequency(const struct sketch *k, uint64_t hash)
{
    unsigned least = FREQUENCY_MAX;
    for (unsigned row = 0; row < ROWS; row++) {
        unsigned shift;
        uint64_t word = *sketch_word(k, hash, row, &shift);
        unsigned count = (unsigned)(word >> shift) & FREQUENCY_MAX;
        least = count < least ? count : least;
    }
    return least;
}

static void sketch_add(struct sketch *k, uint64_t hash, uint64_t entries)
{
    unsigned least = sketch_frequency(k, hash);
    for (unsigned row = 0; least < FREQUENCY_MAX && row < ROWS; row++) {
        unsigned shift;
        uint64_t *word = sketch_word(k, hash, row, &shift);
        if ((*word >> shift & FREQUENCY_MAX) == least)
            *word += UINT64_C(1) << shift;
    }
    if (++k->added >= SAMPLE * (entries + SAMPLE_ENTRIES_MIN)) {
        k->epoch++;
        k->added /= 2;
    }
}

// ---------------------------------------------------------------- entries

static size_t charge_of(struct slice key, const struct pair *pair)
{
    size_t bytes = sizeof(struct entry) + key.len + pair->type.len + pair->value.len;
    return (bytes + CHUNK_BYTES + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool fits(const struct cache *c, struct slice key, const struct pair *pair)
{
    return pair->value.len <= CACHE_VALUE_MAX && charge_of(key, pair) <= c->entry_max;
}

static char *put(char *to, struct slice s)
{
    if (s.len)
        memcpy(to, s.data, s.len);
    return to + s.len;
}

// entry_new returns NULL when memory is out.
static struct entry *entry_new(uint64_t hash, struct slice key, const struct pair *pair)
{
    struct entry *e = malloc(sizeof *e + key.len + pair->type.len + pair->value.len);
    if (!e)
        return NULL;
    *e = (struct entry){.hash = hash,
                        .version = pair->version,
                        .created = pair->created,
                        .expires = pair->expires,
                        .charge = (uint32_t)charge_of(key, pair),
                        .value_len = (uint32_t)pair->value.len,
                        .key_len = (uint16_t)key.len,
                        .type_len = (uint8_t)pair->type.len};
    put(put(put(e->data, key), pair->type), pair->value);
    return e;
}

// entry_copy is false when memory is out.
static bool entry_copy(const struct entry *e, struct slice key, struct pair *pair,
                       struct bytes *copy)
{
    size_t len = (size_t)e->type_len + e->value_len;
    const char *to = bytes_room(copy, len);
    if (!to)
        return false;
    bytes_append(copy, e->data + e->key_len, len);
    *pair = (struct pair){.key = key,
                          .type = {to, e->type_len},
                          .value = {to + e->type_len, e->value_len},
                          .size = e->value_len,
                          .version = e->version,
                          .created = e->created,
                          .expires = e->expires,
                          .whole = true};
    return true;
}

// ---------------------------------------------------------------- a shard, under its lock

static struct entry *shard_find(const struct shard *s, uint64_t hash, struct slice key)
{
    struct entry *e = s->slot[hash & s->slot_mask];
    while (e && (e->hash != hash || !slice_equal((struct slice){e->data, e->key_len}, key)))
        e = e->chained;
    return e;
}

// shard_drop takes `e` out; it is freed with all in `gone` when the lock is released.
// raise_stamp makes the tickets of a key worthless; under its shard's lock. Also when a value goes:
// an older one that is still on its way could not be told from a newer then.
static void raise_stamp(struct shard *s, uint64_t hash)
{
    atomic_fetch_add_explicit(&s->stamp[hash >> STAMP_SHIFT], 1, memory_order_release);
}

static void shard_drop(struct shard *s, struct entry *e, struct list *gone)
{
    struct entry **to = &s->slot[e->hash & s->slot_mask];
    while (*to != e)
        to = &(*to)->chained;
    *to = e->chained;
    list_remove(&e->link);
    list_append(gone, &e->link);
    s->stats.entries--;
    s->stats.bytes -= e->charge;
}

static void shard_insert(struct shard *s, struct entry *e)
{
    struct entry **slot = &s->slot[e->hash & s->slot_mask];
    e->chained = *slot;
    *slot = e;
    e->generation = s->generation;
    list_prepend(&s->live, &e->link);
    s->stats.entries++;
    s->stats.bytes += e->charge;
}

// shard_admit makes room for `charge` bytes of a key; false if it is not worth what had to go.
static bool shard_admit(struct shard *s, uint64_t hash, size_t charge, struct list *gone)
{
    struct entry *victim[SEEN_MAX];
    size_t victims = 0, room = s->room - s->stats.bytes;
    unsigned wanted = sketch_frequency(&s->sketch, hash), theirs = 0;
    struct list *hand = s->live.prev;
    for (int seen = 0; room < charge; seen++) {
        // Who was asked for once is no better than one that time has brought down to nothing.
        if (wanted < 2 || seen == SEEN_MAX || hand == &s->live)
            return false;
        struct entry *e = CONTAINER_OF(hand, struct entry, link);
        hand = hand->prev;
        if (e->hit) {
            e->hit = false;
            list_remove(&e->link);
            list_prepend(&s->live, &e->link);
            continue;
        }
        // The sketch counts no further than FREQUENCY_MAX: who got there yields to his like only,
        // else a large value that everybody asks for could never come in where small ones are.
        unsigned its = sketch_frequency(&s->sketch, e->hash);
        theirs += its;
        if (wanted == FREQUENCY_MAX ? its == FREQUENCY_MAX : theirs >= wanted)
            return false;
        victim[victims++] = e;
        room += e->charge;
    }
    for (size_t i = 0; i < victims; i++) {
        raise_stamp(s, victim[i]->hash);
        shard_drop(s, victim[i], gone);
    }
    s->stats.evictions += victims;
    return true;
}

// enter locks the shard of `hash`, and lets it know of a clear.
static struct shard *enter(struct cache *c, uint64_t hash, struct list *gone)
{
    struct shard *s = &c->shard[hash >> SHARD_SHIFT];
    list_init(gone);
    pthread_mutex_lock(&s->lock);
    uint32_t generation = atomic_load_explicit(&c->generation, memory_order_acquire);
    if (s->generation != generation) {
        s->generation = generation;
        list_splice(&s->stale, &s->live);
    }
    for (int i = 0; i < STALE_STEP && !list_empty(&s->stale); i++)
        shard_drop(s, CONTAINER_OF(s->stale.next, struct entry, link), gone);
    return s;
}

static void free_all(struct list *gone)
{
    struct list *link;
    while ((link = list_shift(gone)))
        free(CONTAINER_OF(link, struct entry, link));
}

static void leave(struct shard *s, struct list *gone)
{
    pthread_mutex_unlock(&s->lock);
    free_all(gone);
}

// ---------------------------------------------------------------- the cache

static bool shard_init(struct shard *s, size_t share)
{
    size_t slots = SLOTS_MIN;
    while (slots <= share / SLOT_BYTES / 2)
        slots *= 2;
    size_t tables = slots * (sizeof s->slot[0] + sizeof s->sketch.word[0]);
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->live);
    list_init(&s->stale);
    s->room = share > tables ? share - tables : 0;
    s->slot = calloc(slots, sizeof s->slot[0]);
    s->slot_mask = slots - 1;
    s->sketch.word = calloc(slots, sizeof s->sketch.word[0]);
    s->sketch.block_mask = slots / BLOCK_WORDS - 1;
    return s->slot && s->sketch.word;
}

enum error cache_new(size_t bytes, struct cache **cache)
{
    struct cache *c = calloc(1, sizeof *c);
    bool done = c;
    *cache = c;
    if (!c)
        return ERROR_MEMORY;
    c->entry_max = bytes / CACHE_SHARE;
    for (size_t i = 0; i < sizeof c->hash_key; i++)
        c->hash_key[i] = (unsigned char)random_below(256);
    for (size_t i = 0; i < SHARDS; i++) {
        done = shard_init(&c->shard[i], bytes / SHARDS) && done;
        c->shard[i].stamp = c->stamp;
    }
    if (!done)
        cache_free(cache);
    return done ? ERROR_NONE : ERROR_MEMORY;
}

void cache_free(struct cache **cache)
{
    for (size_t i = 0; *cache && i < SHARDS; i++) {
        struct shard *s = &(*cache)->shard[i];
        free_all(&s->live);
        free_all(&s->stale);
        free(s->slot);
        free(s->sketch.word);
        pthread_mutex_destroy(&s->lock);
    }
    free(*cache);
    *cache = NULL;
}

bool cache_get(struct cache *c, struct slice key, uint64_t now_ms, struct pair *pair,
               struct bytes *copy)
{
    struct list gone;
    uint64_t hash = hash_of(c, key);
    struct shard *s = enter(c, hash, &gone);
    sketch_add(&s->sketch, hash, s->stats.entries);
    struct entry *e = shard_find(s, hash, key);
    if (e && (e->generation != s->generation || (e->expires && e->expires <= now_ms))) {
        raise_stamp(s, hash);
        shard_drop(s, e, &gone);
        e = NULL;
    }
    bool hit = e && entry_copy(e, key, pair, copy);
    if (hit)
        e->hit = true;
    s->stats.hits += hit;
    s->stats.misses += !hit;
    leave(s, &gone);
    return hit;
}

struct cache_ticket cache_ticket(const struct cache *c, struct slice key)
{
    uint64_t hash = hash_of(c, key);
    // Acquire: what the database is asked from here on is asked after what raised these.
    return (struct cache_ticket){
        .hash = hash,
        .stamp = atomic_load_explicit(&c->stamp[hash >> STAMP_SHIFT], memory_order_acquire),
        .generation = atomic_load_explicit(&c->generation, memory_order_acquire)};
}

// Who raises a stamp holds the lock of its shard.
static bool honoured(const struct cache *c, const struct shard *s, struct cache_ticket ticket)
{
    return ticket.generation == s->generation &&
           ticket.stamp ==
               atomic_load_explicit(&c->stamp[ticket.hash >> STAMP_SHIFT], memory_order_relaxed);
}

// shard_offer inserts `e`, whose ticket is honoured, if it is worth it. NULL: it is too large.
static bool shard_offer(struct shard *s, struct entry *e, struct list *gone)
{
    bool kept = e && shard_admit(s, e->hash, e->charge, gone);
    if (kept)
        shard_insert(s, e);
    s->stats.fills += kept;
    s->stats.refused += !kept;
    return kept;
}

bool cache_fill(struct cache *c, struct slice key, struct cache_ticket ticket,
                const struct pair *pair)
{
    struct list gone;
    bool kept = false;
    if (!pair->whole || pair->dead)
        return false;
    assert(pair->type.len <= TYPE_MAX);
    bool small = fits(c, key, pair);
    struct entry *e = small ? entry_new(ticket.hash, key, pair) : NULL; // not under the lock
    if (small && !e)
        return false;
    struct shard *s = enter(c, ticket.hash, &gone);
    struct entry *there = shard_find(s, ticket.hash, key);
    bool good = honoured(c, s, ticket);
    bool newer = !there || there->version < pair->version || there->generation != s->generation;
    if (there && newer)
        shard_drop(s, there, &gone);
    if (!good)
        s->stats.late++;
    else if (newer)
        kept = shard_offer(s, e, &gone);
    if (newer && !kept) // its reader has seen it: an older one that is under way may not come after
        raise_stamp(s, ticket.hash);
    leave(s, &gone);
    if (!kept)
        free(e);
    return kept;
}

void cache_invalidate(struct cache *c, struct slice key)
{
    struct list gone;
    uint64_t hash = hash_of(c, key);
    struct shard *s = enter(c, hash, &gone);
    raise_stamp(s, hash);
    struct entry *e = shard_find(s, hash, key);
    if (e)
        shard_drop(s, e, &gone);
    s->stats.invalidations++;
    leave(s, &gone);
}

void cache_clear(struct cache *c)
{
    atomic_fetch_add_explicit(&c->generation, 1, memory_order_release);
}

void cache_stats(struct cache *c, struct cache_stats *stats)
{
    *stats = (struct cache_stats){.clears = atomic_load(&c->generation)};
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shard[i];
        pthread_mutex_lock(&s->lock);
        stats->hits += s->stats.hits;
        stats->misses += s->stats.misses;
        stats->fills += s->stats.fills;
        stats->refused += s->stats.refused;
        stats->late += s->stats.late;
        stats->evictions += s->stats.evictions;
        stats->invalidations += s->stats.invalidations;
        stats->entries += s->stats.entries;
        stats->bytes += s->stats.bytes;
        pthread_mutex_unlock(&s->lock);
    }
}

// check_list asserts what is so of all entries of a list, and returns their bytes.
static size_t check_list(const struct shard *s, const struct list *list, size_t *count)
{
    size_t bytes = 0;
    for (const struct list *l = list->next; l != list; l = l->next, ++*count) {
        const struct entry *e = CONTAINER_OF(l, struct entry, link);
        assert(l->next->prev == l && l->prev->next == l);
        assert((e->generation == s->generation) == (list == &s->live));
        assert(shard_find(s, e->hash, (struct slice){e->data, e->key_len}) == e);
        bytes += e->charge;
    }
    return bytes;
}

void cache_check(struct cache *c)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shard[i];
        size_t chained = 0, listed = 0;
        pthread_mutex_lock(&s->lock);
        for (size_t slot = 0; slot <= s->slot_mask; slot++)
            for (const struct entry *e = s->slot[slot]; e; e = e->chained, chained++)
                assert(e->hash >> SHARD_SHIFT == i && (e->hash & s->slot_mask) == slot);
        size_t bytes = check_list(s, &s->live, &listed) + check_list(s, &s->stale, &listed);
        assert(chained == listed && listed == s->stats.entries);
        assert(bytes == s->stats.bytes && bytes <= s->room);
        pthread_mutex_unlock(&s->lock);
    }
}
