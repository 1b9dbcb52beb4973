// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "server/crowd.h"

enum { MOST = 3 };

static bool enter(struct crowd *crowd, const char *address, struct crowd_place **place)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        storage.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, address, &v6->sin6_addr), 1);
        storage.ss_family = AF_INET6;
    }
    return crowd_enter(crowd, (struct sockaddr *)&storage, MOST, place);
}

static void an_address_has_so_many_and_no_more(void **state)
{
    struct crowd crowd;
    struct crowd_place *place[MOST], *more;
    (void)state;
    crowd_init(&crowd);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MOST; i++)
            assert_true(enter(&crowd, "192.0.2.1", &place[i]));
        assert_false(enter(&crowd, "192.0.2.1", &more));
        assert_null(more);
        assert_true(enter(&crowd, "192.0.2.2", &more));
        crowd_leave(&crowd, &more);
        assert_null(more);
        crowd_leave(&crowd, &place[0]);
        assert_true(enter(&crowd, "192.0.2.1", &place[0]));
        for (int i = 0; i < MOST; i++)
            crowd_leave(&crowd, &place[i]);
    }
    crowd_leave(&crowd, &more); // of nobody
    crowd_fini(&crowd);
}

static void a_network_of_ipv6_is_one_address(void **state)
{
    struct crowd crowd;
    struct crowd_place *place[MOST], *more;
    (void)state;
    crowd_init(&crowd);
    assert_true(enter(&crowd, "2001:db8::1", &place[0]));
    assert_true(enter(&crowd, "2001:db8::2", &place[1]));
    assert_true(enter(&crowd, "2001:db8:0:0:ffff::", &place[2]));
    assert_false(enter(&crowd, "2001:db8::3", &more));
    assert_true(enter(&crowd, "2001:db8:0:1::1", &more));
    crowd_leave(&crowd, &more);
    for (int i = 0; i < MOST; i++)
        crowd_leave(&crowd, &place[i]);
    crowd_fini(&crowd);
}

static void the_same_bytes_of_ipv4_and_ipv6_are_two(void **state)
{
    struct crowd crowd;
    struct crowd_place *place[MOST], *more;
    (void)state;
    crowd_init(&crowd);
    for (int i = 0; i < MOST; i++)
        assert_true(enter(&crowd, "32.1.13.184", &place[i])); // 2001:db8
    assert_true(enter(&crowd, "2001:db8::1", &more));
    crowd_leave(&crowd, &more);
    for (int i = 0; i < MOST; i++)
        crowd_leave(&crowd, &place[i]);
    crowd_fini(&crowd);
}

static void ipv4_through_a_socket_of_ipv6_is_ipv4(void **state)
{
    struct crowd crowd;
    struct crowd_place *place[MOST], *more;
    (void)state;
    crowd_init(&crowd);
    assert_true(enter(&crowd, "192.0.2.1", &place[0]));
    assert_true(enter(&crowd, "::ffff:192.0.2.1", &place[1]));
    assert_true(enter(&crowd, "::ffff:192.0.2.1", &place[2]));
    assert_false(enter(&crowd, "::ffff:192.0.2.1", &more));
    assert_true(enter(&crowd, "::ffff:192.0.2.2", &more));
    crowd_leave(&crowd, &more);
    for (int i = 0; i < MOST; i++)
        crowd_leave(&crowd, &place[i]);
    crowd_fini(&crowd);
}

static void very_many_addresses(void **state)
{
    enum { ADDRESSES = 10000 };
    static struct crowd_place *place[ADDRESSES];
    struct crowd crowd;
    char text[INET_ADDRSTRLEN];
    (void)state;
    crowd_init(&crowd);
    for (unsigned i = 0; i < ADDRESSES; i++) {
        const struct in_addr address = {htonl(0x0a000000 + i)};
        assert_true(enter(&crowd, inet_ntop(AF_INET, &address, text, sizeof text), &place[i]));
    }
    for (unsigned i = 0; i < ADDRESSES / 2; i++)
        crowd_leave(&crowd, &place[i]);
    crowd_fini(&crowd); // with the others still there
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_so_many_and_no_more),
        cmocka_unit_test(a_network_of_ipv6_is_one_address),
        cmocka_unit_test(the_same_bytes_of_ipv4_and_ipv6_are_two),
        cmocka_unit_test(ipv4_through_a_socket_of_ipv6_is_ipv4),
        cmocka_unit_test(very_many_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
