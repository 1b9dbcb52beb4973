// SPDX-License-Identifier: MIT
#include "sync/purge.h"

#include "store/query.h"
#include "store/version.h"
#include "sync/crew.h"
#include "sync/retry.h"

enum {
    PIECE = 500,      // rows deleted in one transaction
    TRIM_PAGE = 1000, // entries
};

// ---------------------------------------------------------------- the floor

static uint64_t common_floor(const struct pass *pass)
{
    uint64_t floor = UINT64_MAX;
    for (unsigned i = 0; i < pass->partitions; i++)
        if (peer_up(&pass->peer[i]) && pass->peer[i].floor < floor)
            floor = pass->peer[i].floor;
    return floor == UINT64_MAX ? 0 : floor;
}

// proven returns the version before which every partition has everything.
static uint64_t proven(const struct pass *pass)
{
    uint64_t least = UINT64_MAX;
    for (unsigned d = 0; d < pass->partitions; d++) {
        const struct peer *peer = &pass->peer[d];
        uint64_t mark = peer->mark_ms * 1000 << VERSION_PARTITION_BITS;
        if (peer->member && mark < least) // where there is but one
            least = mark;
        for (unsigned s = 0; s < pass->partitions && peer->member; s++) {
            const struct reading *reading = &peer->reading[s];
            if (d == s || !pass->peer[s].member)
                continue;
            if (!reading->done)
                return 0;
            if (reading->cursor.frontier < least)
                least = reading->cursor.frontier;
        }
    }
    return least;
}

static bool all_trusted(const struct pass *pass)
{
    for (unsigned i = 0; i < pass->partitions; i++)
        if (pass->peer[i].member && (!peer_up(&pass->peer[i]) || !pass->peer[i].trusted))
            return false;
    return pass->unknown == 0;
}

static void tell_floor(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = hand_pass(hand);
    struct peer *peer = &pass->peer[i];
    const uint64_t *floor = context;
    struct bytes sql = {0};
    if (!peer->member)
        return;
    query_guard(&sql, pass->token);
    query_set_floor(&sql, *floor);
    query_commit(&sql);
    if (pass_do(pass, peer, peer->control, &sql, NULL, NULL) == ERROR_NONE)
        peer->floor = *floor;
    bytes_fini(&sql);
}

void purge_raise_floor(struct pass *pass)
{
    uint64_t margin = (uint64_t)PASS_CLOCK_BOUND_US + (uint64_t)pass->conf->sync.grace * 1000;
    pass->floor = common_floor(pass);
    if (pass->mode != PASS_KEEP || pass->streams_failed || pass_stopped(pass) ||
        pass->options.dry_run || !all_trusted(pass))
        return;
    uint64_t floor = proven(pass), highest = 0;
    margin <<= VERSION_PARTITION_BITS;
    floor = floor > margin ? floor - margin : 0;
    for (unsigned i = 0; i < pass->partitions; i++)
        if (pass->peer[i].member && pass->peer[i].floor > highest)
            highest = pass->peer[i].floor;
    pass->risen = floor > highest;
    if (pass->risen)
        crew_run(pass->crew, pass->partitions, tell_floor, &floor);
    pass->floor = pass_all_up(pass) ? common_floor(pass) : pass->floor;
}

// ---------------------------------------------------------------- rows

static enum error take_count(const struct row *row, void *context)
{
    return row_numbers(row, 0, 1, context);
}

// purge_pieces deletes the `dead` rows of a partition.
static void purge_pieces(struct pass *pass, struct peer *peer, uint64_t dead)
{
    struct bytes sql = {0};
    enum error error = ERROR_NONE;
    query_guard(&sql, pass->token);
    query_purge(&sql, pass->floor, peer->mark, PIECE);
    query_commit(&sql);
    for (uint64_t gone = 0; gone < dead && !error && !pass_stopped(pass); gone += PIECE) {
        uint64_t now = dead - gone < PIECE ? dead - gone : PIECE;
        if (!pass->options.dry_run) {
            throttle_wait(&pass->throttle, now, 0);
            error = retry_do(pass, peer, peer->control, &sql);
        }
        if (!error)
            atomic_fetch_add(&pass->counts.purged, now);
    }
    bytes_fini(&sql);
}

static void purge_peer(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = context;
    struct peer *peer = &pass->peer[i];
    struct bytes sql = {0};
    uint64_t dead = 0;
    (void)hand;
    if (!peer_up(peer) || pass_stopped(pass))
        return;
    query_dead(&sql, pass->floor, peer->mark);
    if (pass_do(pass, peer, peer->control, &sql, take_count, &dead) == ERROR_NONE && dead)
        purge_pieces(pass, peer, dead);
    bytes_fini(&sql);
}

// may_be_dead: the pass that raised the floor has purged what is below it, unless it was hindered;
// then the floor is raised again before long. A partition that is to be filled comes from a backup.
static bool may_be_dead(const struct pass *pass)
{
    bool rare = pass->options.dry_run || pass->options.verify_all;
    for (unsigned i = 0; i < pass->partitions; i++)
        rare |= peer_up(&pass->peer[i]) && !pass->peer[i].trusted;
    return pass->floor && (pass->risen || rare);
}

void purge_rows(struct pass *pass)
{
    if (pass->mode == PASS_KEEP && !pass->streams_failed && may_be_dead(pass))
        crew_run(pass->crew, pass->partitions, purge_peer, pass);
}

// ---------------------------------------------------------------- logs

struct head {
    uint64_t limit;  // nothing behind this number
    uint64_t newest; // only versions before this one
    uint64_t last;   // the number up to which it goes
    uint64_t count;
    uint64_t gone;
    bool kept;
};

static enum error take_head(const struct row *row, void *context)
{
    struct head *h = context;
    uint64_t n[3];
    if (row_numbers(row, 0, 3, n))
        return ERROR_MALFORMED;
    h->count++;
    h->kept |= n[0] > h->limit || (n[2] != 0 && n[1] >= h->newest);
    if (h->kept)
        return ERROR_NONE;
    h->last = n[0];
    h->gone++;
    return ERROR_NONE;
}

uint64_t purge_read_by_all(const struct pass *pass, unsigned source)
{
    uint64_t least = pass->peer[source].mark;
    for (unsigned d = 0; d < pass->partitions; d++) {
        const struct reading *reading = &pass->peer[d].reading[source];
        if (d == source || !pass->peer[d].member)
            continue;
        if (!reading->done)
            return 0;
        if (cursor_whole(&reading->cursor) < least)
            least = cursor_whole(&reading->cursor);
    }
    return least;
}

static enum error trim_page(struct pass *pass, struct peer *peer, struct head *head)
{
    struct bytes sql = {0};
    head->count = head->gone = 0;
    query_log_head(&sql, TRIM_PAGE);
    enum error error = pass_do(pass, peer, peer->control, &sql, take_head, head);
    bytes_clear(&sql);
    query_guard(&sql, pass->token);
    query_trim(&sql, head->last);
    query_commit(&sql);
    if (!error && head->gone && !pass->options.dry_run)
        error = retry_do(pass, peer, peer->control, &sql);
    if (!error)
        atomic_fetch_add(&pass->counts.trimmed, head->gone);
    bytes_fini(&sql);
    return error;
}

static void trim_log(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = context;
    struct peer *peer = &pass->peer[i];
    uint64_t keep_ms = pass->conf->sync.keep_log;
    (void)hand;
    if (!peer_up(peer) || pass_stopped(pass))
        return;
    uint64_t oldest_ms = peer->mark_ms > keep_ms ? peer->mark_ms - keep_ms : 0;
    struct head head = {.limit = purge_read_by_all(pass, (unsigned)i),
                        .newest = oldest_ms * 1000 << VERSION_PARTITION_BITS};
    if (head.limit == 0)
        return;
    do {
        if (trim_page(pass, peer, &head))
            return;
    } while (head.gone == TRIM_PAGE && !pass->options.dry_run && !pass_stopped(pass));
}

void purge_trim_logs(struct pass *pass)
{
    if (pass_all_up(pass))
        crew_run(pass->crew, pass->partitions, trim_log, pass);
}
