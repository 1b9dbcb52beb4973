// SPDX-License-Identifier: MIT
// What is done about a key follows from who has it, who owns it and who is trusted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sync/compare.h"

enum { FLOOR = 100 };

// A side in letters: O owner, T trusted; then the version, 0 for none.
static struct side side(const char *what, uint64_t version)
{
    struct side s = {.has = version != 0, .version = version};
    for (; *what; what++) {
        s.owner |= *what == 'O';
        s.trusted |= *what == 'T';
    }
    return s;
}

// expect compares two sides and holds what is to be done with each: f fill, d drop, - neither.
static void expect(struct side a, struct side b, bool missing, enum comparison verdict,
                   const char *marks)
{
    struct side sides[2] = {a, b};
    unsigned newest;
    assert_int_equal(compare_sides(sides, 2, missing, FLOOR, &newest), verdict);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(sides[i].fill, marks[i] == 'f');
        assert_int_equal(sides[i].drop, marks[i] == 'd');
    }
}

static void compare_sides__leaves_equal_ones_alone(void **state)
{
    (void)state;
    expect(side("OT", 7), side("OT", 7), false, COMPARE_EQUAL, "--");
    expect(side("OT", 700), side("O", 700), true, COMPARE_EQUAL, "--");
}

static void compare_sides__fills_the_older_and_the_lacking(void **state)
{
    (void)state;
    expect(side("OT", 700), side("OT", 701), false, COMPARE_FILL, "f-");
    expect(side("OT", 700), side("OT", 0), false, COMPARE_FILL, "-f");
    expect(side("OT", 7), side("OT", 0), true, COMPARE_FILL, "-f");
    expect(side("O", 700), side("OT", 0), false, COMPARE_FILL, "-f");
    expect(side("O", 700), side("OT", 701), false, COMPARE_FILL, "f-");
    expect(side("O", 7), side("OT", 8), false, COMPARE_FILL, "f-");
}

static void compare_sides__does_not_bring_back_what_was_purged(void **state)
{
    (void)state;
    expect(side("O", 99), side("OT", 0), false, COMPARE_PURGED, "d-");
    expect(side("", 99), side("OT", 0), false, COMPARE_PURGED, "d-");
    expect(side("T", 99), side("OT", 0), true, COMPARE_PURGED, "d-");
    expect(side("O", 100), side("OT", 0), false, COMPARE_FILL, "-f");
}

static void compare_sides__takes_nobodys_word_when_nobody_is_trusted(void **state)
{
    (void)state;
    expect(side("O", 99), side("O", 0), false, COMPARE_FILL, "-f");
    expect(side("", 99), side("O", 0), false, COMPARE_FILL, "df");
}

static void compare_sides__moves_what_lies_where_it_does_not_belong(void **state)
{
    (void)state;
    expect(side("T", 700), side("OT", 0), false, COMPARE_FILL, "df");
    expect(side("T", 700), side("OT", 700), false, COMPARE_FILL, "d-");
    expect(side("T", 700), side("OT", 800), false, COMPARE_FILL, "d-");
    expect(side("T", 800), side("OT", 700), false, COMPARE_FILL, "df");
}

static void compare_sides__keeps_strays_while_an_owner_is_away(void **state)
{
    (void)state;
    expect(side("T", 700), side("OT", 0), true, COMPARE_FILL, "-f");
    expect(side("T", 700), side("OT", 700), true, COMPARE_EQUAL, "--");
}

static void compare_sides__copies_from_an_owner_rather(void **state)
{
    (void)state;
    struct side sides[3] = {side("T", 700), side("OT", 700), side("OT", 0)};
    unsigned newest;
    assert_int_equal(compare_sides(sides, 3, false, FLOOR, &newest), COMPARE_FILL);
    assert_int_equal(newest, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compare_sides__leaves_equal_ones_alone),
        cmocka_unit_test(compare_sides__fills_the_older_and_the_lacking),
        cmocka_unit_test(compare_sides__does_not_bring_back_what_was_purged),
        cmocka_unit_test(compare_sides__takes_nobodys_word_when_nobody_is_trusted),
        cmocka_unit_test(compare_sides__moves_what_lies_where_it_does_not_belong),
        cmocka_unit_test(compare_sides__keeps_strays_while_an_owner_is_away),
        cmocka_unit_test(compare_sides__copies_from_an_owner_rather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
