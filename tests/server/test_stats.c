// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/stats.h"

static struct stats stats;

static int clear(void **state)
{
    (void)state;
    memset(&stats, 0, sizeof stats);
    return 0;
}

static uint64_t requests(void)
{
    uint64_t sum = 0;
    for (size_t m = 0; m <= METHODS; m++)
        for (size_t s = 0; s < STATS_STATUS_MAX; s++)
            sum += counter_get(&stats.requests[m][s]);
    return sum;
}

static uint64_t latencies(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        sum += counter_get(&stats.latency.bucket[i]);
    return sum;
}

static void stats_count__counts_by_method_and_status(void **state)
{
    (void)state;
    stats_count(&stats, METHOD_GET, 200, 10);
    stats_count(&stats, METHOD_GET, 200, 20);
    stats_count(&stats, METHOD_GET, 404, 30);
    stats_count(&stats, METHOD_PUT, 200, 40);
    stats_count(&stats, METHOD_OTHER, 405, 50);
    assert_int_equal(counter_get(&stats.requests[METHOD_GET][200]), 2);
    assert_int_equal(counter_get(&stats.requests[METHOD_GET][404]), 1);
    assert_int_equal(counter_get(&stats.requests[METHOD_PUT][200]), 1);
    assert_int_equal(counter_get(&stats.requests[METHOD_OTHER][405]), 1);
    assert_int_equal(requests(), 5);
    assert_int_equal(latencies(), 5);
    assert_int_equal(counter_get(&stats.latency.sum), 150);
}

static void stats_count__stays_within_its_table(void **state)
{
    (void)state;
    stats_count(&stats, METHOD_OTHER, STATS_STATUS_MAX - 1, 1);
    assert_int_equal(requests(), 1);
    stats_count(&stats, METHOD_OTHER, STATS_STATUS_MAX, 1);
    stats_count(&stats, METHOD_OTHER, 4294967295, 1);
    assert_int_equal(requests(), 1);
    assert_int_equal(latencies(), 3);
}

static void stats_count__takes_time_that_went_back_for_none(void **state)
{
    (void)state;
    stats_count(&stats, METHOD_GET, 200, -1);
    stats_count(&stats, METHOD_GET, 200, INT64_MIN);
    assert_int_equal(counter_get(&stats.latency.bucket[0]), 2);
    assert_int_equal(counter_get(&stats.latency.sum), 0);
}

static void stats_count__has_buckets_up_to_two_seconds(void **state)
{
    (void)state;
    stats_count(&stats, METHOD_GET, 200, STATS_LATENCY_FIRST_US);
    assert_int_equal(counter_get(&stats.latency.bucket[0]), 1);
    stats_count(&stats, METHOD_GET, 200, STATS_LATENCY_FIRST_US + 1);
    assert_int_equal(counter_get(&stats.latency.bucket[1]), 1);
    stats_count(&stats, METHOD_GET, 200, 2000000);
    stats_count(&stats, METHOD_GET, 200, 60000000);
    assert_int_equal(counter_get(&stats.latency.bucket[HISTOGRAM_BUCKETS - 1]), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(stats_count__counts_by_method_and_status, clear),
        cmocka_unit_test_setup(stats_count__stays_within_its_table, clear),
        cmocka_unit_test_setup(stats_count__takes_time_that_went_back_for_none, clear),
        cmocka_unit_test_setup(stats_count__has_buckets_up_to_two_seconds, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
