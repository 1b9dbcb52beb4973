// SPDX-License-Identifier: MIT
// What a listener is owed: which events wait for it, and where its tokens stay meanwhile.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/debt.h"
#include "server/feed.h"
#include "store/version.h"

enum { THREE = 3 };

static struct token *parsed(const char *text)
{
    struct token *token;
    assert_int_equal(token_parse(slice_of(text), THREE, &token), ERROR_NONE);
    return token;
}

static struct debt *made(const char *text)
{
    struct debt *debt;
    struct token *at = parsed(text);
    assert_int_equal(debt_new(at, &debt), ERROR_NONE);
    token_free(&at);
    return debt;
}

static void expect_applied(const struct debt *debt, const char *before, const char *after)
{
    struct token *token = parsed(before);
    struct bytes text = {0};
    assert_int_equal(debt_apply(debt, token), ERROR_NONE);
    token_format(token, &text);
    bytes_append_char(&text, '\0');
    assert_string_equal(text.data, after);
    bytes_fini(&text);
    token_free(&token);
}

static struct feed_event event(uint64_t ms, const char *token)
{
    return (struct feed_event){.partition = 1,
                               .seq = 19,
                               .version = ms * 1000 << VERSION_PARTITION_BITS,
                               .token = slice_of(token)};
}

static void debt_apply__keeps_what_is_owed_and_what_is_newest(void **state)
{
    (void)state;
    struct debt *debt = made("1.10v100_2.20v200_3.30v300");
    debt->owed[1] = OWED_AWAY;
    debt->owed[2] = OWED_HELD;
    expect_applied(debt, "1.11v50_2.21v250_3.31", "1.11v100_2.20v250_3.30v300");
    debt_free(&debt);
    assert_null(debt);
    debt_free(&debt); // of nothing: nothing happens
}

static void debt_holds__what_may_be_older_than_what_is_known_of_the_absent(void **state)
{
    (void)state;
    struct debt *debt = made("1.10v100_2.20v200_3.30v300");
    const struct feed_event older = event(199, "1.19"), newer = event(200, "1.19");
    debt->owed[2] = OWED_HELD; // it can be read: nothing waits for it
    assert_false(debt_holds(debt, &older));
    debt->owed[1] = OWED_AWAY;
    assert_true(debt_holds(debt, &older));
    assert_false(debt_holds(debt, &newer));
    debt_free(&debt);
}

static void debt_hold_back__has_the_event_read_again(void **state)
{
    (void)state;
    struct debt *debt = made("1.10v100_2.20v200_3.30v300");
    debt->owed[1] = OWED_AWAY;
    const struct feed_event first = event(199, "1.19-7~15v195_2.20"), second = event(198, "1.25");
    assert_int_equal(debt_hold_back(debt, &first), ERROR_NONE);
    expect_applied(debt, "1.40_2.21_3.31", "1.19-7~15~19v195_2.20v200_3.31v300");
    assert_int_equal(debt_hold_back(debt, &second), ERROR_NONE); // it lies behind already
    expect_applied(debt, "1.40_2.21_3.31", "1.19-7~15~19v195_2.20v200_3.31v300");
    debt_free(&debt);
}

static void debt_hold_back__has_its_whole_batch_read_again(void **state)
{
    (void)state;
    struct debt *debt = made("1.10v100_2.20v200");
    debt->owed[1] = OWED_AWAY;
    const struct feed_event in_the_middle = event(199, "1.18-7k19-3v195_2.20");
    assert_int_equal(debt_hold_back(debt, &in_the_middle), ERROR_NONE);
    expect_applied(debt, "1.40_2.21", "1.18-7v195_2.20v200");
    debt_free(&debt);
}

static void debt_hold_back__refuses_what_is_no_token(void **state)
{
    (void)state;
    struct debt *debt = made("1.10");
    const struct feed_event wrong = event(1, "x");
    assert_int_equal(debt_hold_back(debt, &wrong), ERROR_MALFORMED);
    assert_int_equal(debt->owed[0], OWED_NOTHING);
    debt_free(&debt);
}

static void debt_is_due__when_one_that_was_away_is_back(void **state)
{
    (void)state;
    const unsigned equal[] = {1, 1, 1};
    struct ring *ring;
    struct outlook_shared *shared;
    struct outlook *outlook;
    struct debt *debt = made("1.10_2.20_3.30");
    assert_int_equal(ring_new(equal, THREE, THREE, &ring), ERROR_NONE);
    assert_int_equal(outlook_shared_new(THREE, &shared), ERROR_NONE);
    assert_int_equal(outlook_new(ring, THREE, shared, &outlook), ERROR_NONE);
    outlook_up(outlook, 1, true);
    debt->owed[0] = OWED_HELD;
    assert_true(debt_is_due(debt, outlook)); // nobody is away: what it waited for is there
    debt->owed[1] = debt->owed[2] = OWED_AWAY;
    assert_false(debt_is_due(debt, outlook));
    outlook_up(outlook, 3, true);
    assert_true(debt_is_due(debt, outlook));
    outlook_free(&outlook);
    outlook_shared_free(&shared);
    ring_free(&ring);
    debt_free(&debt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(debt_apply__keeps_what_is_owed_and_what_is_newest),
        cmocka_unit_test(debt_holds__what_may_be_older_than_what_is_known_of_the_absent),
        cmocka_unit_test(debt_hold_back__has_the_event_read_again),
        cmocka_unit_test(debt_hold_back__has_its_whole_batch_read_again),
        cmocka_unit_test(debt_hold_back__refuses_what_is_no_token),
        cmocka_unit_test(debt_is_due__when_one_that_was_away_is_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
