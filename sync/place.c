// SPDX-License-Identifier: MIT
#include "sync/place.h"

#include <string.h>

#include "base/random.h"
#include "store/query.h"
#include "sync/crew.h"

// ---------------------------------------------------------------- reading

static enum error take_placement(const struct row *row, void *context)
{
    struct peer *peer = context;
    peer->placed = true;
    return row_placement(row, &peer->placement);
}

static void read_peer(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = hand_pass(hand);
    struct peer *peer = &pass->peer[i];
    struct bytes sql = {0};
    (void)context;
    peer->placed = false;
    if (!peer_up(peer))
        return;
    query_placement(&sql);
    if (pass_do(pass, peer, peer->control, &sql, take_placement, peer) && peer_up(peer))
        atomic_store(&peer->state, PEER_WRONG);
    bytes_fini(&sql);
}

static void read_all(struct pass *pass)
{
    crew_run(pass->crew, pass->partitions, read_peer, NULL);
}

// newest returns a partition that shows the highest epoch; of several stores the first partition's
// is meant. NULL: nobody shows a placement.
static const struct peer *newest(const struct pass *pass)
{
    const struct peer *found = NULL;
    for (unsigned i = 0; i < pass->partitions; i++) {
        const struct peer *peer = &pass->peer[i];
        if (!peer_up(peer) || !peer->placed)
            continue;
        if (!found || (strcmp(peer->placement.store, found->placement.store) == 0 &&
                       peer->placement.epoch > found->placement.epoch))
            found = peer;
    }
    return found;
}

// ---------------------------------------------------------------- the first one

// may_begin: a partition that is away may have a placement already.
static bool may_begin(const struct pass *pass)
{
    for (unsigned i = 0; i < pass->partitions; i++)
        if (conf_partition_exists(pass->peer[i].conf) && !peer_up(&pass->peer[i]))
            return false;
    return true;
}

static void give_first(struct pass *pass)
{
    struct placement placement = {.epoch = 1, .now = pass->wanted};
    struct bytes sql = {0};
    unsigned first = 0;
    while (!conf_partition_exists(pass->peer[first].conf))
        first++;
    random_uuid(placement.store);
    query_place_first(&sql, &placement);
    struct peer *peer = &pass->peer[first];
    if (pass_do(pass, peer, peer->control, &sql, NULL, NULL) == ERROR_NONE)
        read_all(pass); // another program's may have been faster
    bytes_fini(&sql);
}

// ---------------------------------------------------------------- using one

// judge_members leaves out who does not take part.
static void judge_members(struct pass *pass)
{
    const struct placement *placement = &pass->layout->placement;
    for (unsigned i = 0; i < pass->partitions; i++) {
        struct peer *peer = &pass->peer[i];
        peer->member = placement_has(placement, i + 1);
        enum peer_state up = PEER_UP, apart = PEER_APART;
        if (!peer->member)
            atomic_compare_exchange_strong(&peer->state, &up, PEER_APART);
        else // of one that keeps only its number nobody knows where it is
            atomic_compare_exchange_strong(&peer->state, &apart,
                                           peer->control ? PEER_UP : PEER_AWAY);
    }
    pass->unknown = 0;
    for (unsigned id = pass->partitions + 1; id <= CONF_PARTITIONS_MAX; id++)
        if (placement_has(placement, id))
            pass->unknown = id;
}

enum error place_use(struct pass *pass, const struct placement *placement)
{
    struct layout *layout;
    enum error error = layout_new(placement, &layout);
    if (error)
        return error;
    layout_free(&pass->layout);
    pass->layout = layout;
    pass->ring = layout->now;
    judge_members(pass);
    return ERROR_NONE;
}

// leave_out_strangers: a partition of another store must not be touched.
static void leave_out_strangers(struct pass *pass, const struct placement *placement)
{
    for (unsigned i = 0; i < pass->partitions; i++) {
        struct peer *peer = &pass->peer[i];
        if (!peer_up(peer) || !peer->placed || strcmp(peer->placement.store, placement->store) == 0)
            continue;
        atomic_store(&peer->state, PEER_WRONG);
        pass_trouble(pass, PASS_CONFIG, "partition-%u belongs to another store (%s)",
                     peer->conf->id, peer->placement.store);
    }
}

bool place_read(struct pass *pass)
{
    struct placement placement = {.epoch = 0, .now = pass->wanted};
    read_all(pass);
    if (!newest(pass) && may_begin(pass) && !pass->options.dry_run)
        give_first(pass);
    const struct peer *peer = newest(pass);
    if (peer)
        placement = peer->placement;
    if (peer)
        leave_out_strangers(pass, &placement);
    if (place_use(pass, &placement)) {
        pass_trouble(pass, PASS_FAILED, "%s", error_text(ERROR_MEMORY));
        return false;
    }
    return true;
}

// ---------------------------------------------------------------- giving it

static bool same(const struct placement *a, const struct placement *b)
{
    return strcmp(a->store, b->store) == 0 && a->epoch == b->epoch && a->phase == b->phase &&
           members_equal(&a->now, &b->now) && members_equal(&a->other, &b->other) &&
           memcmp(a->gone, b->gone, sizeof a->gone) == 0;
}

// put gives a partition the placement, and makes sure that it has it: another one of the same epoch
// would stay.
static bool put(struct pass *pass, struct peer *peer, const struct placement *placement)
{
    struct bytes sql = {0};
    query_guard(&sql, pass->token);
    query_place(&sql, placement);
    bytes_append_char(&sql, ';');
    query_commit(&sql);
    enum error error = pass_do(pass, peer, peer->control, &sql, NULL, NULL);
    bytes_clear(&sql);
    query_placement(&sql);
    peer->placed = false;
    if (!error)
        error = pass_do(pass, peer, peer->control, &sql, take_placement, peer);
    bytes_fini(&sql);
    bool has_it = !error && peer->placed && same(&peer->placement, placement);
    if (!error && !has_it)
        pass_trouble(pass, PASS_BUSY, "partition-%u has got another placement meanwhile",
                     peer->conf->id);
    return has_it;
}

struct putting {
    const struct placement *placement;
    bool deciding; // those that decide now
    atomic_bool failed;
};

static void put_peer(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = hand_pass(hand);
    struct putting *p = context;
    struct peer *peer = &pass->peer[i];
    bool decides = pass->layout->placement.now.weight[i] > 0;
    if (!peer->member || decides != p->deciding)
        return;
    if (!peer_up(peer) || pass_stopped(pass) || !put(pass, peer, p->placement))
        atomic_store(&p->failed, true);
}

bool place_put(struct pass *pass, const struct placement *placement)
{
    struct putting p = {.placement = placement, .deciding = true};
    if (!pass_all_up(pass)) {
        pass_trouble(pass, PASS_BUSY, "the placement waits until all its partitions are up");
        return false;
    }
    crew_run(pass->crew, pass->partitions, put_peer, &p);
    p.deciding = false;
    if (!p.failed)
        crew_run(pass->crew, pass->partitions, put_peer, &p);
    if (p.failed) {
        pass_trouble(pass, PASS_BUSY, "the change of the placement goes on in the next pass");
        return false;
    }
    if (place_use(pass, placement)) {
        pass_trouble(pass, PASS_FAILED, "%s", error_text(ERROR_MEMORY));
        return false;
    }
    return true;
}

static void catch_up(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = hand_pass(hand);
    struct peer *peer = &pass->peer[i];
    const struct placement *placement = &pass->layout->placement;
    (void)context;
    if (!peer_up(peer) || pass_stopped(pass) || !peer->member)
        return;
    if (!peer->placed || peer->placement.epoch < placement->epoch)
        if (!put(pass, peer, placement) && peer_up(peer))
            atomic_store(&peer->state, PEER_AWAY);
}

void place_catch_up(struct pass *pass)
{
    if (pass->layout->placement.epoch && !pass->options.dry_run)
        crew_run(pass->crew, pass->partitions, catch_up, NULL);
}
