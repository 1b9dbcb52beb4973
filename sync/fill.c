// SPDX-License-Identifier: MIT
#include "sync/fill.h"

#include "store/query.h"
#include "store/slot.h"
#include "store/version.h"
#include "sync/copy.h"
#include "sync/progress.h"
#include "sync/ranges.h"

enum {
    RANGE_ROWS = 20000,
};

// The keys of one partition that go to another.
struct filling {
    struct peer *from;
    struct peer *to;
    struct ranges ranges;
    char slots[SLOT_COUNT]; // 1 for those whose rows go
};

// is_source: of all that have the row the first owner gives it.
static bool is_source(const struct pass *pass, const struct peer *from, const struct peer *to,
                      unsigned slot)
{
    const struct ring *ring = layout_whole(pass->layout);
    const uint16_t *owner = ring_owners(ring, slot);
    for (unsigned i = 0; i < ring_replicas(ring); i++)
        if (owner[i] != NO_OWNER && owner[i] <= pass->partitions && owner[i] != to->conf->id &&
            peer_up(&pass->peer[owner[i] - 1]))
            return owner[i] == from->conf->id;
    return false;
}

// choose_slots chooses the slots that `to` is to have from `from`; false: there are none.
static bool choose_slots(const struct pass *pass, struct filling *f)
{
    bool any = false;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        bool goes = pass_owns(pass, slot, f->to->conf->id) && is_source(pass, f->from, f->to, slot);
        f->slots[slot] = goes ? '1' : '0';
        any |= goes;
    }
    return any;
}

// wanted: the partition looks at its own hash of a key, which may be wrong.
static bool wanted(const struct copy *copy, const struct pair *pair)
{
    const struct pass *pass = hand_pass(copy->hand);
    uint64_t floor_ms = (pass->floor >> VERSION_PARTITION_BITS) / 1000;
    bool dead = pair->tombstone || (pair->expires && pair->expires <= floor_ms);
    return !(dead && pair->version < pass->floor) && copy->slots.data[slot_of(pair->key)] == '1';
}

static enum error fill_range(struct hand *hand, struct filling *f, const struct range *range,
                             struct copy_at *at)
{
    struct pass *pass = hand_pass(hand);
    const struct copy copy = {.hand = hand,
                              .from = f->from,
                              .to = f->to,
                              .known = true,
                              .repairs = true,
                              .slots = {f->slots, sizeof f->slots}};
    enum error error;
    bytes_clear(&at->key);
    bytes_append_slice(&at->key, bytes_slice(&range->after));
    do {
        error = bytes_failed(&at->key) ? ERROR_MEMORY
                                       : copy_page(&copy, at, bytes_slice(&range->to), wanted);
        progress_show(pass);
    } while (!error && at->key.len && !pass_stopped(pass));
    atomic_fetch_add(&pass->steps_done, 1);
    return error;
}

static void fill_ranges(struct hand *hand, size_t i, void *context)
{
    struct filling *f = context;
    struct range range = {0};
    struct copy_at at = {.rows = COPY_MAX};
    enum error error = ERROR_NONE;
    (void)i;
    while (!error && ranges_next(&f->ranges, hand, &range))
        error = fill_range(hand, f, &range, &at);
    if (error || f->ranges.error)
        atomic_store(&hand_pass(hand)->verify_failed, true);
    bytes_fini(&at.key);
    range_fini(&range);
}

static void fill_from(struct pass *pass, struct peer *from, struct peer *to)
{
    static const struct slice start = {0};
    struct filling f = {.from = from, .to = to};
    if (!choose_slots(pass, &f))
        return;
    pass->steps_total = atomic_load(&pass->steps_done) + range_count(pass, from, RANGE_ROWS);
    if (ranges_init(&f.ranges, from, RANGE_ROWS, start, SIZE_MAX))
        atomic_store(&pass->verify_failed, true);
    else
        crew_run(pass->crew, pass->conf->sync.threads, fill_ranges, &f);
    ranges_fini(&f.ranges);
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
