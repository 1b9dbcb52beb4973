// SPDX-License-Identifier: MIT
#include "sync/materialise.h"

#include "store/query.h"
#include "sync/retry.h"

static enum error take_two(const struct row *row, void *context)
{
    return row_numbers(row, 0, 2, context);
}

static enum error take_one(const struct row *row, void *context)
{
    return row_numbers(row, 0, 1, context);
}

// make_page materialises a page; *seen is how many rows it held.
static enum error make_page(struct pass *pass, struct peer *peer, struct channel *channel,
                            uint64_t *seen)
{
    struct bytes sql = {0};
    uint64_t n[2] = {0};
    query_materialise(&sql, pass->token);
    enum error error = retry_do(pass, peer, channel, &sql);
    bytes_clear(&sql);
    query_materialised(&sql);
    if (!error)
        error = pass_do(pass, peer, channel, &sql, take_two, n);
    bytes_fini(&sql);
    atomic_fetch_add(&pass->counts.tombstones, n[1]);
    *seen = n[0];
    return error;
}

enum error materialise(struct pass *pass, struct peer *peer, struct channel *channel)
{
    enum error error = ERROR_NONE;
    uint64_t seen = 1;
    while (!error && seen && !pass_stopped(pass))
        error = make_page(pass, peer, channel, &seen);
    return error;
}

enum error materialise_needed(struct pass *pass, struct peer *peer, struct channel *channel,
                              const struct slice *keys, size_t count, bool *needed)
{
    struct bytes sql = {0};
    uint64_t n = 0;
    query_removed(&sql, keys, count);
    enum error error = pass_do(pass, peer, channel, &sql, take_one, &n);
    bytes_fini(&sql);
    *needed = n > 0;
    return error;
}

static void materialise_peer(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = context;
    struct peer *peer = &pass->peer[i];
    struct bytes sql = {0};
    uint64_t n = 0;
    (void)hand;
    if (!peer_up(peer) || pass_stopped(pass))
        return;
    query_removed_any(&sql);
    enum error error = pass_do(pass, peer, peer->control, &sql, take_one, &n);
    bytes_fini(&sql);
    if (!error && n && pass->options.dry_run)
        atomic_fetch_add(&pass->counts.tombstones, n);
    else if (!error && n && materialise(pass, peer, peer->control))
        atomic_store(&pass->streams_failed, true);
}

void materialise_all(struct pass *pass)
{
    crew_run(pass->crew, pass->partitions, materialise_peer, pass);
}
