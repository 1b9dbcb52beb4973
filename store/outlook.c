// SPDX-License-Identifier: MIT
#include "store/outlook.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/session.h"
#include "store/version.h"

enum {
    UNKNOWN_CLOCK_US = 1000000, // how far ahead a clock is thought to be that was never heard
};

struct view {
    bool member;   // it takes part in the placement
    bool answers;  // it can be asked
    bool stranger; // it is of another store
    bool up;       // it answers, and is none
    bool blank;    // neither pairs nor a past
    bool seeded;
    uint32_t ring; // fingerprint of what it has
    uint64_t epoch;
    int64_t known_at;       // clock_ms; 0 = it has not spoken since it came up
    int64_t refusing_until; // clock_ms
    uint64_t pass;
    uint64_t remembered; // the greatest pass that others remember of it
    uint64_t floor;
    uint64_t marked;       // ms since 1970: it had all writes of the others up to then
    bool heard;            // ever
    int64_t wake_us;       // until then it may give versions that nobody waits for
    int64_t held_us;       // time of the greatest version that it holds for others
    int64_t offset_us;     // its clock less this machine's
    int64_t offset_max_us; // at most
    int64_t offset_min_us; // at least
};

struct outlook {
    const struct layout *layout; // NULL: all partitions are members
    const struct ring *ring;     // by which they own
    unsigned partitions;
    uint64_t expected; // see outlook_expect
    uint64_t latest;   // the highest epoch that a member shows
    struct outlook_shared *shared;
    uint64_t floor;
    int64_t fresh_until; // clock_ms; every partition that is up has spoken since
    int64_t reference_us;
    int64_t offset_max_us; // over all partitions
    unsigned speaker;      // between hear_begin and hear_end
    int64_t speaker_us;    // its clock
    uint32_t *fingerprint; // [partitions], without a layout
    uint64_t *held;        // [partition][target]: version of the last divert, 0 = none
    unsigned unheard;      // partitions that are down and were never heard
    unsigned *holders;     // [target]: partitions that hold diverts
    int64_t *sorted;       // [partitions + 1]
    struct view *view;     // [partitions], by id - 1
};

static struct view *view_of(struct outlook *o, unsigned id)
{
    assert(id >= 1 && id <= o->partitions);
    return &o->view[id - 1];
}

static const struct view *see(const struct outlook *o, unsigned id)
{
    assert(id >= 1 && id <= o->partitions);
    return &o->view[id - 1];
}

static uint64_t *held_by(const struct outlook *o, unsigned id)
{
    return o->held + (size_t)(id - 1) * o->partitions;
}

// ---------------------------------------------------------------- what is heard

static void renew_freshness(struct outlook *o)
{
    o->fresh_until = INT64_MAX;
    o->unheard = 0;
    o->latest = 0;
    for (unsigned i = 0; i < o->partitions; i++) {
        o->unheard += o->view[i].member && !o->view[i].up && !o->view[i].heard;
        int64_t until = o->view[i].known_at + OUTLOOK_FRESH_MS;
        if (!o->view[i].member)
            continue;
        if (o->view[i].up && o->view[i].epoch > o->latest)
            o->latest = o->view[i].epoch;
        if (o->view[i].up && until < o->fresh_until)
            o->fresh_until = o->view[i].known_at ? until : 0;
    }
}

static void set_up(struct outlook *o, struct view *v)
{
    bool up = v->answers && !v->stranger;
    if (v->up == up)
        return;
    v->up = up;
    v->known_at = 0;
    renew_freshness(o);
}

void outlook_up(struct outlook *o, unsigned id, bool up)
{
    view_of(o, id)->answers = up;
    set_up(o, view_of(o, id));
}

void outlook_stranger(struct outlook *o, unsigned id, bool stranger)
{
    view_of(o, id)->stranger = stranger;
    set_up(o, view_of(o, id));
}

void outlook_silent(struct outlook *o, unsigned id)
{
    view_of(o, id)->wake_us = clock_unix_us() + (SESSION_CEILING_MS + NOTICE_MS) * INT64_C(1000);
}

void outlook_refusing(struct outlook *o, unsigned id)
{
    view_of(o, id)->refusing_until = clock_ms() + REFUSING_MS;
}

static void forget_held(struct outlook *o, unsigned id)
{
    uint64_t *held = held_by(o, id);
    for (unsigned target = 1; target <= o->partitions; target++)
        o->holders[target - 1] -= held[target - 1] != 0;
    memset(held, 0, o->partitions * sizeof *held);
    view_of(o, id)->held_us = 0;
}

void outlook_hear_begin(struct outlook *o, unsigned id)
{
    o->speaker = id;
    forget_held(o, id);
    view_of(o, id)->marked = 0;
}

static void hear_of_itself(struct outlook *o, const struct watch *w)
{
    struct view *v = view_of(o, o->speaker);
    o->speaker_us = (int64_t)w->now_us;
    v->blank = w->id == 0 && !w->has_pairs;
    v->seeded = w->id == o->speaker && w->seeded;
    v->ring = w->ring;
    v->epoch = w->epoch;
    v->pass = w->pass;
    v->floor = w->floor;
    if (w->floor > o->floor)
        o->floor = w->floor;
}

// The source that sync read the longest time ago says how far behind the speaker is.
static void hear_of_mark(struct view *speaker, uint64_t marked)
{
    if (marked && (!speaker->marked || marked < speaker->marked))
        speaker->marked = marked;
}

enum error outlook_hear(struct outlook *o, const struct watch *w)
{
    bool ours = w->id >= 1 && w->id <= o->partitions; // else of a partition that is gone
    switch (w->kind) {
    case WATCH_ITSELF:
        hear_of_itself(o, w);
        return ERROR_NONE;
    case WATCH_CURSOR:
        if (ours && w->pass > view_of(o, w->id)->remembered)
            view_of(o, w->id)->remembered = w->pass;
        if (ours)
            hear_of_mark(view_of(o, o->speaker), w->marked);
        return ERROR_NONE;
    case WATCH_DIVERT:
        if (!view_of(o, o->speaker)->member)
            return ERROR_NONE; // what it has counts for nothing
        if (ours && held_by(o, o->speaker)[w->id - 1] == 0) {
            held_by(o, o->speaker)[w->id - 1] = w->version ? w->version : 1;
            o->holders[w->id - 1]++;
        }
        if (version_unix_us(w->version) > view_of(o, o->speaker)->held_us)
            view_of(o, o->speaker)->held_us = version_unix_us(w->version);
        return ERROR_NONE;
    }
    return ERROR_MALFORMED;
}

static int compare_offsets(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// renew_clocks: the median of all clocks is taken for right, so that one that has run away is
// noticed whosever it is.
static void renew_clocks(struct outlook *o)
{
    unsigned count = 0;
    o->sorted[count++] = 0;
    for (unsigned i = 0; i < o->partitions; i++)
        if (o->view[i].heard)
            o->sorted[count++] = o->view[i].offset_us;
    qsort(o->sorted, count, sizeof o->sorted[0], compare_offsets);
    // Of two, the partition's: it gives the versions.
    o->reference_us = count == 2 ? o->sorted[o->sorted[0] == 0] : o->sorted[count / 2];
    o->offset_max_us = INT64_MIN;
    for (unsigned i = 0; i < o->partitions; i++) {
        const struct view *v = &o->view[i];
        if (v->heard && v->offset_us - o->reference_us <= CLOCK_BOUND_US &&
            v->offset_max_us > o->offset_max_us)
            o->offset_max_us = v->offset_max_us;
    }
    // A clock that was never heard may be ahead too.
    if (count <= o->partitions && o->offset_max_us < o->reference_us + UNKNOWN_CLOCK_US)
        o->offset_max_us = o->reference_us + UNKNOWN_CLOCK_US;
}

void outlook_hear_end(struct outlook *o, int64_t sent_us, int64_t heard_us)
{
    struct view *v = view_of(o, o->speaker);
    v->known_at = clock_ms() - (heard_us - sent_us) / 1000; // the answer may have lain there long
    v->heard = true;
    v->offset_us = o->speaker_us - (sent_us + (heard_us - sent_us) / 2);
    v->offset_max_us = o->speaker_us - sent_us;
    v->offset_min_us = o->speaker_us - heard_us;
    renew_clocks(o);
    renew_freshness(o);
}

// ---------------------------------------------------------------- what is known

bool outlook_is_up(const struct outlook *o, unsigned id)
{
    return see(o, id)->up;
}

bool outlook_known(const struct outlook *o, unsigned id)
{
    return see(o, id)->known_at != 0;
}

// has_its_slots: it was filled with what it owns now, or, while they move, with what it owned.
static bool has_its_slots(const struct outlook *o, unsigned id)
{
    const struct layout *l = o->layout;
    uint32_t ring = see(o, id)->ring;
    if (!l)
        return ring == o->fingerprint[id - 1];
    return id <= l->last &&
           (ring == l->fingerprint[id - 1] || (l->before && ring == l->before[id - 1]));
}

bool outlook_trusted(const struct outlook *o, unsigned id)
{
    const struct view *v = see(o, id);
    return v->known_at && v->seeded && has_its_slots(o, id) && v->pass >= v->remembered &&
           v->floor >= o->floor;
}

bool outlook_blank(const struct outlook *o, unsigned id)
{
    const struct view *v = see(o, id);
    return v->up && v->known_at && v->blank;
}

bool outlook_all_blank(const struct outlook *o)
{
    for (unsigned id = 1; id <= o->partitions; id++)
        if (see(o, id)->member && !outlook_blank(o, id))
            return false;
    return true;
}

void outlook_shows(struct outlook *o, unsigned id, uint64_t epoch)
{
    struct view *v = view_of(o, id);
    if (epoch > v->epoch)
        v->epoch = epoch;
    renew_freshness(o);
}

uint64_t outlook_epoch(const struct outlook *o, unsigned id)
{
    return see(o, id)->epoch;
}

// While the placement changes, both sides are asked anyway: the next epoch makes no difference.
bool outlook_outdated(const struct outlook *o)
{
    uint64_t epoch = o->layout ? o->layout->placement.epoch : 0;
    return o->layout && o->latest > o->expected && o->latest > epoch + (o->layout->other != NULL);
}

void outlook_expect(struct outlook *o, uint64_t epoch)
{
    o->expected = epoch;
}

bool outlook_fresh(const struct outlook *o)
{
    return clock_ms() < o->fresh_until;
}

bool outlook_changes(const struct outlook *o)
{
    return o->layout && o->layout->other;
}

unsigned outlook_replicas(const struct outlook *o)
{
    unsigned now = ring_replicas(o->ring);
    unsigned other = outlook_changes(o) ? ring_replicas(o->layout->other) : now;
    return other < now ? other : now;
}

uint64_t outlook_holds(const struct outlook *o, unsigned id, unsigned target)
{
    assert(target >= 1 && target <= o->partitions);
    return held_by(o, id)[target - 1];
}

int64_t outlook_offset_us(const struct outlook *o, unsigned id)
{
    return see(o, id)->offset_max_us;
}

void outlook_clock(const struct outlook *o, unsigned id, int64_t now_us, int64_t *least_us,
                   int64_t *most_us)
{
    const struct view *v = see(o, id);
    *least_us = v->heard ? now_us + v->offset_min_us : 0;
    *most_us = v->heard ? now_us + v->offset_max_us : INT64_MAX;
}

int64_t outlook_lag_us(const struct outlook *o, unsigned id)
{
    uint64_t marked = see(o, id)->marked;
    int64_t lag = clock_unix_us() - (int64_t)marked * 1000;
    return !marked ? -1 : lag < 0 ? 0 : lag;
}

int64_t outlook_reference_us(const struct outlook *o)
{
    return o->reference_us;
}

// A clock that has run away must not take all others along.
static bool is_believable(const struct outlook *o, int64_t version_us)
{
    return version_us <= clock_unix_us() + o->reference_us + CLOCK_BOUND_US;
}

void outlook_see(struct outlook *o, uint64_t version)
{
    int64_t seen = version_unix_us(version);
    if (seen <= clock_unix_us() + o->offset_max_us || !is_believable(o, seen))
        return; // floors are above it anyway, or shall not follow it
    int64_t last = atomic_load(&o->shared->floor_us);
    // GCOVR_EXCL_BR_START: another thread is rarely in between
    while (seen > last && !atomic_compare_exchange_weak(&o->shared->floor_us, &last, seen))
        ;
    // GCOVR_EXCL_BR_STOP
}

int64_t outlook_floor_us(struct outlook *o)
{
    int64_t floor = clock_unix_us();
    for (unsigned i = 0; i < o->partitions; i++)
        if (o->view[i].wake_us > floor)
            floor = o->view[i].wake_us;
    floor += o->offset_max_us;
    for (unsigned i = 0; i < o->partitions; i++)
        if (o->view[i].held_us > floor && is_believable(o, o->view[i].held_us))
            floor = o->view[i].held_us;
    floor++;
    int64_t last = atomic_load(&o->shared->floor_us), next;
    do
        next = floor > last ? floor : last + 1;
    while (!atomic_compare_exchange_weak(&o->shared->floor_us, &last, next)); // GCOVR_EXCL_BR_LINE
    return next;
}

uint64_t outlook_floor(const struct outlook *o)
{
    return o->floor;
}

static bool diverted_lately(const struct outlook *o, unsigned home, int64_t now)
{
    return now < atomic_load_explicit(&o->shared->diverted[home - 1], memory_order_relaxed);
}

static bool takes_writes(const struct outlook *o, unsigned id, int64_t now)
{
    const struct view *v = see(o, id);
    return v->up && now >= v->refusing_until;
}

bool outlook_usual(const struct outlook *o, unsigned home)
{
    int64_t now = clock_ms();
    return takes_writes(o, home, now) && o->holders[home - 1] == 0 && now < o->fresh_until &&
           !outlook_outdated(o) && outlook_trusted(o, home) && !diverted_lately(o, home, now);
}

static bool moves(const struct outlook *o, unsigned slot)
{
    return o->layout && o->layout->moves && o->layout->moves[slot];
}

bool outlook_usual_slot(const struct outlook *o, unsigned slot)
{
    return outlook_usual(o, ring_home(o->ring, slot)) && !moves(o, slot);
}

bool outlook_owns(const struct outlook *o, unsigned slot, unsigned id)
{
    return ring_owns(o->ring, slot, id) ||
           (outlook_changes(o) && ring_owns(o->layout->other, slot, id));
}

// The ring by which partitions have what they own.
static const struct ring *whole(const struct outlook *o)
{
    return o->layout ? layout_whole(o->layout) : o->ring;
}

bool outlook_knows(const struct outlook *o, unsigned slot, unsigned id)
{
    return outlook_trusted(o, id) && ring_owns(whole(o), slot, id);
}

bool outlook_heard_all(const struct outlook *o)
{
    return o->unheard == 0;
}

void outlook_divert(struct outlook *o, unsigned home)
{
    atomic_store_explicit(&o->shared->diverted[home - 1], clock_ms() + DIVERTED_MS,
                          memory_order_relaxed);
}

// ---------------------------------------------------------------- plans

static void ask(struct plan *plan, unsigned id)
{
    for (unsigned i = 0; i < plan->count; i++)
        if (plan->ask[i] == id)
            return;
    plan->ask[plan->count++] = (uint16_t)id;
}

static unsigned first_up(const struct outlook *o, const struct ring *ring, unsigned slot)
{
    const uint16_t *owners = ring_owners(ring, slot);
    for (unsigned i = 0; i < ring_replicas(ring) && owners[i] != NO_OWNER; i++)
        if (see(o, owners[i])->up)
            return owners[i];
    return NO_OWNER;
}

static void ask_majority(const struct outlook *o, const uint16_t *owners, struct plan *plan)
{
    unsigned replicas = ring_replicas(o->ring);
    plan->majority = replicas / 2 + 1;
    for (unsigned i = 0; i < replicas && plan->count < plan->majority; i++)
        if (see(o, owners[i])->up)
            ask(plan, owners[i]);
}

static void miss(struct plan *plan, unsigned id)
{
    for (unsigned i = 0; i < plan->missing_count; i++)
        if (plan->missing[i] == id)
            return;
    plan->missing[plan->missing_count++] = (uint16_t)id;
}

// may_hold tells whether a partition may hold writes for `home`. One that was never heard may; a
// condition does not wait for it, or a partition that died would stop all of them.
static bool may_hold(const struct outlook *o, unsigned id, unsigned home, enum plan_kind kind)
{
    const struct view *v = see(o, id);
    return outlook_holds(o, id, home) || (!v->up && !v->heard && kind != PLAN_CONDITION);
}

// may_decide: the home of a slot that moves may yet take writes by an older epoch, which it shows.
static bool may_decide(const struct outlook *o, unsigned slot, unsigned id, enum plan_kind kind)
{
    return kind == PLAN_CONDITION && moves(o, slot) &&
           see(o, id)->epoch < o->layout->placement.epoch;
}

// plan_by asks the owners by one ring of whom an answer may be wanted.
static void plan_by(const struct outlook *o, const struct ring *ring, unsigned slot,
                    enum plan_kind kind, bool unsure, struct plan *plan)
{
    const uint16_t *owners = ring_owners(ring, slot);
    unsigned home = owners[0], first = first_up(o, ring, slot);
    if (first)
        ask(plan, first);
    for (unsigned i = 0; i < ring_replicas(ring) && owners[i] != NO_OWNER; i++) {
        unsigned id = owners[i];
        bool wanted = unsure || id == home || may_hold(o, id, home, kind);
        bool up = see(o, id)->up;
        if (wanted && up)
            ask(plan, id);
        if (wanted && (!up || (id == home && may_decide(o, slot, id, kind))))
            miss(plan, id);
    }
}

void outlook_plan(const struct outlook *o, unsigned slot, enum plan_kind kind, struct plan *plan)
{
    const struct ring *ring = whole(o);
    unsigned home = ring_home(ring, slot), first = first_up(o, ring, slot);
    int64_t now = clock_ms();
    bool strange = first && !outlook_knows(o, slot, first); // it may lack what anybody else has
    bool unsure = strange || now >= o->fresh_until || (home && diverted_lately(o, home, now)) ||
                  diverted_lately(o, ring_home(o->ring, slot), now);
    plan->count = plan->missing_count = plan->majority = 0;
    plan_by(o, ring, slot, kind, unsure, plan);
    if (outlook_changes(o))
        plan_by(o, ring == o->ring ? o->layout->other : o->ring, slot, kind, unsure, plan);
    if (plan->count == 0) { // who does not own the key cannot say that it is not there
        plan->missing_count = 0;
        return;
    }
    for (unsigned id = 1; strange && id <= o->partitions; id++)
        if (see(o, id)->member && see(o, id)->up)
            ask(plan, id);
    if (kind == PLAN_QUORUM)
        ask_majority(o, ring_owners(o->ring, slot), plan);
}

unsigned outlook_writer(const struct outlook *o, unsigned slot, unsigned skip)
{
    const uint16_t *owners = ring_owners(o->ring, slot);
    int64_t now = clock_ms();
    for (unsigned i = 0; i < ring_replicas(o->ring); i++)
        if (takes_writes(o, owners[i], now) && skip-- == 0)
            return owners[i];
    return 0;
}

// ---------------------------------------------------------------- life

enum error outlook_shared_new(unsigned partitions, struct outlook_shared **shared)
{
    *shared = calloc(1, sizeof **shared + partitions * sizeof(*shared)->diverted[0]);
    return *shared ? ERROR_NONE : ERROR_MEMORY;
}

void outlook_shared_free(struct outlook_shared **shared)
{
    free(*shared);
    *shared = NULL;
}

// make_room makes room for partitions up to `partitions`; they have nothing of each other yet.
static enum error make_room(struct outlook *o, unsigned partitions)
{
    size_t n = partitions;
    struct view *view = calloc(n, sizeof *view);
    uint64_t *held = calloc(n * n, sizeof *held);
    unsigned *holders = calloc(n, sizeof *holders);
    int64_t *sorted = calloc(n + 1, sizeof *sorted);
    if (!view || !held || !holders || !sorted) {
        free(view);
        free(held);
        free(holders);
        free(sorted);
        return ERROR_MEMORY;
    }
    for (unsigned i = 0; i < o->partitions; i++) {
        view[i] = o->view[i];
        holders[i] = o->holders[i];
        memcpy(held + i * n, held_by(o, i + 1), o->partitions * sizeof *held);
    }
    free(o->view);
    free(o->held);
    free(o->holders);
    free(o->sorted);
    o->view = view;
    o->held = held;
    o->holders = holders;
    o->sorted = sorted;
    o->partitions = partitions;
    return ERROR_NONE;
}

enum error outlook_new(const struct ring *ring, unsigned partitions, struct outlook_shared *shared,
                       struct outlook **outlook)
{
    struct outlook *o = calloc(1, sizeof *o);
    *outlook = o;
    if (!o)
        return ERROR_MEMORY;
    o->ring = ring;
    o->shared = shared;
    o->fingerprint = calloc(partitions, sizeof *o->fingerprint);
    if (!o->fingerprint || make_room(o, partitions) ||
        (ring && ring_fingerprints(ring, partitions, o->fingerprint))) {
        outlook_free(outlook);
        return ERROR_MEMORY;
    }
    for (unsigned i = 0; i < partitions; i++)
        o->view[i].member = true;
    renew_clocks(o);
    renew_freshness(o);
    return ERROR_NONE;
}

enum error outlook_place(struct outlook *o, const struct layout *layout)
{
    enum error error = ERROR_NONE;
    if (layout->last > o->partitions)
        error = make_room(o, layout->last);
    if (error)
        return error;
    o->layout = layout;
    o->ring = layout->now;
    for (unsigned id = 1; id <= o->partitions; id++) {
        view_of(o, id)->member = placement_has(&layout->placement, id);
        if (!view_of(o, id)->member)
            forget_held(o, id);
    }
    renew_clocks(o);
    renew_freshness(o);
    return ERROR_NONE;
}

void outlook_free(struct outlook **outlook)
{
    struct outlook *o = *outlook;
    if (!o)
        return;
    *outlook = NULL;
    free(o->fingerprint);
    free(o->view);
    free(o->held);
    free(o->holders);
    free(o->sorted);
    free(o);
}
