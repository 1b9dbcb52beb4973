// SPDX-License-Identifier: MIT
// The known answers are MariaDB's: SELECT CRC32(k) & 16383.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/slot.h"

static void slot_of__equals_what_mariadb_computes(void **state)
{
    (void)state;
    assert_int_equal(slot_of(SLICE("a")), 15939);
    assert_int_equal(slot_of(SLICE("b")), 12281);
    assert_int_equal(slot_of(SLICE("c")), 8047);
    // The check value of CRC-32/ISO-HDLC, 0xcbf43926.
    assert_int_equal(slot_of(SLICE("123456789")), 0xcbf43926 & 16383);
}

static void slot_of__takes_empty_and_binary_keys(void **state)
{
    (void)state;
    assert_int_equal(slot_of(SLICE("")), 0);
    assert_int_equal(slot_of((struct slice){NULL, 0}), 0);
    assert_int_equal(slot_of(SLICE("\0")), 0xd202ef8d & 16383);
    assert_int_equal(slot_of(SLICE("\0\0\0\0")), 0x2144df1c & 16383);
    assert_int_equal(slot_of(SLICE("\xff\xff\xff\xff")), 0xffffffff & 16383);
    assert_int_not_equal(slot_of(SLICE("a\0b")), slot_of(SLICE("a\0c")));
}

static void slot_of__spreads_keys_that_look_alike(void **state)
{
    (void)state;
    static unsigned count[SLOT_COUNT];
    for (unsigned i = 0; i < 8 * SLOT_COUNT; i++) {
        struct bytes key = {0};
        bytes_format(&key, "user:%u", i);
        unsigned slot = slot_of(bytes_slice(&key));
        assert_true(slot < SLOT_COUNT);
        count[slot]++;
        bytes_fini(&key);
    }
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        assert_true(count[slot] <= 40); // 8 on average
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slot_of__equals_what_mariadb_computes),
        cmocka_unit_test(slot_of__takes_empty_and_binary_keys),
        cmocka_unit_test(slot_of__spreads_keys_that_look_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
