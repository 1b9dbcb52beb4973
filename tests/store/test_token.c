// SPDX-License-Identifier: MIT
// Tokens: what they say, and what is none.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "store/token.h"
#include "store/version.h"

static struct token *parsed(const char *text)
{
    struct token *token;
    assert_int_equal(token_parse(slice_of(text), 3, &token), ERROR_NONE);
    return token;
}

static void assert_text(const struct token *token, const char *expected)
{
    struct bytes text = {0};
    token_format(token, &text);
    bytes_append_char(&text, '\0');
    assert_string_equal(text.data, expected);
    bytes_fini(&text);
}

static void token_parse__reads_what_token_format_writes(void **state)
{
    static const char *const texts[] = {"1.0",
                                        "1.1042-7731_2.887~880~882-885_3.t1829000000000000",
                                        "1.9-3v17_2.5~1-4v9_3.t77v5",
                                        "1.2_3.v8",
                                        "1.5~3k6-499_2.5-9~1-4k3-1v8",
                                        "3.9223372036854775807-16777216~1",
                                        "2.5~1-4",
                                        "1.5~1-5"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct token *token = parsed(texts[i]);
        assert_text(token, texts[i]);
        token_free(&token);
        assert_null(token);
    }
}

static void token_parse__fills_in_the_positions(void **state)
{
    (void)state;
    struct token *token = parsed("1.10-5~3-4k12-7_3.t77");
    assert_int_equal(token->at[0].part_of, 12);
    assert_int_equal(token->at[0].part, 7);
    assert_int_equal(token->at[0].kind, POSITION_CURSOR);
    assert_int_equal(token->at[0].cursor.high, 10);
    assert_int_equal(token->at[0].mark, 5);
    assert_true(cursor_read(&token->at[0].cursor, 2));
    assert_false(cursor_read(&token->at[0].cursor, 3));
    assert_false(cursor_read(&token->at[0].cursor, 4));
    assert_true(cursor_read(&token->at[0].cursor, 5));
    assert_int_equal(token->at[1].kind, POSITION_START);
    assert_int_equal(token->at[2].kind, POSITION_TIME);
    assert_int_equal(token->at[2].time_us, 77);
    assert_false(token->listing);
    token_free(&token);
}

static void token_parse__reads_the_key_of_a_list(void **state)
{
    (void)state;
    struct bytes text = {0};
    const struct slice key = {"a\0\xff/", 4};
    bytes_append_text(&text, "1.7");
    token_format_after(key, &text);
    struct token *token;
    assert_int_equal(token_parse(bytes_slice(&text), 1, &token), ERROR_NONE);
    assert_true(token->listing);
    assert_true(slice_equal((struct slice){token->after, token->after_len}, key));
    token_free(&token);
    bytes_fini(&text);
}

static void token_parse__refuses_what_is_none(void **state)
{
    static const char *const texts[] = {"",
                                        "_",
                                        "1",
                                        "1.",
                                        "x",
                                        "1.x",
                                        "1.5_",
                                        "1.5__2.3",
                                        "0.1",
                                        "1001.1",
                                        "-1.1",
                                        "1.-1",
                                        "1.1_1.2",
                                        "1.5~",
                                        "1.5~6",
                                        "1.5~0",
                                        "1.5~4-3",
                                        "1.5~4~4",
                                        "1.5~4~3",
                                        "1.5~1-6",
                                        "1.5-",
                                        "1.5-16777217",
                                        "1.5-1-1",
                                        "1.t",
                                        "1.tx",
                                        "..",
                                        "..YQ",
                                        "1.5..!",
                                        "1.5..Y",
                                        "1.5 ",
                                        "1.05x",
                                        "1.99999999999999999999",
                                        "1.9223372036854775808",
                                        "1.5~2-",
                                        "1.5~-2",
                                        "1.5k",
                                        "1.5k6",
                                        "1.5k6-",
                                        "1.5k-3",
                                        "1.5k0-3",
                                        "1.5k6-0",
                                        "1.5k6-3-1",
                                        "1.5k6-3k7-1",
                                        "1.k6-3",
                                        "1.5v",
                                        "1.5v0",
                                        "1.5vx",
                                        "1.5v1v2",
                                        "1.v",
                                        "1.v3_1.5",
                                        "1.v9223372036854775808"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct token *token;
        if (token_parse(slice_of(texts[i]), 3, &token) != ERROR_MALFORMED)
            fail_msg("taken for a token: %s", texts[i]);
        assert_null(token);
    }
}

static void token_parse__does_not_know_every_partition(void **state)
{
    (void)state;
    struct token *token;
    assert_int_equal(token_parse(SLICE("1.5_4.1"), 3, &token), ERROR_UNAVAILABLE);
    assert_null(token);
}

static void token_parse__refuses_a_key_that_is_too_long(void **state)
{
    (void)state;
    struct bytes text = {0};
    bytes_append_text(&text, "1.5..");
    for (int i = 0; i < (KEY_MAX + 3) / 3 * 4; i++)
        bytes_append_char(&text, 'A');
    struct token *token;
    assert_int_equal(token_parse(bytes_slice(&text), 1, &token), ERROR_MALFORMED);
    bytes_fini(&text);
}

static void token_parse__refuses_a_text_that_is_too_long(void **state)
{
    (void)state;
    struct bytes text = {0};
    bytes_append_text(&text, "1.99999999-7");
    for (unsigned gap = 1; text.len <= TOKEN_TEXT_MAX; gap += 2)
        bytes_format(&text, "~%u", gap);
    struct token *token;
    assert_int_equal(token_parse(bytes_slice(&text), 1, &token), ERROR_MALFORMED);
    bytes_fini(&text);
}

static void position_note__never_goes_back(void **state)
{
    (void)state;
    struct position at = {0};
    const uint64_t version = UINT64_C(7000) << VERSION_PARTITION_BITS; // 7 ms
    assert_false(position_is_past(&at, version));
    position_note(&at, 7);
    assert_false(position_is_past(&at, version));
    position_note(&at, 8);
    position_note(&at, 5);
    assert_int_equal(at.newest_ms, 8);
    assert_true(position_is_past(&at, version));
}

static void token_format__tells_only_the_first_gaps(void **state)
{
    (void)state;
    struct token *token;
    assert_int_equal(token_new(1, &token), ERROR_NONE);
    token->at[0].kind = POSITION_CURSOR;
    token->at[0].mark = 9;
    for (uint64_t seq = 2; seq <= 2 * (TOKEN_GAPS_MAX + 10); seq += 2)
        assert_int_equal(cursor_take(&token->at[0].cursor, seq, 1), ERROR_NONE);
    struct bytes shorter = {0}, whole = {0};
    token_format(token, &shorter);
    token_format_whole(token, &whole);
    struct token *again;
    assert_int_equal(token_parse(bytes_slice(&shorter), 1, &again), ERROR_NONE);
    assert_int_equal(again->at[0].cursor.count, TOKEN_GAPS_MAX);
    assert_int_equal(again->at[0].cursor.high, 2 * TOKEN_GAPS_MAX); // what follows counts as unread
    assert_int_equal(again->at[0].mark, 0);
    token_free(&again);
    assert_int_equal(token_parse(bytes_slice(&whole), 1, &again), ERROR_NONE);
    assert_int_equal(again->at[0].cursor.count, TOKEN_GAPS_MAX + 10);
    assert_int_equal(again->at[0].cursor.high, token->at[0].cursor.high);
    assert_int_equal(again->at[0].mark, 9);
    token_free(&again);
    token_free(&token);
    bytes_fini(&shorter);
    bytes_fini(&whole);
}

static void token_copy__is_a_copy(void **state)
{
    (void)state;
    struct token *from = parsed("1.10-5~3-4_3.t77..YQ"), *to;
    assert_int_equal(token_new(3, &to), ERROR_NONE);
    assert_int_equal(token_copy(to, from), ERROR_NONE);
    token_free(&from);
    assert_text(to, "1.10-5~3-4_3.t77");
    assert_true(to->listing);
    assert_int_equal(to->after_len, 1);
    token_free(&to);
}

static void token_mark__tells_versions_apart(void **state)
{
    (void)state;
    assert_int_equal(token_mark(0), 0);
    for (uint64_t version = 1; version < 1000; version++) {
        uint32_t mark = token_mark(1838368455012517889 + version);
        assert_true(mark >= 1 && mark <= 1u << 24);
        assert_int_not_equal(mark, token_mark(1838368455012517889));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_parse__reads_what_token_format_writes),
        cmocka_unit_test(token_parse__fills_in_the_positions),
        cmocka_unit_test(token_parse__reads_the_key_of_a_list),
        cmocka_unit_test(token_parse__refuses_what_is_none),
        cmocka_unit_test(token_parse__does_not_know_every_partition),
        cmocka_unit_test(token_parse__refuses_a_key_that_is_too_long),
        cmocka_unit_test(token_parse__refuses_a_text_that_is_too_long),
        cmocka_unit_test(position_note__never_goes_back),
        cmocka_unit_test(token_format__tells_only_the_first_gaps),
        cmocka_unit_test(token_copy__is_a_copy),
        cmocka_unit_test(token_mark__tells_versions_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
