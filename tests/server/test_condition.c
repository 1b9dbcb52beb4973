// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "server/condition.h"

#define NOV6 784111777 // Sun, 06 Nov 1994 08:49:37 GMT

static struct condition parsed(const char *value, enum condition_strength strength)
{
    struct condition c;
    assert_int_equal(condition_parse(slice_of(value), strength, &c), ERROR_NONE);
    assert_true(c.present);
    return c;
}

static void condition_parse__reads_the_star(void **state)
{
    (void)state;
    struct condition c = parsed(" * ", CONDITION_STRONG);
    assert_true(c.any);
    assert_int_equal(c.count, 0);
    assert_true(condition_matches(&c, 0));
    assert_true(condition_matches(&c, UINT64_MAX));
}

static void condition_parse__reads_versions(void **state)
{
    (void)state;
    struct condition c = parsed("\"1\",\"0\" ,\t\"18446744073709551615\"", CONDITION_STRONG);
    assert_false(c.any);
    assert_int_equal(c.count, 3);
    assert_true(condition_matches(&c, 1));
    assert_true(condition_matches(&c, 0));
    assert_true(condition_matches(&c, UINT64_MAX));
    assert_false(condition_matches(&c, 2));
}

static void condition_parse__drops_tags_that_are_no_version(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "\"\"",         "\"a\"",   "\"007\"", "\"+7\"", "\"7a\"",
        "\"-7\"",       "\"0x7\"", "\"7,8\"", "\"*\"",  "\"18446744073709551616\"",
        "\"\x80\xff\"", "\"\\\"",  "\"!#~\"", "\"00\"",
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct condition c = parsed(lists[i], CONDITION_WEAK);
        assert_false(c.any);
        assert_int_equal(c.count, 0);
        assert_false(condition_matches(&c, 7));
    }
    assert_int_equal(parsed("\"a,b\", \"7\", \"c\"", CONDITION_STRONG).count, 1);
}

static void condition_parse__compares_weak_tags_only_weakly(void **state)
{
    (void)state;
    struct condition c = parsed("W/\"7\", \"8\"", CONDITION_STRONG);
    assert_false(condition_matches(&c, 7));
    assert_true(condition_matches(&c, 8));
    c = parsed("W/\"7\", \"8\"", CONDITION_WEAK);
    assert_true(condition_matches(&c, 7));
    assert_true(condition_matches(&c, 8));
}

static void condition_parse__tolerates_empty_elements(void **state)
{
    (void)state;
    assert_int_equal(parsed(",, \"1\" , ,\"2\",", CONDITION_STRONG).count, 2);
}

static void condition_parse__refuses_what_is_no_list(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        ",",
        "1",
        "\"1",
        "1\"",
        "\"",
        "W/",
        "W/1",
        "w/\"1\"",
        "W \"1\"",
        "W/ \"1\"",
        "W",
        "*, \"1\"",
        "\"1\", *",
        "**",
        "*,",
        "\"1\"\"2\"",
        "\"1\" \"2\"",
        "\"1\";",
        "\"1\"x",
        "\"1 2\"",
        "\"1\t\"",
        "\"\x7f\"",
        "'1'",
        "\"1\", 2",
        "\"1\"W/\"2\"",
        "W/*",
    };
    struct condition c;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(condition_parse(slice_of(bad[i]), CONDITION_WEAK, &c), ERROR_MALFORMED);
    assert_int_equal(condition_parse((struct slice){NULL, 0}, CONDITION_WEAK, &c), ERROR_MALFORMED);
    assert_int_equal(condition_parse(SLICE("\"1\0\""), CONDITION_WEAK, &c), ERROR_MALFORMED);
}

static void condition_parse__bounds_the_versions(void **state)
{
    (void)state;
    char list[200] = "\"x\",W/\"5\"";
    for (int i = 0; i < CONDITION_TAGS_MAX; i++)
        strcat(list, ",\"1\"");
    assert_int_equal(parsed(list, CONDITION_STRONG).count, CONDITION_TAGS_MAX);
    struct condition c;
    strcat(list, ",\"2\"");
    assert_int_equal(condition_parse(slice_of(list), CONDITION_STRONG, &c), ERROR_TOO_LARGE);
}

static void check_date(const char *text, int64_t seconds)
{
    struct condition_date date = condition_date_parse(slice_of(text));
    if (!date.present || date.seconds != seconds)
        print_error("%s\n", text);
    assert_true(date.present && date.seconds == seconds);
}

static void condition_date_parse__reads_the_three_formats(void **state)
{
    (void)state;
    check_date("Sun, 06 Nov 1994 08:49:37 GMT", NOV6);
    check_date("Sunday, 06-Nov-94 08:49:37 GMT", NOV6);
    check_date("Sun Nov  6 08:49:37 1994", NOV6);
    check_date("Sun Nov 06 08:49:37 1994", NOV6);
    check_date(" Sun, 06 Nov 1994 08:49:37 GMT\t", NOV6);
    check_date("Thu, 01 Jan 1970 00:00:00 GMT", 0);
    check_date("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799);
    check_date("Wed Nov 16 08:49:37 1994", NOV6 + 10 * 86400);
}

static void condition_date_parse__reads_years_of_two_digits(void **state)
{
    (void)state;
    check_date("Thursday, 01-Jan-70 00:00:00 GMT", 0);
    check_date("Friday, 31-Dec-99 23:59:59 GMT", 946684799);
    check_date("Saturday, 01-Jan-00 00:00:00 GMT", 946684800);
    check_date("Sunday, 01-Jan-68 00:00:00 GMT", 3092601600);
}

static void condition_date_parse__knows_leap_days_and_seconds(void **state)
{
    (void)state;
    check_date("Tue, 29 Feb 2000 00:00:00 GMT", 951782400);
    check_date("Thu, 29 Feb 2024 12:00:00 GMT", 1709208000);
    check_date("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800);
    assert_false(condition_date_parse(SLICE("Mon, 29 Feb 2100 00:00:00 GMT")).present);
    assert_false(condition_date_parse(SLICE("Wed, 29 Feb 2023 00:00:00 GMT")).present);
}

static void condition_date_parse__refuses_everything_else(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0",
        "784111777",
        "Sun",
        "Sun, 06 Nov 1994",
        "Sun, 06 Nov 1994 08:49:37",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMTx",
        "Sun, 06 Nov 1994 08:49:37 GMT, x",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Thu, 31 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov +994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:-7 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  06 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov  6 08:49:37 94",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "Wed, 31 Dec 0000 23:59:59 GMT",
        "\"784111777\"",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Monday, 06-Nov-94 08:49:37 GMT",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (condition_date_parse(slice_of(bad[i])).present)
            print_error("%s\n", bad[i]);
        assert_false(condition_date_parse(slice_of(bad[i])).present);
    }
    assert_false(condition_date_parse((struct slice){NULL, 0}).present);
}

// Every eleven days and some hours to the year 9999, against the C library.
static void condition_date_format__agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t at = 0; at < 253402300800; at += 1000003) {
        char ours[CONDITION_DATE_SIZE], theirs[CONDITION_DATE_SIZE];
        time_t seconds = (time_t)at;
        struct tm tm;
        condition_date_format(at, ours);
        strftime(theirs, sizeof theirs, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&seconds, &tm));
        assert_string_equal(ours, theirs);
        struct condition_date back = condition_date_parse(slice_of(ours));
        assert_true(back.present && back.seconds == at);
    }
}

static void condition_date_format__clamps_what_it_cannot_write(void **state)
{
    (void)state;
    char out[CONDITION_DATE_SIZE];
    condition_date_format(NOV6, out);
    assert_string_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT");
    condition_date_format(-1, out);
    assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
    condition_date_format(INT64_MIN, out);
    assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
    condition_date_format(INT64_MAX, out);
    assert_string_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT");
}

// The pair has version 7 and was modified at 100. Dates of -1 are absent.
struct read_case {
    const char *match;
    const char *none_match;
    int64_t modified_since;
    int64_t unmodified_since;
    enum condition_outcome outcome;
};

static void check_read(const struct read_case *r)
{
    struct conditions c = {
        .modified_since = {r->modified_since >= 0, r->modified_since},
        .unmodified_since = {r->unmodified_since >= 0, r->unmodified_since},
    };
    if (r->match)
        c.match = parsed(r->match, CONDITION_STRONG);
    if (r->none_match)
        c.none_match = parsed(r->none_match, CONDITION_WEAK);
    assert_int_equal(condition_evaluate_read(&c, 7, 100), r->outcome);
}

static void check_reads(const struct read_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_read(&cases[i]);
}

#define CHECK_READS(cases) check_reads((cases), sizeof(cases) / sizeof((cases)[0]))

static void condition_evaluate_read__passes_without_conditions(void **state)
{
    (void)state;
    check_read(&(struct read_case){NULL, NULL, -1, -1, CONDITION_PASS});
}

static void condition_evaluate_read__decides_by_one_condition(void **state)
{
    (void)state;
    static const struct read_case cases[] = {
        {"*", NULL, -1, -1, CONDITION_PASS},
        {"\"7\"", NULL, -1, -1, CONDITION_PASS},
        {"\"8\", \"7\"", NULL, -1, -1, CONDITION_PASS},
        {"\"8\"", NULL, -1, -1, CONDITION_FAILED},
        {"W/\"7\"", NULL, -1, -1, CONDITION_FAILED},
        {"\"x\"", NULL, -1, -1, CONDITION_FAILED},
        {NULL, "*", -1, -1, CONDITION_NOT_MODIFIED},
        {NULL, "\"7\"", -1, -1, CONDITION_NOT_MODIFIED},
        {NULL, "W/\"7\"", -1, -1, CONDITION_NOT_MODIFIED},
        {NULL, "\"8\"", -1, -1, CONDITION_PASS},
        {NULL, "\"x\"", -1, -1, CONDITION_PASS},
        {NULL, NULL, 99, -1, CONDITION_PASS},
        {NULL, NULL, 100, -1, CONDITION_NOT_MODIFIED},
        {NULL, NULL, 101, -1, CONDITION_NOT_MODIFIED},
        {NULL, NULL, -1, 99, CONDITION_FAILED},
        {NULL, NULL, -1, 100, CONDITION_PASS},
        {NULL, NULL, -1, 101, CONDITION_PASS},
    };
    CHECK_READS(cases);
}

static void condition_evaluate_read__ignores_dates_beside_tags(void **state)
{
    (void)state;
    static const struct read_case cases[] = {
        {"\"7\"", NULL, -1, 99, CONDITION_PASS},         {"\"8\"", NULL, -1, 101, CONDITION_FAILED},
        {NULL, "\"8\"", 101, -1, CONDITION_PASS},        {NULL, "\"x\"", 101, -1, CONDITION_PASS},
        {NULL, "\"7\"", 99, -1, CONDITION_NOT_MODIFIED},
    };
    CHECK_READS(cases);
}

static void condition_evaluate_read__asks_for_failure_first(void **state)
{
    (void)state;
    static const struct read_case cases[] = {
        {"\"8\"", "\"7\"", -1, -1, CONDITION_FAILED},
        {"\"7\"", "\"7\"", -1, -1, CONDITION_NOT_MODIFIED},
        {"\"7\"", "\"8\"", 101, 99, CONDITION_PASS},
        {NULL, "\"7\"", -1, 99, CONDITION_FAILED},
        {NULL, "\"7\"", -1, 100, CONDITION_NOT_MODIFIED},
        {NULL, NULL, 100, 99, CONDITION_FAILED},
        {NULL, NULL, 100, 100, CONDITION_NOT_MODIFIED},
        {"*", NULL, 100, 99, CONDITION_NOT_MODIFIED},
        {"*", NULL, 99, 99, CONDITION_PASS},
    };
    CHECK_READS(cases);
}

static void condition_allows_range__wants_the_strong_tag(void **state)
{
    (void)state;
    assert_true(condition_allows_range(SLICE("\"7\""), 7, NOV6));
    assert_true(condition_allows_range(SLICE(" \"7\" "), 7, NOV6));
    static const char *const others[] = {"W/\"7\"", "\"8\"", "\"07\"", "\"x\"", "\"7\",\"7\"",
                                         "*",       "7",     "",       "\"7",   "\"7\" x"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(condition_allows_range(slice_of(others[i]), 7, NOV6));
}

static void condition_allows_range__wants_the_exact_date(void **state)
{
    (void)state;
    assert_true(condition_allows_range(SLICE("Sun, 06 Nov 1994 08:49:37 GMT"), 7, NOV6));
    assert_true(condition_allows_range(SLICE("Sun Nov  6 08:49:37 1994"), 7, NOV6));
    assert_false(condition_allows_range(SLICE("Sun, 06 Nov 1994 08:49:37 GMT"), 7, NOV6 - 1));
    assert_false(condition_allows_range(SLICE("Sun, 06 Nov 1994 08:49:37 GMT"), 7, NOV6 + 1));
    assert_false(condition_allows_range(SLICE("Mon, 06 Nov 1994 08:49:37 GMT"), 7, NOV6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(condition_parse__reads_the_star),
        cmocka_unit_test(condition_parse__reads_versions),
        cmocka_unit_test(condition_parse__drops_tags_that_are_no_version),
        cmocka_unit_test(condition_parse__compares_weak_tags_only_weakly),
        cmocka_unit_test(condition_parse__tolerates_empty_elements),
        cmocka_unit_test(condition_parse__refuses_what_is_no_list),
        cmocka_unit_test(condition_parse__bounds_the_versions),
        cmocka_unit_test(condition_date_parse__reads_the_three_formats),
        cmocka_unit_test(condition_date_parse__reads_years_of_two_digits),
        cmocka_unit_test(condition_date_parse__knows_leap_days_and_seconds),
        cmocka_unit_test(condition_date_parse__refuses_everything_else),
        cmocka_unit_test(condition_date_format__agrees_with_the_c_library),
        cmocka_unit_test(condition_date_format__clamps_what_it_cannot_write),
        cmocka_unit_test(condition_evaluate_read__passes_without_conditions),
        cmocka_unit_test(condition_evaluate_read__decides_by_one_condition),
        cmocka_unit_test(condition_evaluate_read__ignores_dates_beside_tags),
        cmocka_unit_test(condition_evaluate_read__asks_for_failure_first),
        cmocka_unit_test(condition_allows_range__wants_the_strong_tag),
        cmocka_unit_test(condition_allows_range__wants_the_exact_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
