// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static void clock_hold__stops_both_clocks(void **state)
{
    (void)state;
    clock_hold(1234567, 1769903999123456);
    for (int i = 0; i < 3; i++) {
        assert_true(clock_us() == 1234567);
        assert_true(clock_ms() == 1234);
        assert_true(clock_unix_us() == 1769903999123456);
    }
    clock_hold(0, -1);
    assert_true(clock_us() == 0);
    assert_true(clock_ms() == 0);
    assert_true(clock_unix_us() == -1);
    clock_release();
}

static void clock_release__lets_both_run_again(void **state)
{
    (void)state;
    clock_hold(1, 1);
    clock_release();
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t before = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    int64_t unix_us = clock_unix_us();
    assert_true(unix_us - before < 60 * INT64_C(1000000) &&
                before - unix_us < 60 * INT64_C(1000000));
    clock_gettime(CLOCK_MONOTONIC, &now);
    before = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    assert_true(clock_us() >= before);
}

static void clock_us__never_goes_back_and_moves(void **state)
{
    (void)state;
    int64_t begin = clock_us(), last = begin;
    while (last < begin + 2000) { // ends with the clock itself
        int64_t now = clock_us();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_ms() >= last / 1000);
    assert_true(clock_ms() <= clock_us() / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clock_hold__stops_both_clocks),
        cmocka_unit_test(clock_release__lets_both_run_again),
        cmocka_unit_test(clock_us__never_goes_back_and_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
