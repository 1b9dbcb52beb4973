// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "base/histogram.h"

// check holds that `value` falls into `bucket` and no other.
static void check(uint64_t first, uint64_t value, unsigned bucket)
{
    struct histogram h;
    memset(&h, 0, sizeof h);
    histogram_add(&h, first, value);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (counter_get(&h.bucket[i]) != (i == bucket))
            fail_msg("%llu from %llu: %llu in bucket %u", (unsigned long long)value,
                     (unsigned long long)first, (unsigned long long)counter_get(&h.bucket[i]), i);
    assert_true(counter_get(&h.sum) == value);
}

static void histogram_add__counts_the_edge_in_the_lower_bucket(void **state)
{
    (void)state;
    static const uint64_t firsts[] = {1, 16, 100};
    for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
            uint64_t edge = firsts[f] << i;
            bool last = i == HISTOGRAM_BUCKETS - 1;
            check(firsts[f], edge, i);
            check(firsts[f], edge + 1, last ? i : i + 1);
        }
    }
}

static void histogram_add__takes_the_smallest_and_the_largest(void **state)
{
    (void)state;
    check(1, 0, 0);
    check(16, 0, 0);
    check(1, UINT64_MAX, HISTOGRAM_BUCKETS - 1);
    check(16, UINT64_MAX, HISTOGRAM_BUCKETS - 1);
}

static void histogram_add__adds_up(void **state)
{
    (void)state;
    struct histogram h;
    memset(&h, 0, sizeof h);
    for (uint64_t value = 1; value <= 64; value++)
        histogram_add(&h, 1, value);
    static const uint64_t expected[] = {1, 1, 2, 4, 8, 16, 32, 0};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_true(counter_get(&h.bucket[i]) == expected[i]);
    assert_true(counter_get(&h.sum) == 64 * 65 / 2);
}

static void counter_add__adds_and_set_replaces(void **state)
{
    (void)state;
    counter c = 0;
    assert_true(counter_get(&c) == 0);
    counter_add(&c, 0);
    counter_add(&c, 5);
    counter_add(&c, 7);
    assert_true(counter_get(&c) == 12);
    counter_set(&c, 3);
    counter_add(&c, 1);
    assert_true(counter_get(&c) == 4);
    counter_set(&c, UINT64_MAX - 1);
    counter_add(&c, 1);
    assert_true(counter_get(&c) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histogram_add__counts_the_edge_in_the_lower_bucket),
        cmocka_unit_test(histogram_add__takes_the_smallest_and_the_largest),
        cmocka_unit_test(histogram_add__adds_up),
        cmocka_unit_test(counter_add__adds_and_set_replaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
