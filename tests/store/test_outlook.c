// SPDX-License-Identifier: MIT
// What follows from what partitions say: whom to trust, whom to ask, where to write.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "store/outlook.h"
#include "store/session.h"
#include "store/slot.h"
#include "store/version.h"

enum {
    THREE = 3,
    SECOND_US = 1000000,
};

static const int64_t noon_us = INT64_C(1700000000) * SECOND_US;

struct fixture {
    struct ring *ring;
    struct outlook *o;
    struct outlook_shared *shared;
    unsigned partitions;
    int64_t ms; // the clock that never goes back
};

static void at(struct fixture *f, int64_t ms)
{
    f->ms = ms;
    clock_hold(ms * 1000, noon_us + ms * 1000);
}

static struct fixture *begin(unsigned partitions, unsigned replicas)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    const unsigned equal[] = {1, 1, 1, 1, 1, 1, 1};
    memset(f, 0, sizeof *f);
    f->partitions = partitions;
    at(f, 10000);
    assert_int_equal(ring_new(equal, partitions, replicas, &f->ring), ERROR_NONE);
    assert_int_equal(outlook_shared_new(partitions, &f->shared), ERROR_NONE);
    assert_int_equal(outlook_new(f->ring, partitions, f->shared, &f->o), ERROR_NONE);
    return f;
}

static void end(struct fixture *f)
{
    outlook_free(&f->o);
    assert_null(f->o);
    outlook_free(&f->o); // of nothing: nothing happens
    outlook_shared_free(&f->shared);
    assert_null(f->shared);
    ring_free(&f->ring);
    clock_release();
}

// good is what a partition that has all that it should says of itself.
static struct watch good(const struct fixture *f, unsigned id)
{
    return (struct watch){.kind = WATCH_ITSELF,
                          .id = id,
                          .seeded = true,
                          .has_pairs = true,
                          .ring = ring_fingerprint(f->ring, id),
                          .now_us = (uint64_t)clock_unix_us()};
}

static void hear(struct fixture *f, struct watch watch)
{
    assert_int_equal(outlook_hear(f->o, &watch), ERROR_NONE);
}

// say lets partition `id` speak: of itself, then `count` rows of `more`.
static void say(struct fixture *f, unsigned id, struct watch itself, const struct watch *more,
                size_t count)
{
    outlook_hear_begin(f->o, id);
    hear(f, itself);
    for (size_t i = 0; i < count; i++)
        hear(f, more[i]);
    outlook_hear_end(f->o, clock_unix_us(), clock_unix_us());
}

static void say_good(struct fixture *f, unsigned id)
{
    say(f, id, good(f, id), NULL, 0);
}

static void say_diverts(struct fixture *f, unsigned id, unsigned target, uint64_t version)
{
    const struct watch divert = {.kind = WATCH_DIVERT, .id = target, .version = version};
    say(f, id, good(f, id), &divert, 1);
}

static void say_remembers(struct fixture *f, unsigned id, unsigned source, uint64_t pass)
{
    const struct watch cursor = {.kind = WATCH_CURSOR, .id = source, .pass = pass};
    say(f, id, good(f, id), &cursor, 1);
}

static void all_good(struct fixture *f)
{
    for (unsigned id = 1; id <= f->partitions; id++) {
        outlook_up(f->o, id, true);
        say_good(f, id);
    }
}

// slot_owned returns a slot with these owners in front.
static unsigned slot_owned(const struct fixture *f, unsigned home, unsigned second)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        const uint16_t *owners = ring_owners(f->ring, slot);
        if (owners[0] == home && (!second || owners[1] == second))
            return slot;
    }
    fail();
    return 0;
}

static void expect_ids(const uint16_t *ids, unsigned count, const char *expected)
{
    char got[64] = "";
    for (unsigned i = 0; i < count; i++) {
        size_t len = strlen(got);
        got[len] = (char)('0' + ids[i]);
        got[len + 1] = '\0';
    }
    assert_string_equal(got, expected);
}

// expect_plan holds whom a read of `slot` asks, in order, and who is missing.
static void expect_plan(const struct fixture *f, unsigned slot, enum plan_kind kind,
                        const char *asked, const char *missing, unsigned majority)
{
    struct plan plan;
    memset(&plan, 0xee, sizeof plan);
    outlook_plan(f->o, slot, kind, &plan);
    expect_ids(plan.ask, plan.count, asked);
    expect_ids(plan.missing, plan.missing_count, missing);
    assert_int_equal(plan.majority, majority);
}

// ---------------------------------------------------------------- trust

static void outlook_trusted__only_who_has_said_that_it_has_everything(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    assert_false(outlook_trusted(f->o, 1));
    outlook_up(f->o, 1, true);
    assert_true(outlook_is_up(f->o, 1));
    assert_false(outlook_known(f->o, 1));
    assert_false(outlook_trusted(f->o, 1));
    say_good(f, 1);
    assert_true(outlook_known(f->o, 1));
    assert_true(outlook_trusted(f->o, 1));
    assert_false(outlook_trusted(f->o, 2));
    end(f);
}

static void outlook_trusted__not_who_is_not_seeded_for_these_slots_under_this_id(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    outlook_up(f->o, 2, true);
    for (int spoilt = 0; spoilt < 4; spoilt++) {
        struct watch itself = good(f, 2);
        if (spoilt == 0)
            itself.seeded = false;
        else if (spoilt == 1)
            itself.id = 1; // a dump of another partition
        else if (spoilt == 2)
            itself.ring++;
        else
            itself = (struct watch){.kind = WATCH_ITSELF, .now_us = itself.now_us}; // no row
        say(f, 2, itself, NULL, 0);
        assert_true(outlook_known(f->o, 2));
        assert_false(outlook_trusted(f->o, 2));
        assert_false(outlook_usual(f->o, 2));
        say_good(f, 2);
        assert_true(outlook_trusted(f->o, 2));
    }
    end(f);
}

static void outlook_trusted__not_who_is_remembered_further_on(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    struct watch itself = good(f, 1);
    itself.pass = 7;
    say(f, 1, itself, NULL, 0);
    say_remembers(f, 2, 1, 7);
    assert_true(outlook_trusted(f->o, 1));
    say_remembers(f, 3, 1, 8); // it is a restored backup
    assert_false(outlook_trusted(f->o, 1));
    say_remembers(f, 3, 1, 6); // what was remembered once stays so
    assert_false(outlook_trusted(f->o, 1));
    itself.pass = 9;
    say(f, 1, itself, NULL, 0);
    assert_true(outlook_trusted(f->o, 1));
    end(f);
}

static void outlook_trusted__not_who_is_below_the_floor_of_another(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    assert_int_equal(outlook_floor(f->o), 0);
    struct watch itself = good(f, 1);
    itself.floor = 100;
    say(f, 1, itself, NULL, 0);
    assert_int_equal(outlook_floor(f->o), 100);
    assert_true(outlook_trusted(f->o, 1));
    assert_false(outlook_trusted(f->o, 2)); // tombstones that it lacks may be gone
    itself = good(f, 2);
    itself.floor = 100;
    say(f, 2, itself, NULL, 0);
    assert_true(outlook_trusted(f->o, 2));
    say_good(f, 1); // floor 0 again: a backup
    assert_int_equal(outlook_floor(f->o), 100);
    assert_false(outlook_trusted(f->o, 1));
    end(f);
}

static void outlook_trusted__not_who_was_away_before_it_speaks_again(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    outlook_up(f->o, 1, true); // no news
    assert_true(outlook_trusted(f->o, 1));
    outlook_up(f->o, 1, false);
    assert_false(outlook_is_up(f->o, 1));
    assert_false(outlook_trusted(f->o, 1));
    outlook_up(f->o, 1, true);
    assert_false(outlook_known(f->o, 1));
    assert_false(outlook_trusted(f->o, 1));
    say_good(f, 1);
    assert_true(outlook_trusted(f->o, 1));
    end(f);
}

static void outlook_hear__ignores_partitions_that_are_gone(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    const struct watch more[] = {{.kind = WATCH_CURSOR, .id = 4, .pass = 9},
                                 {.kind = WATCH_CURSOR, .id = 0, .pass = 9},
                                 {.kind = WATCH_DIVERT, .id = 4, .version = 9},
                                 {.kind = WATCH_DIVERT, .id = 0, .version = 9}};
    say(f, 2, good(f, 2), more, 4);
    for (unsigned id = 1; id <= THREE; id++) {
        assert_true(outlook_usual(f->o, id));
        assert_int_equal(outlook_holds(f->o, 2, id), 0);
    }
    struct watch strange = {.kind = 3};
    assert_int_equal(outlook_hear(f->o, &strange), ERROR_MALFORMED);
    end(f);
}

static void outlook_lag_us__is_the_age_of_the_oldest_mark(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, THREE);
    all_good(f);
    assert_int_equal(outlook_lag_us(f->o, 1), -1); // sync was never there
    uint64_t now_ms = (uint64_t)clock_unix_us() / 1000;
    const struct watch more[] = {{.kind = WATCH_CURSOR, .id = 2, .marked = now_ms - 3000},
                                 {.kind = WATCH_CURSOR, .id = 3, .marked = now_ms - 7000},
                                 {.kind = WATCH_CURSOR, .id = 4, .marked = now_ms - 9000}}; // gone
    say(f, 1, good(f, 1), more, 3);
    assert_int_equal(outlook_lag_us(f->o, 1), 7 * SECOND_US);
    assert_int_equal(outlook_lag_us(f->o, 2), -1);
    at(f, f->ms + 500);
    assert_int_equal(outlook_lag_us(f->o, 1), 7 * SECOND_US + SECOND_US / 2); // it grows by itself
    say(f, 1, good(f, 1), more, 1);
    assert_int_equal(outlook_lag_us(f->o, 1), 3 * SECOND_US + SECOND_US / 2);
    end(f);
}

static void outlook_all_blank__only_when_all_are_up_and_have_nothing(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    struct watch blank = {.kind = WATCH_ITSELF, .now_us = (uint64_t)clock_unix_us()};
    assert_false(outlook_all_blank(f->o));
    outlook_up(f->o, 1, true);
    outlook_up(f->o, 2, true);
    assert_false(outlook_all_blank(f->o)); // neither has spoken
    say(f, 1, blank, NULL, 0);
    assert_false(outlook_all_blank(f->o));
    say(f, 2, blank, NULL, 0);
    assert_true(outlook_all_blank(f->o));
    blank.has_pairs = true; // from SQL, or of an older schema
    say(f, 2, blank, NULL, 0);
    assert_false(outlook_all_blank(f->o));
    blank.has_pairs = false;
    blank.id = 2; // it has a past
    say(f, 2, blank, NULL, 0);
    assert_false(outlook_all_blank(f->o));
    blank.id = 0;
    say(f, 2, blank, NULL, 0);
    outlook_up(f->o, 2, false);
    assert_false(outlook_all_blank(f->o));
    end(f);
}

// ---------------------------------------------------------------- usual

static void outlook_usual__while_all_is_well(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    for (unsigned id = 1; id <= THREE; id++)
        assert_false(outlook_usual(f->o, id));
    all_good(f);
    for (unsigned id = 1; id <= THREE; id++)
        assert_true(outlook_usual(f->o, id));
    end(f);
}

static void outlook_usual__though_another_is_away(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    outlook_up(f->o, 2, false);
    assert_true(outlook_usual(f->o, 1));
    assert_false(outlook_usual(f->o, 2));
    end(f);
}

static void outlook_usual__not_before_one_that_came_back_has_spoken(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    outlook_up(f->o, 2, false);
    outlook_up(f->o, 2, true);
    assert_false(outlook_usual(f->o, 1)); // it may hold diverts for 1
    say_good(f, 2);
    assert_true(outlook_usual(f->o, 1));
    end(f);
}

static void outlook_usual__not_when_what_is_known_is_old(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    at(f, f->ms + 1);
    say_good(f, 1);
    say_good(f, 2);
    at(f, 10000 + OUTLOOK_FRESH_MS - 1);
    assert_true(outlook_usual(f->o, 1));
    at(f, 10000 + OUTLOOK_FRESH_MS); // 3 has been silent too long
    assert_false(outlook_usual(f->o, 1));
    say_good(f, 3);
    assert_true(outlook_usual(f->o, 1));
    at(f, f->ms + 1);
    assert_false(outlook_usual(f->o, 1));
    end(f);
}

static void outlook_usual__not_while_somebody_holds_diverts(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    say_diverts(f, 2, 1, 77);
    assert_int_equal(outlook_holds(f->o, 2, 1), 77);
    assert_int_equal(outlook_holds(f->o, 3, 1), 0);
    assert_false(outlook_usual(f->o, 1));
    assert_true(outlook_usual(f->o, 2));
    say_diverts(f, 3, 1, 0); // without a version: a divert nevertheless
    assert_int_equal(outlook_holds(f->o, 3, 1), 1);
    say_diverts(f, 2, 1, 78); // still there, and counted once
    assert_int_equal(outlook_holds(f->o, 2, 1), 78);
    say_good(f, 2);
    assert_int_equal(outlook_holds(f->o, 2, 1), 0);
    assert_false(outlook_usual(f->o, 1));
    say_good(f, 3);
    assert_true(outlook_usual(f->o, 1));
    end(f);
}

static void outlook_usual__counts_a_target_once_even_if_it_is_named_twice(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    const struct watch twice[] = {{.kind = WATCH_DIVERT, .id = 1, .version = 5},
                                  {.kind = WATCH_DIVERT, .id = 1, .version = 6}};
    all_good(f);
    say(f, 2, good(f, 2), twice, 2);
    assert_false(outlook_usual(f->o, 1));
    say_good(f, 2);
    assert_true(outlook_usual(f->o, 1));
    end(f);
}

// What a partition held is remembered while it is away: nobody else can have delivered it.
static void outlook_usual__not_while_the_holder_is_away(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    say_diverts(f, 2, 1, 77);
    outlook_up(f->o, 2, false);
    assert_false(outlook_usual(f->o, 1));
    assert_int_equal(outlook_holds(f->o, 2, 1), 77);
    end(f);
}

static void outlook_divert__counts_at_once_and_for_a_while(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    struct outlook *other; // of another thread
    all_good(f);
    assert_int_equal(outlook_new(f->ring, THREE, f->shared, &other), ERROR_NONE);
    outlook_divert(other, 1);
    outlook_free(&other);
    assert_false(outlook_usual(f->o, 1));
    assert_true(outlook_usual(f->o, 2));
    at(f, f->ms + DIVERTED_MS - 1);
    all_good(f);
    assert_false(outlook_usual(f->o, 1));
    at(f, f->ms + 1);
    assert_true(outlook_usual(f->o, 1)); // by now the holder has told
    end(f);
}

static void outlook_refusing__keeps_writes_away_for_a_while(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    unsigned slot = slot_owned(f, 1, 2);
    all_good(f);
    assert_int_equal(outlook_writer(f->o, slot, 0), 1);
    outlook_refusing(f->o, 1);
    assert_false(outlook_usual(f->o, 1));
    assert_true(outlook_trusted(f->o, 1));
    assert_int_equal(outlook_writer(f->o, slot, 0), 2);
    expect_plan(f, slot, PLAN_READ, "1", "", 0); // it can be read
    at(f, f->ms + REFUSING_MS - 1);
    assert_int_equal(outlook_writer(f->o, slot, 0), 2);
    at(f, f->ms + 1);
    assert_int_equal(outlook_writer(f->o, slot, 0), 1);
    assert_true(outlook_usual(f->o, 1));
    end(f);
}

// ---------------------------------------------------------------- writers

static void outlook_writer__is_the_first_owner_that_is_up(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    unsigned slot = slot_owned(f, 1, 2);
    assert_int_equal(outlook_writer(f->o, slot, 0), 0);
    all_good(f);
    assert_int_equal(outlook_writer(f->o, slot, 0), 1);
    assert_int_equal(outlook_writer(f->o, slot, 1), 2);
    assert_int_equal(outlook_writer(f->o, slot, 2), 3);
    assert_int_equal(outlook_writer(f->o, slot, 3), 0);
    outlook_up(f->o, 1, false);
    assert_int_equal(outlook_writer(f->o, slot, 0), 2);
    assert_int_equal(outlook_writer(f->o, slot, 1), 3);
    outlook_up(f->o, 2, false);
    assert_int_equal(outlook_writer(f->o, slot, 0), 3);
    assert_int_equal(outlook_writer(f->o, slot, 1), 0);
    end(f);
}

static void outlook_writer__is_never_one_that_does_not_own_the_key(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 2);
    unsigned slot = slot_owned(f, 1, 2);
    all_good(f);
    outlook_up(f->o, 1, false);
    outlook_up(f->o, 2, false);
    assert_int_equal(outlook_writer(f->o, slot, 0), 0);
    end(f);
}

// ---------------------------------------------------------------- plans

static void outlook_plan__asks_the_home_alone(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    for (unsigned home = 1; home <= THREE; home++)
        expect_plan(f, slot_owned(f, home, 0), PLAN_READ, (char[]){(char)('0' + home), '\0'}, "",
                    0);
    end(f);
}

static void outlook_plan__asks_the_next_owner_while_the_home_is_away(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    outlook_up(f->o, 1, false);
    expect_plan(f, slot_owned(f, 1, 2), PLAN_READ, "2", "1", 0);
    expect_plan(f, slot_owned(f, 1, 3), PLAN_READ, "3", "1", 0);
    outlook_up(f->o, 2, false);
    expect_plan(f, slot_owned(f, 1, 2), PLAN_READ, "3", "1", 0);
    outlook_up(f->o, 3, false);
    expect_plan(f, slot_owned(f, 1, 2), PLAN_READ, "", "", 0);
    end(f);
}

static void outlook_plan__asks_who_holds_diverts(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    unsigned slot = slot_owned(f, 1, 2);
    all_good(f);
    say_diverts(f, 3, 1, 5);
    expect_plan(f, slot, PLAN_READ, "13", "", 0);
    outlook_up(f->o, 3, false);
    expect_plan(f, slot, PLAN_READ, "1", "3", 0); // it is away, and knows something newer
    outlook_up(f->o, 1, false);
    expect_plan(f, slot, PLAN_READ, "2", "13", 0);
    end(f);
}

static void outlook_plan__asks_all_owners_after_a_divert_of_this_process(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    all_good(f);
    outlook_divert(f->o, 1);
    expect_plan(f, slot_owned(f, 1, 2), PLAN_READ, "123", "", 0);
    expect_plan(f, slot_owned(f, 2, 1), PLAN_READ, "2", "", 0);
    end(f);
}

static void outlook_plan__asks_all_owners_when_what_is_known_is_old(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 2);
    all_good(f);
    at(f, f->ms + OUTLOOK_FRESH_MS);
    expect_plan(f, slot_owned(f, 1, 2), PLAN_READ, "12", "", 0);
    outlook_up(f->o, 2, false); // what is known of the rest is old still
    expect_plan(f, slot_owned(f, 1, 2), PLAN_READ, "1", "2", 0);
    end(f);
}

static void outlook_plan__asks_everybody_when_the_first_is_not_trusted(void **state)
{
    (void)state;
    struct fixture *f = begin(4, 2);
    unsigned slot = slot_owned(f, 1, 2);
    all_good(f);
    struct watch itself = good(f, 1);
    itself.seeded = false;
    say(f, 1, itself, NULL, 0);
    expect_plan(f, slot, PLAN_READ, "1234", "", 0); // others may have owned the slot
    outlook_up(f->o, 2, false);
    expect_plan(f, slot, PLAN_READ, "134", "2", 0);
    end(f);
}

// Who does not own the key cannot say that it is not there.
static void outlook_plan__asks_nobody_when_no_owner_is_up(void **state)
{
    (void)state;
    struct fixture *f = begin(4, 2);
    unsigned slot = slot_owned(f, 1, 2);
    all_good(f);
    outlook_up(f->o, 1, false);
    outlook_up(f->o, 2, false);
    expect_plan(f, slot, PLAN_READ, "", "", 0);
    expect_plan(f, slot, PLAN_QUORUM, "", "", 0);
    end(f);
}

// A partition that was away when the process began may hold what another process gave it.
static void outlook_plan__misses_who_was_never_heard(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    unsigned slot = slot_owned(f, 1, 2);
    outlook_up(f->o, 1, true);
    outlook_up(f->o, 2, true);
    say_good(f, 1);
    say_good(f, 2);
    assert_false(outlook_heard_all(f->o));
    expect_plan(f, slot, PLAN_READ, "1", "3", 0);
    expect_plan(f, slot, PLAN_CONDITION, "1", "", 0); // one that died would stop all conditions
    outlook_up(f->o, 3, true);
    say_good(f, 3);
    assert_true(outlook_heard_all(f->o));
    outlook_up(f->o, 3, false);
    assert_true(outlook_heard_all(f->o));
    expect_plan(f, slot, PLAN_READ, "1", "", 0); // it had nothing
    end(f);
}

static void outlook_plan__with_quorum_asks_a_majority_of_the_owners(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    unsigned slot = slot_owned(f, 1, 2);
    all_good(f);
    expect_plan(f, slot, PLAN_QUORUM, "12", "", 2);
    outlook_up(f->o, 1, false);
    expect_plan(f, slot, PLAN_QUORUM, "23", "1", 2);
    outlook_up(f->o, 2, false);
    expect_plan(f, slot, PLAN_QUORUM, "3", "1", 2); // too few: the caller sees it
    end(f);

    f = begin(2, 0);
    all_good(f);
    expect_plan(f, slot_owned(f, 2, 1), PLAN_QUORUM, "21", "", 2);
    end(f);

    f = begin(1, 0);
    all_good(f);
    expect_plan(f, 0, PLAN_QUORUM, "1", "", 1);
    end(f);

    f = begin(5, 3); // of the owners, not of the partitions
    all_good(f);
    struct plan plan;
    outlook_plan(f->o, 0, PLAN_QUORUM, &plan);
    assert_int_equal(plan.majority, 2);
    assert_int_equal(plan.count, 2);
    end(f);
}

// ---------------------------------------------------------------- clocks

// say_ahead lets a partition's clock show `ahead_us` more than ours, after an answer of `took_us`.
static void say_ahead(struct fixture *f, unsigned id, int64_t ahead_us, int64_t took_us)
{
    struct watch itself = good(f, id);
    int64_t heard_us = clock_unix_us(), sent_us = heard_us - took_us;
    itself.now_us = (uint64_t)(sent_us + took_us / 2 + ahead_us);
    outlook_up(f->o, id, true);
    outlook_hear_begin(f->o, id);
    hear(f, itself);
    outlook_hear_end(f->o, sent_us, heard_us);
}

static void outlook_offset_us__is_at_most_what_the_answer_took_too_much(void **state)
{
    (void)state;
    struct fixture *f = begin(1, 0);
    say_ahead(f, 1, 3000, 500);
    assert_int_equal(outlook_offset_us(f->o, 1), 3250);
    say_ahead(f, 1, -3000, 0);
    assert_int_equal(outlook_offset_us(f->o, 1), -3000);
    end(f);
}

static void outlook_reference_us__is_the_median_of_all_clocks(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    assert_int_equal(outlook_reference_us(f->o), 0);
    say_ahead(f, 1, 100, 0);
    assert_int_equal(outlook_reference_us(f->o), 100); // of two, the partition's
    say_ahead(f, 1, -100, 0);
    assert_int_equal(outlook_reference_us(f->o), -100);
    say_ahead(f, 2, 300, 0); // -100, ours, 300
    assert_int_equal(outlook_reference_us(f->o), 0);
    say_ahead(f, 3, 500, 0); // -100, ours, 300, 500
    assert_int_equal(outlook_reference_us(f->o), 300);
    say_ahead(f, 2, 600 * (int64_t)SECOND_US, 0); // one that has run away moves nothing
    assert_int_equal(outlook_reference_us(f->o), 500);
    end(f);
}

static void outlook_reference_us__takes_the_partitions_side_when_our_clock_is_wrong(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    say_ahead(f, 1, 600 * (int64_t)SECOND_US, 0);
    say_ahead(f, 2, 600 * (int64_t)SECOND_US + 1, 0);
    assert_int_equal(outlook_reference_us(f->o), 600 * (int64_t)SECOND_US);
    end(f);
}

static void outlook_floor_us__is_above_what_any_clock_shows(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    int64_t now = clock_unix_us();
    say_ahead(f, 1, 2000, 100);
    say_ahead(f, 2, -5000, 100);
    // 2 was heard: nobody is unknown.
    assert_in_range(outlook_floor_us(f->o) - now, 2050, 2060);
    say_ahead(f, 2, 5000, 100);
    assert_in_range(outlook_floor_us(f->o) - now, 5050, 5060);
    end(f);
}

// What a frozen partition may still stamp when it wakes up is below the floor; later the clocks
// are.
static void outlook_floor_us__is_above_what_a_silent_partition_may_stamp(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    const int64_t sleep_us = (SESSION_CEILING_MS + NOTICE_MS) * INT64_C(1000);
    all_good(f);
    outlook_up(f->o, 1, false);
    outlook_silent(f->o, 1);
    int64_t now = clock_unix_us();
    assert_in_range(outlook_floor_us(f->o) - now, sleep_us, sleep_us + 1000);
    at(f, f->ms + 3000);
    say_ahead(f, 2, 0, 0);
    assert_in_range(outlook_floor_us(f->o) - clock_unix_us(), 0, 2000);
    end(f);
}

static void outlook_floor_us__reckons_with_clocks_that_were_never_heard(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    int64_t now = clock_unix_us();
    assert_true(outlook_floor_us(f->o) >= now + SECOND_US);
    end(f);
    f = begin(2, 0);
    say_ahead(f, 1, 2000, 0);
    assert_true(outlook_floor_us(f->o) >= now + 2000 + SECOND_US);
    end(f);
}

// A clock that has run away gives no versions (it counts as away), and must not raise others'.
static void outlook_floor_us__does_not_follow_a_clock_that_has_run_away(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    int64_t now = clock_unix_us();
    say_ahead(f, 1, 1000, 0);
    say_ahead(f, 2, 2000, 0);
    say_ahead(f, 3, 600 * (int64_t)SECOND_US, 0);
    assert_in_range(outlook_floor_us(f->o) - now, 2000, 2010);
    say_ahead(f, 3, 2000 + CLOCK_BOUND_US, 0); // within the bound of the median
    assert_int_equal(outlook_reference_us(f->o), 2000);
    assert_in_range(outlook_floor_us(f->o) - now, 2000 + CLOCK_BOUND_US, 2010 + CLOCK_BOUND_US);
    end(f);
}

static void outlook_floor_us__reckons_with_the_clock_that_is_furthest_ahead(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 0);
    int64_t now = clock_unix_us();
    say_ahead(f, 1, 0, 0);
    say_ahead(f, 2, 2 * (int64_t)SECOND_US, 0); // further than one that was never heard would be
    assert_in_range(outlook_floor_us(f->o) - now, 2 * SECOND_US, 2 * SECOND_US + 10);
    say_ahead(f, 3, -2 * (int64_t)SECOND_US, 0);
    assert_in_range(outlook_floor_us(f->o) - now, 2 * SECOND_US, 2 * SECOND_US + 10);
    end(f);
}

// Two writes of one client may be given at different partitions within a microsecond.
static void outlook_floor_us__always_grows_in_all_threads(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    struct outlook *other; // of another thread, which knows less
    int64_t last = 0;
    all_good(f);
    assert_int_equal(outlook_new(f->ring, 2, f->shared, &other), ERROR_NONE);
    for (int i = 0; i < 10; i++) {
        int64_t floor = outlook_floor_us(i % 2 ? other : f->o);
        assert_true(floor > last);
        last = floor;
    }
    outlook_free(&other);
    end(f);
}

// Diverted versions lie in the future of all clocks: what follows them has to be later still.
static void outlook_floor_us__is_above_all_writes_that_are_held(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    int64_t held_us = clock_unix_us() + 4 * (int64_t)SECOND_US;
    all_good(f);
    say_diverts(f, 2, 1, (uint64_t)held_us << VERSION_PARTITION_BITS | 2);
    assert_true(outlook_floor_us(f->o) > held_us);
    end(f);
}

// After a raised write the next of its key is old + 1, in the future: what follows is later still.
static void
outlook_see__raises_the_floor_but_does_not_follow_a_clock_that_has_run_away(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    all_good(f);
    int64_t now = clock_unix_us(), seen = now + 2 * (int64_t)SECOND_US;
    outlook_see(f->o, (uint64_t)seen << VERSION_PARTITION_BITS);
    assert_int_equal(outlook_floor_us(f->o), seen + 1);
    outlook_see(f->o, (uint64_t)(now + 600 * (int64_t)SECOND_US) << VERSION_PARTITION_BITS);
    assert_int_equal(outlook_floor_us(f->o), seen + 2);
    say_diverts(f, 2, 1, (uint64_t)(now + 600 * (int64_t)SECOND_US) << VERSION_PARTITION_BITS | 2);
    assert_int_equal(outlook_floor_us(f->o), seen + 3);
    end(f);
}

// ---------------------------------------------------------------- while the placement changes

// place makes partition 3 join 1 and 2, in that phase, and lets all say what they then say.
static struct layout *place(struct fixture *f, enum placement_phase phase, uint64_t epoch)
{
    struct placement p = {.epoch = epoch, .phase = phase};
    struct layout *layout;
    bool moving = phase == PLACEMENT_MOVING;
    for (unsigned i = 0; i < THREE; i++) {
        p.now.weight[i] = i < 2 || moving;
        p.other.weight[i] = i < 2 || !moving;
    }
    p.now.replicas = p.other.replicas = 1;
    assert_int_equal(layout_new(&p, &layout), ERROR_NONE);
    assert_int_equal(outlook_place(f->o, layout), ERROR_NONE);
    for (unsigned id = 1; id <= THREE; id++) {
        struct watch itself = good(f, id);
        itself.epoch = epoch;
        itself.ring = moving ? layout->before[id - 1] : layout->fingerprint[id - 1];
        outlook_up(f->o, id, true);
        say(f, id, itself, NULL, 0);
    }
    return layout;
}

static unsigned slot_moving(const struct layout *layout, bool moves)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (layout->moves[slot] == moves)
            return slot;
    fail();
    return 0;
}

static void outlook_plan__asks_both_homes_of_a_slot_that_moves(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 1);
    for (int i = 0; i < 2; i++) {
        struct layout *l = place(f, i ? PLACEMENT_MOVING : PLACEMENT_ANNOUNCED, 2);
        unsigned moves = slot_moving(l, true), stays = slot_moving(l, false);
        unsigned old = ring_home(i ? l->other : l->now, moves);
        assert_true(outlook_changes(f->o));
        assert_false(outlook_usual_slot(f->o, moves));
        assert_true(outlook_usual_slot(f->o, stays));
        expect_plan(f, moves, PLAN_READ, old == 1 ? "13" : "23", "", 0);
        expect_plan(f, stays, PLAN_READ, ring_home(l->now, stays) == 1 ? "1" : "2", "", 0);
        assert_int_equal(outlook_writer(f->o, moves, 0), i ? 3 : old);
        assert_true(outlook_knows(f->o, moves, old));
        assert_false(outlook_knows(f->o, moves, 3));
        assert_true(outlook_owns(f->o, moves, 3) && outlook_owns(f->o, moves, old));
        layout_free(&l);
    }
    end(f);
}

static void outlook_plan__misses_the_home_that_may_yet_decide(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 1);
    struct layout *l = place(f, PLACEMENT_MOVING, 3);
    unsigned slot = slot_moving(l, true), old = ring_home(l->other, slot);
    const char *both = old == 1 ? "13" : "23", *home = old == 1 ? "1" : "2";
    expect_plan(f, slot, PLAN_CONDITION, both, "", 0);
    struct watch behind = good(f, old);
    behind.epoch = 2;
    behind.ring = l->before[old - 1];
    say(f, old, behind, NULL, 0);
    assert_int_equal(outlook_epoch(f->o, old), 2);
    expect_plan(f, slot, PLAN_CONDITION, both, home, 0);
    expect_plan(f, slot, PLAN_READ, both, "", 0);
    outlook_up(f->o, old, false);
    expect_plan(f, slot, PLAN_READ, "3", home, 0);
    layout_free(&l);
    end(f);
}

static void outlook_place__takes_members_that_nobody_configured(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 1);
    struct placement p = {.epoch = 1, .now = {.replicas = 1, .weight = {1, 1, [6] = 1}}};
    struct layout *layout;
    all_good(f);
    assert_true(outlook_heard_all(f->o));
    assert_int_equal(layout_new(&p, &layout), ERROR_NONE);
    assert_int_equal(outlook_place(f->o, layout), ERROR_NONE);
    assert_false(outlook_heard_all(f->o));
    assert_false(outlook_is_up(f->o, 7));
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        assert_int_equal(outlook_writer(f->o, slot, 0) == 0, ring_home(layout->now, slot) == 7);
    layout_free(&layout);
    end(f);
}

static void say_epoch(struct fixture *f, unsigned id, uint64_t epoch)
{
    struct watch itself = good(f, id);
    itself.epoch = epoch;
    say(f, id, itself, NULL, 0);
}

static void outlook_outdated__when_somebody_else_may_own(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    struct placement p = {.epoch = 3, .now = {.weight = {1, 1}}};
    struct layout *layout;
    assert_int_equal(layout_new(&p, &layout), ERROR_NONE);
    assert_int_equal(outlook_place(f->o, layout), ERROR_NONE);
    for (unsigned id = 1; id <= 2; id++) {
        outlook_up(f->o, id, true);
        say_epoch(f, id, 3);
    }
    assert_false(outlook_outdated(f->o));
    assert_true(outlook_usual(f->o, 1));
    say_epoch(f, 2, 4);
    assert_true(outlook_outdated(f->o));
    assert_false(outlook_usual(f->o, 1));
    outlook_expect(f->o, 4); // which is only announced
    assert_false(outlook_outdated(f->o));
    assert_true(outlook_usual(f->o, 1));
    outlook_shows(f->o, 1, 5);
    assert_true(outlook_outdated(f->o));
    layout_free(&layout);
    end(f);
}

static void outlook_outdated__not_by_the_next_epoch_while_both_sides_are_asked(void **state)
{
    (void)state;
    struct fixture *f = begin(THREE, 1);
    struct layout *l = place(f, PLACEMENT_ANNOUNCED, 2);
    outlook_shows(f->o, 1, 3);
    assert_false(outlook_outdated(f->o));
    outlook_shows(f->o, 1, 4);
    assert_true(outlook_outdated(f->o));
    layout_free(&l);
    end(f);
}

static void outlook_stranger__is_as_if_it_were_down(void **state)
{
    (void)state;
    struct fixture *f = begin(2, 0);
    all_good(f);
    outlook_stranger(f->o, 2, true);
    assert_false(outlook_is_up(f->o, 2));
    outlook_up(f->o, 2, false);
    outlook_up(f->o, 2, true);
    assert_false(outlook_is_up(f->o, 2));
    outlook_stranger(f->o, 2, false);
    assert_true(outlook_is_up(f->o, 2));
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outlook_plan__asks_both_homes_of_a_slot_that_moves),
        cmocka_unit_test(outlook_plan__misses_the_home_that_may_yet_decide),
        cmocka_unit_test(outlook_place__takes_members_that_nobody_configured),
        cmocka_unit_test(outlook_outdated__when_somebody_else_may_own),
        cmocka_unit_test(outlook_outdated__not_by_the_next_epoch_while_both_sides_are_asked),
        cmocka_unit_test(outlook_stranger__is_as_if_it_were_down),
        cmocka_unit_test(outlook_trusted__only_who_has_said_that_it_has_everything),
        cmocka_unit_test(outlook_trusted__not_who_is_not_seeded_for_these_slots_under_this_id),
        cmocka_unit_test(outlook_trusted__not_who_is_remembered_further_on),
        cmocka_unit_test(outlook_trusted__not_who_is_below_the_floor_of_another),
        cmocka_unit_test(outlook_trusted__not_who_was_away_before_it_speaks_again),
        cmocka_unit_test(outlook_hear__ignores_partitions_that_are_gone),
        cmocka_unit_test(outlook_lag_us__is_the_age_of_the_oldest_mark),
        cmocka_unit_test(outlook_all_blank__only_when_all_are_up_and_have_nothing),
        cmocka_unit_test(outlook_usual__while_all_is_well),
        cmocka_unit_test(outlook_usual__though_another_is_away),
        cmocka_unit_test(outlook_usual__not_before_one_that_came_back_has_spoken),
        cmocka_unit_test(outlook_usual__not_when_what_is_known_is_old),
        cmocka_unit_test(outlook_usual__not_while_somebody_holds_diverts),
        cmocka_unit_test(outlook_usual__counts_a_target_once_even_if_it_is_named_twice),
        cmocka_unit_test(outlook_usual__not_while_the_holder_is_away),
        cmocka_unit_test(outlook_divert__counts_at_once_and_for_a_while),
        cmocka_unit_test(outlook_refusing__keeps_writes_away_for_a_while),
        cmocka_unit_test(outlook_writer__is_the_first_owner_that_is_up),
        cmocka_unit_test(outlook_writer__is_never_one_that_does_not_own_the_key),
        cmocka_unit_test(outlook_plan__asks_the_home_alone),
        cmocka_unit_test(outlook_plan__asks_the_next_owner_while_the_home_is_away),
        cmocka_unit_test(outlook_plan__asks_who_holds_diverts),
        cmocka_unit_test(outlook_plan__asks_all_owners_after_a_divert_of_this_process),
        cmocka_unit_test(outlook_plan__asks_all_owners_when_what_is_known_is_old),
        cmocka_unit_test(outlook_plan__asks_everybody_when_the_first_is_not_trusted),
        cmocka_unit_test(outlook_plan__asks_nobody_when_no_owner_is_up),
        cmocka_unit_test(outlook_plan__misses_who_was_never_heard),
        cmocka_unit_test(outlook_plan__with_quorum_asks_a_majority_of_the_owners),
        cmocka_unit_test(outlook_offset_us__is_at_most_what_the_answer_took_too_much),
        cmocka_unit_test(outlook_reference_us__is_the_median_of_all_clocks),
        cmocka_unit_test(outlook_reference_us__takes_the_partitions_side_when_our_clock_is_wrong),
        cmocka_unit_test(outlook_floor_us__is_above_what_any_clock_shows),
        cmocka_unit_test(
            outlook_see__raises_the_floor_but_does_not_follow_a_clock_that_has_run_away),
        cmocka_unit_test(outlook_floor_us__is_above_what_a_silent_partition_may_stamp),
        cmocka_unit_test(outlook_floor_us__reckons_with_clocks_that_were_never_heard),
        cmocka_unit_test(outlook_floor_us__reckons_with_the_clock_that_is_furthest_ahead),
        cmocka_unit_test(outlook_floor_us__does_not_follow_a_clock_that_has_run_away),
        cmocka_unit_test(outlook_floor_us__always_grows_in_all_threads),
        cmocka_unit_test(outlook_floor_us__is_above_all_writes_that_are_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
