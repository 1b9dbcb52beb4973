// SPDX-License-Identifier: MIT
// A log whose numbers become visible in any order is read exactly once, whatever is rolled back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "store/cursor.h"

static void expect_gaps(const struct cursor *c, const char *gaps)
{
    struct bytes out = {0};
    cursor_check(c);
    cursor_format(c, &out);
    bytes_append_char(&out, 0);
    assert_string_equal(out.data, gaps);
    bytes_fini(&out);
}

static void parse(struct cursor *c, uint64_t high, const char *gaps)
{
    cursor_init(c);
    c->high = high;
    assert_int_equal(cursor_parse(c, slice_of(gaps)), ERROR_NONE);
    expect_gaps(c, gaps);
}

static void cursor_take__makes_a_gap_of_what_it_left_out(void **state)
{
    (void)state;
    struct cursor c;
    cursor_init(&c);
    c.marked = 70;
    assert_int_equal(cursor_take(&c, 1, 100), ERROR_NONE);
    assert_int_equal(cursor_take(&c, 2, 100), ERROR_NONE);
    expect_gaps(&c, "");
    assert_int_equal(cursor_take(&c, 5, 100), ERROR_NONE);
    assert_int_equal(cursor_take(&c, 7, 100), ERROR_NONE);
    expect_gaps(&c, "3-4@100:70 6-6@100:70");
    assert_int_equal(c.high, 7);
    assert_int_equal(cursor_whole(&c), 2);
    assert_int_equal(cursor_missing(&c), 3);
    assert_true(cursor_read(&c, 5));
    assert_false(cursor_read(&c, 4));
    assert_false(cursor_read(&c, 8));
    cursor_fini(&c);
}

static void cursor_close__takes_from_gaps_what_was_read(void **state)
{
    (void)state;
    static const struct {
        uint64_t from, to;
        const char *left;
    } cases[] = {
        {1, 2, "10-20@3:2 30-40@5:4"},
        {10, 10, "11-20@3:2 30-40@5:4"},
        {20, 20, "10-19@3:2 30-40@5:4"},
        {15, 15, "10-14@3:2 16-20@3:2 30-40@5:4"},
        {12, 18, "10-11@3:2 19-20@3:2 30-40@5:4"},
        {10, 20, "30-40@5:4"},
        {5, 25, "30-40@5:4"},
        {15, 35, "10-14@3:2 36-40@5:4"},
        {1, 100, ""},
        {21, 29, "10-20@3:2 30-40@5:4"},
        {40, 41, "10-20@3:2 30-39@5:4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cursor c;
        parse(&c, 50, "10-20@3:2 30-40@5:4");
        assert_int_equal(cursor_close(&c, cases[i].from, cases[i].to), ERROR_NONE);
        expect_gaps(&c, cases[i].left);
        cursor_fini(&c);
    }
}

static void cursor_reopen__makes_a_gap_of_what_was_read(void **state)
{
    (void)state;
    struct cursor c;
    parse(&c, 10, "3-4@7:6 8-8@9:6");
    c.marked = 50;
    assert_int_equal(cursor_reopen(&c, 6, 60), ERROR_NONE);
    expect_gaps(&c, "3-4@7:6 6-6@60:50 8-8@9:6");
    assert_int_equal(cursor_reopen(&c, 10, 60), ERROR_NONE);
    expect_gaps(&c, "3-4@7:6 6-6@60:50 8-8@9:6 10-10@60:50");
    assert_int_equal(cursor_reopen(&c, 4, 60), ERROR_NONE); // was not read
    assert_int_equal(cursor_reopen(&c, 11, 60), ERROR_NONE);
    expect_gaps(&c, "3-4@7:6 6-6@60:50 8-8@9:6 10-10@60:50");
    assert_int_equal(c.high, 10);
    assert_false(cursor_read(&c, 10));
    cursor_fini(&c);
}

static void cursor_mark__is_held_back_by_open_gaps_only(void **state)
{
    (void)state;
    struct cursor c;
    cursor_init(&c);
    assert_int_equal(cursor_mark(&c, 1, 1000), ERROR_NONE);
    assert_int_equal(c.frontier, UINT64_C(1000000) << 10);
    assert_int_equal(cursor_take(&c, 3, 2000), ERROR_NONE); // 2 is under way
    assert_int_equal(cursor_mark(&c, 4, 2000), ERROR_NONE);
    assert_int_equal(c.marked, 2000);
    assert_int_equal(c.frontier, UINT64_C(1000000) << 10);
    assert_int_equal(cursor_mark(&c, 5, 3000), ERROR_NONE);
    assert_int_equal(c.frontier, UINT64_C(1000000) << 10);
    assert_int_equal(cursor_close(&c, 2, 2), ERROR_NONE);
    assert_int_equal(cursor_mark(&c, 6, 4000), ERROR_NONE);
    assert_int_equal(c.frontier, UINT64_C(4000000) << 10);
    assert_int_equal(c.high, 6);
    cursor_fini(&c);
}

static void cursor_parse__refuses_what_cursor_format_does_not_write(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "1",
        "1-2",
        "1-2@3",
        "1-2@3:",
        "2-1@3:4",
        "0-1@3:4",
        " 1-2@3:4",
        "1-2@3:4,",
        "1-2@3:4 2-3@3:4",
        "5-6@1:1 1-2@1:1",
        "99-101@1:1",
        "-1-2@3:4",
        "1-2@3:4  5-6@3:4",
        "a-2@3:4",
        "1-99999999999999999999@3:4",
        "1-2@3:x",
        "1-2@x:4",
        "1-2@3:4:5",
        "x",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cursor c;
        cursor_init(&c);
        c.high = 100;
        if (cursor_parse(&c, slice_of(wrong[i])) != ERROR_MALFORMED)
            fail_msg("%s was taken", wrong[i]);
        cursor_fini(&c);
    }
}

static void cursor_copy__is_equal_and_its_own(void **state)
{
    (void)state;
    struct cursor a, b;
    parse(&a, 50, "10-20@3:2 30-40@5:4");
    cursor_init(&b);
    assert_int_equal(cursor_copy(&b, &a), ERROR_NONE);
    assert_int_equal(cursor_close(&a, 1, 100), ERROR_NONE);
    expect_gaps(&b, "10-20@3:2 30-40@5:4");
    assert_int_equal(b.high, 50);
    cursor_fini(&a);
    cursor_fini(&b);
}

// ---------------------------------------------------------------- a log of our own

enum {
    PASSES = 60,
    NUMBERS = 60, // given by writers
    ALL = NUMBERS + PASSES,
    OPEN = 0,    // in a transaction
    VISIBLE = 1, // committed
    NEVER = 2,   // rolled back
};

struct log {
    int fate[ALL + 1];
    int state[ALL + 1];
    uint64_t began[ALL + 1]; // when its number was given
    int delivered[ALL + 1];
    uint64_t given;
    unsigned written;
    uint64_t now;
};

static void deliver(struct log *log, uint64_t seq)
{
    assert_int_equal(log->state[seq], VISIBLE);
    log->delivered[seq]++;
}

// Time goes on: some transactions begin, some end.
static void live(struct log *log)
{
    log->now += 10;
    for (uint32_t n = random_below(8); n > 0 && log->written < NUMBERS; n--, log->written++) {
        log->given++;
        log->began[log->given] = log->now;
        log->fate[log->given] = random_below(4) ? VISIBLE : NEVER;
    }
    for (uint64_t seq = 1; seq <= log->given; seq++)
        if (log->state[seq] == OPEN && random_below(3) == 0)
            log->state[seq] = log->fate[seq];
}

static void read_gaps(struct log *log, struct cursor *c)
{
    for (uint64_t seq = 1; seq <= c->high; seq++)
        if (!cursor_read(c, seq) && log->state[seq] == VISIBLE) {
            deliver(log, seq);
            assert_int_equal(cursor_close(c, seq, seq), ERROR_NONE);
        } else if (!cursor_read(c, seq) && log->state[seq] == NEVER) { // settled for good
            assert_int_equal(cursor_close(c, seq, seq), ERROR_NONE);
        }
}

static void read_log(struct log *log, struct cursor *c)
{
    uint64_t mark = ++log->given, at = log->now; // a number of the reader's own
    log->fate[mark] = log->state[mark] = VISIBLE;
    log->began[mark] = at;
    for (uint64_t seq = c->high + 1; seq <= mark; seq++)
        if (log->state[seq] == VISIBLE) {
            deliver(log, seq);
            assert_int_equal(cursor_take(c, seq, at), ERROR_NONE);
        }
    assert_int_equal(cursor_mark(c, mark, at), ERROR_NONE);
    cursor_check(c);
}

static void expect_honest_frontier(const struct log *log, const struct cursor *c)
{
    for (uint64_t seq = 1; seq <= c->high; seq++)
        if (log->state[seq] != NEVER && log->began[seq] < c->frontier / 1000 >> 10)
            assert_int_equal(log->delivered[seq], 1);
}

// reopen stores the cursor and reads it back, as the next pass does.
static void reopen(struct cursor *c)
{
    struct cursor fresh;
    struct bytes gaps = {0};
    cursor_format(c, &gaps);
    cursor_init(&fresh);
    fresh.high = c->high;
    fresh.marked = c->marked;
    fresh.frontier = c->frontier;
    assert_int_equal(cursor_parse(&fresh, bytes_slice(&gaps)), ERROR_NONE);
    assert_int_equal(fresh.count, c->count);
    cursor_fini(c);
    *c = fresh;
    bytes_fini(&gaps);
}

static void cursor__delivers_each_number_once_in_any_order_of_visibility(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct log log = {0};
        struct cursor c;
        random_seed(seed);
        cursor_init(&c);
        for (int pass = 0; pass < PASSES; pass++) {
            live(&log);
            read_gaps(&log, &c);
            read_log(&log, &c);
            expect_honest_frontier(&log, &c);
            reopen(&c);
        }
        for (uint64_t seq = 1; seq <= log.given; seq++)
            if (seq <= c.high)
                assert_int_equal(log.delivered[seq], log.fate[seq] == VISIBLE);
        assert_int_equal(c.count, 0);
        cursor_fini(&c);
    }
}

// One that has read everything up to `high` but a..b.
static struct cursor cursor_without(uint64_t a, uint64_t b, uint64_t high)
{
    struct cursor c;
    cursor_init(&c);
    c.high = a - 1;
    assert_int_equal(cursor_miss(&c, a, b, 1), ERROR_NONE);
    c.high = high;
    return c;
}

static void cursor_covers__compares_what_was_read(void **state)
{
    (void)state;
    struct cursor ten = cursor_without(4, 6, 10), other = cursor_without(5, 5, 10);
    struct cursor wider = cursor_without(3, 7, 10), longer = cursor_without(4, 6, 11);
    struct cursor behind = cursor_without(11, 12, 12), nothing;
    cursor_init(&nothing);
    assert_true(cursor_covers(&ten, &ten));
    assert_true(cursor_covers(&other, &ten));
    assert_false(cursor_covers(&ten, &other));
    assert_true(cursor_covers(&ten, &wider));
    assert_false(cursor_covers(&wider, &ten));
    assert_true(cursor_covers(&longer, &ten));
    assert_false(cursor_covers(&ten, &longer));
    assert_true(cursor_covers(&behind, &ten)); // its gap lies behind what the other has read
    assert_true(cursor_covers(&nothing, &nothing));
    assert_true(cursor_covers(&ten, &nothing));
    assert_false(cursor_covers(&nothing, &ten));
    struct cursor whole, front = cursor_without(4, 5, 10);
    cursor_init(&whole);
    assert_int_equal(cursor_take(&whole, 1, 1), ERROR_NONE);
    for (uint64_t seq = 2; seq <= 10; seq++)
        assert_int_equal(cursor_take(&whole, seq, 1), ERROR_NONE);
    assert_true(cursor_covers(&whole, &ten));
    assert_false(cursor_covers(&ten, &whole));
    assert_false(cursor_covers(&ten, &front));
    assert_int_equal(cursor_close(&whole, 3, 4), ERROR_NONE); // nothing was open there
    assert_int_equal(cursor_close(&ten, 8, 9), ERROR_NONE);
    assert_int_equal(cursor_missing(&ten), 3);
    cursor_fini(&whole);
    cursor_fini(&front);
    cursor_fini(&ten);
    cursor_fini(&other);
    cursor_fini(&wider);
    cursor_fini(&longer);
    cursor_fini(&behind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursor_take__makes_a_gap_of_what_it_left_out),
        cmocka_unit_test(cursor_close__takes_from_gaps_what_was_read),
        cmocka_unit_test(cursor_reopen__makes_a_gap_of_what_was_read),
        cmocka_unit_test(cursor_mark__is_held_back_by_open_gaps_only),
        cmocka_unit_test(cursor_parse__refuses_what_cursor_format_does_not_write),
        cmocka_unit_test(cursor_copy__is_equal_and_its_own),
        cmocka_unit_test(cursor__delivers_each_number_once_in_any_order_of_visibility),
        cmocka_unit_test(cursor_covers__compares_what_was_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
