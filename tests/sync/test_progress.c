// SPDX-License-Identifier: MIT
// The bar that a pass draws on a terminal.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "sync/progress.h"
#include "tests/fake/capture.h"

static struct pass pass;

// expect_shown holds what is drawn at `seconds` when so many of ten steps are done.
static void expect_shown(int64_t seconds, size_t done, const char *expected)
{
    struct bytes out = {0};
    clock_hold(seconds * 1000000, 0);
    atomic_store(&pass.steps_done, done);
    struct capture c = capture_begin();
    progress_show(&pass);
    capture_end(c, &out);
    bytes_append_char(&out, '\0');
    assert_string_equal(out.data, expected);
    bytes_fini(&out);
}

static void expect_hidden(const char *expected)
{
    struct bytes out = {0};
    struct capture c = capture_begin();
    progress_hide(&pass);
    capture_end(c, &out);
    bytes_append_char(&out, '\0');
    assert_string_equal(out.data, expected);
    bytes_fini(&out);
}

static void progress_show__draws_what_is_done_five_times_a_second(void **state)
{
    (void)state;
    pass = (struct pass){
        .options = {.progress = true}, .started_us = 100 * 1000000, .counts = {.copied = 30}};
    expect_hidden("");        // nothing was drawn yet
    expect_shown(100, 0, ""); // of nothing
    pass.steps_total = 10;
    expect_shown(100, 0, ""); // too early for another look
    expect_shown(101, 0,
                 "\r[                              ]   0 %  30 rows  30 rows/s  0 s left \033[K");
    expect_shown(106, 6,
                 "\r[##################            ]  60 %  30 rows  5 rows/s  4 s left \033[K");
    expect_shown(106, 9, "");
    expect_shown(110, 11, // more than there were estimated to be
                 "\r[##############################] 100 %  30 rows  3 rows/s  0 s left \033[K");
    expect_hidden("\r\033[K");
    expect_hidden("");
    clock_release();
}

static void progress_show__draws_nothing_unless_asked(void **state)
{
    (void)state;
    pass = (struct pass){.steps_total = 10};
    expect_shown(200, 5, "");
    expect_hidden("");
    clock_release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_show__draws_what_is_done_five_times_a_second),
        cmocka_unit_test(progress_show__draws_nothing_unless_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
