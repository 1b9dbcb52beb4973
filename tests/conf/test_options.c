// SPDX-License-Identifier: MIT
// The table of options: its entries are complete, each type takes what it should, and
// docs/configuration.md holds what conf_reference says. `test_options --print` writes that part.
// Run from the root of the project.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "conf/options.h"

static const enum option_section sections[] = {OPTION_STORE, OPTION_SERVER, OPTION_SYNC,
                                               OPTION_PARTITION, OPTION_TOKEN};

enum { SECTIONS = sizeof sections / sizeof *sections };

union base {
    struct conf_store store;
    struct conf_server server;
    struct conf_sync sync;
    struct conf_partition partition;
    struct conf_token token;
};

static const struct option *find(enum option_section section, const char *name)
{
    const struct option *o = option_find(section, slice_of(name));
    assert_non_null(o);
    return o;
}

// outcome sets an option of its own struct, and keeps nothing.
static enum error outcome(enum option_section section, const char *name, const char *value)
{
    union base base = {0};
    const struct option *o = find(section, name);
    enum error error = option_set(o, &base, slice_of(value));
    if (option_is_text(o))
        option_set_text(o, &base, NULL);
    return error;
}

// expect_shown sets an option and holds what it shows then.
static void expect_shown(enum option_section section, const char *name, const char *value,
                         const char *shown)
{
    union base base = {0};
    struct bytes out = {0};
    const struct option *o = find(section, name);
    assert_int_equal(option_set(o, &base, slice_of(value)), ERROR_NONE);
    option_show(o, &base, &out);
    bytes_append_char(&out, 0);
    assert_string_equal(out.data, shown);
    bytes_fini(&out);
    if (option_is_text(o))
        option_set_text(o, &base, NULL);
}

static void expect_all(enum option_section section, const char *name, enum error error,
                       const char *const *values)
{
    for (; *values; values++)
        if (outcome(section, name, *values) != error)
            fail_msg("%s = %s: expected %s", name, *values, error_text(error));
}

#define ALL(...) ((const char *const[]){__VA_ARGS__, NULL})

static void options__have_a_help_of_one_sentence(void **state)
{
    (void)state;
    for (size_t s = 0; s < SECTIONS; s++) {
        size_t count;
        const struct option *o = options_of(sections[s], &count);
        for (size_t i = 0; i < count; i++) {
            if (!o[i].help || strlen(o[i].help) < 10)
                fail_msg("%s has no help", o[i].name);
            assert_int_equal(o[i].help[strlen(o[i].help) - 1], '.');
            assert_null(strchr(o[i].help, '|'));
            assert_true(o[i].help[0] >= 'A' && o[i].help[0] <= 'Z');
        }
    }
}

static void options__have_names_of_their_own(void **state)
{
    (void)state;
    for (size_t s = 0; s < SECTIONS; s++) {
        size_t count;
        const struct option *o = options_of(sections[s], &count);
        for (size_t i = 0; i < count; i++)
            assert_ptr_equal(option_find(sections[s], slice_of(o[i].name)), &o[i]);
    }
    assert_null(option_find(OPTION_STORE, slice_of("threads")));
    assert_null(option_find(OPTION_STORE, slice_of("")));
}

static void options__have_defaults_that_they_accept_and_show(void **state)
{
    (void)state;
    for (size_t s = 0; s < SECTIONS; s++) {
        size_t count;
        const struct option *o = options_of(sections[s], &count);
        for (size_t i = 0; i < count; i++)
            if (o[i].fallback && (*o[i].fallback || o[i].min == 0))
                expect_shown(sections[s], o[i].name, o[i].fallback, o[i].fallback);
    }
}

static void options__that_reload_are_not_those_of_the_store(void **state)
{
    (void)state;
    size_t count;
    const struct option *o = options_of(OPTION_STORE, &count);
    for (size_t i = 0; i < count; i++)
        assert_false(o[i].reload); // conf_adopt
}

// Where versions belong.
static void options__that_reload_are_all_of_a_partition_but_what_it_holds(void **state)
{
    (void)state;
    size_t count;
    const struct option *o = options_of(OPTION_PARTITION, &count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(o[i].reload, strcmp(o[i].name, "database") != 0);
}

static void options__that_are_secret_are_passwords(void **state)
{
    (void)state;
    for (size_t s = 0; s < SECTIONS; s++) {
        size_t count;
        const struct option *o = options_of(sections[s], &count);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(o[i].secret, strcmp(o[i].name, "password") == 0);
    }
}

static void option_set__holds_the_bounds_of_numbers(void **state)
{
    (void)state;
    static const struct {
        enum option_section section;
        const char *name, *below, *min, *max, *above;
    } cases[] = {
        {OPTION_STORE, "partitions", "0", "1", "1000", "1001"},
        {OPTION_STORE, "replicas", "0", "1", "1000", "1001"},
        {OPTION_STORE, "write_acks", "0", "1", "1000", "1001"},
        {OPTION_STORE, "connections", "0", "1", "64", "65"},
        {OPTION_STORE, "batch", "0", "1", "500", "501"},
        {OPTION_STORE, "queue", "0", "1", "1000000", "1000001"},
        {OPTION_STORE, "timeout", "99ms", "100ms", "1m", "60001ms"},
        {OPTION_SERVER, "threads", NULL, "0", "256", "257"},
        {OPTION_SERVER, "clients", "0", "1", "1000000", "1000001"},
        {OPTION_SERVER, "max_value", "0", "1", "16M", "16777217"},
        {OPTION_SERVER, "pipeline", "0", "1", "1000", "1001"},
        {OPTION_SERVER, "head_timeout", "99ms", "100ms", "10m", "600001ms"},
        {OPTION_SERVER, "idle_timeout", "999ms", "1s", "1h", "3600001ms"},
        {OPTION_SERVER, "body_rate", NULL, "0", "1000000000", "1000000001"},
        {OPTION_SERVER, "stop_timeout", "99ms", "100ms", "1m", "60001ms"},
        {OPTION_SYNC, "threads", "0", "1", "64", "65"},
        {OPTION_SYNC, "rows_per_second", NULL, "0", "1000000000", "1000000001"},
        {OPTION_SYNC, "bytes_per_second", NULL, "0", "16384M", "17179869185"},
        {OPTION_SYNC, "verify", NULL, "0", "1000000000", "1000000001"},
        {OPTION_SYNC, "grace", NULL, "0", "24h", "86400001ms"},
        {OPTION_SYNC, "keep_log", NULL, "0", "720h", "2592000001ms"},
        {OPTION_PARTITION, "port", "0", "1", "65535", "65536"},
        {OPTION_PARTITION, "weight", NULL, "0", "1000", "1001"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum option_section section = cases[i].section;
        const char *name = cases[i].name;
        if (cases[i].below)
            assert_int_equal(outcome(section, name, cases[i].below), ERROR_TOO_LARGE);
        assert_int_equal(outcome(section, name, cases[i].min), ERROR_NONE);
        assert_int_equal(outcome(section, name, cases[i].max), ERROR_NONE);
        assert_int_equal(outcome(section, name, cases[i].above), ERROR_TOO_LARGE);
        assert_int_equal(outcome(section, name, "99999999999999999999999"), ERROR_TOO_LARGE);
    }
}

static void option_set__refuses_what_is_not_a_number(void **state)
{
    (void)state;
    expect_all(
        OPTION_SERVER, "clients", ERROR_MALFORMED,
        ALL("", "-1", "+1", "1.5", "1e3", "0x10", "1 0", "ten", "10s", "1K", "auto", "1,000"));
    expect_all(OPTION_SERVER, "max_value", ERROR_MALFORMED,
               ALL("", "K", "1k", "1KB", "1 K", "1.5M", "1G", "-1M", "1MK"));
    expect_all(OPTION_STORE, "timeout", ERROR_MALFORMED,
               ALL("", "s", "5 s", "1.5s", "5sec", "-5s", "1d", "5S", "5ms s"));
}

static void option_set__takes_units_and_shows_the_shortest(void **state)
{
    (void)state;
    expect_shown(OPTION_STORE, "timeout", "500ms", "500ms");
    expect_shown(OPTION_STORE, "timeout", "500", "500ms");
    expect_shown(OPTION_STORE, "timeout", "5000", "5s");
    expect_shown(OPTION_STORE, "timeout", "5500ms", "5500ms");
    expect_shown(OPTION_STORE, "timeout", "60s", "1m");
    expect_shown(OPTION_SERVER, "idle_timeout", "90s", "90s");
    expect_shown(OPTION_SERVER, "idle_timeout", "60m", "1h");
    expect_shown(OPTION_SERVER, "max_value", "1024", "1K");
    expect_shown(OPTION_SERVER, "max_value", "1024K", "1M");
    expect_shown(OPTION_SERVER, "max_value", "1025", "1025");
    expect_shown(OPTION_SERVER, "clients", "0010", "10");
}

static void option_set__takes_words_for_zero(void **state)
{
    (void)state;
    expect_shown(OPTION_SERVER, "threads", "auto", "auto");
    expect_shown(OPTION_SERVER, "threads", "0", "auto");
    expect_shown(OPTION_STORE, "replicas", "all", "all");
    expect_all(OPTION_STORE, "replicas", ERROR_MALFORMED, ALL("auto", "All", "none"));
}

static void option_set__takes_yes_and_no_only(void **state)
{
    (void)state;
    expect_shown(OPTION_SERVER, "allow_clear", "yes", "yes");
    expect_shown(OPTION_SERVER, "allow_clear", "no", "no");
    expect_all(OPTION_SERVER, "allow_clear", ERROR_MALFORMED,
               ALL("", "true", "1", "0", "on", "Yes", "y"));
}

static void option_set__takes_the_levels_only(void **state)
{
    (void)state;
    expect_all(OPTION_SERVER, "log_level", ERROR_NONE, ALL("error", "warn", "info", "debug"));
    expect_all(OPTION_SERVER, "log_level", ERROR_MALFORMED, ALL("", "warning", "INFO", "3"));
    expect_shown(OPTION_SERVER, "log_level", "debug", "debug");
}

static void option_set__takes_addresses(void **state)
{
    (void)state;
    expect_all(OPTION_SERVER, "listen", ERROR_NONE,
               ALL("127.0.0.1:8080", "0.0.0.0:0", "[::1]:80", "[::]:65535", "localhost:1",
                   "a-b.example.com:80", "my_service:80"));
    expect_all(OPTION_SERVER, "listen", ERROR_MALFORMED,
               ALL("8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                   "127.0.0.1:+1", "::1:8080", "[::1]", "[::1]8080", "[::1:8080", "[]:80",
                   "[127.0.0.1]:80", "256.0.0.1:80", "10.1:80", "1.2.3.4.5:80", "a..b:80", "-a:80",
                   "a b:80", "a:80 ", "*:80", "http://a:80", "a:http", "0x7f.1:80"));
}

static void option_set__takes_hosts_without_port(void **state)
{
    (void)state;
    expect_all(OPTION_PARTITION, "host", ERROR_NONE,
               ALL("db1", "db1.example.com", "10.0.0.1", "::1", "fe80::1", "db_1", "1db"));
    expect_all(OPTION_PARTITION, "host", ERROR_MALFORMED,
               ALL("db1:3306", "[::1]", "\"db1\"", "10.0.0", "2130706433", "0x7f000001",
                   "1.2.3.999", ".db", "db.", "a/b", "/run/mysqld.sock", "d b"));
}

static void option_set__takes_names_of_databases(void **state)
{
    (void)state;
    char name[66] = "";
    memset(name, 'd', 65);
    assert_int_equal(outcome(OPTION_PARTITION, "database", name), ERROR_TOO_LARGE);
    name[64] = 0;
    assert_int_equal(outcome(OPTION_PARTITION, "database", name), ERROR_NONE);
    expect_all(OPTION_PARTITION, "database", ERROR_NONE, ALL("a", "Sherd-2_$", "0"));
    expect_all(OPTION_PARTITION, "database", ERROR_MALFORMED,
               ALL("a b", "a.b", "a`b", "a'b", "\xc3\xa4", "a/b", "a;b"));
    assert_int_equal(outcome(OPTION_PARTITION, "database", ""), ERROR_TOO_LARGE);
}

static void option_set__refuses_a_nul_in_a_text(void **state)
{
    (void)state;
    static const char *const names[] = {"host", "user", "password", "socket", "database"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        union base base = {0};
        const struct option *o = find(OPTION_PARTITION, names[i]);
        assert_int_equal(option_set(o, &base, SLICE("a\0b")), ERROR_MALFORMED);
        assert_null(option_text(o, &base));
    }
}

static void option_set__holds_the_lengths_of_texts(void **state)
{
    (void)state;
    char text[202] = "";
    memset(text, 'a', 201);
    static const char *const names[] = {"host", "user", "password", "password_file", "socket"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(outcome(OPTION_PARTITION, names[i], text), ERROR_TOO_LARGE);
    assert_int_equal(outcome(OPTION_SERVER, "access_log", text), ERROR_TOO_LARGE);
    assert_int_equal(outcome(OPTION_SERVER, "listen", text), ERROR_TOO_LARGE);
    assert_int_equal(outcome(OPTION_PARTITION, "user", ""), ERROR_TOO_LARGE);
    assert_int_equal(outcome(OPTION_PARTITION, "password", ""), ERROR_NONE);
    assert_int_equal(outcome(OPTION_SERVER, "access_log", ""), ERROR_NONE);
}

static void option_show__hides_a_secret(void **state)
{
    (void)state;
    expect_shown(OPTION_PARTITION, "password", "secret", "********");
    expect_shown(OPTION_PARTITION, "password", "", "");
}

static void option_explain__says_what_would_be_right(void **state)
{
    (void)state;
    for (size_t s = 0; s < SECTIONS; s++) {
        size_t count;
        const struct option *o = options_of(sections[s], &count);
        for (size_t i = 0; i < count; i++) {
            struct bytes out = {0};
            option_explain(&o[i], SLICE("%VALUE%"), ERROR_MALFORMED, &out);
            bytes_append_char(&out, 0);
            assert_non_null(strstr(out.data, "; "));
            assert_true(strlen(strstr(out.data, "; ")) > 4);
            assert_null(strstr(out.data, "%VALUE%"));
            bytes_fini(&out);
        }
    }
}

static char *read_documentation(void)
{
    FILE *file = fopen("docs/configuration.md", "r");
    assert_non_null(file);
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
    assert_true(feof(file));
    fclose(file);
    return text;
}

static void documentation__is_what_conf_reference_says(void **state)
{
    (void)state;
    char *text = read_documentation();
    struct bytes reference = {0};
    conf_reference(&reference);
    bytes_append_char(&reference, 0);
    char *begin = strstr(text, "<!-- options: ");
    char *end = strstr(text, "<!-- end of options -->");
    assert_non_null(begin);
    assert_non_null(end);
    begin = strchr(begin, '\n') + 1;
    *end = 0;
    assert_string_equal(begin, reference.data); // else: put in what test_options --print says
    bytes_fini(&reference);
    free(text);
}

static int print(void)
{
    struct bytes out = {0};
    conf_reference(&out);
    size_t written = fwrite(out.data, 1, out.len, stdout);
    int failed = written != out.len || bytes_failed(&out);
    bytes_fini(&out);
    return failed;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options__have_a_help_of_one_sentence),
        cmocka_unit_test(options__have_names_of_their_own),
        cmocka_unit_test(options__have_defaults_that_they_accept_and_show),
        cmocka_unit_test(options__that_reload_are_not_those_of_the_store),
        cmocka_unit_test(options__that_reload_are_all_of_a_partition_but_what_it_holds),
        cmocka_unit_test(options__that_are_secret_are_passwords),
        cmocka_unit_test(option_set__holds_the_bounds_of_numbers),
        cmocka_unit_test(option_set__refuses_what_is_not_a_number),
        cmocka_unit_test(option_set__takes_units_and_shows_the_shortest),
        cmocka_unit_test(option_set__takes_words_for_zero),
        cmocka_unit_test(option_set__takes_yes_and_no_only),
        cmocka_unit_test(option_set__takes_the_levels_only),
        cmocka_unit_test(option_set__takes_addresses),
        cmocka_unit_test(option_set__takes_hosts_without_port),
        cmocka_unit_test(option_set__takes_names_of_databases),
        cmocka_unit_test(option_set__refuses_a_nul_in_a_text),
        cmocka_unit_test(option_set__holds_the_lengths_of_texts),
        cmocka_unit_test(option_show__hides_a_secret),
        cmocka_unit_test(option_explain__says_what_would_be_right),
        cmocka_unit_test(documentation__is_what_conf_reference_says),
    };
    if (argc > 1 && strcmp(argv[1], "--print") == 0)
        return print();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
