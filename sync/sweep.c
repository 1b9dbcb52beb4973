// SPDX-License-Identifier: MIT
#include "sync/sweep.h"

#include "store/query.h"
#include "store/slot.h"
#include "sync/crew.h"
#include "sync/purge.h"
#include "sync/ranges.h"
#include "sync/retry.h"

enum {
    RANGE_ROWS = 2000, // of which one statement deletes what is to go
};

// choose_slots chooses those that the partition owned before and does not own now; false: none.
static bool choose_slots(const struct pass *pass, const struct peer *peer, char slots[SLOT_COUNT])
{
    bool any = false;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        bool goes = ring_owns(pass->moved->other, slot, peer->conf->id) &&
                    !ring_owns(pass->ring, slot, peer->conf->id);
        slots[slot] = goes ? '1' : '0';
        any |= goes;
    }
    return any;
}

// What others have not read stays: nobody else may have it.
static enum error sweep_range(struct hand *hand, struct peer *peer, struct slice slots,
                              const struct range *range)
{
    struct pass *pass = hand_pass(hand);
    struct channel *channel = hand_channel(hand, peer);
    const struct query_range borrowed = range_borrow(range);
    struct bytes sql = {0};
    if (!channel)
        return ERROR_UNAVAILABLE;
    query_guard(&sql, pass->token);
    query_sweep(&sql, &borrowed, slots, purge_read_by_all(pass, peer->conf->id - 1));
    query_commit(&sql);
    throttle_wait(&pass->throttle, RANGE_ROWS, 0);
    enum error error = retry_do(pass, peer, channel, &sql);
    bytes_fini(&sql);
    return error;
}

static void sweep_peer(struct hand *hand, size_t i, void *context)
{
    static const struct slice start = {0};
    struct pass *pass = hand_pass(hand);
    struct peer *peer = &pass->peer[i];
    struct ranges ranges;
    struct range range = {0};
    char slots[SLOT_COUNT];
    (void)context;
    if (!peer->member || !peer_up(peer) || !purge_read_by_all(pass, (unsigned)i) ||
        !choose_slots(pass, peer, slots))
        return;
    enum error error = ranges_init(&ranges, peer, RANGE_ROWS, start, SIZE_MAX);
    while (!error && !pass_stopped(pass) && ranges_next(&ranges, hand, &range))
        error = sweep_range(hand, peer, (struct slice){slots, sizeof slots}, &range);
    if (error || ranges.error)
        atomic_store(&pass->verify_failed, true);
    range_fini(&range);
    ranges_fini(&ranges);
}

void sweep_run(struct pass *pass)
{
    bool brought = !pass->streams_failed && atomic_load(&pass->counts.rejected) == 0;
    if (pass->mode == PASS_SWEEP && pass->moved && brought)
        crew_run(pass->crew, pass->partitions, sweep_peer, NULL);
}
