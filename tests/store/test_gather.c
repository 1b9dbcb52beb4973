// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/gather.h"

enum {
    NOW = 1000000,
};

// A statement with `count` operations was answered after `took_us`.
static struct gather after(size_t count, int64_t took_us)
{
    struct gather g = {0};
    gather_sent(&g, count);
    gather_answered(&g, took_us);
    return g;
}

static void gather_wait_us__is_none_for_the_first(void **state)
{
    (void)state;
    struct gather g = {0};
    assert_int_equal(gather_wait_us(&g, 1, NOW), 0);
}

static void gather_wait_us__is_none_for_few(void **state)
{
    (void)state;
    struct gather g = after(3, 400);
    assert_int_equal(gather_wait_us(&g, 1, NOW), 0);
}

static void gather_wait_us__is_half_of_what_the_last_statement_took(void **state)
{
    (void)state;
    struct gather g = after(16, 400);
    assert_int_equal(gather_wait_us(&g, 1, NOW), 200);
    assert_int_equal(gather_wait_us(&g, 15, NOW + 150), 50);
    assert_int_equal(gather_wait_us(&g, 15, NOW + 200), 0);
    assert_int_equal(gather_wait_us(&g, 15, NOW + 9999), 0);
}

static void gather_wait_us__is_at_most_a_millisecond(void **state)
{
    (void)state;
    struct gather g = after(16, 3000000);
    assert_int_equal(gather_wait_us(&g, 1, NOW), 1000);
}

static void gather_wait_us__ends_when_a_quarter_more_than_before_are_there(void **state)
{
    (void)state;
    struct gather g = after(16, 400);
    assert_int_equal(gather_wait_us(&g, 19, NOW), 200);
    assert_int_equal(gather_wait_us(&g, 20, NOW + 1), 0);
}

static void gather_sent__expects_no_more_than_came_in_time(void **state)
{
    (void)state;
    struct gather g = after(16, 400);
    assert_int_equal(gather_wait_us(&g, 8, NOW), 200);
    gather_sent(&g, 8); // the others did not come
    assert_int_equal(gather_wait_us(&g, 8, NOW + 1000), 0);
    assert_int_equal(gather_wait_us(&g, 7, NOW + 1000), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_wait_us__is_none_for_the_first),
        cmocka_unit_test(gather_wait_us__is_none_for_few),
        cmocka_unit_test(gather_wait_us__is_half_of_what_the_last_statement_took),
        cmocka_unit_test(gather_wait_us__is_at_most_a_millisecond),
        cmocka_unit_test(gather_wait_us__ends_when_a_quarter_more_than_before_are_there),
        cmocka_unit_test(gather_sent__expects_no_more_than_came_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
