// SPDX-License-Identifier: MIT
#include "sync/move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/query.h"
#include "sync/place.h"

enum {
    SERVER_SECONDS = 30, // a server that told nothing for so long is no more
    WAIT_MS = 10000,     // for servers to take a placement
    REACH_MS = 3000,     // for them to tell that they reach a partition
    LOOK_MS = 100,
    BEGIN_MS = 500, // more than until a server asks for the epoch, and has its answer
};

// ---------------------------------------------------------------- the servers

struct server {
    uint64_t id;
    uint64_t epoch;
    char name[280];                    // host and pid
    bool reaches[CONF_PARTITIONS_MAX]; // as it told last
    bool reached[CONF_PARTITIONS_MAX]; // as it told any partition
};

struct servers {
    struct server *server;
    size_t count;
    size_t cap;
};

static struct server *find_server(struct servers *all, uint64_t id)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->server[i].id == id)
            return &all->server[i];
    if (all->count == all->cap) {
        size_t cap = all->cap ? 2 * all->cap : 8;
        struct server *grown = realloc(all->server, cap * sizeof *grown);
        if (!grown)
            return NULL;
        all->server = grown;
        all->cap = cap;
    }
    all->server[all->count] = (struct server){.id = id};
    return &all->server[all->count++];
}

// take_server takes what a server told one partition: the latest that it told any of them counts.
static enum error take_server(const struct row *row, void *context)
{
    uint64_t id, pid, epoch;
    bool reaches[CONF_PARTITIONS_MAX];
    struct slice host = row_bytes(row, 1);
    if (row_numbers(row, 0, 1, &id) || row_numbers(row, 2, 1, &pid) ||
        row_numbers(row, 3, 1, &epoch) || gone_parse(row_bytes(row, 4), reaches))
        return ERROR_MALFORMED;
    struct server *server = find_server(context, id);
    if (!server)
        return ERROR_MEMORY;
    for (unsigned i = 0; i < CONF_PARTITIONS_MAX; i++)
        server->reached[i] |= reaches[i];
    if (server->name[0] && epoch < server->epoch)
        return ERROR_NONE;
    struct bytes name = {0};
    log_escape(&name, host);
    snprintf(server->name, sizeof server->name, "%.*s, pid %llu",
             (int)(name.len < 255 ? name.len : 255), name.len ? name.data : "",
             (unsigned long long)pid);
    bytes_fini(&name);
    server->epoch = epoch;
    memcpy(server->reaches, reaches, sizeof reaches);
    return ERROR_NONE;
}

// read_servers reads which servers run. False: a partition could not be asked.
static bool read_servers(struct pass *pass, struct servers *all)
{
    struct bytes sql = {0};
    bool well = true;
    all->count = 0;
    query_servers(&sql, SERVER_SECONDS);
    for (unsigned i = 0; i < pass->partitions; i++) {
        struct peer *peer = &pass->peer[i];
        if (peer_up(peer))
            well = !pass_do(pass, peer, peer->control, &sql, take_server, all) && well;
    }
    bytes_fini(&sql);
    return well;
}

// lacks returns the first member that a server cannot reach, 0 if it reaches all.
static unsigned lacks(const struct server *server, const struct members *members)
{
    for (unsigned id = 1; id <= CONF_PARTITIONS_MAX; id++)
        if (members->weight[id - 1] && !server->reaches[id - 1])
            return id;
    return 0;
}

// hinders tells, in `why`, what has to be waited for: a server that does not know the epoch yet, or
// that cannot reach a member.
static bool hinders(const struct servers *all, uint64_t epoch, const struct members *members,
                    char *why, size_t size)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct server *s = &all->server[i];
        unsigned id = lacks(s, members);
        if (id)
            snprintf(why, size, "the server on %s cannot reach partition-%u", s->name, id);
        else if (s->epoch < epoch)
            snprintf(why, size, "the server on %s does not know of epoch %llu yet", s->name,
                     (unsigned long long)epoch);
        else
            continue;
        return true;
    }
    return false;
}

static void rest(int64_t ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

// wait_for_servers waits until all servers work by the epoch and reach the members. One that has
// just begun may not have told of itself yet, but learns of the epoch while this waits.
static bool wait_for_servers(struct pass *pass, uint64_t epoch, const struct members *members)
{
    int64_t deadline = clock_ms() + (epoch ? WAIT_MS : REACH_MS);
    struct servers all = {0};
    char why[400];
    bool known, hindered = false;
    if (epoch)
        rest(BEGIN_MS);
    while ((known = read_servers(pass, &all)) &&
           (hindered = hinders(&all, epoch, members, why, sizeof why)) && clock_ms() < deadline)
        rest(LOOK_MS);
    if (known && hindered)
        pass_trouble(pass, PASS_BUSY, "the placement waits: %s", why);
    free(all.server);
    return known && !hindered;
}

// ---------------------------------------------------------------- what is to be done

static const struct placement *present(const struct pass *pass)
{
    return &pass->layout->placement;
}

// may_want tells of wishes that are none: no member leaves because a file does not name it.
static bool may_want(struct pass *pass)
{
    const struct placement *p = present(pass);
    for (unsigned id = 1; id <= CONF_PARTITIONS_MAX; id++) {
        bool there =
            id <= pass->partitions && conf_partition_exists(&pass->conf->partition[id - 1]);
        if (p->now.weight[id - 1] && !there) {
            pass_trouble(pass, PASS_CONFIG,
                         "partition-%u is a member of the store, but has no server in this file: "
                         "with weight = 0 it leaves, with --forget %u it is given up",
                         id, id);
            return false;
        }
        if (p->gone[id - 1] && pass->wanted.weight[id - 1] && id != pass->options.forget) {
            pass_trouble(pass, PASS_CONFIG,
                         "partition-%u was forgotten: its number is not used again; give the new "
                         "partition another one",
                         id);
            return false;
        }
    }
    return true;
}

// join makes the pass copy to those who will own: the placement is not announced yet.
static void join(struct pass *pass)
{
    const struct placement settled = *present(pass);
    struct placement next = settled;
    next.phase = PLACEMENT_ANNOUNCED;
    next.other = pass->wanted;
    enum error error = place_use(pass, &next);
    if (!error && !pass_all_up(pass))
        pass_trouble(pass, PASS_BUSY, "the placement waits until all its partitions are up");
    else if (!error && wait_for_servers(pass, 0, &pass->wanted))
        pass->mode = PASS_JOIN;
    if (!error && pass->mode != PASS_JOIN)
        error = place_use(pass, &settled);
    if (error)
        pass_trouble(pass, PASS_FAILED, "%s", error_text(error));
}

static bool put_phase(struct pass *pass, enum placement_phase phase)
{
    struct placement next = *present(pass);
    next.epoch = pass->epoch + 1;
    next.phase = phase;
    if (phase == PLACEMENT_MOVING) {
        next.now = present(pass)->other;
        next.other = present(pass)->now;
    } else if (phase != PLACEMENT_ANNOUNCED) {
        memset(&next.other, 0, sizeof next.other);
    }
    if (!place_put(pass, &next))
        return false;
    pass->epoch = next.epoch;
    log_write(LOG_DEBUG, "placement: epoch %llu, %s", (unsigned long long)next.epoch,
              placement_phase_text(phase));
    return true;
}

// take_back takes back what was announced: who was to join has no part in it.
static bool take_back(struct pass *pass)
{
    struct placement placement = *present(pass);
    placement.phase = PLACEMENT_SETTLED;
    memset(&placement.other, 0, sizeof placement.other);
    pass->announced = false;
    if (place_use(pass, &placement)) {
        pass_trouble(pass, PASS_FAILED, "%s", error_text(ERROR_MEMORY));
        return false;
    }
    return put_phase(pass, PLACEMENT_SETTLED);
}

// decide_settled: what the configuration wants may be something else.
static void decide_settled(struct pass *pass)
{
    if (members_equal(&present(pass)->now, &pass->wanted) || pass->options.forget)
        return;
    if (!pass->options.dry_run)
        join(pass);
}

void move_decide(struct pass *pass)
{
    pass->mode = PASS_KEEP;
    pass->epoch = present(pass)->epoch;
    pass->announced = present(pass)->phase == PLACEMENT_ANNOUNCED;
    if (pass->epoch == 0)
        return;
    bool may = pass->options.forget || may_want(pass); // one thing after the other
    switch (present(pass)->phase) {
    case PLACEMENT_SETTLED:
        if (may)
            decide_settled(pass);
        return;
    case PLACEMENT_ANNOUNCED:
        if (!members_equal(&present(pass)->other, &pass->wanted)) {
            if (pass->options.dry_run || !may)
                return;
            if (take_back(pass))
                decide_settled(pass);
            else
                pass->mode = PASS_MOVE; // nothing is removed
        } else {
            pass->mode = PASS_JOIN;
        }
        return;
    case PLACEMENT_MOVING:
        pass->mode = PASS_MOVE;
        return;
    case PLACEMENT_SWEEPING:
        if (pass->options.dry_run || !pass_all_up(pass))
            pass->mode = PASS_MOVE;
        else
            pass->mode =
                wait_for_servers(pass, pass->epoch, &present(pass)->now) ? PASS_SWEEP : PASS_MOVE;
        return;
    }
}

// ---------------------------------------------------------------- the steps

// announce tells of the change, and switches once all servers know of it: from then on they read
// what moves from both sides.
static bool announce_and_switch(struct pass *pass)
{
    const struct members wanted = present(pass)->other;
    if (!pass->announced && !put_phase(pass, PLACEMENT_ANNOUNCED))
        return false;
    return wait_for_servers(pass, pass->epoch, &wanted) && put_phase(pass, PLACEMENT_MOVING);
}

// all_read: every log was read to its end by all others, or they were compared row by row.
static bool all_read(const struct pass *pass)
{
    for (unsigned d = 0; d < pass->partitions; d++)
        for (unsigned s = 0; s < pass->partitions; s++)
            if (d != s && pass->peer[d].member && pass->peer[s].member &&
                !pass->peer[d].reading[s].done)
                return false;
    return true;
}

// end_move remembers what has moved, for sweep_run.
static bool end_move(struct pass *pass)
{
    layout_free(&pass->moved);
    if (layout_new(present(pass), &pass->moved)) {
        pass_trouble(pass, PASS_FAILED, "%s", error_text(ERROR_MEMORY));
        return false;
    }
    return put_phase(pass, PLACEMENT_SWEEPING);
}

bool move_on(struct pass *pass)
{
    bool well = all_read(pass) && !pass->streams_failed && !pass->verify_failed &&
                !pass_stopped(pass) && pass_all_up(pass) && !pass->options.dry_run &&
                atomic_load(&pass->counts.rejected) == 0;
    if (!well)
        return false;
    switch (pass->mode) {
    case PASS_KEEP:
        return false;
    case PASS_JOIN:
        return announce_and_switch(pass);
    case PASS_MOVE:
        return present(pass)->phase == PLACEMENT_MOVING && end_move(pass);
    case PASS_SWEEP:
        put_phase(pass, PLACEMENT_SETTLED);
        return false;
    }
    return false;
}

// ---------------------------------------------------------------- giving a member up

// is_reached: what a server may yet write there would be lost.
static bool is_reached(struct pass *pass, unsigned id)
{
    struct servers all = {0};
    bool reached = !read_servers(pass, &all);
    for (size_t i = 0; i < all.count && !reached; i++) {
        reached = all.server[i].reached[id - 1];
        if (reached)
            pass_trouble(pass, PASS_BUSY,
                         "the server on %s reaches partition-%u: stop it, or stop that partition",
                         all.server[i].name, id);
    }
    free(all.server);
    return reached;
}

static bool may_forget(struct pass *pass, unsigned id)
{
    const struct placement *p = present(pass);
    if (p->epoch == 0 || !placement_has(p, id)) {
        pass_trouble(pass, PASS_CONFIG, "partition-%u is no member of the store", id);
        return false;
    }
    if (id <= pass->partitions && peer_up(&pass->peer[id - 1])) {
        pass_trouble(pass, PASS_CONFIG,
                     "partition-%u answers: with weight = 0 it leaves, and nothing is lost", id);
        return false;
    }
    return !is_reached(pass, id);
}

static void tell_loss(const struct pass *pass, unsigned id)
{
    uint64_t least_ms = UINT64_MAX;
    for (unsigned i = 0; i < pass->partitions; i++) {
        const struct peer *peer = &pass->peer[i];
        if (!peer_up(peer) || i + 1 == id)
            continue;
        uint64_t marked = id <= pass->partitions ? peer->reading[id - 1].cursor.marked : 0;
        least_ms = marked < least_ms ? marked : least_ms;
    }
    time_t seconds = (time_t)(least_ms / 1000);
    struct tm tm;
    char when[32] = "it began";
    if (least_ms && least_ms != UINT64_MAX && gmtime_r(&seconds, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &tm);
    log_write(LOG_WARN,
              "partition-%u is forgotten: what it alone took since %s is lost%s. Its number is not "
              "used again",
              id, when,
              present(pass)->now.replicas == 1 ? ", and all its pairs, for there are no replicas"
                                               : "");
}

bool move_forget(struct pass *pass)
{
    unsigned id = pass->options.forget;
    struct placement next = *present(pass);
    if (!may_forget(pass, id))
        return false;
    if (next.phase != PLACEMENT_MOVING)
        next.other = next.now; // what was announced comes later
    next.now.weight[id - 1] = 0;
    next.gone[id - 1] = true;
    if (!members_any(&next.now)) {
        pass_trouble(pass, PASS_CONFIG, "partition-%u is the only member", id);
        return false;
    }
    next.phase = PLACEMENT_MOVING;
    next.epoch = present(pass)->epoch + 1;
    if (id <= pass->partitions) {
        atomic_store(&pass->peer[id - 1].state, PEER_APART);
        pass->peer[id - 1].member = false;
    }
    if (pass->unknown == id)
        pass->unknown = 0;
    if (!pass_all_up(pass)) {
        pass_trouble(pass, PASS_BUSY, "another partition is away too: nothing was changed");
        return false;
    }
    if (!wait_for_servers(pass, present(pass)->epoch, &next.now))
        return false;
    tell_loss(pass, id);
    return place_put(pass, &next);
}
