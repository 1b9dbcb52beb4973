// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <wchar.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/fake/allocator.h"
#include "tests/fake/capture.h"

#define SAME(slice, text) assert_true(slice_equal((slice), SLICE(text)))
#define TIME              "2026-01-31T23:59:59.123Z"

static const int64_t held_unix_us = INT64_C(1769903999123456); // TIME

static void expect_escaped(struct slice in, struct slice expected)
{
    struct bytes out = {0};
    log_escape(&out, in);
    assert_true(slice_equal(bytes_slice(&out), expected));
    bytes_fini(&out);
}

static void log_escape__lets_nothing_through_but_printable_ascii(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        char in = (char)c, hex[5];
        bool plain = c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';
        snprintf(hex, sizeof hex, "\\x%02x", c);
        expect_escaped((struct slice){&in, 1},
                       plain ? (struct slice){&in, 1} : (struct slice){hex, 4});
    }
}

static void log_escape__escapes_within_text(void **state)
{
    (void)state;
    expect_escaped((struct slice){NULL, 0}, SLICE(""));
    expect_escaped(SLICE("a\nb\r\0c"), SLICE("a\\x0ab\\x0d\\x00c"));
    expect_escaped(SLICE("say \"hi\\\""), SLICE("say \\x22hi\\x5c\\x22"));
    expect_escaped(SLICE("\x1b[31m\x9b\xc2\x85"), SLICE("\\x1b[31m\\x9b\\xc2\\x85"));
}

static void log_escape__appends(void **state)
{
    (void)state;
    struct bytes out = {0};
    bytes_append_text(&out, "key ");
    log_escape(&out, SLICE("a\n"));
    SAME(bytes_slice(&out), "key a\\x0a");
    bytes_fini(&out);
}

static void log_time__writes_utc_with_milliseconds(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},    {999, "1970-01-01T00:00:00.000Z"},
        {1000, "1970-01-01T00:00:00.001Z"}, {INT64_C(951782400000000), "2000-02-29T00:00:00.000Z"},
        {INT64_C(1769903999123456), TIME},  {INT64_C(1769903999999999), "2026-01-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes out = {0};
        clock_hold(0, cases[i].us);
        log_time(&out);
        assert_true(slice_equal(bytes_slice(&out), slice_of(cases[i].text)));
        bytes_fini(&out);
    }
    clock_release();
}

static void log_write__writes_one_line_with_time_and_level(void **state)
{
    (void)state;
    struct bytes out = {0};
    clock_hold(0, held_unix_us);
    log_set_level(LOG_DEBUG);
    struct capture c = capture_begin();
    log_write(LOG_ERROR, "e %d", 1);
    log_write(LOG_WARN, "w %s", "two");
    log_write(LOG_INFO, "i");
    log_write(LOG_DEBUG, "d");
    capture_end(c, &out);
    SAME(bytes_slice(&out),
         TIME " error e 1\n" TIME " warn  w two\n" TIME " info  i\n" TIME " debug d\n");
    bytes_fini(&out);
    log_set_level(LOG_INFO);
    clock_release();
}

static void log_write__drops_what_is_less_important_than_the_level(void **state)
{
    (void)state;
    clock_hold(0, held_unix_us);
    for (enum log_level wanted = LOG_ERROR; wanted <= LOG_DEBUG; wanted++) {
        struct bytes out = {0};
        log_set_level(wanted);
        struct capture c = capture_begin();
        for (enum log_level level = LOG_ERROR; level <= LOG_DEBUG; level++)
            log_write(level, "%d", (int)level);
        capture_end(c, &out);
        size_t lines = 0;
        for (size_t i = 0; i < out.len; i++)
            lines += out.data[i] == '\n';
        assert_int_equal(lines, wanted + 1);
        assert_int_equal(out.data[out.len - 2], '0' + (int)wanted);
        bytes_fini(&out);
    }
    log_set_level(LOG_INFO);
    clock_release();
}

static void log_write__lets_no_message_forge_a_line(void **state)
{
    (void)state;
    struct bytes out = {0};
    clock_hold(0, held_unix_us);
    struct capture c = capture_begin();
    log_write(LOG_INFO, "key %s", "a\n" TIME " error forged\r\x1b[2J\x7f\xff");
    capture_end(c, &out);
    SAME(bytes_slice(&out), TIME " info  key a\\x0a" TIME " error forged\\x0d\\x1b[2J\\x7f\\xff\n");
    bytes_fini(&out);
    clock_release();
}

static void log_write__does_not_escape_twice_what_log_escape_made(void **state)
{
    (void)state;
    struct bytes key = {0}, out = {0};
    log_escape(&key, SLICE("a\n\"\\"));
    bytes_append_char(&key, '\0');
    clock_hold(0, held_unix_us);
    struct capture c = capture_begin();
    log_write(LOG_WARN, "key \"%s\"", key.data);
    capture_end(c, &out);
    SAME(bytes_slice(&out), TIME " warn  key \"a\\x0a\\x22\\x5c\"\n");
    bytes_fini(&key);
    bytes_fini(&out);
    clock_release();
}

static void log_write__cuts_long_lines(void **state)
{
    (void)state;
    static char text[10000];
    struct bytes out = {0};
    memset(text, 'x', sizeof text - 1);
    clock_hold(0, held_unix_us);
    struct capture c = capture_begin();
    log_write(LOG_INFO, "%s", text);
    log_write(LOG_INFO, "next");
    capture_end(c, &out);
    struct slice rest = bytes_slice(&out);
    struct slice line = slice_token(&rest, '\n');
    assert_true(line.len > 1900 && line.len < 2100);
    SAME(rest, TIME " info  next\n");
    bytes_fini(&out);
    clock_release();
}

static void log_write__writes_nothing_rather_than_half_a_line(void **state)
{
    (void)state;
    struct bytes out = {0};
    struct capture c = capture_begin();
    log_write(LOG_ERROR, "abc %lc", (wint_t)0xd800);
    capture_end(c, &out);
    assert_int_equal(out.len, 0);
    bytes_fini(&out);
}

static void log_lines__writes_each(void **state)
{
    (void)state;
    struct bytes lines = {0}, out = {0};
    bytes_append_text(&lines, "one\n\nthree");
    clock_hold(0, held_unix_us);
    struct capture c = capture_begin();
    log_lines(LOG_WARN, &lines);
    log_lines(LOG_DEBUG, &lines);
    capture_end(c, &out);
    SAME(bytes_slice(&out), TIME " warn  one\n" TIME " warn  \n" TIME " warn  three\n");
    clock_release();
    bytes_fini(&lines);
    bytes_fini(&out);
}

static void log_write__needs_no_memory(void **state)
{
    (void)state;
#if OWN_ALLOCATOR
    enum { MESSAGE = 2048 };
    char text[MESSAGE];
    struct bytes out = {0};
    memset(text, '\n', sizeof text);
    struct capture c = capture_begin();
    calls_left = 0;
    log_write(LOG_ERROR, "%.*s", (int)sizeof text, text);
    calls_left = LONG_MAX;
    capture_end(c, &out);
    assert_int_equal(out.len, strlen(TIME " error ") + 4 * (MESSAGE - 1) + 1);
    bytes_fini(&out);
#else
    skip();
#endif
}

static void log_write__survives_a_full_disk(void **state)
{
    (void)state;
    int saved = dup(STDERR_FILENO), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(saved >= 0 && full >= 0);
    assert_true(dup2(full, STDERR_FILENO) >= 0);
    log_write(LOG_ERROR, "nobody will read this");
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_write__writes_nothing_rather_than_half_a_line),
        cmocka_unit_test(log_lines__writes_each),
        cmocka_unit_test(log_write__needs_no_memory),
        cmocka_unit_test(log_write__survives_a_full_disk),
        cmocka_unit_test(log_escape__lets_nothing_through_but_printable_ascii),
        cmocka_unit_test(log_escape__escapes_within_text),
        cmocka_unit_test(log_escape__appends),
        cmocka_unit_test(log_time__writes_utc_with_milliseconds),
        cmocka_unit_test(log_write__writes_one_line_with_time_and_level),
        cmocka_unit_test(log_write__drops_what_is_less_important_than_the_level),
        cmocka_unit_test(log_write__lets_no_message_forge_a_line),
        cmocka_unit_test(log_write__does_not_escape_twice_what_log_escape_made),
        cmocka_unit_test(log_write__cuts_long_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
