// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/accept.h"

static void check(const char *accept, enum format expected)
{
    enum format format = accept_choose(slice_of(accept), true, FORMATS_DOCUMENT);
    if (format != expected)
        print_error("Accept: %s\n", accept);
    assert_int_equal(format, expected);
}

static void accept_choose__is_json_without_a_wish(void **state)
{
    (void)state;
    assert_int_equal(accept_choose((struct slice){NULL, 0}, false, FORMATS_DOCUMENT), FORMAT_JSON);
    assert_int_equal(accept_choose((struct slice){NULL, 0}, true, FORMATS_DOCUMENT), FORMAT_JSON);
    assert_int_equal(accept_choose(SLICE("text/html"), false, FORMATS_DOCUMENT), FORMAT_JSON);
    check("", FORMAT_JSON);
    check(" , ,, ", FORMAT_JSON);
    check("*/*", FORMAT_JSON);
    check("rubbish", FORMAT_JSON);
    check("/, a/, /b", FORMAT_JSON);
}

static void accept_choose__knows_every_name(void **state)
{
    (void)state;
    check("application/json", FORMAT_JSON);
    check("application/problem+json", FORMAT_JSON);
    check("text/plain", FORMAT_TEXT);
    check("text/html", FORMAT_HTML);
    check("application/xml", FORMAT_XML);
    check("text/xml", FORMAT_XML);
    check("application/problem+xml", FORMAT_XML);
    check("application/x-ndjson", FORMAT_NDJSON);
    check("application/jsonl", FORMAT_NDJSON);
    check("TEXT/Html", FORMAT_HTML);
    check("  text/html\t", FORMAT_HTML);
}

static void accept_choose__is_none_for_what_is_not_made(void **state)
{
    (void)state;
    check("image/png", FORMAT_NONE);
    check("image/*", FORMAT_NONE);
    check("text/css, image/png;q=0.5", FORMAT_NONE);
    check("*/*;q=0", FORMAT_NONE);
    check("application/json;q=0", FORMAT_NONE);
    check("application/jsonx", FORMAT_NONE);
    check("*/json", FORMAT_NONE);
    check("application/xhtml+xml", FORMAT_NONE);
}

static void accept_choose__gives_a_browser_html(void **state)
{
    (void)state;
    check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", FORMAT_HTML);
    check("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
          FORMAT_HTML);
}

static void accept_choose__takes_the_highest_quality(void **state)
{
    (void)state;
    check("text/html;q=0.1, text/plain;q=0.2", FORMAT_TEXT);
    check("text/html;q=0.001, text/plain;q=0.002", FORMAT_TEXT);
    check("text/html;q=0.9, text/plain;q=0.89", FORMAT_HTML);
    check("text/html;q=0.9, text/plain;q=1", FORMAT_TEXT);
    check("application/json;q=0.5, text/xml", FORMAT_XML);
    check("text/html;q=0, text/plain;q=0.001", FORMAT_TEXT);
}

static void accept_choose__lets_the_more_specific_range_set_the_quality(void **state)
{
    (void)state;
    check("application/json;q=0, */*", FORMAT_TEXT);
    check("application/json;q=0.1, */*;q=0.5", FORMAT_TEXT);
    check("text/*;q=0.9, text/plain;q=0.1, application/json;q=0.5", FORMAT_HTML);
    check("*/*, text/*;q=0, application/json;q=0.1", FORMAT_XML);
    check("*/*;q=0.9, application/*;q=0", FORMAT_TEXT);
    check("application/*;q=0, */*;q=0.1, text/*;q=0", FORMAT_NONE);
}

static void accept_choose__prefers_the_specific_then_the_earlier(void **state)
{
    (void)state;
    check("*/*, text/plain", FORMAT_TEXT);
    check("application/*, text/plain", FORMAT_TEXT);
    check("*/*, text/*", FORMAT_TEXT);
    check("*/*;q=0.8, application/xml;q=0.8", FORMAT_XML);
    check("text/plain, application/json", FORMAT_TEXT);
    check("application/json, text/plain", FORMAT_JSON);
    check("application/jsonl, text/html", FORMAT_NDJSON);
    check("text/xml;q=0.5, application/json;q=0.5", FORMAT_XML);
}

static void accept_choose__lets_a_wildcard_mean_the_first_of_its_type(void **state)
{
    (void)state;
    check("application/*", FORMAT_JSON);
    check("text/*", FORMAT_TEXT);
    check("TEXT/*", FORMAT_TEXT);
    check("text/*, application/json;q=0.9", FORMAT_TEXT);
}

static void accept_choose__takes_the_best_of_several_names(void **state)
{
    (void)state;
    check("application/xml;q=0.2, text/xml;q=0.8, text/plain;q=0.5", FORMAT_XML);
    check("text/xml;q=0.8, application/xml;q=0.2, text/plain;q=0.5", FORMAT_XML);
    check("text/xml;q=0, application/xml", FORMAT_XML);
}

static void accept_choose__keeps_to_the_set(void **state)
{
    static const struct {
        const char *accept;
        enum format feed;
        enum format document;
    } cases[] = {
        {"text/event-stream", FORMAT_EVENTS, FORMAT_NONE},
        {"text/event-stream, application/json;q=0.5", FORMAT_EVENTS, FORMAT_JSON},
        {"text/html, application/x-ndjson;q=0.1", FORMAT_NDJSON, FORMAT_HTML},
        {"text/*", FORMAT_EVENTS, FORMAT_TEXT},
        {"*/*", FORMAT_JSON, FORMAT_JSON},
        {"text/html", FORMAT_NONE, FORMAT_HTML},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice accept = slice_of(cases[i].accept);
        assert_int_equal(accept_choose(accept, true, FORMATS_FEED), cases[i].feed);
        assert_int_equal(accept_choose(accept, true, FORMATS_DOCUMENT), cases[i].document);
    }
}

static void accept_choose__ignores_parameters(void **state)
{
    (void)state;
    check("text/html;charset=utf-8", FORMAT_HTML);
    check("text/html ; level=1 ; q=0.1, text/plain;q=0.2", FORMAT_TEXT);
    check("text/html;level=\"a,b;q=0\", image/png", FORMAT_HTML);
    check("text/html;a=\"\\\",\";q=0.1, text/plain;q=0.2", FORMAT_TEXT);
    check("text/html;q=0.1;q=1, text/plain;q=0.2", FORMAT_TEXT);
    check("text/html;", FORMAT_HTML);
    check("text/html;a=\"open, text/plain", FORMAT_HTML);
}

static void accept_choose__reads_qualities(void **state)
{
    (void)state;
    static const char *const good[] = {"1", "1.", "1.0", "1.000", "0.6", "0.60", "0.600", "0.501"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "text/plain;q=0.5, text/html;Q=%s", good[i]);
        check(text, FORMAT_HTML);
    }
    check("text/html;q=0", FORMAT_NONE);
    check("text/html;q=0.", FORMAT_NONE);
    check("text/html;q=0.000", FORMAT_NONE);
}

static void accept_choose__ignores_a_range_with_malformed_quality(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "2",     "1.1", "1.001", "0.5000", "1.0000", "-1",
                                      ".5",  "00",    "0,5", "a",     "0.a",    "0.5 5",  "+1",
                                      "1e0", "\"1\"", "01",  "0x1",   "10",     "0..5",   "1.x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "text/plain;q=0.001, text/html;q=%s", bad[i]);
        check(text, FORMAT_TEXT);
    }
    check("text/html;q=x", FORMAT_JSON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_choose__is_json_without_a_wish),
        cmocka_unit_test(accept_choose__knows_every_name),
        cmocka_unit_test(accept_choose__is_none_for_what_is_not_made),
        cmocka_unit_test(accept_choose__gives_a_browser_html),
        cmocka_unit_test(accept_choose__takes_the_highest_quality),
        cmocka_unit_test(accept_choose__lets_the_more_specific_range_set_the_quality),
        cmocka_unit_test(accept_choose__prefers_the_specific_then_the_earlier),
        cmocka_unit_test(accept_choose__lets_a_wildcard_mean_the_first_of_its_type),
        cmocka_unit_test(accept_choose__takes_the_best_of_several_names),
        cmocka_unit_test(accept_choose__keeps_to_the_set),
        cmocka_unit_test(accept_choose__ignores_parameters),
        cmocka_unit_test(accept_choose__reads_qualities),
        cmocka_unit_test(accept_choose__ignores_a_range_with_malformed_quality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
