// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/key.h"

static void key_valid__takes_1_to_512_bytes_of_anything(void **state)
{
    (void)state;
    static const char text[KEY_MAX + 1];
    assert_false(key_valid((struct slice){NULL, 0}));
    assert_false(key_valid((struct slice){text, 0}));
    for (size_t len = 1; len <= KEY_MAX; len++)
        assert_true(key_valid((struct slice){text, len}));
    assert_false(key_valid((struct slice){text, KEY_MAX + 1}));
    assert_false(key_valid((struct slice){text, SIZE_MAX}));
}

static void expect_end(struct slice prefix, struct slice expected)
{
    char end[KEY_MAX];
    size_t len = key_prefix_end(prefix, end);
    assert_true(slice_equal((struct slice){end, len}, expected));
}

static void key_prefix_end__counts_up_the_last_byte_that_can_be(void **state)
{
    (void)state;
    expect_end(SLICE("a"), SLICE("b"));
    expect_end(SLICE("user:"), SLICE("user;"));
    expect_end(SLICE("\0"), SLICE("\x01"));
    expect_end(SLICE("a\x7f"), SLICE("a\x80"));
    expect_end(SLICE("a\xfe"), SLICE("a\xff"));
    expect_end(SLICE("a\xff"), SLICE("b"));
    expect_end(SLICE("a\xff\xff\xff"), SLICE("b"));
    expect_end(SLICE("a\xff"
                     "b\xff"),
               SLICE("a\xff"
                     "c"));
}

static void key_prefix_end__has_no_end_for_nothing_and_all_ff(void **state)
{
    (void)state;
    static char ff[KEY_MAX];
    memset(ff, 0xff, sizeof ff);
    expect_end((struct slice){NULL, 0}, SLICE(""));
    expect_end(SLICE("\xff"), SLICE(""));
    expect_end((struct slice){ff, KEY_MAX}, SLICE(""));
    ff[0] = 'a';
    expect_end((struct slice){ff, KEY_MAX}, SLICE("b"));
}

// The end is greater than all keys with the prefix, and no string below it is.
static void key_prefix_end__is_the_least_upper_bound(void **state)
{
    (void)state;
    static const unsigned char letters[] = {0x00, 0x01, 'a', 0x7f, 0x80, 0xfe, 0xff};
    enum { COUNT = sizeof letters };
    for (size_t n = 0; n < COUNT * COUNT * COUNT; n++) {
        char prefix[3] = {(char)letters[n % COUNT], (char)letters[n / COUNT % COUNT],
                          (char)letters[n / COUNT / COUNT]};
        char greatest[KEY_MAX], end[KEY_MAX];
        memset(greatest, 0xff, sizeof greatest);
        memcpy(greatest, prefix, sizeof prefix);
        size_t len = key_prefix_end((struct slice){prefix, 3}, end);
        if (len == 0) {
            assert_memory_equal(prefix, "\xff\xff\xff", 3);
            continue;
        }
        struct slice bound = {end, len};
        assert_true(slice_compare(bound, (struct slice){greatest, KEY_MAX}) > 0);
        assert_false(slice_starts(bound, (struct slice){prefix, 3}));
        // What is smaller than the end by one begins with the prefix's own bytes.
        assert_memory_equal(prefix, end, len - 1);
        assert_int_equal((unsigned char)prefix[len - 1] + 1, (unsigned char)end[len - 1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_valid__takes_1_to_512_bytes_of_anything),
        cmocka_unit_test(key_prefix_end__counts_up_the_last_byte_that_can_be),
        cmocka_unit_test(key_prefix_end__has_no_end_for_nothing_and_all_ff),
        cmocka_unit_test(key_prefix_end__is_the_least_upper_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
