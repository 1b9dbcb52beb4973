// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>

#include "base/random.h"

// These run before the thread's sequence is seeded: there is no way back.
static void random_below__unseeded_stays_below_the_bound(void **state)
{
    (void)state;
    static const uint32_t bounds[] = {2, 3, 10, 1000, UINT32_C(1) << 31, UINT32_MAX};
    for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++)
        for (int i = 0; i < 1000; i++)
            assert_true(random_below(bounds[b]) < bounds[b]);
}

static void random_below__unseeded_reaches_every_number(void **state)
{
    (void)state;
    unsigned seen = 0;
    // That one of eight is not met in 10000 draws has a chance of about 10^-579.
    for (int i = 0; i < 10000; i++)
        seen |= 1u << random_below(8);
    assert_int_equal(seen, 0xff);
}

static void random_below__is_0_for_bounds_0_and_1(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(random_below(0), 0);
        assert_int_equal(random_below(1), 0);
    }
}

static void random_seed__makes_the_sequence_repeatable(void **state)
{
    (void)state;
    uint32_t first[100], differs = 0;
    random_seed(42);
    for (int i = 0; i < 100; i++)
        first[i] = random_below(UINT32_MAX);
    random_seed(42);
    for (int i = 0; i < 100; i++)
        assert_int_equal(random_below(UINT32_MAX), first[i]);
    random_seed(43);
    for (int i = 0; i < 100; i++)
        differs += random_below(UINT32_MAX) != first[i];
    assert_true(differs > 90);
}

static void random_below__seeded_is_even_and_below_the_bound(void **state)
{
    (void)state;
    unsigned count[10] = {0};
    random_seed(7);
    for (int i = 0; i < 100000; i++) {
        uint32_t n = random_below(10);
        assert_true(n < 10);
        count[n]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(count[i], 9500, 10500);
    for (int i = 0; i < 1000; i++)
        assert_true(random_below(UINT32_MAX) < UINT32_MAX);
}

static void *draw(void *context)
{
    uint32_t *numbers = context;
    for (int i = 0; i < 4; i++)
        numbers[i] = random_below(UINT32_MAX);
    return NULL;
}

static void random_seed__seeds_its_own_thread_only(void **state)
{
    (void)state;
    uint32_t own[4], others[4];
    pthread_t thread;
    random_seed(42);
    draw(own);
    random_seed(42);
    assert_int_equal(pthread_create(&thread, NULL, draw, others), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    // An unseeded thread draws the same four with a chance of 2^-128.
    assert_memory_not_equal(own, others, sizeof own);
    draw(others); // and it did not move this thread's sequence
    assert_memory_equal(own, others, sizeof own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_below__unseeded_stays_below_the_bound),
        cmocka_unit_test(random_below__unseeded_reaches_every_number),
        cmocka_unit_test(random_below__is_0_for_bounds_0_and_1),
        cmocka_unit_test(random_seed__makes_the_sequence_repeatable),
        cmocka_unit_test(random_below__seeded_is_even_and_below_the_bound),
        cmocka_unit_test(random_seed__seeds_its_own_thread_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
