// SPDX-License-Identifier: MIT
#include "sync/verify.h"

#include <stdlib.h>

#include "base/log.h"
#include "store/query.h"
#include "store/slot.h"
#include "sync/classes.h"
#include "sync/compare.h"
#include "sync/copy.h"
#include "sync/keys.h"
#include "sync/progress.h"
#include "sync/ranges.h"
#include "sync/retry.h"

enum {
    RANGE_ROWS = 1000,   // of a range at first
    CLASSED_ROWS = 4000, // the same, where each statement has the table of classes
    PART_ROWS = 4000,    // the same, of a pass that compares a part: differences are rare
    HAND_RANGES = 4,     // ranges of such a pass that are worth another hand
    LIST_ROWS = 8000,    // a range that differs is halved while it has more
    BUCKETS = 64,        // directions in which rows of a range are copied at the same time
    NAMED_MAX = 100,     // keys of a range that are named
};

struct digest {
    uint64_t rows;
    uint64_t sum;
};

// Rows on their way from one partition to another.
struct bucket {
    struct peer *from;
    struct peer *to;
    struct keys keys;
};

// What a pass compares.
struct comparing {
    struct classes classes;
    struct ranges ranges;
};

// The work of one hand: ranges, one after the other.
struct work {
    struct hand *hand;
    struct pass *pass;
    struct comparing *comparing;
    struct digest *digest; // [partitions][classes] of the range
    struct keys *list;     // [partitions]: what each has in the range
    size_t *at;            // [partitions]: how far each list is merged
    struct keys *drop;     // [partitions]
    struct side *side;     // [partitions], of those that are up
    unsigned *peer_of;     // [partitions]: whose sides those are
    struct bucket bucket[BUCKETS];
    size_t buckets;
    struct bytes sql;
    bool failed;
};

// ---------------------------------------------------------------- digests

struct taking {
    struct digest *digest; // of the first class
    unsigned classes;
    uint64_t wrong; // hashes
};

static enum error take_digest(const struct row *row, void *context)
{
    struct taking *t = context;
    uint64_t n[4];
    if (row_numbers(row, 0, 4, n) || n[0] >= t->classes)
        return ERROR_MALFORMED;
    t->digest[n[0]] = (struct digest){n[1], n[2]};
    t->wrong += n[3];
    return ERROR_NONE;
}

static struct digest *digests_of(const struct work *w, unsigned peer)
{
    return &w->digest[(size_t)peer * w->comparing->classes.count];
}

static enum error tell_wrong(const struct row *row, void *context)
{
    const struct peer *peer = context;
    struct bytes name = {0};
    struct slice key;
    if (row_key(row, 0, &key))
        return ERROR_MALFORMED;
    log_escape(&name, key);
    log_write(LOG_WARN,
              "partition-%u: key %.*s had a wrong hash: SQL renamed it without constraints",
              peer->conf->id, (int)name.len, name.len ? name.data : "");
    bytes_fini(&name);
    return ERROR_NONE;
}

// mend names rows whose hashes are wrong, and corrects them. Where SQL renamed a row, the old key
// comes back from another partition.
static void mend(struct work *w, struct peer *peer, struct channel *channel,
                 const struct query_range *range)
{
    struct bytes sql = {0};
    query_wrong(&sql, range, NAMED_MAX);
    progress_hide(w->pass);
    enum error error = pass_do(w->pass, peer, channel, &sql, tell_wrong, peer);
    bytes_clear(&sql);
    query_guard(&sql, w->pass->token);
    query_mend(&sql, range);
    query_commit(&sql);
    if (!error && !w->pass->options.dry_run)
        error = retry_do(w->pass, peer, channel, &sql);
    w->failed |= error != ERROR_NONE;
    bytes_fini(&sql);
}

static void read_digests(struct work *w, unsigned i, const struct query_range *range)
{
    struct peer *peer = &w->pass->peer[i];
    struct channel *channel = hand_channel(w->hand, peer);
    struct taking taking = {digests_of(w, i), w->comparing->classes.count, 0};
    memset(taking.digest, 0, taking.classes * sizeof *taking.digest);
    if (!channel)
        return;
    bytes_clear(&w->sql);
    // What is long dead counts, which is cheaper: mostly all have purged it, and if not, what
    // differs is listed without it.
    query_digest(&w->sql, range, bytes_slice(&w->comparing->classes.table), 0);
    if (pass_do(w->pass, peer, channel, &w->sql, take_digest, &taking))
        w->failed = true;
    else if (taking.wrong)
        mend(w, peer, channel, range);
}

// class_differs tells whether all that are to have a class have the same, and others nothing.
static bool class_differs(const struct work *w, unsigned class)
{
    const struct digest *known = NULL;
    for (unsigned i = 0; i < w->pass->partitions; i++) {
        const struct digest *d = &digests_of(w, i)[class];
        if (!peer_up(&w->pass->peer[i]))
            continue;
        if (!pass_has(w->pass, w->comparing->classes.slot[class], i + 1)) {
            if (d->rows && pass_clears(w->pass))
                return true;
            continue;
        }
        if (known && (known->rows != d->rows || known->sum != d->sum))
            return true;
        known = d;
    }
    return false;
}

static bool differs(const struct work *w)
{
    for (unsigned class = 0; class < w->comparing->classes.count; class ++)
        if (class_differs(w, class))
            return true;
    return false;
}

// most_rows returns the greatest number of rows that a partition has in the range, and which.
static uint64_t most_rows(const struct work *w, struct peer **where)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < w->pass->partitions; i++) {
        uint64_t rows = 0;
        for (unsigned class = 0; class < w->comparing->classes.count; class ++)
            rows += digests_of(w, i)[class].rows;
        if (rows <= most)
            continue;
        most = rows;
        *where = &w->pass->peer[i];
    }
    return most;
}

// ---------------------------------------------------------------- acting

static void flush(struct work *w)
{
    for (size_t i = 0; i < w->buckets; i++) {
        struct bucket *b = &w->bucket[i];
        if (!b->keys.count)
            continue;
        keys_sort(&b->keys);
        const struct copy copy = {.hand = w->hand,
                                  .from = b->from,
                                  .to = b->to,
                                  .keys = b->keys.key,
                                  .count = b->keys.count,
                                  .known = true,
                                  .repairs = true};
        if (copy_run(&copy))
            w->failed = true;
        keys_clear(&b->keys);
    }
    w->buckets = 0;
}

static struct bucket *bucket_of(struct work *w, struct peer *from, struct peer *to)
{
    for (size_t i = 0; i < w->buckets; i++)
        if (w->bucket[i].from == from && w->bucket[i].to == to)
            return &w->bucket[i];
    if (w->buckets == BUCKETS)
        flush(w);
    struct bucket *b = &w->bucket[w->buckets++];
    b->from = from;
    b->to = to;
    return b;
}

static void send_key(struct work *w, struct peer *from, struct peer *to, struct slice key)
{
    struct bucket *b = bucket_of(w, from, to);
    if (keys_add(&b->keys, key, 0))
        w->failed = true;
    if (b->keys.count == COPY_MAX)
        flush(w);
}

static void drop_piece(struct work *w, struct peer *peer, struct channel *channel, size_t first,
                       size_t count)
{
    const struct keys *drop = &w->drop[peer->conf->id - 1];
    bytes_clear(&w->sql);
    query_guard(&w->sql, w->pass->token);
    query_drop(&w->sql, drop->key + first, drop->version + first, count, peer->mark);
    query_commit(&w->sql);
    if (!w->pass->options.dry_run && retry_do(w->pass, peer, channel, &w->sql))
        w->failed = true;
    else
        atomic_fetch_add(&w->pass->counts.dropped, count);
}

static bool drops(const struct work *w)
{
    for (unsigned i = 0; i < w->pass->partitions; i++)
        if (w->drop[i].count)
            return true;
    return false;
}

// drop_rows deletes what is to be dropped, once all the rest of the range is where it belongs.
static void drop_rows(struct work *w)
{
    if (!drops(w))
        return;
    flush(w);
    bool safe = !w->failed && atomic_load(&w->pass->counts.rejected) == 0;
    for (unsigned i = 0; i < w->pass->partitions; i++) {
        struct peer *peer = &w->pass->peer[i];
        struct keys *drop = &w->drop[i];
        struct channel *channel = safe && drop->count ? hand_channel(w->hand, peer) : NULL;
        keys_settle(drop);
        for (size_t first = 0; channel && first < drop->count; first += COPY_MAX)
            drop_piece(w, peer, channel, first,
                       drop->count - first < COPY_MAX ? drop->count - first : COPY_MAX);
        keys_clear(drop);
    }
}

// ---------------------------------------------------------------- merging

static enum error take_listed(const struct row *row, void *context)
{
    struct slice key;
    uint64_t version;
    if (row_key(row, 0, &key) || row_numbers(row, 1, 1, &version))
        return ERROR_MALFORMED;
    return keys_add(context, key, version);
}

static void list_rows(struct work *w, unsigned i, const struct query_range *range)
{
    struct peer *peer = &w->pass->peer[i];
    struct channel *channel = hand_channel(w->hand, peer);
    keys_clear(&w->list[i]);
    w->at[i] = 0;
    if (!channel)
        return;
    bytes_clear(&w->sql);
    query_list(&w->sql, range, w->pass->floor);
    if (pass_do(w->pass, peer, channel, &w->sql, take_listed, &w->list[i]))
        w->failed = true;
    keys_sort(&w->list[i]);
}

// next_key returns the smallest key that is not merged yet.
static bool next_key(const struct work *w, struct slice *key)
{
    bool found = false;
    for (unsigned i = 0; i < w->pass->partitions; i++) {
        const struct keys *list = &w->list[i];
        if (w->at[i] == list->count || (found && slice_compare(list->key[w->at[i]], *key) >= 0))
            continue;
        *key = list->key[w->at[i]];
        found = true;
    }
    return found;
}

// gather fills in the sides of a key and returns how many there are; *missing: an owner is not up.
static unsigned gather(struct work *w, struct slice key, bool *missing)
{
    unsigned slot = slot_of(key), count = 0;
    *missing = !pass_clears(w->pass) || w->pass->unknown; // then nothing is dropped
    for (unsigned i = 0; i < w->pass->partitions; i++) {
        const struct peer *peer = &w->pass->peer[i];
        const struct keys *list = &w->list[i];
        bool has = w->at[i] < list->count && slice_equal(list->key[w->at[i]], key);
        bool owner = pass_owns(w->pass, slot, i + 1);
        *missing |= owner && !peer_up(peer);
        if (peer_up(peer)) {
            w->side[count] = (struct side){.owner = owner,
                                           .trusted = pass_knows(w->pass, slot, peer),
                                           .has = has,
                                           .version = has ? list->version[w->at[i]] : 0};
            w->peer_of[count++] = i;
        }
        w->at[i] += has;
    }
    return count;
}

static void settle_key(struct work *w, struct slice key)
{
    bool missing, any = false;
    unsigned newest, count = gather(w, key, &missing);
    for (unsigned i = 0; i < count; i++)
        any |= w->side[i].has;
    if (!any) // whoever had it went away just now
        return;
    if (compare_sides(w->side, count, missing, w->pass->floor, &newest) == COMPARE_EQUAL)
        return;
    struct peer *from = &w->pass->peer[w->peer_of[newest]];
    for (unsigned i = 0; i < count; i++) {
        unsigned at = w->peer_of[i];
        if (w->side[i].fill)
            send_key(w, from, &w->pass->peer[at], key);
        if (w->side[i].drop && keys_add(&w->drop[at], key, w->side[i].version))
            w->failed = true;
    }
}

// settle_range lists a range everywhere and brings the partitions together, at the latest when this
// hand's last range is done.
static void settle_range(struct work *w, const struct query_range *range)
{
    struct slice key;
    for (unsigned i = 0; i < w->pass->partitions; i++)
        list_rows(w, i, range);
    while (!w->failed && next_key(w, &key))
        settle_key(w, key);
    drop_rows(w);
    progress_show(w->pass);
}

// ---------------------------------------------------------------- ranges

static void compare_range(struct work *w, const struct query_range *range);

// halve compares the halves of a range that has so many rows on `peer`.
static void halve(struct work *w, const struct query_range *range, struct peer *peer, uint64_t rows)
{
    struct bytes middle = {0};
    bool found;
    unsigned half = (unsigned)(rows / 2 < UINT32_MAX ? rows / 2 : UINT32_MAX);
    if (range_border(w->hand, peer, range, half, &middle, &found))
        w->failed = true;
    else if (!found || slice_equal(bytes_slice(&middle), range->to)) // they are gone by now
        settle_range(w, range);
    else {
        compare_range(w, &(struct query_range){range->after, bytes_slice(&middle)});
        compare_range(w, &(struct query_range){bytes_slice(&middle), range->to});
    }
    bytes_fini(&middle);
}

static void compare_range(struct work *w, const struct query_range *range)
{
    struct peer *peer = NULL;
    if (w->failed || pass_stopped(w->pass))
        return;
    for (unsigned i = 0; i < w->pass->partitions; i++)
        read_digests(w, i, range);
    if (w->failed || !differs(w))
        return;
    uint64_t rows = most_rows(w, &peer);
    if (rows > LIST_ROWS)
        halve(w, range, peer, rows);
    else
        settle_range(w, range);
}

static bool init_work(struct work *w)
{
    size_t n = w->pass->partitions;
    w->digest = calloc(n * w->comparing->classes.count, sizeof *w->digest);
    w->list = calloc(n, sizeof *w->list);
    w->at = calloc(n, sizeof *w->at);
    w->drop = calloc(n, sizeof *w->drop);
    w->side = calloc(n, sizeof *w->side);
    w->peer_of = calloc(n, sizeof *w->peer_of);
    return w->digest && w->list && w->at && w->drop && w->side && w->peer_of;
}

static void free_work(struct work *w)
{
    for (unsigned i = 0; w->list && i < w->pass->partitions; i++)
        keys_fini(&w->list[i]);
    for (unsigned i = 0; w->drop && i < w->pass->partitions; i++)
        keys_fini(&w->drop[i]);
    for (size_t i = 0; i < BUCKETS; i++)
        keys_fini(&w->bucket[i].keys);
    bytes_fini(&w->sql);
    free(w->digest);
    free(w->list);
    free(w->at);
    free(w->drop);
    free(w->side);
    free(w->peer_of);
    free(w);
}

static void compare_ranges(struct work *w)
{
    struct range range = {0};
    while (!w->failed && ranges_next(&w->comparing->ranges, w->hand, &range)) {
        struct query_range borrowed = range_borrow(&range);
        compare_range(w, &borrowed);
        atomic_fetch_add(&w->pass->steps_done, 1);
        progress_show(w->pass);
    }
    if (!w->failed)
        flush(w);
    range_fini(&range);
}

static void run_hand(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = hand_pass(hand);
    struct work *w = calloc(1, sizeof *w);
    bool failed = true;
    (void)i;
    if (w) {
        *w = (struct work){.hand = hand, .pass = pass, .comparing = context};
        w->failed = !init_work(w);
        compare_ranges(w);
        failed = w->failed;
        free_work(w);
    }
    if (failed)
        atomic_store(&pass->verify_failed, true);
}

// ---------------------------------------------------------------- a pass

static bool wants_all(const struct pass *pass)
{
    bool all = pass->options.verify_all || pass->mode != PASS_KEEP;
    for (unsigned i = 0; i < pass->partitions; i++)
        all |= peer_up(&pass->peer[i]) && !pass->peer[i].trusted;
    return all;
}

static void store_next(struct pass *pass, struct peer *peer, struct slice key)
{
    struct bytes sql = {0};
    query_guard(&sql, pass->token);
    query_set_verified(&sql, key);
    query_commit(&sql);
    if (pass_do(pass, peer, peer->control, &sql, NULL, NULL))
        atomic_store(&pass->verify_failed, true);
    bytes_fini(&sql);
}

// share_ranges compares the ranges that were planned; each hand that takes part may have to connect
// first.
static void share_ranges(struct pass *pass, struct comparing *c, size_t hands)
{
    size_t threads = pass->conf->sync.threads;
    crew_run(pass->crew, hands < threads ? hands : threads, run_hand, c);
    if (c->ranges.error || pass_stopped(pass))
        atomic_store(&pass->verify_failed, true);
}

static unsigned step_of(const struct comparing *c)
{
    return c->classes.table.len ? CLASSED_ROWS : RANGE_ROWS;
}

// verify_all cuts the ranges by the rows of a partition that has all that it should, if there is
// one.
static void verify_all(struct pass *pass, struct peer *lowest, struct comparing *c)
{
    static const struct slice start = {0};
    struct peer *peer = lowest;
    for (unsigned i = pass->partitions; i-- > 0;)
        if (peer_up(&pass->peer[i]) && pass->peer[i].trusted)
            peer = &pass->peer[i];
    pass->steps_total = atomic_load(&pass->steps_done) + range_count(pass, peer, step_of(c));
    if (ranges_init(&c->ranges, peer, step_of(c), start, SIZE_MAX))
        atomic_store(&pass->verify_failed, true);
    else
        share_ranges(pass, c, SIZE_MAX);
}

static void verify_part(struct pass *pass, struct peer *lowest, struct comparing *c)
{
    unsigned rows = pass->conf->sync.verify;
    unsigned step = rows < PART_ROWS ? rows : PART_ROWS;
    size_t count = (rows + step - 1) / step;
    pass->steps_total = atomic_load(&pass->steps_done) + count;
    if (ranges_init(&c->ranges, lowest, step, bytes_slice(&lowest->verified), count))
        atomic_store(&pass->verify_failed, true);
    else
        share_ranges(pass, c, 1 + count / HAND_RANGES);
    if (!pass->verify_failed && !pass->options.dry_run)
        store_next(pass, lowest, bytes_slice(&c->ranges.rest.after));
}

static unsigned count_owners(const struct pass *pass)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CONF_PARTITIONS_MAX; i++)
        count += pass->layout->placement.now.weight[i] > 0;
    return count;
}

static void verify(struct pass *pass, struct peer *lowest, struct comparing *c)
{
    const struct ring *other = pass_clears(pass) ? NULL : pass->layout->other;
    if (classes_init(&c->classes, pass->ring, other, count_owners(pass)))
        atomic_store(&pass->verify_failed, true);
    else if (wants_all(pass))
        verify_all(pass, lowest, c);
    else
        verify_part(pass, lowest, c);
    ranges_fini(&c->ranges);
    classes_fini(&c->classes);
}

void verify_run(struct pass *pass)
{
    struct comparing comparing = {0};
    struct peer *lowest = NULL;
    for (unsigned i = pass->partitions; i-- > 0;)
        if (peer_up(&pass->peer[i]))
            lowest = &pass->peer[i];
    // What was rejected before would be again.
    bool part = pass->conf->sync.verify && atomic_load(&pass->counts.rejected) == 0;
    if (lowest && !pass_stopped(pass) && (part || wants_all(pass)))
        verify(pass, lowest, &comparing);
    if (atomic_load(&pass->counts.rejected))
        atomic_store(&pass->verify_failed, true);
}
