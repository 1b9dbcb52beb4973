// SPDX-License-Identifier: MIT
// Who may ask for what: hosts, origins, tokens, rates.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>

#include "server/access.h"

#define SMALLEST "[store]\npartitions = 1\n[partition-1]\nhost = db1\nuser = sherd\n"
#define OPEN     SMALLEST "[server]\ninsecure = yes\n"
#define CORS     SMALLEST "[server]\ncors_origins = https://a.example, http://b.example:81\n"

static struct access_rates rates;

static struct access *made(const char *text)
{
    struct conf *conf;
    struct bytes why = {0};
    struct access *access;
    if (conf_parse("f", slice_of(text), false, &conf, &why))
        fail_msg("%.*s", (int)why.len, why.data);
    rates = (struct access_rates){0};
    assert_int_equal(access_new(conf, &rates, &access), ERROR_NONE);
    conf_free(&conf);
    return access;
}

// with_token makes the access of one token, which is called `secret`.
static struct access *with_token(const char *options)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof hash + 1], text[600];
    crypto_hash_sha256(hash, (const unsigned char *)"secret", 6);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(text, sizeof text,
             "%s[token-other]\nsha256 = %064d\nread = *\n[token-t]\nsha256 = %s\n%s", SMALLEST, 0,
             hex, options);
    return made(text);
}

static struct slice text_of(const char *text)
{
    return text ? slice_of(text) : (struct slice){NULL, 0};
}

static enum access_verdict check_host(const struct access *a, const char *host)
{
    const struct grant *grant;
    const struct access_request r = {
        .method = METHOD_GET, .resource = RESOURCE_KEY, .host = text_of(host)};
    return access_check(a, &r, &grant);
}

static enum access_verdict check_origin(const struct access *a, enum method method,
                                        const char *origin, const char *site)
{
    const struct grant *grant;
    const struct access_request r = {.method = method,
                                     .resource = RESOURCE_KEY,
                                     .host = SLICE("localhost:8080"),
                                     .origin = text_of(origin),
                                     .site = text_of(site)};
    return access_check(a, &r, &grant);
}

static enum access_verdict check_token(const struct access *a, const char *authorization,
                                       enum resource resource, const struct grant **grant)
{
    const struct access_request r = {.method = METHOD_GET,
                                     .resource = resource,
                                     .host = SLICE("db.example"),
                                     .authorization = text_of(authorization)};
    return access_check(a, &r, grant);
}

static void access_check__without_tokens_wants_a_host_of_this_machine(void **state)
{
    (void)state;
    static const char *const ours[] = {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.1.2.3:1",
                                       "[::1]",     "[::1]:8080",     NULL};
    static const char *const others[] = {"",
                                         "example.com",
                                         "localhost.example.com",
                                         "127.0.0.1.example.com",
                                         "127.0.0",
                                         "127.0.0.256",
                                         "127.0.0.1.1",
                                         "127.0.0.1.com",
                                         "127.0.0.000123.xyz",
                                         "127.a.0.1",
                                         "128.0.0.1",
                                         "[::2]",
                                         "::1",
                                         "localhost:80:80",
                                         "10.127.0.1"};
    struct access *a = made(SMALLEST), *open = made(OPEN);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        assert_int_equal(check_host(a, ours[i]), ACCESS_GRANTED);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (check_host(a, others[i]) != ACCESS_MISDIRECTED)
            fail_msg("taken for this machine: %s", others[i]);
        assert_int_equal(check_host(open, others[i]), ACCESS_GRANTED);
    }
    access_release(&a);
    access_release(&open);
    assert_null(a);
}

static void access_check__refuses_changes_from_pages_of_others(void **state)
{
    (void)state;
    static const enum method changes[] = {METHOD_PUT, METHOD_DELETE, METHOD_POST};
    struct access *a = made(CORS);
    for (size_t i = 0; i < 3; i++) {
        enum method m = changes[i];
        assert_int_equal(check_origin(a, m, NULL, NULL), ACCESS_GRANTED); // no browser
        assert_int_equal(check_origin(a, m, NULL, "same-origin"), ACCESS_GRANTED);
        assert_int_equal(check_origin(a, m, NULL, "cross-site"), ACCESS_FOREIGN);
        assert_int_equal(check_origin(a, m, "http://localhost:8080", "same-origin"),
                         ACCESS_GRANTED);
        assert_int_equal(check_origin(a, m, "https://LOCALHOST:8080", NULL), ACCESS_GRANTED);
        assert_int_equal(check_origin(a, m, "http://localhost:8081", NULL), ACCESS_FOREIGN);
        assert_int_equal(check_origin(a, m, "http://localhost:8080.example", NULL), ACCESS_FOREIGN);
        assert_int_equal(check_origin(a, m, "ftp://localhost:8080", NULL), ACCESS_FOREIGN);
        assert_int_equal(check_origin(a, m, "null", NULL), ACCESS_FOREIGN);
        assert_int_equal(check_origin(a, m, "", NULL), ACCESS_FOREIGN);
        assert_int_equal(check_origin(a, m, "https://a.example", "cross-site"), ACCESS_GRANTED);
        assert_int_equal(check_origin(a, m, "http://b.example:81", NULL), ACCESS_GRANTED);
        assert_int_equal(check_origin(a, m, "http://a.example", NULL), ACCESS_FOREIGN);
        assert_int_equal(check_origin(a, m, "http://b.example", NULL), ACCESS_FOREIGN);
    }
    assert_int_equal(check_origin(a, METHOD_GET, "null", "cross-site"), ACCESS_GRANTED);
    assert_int_equal(check_origin(a, METHOD_HEAD, "https://x.example", NULL), ACCESS_GRANTED);
    access_release(&a);
}

static void access_allowed_origin__is_one_of_the_configured(void **state)
{
    (void)state;
    struct access *a = made(CORS), *none = made(SMALLEST);
    assert_true(slice_equal(access_allowed_origin(a, SLICE("HTTPS://A.example")),
                            SLICE("https://a.example")));
    assert_null(access_allowed_origin(a, SLICE("https://a.example.com")).data);
    assert_null(access_allowed_origin(a, SLICE("")).data);
    assert_null(access_allowed_origin(none, SLICE("https://a.example")).data);
    access_release(&a);
    access_release(&none);
}

static void access_check__wants_a_token_that_is_known(void **state)
{
    (void)state;
    static const char *const wrong[] = {NULL,
                                        "",
                                        "secret",
                                        "Bearer",
                                        "Bearer ",
                                        "Basic secret",
                                        "Bearer Secret",
                                        "Bearer secret2",
                                        "Bearer secre",
                                        "Bearersecret"};
    struct access *a = with_token("read = a/\nwrite = b/, c\nadmin = no\n");
    const struct grant *grant;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (check_token(a, wrong[i], RESOURCE_KEY, &grant) != ACCESS_UNKNOWN)
            fail_msg("let in: %s", wrong[i]);
        assert_false(prefixes_cover(&grant->read, SLICE("a/")));
    }
    assert_int_equal(check_token(a, "bearer secret", RESOURCE_KEY, &grant), ACCESS_GRANTED);
    assert_string_equal(grant->name, "t");
    assert_true(prefixes_cover(&grant->read, SLICE("a/1")));
    assert_false(prefixes_cover(&grant->read, SLICE("b/1")));
    assert_true(prefixes_cover(&grant->write, SLICE("c")));
    assert_false(prefixes_cover(&grant->write, SLICE("a/1")));
    access_release(&a);
}

static void access_check__keeps_admin_to_those_who_are(void **state)
{
    (void)state;
    static const enum resource open[] = {RESOURCE_NONE, RESOURCE_LIVEZ, RESOURCE_READYZ,
                                         RESOURCE_PAGE, RESOURCE_SERVER};
    struct access *user = with_token("read = *\n"), *admin = with_token("admin = yes\n");
    const struct grant *grant;
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        assert_int_equal(check_token(user, NULL, open[i], &grant), ACCESS_GRANTED);
        assert_false(prefixes_cover(&grant->read, SLICE("")));
    }
    assert_int_equal(check_token(user, "Bearer secret", RESOURCE_STATUS, &grant), ACCESS_FORBIDDEN);
    assert_int_equal(check_token(user, "Bearer secret", RESOURCE_METRICS, &grant),
                     ACCESS_FORBIDDEN);
    assert_int_equal(check_token(user, NULL, RESOURCE_STATUS, &grant), ACCESS_UNKNOWN);
    assert_int_equal(check_token(admin, "Bearer secret", RESOURCE_STATUS, &grant), ACCESS_GRANTED);
    assert_false(prefixes_cover(&grant->read, SLICE("a")));
    access_release(&user);
    access_release(&admin);
}

static void access_new__decodes_prefixes(void **state)
{
    (void)state;
    struct access *a = with_token("read = a%2C, %00, %2A\nwrite = *\n");
    const struct grant *grant;
    assert_int_equal(check_token(a, "Bearer secret", RESOURCE_KEY, &grant), ACCESS_GRANTED);
    assert_true(prefixes_cover(&grant->read, SLICE("a,b")));
    assert_true(prefixes_cover(&grant->read, SLICE("\0x")));
    assert_true(prefixes_cover(&grant->read, SLICE("*")));
    assert_false(prefixes_cover(&grant->read, SLICE("b")));
    assert_true(prefixes_cover(&grant->write, SLICE("anything")));
    access_release(&a);
}

static void access_take__saves_up_one_second(void **state)
{
    (void)state;
    struct access *a = with_token("read = *\nrate = 10\n");
    const struct grant *grant;
    int64_t now_us = 50000000;
    assert_int_equal(check_token(a, "Bearer secret", RESOURCE_KEY, &grant), ACCESS_GRANTED);
    for (int i = 0; i < 10; i++)
        assert_true(access_take(grant, 1, now_us));
    assert_false(access_take(grant, 1, now_us));
    assert_false(access_take(grant, 1, now_us));
    now_us += 100000;
    assert_true(access_take(grant, 1, now_us));
    assert_false(access_take(grant, 1, now_us));
    now_us += 3600000000; // an hour of silence is worth no more than a second
    for (int i = 0; i < 10; i++)
        assert_true(access_take(grant, 1, now_us));
    assert_false(access_take(grant, 1, now_us));
    access_release(&a);
}

static void access_take__does_not_count_without_a_rate(void **state)
{
    (void)state;
    struct access *a = with_token("read = *\n");
    const struct grant *grant;
    assert_int_equal(check_token(a, "Bearer secret", RESOURCE_KEY, &grant), ACCESS_GRANTED);
    for (int i = 0; i < 1000; i++)
        assert_true(access_take(grant, 1000, 0));
    access_release(&a);
}

static void access_equal__compares_everything(void **state)
{
    (void)state;
    static const char *const options[] = {"read = a\n",
                                          "read = b\n",
                                          "read = a, b\n",
                                          "read = a\nwrite = a\n",
                                          "read = a\nadmin = yes\n",
                                          "read = a\nrate = 1\n"};
    struct access *first = with_token(options[0]);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        struct access *other = with_token(options[i]);
        assert_int_equal(access_equal(first, other), i == 0);
        access_release(&other);
    }
    struct access *closed = made(SMALLEST), *open = made(OPEN), *cors = made(CORS);
    assert_false(access_equal(first, closed));
    assert_false(access_equal(closed, open));
    assert_false(access_equal(closed, cors));
    access_release(&first);
    access_release(&closed);
    access_release(&open);
    access_release(&cors);
}

static void access_hold__keeps_it(void **state)
{
    (void)state;
    struct access *a = made(SMALLEST), *again = access_hold(a);
    access_release(&a);
    assert_int_equal(check_host(again, "localhost"), ACCESS_GRANTED);
    access_release(&again);
    access_release(&again); // of nothing: nothing happens
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(access_check__without_tokens_wants_a_host_of_this_machine),
        cmocka_unit_test(access_check__refuses_changes_from_pages_of_others),
        cmocka_unit_test(access_allowed_origin__is_one_of_the_configured),
        cmocka_unit_test(access_check__wants_a_token_that_is_known),
        cmocka_unit_test(access_check__keeps_admin_to_those_who_are),
        cmocka_unit_test(access_new__decodes_prefixes),
        cmocka_unit_test(access_take__saves_up_one_second),
        cmocka_unit_test(access_take__does_not_count_without_a_rate),
        cmocka_unit_test(access_equal__compares_everything),
        cmocka_unit_test(access_hold__keeps_it),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
