// SPDX-License-Identifier: MIT
// Each test holds a trap of inih: what it would lose in silence must be a fault here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "conf/ini.h"

// listing reads `text` and returns all items and faults as one text, the caller's to free.
static char *listing(struct slice text)
{
    struct ini ini;
    struct faults faults = {0};
    struct bytes out = {0};
    assert_int_equal(ini_read(text, &ini, &faults), ERROR_NONE);
    for (size_t i = 0; i < ini.count; i++) {
        const struct ini_item *item = &ini.item[i];
        bytes_format(&out, "%u%s[", item->line, item->wrong ? "!" : "");
        bytes_append_slice(&out, item->section);
        bytes_append_text(&out, "]");
        bytes_append_slice(&out, item->name);
        if (item->name.len && !item->wrong)
            bytes_append_text(&out, "=");
        bytes_append_slice(&out, item->value);
        bytes_append_text(&out, "\n");
    }
    assert_int_equal(faults_write(&faults, "f", &out), ERROR_NONE);
    bytes_append_char(&out, 0);
    assert_false(bytes_failed(&out));
    ini_fini(&ini);
    faults_fini(&faults);
    return out.data;
}

static void expect_slice(struct slice text, const char *expected)
{
    char *got = listing(text);
    assert_string_equal(got, expected);
    bytes_fini(&(struct bytes){.data = got});
}

static void expect(const char *text, const char *expected)
{
    expect_slice(slice_of(text), expected);
}

// expect_fault holds that `text` has exactly one fault, in `line`, which says `part`.
static void expect_fault(struct slice text, unsigned line, const char *part)
{
    struct ini ini;
    struct faults faults = {0};
    struct bytes out = {0};
    char prefix[32];
    assert_int_equal(ini_read(text, &ini, &faults), ERROR_NONE);
    assert_int_equal(faults_write(&faults, "f", &out), ERROR_NONE);
    bytes_append_char(&out, 0);
    snprintf(prefix, sizeof prefix, "f:%u: ", line);
    if (strncmp(out.data, prefix, strlen(prefix)) != 0 || !strstr(out.data, part))
        fail_msg("expected %s...%s, got %s", prefix, part, out.data);
    assert_ptr_equal(strchr(out.data, '\n'), out.data + out.len - 2);
    bytes_fini(&out);
    ini_fini(&ini);
}

static void ini_read__yields_sections_and_options_with_lines(void **state)
{
    (void)state;
    expect("# comment\n\n[a]\nx = 1\n; comment\ny=two words\n[b]\n  \t\nx =\n",
           "3[a]\n4[a]x=1\n6[a]y=two words\n7[b]\n9[b]x=\n");
}

static void ini_read__takes_values_verbatim(void **state)
{
    (void)state;
    expect("[a]\nx = \"q\" 'r' a=b:c;d#e # f\\n%s\n", "1[a]\n2[a]x=\"q\" 'r' a=b:c;d#e # f\\n%s\n");
    expect("[a]\nx = p\xc3\xa4ss\n", "1[a]\n2[a]x=p\xc3\xa4ss\n");
    expect("[a]\nx\t=\t1\t2\t\n", "1[a]\n2[a]x=1\t2\n");
}

static void ini_read__takes_crlf_and_a_last_line_without_end(void **state)
{
    (void)state;
    expect("[a]\r\nx = 1\r\n\r\ny = 2", "1[a]\n2[a]x=1\n4[a]y=2\n");
}

static void ini_read__takes_an_empty_text(void **state)
{
    (void)state;
    expect("", "");
    expect("\n\n", "");
    expect_slice((struct slice){NULL, 0}, "");
}

static void ini_read__counts_the_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned lines;
    } cases[] = {{"", 1}, {"[a]", 1}, {"[a]\n", 1}, {"[a]\n\n", 2}, {"[a]\nx = 1", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ini ini;
        struct faults faults = {0};
        assert_int_equal(ini_read(slice_of(cases[i].text), &ini, &faults), ERROR_NONE);
        assert_int_equal(ini.lines, cases[i].lines);
        ini_fini(&ini);
        faults_fini(&faults);
    }
}

static void ini_read__refuses_a_value_cut_by_a_comment(void **state)
{
    (void)state;
    expect_fault(SLICE("[a]\npassword = x ;y\n"), 2, "[a] password: a semicolon after a blank");
    expect_fault(SLICE("[a]\npassword = x\t;y\n"), 2, "comment");
    expect_fault(SLICE("[a]\npassword = ;y\n"), 2, "comment");
    expect_fault(SLICE("[a]\npassword =;y\n"), 2, "comment");
    expect_fault(SLICE("[a]\npassword ;= y\n"), 2, "comment");
    expect_fault(SLICE("[a] ; comment\nx = 1\n"), 1, "comment");
    expect_fault(SLICE("[a ;b]\nx = 1\n"), 1, "comment");
}

static void ini_read__refuses_an_indented_line(void **state)
{
    (void)state;
    expect_fault(SLICE("[a]\nx = 1\n  y = 2\n"), 3, "an indented line");
    expect_fault(SLICE("[a]\nx = 1\n\tsecond line\n"), 3, "an indented line");
    expect_fault(SLICE("[a]\n [b]\nx = 1\n"), 2, "an indented line");
}

static void ini_read__takes_a_comment_of_any_length_and_indentation(void **state)
{
    (void)state;
    char text[1000] = "[a]\n  # ";
    memset(text + strlen(text), '=', 900);
    strcat(text, "\nx = 1\n");
    expect(text, "1[a]\n3[a]x=1\n");
}

static void ini_read__refuses_a_line_over_the_limit(void **state)
{
    (void)state;
    char text[400], expected[400];
    for (size_t len = INI_LINE_MAX - 2; len <= INI_LINE_MAX; len++) {
        char value[INI_LINE_MAX + 1] = "";
        memset(value, 'v', len - 2);
        snprintf(text, sizeof text, "[a]\nx=%s\ny=2\n", value);
        snprintf(expected, sizeof expected, "1[a]\n2[a]x=%s\n3[a]y=2\n", value);
        expect(text, expected);
    }
    for (size_t len = INI_LINE_MAX + 1; len < INI_LINE_MAX + 12; len++) {
        char value[INI_LINE_MAX + 16] = "";
        memset(value, 'v', len - 2);
        snprintf(text, sizeof text, "[a]\nx=%s\ny=2\n", value);
        expect_fault(slice_of(text), 2, "[a] x: the line is too long; at most 196 bytes");
        expect_fault((struct slice){text, strlen(text) - 5}, 2, "too long");
    }
}

static void ini_read__refuses_control_bytes(void **state)
{
    (void)state;
    expect_fault(SLICE("[a]\nx = 1\0002\n"), 2, "[a] x: a control byte");
    expect_fault(SLICE("[a]\nx = \x1b[31m\n"), 2, "control");
    expect_fault(SLICE("[a]\nx = 1\x7f\n"), 2, "control");
    expect_fault(SLICE("[a]\nx = 1\r2\n"), 2, "control");
    expect_fault(SLICE("[a]\nx = 1\r\r\n"), 2, "control");
    expect_fault(SLICE("[a]\nx = 1\r"), 2, "control");
    expect_fault(SLICE("[a]\n# \0 comment\nx = 1\n"), 2, "control");
    expect_fault(SLICE("[a\0b]\nx = 1\n"), 1, "control");
    expect_fault(SLICE("[a]\n\0\n"), 2, "control");
    expect_fault(SLICE("[a]\n\vx = 1\n"), 2, "control");
}

static void ini_read__refuses_a_byte_order_mark(void **state)
{
    (void)state;
    expect("\xef\xbb\xbf[a]\nx = 1\n", "1[a]\n2[a]x=1\nf:1: a byte order mark; save the file as "
                                       "UTF-8 without it\n");
}

static void ini_read__refuses_a_line_that_is_no_option(void **state)
{
    (void)state;
    expect_fault(SLICE("[a]\nx\n"), 2, "neither an option nor a comment");
    expect_fault(SLICE("[a]\nx : 1\n"), 2, "neither an option nor a comment");
    expect_fault(SLICE("[a]\nx : 1 = 2\n"), 2, "not a name before =");
    expect_fault(SLICE("[a]\n= 1\n"), 2, "not a name before =");
    expect_fault(SLICE("[a]\nx y = 1\n"), 2, "not a name before =");
    expect_fault(SLICE("[a]\n\"x\" = 1\n"), 2, "not a name before =");
}

static void ini_read__refuses_an_option_outside_of_a_section(void **state)
{
    (void)state;
    expect("x = 1\ny = 2\n[a]\n",
           "1![]x\n2![]y\n3[a]\n"
           "f:1: x: an option outside of a section; write [section] above it\n"
           "f:2: y: an option outside of a section; write [section] above it\n");
}

static void ini_read__refuses_a_malformed_section(void **state)
{
    (void)state;
    expect_fault(SLICE("[a\nx = 1\n"), 1, "a section without ]");
    expect_fault(SLICE("[a] x\nx = 1\n"), 1, "text after the section");
    expect_fault(SLICE("[a]]\nx = 1\n"), 1, "text after the section");
    expect_fault(SLICE("[]\nx = 1\n"), 1, "not the name of a section");
    expect_fault(SLICE("["), 1, "a section without ]");
}

static void ini_read__refuses_a_section_name_that_would_be_cut(void **state)
{
    (void)state;
    char text[100];
    char expected[200];
    snprintf(text, sizeof text, "[%049d]\nx = 1\n", 0);
    snprintf(expected, sizeof expected, "1[%049d]\n2[%049d]x=1\n", 0, 0);
    expect(text, expected);
    snprintf(text, sizeof text, "[%050d]\nx = 1\n", 0);
    expect_fault(slice_of(text), 1, "not the name of a section; 1 to 49 bytes");
}

static void ini_read__refuses_duplicates_naming_the_first(void **state)
{
    (void)state;
    expect("[a]\nx = 1\ny = 1\nx = 2\nx = 3\n",
           "1[a]\n2[a]x=1\n3[a]y=1\n4[a]x=2\n5[a]x=3\n"
           "f:4: [a] x: a duplicate; the first is in line 2, keep one of them\n"
           "f:5: [a] x: a duplicate; the first is in line 2, keep one of them\n");
    expect_fault(SLICE("[a]\nx = 1\n[b]\nx = 1\n[a]\n"), 5,
                 "[a]: a duplicate; the first is in line 1");
    expect_fault(SLICE("[a]\nx = 1\n[b]\nx = 1\n[a]\ny = 1\n"), 5, "duplicate");
}

static void ini_read__lists_what_it_refused_as_not_missing(void **state)
{
    (void)state;
    char *got = listing(SLICE("[a] ;\nx = 1\n[b]\ny = 1 ; two\n"));
    assert_non_null(strstr(got, "1![a]\n2![a]x\n3[b]\n4![b]y\n"));
    bytes_fini(&(struct bytes){.data = got});
}

static void ini_read__never_tells_a_value(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[a]\npassword = SECRET ;SECRET\n",
        "[a]\npassword = \x01SECRET\n",
        "[a]\npassword: SECRET\n",
        "[a]\nx = 1\n  SECRET\n",
        "[a]\nx = 1\n SECRET=SECRET\n",
        "[a]\nSECRET\n",
        "[a]\nmy SECRET = 1\n",
        "[a]\npassword = SECRET\npassword = SECRET\n",
        "password = SECRET\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ini ini;
        struct faults faults = {0};
        assert_int_equal(ini_read(slice_of(texts[i]), &ini, &faults), ERROR_NONE);
        assert_true(faults_any(&faults));
        assert_null(memmem(faults.text.data, faults.text.len, "SECRET", 6));
        ini_fini(&ini);
        faults_fini(&faults);
    }
}

static void ini_read__reports_every_fault_in_order(void **state)
{
    (void)state;
    char *got = listing(SLICE("x = 1\n[a]\ny\n z\nw = 1\nw = 2\nv = \x01\n[a]\n"));
    const char *at = got;
    static const char *const lines[] = {"f:1:", "f:3:", "f:4:", "f:6:", "f:7:", "f:8:"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_non_null(at = strstr(at, lines[i]));
    bytes_fini(&(struct bytes){.data = got});
}

static void ini_holds__is_true_only_for_what_is_read_back(void **state)
{
    (void)state;
    static const char *const good[] = {"", "a", "/a b/c;d", "a=b", "\"", "#", "\xc3\xa4"};
    static const char *const bad[] = {" a", "a ", "a ;b", ";a", "a\nb", "a\rb", "\x01", "\ta"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[64], expected[64];
        assert_true(ini_holds(slice_of(good[i])));
        snprintf(text, sizeof text, "[a]\nx = %s\n", good[i]);
        snprintf(expected, sizeof expected, "1[a]\n2[a]x=%s\n", good[i]);
        expect(text, expected);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ini_holds(slice_of(bad[i])));
    char longest[INI_VALUE_MAX + 2] = "";
    memset(longest, 'v', INI_VALUE_MAX + 1);
    assert_false(ini_holds(slice_of(longest)));
    assert_true(ini_holds((struct slice){longest, INI_VALUE_MAX}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ini_read__yields_sections_and_options_with_lines),
        cmocka_unit_test(ini_read__takes_values_verbatim),
        cmocka_unit_test(ini_read__takes_crlf_and_a_last_line_without_end),
        cmocka_unit_test(ini_read__takes_an_empty_text),
        cmocka_unit_test(ini_read__counts_the_lines),
        cmocka_unit_test(ini_read__refuses_a_value_cut_by_a_comment),
        cmocka_unit_test(ini_read__refuses_an_indented_line),
        cmocka_unit_test(ini_read__takes_a_comment_of_any_length_and_indentation),
        cmocka_unit_test(ini_read__refuses_a_line_over_the_limit),
        cmocka_unit_test(ini_read__refuses_control_bytes),
        cmocka_unit_test(ini_read__refuses_a_byte_order_mark),
        cmocka_unit_test(ini_read__refuses_a_line_that_is_no_option),
        cmocka_unit_test(ini_read__refuses_an_option_outside_of_a_section),
        cmocka_unit_test(ini_read__refuses_a_malformed_section),
        cmocka_unit_test(ini_read__refuses_a_section_name_that_would_be_cut),
        cmocka_unit_test(ini_read__refuses_duplicates_naming_the_first),
        cmocka_unit_test(ini_read__lists_what_it_refused_as_not_missing),
        cmocka_unit_test(ini_read__never_tells_a_value),
        cmocka_unit_test(ini_read__reports_every_fault_in_order),
        cmocka_unit_test(ini_holds__is_true_only_for_what_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
