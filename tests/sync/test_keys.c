// SPDX-License-Identifier: MIT
// Lists of keys: sorted as VARBINARY is, without repetitions, found again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "sync/keys.h"

static void add(struct keys *keys, struct slice key, uint64_t version)
{
    assert_int_equal(keys_add(keys, key, version), ERROR_NONE);
}

static void keys_sort__orders_by_bytes_and_drops_repetitions(void **state)
{
    (void)state;
    static const char *const given[] = {"b", "a", "ab", "b", "\xff", "a", "A"};
    static const char *const sorted[] = {"A", "a", "ab", "b", "\xff"};
    struct keys keys = {0};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        add(&keys, slice_of(given[i]), 1);
    keys_sort(&keys);
    assert_int_equal(keys.count, sizeof sorted / sizeof *sorted);
    for (size_t i = 0; i < keys.count; i++)
        assert_true(slice_equal(keys.key[i], slice_of(sorted[i])));
    keys_fini(&keys);
}

static void keys_sort__keeps_versions_with_their_keys(void **state)
{
    (void)state;
    struct keys keys = {0};
    random_seed(7);
    for (size_t i = 0; i < 2000; i++) {
        uint32_t n = random_below(1000);
        char text[4] = {(char)(n >> 8), (char)n, 'x', 'y'};
        add(&keys, (struct slice){text, 2 + n % 3}, n);
    }
    keys_sort(&keys);
    for (size_t i = 0; i < keys.count; i++) {
        const unsigned char *k = (const unsigned char *)keys.key[i].data;
        assert_int_equal(keys.version[i], (unsigned)(k[0] << 8 | k[1]));
        assert_int_equal(keys_find(&keys, keys.key[i]), i);
        if (i)
            assert_true(slice_compare(keys.key[i - 1], keys.key[i]) < 0);
    }
    assert_int_equal(keys_find(&keys, slice_of("not there")), -1);
    keys_clear(&keys);
    assert_int_equal(keys_find(&keys, slice_of("x")), -1);
    keys_fini(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_sort__orders_by_bytes_and_drops_repetitions),
        cmocka_unit_test(keys_sort__keeps_versions_with_their_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
