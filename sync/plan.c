// SPDX-License-Identifier: MIT
#include "sync/plan.h"

#include "store/query.h"
#include "store/slot.h"
#include "sync/crew.h"

static enum error take_estimate(const struct row *row, void *context)
{
    struct peer *peer = context;
    uint64_t n[2];
    if (row_numbers(row, 0, 2, n))
        return ERROR_MALFORMED;
    peer->rows = n[0];
    peer->row_bytes = n[1];
    return ERROR_NONE;
}

static void measure(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = hand_pass(hand);
    struct peer *peer = &pass->peer[i];
    struct bytes sql = {0};
    (void)context;
    query_estimate(&sql);
    if (peer_up(peer) && pass_do(pass, peer, peer->control, &sql, take_estimate, peer))
        peer->rows = 0;
    bytes_fini(&sql);
}

void plan_measure(struct pass *pass)
{
    crew_run(pass->crew, pass->partitions, measure, NULL);
}

// What a partition owns: slots, of which it is the home of some.
struct share {
    unsigned slots;
    unsigned homes;
    unsigned gained; // that it has not got
};

static struct share share_of(const struct ring *ring, const struct ring *before, unsigned id)
{
    struct share share = {0};
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        bool owns = ring_owns(ring, slot, id);
        share.slots += owns;
        share.homes += ring_home(ring, slot) == id;
        share.gained += owns && before && !ring_owns(before, slot, id);
    }
    return share;
}

// pairs_of_slot estimates how many pairs a slot has, from what its owners have.
static double pairs_of_slot(const struct pass *pass, const struct ring *ring)
{
    double rows = 0, slots = 0;
    for (unsigned i = 0; i < pass->partitions; i++) {
        if (!peer_up(&pass->peer[i]) || !pass->peer[i].rows)
            continue;
        rows += (double)pass->peer[i].rows;
        slots += share_of(ring, NULL, i + 1).slots;
    }
    return slots > 0 ? rows / slots : 0;
}

static double bytes_of_pair(const struct pass *pass)
{
    double rows = 0, bytes = 0;
    for (unsigned i = 0; i < pass->partitions; i++) {
        rows += (double)pass->peer[i].rows;
        bytes += (double)pass->peer[i].rows * (double)pass->peer[i].row_bytes;
    }
    return rows > 0 ? bytes / rows : 0;
}

static void print_partition(unsigned id, const struct layout *l, double pairs, uint64_t rows,
                            struct bytes *out)
{
    struct share now = share_of(l->now, NULL, id);
    bytes_format(out, "partition-%u: %u slots, home of %u, about %llu rows", id, now.slots,
                 now.homes, (unsigned long long)rows);
    if (l->other) {
        struct share then = share_of(l->other, l->now, id);
        bytes_format(out, "; then %u slots, home of %u: about %.0f rows to be copied", then.slots,
                     then.homes, then.gained * pairs);
    }
    bytes_append_char(out, '\n');
}

static void print_sum(const struct pass *pass, const struct layout *l, double pairs,
                      struct bytes *out)
{
    double copied = 0;
    for (unsigned id = 1; id <= l->last; id++)
        copied += share_of(l->other, l->now, id).gained * pairs;
    bytes_format(out, "In all about %.0f rows, %.1f MB, are copied.\n", copied,
                 copied * bytes_of_pair(pass) / 1e6);
}

static void print_phase(const struct pass *pass, const struct layout *l, struct bytes *out)
{
    const struct placement *p = &l->placement;
    if (pass->epoch == 0)
        bytes_append_text(out, "The store has no placement yet.\n");
    else
        bytes_format(
            out, "Epoch %llu, %s.%s\n", (unsigned long long)pass->epoch,
            pass->announced ? "announced" : placement_phase_text(p->phase),
            p->phase == PLACEMENT_MOVING     ? " The new owners own; sync has to bring the rest."
            : p->phase == PLACEMENT_SWEEPING ? " What nobody owns any more is to be removed."
                                             : "");
}

// plan_layout makes the layout of what is wanted; while a change is under way it is that one.
static enum error plan_layout(const struct pass *pass, struct layout **layout)
{
    struct placement next = pass->layout->placement;
    if (next.phase == PLACEMENT_SETTLED && !members_equal(&next.now, &pass->wanted)) {
        next.phase = PLACEMENT_ANNOUNCED;
        next.other = pass->wanted;
    }
    if (next.phase == PLACEMENT_MOVING) {
        next.phase = PLACEMENT_ANNOUNCED; // so that it reads from then to now
        const struct members before = next.other;
        next.other = next.now;
        next.now = before;
    }
    return layout_new(&next, layout);
}

void plan_print(const struct pass *pass, struct bytes *out)
{
    struct layout *l = NULL;
    if (!pass->layout)
        return;
    if (plan_layout(pass, &l)) {
        out->failed = true;
        return;
    }
    double pairs = pairs_of_slot(pass, l->now);
    print_phase(pass, pass->layout, out);
    for (unsigned id = 1; id <= l->last; id++)
        if (placement_has(&l->placement, id))
            print_partition(id, l, pairs, id <= pass->partitions ? pass->peer[id - 1].rows : 0,
                            out);
    if (l->other)
        print_sum(pass, l, pairs, out);
    else
        bytes_append_text(out, "The members are those that are wanted.\n");
    layout_free(&l);
}
