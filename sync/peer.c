// SPDX-License-Identifier: MIT
#include "sync/peer.h"

#include <stdlib.h>

#include "base/clock.h"
#include "store/query.h"
#include "store/version.h"

enum {
    SETTLE_MS = 5000, // a gap that is older is filled
    FILL_MAX = 4000,  // numbers in one statement
    HALVES_MAX = 100, // statements spent on finding what is locked in a partition's gaps
};

// ---------------------------------------------------------------- working on all of them

struct errand {
    struct pass *pass;
    void (*run)(struct pass *pass, struct peer *peer);
};

static void run_errand(struct hand *hand, size_t i, void *context)
{
    struct errand *errand = context;
    struct peer *peer = &errand->pass->peer[i];
    (void)hand;
    if (peer_up(peer) && !pass_stopped(errand->pass))
        errand->run(errand->pass, peer);
}

static void all_peers(struct pass *pass, void (*run)(struct pass *pass, struct peer *peer))
{
    struct errand errand = {.pass = pass, .run = run};
    crew_run(pass->crew, pass->partitions, run_errand, &errand);
}

// ---------------------------------------------------------------- reaching them

static void connect_peer(struct pass *pass, struct peer *peer)
{
    struct bytes why = {0};
    if (!conf_partition_exists(peer->conf)) {
        atomic_store(&peer->state, PEER_APART);
        return;
    }
    enum error error =
        channel_open(peer->conf, pass->max_packet_needed, CHANNEL_KEPT_S, &peer->control, &why);
    if (error) {
        bool wrong = error == ERROR_MISCONFIGURED;
        atomic_store(&peer->state, wrong ? PEER_WRONG : PEER_AWAY);
        pass_trouble(pass, wrong ? PASS_CONFIG : PASS_BUSY, "partition-%u: %.*s", peer->conf->id,
                     (int)why.len, why.len ? why.data : "");
    }
    bytes_fini(&why);
}

void peers_connect(struct pass *pass)
{
    all_peers(pass, connect_peer);
}

static enum error take_number(const struct row *row, void *context)
{
    return row_numbers(row, 0, 1, context);
}

bool peers_lock(struct pass *pass)
{
    for (unsigned i = 0; i < pass->partitions; i++) {
        struct peer *peer = &pass->peer[i];
        struct bytes sql = {0};
        uint64_t taken = 0;
        if (!peer_up(peer))
            continue;
        query_sync_lock(&sql, peer->conf->database);
        enum error error = pass_do(pass, peer, peer->control, &sql, take_number, &taken);
        bytes_fini(&sql);
        if (!error && !taken) {
            pass_trouble(pass, PASS_BUSY, "partition-%u: another sync is running", peer->conf->id);
            return false;
        }
    }
    return true;
}

static void own_peer(struct pass *pass, struct peer *peer)
{
    struct bytes sql = {0};
    query_own(&sql, peer->conf->id, pass->token);
    if (pass_ask(pass, peer, peer->control, &sql, NULL, NULL) && peer_up(peer)) {
        // Read-only, or without the right to write.
        bool wrong = check_code_is_final(channel_code(peer->control));
        atomic_store(&peer->state, wrong ? PEER_WRONG : PEER_AWAY);
        pass_trouble(pass, wrong ? PASS_CONFIG : PASS_BUSY, "partition-%u: %s", peer->conf->id,
                     channel_text(peer->control));
    }
    bytes_fini(&sql);
}

// ---------------------------------------------------------------- what they know

static enum error take_itself(const struct row *row, void *context)
{
    struct peer *peer = context;
    uint64_t n[7];
    enum error error = row_numbers(row, 0, 7, n);
    if (error)
        return error;
    peer->present = n[0] != 0;
    peer->id = (unsigned)n[1];
    peer->seeded = n[2] != 0;
    peer->ring = (uint32_t)n[3];
    peer->pass = n[4];
    peer->floor = n[5];
    peer->offset_us = (int64_t)n[6];
    bytes_clear(&peer->verified);
    bytes_append_slice(&peer->verified, row_bytes(row, 7));
    return bytes_failed(&peer->verified) ? ERROR_MEMORY : ERROR_NONE;
}

struct taking {
    struct pass *pass;
    struct peer *peer;
};

static enum error take_cursor(const struct row *row, void *context)
{
    struct taking *t = context;
    uint64_t n[5];
    if (row_numbers(row, 0, 5, n))
        return ERROR_MALFORMED;
    if (n[0] < 1 || n[0] > t->pass->partitions) // a partition that is no more
        return ERROR_NONE;
    struct reading *reading = &t->peer->reading[n[0] - 1];
    struct cursor *c = &reading->cursor;
    c->pass = n[1];
    c->high = n[2];
    c->marked = n[3];
    c->frontier = n[4];
    reading->present = true;
    return cursor_parse(c, row_bytes(row, 5));
}

static enum error take_divert(const struct row *row, void *context)
{
    struct peer *peer = context;
    uint64_t n[3];
    if (row_numbers(row, 0, 3, n))
        return ERROR_MALFORMED;
    if (peer->diverts == peer->diverts_cap) {
        size_t cap = peer->diverts_cap ? 2 * peer->diverts_cap : 16;
        struct divert *grown = realloc(peer->divert, cap * sizeof *grown);
        if (!grown)
            return ERROR_MEMORY;
        peer->divert = grown;
        peer->diverts_cap = cap;
    }
    peer->divert[peer->diverts++] = (struct divert){n[0], n[1], n[2]};
    return ERROR_NONE;
}

static enum error read_itself(struct pass *pass, struct peer *peer, struct bytes *sql)
{
    query_itself(sql);
    int64_t sent = clock_unix_us();
    enum error error = pass_do(pass, peer, peer->control, sql, take_itself, peer);
    peer->offset_us -= (sent + clock_unix_us()) / 2;
    return error;
}

// forget_read forgets what an earlier round read.
static void forget_read(struct pass *pass, struct peer *peer)
{
    peer->diverts = 0;
    for (unsigned i = 0; i < pass->partitions; i++) {
        cursor_fini(&peer->reading[i].cursor);
        peer->reading[i] = (struct reading){0};
    }
}

static void read_peer(struct pass *pass, struct peer *peer)
{
    forget_read(pass, peer);
    struct bytes sql = {0};
    struct taking taking = {pass, peer};
    enum error error = read_itself(pass, peer, &sql);
    bytes_clear(&sql);
    query_cursors(&sql);
    if (!error)
        error = pass_do(pass, peer, peer->control, &sql, take_cursor, &taking);
    bytes_clear(&sql);
    query_diverts(&sql);
    if (!error)
        error = pass_do(pass, peer, peer->control, &sql, take_divert, peer);
    if (error && peer_up(peer))
        atomic_store(&peer->state, PEER_WRONG);
    bytes_fini(&sql);
}

// ---------------------------------------------------------------- whom to trust

static int compare_offsets(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void peers_judge_clocks(struct pass *pass)
{
    int64_t offset[CONF_PARTITIONS_MAX + 1] = {0}; // the first is ours
    size_t count = 1;
    for (unsigned i = 0; i < pass->partitions; i++)
        if (peer_up(&pass->peer[i]))
            offset[count++] = pass->peer[i].offset_us;
    qsort(offset, count, sizeof *offset, compare_offsets);
    int64_t median = offset[count / 2];
    for (unsigned i = 0; i < pass->partitions; i++) {
        struct peer *peer = &pass->peer[i];
        int64_t off = peer->offset_us - median;
        if (!peer_up(peer) || (off <= PASS_CLOCK_BOUND_US && off >= -PASS_CLOCK_BOUND_US))
            continue;
        atomic_store(&peer->state, PEER_CLOCK);
        pass_trouble(pass, PASS_BUSY, "partition-%u: its clock is %.1f s %s the others'",
                     peer->conf->id, (double)(off < 0 ? -off : off) / 1e6,
                     off < 0 ? "behind" : "ahead of");
    }
}

void peers_begin(struct pass *pass)
{
    if (!pass->options.dry_run)
        all_peers(pass, own_peer);
    all_peers(pass, read_peer);
    peers_judge_clocks(pass);
}

// remembered tells how far on the other partitions remember `peer` to have been.
static void remembered(const struct pass *pass, const struct peer *peer, uint64_t *last_pass,
                       uint64_t *floor)
{
    *last_pass = *floor = 0;
    for (unsigned i = 0; i < pass->partitions; i++) {
        const struct peer *other = &pass->peer[i];
        if (other == peer || !peer_up(other))
            continue;
        const struct reading *reading = &other->reading[peer->conf->id - 1];
        if (reading->present && reading->cursor.pass > *last_pass)
            *last_pass = reading->cursor.pass;
        if (other->floor > *floor)
            *floor = other->floor;
    }
}

// fingerprint_of is that of the slots a partition is to have when the round has ended.
static uint32_t fingerprint_of(const struct pass *pass, const struct peer *peer)
{
    unsigned id = peer->conf->id;
    bool joins = pass->mode == PASS_JOIN && !pass->layout->placement.now.weight[id - 1];
    return ring_fingerprint(joins ? pass->layout->other : pass->ring, id);
}

// has_its_slots: it was filled with what it owns, or owned before they moved. Who joins is compared
// with the others row by row: nobody knows what it was before.
static bool has_its_slots(const struct pass *pass, const struct peer *peer)
{
    unsigned id = peer->conf->id;
    if (!pass->layout)
        return peer->ring == ring_fingerprint(pass->ring, id);
    const struct layout *l = pass->layout;
    if (pass->mode == PASS_JOIN && !l->placement.now.weight[id - 1])
        return false;
    return peer->ring == l->fingerprint[id - 1] || (l->before && peer->ring == l->before[id - 1]);
}

static bool trustworthy(const struct pass *pass, const struct peer *peer)
{
    uint64_t last_pass, floor;
    remembered(pass, peer, &last_pass, &floor);
    return peer->present && peer->id == peer->conf->id && peer->seeded && peer->pass >= last_pass &&
           peer->floor >= floor && has_its_slots(pass, peer);
}

void peers_judge(struct pass *pass)
{
    for (unsigned i = 0; i < pass->partitions; i++) {
        struct peer *peer = &pass->peer[i];
        peer->trusted = peer_up(peer) && trustworthy(pass, peer);
    }
}

static void doubt_peer(struct pass *pass, struct peer *peer)
{
    struct bytes sql = {0};
    uint64_t last_pass, floor;
    bool stranger = peer->present && peer->id != peer->conf->id;
    bool cursors = false;
    for (unsigned i = 0; i < pass->partitions; i++)
        cursors |= peer->reading[i].present;
    remembered(pass, peer, &last_pass, &floor);
    if (peer->trusted || (!peer->seeded && !stranger && !cursors && peer->floor >= floor))
        return;
    query_guard(&sql, pass->token);
    if (stranger)
        query_set_id(&sql, peer->conf->id);
    query_set_doubted(&sql, floor);
    query_commit(&sql);
    if (!pass->options.dry_run &&
        pass_do(pass, peer, peer->control, &sql, NULL, NULL) == ERROR_NONE && floor > peer->floor)
        peer->floor = floor;
    bytes_fini(&sql);
    if (stranger)
        peer->pass = 0;
}

void peers_doubt(struct pass *pass)
{
    all_peers(pass, doubt_peer);
}

// ---------------------------------------------------------------- number and marks

static void number_peer(struct pass *pass, struct peer *peer)
{
    struct bytes sql = {0};
    if (!peer->trusted)
        return;
    query_guard(&sql, pass->token);
    query_set_pass(&sql, pass->number);
    query_commit(&sql);
    // Not told of it, it must not be remembered for it either.
    if (pass_do(pass, peer, peer->control, &sql, NULL, NULL) && peer_up(peer))
        atomic_store(&peer->state, PEER_AWAY);
    bytes_fini(&sql);
}

void peers_number(struct pass *pass)
{
    uint64_t number = (uint64_t)clock_unix_us() / 1000;
    for (unsigned i = 0; i < pass->partitions; i++) {
        const struct peer *peer = &pass->peer[i];
        if (peer->pass >= number)
            number = peer->pass + 1;
        for (unsigned s = 0; s < pass->partitions; s++)
            if (peer->reading[s].cursor.pass >= number)
                number = peer->reading[s].cursor.pass + 1;
    }
    pass->number = number;
    if (!pass->options.dry_run)
        all_peers(pass, number_peer);
}

static void remember_others(struct pass *pass, struct peer *peer)
{
    struct bytes sql = {0};
    query_guard(&sql, pass->token);
    for (unsigned i = 0; i < pass->partitions; i++) {
        const struct peer *source = &pass->peer[i];
        if (source != peer && source->trusted && peer_up(source))
            query_set_cursor_pass(&sql, source->conf->id, pass->number);
    }
    query_commit(&sql);
    if (pass_do(pass, peer, peer->control, &sql, NULL, NULL) && peer_up(peer))
        atomic_store(&peer->state, PEER_AWAY);
    bytes_fini(&sql);
}

void peers_number_again(struct pass *pass)
{
    if (pass->options.dry_run || pass->partitions == 1)
        return;
    pass->number++;
    all_peers(pass, number_peer);
    all_peers(pass, remember_others);
}

static enum error take_mark(const struct row *row, void *context)
{
    struct peer *peer = context;
    uint64_t n[2];
    enum error error = row_numbers(row, 0, 2, n);
    peer->mark = n[0];
    peer->mark_ms = n[1];
    return error;
}

// went_back tells whether others have read more of the log than there is.
static bool went_back(const struct pass *pass, const struct peer *peer)
{
    for (unsigned i = 0; i < pass->partitions; i++) {
        const struct peer *other = &pass->peer[i];
        const struct reading *reading = &other->reading[peer->conf->id - 1];
        uint64_t high = reading->present ? reading->cursor.high : 0;
        if (other != peer && peer_up(other) &&
            (pass->options.dry_run ? peer->mark && peer->mark < high : peer->mark <= high && high))
            return true;
    }
    return false;
}

static void mark_peer(struct pass *pass, struct peer *peer)
{
    struct bytes sql = {0};
    if (pass->options.dry_run)
        query_last(&sql);
    else
        query_mark(&sql, pass->token);
    peer->mark_ms = 0;
    enum error error = pass_do(pass, peer, peer->control, &sql, take_mark, peer);
    if (!error && !peer->mark_ms) { // no row
        if (!atomic_exchange(&pass->fenced, true))
            pass_trouble(pass, PASS_BUSY, "partition-%u: a newer sync took over", peer->conf->id);
    } else if (error && peer_up(peer)) {
        atomic_store(&peer->state, PEER_AWAY);
    }
    bytes_fini(&sql);
}

void peers_mark(struct pass *pass)
{
    all_peers(pass, mark_peer);
    for (unsigned i = 0; i < pass->partitions; i++)
        if (went_back(pass, &pass->peer[i]))
            pass->peer[i].trusted = false;
}

// ---------------------------------------------------------------- gaps

// fill_range fills from..to; what is locked is halved until it stands alone, `halves` times at
// most, so that it does not keep the rest of the range open.
static void fill_range(struct pass *pass, struct peer *peer, uint64_t from, uint64_t to,
                       unsigned *halves)
{
    struct bytes sql = {0};
    query_guard(&sql, pass->token);
    query_fill(&sql, from, to);
    query_commit(&sql);
    enum error error = pass_ask(pass, peer, peer->control, &sql, NULL, NULL);
    bytes_fini(&sql);
    if (error != ERROR_REJECTED || from == to || *halves == 0 || pass_stopped(pass))
        return;
    --*halves;
    fill_range(pass, peer, from, from + (to - from) / 2, halves);
    fill_range(pass, peer, from + (to - from) / 2 + 1, to, halves);
}

// settle_gap fills piece by piece; where a transaction is under way it stays for the next pass.
static void settle_gap(struct pass *pass, struct peer *peer, const struct gap *gap,
                       unsigned *halves)
{
    for (uint64_t from = gap->from; from <= gap->to && peer_up(peer) && !pass_stopped(pass);) {
        uint64_t to = gap->to - from < FILL_MAX ? gap->to : from + FILL_MAX - 1;
        fill_range(pass, peer, from, to, halves);
        if (to == UINT64_MAX)
            return;
        from = to + 1;
    }
}

static void settle_peer(struct pass *pass, struct peer *peer)
{
    unsigned halves = HALVES_MAX;
    for (unsigned d = 0; d < pass->partitions; d++) {
        const struct reading *reading = &pass->peer[d].reading[peer->conf->id - 1];
        if (!reading->present || !peer->trusted || !pass->peer[d].trusted)
            continue;
        for (size_t i = 0; i < reading->cursor.count; i++)
            if (reading->cursor.gap[i].seen + SETTLE_MS < peer->mark_ms)
                settle_gap(pass, peer, &reading->cursor.gap[i], &halves);
    }
}

void peers_settle(struct pass *pass)
{
    if (!pass->options.dry_run)
        all_peers(pass, settle_peer);
}

// ---------------------------------------------------------------- the end

void peer_put_cursor(const struct pass *pass, const struct cursor *cursor, unsigned source,
                     struct bytes *sql)
{
    struct bytes gaps = {0};
    cursor_format(cursor, &gaps);
    const struct query_cursor q = {.source = source,
                                   .pass = pass->number,
                                   .high = cursor->high,
                                   .gaps = bytes_slice(&gaps),
                                   .marked = cursor->marked,
                                   .frontier = cursor->frontier};
    query_set_cursor(sql, &q);
    if (bytes_failed(&gaps))
        sql->failed = true;
    bytes_fini(&gaps);
}

static void tell_seeded(struct pass *pass, struct peer *peer)
{
    struct bytes sql = {0};
    uint32_t ring = fingerprint_of(pass, peer);
    if (peer->trusted && peer->ring == ring)
        return;
    query_guard(&sql, pass->token);
    query_set_seeded(&sql, pass->number, ring, pass->floor);
    query_commit(&sql);
    if (pass_do(pass, peer, peer->control, &sql, NULL, NULL))
        atomic_store(&pass->verify_failed, true);
    else
        peer->seeded = true;
    bytes_fini(&sql);
}

static void store_cursors(struct pass *pass, struct peer *peer)
{
    struct bytes sql = {0};
    unsigned stored = 0;
    query_guard(&sql, pass->token);
    for (unsigned s = 0; s < pass->partitions; s++) {
        struct reading *reading = &peer->reading[s];
        const struct peer *source = &pass->peer[s];
        if (source == peer || !peer_up(source) || (peer->trusted && source->trusted))
            continue;
        peer_put_cursor(pass, &reading->cursor, s + 1, &sql);
        stored++;
    }
    query_commit(&sql);
    bool failed = stored && pass_do(pass, peer, peer->control, &sql, NULL, NULL);
    for (unsigned s = 0; s < pass->partitions; s++)
        peer->reading[s].done |= !failed;
    if (failed)
        atomic_store(&pass->verify_failed, true);
    bytes_fini(&sql);
}

void peers_seeded(struct pass *pass)
{
    if (pass->options.dry_run || !pass_all_up(pass) || pass->verify_failed || pass->streams_failed)
        return;
    all_peers(pass, tell_seeded);
    if (!pass->verify_failed)
        all_peers(pass, store_cursors);
}

// ---------------------------------------------------------------- diverts

// delivered tells whether what `peer` took for `target` is there now. A target that is no partition
// any more: everybody has it.
static bool delivered(const struct pass *pass, const struct peer *peer, uint64_t target)
{
    bool one = target >= 1 && target <= pass->partitions && pass->peer[target - 1].member &&
               pass->mode == PASS_KEEP;
    if (target > pass->partitions && target <= CONF_PARTITIONS_MAX &&
        placement_has(&pass->layout->placement, (unsigned)target))
        return false; // a member that the configuration has no section for
    for (unsigned i = 0; i < pass->partitions; i++) {
        const struct peer *other = &pass->peer[i];
        if (other == peer || !other->member || (one && target != i + 1))
            continue;
        if (!peer_up(other) || !other->reading[peer->conf->id - 1].done)
            return false;
    }
    return true;
}

static void clear_diverts(struct pass *pass, struct peer *peer)
{
    struct bytes sql = {0};
    size_t cleared = 0;
    query_guard(&sql, pass->token);
    for (size_t i = 0; i < peer->diverts; i++) {
        const struct divert *d = &peer->divert[i];
        if (!delivered(pass, peer, d->target))
            continue;
        query_clear_divert(&sql, d->target, d->writer, d->version);
        cleared++;
    }
    query_commit(&sql);
    if (cleared && pass_do(pass, peer, peer->control, &sql, NULL, NULL) && peer_up(peer))
        pass_trouble(pass, PASS_FAILED, "partition-%u: diverts stay", peer->conf->id);
    bytes_fini(&sql);
}

void peers_clear_diverts(struct pass *pass)
{
    // What moves has been compared, not followed.
    if (!pass->options.dry_run && (pass->mode == PASS_KEEP || !pass->verify_failed))
        all_peers(pass, clear_diverts);
}
