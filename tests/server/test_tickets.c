// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/tickets.h"

static void a_key_is_found_by_its_name(void **state)
{
    struct tickets tickets;
    struct ticket_key key, found;
    (void)state;
    tickets_init(&tickets);
    tickets_present(&tickets, &key);
    assert_int_equal(tickets_find(&tickets, key.name, &found), TICKETS_PRESENT);
    assert_memory_equal(&key, &found, sizeof key);
    key.name[0] ^= 1;
    assert_int_equal(tickets_find(&tickets, key.name, &found), TICKETS_NONE);
    tickets_fini(&tickets);
}

static void keys_change_and_are_forgotten(void **state)
{
    struct tickets tickets;
    struct ticket_key first, second, found;
    (void)state;
    clock_hold(0, 0);
    tickets_init(&tickets);
    tickets_present(&tickets, &first);
    clock_hold((TICKETS_ROTATE_MS - 1) * 1000LL, 0);
    tickets_present(&tickets, &second);
    assert_memory_equal(&first, &second, sizeof first);
    clock_hold(TICKETS_ROTATE_MS * 1000LL, 0);
    assert_int_equal(tickets_find(&tickets, first.name, &found), TICKETS_BEFORE);
    assert_memory_equal(&first, &found, sizeof first);
    tickets_present(&tickets, &second);
    assert_memory_not_equal(first.name, second.name, TICKET_NAME);
    assert_memory_not_equal(first.cipher, second.cipher, sizeof first.cipher);
    assert_memory_not_equal(first.mac, second.mac, sizeof first.mac);
    clock_hold(2LL * TICKETS_ROTATE_MS * 1000, 0);
    assert_int_equal(tickets_find(&tickets, first.name, &found), TICKETS_NONE);
    assert_int_equal(tickets_find(&tickets, second.name, &found), TICKETS_BEFORE);
    tickets_fini(&tickets);
    clock_release();
}

static void keys_that_nobody_asked_for_are_forgotten_too(void **state)
{
    struct tickets tickets;
    struct ticket_key key, found;
    (void)state;
    clock_hold(0, 0);
    tickets_init(&tickets);
    tickets_present(&tickets, &key);
    clock_hold(2LL * TICKETS_ROTATE_MS * 1000, 0);
    assert_int_equal(tickets_find(&tickets, key.name, &found), TICKETS_NONE);
    tickets_fini(&tickets);
    clock_release();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_found_by_its_name),
        cmocka_unit_test(keys_change_and_are_forgotten),
        cmocka_unit_test(keys_that_nobody_asked_for_are_forgotten_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
