// SPDX-License-Identifier: MIT
// Which versions are remembered.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/random.h"
#include "store/recent.h"

static struct slice key_of(unsigned number, char text[static 16])
{
    return (struct slice){text, (size_t)snprintf(text, 16, "k%u", number)};
}

static void recent__remembers_the_last_version(void **state)
{
    (void)state;
    struct recent recent;
    assert_int_equal(recent_init(&recent, 100), ERROR_NONE);
    assert_int_equal(recent_version(&recent, SLICE("a")), 0);
    recent_note(&recent, SLICE("a"), 7);
    recent_note(&recent, SLICE("b"), 8);
    recent_note(&recent, SLICE("a"), 9);
    assert_int_equal(recent_version(&recent, SLICE("a")), 9);
    assert_int_equal(recent_version(&recent, SLICE("b")), 8);
    assert_int_equal(recent_version(&recent, SLICE("")), 0);
    recent_fini(&recent);
}

static void recent__forgets_the_oldest_of_a_place(void **state)
{
    (void)state;
    struct recent recent;
    char text[16];
    assert_int_equal(recent_init(&recent, RECENT_WAYS), ERROR_NONE); // one place
    for (unsigned i = 1; i <= RECENT_WAYS + 2; i++)
        recent_note(&recent, key_of(i, text), 100 + i);
    for (unsigned i = 1; i <= RECENT_WAYS + 2; i++)
        assert_int_equal(recent_version(&recent, key_of(i, text)), i <= 2 ? 0 : 100 + i);
    assert_int_equal(recent.forgotten, 102);
    recent_fini(&recent);
}

static void recent__is_never_wrong(void **state)
{
    (void)state;
    enum { KEYS = 3000 };
    static uint64_t last[KEYS];
    struct recent recent;
    char text[16];
    random_seed(1);
    unsigned remembered = 0;
    assert_int_equal(recent_init(&recent, 1000), ERROR_NONE);
    for (uint64_t version = 1; version <= 20000; version++) {
        unsigned key = random_below(KEYS);
        recent_note(&recent, key_of(key, text), version);
        last[key] = version;
    }
    for (unsigned key = 0; key < KEYS; key++) {
        uint64_t known = recent_version(&recent, key_of(key, text));
        assert_true(known == last[key] || (known == 0 && last[key] <= recent.forgotten));
        remembered += known != 0;
    }
    assert_true(remembered > 900 && remembered <= 1000);
    recent_fini(&recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recent__remembers_the_last_version),
        cmocka_unit_test(recent__forgets_the_oldest_of_a_place),
        cmocka_unit_test(recent__is_never_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
