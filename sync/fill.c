// SPDX-License-Identifier: MIT
#include "sync/fill.h"

#include <stdlib.h>

#include "store/query.h"
#include "store/slot.h"
#include "store/version.h"
#include "sync/copy.h"
#include "sync/progress.h"

enum {
    SAMPLE_SLOTS = 16, // whose keys stand for all: every 1024th
    SAMPLES_MIN = 32,  // a range is not worth it with fewer
};

// The keys of one partition that go to another, in ranges of about the same size.
struct filling {
    struct pass *pass;
    struct peer *from;
    struct peer *to;
    struct keys sample;
    size_t ranges;
};

// is_source: of all that have the row the first owner gives it.
static bool is_source(const struct pass *pass, const struct peer *from, const struct peer *to,
                      unsigned slot)
{
    const uint16_t *owner = ring_owners(pass->ring, slot);
    for (unsigned i = 0; i < ring_replicas(pass->ring); i++)
        if (owner[i] != to->conf->id && peer_up(&pass->peer[owner[i] - 1]))
            return owner[i] == from->conf->id;
    return false;
}

static bool wanted(const struct copy *copy, const struct pair *pair)
{
    struct pass *pass = hand_pass(copy->hand);
    unsigned slot = slot_of(pair->key);
    bool dead = pair->expires == 1 ||
                (pair->expires && pair->expires < (pass->floor >> VERSION_PARTITION_BITS) / 1000);
    return !(dead && pair->version < pass->floor) &&
           ring_owns(pass->ring, slot, copy->to->conf->id) &&
           is_source(pass, copy->from, copy->to, slot);
}

static enum error take_sample(const struct row *row, void *context)
{
    struct slice key;
    return row_key(row, 0, &key) ? ERROR_MALFORMED : keys_add(context, key, 0);
}

static void plan_ranges(struct filling *f)
{
    uint16_t slots[SAMPLE_SLOTS];
    struct bytes sql = {0};
    for (unsigned i = 0; i < SAMPLE_SLOTS; i++)
        slots[i] = (uint16_t)(i * (SLOT_COUNT / SAMPLE_SLOTS));
    query_list(&sql, slots, SAMPLE_SLOTS, 0);
    if (pass_do(f->pass, f->from, f->from->control, &sql, take_sample, &f->sample))
        keys_clear(&f->sample);
    keys_sort(&f->sample);
    f->ranges = f->sample.count / SAMPLES_MIN + 1;
    if (f->ranges > 4 * f->pass->conf->sync.threads)
        f->ranges = 4 * f->pass->conf->sync.threads;
    bytes_fini(&sql);
}

// border returns the key at which range `i` ends, empty for the last.
static struct slice border(const struct filling *f, size_t i)
{
    static const struct slice end = {0};
    return i == f->ranges ? end : f->sample.key[f->sample.count * i / f->ranges];
}

static void fill_range(struct hand *hand, size_t i, void *context)
{
    struct filling *f = context;
    struct bytes at = {0};
    const struct copy copy = {
        .hand = hand, .from = f->from, .to = f->to, .known = true, .repairs = true};
    if (i)
        bytes_append_slice(&at, border(f, i));
    enum error error;
    do {
        error = copy_page(&copy, &at, border(f, i + 1), wanted);
        progress_show(f->pass);
    } while (!error && at.len && !pass_stopped(f->pass));
    if (error)
        atomic_store(&f->pass->verify_failed, true);
    bytes_fini(&at);
    atomic_fetch_add(&f->pass->steps_done, 1);
}

static void fill_from(struct pass *pass, struct peer *from, struct peer *to)
{
    struct filling f = {.pass = pass, .from = from, .to = to};
    plan_ranges(&f);
    pass->steps_total = atomic_load(&pass->steps_done) + f.ranges;
    crew_run(pass->crew, f.ranges, fill_range, &f);
    keys_fini(&f.sample);
}

static enum error take_flag(const struct row *row, void *context)
{
    return row_numbers(row, 0, 1, context);
}

static bool is_blank(struct pass *pass, struct peer *peer)
{
    struct bytes sql = {0};
    uint64_t blank = 0;
    query_no_pairs(&sql);
    enum error error = pass_do(pass, peer, peer->control, &sql, take_flag, &blank);
    bytes_fini(&sql);
    return !error && blank;
}

void fill_blank(struct pass *pass)
{
    for (unsigned d = 0; d < pass->partitions && !pass->options.dry_run; d++) {
        struct peer *to = &pass->peer[d];
        if (!peer_up(to) || to->trusted || !is_blank(pass, to))
            continue;
        for (unsigned s = 0; s < pass->partitions && !pass_stopped(pass); s++)
            if (s != d && peer_up(&pass->peer[s]) && peer_up(to))
                fill_from(pass, &pass->peer[s], to);
    }
}
