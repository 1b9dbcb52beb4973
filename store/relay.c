// SPDX-License-Identifier: MIT
#include "store/relay.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/key.h"
#include "store/slot.h"

enum {
    PLANS_MAX = 3, // of an operation whose looks fail
};

enum relay_state {
    RELAY_READING,
    RELAY_MENDING,
    RELAY_WRITING,
    RELAY_SPREADING,
};

struct relay;

// An operation of the relay's own: a look at one partition, or a row brought to one.
struct child {
    struct operation operation;
    struct relay *relay;
};

// The newest row that was seen.
struct newest {
    bool found;
    bool dead;
    unsigned partition; // that has it
    struct stamp stamp;
    struct bytes value;
    struct bytes type;
};

struct relay {
    struct list link; // in store_relays
    struct store *store;
    struct operation *operation; // the caller's; NULL after its end
    void (*end)(struct operation *operation, const struct outcome *outcome);
    enum relay_state state;
    unsigned slot;
    unsigned home;
    uint64_t epoch;    // under which it began
    unsigned waiting;  // children under way
    unsigned answered; // looks that owners answered
    unsigned majority; // that a quorum needs
    bool home_answered;
    bool denied;           // one that has all that it should has nothing of the key
    uint64_t home_version; // 0 = it has no row
    struct newest newest;
    unsigned missing_count;
    uint16_t *missing;      // [CONF_PARTITIONS_MAX]
    unsigned tries;         // writers
    struct outcome written; // what the writer answered
    size_t key_len;
    char key[KEY_MAX]; // outlives the caller's
    struct child child[];
};

static void free_relay(struct relay *r)
{
    list_remove(&r->link);
    bytes_fini(&r->newest.value);
    bytes_fini(&r->newest.type);
    free(r->missing);
    free(r);
}

void relay_free_all(struct list *relays)
{
    struct list *link;
    while ((link = list_first(relays)))
        free_relay(CONTAINER_OF(link, struct relay, link));
}

static void end_operation(struct relay *r, const struct outcome *outcome)
{
    struct operation *operation = r->operation;
    r->operation = NULL;
    r->end(operation, outcome);
}

static void end_unavailable(struct relay *r, unsigned partition)
{
    const struct outcome outcome = {
        .error = ERROR_UNAVAILABLE, .partition = partition, .retry_after = 1};
    end_operation(r, &outcome);
    free_relay(r);
}

static struct child *new_child(struct relay *r, unsigned i, enum operation_kind kind)
{
    struct child *child = &r->child[i];
    child->relay = r;
    child->operation = (struct operation){.kind = kind, .key = {r->key, r->key_len}};
    r->waiting++;
    return child;
}

static struct relay *relay_of(struct operation *operation)
{
    return CONTAINER_OF(operation, struct child, operation)->relay;
}

// ---------------------------------------------------------------- writing

static void write_next(struct relay *r);

static void on_spread(struct operation *operation, const struct outcome *outcome)
{
    struct relay *r = relay_of(operation);
    if (!outcome->error && outcome->stamp.version >= r->written.stamp.version)
        r->written.acks++;
    if (--r->waiting)
        return;
    end_operation(r, &r->written);
    free_relay(r);
}

// spread brings the row to the next owners that are up. Those that are not get it from sync.
static void spread(struct relay *r)
{
    const struct operation *operation = r->operation;
    unsigned id, left = r->written.acks_wanted - 1, chosen[CONF_PARTITIONS_MAX], count = 0;
    r->state = RELAY_SPREADING;
    for (unsigned skip = 0;
         left && (id = outlook_writer(store_outlook(r->store), r->slot, skip)) != 0; skip++) {
        if (id == r->written.partition)
            continue;
        chosen[count++] = id;
        left--;
    }
    for (unsigned i = 0; i < count; i++) {
        struct child *child = new_child(r, i, OPERATION_APPLY);
        child->operation.value = operation->value;
        child->operation.type = r->written.stamp.tombstone ? SLICE("") : operation->type;
        child->operation.stamp = r->written.stamp;
        child->operation.session.apply = true;
    }
    if (count == 0) {
        end_operation(r, &r->written);
        free_relay(r);
    }
    for (unsigned i = 0; i < count; i++)
        store_send(r->store, chosen[i], &r->child[i].operation, on_spread);
}

// may_write_elsewhere: it was not written, and its partition is not the next writer any more.
static bool may_write_elsewhere(const struct relay *r, const struct outcome *outcome)
{
    unsigned next = outlook_writer(store_outlook(r->store), r->slot, 0);
    return outcome->error == ERROR_UNAVAILABLE && !r->operation->precondition && next &&
           next != outcome->partition && r->tries <= ring_replicas(store_ring(r->store)) &&
           clock_ms() < r->operation->give_up;
}

// begin_again leaves the operation to another relay: who owns its key is another question now.
static void begin_again(struct relay *r)
{
    struct operation *operation = r->operation;
    struct store *store = r->store;
    free_relay(r);
    store_again(store, operation);
}

static void on_written(struct operation *operation, const struct outcome *outcome)
{
    struct relay *r = operation->relay;
    if (outcome->moved) {
        store_ask_placement(r->store, outcome->partition);
        begin_again(r);
        return;
    }
    if (outcome->error == ERROR_UNAVAILABLE && outcome->refusing)
        outlook_refusing(store_outlook(r->store), outcome->partition);
    if (operation->session.divert) // others of this process get to know with the acknowledgement
        outlook_divert(store_outlook(r->store), r->home);
    if (may_write_elsewhere(r, outcome)) {
        write_next(r);
        return;
    }
    r->written = *outcome;
    r->written.acks = 1;
    r->written.acks_wanted = store_write_acks(r->store);
    if (!outcome->error && r->written.acks_wanted > 1) {
        spread(r);
        return;
    }
    end_operation(r, &r->written);
    free_relay(r);
}

// write_next writes to the first owner that takes it; a condition only its home can test.
static void write_next(struct relay *r)
{
    struct operation *operation = r->operation;
    struct outlook *outlook = store_outlook(r->store);
    unsigned writer = outlook_writer(outlook, r->slot, 0);
    r->state = RELAY_WRITING;
    r->tries++;
    if (!writer || (operation->precondition && writer != r->home)) {
        end_unavailable(r, r->home);
        return;
    }
    operation->session = (struct session){.divert = writer != r->home ? r->home : 0,
                                          .raised = !outlook_usual_slot(outlook, r->slot),
                                          .epoch = r->epoch};
    if (operation->session.divert)
        outlook_divert(outlook, r->home);
    operation->relay = r;
    store_send(r->store, writer, operation, on_written);
}

// ---------------------------------------------------------------- mending

static void on_mended(struct operation *operation, const struct outcome *outcome)
{
    struct relay *r = relay_of(operation);
    r->waiting--;
    if (!r->operation) // a read, answered long since
        free_relay(r);
    else if (outcome->error)
        end_unavailable(r, r->home);
    else
        write_next(r);
}

// home_is_behind: it has an older row than the newest, or none; what may have been purged is not
// brought back.
static bool home_is_behind(const struct relay *r)
{
    return r->newest.found && r->home_answered && r->home_version < r->newest.stamp.version;
}

static bool may_mend(const struct relay *r)
{
    return home_is_behind(r) && r->newest.stamp.version >= outlook_floor(store_outlook(r->store));
}

static void mend(struct relay *r)
{
    struct child *child = new_child(r, 0, OPERATION_APPLY);
    r->state = RELAY_MENDING;
    child->operation.value = bytes_slice(&r->newest.value);
    child->operation.type = bytes_slice(&r->newest.type);
    child->operation.stamp = r->newest.stamp;
    child->operation.session.apply = true;
    store_send(r->store, r->home, &child->operation, on_mended);
}

// ---------------------------------------------------------------- reading

static bool is_newer(const struct newest *newest, const struct pair *pair)
{
    return !newest->found || pair->version > newest->stamp.version ||
           (pair->version == newest->stamp.version && pair->dead && !newest->dead);
}

static void take(struct relay *r, unsigned partition, const struct pair *pair)
{
    struct newest *newest = &r->newest;
    if (!is_newer(newest, pair))
        return;
    newest->found = true;
    newest->dead = pair->dead;
    newest->partition = partition;
    newest->stamp = (struct stamp){.version = pair->version,
                                   .created = pair->created,
                                   .expires = pair->expires,
                                   .tombstone = pair->tombstone};
    bytes_clear(&newest->value);
    bytes_clear(&newest->type);
    bytes_append_slice(&newest->value, pair->value);
    bytes_append_slice(&newest->type, pair->type);
}

static void miss(struct relay *r, unsigned partition)
{
    for (unsigned i = 0; i < r->missing_count; i++)
        if (r->missing[i] == partition)
            return;
    r->missing[r->missing_count++] = (uint16_t)partition;
}

// is_purged: the newest row is older than tombstones that are gone, and who should have it has
// nothing. It was deleted.
static bool is_purged(const struct relay *r)
{
    return r->denied && r->newest.found &&
           r->newest.stamp.version < outlook_floor(store_outlook(r->store));
}

static void answer_read(struct relay *r)
{
    const struct newest *newest = &r->newest;
    bool found = newest->found && !newest->dead && !is_purged(r);
    struct outcome outcome = {.error = ERROR_NONE,
                              .partition = newest->found ? newest->partition : r->home,
                              .found = found,
                              .stale = r->missing,
                              .stale_count = r->missing_count};
    if (found)
        outcome.pair = (struct pair){.key = r->operation->key,
                                     .value = bytes_slice(&newest->value),
                                     .type = bytes_slice(&newest->type),
                                     .size = newest->value.len,
                                     .version = newest->stamp.version,
                                     .created = newest->stamp.created,
                                     .expires = newest->stamp.expires,
                                     .whole = true};
    end_operation(r, &outcome);
    if (may_mend(r))
        mend(r);
    else
        free_relay(r);
}

// plan_again begins anew: who failed to answer may be known to be down by now.
static void plan_again(struct relay *r)
{
    struct operation *operation = r->operation;
    struct store *store = r->store;
    void (*end)(struct operation *, const struct outcome *) = r->end;
    free_relay(r);
    relay_start(store, operation, end);
}

// is_outdated: meanwhile somebody else may have begun to own the key.
static bool is_outdated(const struct relay *r)
{
    return r->epoch != store_placement(r->store)->epoch || store_woke(r->store) ||
           outlook_outdated(store_outlook(r->store));
}

static bool misses_who_is_up(const struct relay *r)
{
    for (unsigned i = 0; i < r->missing_count; i++)
        if (outlook_is_up(store_outlook(r->store), r->missing[i]))
            return true;
    return false;
}

static void looked(struct relay *r)
{
    const struct newest *newest = &r->newest;
    if (is_outdated(r)) {
        begin_again(r);
        return;
    }
    bool reads = !operation_writes(r->operation);
    bool enough = r->answered && r->answered >= r->majority;
    bool failed = bytes_failed(&newest->value) || bytes_failed(&newest->type);
    if (!enough && r->operation->plans < PLANS_MAX && clock_ms() < r->operation->give_up)
        plan_again(r);
    else if (failed || !enough)
        end_unavailable(r, r->missing_count ? r->missing[0] : r->home);
    else if (reads)
        answer_read(r);
    else if (misses_who_is_up(r)) // in a moment it will not decide by an older epoch any more
        begin_again(r);
    else if (r->missing_count || !r->home_answered) // who is away may have what the condition is on
        end_unavailable(r, r->missing_count ? r->missing[0] : r->home);
    else if (may_mend(r))
        mend(r);
    else if (home_is_behind(r) && !is_purged(r))
        end_unavailable(r, r->home); // until sync has filled it
    else
        write_next(r);
}

static void on_look(struct operation *operation, const struct outcome *outcome)
{
    struct relay *r = relay_of(operation);
    const struct outlook *outlook = store_outlook(r->store);
    if (outcome->error) {
        miss(r, outcome->partition);
    } else {
        r->answered += outlook_owns(outlook, r->slot, outcome->partition);
        r->denied |= !outcome->found && outlook_knows(outlook, r->slot, outcome->partition);
        r->home_answered = r->home_answered || outcome->partition == r->home;
        if (outcome->found && outcome->partition == r->home)
            r->home_version = outcome->pair.version;
        if (outcome->found)
            take(r, outcome->partition, &outcome->pair);
    }
    if (--r->waiting == 0)
        looked(r);
}

static void read_all(struct relay *r, const struct plan *plan)
{
    r->state = RELAY_READING;
    r->majority = plan->majority;
    for (unsigned i = 0; i < plan->missing_count; i++)
        miss(r, plan->missing[i]);
    for (unsigned i = 0; i < plan->count; i++)
        new_child(r, i, OPERATION_LOOK);
    for (unsigned i = 0; i < plan->count; i++)
        store_send(r->store, plan->ask[i], &r->child[i].operation, on_look);
}

// ---------------------------------------------------------------- beginning

// needs_look: what a read answers, and what a condition is tested on, may be on other partitions.
static bool needs_look(const struct relay *r)
{
    const struct operation *operation = r->operation;
    return !operation_writes(operation) ||
           (operation->precondition && !outlook_usual_slot(store_outlook(r->store), r->slot));
}

static struct relay *new_relay(struct store *store, struct operation *operation, unsigned children)
{
    struct relay *r = calloc(1, sizeof *r + sizeof r->child[0] * children);
    uint16_t *missing = calloc(CONF_PARTITIONS_MAX, sizeof *missing);
    if (!r || !missing) {
        free(r);
        free(missing);
        return NULL;
    }
    r->store = store;
    r->operation = operation;
    r->missing = missing;
    r->slot = slot_of(operation->key);
    r->home = ring_home(store_ring(store), r->slot);
    r->epoch = store_placement(store)->epoch;
    r->key_len = operation->key.len;
    memcpy(r->key, operation->key.data, operation->key.len);
    list_append(store_relays(store), &r->link);
    return r;
}

void relay_start(struct store *store, struct operation *operation,
                 void (*end)(struct operation *operation, const struct outcome *outcome))
{
    struct plan plan;
    unsigned slot = slot_of(operation->key), acks = store_write_acks(store);
    unsigned home = ring_home(store_ring(store), slot);
    outlook_plan(store_outlook(store), slot,
                 operation_writes(operation) ? PLAN_CONDITION
                 : operation->quorum         ? PLAN_QUORUM
                                             : PLAN_READ,
                 &plan);
    struct relay *r = new_relay(store, operation, plan.count > acks ? plan.count : acks);
    bool writable = outlook_writer(store_outlook(store), slot, 0) != 0;
    bool possible = r && (operation_writes(operation) ? writable : plan.count > 0);
    if (possible && operation->precondition)
        possible = outlook_writer(store_outlook(store), slot, 0) == home;
    if (!possible) {
        if (r)
            free_relay(r);
        operation->on_done = end;
        store_refuse(store, operation, home);
        return;
    }
    r->end = end;
    operation->plans++;
    if (needs_look(r))
        read_all(r, &plan);
    else
        write_next(r);
}
