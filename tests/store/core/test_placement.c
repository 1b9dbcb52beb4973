// SPDX-License-Identifier: MIT
// The placement as the table holds it, and what follows from it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "store/core/placement.h"
#include "store/slot.h"

static struct placement of(const char *now, const char *other, enum placement_phase phase)
{
    struct placement p = {.epoch = 3, .phase = phase};
    assert_int_equal(members_parse(slice_of(now), &p.now), ERROR_NONE);
    assert_int_equal(members_parse(slice_of(other), &p.other), ERROR_NONE);
    p.now.replicas = p.other.replicas = 2;
    return p;
}

static struct layout *laid_out(const struct placement *p)
{
    struct layout *layout;
    assert_int_equal(layout_new(p, &layout), ERROR_NONE);
    return layout;
}

static void members_parse__reads_what_members_format_writes(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "1:1", "1:1 2:5", "2:1 7:1000", "1000:65535"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct members members;
        struct bytes out = {0};
        assert_int_equal(members_parse(slice_of(texts[i]), &members), ERROR_NONE);
        members_format(&members, &out);
        assert_true(slice_equal(bytes_slice(&out), slice_of(texts[i])));
        bytes_fini(&out);
    }
}

static void members_parse__refuses_anything_else(void **state)
{
    (void)state;
    static const char *const texts[] = {"1",      "1:",      "0:1",     ":1",      "1:0",
                                        "1001:1", "1:65536", "2:1 1:1", "1:1 1:1", "1:1,2:1",
                                        "1 :1",   "-1:1",    "1:1:1",   "a:1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct members members;
        assert_int_equal(members_parse(slice_of(texts[i]), &members), ERROR_MALFORMED);
    }
}

static void gone_parse__reads_what_gone_format_writes(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "3", "3 5 1000"};
    bool gone[CONF_PARTITIONS_MAX];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct bytes out = {0};
        assert_int_equal(gone_parse(slice_of(texts[i]), gone), ERROR_NONE);
        gone_format(gone, &out);
        assert_true(slice_equal(bytes_slice(&out), slice_of(texts[i])));
        bytes_fini(&out);
    }
    assert_int_equal(gone_parse(SLICE("0"), gone), ERROR_MALFORMED);
    assert_int_equal(gone_parse(SLICE("1001"), gone), ERROR_MALFORMED);
    assert_int_equal(gone_parse(SLICE("x"), gone), ERROR_MALFORMED);
}

static void placement_parse_phase__reads_what_it_is_called(void **state)
{
    (void)state;
    enum placement_phase phase;
    for (unsigned i = PLACEMENT_SETTLED; i <= PLACEMENT_SWEEPING; i++) {
        const char *text = placement_phase_text((enum placement_phase)i);
        assert_int_equal(placement_parse_phase(slice_of(text), &phase), ERROR_NONE);
        assert_int_equal(phase, i);
    }
    assert_int_equal(placement_parse_phase(SLICE("Settled"), &phase), ERROR_MALFORMED);
}

static void layout_new__says_whose_home_moves(void **state)
{
    (void)state;
    const struct placement p = of("1:1 2:1 4:1", "1:1 2:1", PLACEMENT_MOVING);
    struct layout *l = laid_out(&p);
    unsigned moving = 0;
    assert_int_equal(l->last, 4);
    assert_ptr_equal(layout_whole(l), l->other);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        assert_int_equal(l->moves[slot], ring_home(l->now, slot) == 4);
        moving += l->moves[slot];
    }
    assert_in_range(moving, SLOT_COUNT / 4, SLOT_COUNT / 2); // a third, about
    for (unsigned id = 1; id <= 4; id++) {
        assert_int_equal(l->fingerprint[id - 1], ring_fingerprint(l->now, id));
        assert_int_equal(l->before[id - 1], ring_fingerprint(l->other, id));
    }
    layout_free(&l);
    assert_null(l);
}

static void layout_new__leaves_out_who_is_forgotten(void **state)
{
    (void)state;
    struct placement p = of("1:1 2:1", "1:1 2:1 3:1", PLACEMENT_MOVING);
    p.gone[2] = true;
    assert_false(placement_has(&p, 3));
    struct layout *l = laid_out(&p);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        assert_false(ring_owns(l->other, slot, 3));
        assert_false(l->moves[slot]); // who stood behind it has all that was brought
    }
    layout_free(&l);
}

static void layout_new__of_settled_members(void **state)
{
    (void)state;
    const struct placement p = of("3:1", "", PLACEMENT_SETTLED);
    struct layout *l = laid_out(&p);
    assert_null(l->other);
    assert_null(l->moves);
    assert_ptr_equal(layout_whole(l), l->now);
    assert_int_equal(ring_replicas(l->now), 1);
    assert_int_equal(ring_home(l->now, 5), 3);
    layout_free(&l);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_parse__reads_what_members_format_writes),
        cmocka_unit_test(members_parse__refuses_anything_else),
        cmocka_unit_test(gone_parse__reads_what_gone_format_writes),
        cmocka_unit_test(placement_parse_phase__reads_what_it_is_called),
        cmocka_unit_test(layout_new__says_whose_home_moves),
        cmocka_unit_test(layout_new__leaves_out_who_is_forgotten),
        cmocka_unit_test(layout_new__of_settled_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
