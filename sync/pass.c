// SPDX-License-Identifier: MIT
#include "sync/pass.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/batch.h"
#include "store/query.h"
#include "sync/crew.h"
#include "sync/fill.h"
#include "sync/keeper.h"
#include "sync/move.h"
#include "sync/peer.h"
#include "sync/place.h"
#include "sync/plan.h"
#include "sync/progress.h"
#include "sync/purge.h"
#include "sync/settle.h"
#include "sync/stream.h"
#include "sync/sweep.h"
#include "sync/verify.h"

// ---------------------------------------------------------------- trouble

static int weight_of(int code)
{
    switch (code) {
    case PASS_CONFIG:
        return 3;
    case PASS_FAILED:
        return 2;
    case PASS_BUSY:
        return 1;
    default:
        return 0;
    }
}

void pass_trouble(struct pass *pass, enum pass_exit code, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    int old = atomic_load(&pass->exit_code);
    while (weight_of(old) < weight_of((int)code) &&
           !atomic_compare_exchange_weak(&pass->exit_code, &old, (int)code))
        ;
    progress_hide(pass);
    log_write(LOG_ERROR, "%s", text);
}

static void lost(struct pass *pass, struct peer *peer, const char *why)
{
    enum peer_state up = PEER_UP;
    if (atomic_compare_exchange_strong(&peer->state, &up, PEER_AWAY))
        pass_trouble(pass, PASS_BUSY, "partition-%u went away: %s", peer->conf->id, why);
}

enum error pass_ask(struct pass *pass, struct peer *peer, struct channel *channel,
                    const struct bytes *sql, channel_on_row *on_row, void *context)
{
    enum error error = channel_query(channel, sql, on_row, context);
    if (error == ERROR_OUTCOME) {
        lost(pass, peer, channel_text(channel));
    } else if (error == ERROR_REJECTED && channel_code(channel) == CHANNEL_FENCED) {
        if (!atomic_exchange(&pass->fenced, true))
            pass_trouble(pass, PASS_BUSY, "partition-%u: a newer sync took over", peer->conf->id);
    }
    return error;
}

// may_pass tells whether a later pass may have more luck.
static bool may_pass(unsigned code)
{
    switch (code) {
    case CHANNEL_CHECKREAD:
    case CHANNEL_DEADLOCK:
    case CHANNEL_LOCK_WAIT:
    case 1021: // disk full
    case 1030: // error from the storage engine
    case 1053: // shutdown in progress
    case 1114: // the table is full
    case 1290: // --read-only
    case 1317: // interrupted
    case 1836: // read-only mode
    case 1927: // connection killed
    case 1969: // max_statement_time
        return true;
    default:
        return false;
    }
}

void pass_refused(struct pass *pass, struct peer *peer, struct channel *channel)
{
    if (!pass_stopped(pass))
        pass_trouble(pass, may_pass(channel_code(channel)) ? PASS_BUSY : PASS_FAILED,
                     "partition-%u: %s", peer->conf->id, channel_text(channel));
}

enum error pass_do(struct pass *pass, struct peer *peer, struct channel *channel,
                   const struct bytes *sql, channel_on_row *on_row, void *context)
{
    enum error error = pass_ask(pass, peer, channel, sql, on_row, context);
    if (error == ERROR_REJECTED && channel_code(channel))
        pass_refused(pass, peer, channel);
    else if (error == ERROR_MALFORMED || error == ERROR_MEMORY)
        pass_trouble(pass, PASS_FAILED, "partition-%u: %s", peer->conf->id, error_text(error));
    return error;
}

// ---------------------------------------------------------------- the whole

bool pass_all_up(const struct pass *pass)
{
    for (unsigned i = 0; i < pass->partitions; i++)
        if (pass->peer[i].member && !peer_up(&pass->peer[i]))
            return false;
    return pass->unknown == 0;
}

bool pass_owns(const struct pass *pass, unsigned slot, unsigned id)
{
    return ring_owns(pass->ring, slot, id) ||
           (pass->mode == PASS_JOIN && ring_owns(pass->layout->other, slot, id));
}

bool pass_has(const struct pass *pass, unsigned slot, unsigned id)
{
    return pass_owns(pass, slot, id) || (pass->mode == PASS_MOVE && pass->layout->other &&
                                         ring_owns(pass->layout->other, slot, id));
}

bool pass_knows(const struct pass *pass, unsigned slot, const struct peer *peer)
{
    return peer->trusted &&
           ring_owns(pass->layout ? layout_whole(pass->layout) : pass->ring, slot, peer->conf->id);
}

const char *peer_state_text(enum peer_state state)
{
    static const char *const texts[] = {"up", "away", "clock", "wrong", "apart"};
    return texts[state];
}

static enum error init_peers(struct pass *pass)
{
    pass->peer = calloc(pass->partitions, sizeof *pass->peer);
    if (!pass->peer)
        return ERROR_MEMORY;
    for (unsigned i = 0; i < pass->partitions; i++)
        pass->peer[i].conf = &pass->conf->partition[i]; // the report reads all of them
    for (unsigned i = 0; i < pass->partitions; i++) {
        pass->peer[i].reading = calloc(pass->partitions, sizeof *pass->peer[i].reading);
        if (!pass->peer[i].reading)
            return ERROR_MEMORY;
    }
    return ERROR_NONE;
}

static enum error init(struct pass *pass, const struct conf *conf,
                       const struct pass_options *options)
{
    uint64_t largest = conf->server.max_value > BATCH_BYTES ? conf->server.max_value : BATCH_BYTES;
    *pass = (struct pass){.conf = conf,
                          .options = *options,
                          .partitions = conf->store.partitions,
                          .max_packet_needed = 2 * largest + 256 * 1024,
                          .started_us = clock_us()};
    members_of_conf(conf, &pass->wanted);
    throttle_init(&pass->throttle, conf->sync.rows_per_second, conf->sync.bytes_per_second);
    while (pass->token == 0) {
        randombytes_buf(&pass->token, sizeof pass->token);
        pass->token >>= 2;
    }
    enum error error = init_peers(pass);
    return error ? error : crew_new(pass, conf->sync.threads, &pass->crew);
}

// make_equal makes the partitions equal. The order matters: what SQL wrote gets its log entries
// before the mark, nothing is counted as delivered that could have come after the mark, and nothing
// is purged that was not delivered.
static void make_equal(struct pass *pass)
{
    peers_judge(pass);
    settle_all(pass);
    peers_mark(pass);
    peers_doubt(pass);
    peers_number(pass);
    peers_settle(pass);
    if (pass->options.dry_run)
        streams_measure(pass);
    streams_run(pass);
    purge_raise_floor(pass);
    purge_rows(pass);
    fill_blank(pass);
    sweep_run(pass);
    verify_run(pass);
    peers_seeded(pass);
    peers_clear_diverts(pass);
    peers_number_again(pass);
}

static bool begin(struct pass *pass)
{
    peers_connect(pass);
    if (!peers_lock(pass))
        return false;
    if (keeper_start(pass, &pass->keeper)) {
        pass_trouble(pass, PASS_FAILED, "%s", error_text(ERROR_MEMORY));
        return false;
    }
    if (!place_read(pass))
        return false;
    peers_begin(pass);
    // What an earlier sync has sent is carried out by now, or never will be.
    if (!pass->options.dry_run && !place_read(pass))
        return false;
    place_catch_up(pass);
    return !pass->options.forget || move_forget(pass);
}

// plan needs no lock: it may be asked for while a pass moves what it tells of.
static void plan(struct pass *pass)
{
    peers_connect(pass);
    if (!place_read(pass))
        return;
    pass->epoch = pass->layout->placement.epoch;
    plan_measure(pass);
}

static void run(struct pass *pass)
{
    if (!begin(pass))
        return;
    do {
        move_decide(pass);
        peers_begin(pass); // also with those who join
        make_equal(pass);
    } while (move_on(pass));
    purge_trim_logs(pass);
    if (!pass->options.dry_run)
        streams_measure(pass);
    if ((pass->streams_failed || pass->verify_failed) && !atomic_load(&pass->exit_code))
        pass_trouble(pass, PASS_FAILED, "something could not be done");
}

enum pass_exit pass_run(struct pass *pass, const struct conf *conf,
                        const struct pass_options *options)
{
    if (init(pass, conf, options))
        pass_trouble(pass, PASS_FAILED, "%s", error_text(ERROR_MEMORY));
    else if (options->plan)
        plan(pass);
    else
        run(pass);
    progress_hide(pass);
    return (enum pass_exit)atomic_load(&pass->exit_code);
}

static void fini_peer(struct pass *pass, struct peer *peer)
{
    channel_free(&peer->control);
    bytes_fini(&peer->verified);
    for (unsigned i = 0; peer->reading && i < pass->partitions; i++)
        cursor_fini(&peer->reading[i].cursor);
    free(peer->reading);
    free(peer->divert);
}

void pass_fini(struct pass *pass)
{
    keeper_stop(&pass->keeper);
    crew_free(&pass->crew);
    for (unsigned i = 0; pass->peer && i < pass->partitions; i++)
        fini_peer(pass, &pass->peer[i]);
    free(pass->peer);
    pass->peer = NULL;
    layout_free(&pass->layout);
    layout_free(&pass->moved);
    throttle_fini(&pass->throttle);
}
