// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/route.h"

static void expect(struct slice path, enum resource resource, struct slice name)
{
    struct route route = route_of(path);
    if (route.resource != resource || !slice_equal(route.name, name))
        fail_msg("%.*s: resource %d, name %.*s", (int)path.len, path.data, (int)route.resource,
                 (int)route.name.len, route.name.data ? route.name.data : "");
    if (route.name.len)
        assert_true(route.name.data > path.data); // borrowed from the path
}

#define EXPECT(path, resource, name) expect(SLICE(path), (resource), SLICE(name))

static void route_of__finds_keys(void **state)
{
    (void)state;
    EXPECT("/keys/a", RESOURCE_KEY, "a");
    EXPECT("/keys/a/b/", RESOURCE_KEY, "a/b/");
    EXPECT("/keys//", RESOURCE_KEY, "/");
    EXPECT("/keys/a%3A", RESOURCE_KEY, "a%3A"); // not a prefix: the colon is encoded
    EXPECT("/keys/a%3a", RESOURCE_KEY, "a%3a");
    EXPECT("/keys/a:b", RESOURCE_KEY, "a:b");
    EXPECT("/keys/:a", RESOURCE_KEY, ":a");
    EXPECT("/keys/..", RESOURCE_KEY, "..");
    EXPECT("/keys/../livez", RESOURCE_KEY, "../livez");
    EXPECT("/keys/", RESOURCE_KEY, "");
}

static void route_of__finds_prefixes_by_their_raw_colon(void **state)
{
    (void)state;
    EXPECT("/keys/a:", RESOURCE_PREFIX, "a");
    EXPECT("/keys/a::", RESOURCE_PREFIX, "a:");
    EXPECT("/keys/a:b:", RESOURCE_PREFIX, "a:b");
    EXPECT("/keys/a%3A:", RESOURCE_PREFIX, "a%3A");
    EXPECT("/keys/:", RESOURCE_PREFIX, "");
}

static void route_of__finds_the_rest_by_its_exact_path(void **state)
{
    (void)state;
    EXPECT("/keys", RESOURCE_KEYS, "");
    EXPECT("/bulk", RESOURCE_BULK, "");
    EXPECT("/changes", RESOURCE_CHANGES, "");
    EXPECT("/livez", RESOURCE_LIVEZ, "");
    EXPECT("/readyz", RESOURCE_READYZ, "");
    EXPECT("/status", RESOURCE_STATUS, "");
    EXPECT("/metrics", RESOURCE_METRICS, "");
    EXPECT("/", RESOURCE_PAGE, "");
    EXPECT("*", RESOURCE_SERVER, "");
}

static void route_of__finds_files_of_the_page(void **state)
{
    (void)state;
    EXPECT("/page/page.css", RESOURCE_PAGE, "page.css");
    EXPECT("/page/../keys/a", RESOURCE_PAGE, "../keys/a");
    EXPECT("/page/a:", RESOURCE_PAGE, "a:");
    EXPECT("/page/", RESOURCE_PAGE, "");
    EXPECT("/keys/page/page.css", RESOURCE_KEY, "page/page.css");
}

static void route_of__finds_nothing_else(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",       "/keysa",    "/Keys/a", "/KEYS",   "keys",      "keys/a",    "//keys/a",
        "/bulk/", "/livez/",   "/livez2", "/live",   "/%6Beys",   "/keys%2Fa", "**",
        "/*",     "/status/x", "/.",      "/keys?a", "/metrics ", "/page",     "/pages/x",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        expect(slice_of(paths[i]), RESOURCE_NONE, SLICE(""));
    expect((struct slice){NULL, 0}, RESOURCE_NONE, SLICE(""));
    expect(SLICE("/bulk\0"), RESOURCE_NONE, SLICE(""));
}

static void method_of__knows_its_names_in_capitals(void **state)
{
    (void)state;
    static const char *const names[METHODS] = {"GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS"};
    for (enum method m = 0; m < METHODS; m++) {
        assert_int_equal(method_of(slice_of(names[m])), m);
        assert_string_equal(method_name(m), names[m]);
    }
    static const char *const others[] = {"get", "Get",   "GETS",  "GE",
                                         "",    "PATCH", "TRACE", "CONNECT"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(method_of(slice_of(others[i])), METHOD_OTHER);
    assert_string_equal(method_name(METHOD_OTHER), "other");
}

static void route_allow__lists_methods_that_exist(void **state)
{
    (void)state;
    for (enum resource r = 0; r < RESOURCES; r++) {
        struct slice rest = slice_of(route_allow(r));
        bool options = false, get = false, head = false;
        while (rest.data) {
            enum method method = method_of(slice_trim(slice_token(&rest, ',')));
            assert_int_not_equal(method, METHOD_OTHER);
            options = options || method == METHOD_OPTIONS;
            get = get || method == METHOD_GET;
            head = head || method == METHOD_HEAD;
        }
        assert_true(options);
        assert_int_equal(get, head); // HEAD wherever there is GET
    }
    assert_string_equal(route_allow(RESOURCE_KEY), "GET, HEAD, PUT, DELETE, OPTIONS");
    assert_string_equal(route_allow(RESOURCE_BULK), "POST, OPTIONS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(route_of__finds_keys),
        cmocka_unit_test(route_of__finds_prefixes_by_their_raw_colon),
        cmocka_unit_test(route_of__finds_the_rest_by_its_exact_path),
        cmocka_unit_test(route_of__finds_files_of_the_page),
        cmocka_unit_test(route_of__finds_nothing_else),
        cmocka_unit_test(method_of__knows_its_names_in_capitals),
        cmocka_unit_test(route_allow__lists_methods_that_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
