// SPDX-License-Identifier: MIT
// Writes keep to the rate, after a burst of at most a second.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "sync/throttle.h"

static void throttle_due__is_nothing_without_a_limit(void **state)
{
    (void)state;
    struct throttle t;
    throttle_init(&t, 0, 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(throttle_due(&t, 1000000, 1000000000), 0);
    throttle_fini(&t);
}

static void throttle_due__keeps_to_the_rate(void **state)
{
    (void)state;
    struct throttle t;
    int64_t now = 1000000;
    clock_hold(now, 0);
    throttle_init(&t, 100, 0);
    int64_t waited = 0;
    for (int i = 0; i < 100; i++) {
        int64_t due = throttle_due(&t, 50, 0);
        waited += due;
        now += due;
        clock_hold(now, 0);
    }
    clock_release();
    // 5000 rows; the last batch is not waited for.
    assert_in_range(waited, 49 * 1000000, 50 * 1000000);
    throttle_fini(&t);
}

static void throttle_due__heeds_the_stricter_of_both(void **state)
{
    (void)state;
    struct throttle t;
    clock_hold(1000000, 0);
    throttle_init(&t, 1000, 100);
    assert_int_equal(throttle_due(&t, 1000, 200), 0);
    assert_int_equal(throttle_due(&t, 1, 1), 2000000);
    clock_release();
    throttle_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(throttle_due__is_nothing_without_a_limit),
        cmocka_unit_test(throttle_due__keeps_to_the_rate),
        cmocka_unit_test(throttle_due__heeds_the_stricter_of_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
