// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/version.h"

static const int64_t second = 1769903999; // 2026-01-31T23:59:59Z

static uint64_t version_of(int64_t unix_us, unsigned partition)
{
    return (uint64_t)unix_us << 10 | partition;
}

static void version__holds_time_and_partition(void **state)
{
    (void)state;
    for (unsigned partition = 0; partition <= 1023; partition++) {
        uint64_t version = version_of(second * 1000000 + 123456, partition);
        assert_true(version_unix_us(version) == second * 1000000 + 123456);
        assert_true(version_unix_seconds(version) == second);
        assert_int_equal(version_partition(version), partition);
    }
    assert_true(version_unix_us(0) == 0);
    assert_int_equal(version_partition(0), 0);
    assert_true(version_unix_us(UINT64_MAX) == (INT64_C(1) << 54) - 1);
    assert_int_equal(version_partition(UINT64_MAX), 1023);
}

static void version__orders_by_time_and_then_by_partition(void **state)
{
    (void)state;
    assert_true(version_of(second, 1023) < version_of(second + 1, 0));
    assert_true(version_of(second, 1) < version_of(second, 2));
}

static void version_at__is_the_first_version_of_its_second(void **state)
{
    (void)state;
    assert_true(version_at(0) == 0);
    assert_true(version_at(second) == version_of(second * 1000000, 0));
    assert_true(version_unix_seconds(version_at(second)) == second);
    assert_true(version_unix_seconds(version_at(second) - 1) == second - 1);
    assert_true(version_at(1) == 1000000 * 1024);
}

static void version_at__is_0_before_1970(void **state)
{
    (void)state;
    assert_true(version_at(-1) == 0);
    assert_true(version_at(INT64_MIN) == 0);
}

// A client may send `If-Unmodified-Since: Fri, 31 Dec 9999 23:59:59 GMT`.
static void version_at__never_gets_smaller_with_time(void **state)
{
    (void)state;
    const int64_t years = 9999 - 1970;
    uint64_t last = 0;
    for (int64_t year = 0; year <= years; year++) {
        uint64_t version = version_at(year * 31556952);
        if (version < last)
            fail_msg("version_at goes back about the year %d", (int)(1970 + year));
        last = version;
    }
    assert_true(version_at(INT64_C(253402300800)) >= version_of(second * 1000000, 1023));
}

#define TOUCHED_US (second * 1000000 + 123456)

// effective is version_effective in numbers that a test can add to.
static uint64_t effective(uint64_t version, int64_t touched_us)
{
    return version_effective(version, (uint64_t)touched_us);
}

static void version_effective__is_when_sql_wrote_the_row(void **state)
{
    (void)state;
    assert_true(effective(0, TOUCHED_US) == version_of(TOUCHED_US, 0));
    assert_true(effective(version_of(TOUCHED_US - 1, 0), TOUCHED_US) == version_of(TOUCHED_US, 0));
    assert_true(effective(version_of(TOUCHED_US - 1, 1023), TOUCHED_US) ==
                version_of(TOUCHED_US, 0));
    assert_true(effective(version_of(1, 7), TOUCHED_US) == version_of(TOUCHED_US, 0));
}

// The clock that gave the row its version may have been ahead of that of the SQL client's server.
static void version_effective__is_greater_than_the_version_that_was_there(void **state)
{
    (void)state;
    static const int64_t ahead_us[] = {0, 1, 400000, CLOCK_BOUND_US, INT64_C(86399999999)};
    for (size_t i = 0; i < sizeof ahead_us / sizeof ahead_us[0]; i++)
        for (unsigned partition = 0; partition <= 1023; partition++) {
            uint64_t version = version_of(TOUCHED_US + ahead_us[i], partition);
            assert_true(effective(version, TOUCHED_US) > version);
            assert_true(effective(version, TOUCHED_US) ==
                        version_of(TOUCHED_US + ahead_us[i] + 1, 0));
        }
}

static void version_effective__does_not_believe_what_sql_made_up(void **state)
{
    (void)state;
    assert_true(effective(version_of(TOUCHED_US + INT64_C(86400000000), 0), TOUCHED_US) ==
                version_of(TOUCHED_US, 0));
    assert_true(effective(UINT64_MAX, TOUCHED_US) == version_of(TOUCHED_US, 0));
    assert_true(effective(UINT64_MAX - 1023, 0) == 0);
}

static void version_effective__names_no_partition(void **state)
{
    (void)state;
    for (unsigned partition = 0; partition <= 1023; partition++)
        for (int64_t us = TOUCHED_US - 2; us <= TOUCHED_US + 2; us++)
            assert_int_equal(version_partition(effective(version_of(us, partition), TOUCHED_US)),
                             0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version__holds_time_and_partition),
        cmocka_unit_test(version__orders_by_time_and_then_by_partition),
        cmocka_unit_test(version_at__is_the_first_version_of_its_second),
        cmocka_unit_test(version_at__is_0_before_1970),
        cmocka_unit_test(version_at__never_gets_smaller_with_time),
        cmocka_unit_test(version_effective__is_when_sql_wrote_the_row),
        cmocka_unit_test(version_effective__is_greater_than_the_version_that_was_there),
        cmocka_unit_test(version_effective__does_not_believe_what_sql_made_up),
        cmocka_unit_test(version_effective__names_no_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
