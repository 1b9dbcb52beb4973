// SPDX-License-Identifier: MIT
// What is never served, what stays in memory, and how much of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/random.h"
#include "store/cache.h"
#include "store/key.h"
#include "tests/fake/allocator.h"

enum {
    KIB = 1024,
    MIB = 1024 * 1024,
    NOW = 1700000, // ms
};

static struct cache *cache_of(size_t bytes)
{
    struct cache *c;
    random_seed(1);
    assert_int_equal(cache_new(bytes, &c), ERROR_NONE);
    return c;
}

static struct cache_stats stats_of(struct cache *c)
{
    struct cache_stats stats;
    cache_stats(c, &stats);
    return stats;
}

static struct pair pair_of(struct slice value, uint64_t version)
{
    return (struct pair){.value = value, .size = value.len, .version = version, .whole = true};
}

static bool fill(struct cache *c, struct slice key, struct slice value, uint64_t version)
{
    struct pair pair = pair_of(value, version);
    return cache_fill(c, key, cache_ticket(c, key), &pair);
}

// version_of returns the version that the cache serves, 0 if none.
static uint64_t version_of(struct cache *c, struct slice key)
{
    struct pair pair;
    struct bytes copy = {0};
    uint64_t version = cache_get(c, key, NOW, &pair, &copy) ? pair.version : 0;
    bytes_fini(&copy);
    return version;
}

// numbered writes key `n` to `text` (16 bytes).
static struct slice numbered(unsigned n, char *text)
{
    return (struct slice){text, (size_t)snprintf(text, 16, "key %u", n)};
}

// ---------------------------------------------------------------- get and fill

static void cache_get__misses_what_was_never_filled(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    assert_int_equal(version_of(c, SLICE("a")), 0);
    assert_int_equal(stats_of(c).misses, 1);
    assert_int_equal(stats_of(c).hits, 0);
    cache_free(&c);
    assert_null(c);
    cache_free(&c); // of nothing: nothing happens
}

static void cache_get__gives_all_that_was_filled(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    struct slice key = SLICE("k\0ey");
    struct pair in = pair_of(SLICE("val\0ue"), 7), out;
    struct bytes copy = {0};
    in.type = SLICE("text/plain");
    in.created = 5;
    in.expires = NOW + 1;
    assert_true(cache_fill(c, key, cache_ticket(c, key), &in));
    bytes_append_text(&copy, "before");
    assert_true(cache_get(c, key, NOW, &out, &copy));
    assert_true(slice_equal(bytes_slice(&copy), SLICE("beforetext/plainval\0ue")));
    assert_ptr_equal(out.type.data, copy.data + 6);
    assert_true(slice_equal(out.key, key));
    assert_true(slice_equal(out.type, in.type));
    assert_true(slice_equal(out.value, in.value));
    assert_int_equal(out.size, in.size);
    assert_int_equal(out.version, 7);
    assert_int_equal(out.created, 5);
    assert_int_equal(out.expires, NOW + 1);
    assert_true(out.whole);
    assert_false(out.dead);
    assert_int_equal(stats_of(c).hits, 1);
    assert_int_equal(stats_of(c).fills, 1);
    bytes_fini(&copy);
    cache_free(&c);
}

static void cache_get__gives_an_empty_value_of_the_longest_key(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    char longest[KEY_MAX] = {0};
    struct slice key = {longest, KEY_MAX};
    struct pair out;
    struct bytes copy = {0};
    assert_true(fill(c, key, (struct slice){NULL, 0}, 1));
    assert_true(cache_get(c, key, NOW, &out, &copy));
    assert_int_equal(out.value.len, 0);
    assert_int_equal(out.type.len, 0);
    assert_int_equal(version_of(c, (struct slice){longest, KEY_MAX - 1}), 0);
    bytes_fini(&copy);
    cache_free(&c);
}

static void cache_get__never_gives_what_has_expired(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    struct pair in = pair_of(SLICE("v"), 1), out;
    struct bytes copy = {0};
    in.expires = NOW;
    assert_true(cache_fill(c, SLICE("a"), cache_ticket(c, SLICE("a")), &in));
    assert_true(cache_get(c, SLICE("a"), NOW - 1, &out, &copy));
    assert_int_equal(stats_of(c).entries, 1);
    bytes_clear(&copy);
    assert_false(cache_get(c, SLICE("a"), NOW, &out, &copy));
    assert_int_equal(copy.len, 0);
    assert_int_equal(stats_of(c).entries, 0);
    assert_int_equal(stats_of(c).bytes, 0);
    bytes_fini(&copy);
    cache_free(&c);
}

static void cache_fill__keeps_no_dead_and_no_partial_pair(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    struct pair dead = pair_of(SLICE("v"), 1), partial = dead;
    dead.dead = true;
    partial.whole = false;
    assert_false(cache_fill(c, SLICE("a"), cache_ticket(c, SLICE("a")), &dead));
    assert_false(cache_fill(c, SLICE("a"), cache_ticket(c, SLICE("a")), &partial));
    assert_int_equal(stats_of(c).entries, 0);
    cache_free(&c);
}

static void cache_fill__keeps_the_newest_version(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    assert_true(fill(c, SLICE("a"), SLICE("two"), 2));
    assert_false(fill(c, SLICE("a"), SLICE("one"), 1));
    assert_false(fill(c, SLICE("a"), SLICE("two"), 2));
    assert_int_equal(version_of(c, SLICE("a")), 2);
    assert_true(fill(c, SLICE("a"), SLICE("three"), 3));
    assert_int_equal(version_of(c, SLICE("a")), 3);
    assert_int_equal(stats_of(c).entries, 1);
    cache_check(c);
    cache_free(&c);
}

static void cache_fill__refuses_what_is_too_large(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    char *large = calloc(1, CACHE_VALUE_MAX + 1);
    assert_non_null(large);
    assert_false(fill(c, SLICE("a"), (struct slice){large, MIB / CACHE_SHARE}, 1));
    assert_int_equal(stats_of(c).refused, 1);
    assert_true(fill(c, SLICE("a"), (struct slice){large, MIB / CACHE_SHARE - 256}, 1));
    // An older value does not outlive a newer one that is too large.
    assert_false(fill(c, SLICE("a"), (struct slice){large, MIB / CACHE_SHARE}, 2));
    assert_int_equal(stats_of(c).entries, 0);
    cache_free(&c);

    c = cache_of(256 * MIB);
    assert_false(fill(c, SLICE("a"), (struct slice){large, CACHE_VALUE_MAX + 1}, 1));
    assert_true(fill(c, SLICE("a"), (struct slice){large, CACHE_VALUE_MAX}, 1));
    cache_check(c);
    cache_free(&c);
    free(large);
}

static void cache_new__makes_do_with_any_budget(void **state)
{
    (void)state;
    static const size_t budgets[] = {0, 1, 100, 4000, 6143, 6144, 10000, 20000, 65536};
    for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
        struct cache *c = cache_of(budgets[i]);
        for (unsigned n = 0; n < 2000; n++) {
            char text[16];
            struct slice key = numbered(n, text);
            for (int j = 0; j < 3; j++)
                if (!version_of(c, key))
                    fill(c, key, (struct slice){text, n % 5}, 1);
            cache_check(c);
        }
        assert_true(stats_of(c).bytes <= budgets[i]);
        assert_int_equal(stats_of(c).entries > 0, budgets[i] >= 6144);
        cache_free(&c);
    }
}

// ---------------------------------------------------------------- changes

static void cache_invalidate__forgets_a_key(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    assert_true(fill(c, SLICE("a"), SLICE("v"), 1));
    assert_true(fill(c, SLICE("b"), SLICE("v"), 1));
    cache_invalidate(c, SLICE("a"));
    assert_int_equal(version_of(c, SLICE("a")), 0);
    assert_int_equal(version_of(c, SLICE("b")), 1);
    assert_int_equal(stats_of(c).entries, 1);
    assert_true(fill(c, SLICE("a"), SLICE("w"), 2));
    assert_int_equal(version_of(c, SLICE("a")), 2);
    cache_check(c);
    cache_free(&c);
}

static void cache_invalidate__makes_older_tickets_void(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    struct pair old = pair_of(SLICE("old"), 1);
    struct cache_ticket before = cache_ticket(c, SLICE("a"));
    struct cache_ticket other = cache_ticket(c, SLICE("b"));
    cache_invalidate(c, SLICE("a")); // is not there, but on its way
    assert_false(cache_fill(c, SLICE("a"), before, &old));
    assert_int_equal(version_of(c, SLICE("a")), 0);
    assert_int_equal(stats_of(c).late, 1);
    assert_int_equal(stats_of(c).invalidations, 1);
    assert_true(cache_fill(c, SLICE("b"), other, &old));
    assert_true(fill(c, SLICE("a"), SLICE("new"), 2));
    assert_false(cache_fill(c, SLICE("a"), before, &old));
    assert_int_equal(version_of(c, SLICE("a")), 2);
    cache_free(&c);
}

static void cache_clear__forgets_all_and_makes_older_tickets_void(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    struct pair old = pair_of(SLICE("old"), 1);
    char text[16];
    for (unsigned n = 0; n < 1000; n++)
        assert_true(fill(c, numbered(n, text), SLICE("old"), 1));
    struct cache_ticket before = cache_ticket(c, numbered(5, text));
    cache_clear(c);
    cache_check(c);
    for (unsigned n = 0; n < 1000; n += 2) {
        assert_int_equal(version_of(c, numbered(n, text)), 0);
        cache_check(c);
    }
    assert_false(cache_fill(c, numbered(5, text), before, &old));
    assert_int_equal(stats_of(c).entries, 0); // the other half is gone too
    assert_int_equal(stats_of(c).bytes, 0);
    assert_int_equal(stats_of(c).clears, 1);
    assert_int_equal(stats_of(c).late, 1);
    assert_true(fill(c, numbered(5, text), SLICE("new"), 2));
    assert_int_equal(version_of(c, numbered(5, text)), 2);
    cache_free(&c);
}

static void cache_clear__lets_older_versions_come_back(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    char text[16];
    for (unsigned n = 0; n < 1000; n++) // more than what the first call after the clear frees
        assert_true(fill(c, numbered(n, text), SLICE("v"), 9));
    cache_clear(c);
    for (unsigned n = 0; n < 1000; n++) {
        assert_true(fill(c, numbered(n, text), SLICE("v"), 3)); // of a backup, say
        assert_int_equal(version_of(c, numbered(n, text)), 3);
        cache_check(c);
    }
    cache_free(&c);
}

// ---------------------------------------------------------------- a long random run

enum {
    MODEL_KEYS = 600,
    MODEL_READERS = 8,
    MODEL_STEPS = 30000,
    MODEL_BUDGET = 64 * KIB,
    MODEL_LARGE = MODEL_BUDGET / CACHE_SHARE * 2,
};

// A database, and readers that have asked it and not come back yet.
struct model {
    struct cache *cache;
    uint64_t version[MODEL_KEYS];
    struct {
        struct cache_ticket ticket;
        unsigned key;
        uint64_t version;
    } reader[MODEL_READERS];
    char bytes[MODEL_LARGE + 7];
};

// The value of a version: mostly small, some that are never kept.
static struct slice model_value(const struct model *m, unsigned key, uint64_t version)
{
    size_t mix = key * 31 + (size_t)version * 1009;
    size_t len = mix % (mix % 10 == 0 ? MODEL_LARGE : 300);
    return (struct slice){m->bytes + mix % 7, len};
}

static void model_get(struct model *m, unsigned k)
{
    char text[16];
    struct pair pair;
    struct bytes copy = {0};
    if (cache_get(m->cache, numbered(k, text), NOW, &pair, &copy)) {
        assert_int_equal(pair.version, m->version[k]);
        assert_true(slice_equal(pair.value, model_value(m, k, pair.version)));
    }
    bytes_fini(&copy);
}

static void model_ask(struct model *m, unsigned reader, unsigned k)
{
    char text[16];
    m->reader[reader].ticket = cache_ticket(m->cache, numbered(k, text));
    m->reader[reader].key = k;
    m->reader[reader].version = m->version[k];
}

static void model_step(struct model *m)
{
    char text[16];
    unsigned k = random_below(random_below(MODEL_KEYS) + 1), r = random_below(MODEL_READERS);
    uint32_t what = random_below(10000);
    if (what < 3) {
        cache_clear(m->cache);
    } else if (what < 500) {
        m->version[k]++;
        cache_invalidate(m->cache, numbered(k, text));
    } else if (what < 3500) {
        model_ask(m, r, k);
    } else if (what < 6500) {
        k = m->reader[r].key;
        struct pair pair = pair_of(model_value(m, k, m->reader[r].version), m->reader[r].version);
        cache_fill(m->cache, numbered(k, text), m->reader[r].ticket, &pair);
    } else {
        model_get(m, k);
    }
}

static void cache__is_right_and_within_its_budget_after_every_step(void **state)
{
    (void)state;
    struct model *m = calloc(1, sizeof *m);
    uint64_t most = 0;
    assert_non_null(m);
    m->cache = cache_of(MODEL_BUDGET);
    for (size_t i = 0; i < sizeof m->bytes; i++)
        m->bytes[i] = (char)random_below(256);
    for (unsigned k = 0; k < MODEL_KEYS; k++)
        m->version[k] = 1;
    for (unsigned r = 0; r < MODEL_READERS; r++)
        model_ask(m, r, r);
    for (int step = 0; step < MODEL_STEPS; step++) {
        model_step(m);
        cache_check(m->cache);
        uint64_t bytes = stats_of(m->cache).bytes;
        most = bytes > most ? bytes : most;
    }
    struct cache_stats stats = stats_of(m->cache);
    assert_true(stats.hits > 1000 && stats.misses > 1000 && stats.fills > 1000);
    assert_true(stats.evictions > 100 && stats.refused > 100 && stats.late > 100);
    assert_in_range(most, MODEL_BUDGET / 4 * 3, MODEL_BUDGET);
    cache_free(&m->cache);
    free(m);
}

// ---------------------------------------------------------------- which values stay

enum {
    ZIPF_KEYS = 20000,
    ZIPF_STEPS = 300000,
    SCAN_EVERY = 2, // a cold key, never seen before and never again, after so many others
};

// Keys by Zipf's law.
struct zipf {
    double below[ZIPF_KEYS]; // the chance of this key or a hotter one
};

static void zipf_init(struct zipf *z)
{
    double sum = 0;
    for (unsigned i = 0; i < ZIPF_KEYS; i++)
        z->below[i] = sum += 1.0 / (i + 1);
    for (unsigned i = 0; i < ZIPF_KEYS; i++)
        z->below[i] /= sum;
}

static unsigned zipf_next(const struct zipf *z)
{
    double at = random_below(UINT32_MAX) / (double)UINT32_MAX;
    unsigned low = 0, high = ZIPF_KEYS - 1;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (z->below[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// A plain LRU for as many values, to compare with.
struct lru {
    struct list order; // the latest first
    size_t count;
    size_t max;
    struct list *link; // by key
};

static bool lru_get(struct lru *l, unsigned key)
{
    struct list *link = &l->link[key];
    bool hit = link->next && !list_empty(link);
    if (hit)
        list_remove(link);
    else
        l->count++;
    list_prepend(&l->order, link);
    if (l->count > l->max) {
        list_remove(l->order.prev);
        l->count--;
    }
    return hit;
}

static bool cache_read(struct cache *c, unsigned n, size_t size)
{
    static char value[16 * KIB];
    char text[16];
    struct slice key = numbered(n, text);
    if (version_of(c, key))
        return true;
    fill(c, key, (struct slice){value, size}, 1);
    return false;
}

struct rates {
    double cache;
    double lru;
};

// The hit rates of the keys that are no scan, with `budget` and values of `size`.
static struct rates zipf_run(size_t budget, size_t size, bool scan)
{
    struct zipf *z = malloc(sizeof *z);
    struct lru lru = {.link = calloc(ZIPF_KEYS + ZIPF_STEPS, sizeof *lru.link)};
    size_t hits = 0, lru_hits = 0, cold = ZIPF_KEYS;
    struct cache *c = cache_of(budget);
    assert_non_null(z);
    assert_non_null(lru.link);
    list_init(&lru.order);
    zipf_init(z);
    cache_read(c, 0, size);
    lru.max = budget / stats_of(c).bytes; // which has no tables to pay for
    for (int step = 0; step < ZIPF_STEPS; step++) {
        unsigned key = zipf_next(z);
        hits += cache_read(c, key, size);
        lru_hits += lru_get(&lru, key);
        if (scan && step % SCAN_EVERY == 0) {
            cache_read(c, (unsigned)cold, size);
            lru_get(&lru, (unsigned)cold++);
        }
    }
    cache_check(c);
    cache_free(&c);
    free(lru.link);
    free(z);
    return (struct rates){(double)hits / ZIPF_STEPS, (double)lru_hits / ZIPF_STEPS};
}

static void cache_fill__keeps_hot_values_through_a_scan(void **state)
{
    (void)state;
    struct rates quiet = zipf_run(512 * KIB, 300, false), scan = zipf_run(512 * KIB, 300, true);
    print_message("hit rate %.3f, LRU %.3f; with a scan %.3f, LRU %.3f\n", quiet.cache, quiet.lru,
                  scan.cache, scan.lru);
    assert_true(quiet.cache > quiet.lru);
    assert_true(scan.cache > scan.lru + 0.05);
    assert_true(scan.cache > quiet.cache - 0.03);
}

// full returns a cache without room, of which `*count` keys were asked for once.
static struct cache *full(unsigned *count)
{
    struct cache *c = cache_of(256 * KIB);
    for (*count = 0; stats_of(c).refused < 300; ++*count)
        cache_read(c, *count, 100);
    return c;
}

// evictions_of returns how many values had to go while `count` others, that were never asked for
// before, were asked for `times` times each.
static uint64_t evictions_of(struct cache *c, unsigned count, unsigned times)
{
    uint64_t before = stats_of(c).evictions;
    for (unsigned i = 0; i < count * times; i++)
        cache_read(c, 100000 + i % count, 100);
    return stats_of(c).evictions - before;
}

static void cache_fill__displaces_what_is_asked_for_less(void **state)
{
    (void)state;
    unsigned count;
    struct cache *c = full(&count);
    for (unsigned i = 0; i < 5 * count; i++)
        cache_read(c, i % count, 100);
    assert_true(evictions_of(c, 500, 3) < 50); // a sketch may err
    assert_true(evictions_of(c, 500, 10) > 400);
    cache_free(&c);
}

static void cache_fill__displaces_nothing_for_what_is_asked_for_once(void **state)
{
    (void)state;
    unsigned count;
    struct cache *c = full(&count);
    for (unsigned i = 0; i < 100 * 1000; i++) // until the others count for nothing
        cache_read(c, i % 64, 100);
    assert_true(evictions_of(c, 500, 1) < 50);
    assert_true(evictions_of(c, 500, 3) > 400);
    cache_free(&c);
}

static void cache_fill__follows_when_other_keys_become_hot(void **state)
{
    (void)state;
    struct cache *c = cache_of(256 * KIB);
    size_t hits = 0;
    for (unsigned step = 0; step < 100000; step++)
        cache_read(c, random_below(1000), 100);
    for (unsigned step = 0; step < 100000; step++)
        cache_read(c, 1000 + random_below(1000), 100);
    for (unsigned step = 0; step < 10000; step++)
        hits += cache_read(c, 1000 + random_below(1000), 100);
    assert_true(hits > 9000);
    cache_free(&c);
}

static void cache_fill__lets_a_large_hot_value_in_where_small_ones_are(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    size_t hits = 0;
    for (unsigned step = 0; step < 20000; step++)
        cache_read(c, step % 10000, 100); // full of what is asked for now and then
    for (unsigned step = 0; step < 1000; step++) {
        cache_read(c, random_below(10000), 100);
        hits += cache_read(c, 10000, 10 * KIB);
    }
    assert_true(hits > 900);
    cache_free(&c);
}

// ---------------------------------------------------------------- threads

enum {
    THREADS = 4,
    THREAD_KEYS = 40,
    THREAD_STEPS = 60000,
};

// What each key has in the database, and what the cache was told of it, and is done with.
static struct {
    struct cache *cache;
    _Atomic uint64_t committed[THREAD_KEYS];
    _Atomic uint64_t told[THREAD_KEYS];
    atomic_uint broken; // promises
    atomic_uint torn;
} shared;

static void tell(unsigned k, uint64_t version)
{
    uint64_t last = atomic_load(&shared.told[k]);
    while (version > last && !atomic_compare_exchange_weak(&shared.told[k], &last, version))
        ;
}

static void thread_read(unsigned k, bool slow)
{
    char text[16];
    uint64_t value[40], told = atomic_load(&shared.told[k]);
    struct slice key = numbered(k, text);
    struct bytes copy = {0};
    struct pair pair;
    if (cache_get(shared.cache, key, NOW, &pair, &copy)) {
        memcpy(value, pair.value.data, sizeof value);
        shared.broken += pair.version < told;
        for (size_t i = 0; i < sizeof value / sizeof value[0]; i++)
            shared.torn += value[i] != pair.version;
    } else {
        struct cache_ticket ticket = cache_ticket(shared.cache, key);
        uint64_t version = atomic_load(&shared.committed[k]);
        if (slow)
            sched_yield();
        for (size_t i = 0; i < sizeof value / sizeof value[0]; i++)
            value[i] = version;
        pair = pair_of((struct slice){(const char *)value, sizeof value}, version);
        cache_fill(shared.cache, key, ticket, &pair);
    }
    bytes_fini(&copy);
}

// The stream of changes was lost: all keys may have changed.
static void thread_lose(void)
{
    uint64_t version[THREAD_KEYS];
    for (unsigned k = 0; k < THREAD_KEYS; k++)
        version[k] = ++shared.committed[k];
    cache_clear(shared.cache);
    for (unsigned k = 0; k < THREAD_KEYS; k++)
        tell(k, version[k]);
}

static void *thread_run(void *number)
{
    char text[16];
    random_seed(*(unsigned *)number);
    for (int step = 0; step < THREAD_STEPS; step++) {
        unsigned k = random_below(THREAD_KEYS);
        uint32_t what = random_below(1000);
        if (what < 1) {
            thread_lose();
        } else if (what < 100) {
            uint64_t version = ++shared.committed[k];
            cache_invalidate(shared.cache, numbered(k, text));
            tell(k, version);
        } else {
            thread_read(k, what < 200);
        }
    }
    return NULL;
}

static void cache_get__gives_no_thread_less_than_what_was_invalidated(void **state)
{
    (void)state;
    pthread_t thread[THREADS];
    unsigned number[THREADS];
    shared.cache = cache_of(64 * KIB); // evictions too
    for (unsigned i = 0; i < THREADS; i++) {
        number[i] = i + 1;
        assert_int_equal(pthread_create(&thread[i], NULL, thread_run, &number[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        cache_check(shared.cache);
        assert_true(stats_of(shared.cache).bytes <= 64 * KIB);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    cache_check(shared.cache);
    struct cache_stats stats = stats_of(shared.cache);
    assert_int_equal(shared.broken, 0);
    assert_int_equal(shared.torn, 0);
    assert_true(stats.hits > 1000 && stats.fills > 1000 && stats.late > 0 && stats.clears > 0);
    cache_free(&shared.cache);
}

// ---------------------------------------------------------------- memory

#if OWN_ALLOCATOR
static void cache__takes_and_frees_the_memory_that_it_says(void **state)
{
    (void)state;
    struct cache *c = cache_of(256 * KIB);
    long before = alive, before_bytes = alive_bytes;
    for (unsigned step = 0; step < 20000; step++) {
        cache_read(c, random_below(3000), random_below(800));
        if (random_below(100) == 0)
            cache_clear(c);
        struct cache_stats stats = stats_of(c);
        assert_int_equal(alive - before, stats.entries);
        // Where a remainder is too small to be of use the allocator gives it away too.
        assert_in_range(alive_bytes - before_bytes, stats.bytes, stats.bytes + 16 * stats.entries);
    }
    for (unsigned step = 0; step < 20000; step++)
        cache_read(c, random_below(3000), random_below(800));
    assert_true(stats_of(c).evictions > 100);
    cache_free(&c);
}

static void cache_new__takes_no_more_than_budget_and_counters(void **state)
{
    (void)state;
    for (size_t budget = 64 * KIB; budget < 16 * MIB; budget = budget * 5 / 3) {
        long before = alive_bytes;
        struct cache *c = cache_of(budget);
        for (unsigned n = 0; n < budget / 100 && stats_of(c).refused == 0; n++)
            cache_read(c, n, 1);
        assert_true((size_t)(alive_bytes - before) <= budget + 262 * KIB);
        assert_true((size_t)(alive_bytes - before) >= budget / 2);
        cache_free(&c);
        assert_int_equal(alive_bytes, before);
    }
}

static void cache_new__fails_cleanly_at_each_allocation(void **state)
{
    (void)state;
    enum error error = ERROR_MEMORY;
    for (long n = 0; error == ERROR_MEMORY; n++) {
        struct cache *c = (struct cache *)&c;
        long before = alive;
        calls_left = n;
        error = cache_new(MIB, &c);
        calls_left = LONG_MAX;
        assert_int_equal(c == NULL, error == ERROR_MEMORY);
        cache_free(&c);
        assert_int_equal(alive, before);
        assert_true(n < 100);
    }
    assert_int_equal(error, ERROR_NONE);
}

static void cache__stays_right_when_memory_is_out(void **state)
{
    (void)state;
    struct cache *c = cache_of(MIB);
    struct pair pair;
    struct bytes copy = {0};
    assert_true(fill(c, SLICE("a"), SLICE("one"), 1));
    calls_left = 0;
    bool filled = fill(c, SLICE("a"), SLICE("two"), 2);
    bool got = cache_get(c, SLICE("a"), NOW, &pair, &copy);
    calls_left = LONG_MAX;
    assert_false(filled);
    assert_false(got);
    assert_true(bytes_failed(&copy));
    cache_check(c);
    assert_int_equal(stats_of(c).entries, 1);
    assert_int_equal(version_of(c, SLICE("a")), 1); // nobody has invalidated it
    calls_left = 0;
    cache_invalidate(c, SLICE("a")); // needs no memory
    calls_left = LONG_MAX;
    assert_int_equal(stats_of(c).entries, 0);
    bytes_fini(&copy);
    cache_free(&c);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache_get__misses_what_was_never_filled),
        cmocka_unit_test(cache_get__gives_all_that_was_filled),
        cmocka_unit_test(cache_get__gives_an_empty_value_of_the_longest_key),
        cmocka_unit_test(cache_get__never_gives_what_has_expired),
        cmocka_unit_test(cache_fill__keeps_no_dead_and_no_partial_pair),
        cmocka_unit_test(cache_fill__keeps_the_newest_version),
        cmocka_unit_test(cache_fill__refuses_what_is_too_large),
        cmocka_unit_test(cache_new__makes_do_with_any_budget),
        cmocka_unit_test(cache_invalidate__forgets_a_key),
        cmocka_unit_test(cache_invalidate__makes_older_tickets_void),
        cmocka_unit_test(cache_clear__forgets_all_and_makes_older_tickets_void),
        cmocka_unit_test(cache_clear__lets_older_versions_come_back),
        cmocka_unit_test(cache__is_right_and_within_its_budget_after_every_step),
        cmocka_unit_test(cache_fill__keeps_hot_values_through_a_scan),
        cmocka_unit_test(cache_fill__displaces_what_is_asked_for_less),
        cmocka_unit_test(cache_fill__displaces_nothing_for_what_is_asked_for_once),
        cmocka_unit_test(cache_fill__follows_when_other_keys_become_hot),
        cmocka_unit_test(cache_fill__lets_a_large_hot_value_in_where_small_ones_are),
        cmocka_unit_test(cache_get__gives_no_thread_less_than_what_was_invalidated),
#if OWN_ALLOCATOR
        cmocka_unit_test(cache__takes_and_frees_the_memory_that_it_says),
        cmocka_unit_test(cache_new__takes_no_more_than_budget_and_counters),
        cmocka_unit_test(cache_new__fails_cleanly_at_each_allocation),
        cmocka_unit_test(cache__stays_right_when_memory_is_out),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
