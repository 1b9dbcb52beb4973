// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <wchar.h>

#include <cmocka.h>

#include <limits.h>

#include "base/bytes.h"

#define SAME(slice, text) assert_true(slice_equal((slice), SLICE(text)))

static void check_invariants(const struct bytes *b)
{
    assert_true(b->len <= b->cap);
    assert_int_equal(b->data == NULL, b->cap == 0);
}

// ---------------------------------------------------------------- slices

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void slice_compare__orders_like_varbinary(void **state)
{
    (void)state;
    // In ascending order: a prefix before what it begins, bytes without sign, NUL a byte like any.
    static const struct slice sorted[] = {
        {NULL, 0}, {"\0", 1}, {"\0\0", 2}, {"A", 1},    {"a", 1},    {"a\0", 2},
        {"a ", 2}, {"aa", 2}, {"b", 1},    {"\x7f", 1}, {"\x80", 1}, {"\xff", 1},
    };
    size_t count = sizeof sorted / sizeof sorted[0];
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            assert_int_equal(sign(slice_compare(sorted[i], sorted[j])), (i > j) - (i < j));
}

static void slice_equal__compares_length_and_bytes(void **state)
{
    (void)state;
    assert_true(slice_equal(SLICE("a\0b"), SLICE("a\0b")));
    assert_false(slice_equal(SLICE("a\0b"), SLICE("a\0c")));
    assert_false(slice_equal(SLICE("a"), SLICE("a\0")));
    assert_false(slice_equal(SLICE("a"), SLICE("A")));
    assert_true(slice_equal((struct slice){NULL, 0}, SLICE("")));
    assert_int_equal(slice_of("abc").len, 3);
}

static void slice_equal_nocase__ignores_the_case_of_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(slice_equal_nocase(SLICE("Content-Type"), SLICE("cONTENT-tYPE")));
    assert_true(slice_equal_nocase((struct slice){NULL, 0}, SLICE("")));
    assert_false(slice_equal_nocase(SLICE("a"), SLICE("ab")));
    assert_false(slice_equal_nocase(SLICE("@"), SLICE("`"))); // 0x40 and 0x60
    assert_false(slice_equal_nocase(SLICE("["), SLICE("{")));
    assert_false(slice_equal_nocase(SLICE("\xc4"), SLICE("\xe4"))); // Latin-1 A and a umlaut
}

static void slice_starts__takes_itself_and_the_empty_prefix(void **state)
{
    (void)state;
    assert_true(slice_starts(SLICE("abc"), SLICE("ab")));
    assert_true(slice_starts(SLICE("abc"), SLICE("abc")));
    assert_true(slice_starts(SLICE("abc"), SLICE("")));
    assert_true(slice_starts((struct slice){NULL, 0}, (struct slice){NULL, 0}));
    assert_false(slice_starts(SLICE("abc"), SLICE("abcd")));
    assert_false(slice_starts(SLICE("abc"), SLICE("b")));
    assert_false(slice_starts((struct slice){NULL, 0}, SLICE("a")));
}

static void slice_trim__drops_spaces_and_tabs_at_both_ends_only(void **state)
{
    (void)state;
    SAME(slice_trim(SLICE(" \t a b\t \t")), "a b");
    SAME(slice_trim(SLICE("a")), "a");
    SAME(slice_trim(SLICE(" \t ")), "");
    SAME(slice_trim((struct slice){NULL, 0}), "");
    SAME(slice_trim(SLICE("\na\r")), "\na\r");
    SAME(slice_trim(SLICE("\0 ")), "\0");
}

static void slice_token__yields_every_token_and_then_none(void **state)
{
    (void)state;
    struct slice rest = SLICE(",a,,bc,");
    SAME(slice_token(&rest, ','), "");
    SAME(slice_token(&rest, ','), "a");
    SAME(slice_token(&rest, ','), "");
    SAME(slice_token(&rest, ','), "bc");
    assert_non_null(rest.data); // an empty token still follows the last separator
    SAME(slice_token(&rest, ','), "");
    assert_null(rest.data);
    SAME(slice_token(&rest, ','), "");
    assert_null(rest.data);
}

static void slice_token__leaves_all_that_follows(void **state)
{
    (void)state;
    struct slice rest = SLICE("a=b=c");
    SAME(slice_token(&rest, '='), "a");
    SAME(rest, "b=c");
    rest = SLICE("whole");
    SAME(slice_token(&rest, '='), "whole");
    assert_null(rest.data);
    assert_int_equal(rest.len, 0);
}

struct number_case {
    const char *text;
    unsigned long long max;
    enum error error;
    unsigned long long number;
};

static void check_numbers(const struct number_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct number_case *c = &cases[i];
        unsigned long long number = 4711;
        enum error error = slice_number(slice_of(c->text), c->max, &number);
        if (error != c->error || number != (error ? 4711 : c->number))
            fail_msg("%s up to %llu: error %d, number %llu", c->text, c->max, (int)error, number);
    }
}

#define CHECK_NUMBERS(cases) check_numbers((cases), sizeof(cases) / sizeof((cases)[0]))

static void slice_number__reads_up_to_max_and_no_further(void **state)
{
    (void)state;
    static const struct number_case cases[] = {
        {"0", 0, ERROR_NONE, 0},
        {"1", 0, ERROR_TOO_LARGE, 0},
        {"00", 0, ERROR_NONE, 0},
        {"3", 3, ERROR_NONE, 3},
        {"4", 3, ERROR_TOO_LARGE, 0},
        {"9", 3, ERROR_TOO_LARGE, 0},
        {"10", 3, ERROR_TOO_LARGE, 0},
        {"0003", 3, ERROR_NONE, 3},
        {"99", 99, ERROR_NONE, 99},
        {"100", 99, ERROR_TOO_LARGE, 0},
        {"100", 100, ERROR_NONE, 100},
        {"101", 100, ERROR_TOO_LARGE, 0},
        {"4294967295", UINT_MAX, ERROR_NONE, UINT_MAX},
        {"4294967296", UINT_MAX, ERROR_TOO_LARGE, 0},
    };
    CHECK_NUMBERS(cases);
}

static void slice_number__does_not_wrap(void **state)
{
    (void)state;
    static const struct number_case cases[] = {
        {"18446744073709551615", ULLONG_MAX, ERROR_NONE, ULLONG_MAX},
        {"18446744073709551614", ULLONG_MAX - 1, ERROR_NONE, ULLONG_MAX - 1},
        {"18446744073709551615", ULLONG_MAX - 1, ERROR_TOO_LARGE, 0},
        {"18446744073709551616", ULLONG_MAX, ERROR_TOO_LARGE, 0},
        {"18446744073709551617", ULLONG_MAX, ERROR_TOO_LARGE, 0},
        {"18446744073709551620", ULLONG_MAX, ERROR_TOO_LARGE, 0},
        {"184467440737095516160", ULLONG_MAX, ERROR_TOO_LARGE, 0},
        {"36893488147419103233", ULLONG_MAX, ERROR_TOO_LARGE, 0}, // 2^65 + 1
        {"184467440737095516170000000000000000000001", ULLONG_MAX, ERROR_TOO_LARGE, 0},
        {"00000000000000000000000000000000000000000000000018446744073709551615", ULLONG_MAX,
         ERROR_NONE, ULLONG_MAX},
    };
    CHECK_NUMBERS(cases);
}

static void slice_number__takes_digits_only(void **state)
{
    (void)state;
    static const struct number_case cases[] = {
        {"", 9, ERROR_MALFORMED, 0},
        {"+1", 9, ERROR_MALFORMED, 0},
        {"-1", 9, ERROR_MALFORMED, 0},
        {" 1", 9, ERROR_MALFORMED, 0},
        {"1 ", 9, ERROR_MALFORMED, 0},
        {"0x1", 9, ERROR_MALFORMED, 0},
        {"1a", 9, ERROR_MALFORMED, 0},
        {"1.0", 9, ERROR_MALFORMED, 0},
        {"/", 9, ERROR_MALFORMED, 0},
        {":", 9, ERROR_MALFORMED, 0},
        // Too large and malformed is malformed.
        {"99999999999999999999999x", 9, ERROR_MALFORMED, 0},
    };
    CHECK_NUMBERS(cases);
    unsigned long long number;
    assert_int_equal(slice_number((struct slice){NULL, 0}, 9, &number), ERROR_MALFORMED);
    assert_int_equal(slice_number(SLICE("1\0"), 9, &number), ERROR_MALFORMED);
}

// ---------------------------------------------------------------- bytes

static void bytes_append__grows_and_keeps_what_it_has(void **state)
{
    (void)state;
    struct bytes b = {0};
    check_invariants(&b);
    for (unsigned i = 0; i < 100000; i++) {
        bytes_append_char(&b, (char)(i * 7));
        check_invariants(&b);
    }
    assert_int_equal(b.len, 100000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], (char)(i * 7));
    assert_false(bytes_failed(&b));
    bytes_fini(&b);
    check_invariants(&b);
    bytes_append_text(&b, "usable again");
    SAME(bytes_slice(&b), "usable again");
    bytes_fini(&b);
}

static void bytes_append__takes_every_kind(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_append(&b, NULL, 0);
    assert_null(b.data);
    bytes_append(&b, "a\0b", 3);
    bytes_append_slice(&b, (struct slice){NULL, 0});
    bytes_append_slice(&b, SLICE("|\0|"));
    bytes_append_text(&b, "");
    bytes_append_text(&b, "text");
    bytes_append_char(&b, '\0');
    bytes_append_number(&b, 0);
    bytes_append_char(&b, ' ');
    bytes_append_number(&b, 10);
    bytes_append_char(&b, ' ');
    bytes_append_number(&b, ULLONG_MAX);
    SAME(bytes_slice(&b), "a\0b|\0|text\0"
                          "0 10 18446744073709551615");
    check_invariants(&b);
    bytes_fini(&b);
}

static void bytes_format__appends_without_the_nul(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_format(&b, "%s", "");
    assert_int_equal(b.len, 0);
    bytes_format(&b, "%d-%s", -1, "x");
    bytes_format(&b, "|%05u", 42u);
    SAME(bytes_slice(&b), "-1-x|00042");
    bytes_fini(&b);
    // Every length around the first allocation and its doubling.
    for (int len = 250; len < 520; len++) {
        bytes_append_char(&b, '<');
        bytes_format(&b, "%*d>", len, 7);
        assert_int_equal(b.len, len + 2);
        assert_int_equal(b.data[len], '7');
        assert_int_equal(b.data[len + 1], '>');
        check_invariants(&b);
        bytes_fini(&b);
    }
}

static void bytes_room__gives_room_without_counting_it(void **state)
{
    (void)state;
    struct bytes b = {0};
    char *room = bytes_room(&b, 0);
    assert_non_null(room);
    assert_int_equal(b.len, 0);
    bytes_append_text(&b, "ab");
    for (size_t more = 1; more < 5000; more += 13) {
        room = bytes_room(&b, more);
        assert_ptr_equal(room, b.data + 2);
        assert_true(b.cap - b.len >= more);
        memset(room, 'x', more);
        check_invariants(&b);
    }
    SAME(bytes_slice(&b), "ab");
    bytes_fini(&b);
}

static void bytes_room__fails_for_good_on_a_request_that_cannot_be(void **state)
{
    (void)state;
    static const size_t huge[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        struct bytes b = {0};
        bytes_append_text(&b, "before");
        assert_null(bytes_room(&b, huge[i]));
        assert_true(bytes_failed(&b));
        assert_null(bytes_room(&b, 1)); // sticky
        bytes_append_text(&b, "after");
        bytes_append_char(&b, 'c');
        bytes_append_number(&b, 1);
        bytes_append_slice(&b, SLICE("s"));
        bytes_format(&b, "%d", 1);
        assert_true(bytes_failed(&b));
        SAME(bytes_slice(&b), "before");
        check_invariants(&b);
        bytes_clear(&b);
        assert_false(bytes_failed(&b));
        bytes_append_text(&b, "again");
        SAME(bytes_slice(&b), "again");
        bytes_fini(&b);
    }
}

static void bytes_append__fails_before_it_reads_a_length_that_cannot_be(void **state)
{
    (void)state;
    struct bytes b = {0};
    volatile size_t impossible = SIZE_MAX; // or the compiler would warn of it
    bytes_append_slice(&b, (struct slice){"x", impossible});
    assert_true(bytes_failed(&b));
    assert_int_equal(b.len, 0);
    bytes_fini(&b);
    assert_false(bytes_failed(&b));
}

static void bytes_shrink__keeps_small_memory_and_gives_back_large(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_room(&b, 1000);
    size_t cap = b.cap;
    bytes_append_text(&b, "a");
    bytes_shrink(&b, cap);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, cap);
    b.failed = true;
    bytes_shrink(&b, cap - 1);
    assert_int_equal(b.cap, 0);
    assert_false(bytes_failed(&b));
    check_invariants(&b);
}

static void bytes_clear__keeps_the_memory(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_append_text(&b, "abc");
    char *data = b.data;
    bytes_clear(&b);
    assert_int_equal(b.len, 0);
    bytes_append_text(&b, "d");
    assert_ptr_equal(b.data, data);
    SAME(bytes_slice(&b), "d");
    bytes_fini(&b);
}

static void bytes_format__fails_where_a_character_cannot_be_written(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_append_text(&b, "abc");
    bytes_format(&b, "%lc", (wint_t)0xd800);
    assert_true(bytes_failed(&b));
    bytes_fini(&b);
}

static void bytes_consume__drops_from_the_front(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_consume(&b, 0);
    bytes_append_text(&b, "abcdef");
    bytes_consume(&b, 0);
    SAME(bytes_slice(&b), "abcdef");
    bytes_consume(&b, 2);
    SAME(bytes_slice(&b), "cdef");
    bytes_append_text(&b, "g");
    SAME(bytes_slice(&b), "cdefg");
    bytes_consume(&b, 5);
    SAME(bytes_slice(&b), "");
    check_invariants(&b);
    bytes_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_format__fails_where_a_character_cannot_be_written),
        cmocka_unit_test(slice_compare__orders_like_varbinary),
        cmocka_unit_test(slice_equal__compares_length_and_bytes),
        cmocka_unit_test(slice_equal_nocase__ignores_the_case_of_ascii_letters_only),
        cmocka_unit_test(slice_starts__takes_itself_and_the_empty_prefix),
        cmocka_unit_test(slice_trim__drops_spaces_and_tabs_at_both_ends_only),
        cmocka_unit_test(slice_token__yields_every_token_and_then_none),
        cmocka_unit_test(slice_token__leaves_all_that_follows),
        cmocka_unit_test(slice_number__reads_up_to_max_and_no_further),
        cmocka_unit_test(slice_number__does_not_wrap),
        cmocka_unit_test(slice_number__takes_digits_only),
        cmocka_unit_test(bytes_append__grows_and_keeps_what_it_has),
        cmocka_unit_test(bytes_append__takes_every_kind),
        cmocka_unit_test(bytes_format__appends_without_the_nul),
        cmocka_unit_test(bytes_room__gives_room_without_counting_it),
        cmocka_unit_test(bytes_room__fails_for_good_on_a_request_that_cannot_be),
        cmocka_unit_test(bytes_append__fails_before_it_reads_a_length_that_cannot_be),
        cmocka_unit_test(bytes_shrink__keeps_small_memory_and_gives_back_large),
        cmocka_unit_test(bytes_clear__keeps_the_memory),
        cmocka_unit_test(bytes_consume__drops_from_the_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
