// SPDX-License-Identifier: MIT
#include "sync/verify.h"

#include <stdlib.h>

#include "store/query.h"
#include "store/slot.h"
#include "sync/compare.h"
#include "sync/copy.h"
#include "sync/progress.h"
#include "sync/purge.h"
#include "sync/retry.h"

enum {
    CHUNK_MIN = 32, // slots of a task
    CHUNK_MAX = 1024,
    GROUP_ROWS = 2000,  // rows of several slots that are listed together
    GROUP_SLOTS = 1024, // and slots, at most
    BUCKETS = 64,       // directions in which rows of a group are copied at the same time
};

struct digest {
    uint64_t rows;
    uint64_t sum;
    uint64_t dead;
};

// Rows on their way from one partition to another.
struct bucket {
    struct peer *from;
    struct peer *to;
    struct keys keys;
};

// A task: consecutive slots, all up partitions.
struct chunk {
    struct hand *hand;
    struct pass *pass;
    unsigned first;
    unsigned last;
    struct digest *digest; // [partitions][last - first + 1]
    uint16_t slot[GROUP_SLOTS];
    size_t slots;
    uint64_t rows;     // of the group
    struct keys *list; // [partitions]: what each has in the slots of the group
    size_t *at;        // [partitions]: how far each list is merged
    struct keys *drop; // [partitions]
    struct side *side; // [partitions], of those that are up
    unsigned *peer_of; // [partitions]: whose sides those are
    struct bucket bucket[BUCKETS];
    size_t buckets;
    struct bytes sql;
    bool failed;
};

// ---------------------------------------------------------------- digests

struct taking {
    struct chunk *chunk;
    struct digest *digest; // of the chunk's first slot
};

static enum error take_digest(const struct row *row, void *context)
{
    struct taking *t = context;
    uint64_t n[4];
    if (row_numbers(row, 0, 4, n) || n[0] < t->chunk->first || n[0] > t->chunk->last)
        return ERROR_MALFORMED;
    t->digest[n[0] - t->chunk->first] = (struct digest){n[1], n[2], n[3]};
    return ERROR_NONE;
}

static struct digest *digests_of(const struct chunk *c, unsigned peer)
{
    return &c->digest[(size_t)peer * (c->last - c->first + 1)];
}

static void read_digests(struct chunk *c, unsigned i)
{
    struct pass *pass = c->pass;
    struct peer *peer = &pass->peer[i];
    struct channel *channel = hand_channel(c->hand, peer);
    struct taking taking = {c, digests_of(c, i)};
    if (!channel)
        return;
    bytes_clear(&c->sql);
    query_digest(&c->sql, c->first, c->last, pass->floor);
    if (pass_do(pass, peer, channel, &c->sql, take_digest, &taking)) {
        c->failed = true;
        return;
    }
    uint64_t dead = 0;
    for (unsigned s = 0; s <= c->last - c->first; s++)
        dead += taking.digest[s].dead;
    if (dead && purge_slots(pass, peer, channel, c->first, c->last, dead))
        c->failed = true;
}

// differs tells whether the owners of a slot have the same, and others nothing.
static bool differs(const struct chunk *c, unsigned slot)
{
    const struct digest *known = NULL;
    for (unsigned i = 0; i < c->pass->partitions; i++) {
        const struct digest *d = &digests_of(c, i)[slot - c->first];
        if (!peer_up(&c->pass->peer[i]))
            continue;
        if (!ring_owns(c->pass->ring, slot, i + 1)) {
            if (d->rows)
                return true;
            continue;
        }
        if (known && (known->rows != d->rows || known->sum != d->sum))
            return true;
        known = d;
    }
    return false;
}

// ---------------------------------------------------------------- acting

static void flush(struct chunk *c)
{
    for (size_t i = 0; i < c->buckets; i++) {
        struct bucket *b = &c->bucket[i];
        if (!b->keys.count)
            continue;
        keys_sort(&b->keys);
        const struct copy copy = {.hand = c->hand,
                                  .from = b->from,
                                  .to = b->to,
                                  .keys = &b->keys,
                                  .known = true,
                                  .repairs = true};
        if (copy_run(&copy))
            c->failed = true;
        keys_clear(&b->keys);
    }
    c->buckets = 0;
}

static struct bucket *bucket_of(struct chunk *c, struct peer *from, struct peer *to)
{
    for (size_t i = 0; i < c->buckets; i++)
        if (c->bucket[i].from == from && c->bucket[i].to == to)
            return &c->bucket[i];
    if (c->buckets == BUCKETS)
        flush(c);
    struct bucket *b = &c->bucket[c->buckets++];
    b->from = from;
    b->to = to;
    return b;
}

static void send_key(struct chunk *c, struct peer *from, struct peer *to, struct slice key)
{
    struct bucket *b = bucket_of(c, from, to);
    if (keys_add(&b->keys, key, 0))
        c->failed = true;
    if (b->keys.count == COPY_MAX)
        flush(c);
}

static void drop_piece(struct chunk *c, struct peer *peer, struct channel *channel, size_t first,
                       size_t count)
{
    const struct keys *drop = &c->drop[peer->conf->id - 1];
    bytes_clear(&c->sql);
    query_guard(&c->sql, c->pass->token, 3);
    query_drop(&c->sql, drop->key + first, drop->version + first, count);
    query_commit(&c->sql);
    if (!c->pass->options.dry_run && retry_do(c->pass, peer, channel, &c->sql))
        c->failed = true;
    else
        atomic_fetch_add(&c->pass->counts.dropped, count);
}

// drop_rows deletes what is to be dropped, once all the rest of the group is where it belongs.
static void drop_rows(struct chunk *c)
{
    bool safe = !c->failed && atomic_load(&c->pass->counts.rejected) == 0;
    for (unsigned i = 0; i < c->pass->partitions; i++) {
        struct peer *peer = &c->pass->peer[i];
        struct keys *drop = &c->drop[i];
        struct channel *channel = safe && drop->count ? hand_channel(c->hand, peer) : NULL;
        keys_settle(drop);
        for (size_t first = 0; channel && first < drop->count; first += COPY_MAX)
            drop_piece(c, peer, channel, first,
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

static void list_rows(struct chunk *c, unsigned i)
{
    struct peer *peer = &c->pass->peer[i];
    struct channel *channel = hand_channel(c->hand, peer);
    keys_clear(&c->list[i]);
    c->at[i] = 0;
    if (!channel)
        return;
    bytes_clear(&c->sql);
    query_list(&c->sql, c->slot, c->slots, c->pass->floor);
    if (pass_do(c->pass, peer, channel, &c->sql, take_listed, &c->list[i]))
        c->failed = true;
    keys_sort(&c->list[i]);
}

// next_key returns the smallest key that is not merged yet.
static bool next_key(const struct chunk *c, struct slice *key)
{
    bool found = false;
    for (unsigned i = 0; i < c->pass->partitions; i++) {
        const struct keys *list = &c->list[i];
        if (c->at[i] == list->count || (found && slice_compare(list->key[c->at[i]], *key) >= 0))
            continue;
        *key = list->key[c->at[i]];
        found = true;
    }
    return found;
}

// gather fills in the sides of a key and returns how many there are; *missing: an owner is not up.
static unsigned gather(struct chunk *c, struct slice key, bool *missing)
{
    unsigned slot = slot_of(key), count = 0;
    *missing = false;
    for (unsigned i = 0; i < c->pass->partitions; i++) {
        const struct peer *peer = &c->pass->peer[i];
        const struct keys *list = &c->list[i];
        bool has = c->at[i] < list->count && slice_equal(list->key[c->at[i]], key);
        bool owner = ring_owns(c->pass->ring, slot, i + 1);
        *missing |= owner && !peer_up(peer);
        if (peer_up(peer)) {
            c->side[count] = (struct side){.owner = owner,
                                           .trusted = peer->trusted,
                                           .has = has,
                                           .version = has ? list->version[c->at[i]] : 0};
            c->peer_of[count++] = i;
        }
        c->at[i] += has;
    }
    return count;
}

static void settle_key(struct chunk *c, struct slice key)
{
    bool missing, any = false;
    unsigned newest, count = gather(c, key, &missing);
    for (unsigned i = 0; i < count; i++)
        any |= c->side[i].has;
    if (!any) // whoever had it went away just now
        return;
    if (compare_sides(c->side, count, missing, c->pass->floor, &newest) == COMPARE_EQUAL)
        return;
    struct peer *from = &c->pass->peer[c->peer_of[newest]];
    for (unsigned i = 0; i < count; i++) {
        unsigned at = c->peer_of[i];
        if (c->side[i].fill)
            send_key(c, from, &c->pass->peer[at], key);
        if (c->side[i].drop && keys_add(&c->drop[at], key, c->side[i].version))
            c->failed = true;
    }
}

// settle_group lists the group's slots everywhere and brings the partitions together.
static void settle_group(struct chunk *c)
{
    struct slice key;
    if (c->slots && !pass_stopped(c->pass)) {
        for (unsigned i = 0; i < c->pass->partitions; i++)
            list_rows(c, i);
        while (!c->failed && next_key(c, &key))
            settle_key(c, key);
        flush(c);
        drop_rows(c);
        progress_show(c->pass);
    }
    c->slots = 0;
    c->rows = 0;
}

// ---------------------------------------------------------------- chunks

static void add_slot(struct chunk *c, unsigned slot)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < c->pass->partitions; i++) {
        uint64_t rows = digests_of(c, i)[slot - c->first].rows;
        if (rows > most)
            most = rows;
    }
    c->slot[c->slots++] = (uint16_t)slot;
    c->rows += most;
    if (c->rows >= GROUP_ROWS || c->slots == GROUP_SLOTS)
        settle_group(c);
}

static void work_chunk(struct chunk *c)
{
    for (unsigned i = 0; i < c->pass->partitions; i++)
        read_digests(c, i);
    for (unsigned slot = c->first; slot <= c->last && !c->failed; slot++)
        if (differs(c, slot))
            add_slot(c, slot);
    if (!c->failed)
        settle_group(c);
}

static bool init_chunk(struct chunk *c)
{
    size_t n = c->pass->partitions;
    c->digest = calloc(n * (c->last - c->first + 1), sizeof *c->digest);
    c->list = calloc(n, sizeof *c->list);
    c->at = calloc(n, sizeof *c->at);
    c->drop = calloc(n, sizeof *c->drop);
    c->side = calloc(n, sizeof *c->side);
    c->peer_of = calloc(n, sizeof *c->peer_of);
    return c->digest && c->list && c->at && c->drop && c->side && c->peer_of;
}

static void free_chunk(struct chunk *c)
{
    for (unsigned i = 0; c->list && i < c->pass->partitions; i++)
        keys_fini(&c->list[i]);
    for (unsigned i = 0; c->drop && i < c->pass->partitions; i++)
        keys_fini(&c->drop[i]);
    for (size_t i = 0; i < BUCKETS; i++)
        keys_fini(&c->bucket[i].keys);
    bytes_fini(&c->sql);
    free(c->digest);
    free(c->list);
    free(c->at);
    free(c->drop);
    free(c->side);
    free(c->peer_of);
    free(c);
}

struct window {
    struct pass *pass;
    unsigned first;
    unsigned count;
    unsigned chunk;
};

// Slots are counted from the window's first one, and the window may go over the last slot: a chunk
// does not.
static void run_chunk(struct hand *hand, size_t i, void *context)
{
    struct window *w = context;
    struct pass *pass = w->pass;
    unsigned first = w->first + (unsigned)i * w->chunk, last = first + w->chunk - 1;
    if (last >= w->first + w->count)
        last = w->first + w->count - 1;
    struct chunk *c = calloc(1, sizeof *c);
    if (c) {
        c->hand = hand;
        c->pass = pass;
        c->first = first;
        c->last = last;
        c->failed = !init_chunk(c) || pass_stopped(pass);
        if (!c->failed)
            work_chunk(c);
    }
    if (!c || c->failed)
        atomic_store(&pass->verify_failed, true);
    if (c)
        free_chunk(c);
    atomic_fetch_add(&pass->steps_done, 1);
    progress_show(pass);
}

static void run_window(struct pass *pass, unsigned first, unsigned count)
{
    struct window w = {.pass = pass, .first = first, .count = count};
    w.chunk = count / (2 * pass->conf->sync.threads);
    w.chunk = w.chunk < CHUNK_MIN ? CHUNK_MIN : w.chunk > CHUNK_MAX ? CHUNK_MAX : w.chunk;
    size_t chunks = (count + w.chunk - 1) / w.chunk;
    pass->steps_total = atomic_load(&pass->steps_done) + chunks;
    crew_run(pass->crew, chunks, run_chunk, &w);
}

static bool wants_all(const struct pass *pass)
{
    bool all = pass->options.verify_all;
    for (unsigned i = 0; i < pass->partitions; i++)
        all |= peer_up(&pass->peer[i]) && !pass->peer[i].trusted;
    return all;
}

static void store_next(struct pass *pass, struct peer *peer, unsigned slot)
{
    struct bytes sql = {0};
    query_guard(&sql, pass->token, 2);
    query_set_verified(&sql, slot);
    query_commit(&sql);
    if (pass_do(pass, peer, peer->control, &sql, NULL, NULL))
        atomic_store(&pass->verify_failed, true);
    bytes_fini(&sql);
}

static void verify_part(struct pass *pass, struct peer *peer)
{
    unsigned first = peer->verified % SLOT_COUNT, count = pass->conf->sync.verify;
    if (count == 0)
        return;
    unsigned until_end = SLOT_COUNT - first;
    run_window(pass, first, count < until_end ? count : until_end);
    if (count > until_end)
        run_window(pass, 0, count - until_end);
    if (!pass->verify_failed && !pass->options.dry_run)
        store_next(pass, peer, (first + count) % SLOT_COUNT);
}

void verify_run(struct pass *pass)
{
    struct peer *lowest = NULL;
    for (unsigned i = pass->partitions; i-- > 0;)
        if (peer_up(&pass->peer[i]))
            lowest = &pass->peer[i];
    if (!lowest || pass_stopped(pass))
        return;
    if (wants_all(pass))
        run_window(pass, 0, SLOT_COUNT);
    else
        verify_part(pass, lowest);
    if (atomic_load(&pass->counts.rejected))
        atomic_store(&pass->verify_failed, true);
}
