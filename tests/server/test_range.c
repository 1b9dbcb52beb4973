// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/range.h"

struct parse_case {
    const char *value;
    uint64_t size;
    enum range_kind kind;
    uint64_t first;
    uint64_t last;
};

static void check(const struct parse_case *c)
{
    struct range range = {77, 88};
    enum range_kind kind = range_parse(slice_of(c->value), c->size, &range);
    if (kind != c->kind)
        print_error("Range: %s of %llu\n", c->value, (unsigned long long)c->size);
    assert_int_equal(kind, c->kind);
    assert_true(range.first == (kind == RANGE_PART ? c->first : 77));
    assert_true(range.last == (kind == RANGE_PART ? c->last : 88));
}

static void check_all(const struct parse_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(&cases[i]);
}

#define CHECK(cases) check_all((cases), sizeof(cases) / sizeof((cases)[0]))

static void range_parse__serves_one_range(void **state)
{
    (void)state;
    static const struct parse_case cases[] = {
        {"bytes=0-0", 10, RANGE_PART, 0, 0},      {"bytes=0-9", 10, RANGE_PART, 0, 9},
        {"bytes=2-5", 10, RANGE_PART, 2, 5},      {"bytes=9-9", 10, RANGE_PART, 9, 9},
        {"bytes=0-", 10, RANGE_PART, 0, 9},       {"bytes=9-", 10, RANGE_PART, 9, 9},
        {"bytes=-1", 10, RANGE_PART, 9, 9},       {"bytes=-10", 10, RANGE_PART, 0, 9},
        {"bytes=002-0005", 10, RANGE_PART, 2, 5}, {"BYTES=2-5", 10, RANGE_PART, 2, 5},
        {" bytes=2-5\t", 10, RANGE_PART, 2, 5},   {"bytes= 2-5", 10, RANGE_PART, 2, 5},
        {"bytes=0-0", 1, RANGE_PART, 0, 0},
    };
    CHECK(cases);
}

static void range_parse__ends_at_the_end(void **state)
{
    (void)state;
    static const struct parse_case cases[] = {
        {"bytes=2-10", 10, RANGE_PART, 2, 9},
        {"bytes=0-18446744073709551615", 10, RANGE_PART, 0, 9},
        {"bytes=0-99999999999999999999999", 10, RANGE_PART, 0, 9},
        {"bytes=-11", 10, RANGE_PART, 0, 9},
        {"bytes=-99999999999999999999999", 10, RANGE_PART, 0, 9},
    };
    CHECK(cases);
}

static void range_parse__knows_what_cannot_be_satisfied(void **state)
{
    (void)state;
    static const struct parse_case cases[] = {
        {"bytes=10-", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=10-10", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999-", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999-99999999999999999999", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=18446744073709551615-", UINT64_MAX, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-000", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-0", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", 0, RANGE_UNSATISFIABLE, 0, 0},
    };
    CHECK(cases);
}

static void range_parse__holds_at_the_largest_size(void **state)
{
    (void)state;
    static const struct parse_case cases[] = {
        {"bytes=18446744073709551614-", UINT64_MAX, RANGE_PART, UINT64_MAX - 1, UINT64_MAX - 1},
        {"bytes=-18446744073709551615", UINT64_MAX, RANGE_PART, 0, UINT64_MAX - 1},
        {"bytes=-1", UINT64_MAX, RANGE_PART, UINT64_MAX - 1, UINT64_MAX - 1},
        {"bytes=0-18446744073709551615", UINT64_MAX, RANGE_PART, 0, UINT64_MAX - 1},
    };
    CHECK(cases);
}

static void range_parse__ignores_everything_else(void **state)
{
    (void)state;
    static const char *const values[] = {
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=1",
        "bytes=a-",
        "bytes=a-b",
        "bytes=1-b",
        "bytes=5-2",
        "bytes=0-1,3-4",
        "bytes=0-1,",
        "bytes=,0-1",
        "bytes=1--2",
        "bytes=--1",
        "bytes=-1-",
        "bytes=+1-2",
        "bytes=1-+2",
        "bytes=0x1-2",
        "bytes=1 -2",
        "bytes=1- 2",
        "bytes=- 2",
        "bytes =1-2",
        "bytes:1-2",
        "byte=1-2",
        "items=1-2",
        "=1-2",
        "1-2",
        "bytes==1-2",
        "bytes=1-2=3",
        "bytes=1-2;",
        "bytes=1.0-2",
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        check(&(struct parse_case){values[i], 10, RANGE_WHOLE, 0, 0});
    check(&(struct parse_case){"bytes=-5", 0, RANGE_WHOLE, 0, 0});
    struct range range;
    assert_int_equal(range_parse((struct slice){NULL, 0}, 10, &range), RANGE_WHOLE);
    assert_int_equal(range_parse(SLICE("bytes=1-\0002"), 10, &range), RANGE_WHOLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_parse__serves_one_range),
        cmocka_unit_test(range_parse__ends_at_the_end),
        cmocka_unit_test(range_parse__knows_what_cannot_be_satisfied),
        cmocka_unit_test(range_parse__holds_at_the_largest_size),
        cmocka_unit_test(range_parse__ignores_everything_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
