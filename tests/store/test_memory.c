// SPDX-License-Identifier: MIT
// What only computes, with memory that is out at its first allocation, its second, and so on: it
// says so, leaks nothing, and leaves what was there as it was.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/batch.h"
#include "store/hot.h"
#include "store/outlook.h"
#include "store/prefixes.h"
#include "store/recent.h"
#include "store/ring.h"
#include "store/token.h"
#include "tests/fake/allocator.h"

static const unsigned weights[] = {1, 2, 3};

static enum error step_prefixes(void)
{
    struct prefixes all = {0};
    enum error error = prefixes_add(&all, SLICE("b"));
    if (!error)
        error = prefixes_add(&all, SLICE("a"));
    assert_int_equal(all.count, error ? prefixes_cover(&all, SLICE("b")) : 2);
    prefixes_fini(&all);
    return error;
}

// fill_gaps leaves out so many numbers, each alone.
static enum error fill_gaps(struct cursor *c, unsigned gaps)
{
    enum error error = ERROR_NONE;
    for (unsigned i = 0; i < gaps && !error; i++)
        error = cursor_take(c, c->high + 2, 1);
    return error;
}

static enum error step_cursor(void)
{
    struct cursor c, copy;
    cursor_init(&c);
    cursor_init(&copy);
    enum error error = fill_gaps(&c, 20);
    if (!error)
        error = cursor_copy(&copy, &c);
    if (!error)
        error = cursor_miss(&copy, copy.high + 1, copy.high + 3, 1);
    if (!error)
        error = cursor_mark(&copy, copy.high + 2, 2);
    uint64_t missing = cursor_missing(&copy);
    if (error == ERROR_MEMORY)
        assert_true(copy.count == 0 || missing == 20 || missing == 23);
    else
        assert_int_equal(missing, 24);
    cursor_fini(&c);
    cursor_fini(&copy);
    return error;
}

// The list of gaps is full, so that the next one needs memory.
static enum error step_gaps(void)
{
    struct cursor c;
    cursor_init(&c);
    enum error error = cursor_take(&c, 11, 1); // 1 to 10 are missing
    if (!error)
        error = fill_gaps(&c, 7);
    uint64_t missing = cursor_missing(&c);
    if (!error && (error = cursor_close(&c, 5, 5)))
        assert_int_equal(cursor_missing(&c), missing);
    missing = cursor_missing(&c);
    if (!error)
        error = fill_gaps(&c, 7);
    missing = cursor_missing(&c);
    if (!error && (error = cursor_reopen(&c, 11, 1)))
        assert_int_equal(cursor_missing(&c), missing);
    cursor_fini(&c);
    return error;
}

static enum error step_mark(void)
{
    struct cursor c;
    cursor_init(&c);
    enum error error = fill_gaps(&c, 8);
    uint64_t missing = cursor_missing(&c);
    if (!error && (error = cursor_mark(&c, c.high + 2, 1)))
        assert_int_equal(cursor_missing(&c), missing);
    cursor_fini(&c);
    return error;
}

static enum error step_cursor_text(void)
{
    struct cursor c;
    cursor_init(&c);
    c.high = 100;
    enum error error = cursor_parse(&c, SLICE("3-4@1:1 7-9@1:1"));
    cursor_fini(&c);
    return error;
}

static enum error step_token(void)
{
    struct token *token, *copy = NULL;
    enum error error = token_parse(SLICE("1.100-7~5~9-11_2.8..YWJj"), 3, &token);
    if (error)
        return error;
    error = token_new(3, &copy);
    if (!error)
        error = token_copy(copy, token);
    token_free(&token);
    token_free(&copy);
    return error;
}

static enum error step_ring(void)
{
    struct ring *ring;
    enum error error = ring_new(weights, 3, 2, &ring);
    assert_int_equal(ring == NULL, error == ERROR_MEMORY);
    ring_free(&ring);
    return error;
}

static struct ring *the_ring;

static enum error step_outlook(void)
{
    struct outlook_shared *shared;
    struct outlook *outlook = NULL;
    enum error error = outlook_shared_new(3, &shared);
    if (!error)
        error = outlook_new(the_ring, 3, shared, &outlook);
    outlook_free(&outlook);
    outlook_shared_free(&shared);
    return error;
}

static enum error step_layout(void)
{
    static const struct placement placement = {.epoch = 1,
                                               .phase = PLACEMENT_MOVING,
                                               .now = {.weight = {1, 1, 1}},
                                               .other = {.weight = {1, 1}}};
    struct layout *layout;
    enum error error = layout_new(&placement, &layout);
    assert_int_equal(layout == NULL, error == ERROR_MEMORY);
    layout_free(&layout);
    return error;
}

static enum error step_recent(void)
{
    struct recent recent;
    enum error error = recent_init(&recent, 100);
    if (!error)
        recent_fini(&recent);
    return error;
}

static enum error step_hot(void)
{
    struct hot *hot;
    enum error error = hot_new(1 << 20, 3, 100, &hot);
    assert_int_equal(hot == NULL, error == ERROR_MEMORY);
    hot_free(&hot);
    return error;
}

static enum error step_batch(void)
{
    static const struct batch_options options = {.id = 1, .limit = 10, .max_value = 1000};
    static const struct batch_events events = {0};
    struct batch *batch;
    enum error error = batch_new(&options, &events, &batch);
    assert_int_equal(batch == NULL, error == ERROR_MEMORY);
    batch_free(&batch);
    return error;
}

#define TEST(name)                                                                                 \
    static void name##__survives_every_failed_allocation(void **state)                             \
    {                                                                                              \
        (void)state;                                                                               \
        fail_each_allocation(step_##name);                                                         \
    }

TEST(prefixes)
TEST(cursor)
TEST(gaps)
TEST(mark)
TEST(cursor_text)
TEST(token)
TEST(ring)
TEST(outlook)
TEST(layout)
TEST(recent)
TEST(hot)
TEST(batch)

static int prepare(void **state)
{
    (void)state;
    return ring_new(weights, 3, 2, &the_ring) == ERROR_NONE ? 0 : -1;
}

static int clean_up(void **state)
{
    (void)state;
    ring_free(&the_ring);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes__survives_every_failed_allocation),
        cmocka_unit_test(cursor__survives_every_failed_allocation),
        cmocka_unit_test(gaps__survives_every_failed_allocation),
        cmocka_unit_test(mark__survives_every_failed_allocation),
        cmocka_unit_test(cursor_text__survives_every_failed_allocation),
        cmocka_unit_test(token__survives_every_failed_allocation),
        cmocka_unit_test(ring__survives_every_failed_allocation),
        cmocka_unit_test(outlook__survives_every_failed_allocation),
        cmocka_unit_test(layout__survives_every_failed_allocation),
        cmocka_unit_test(recent__survives_every_failed_allocation),
        cmocka_unit_test(hot__survives_every_failed_allocation),
        cmocka_unit_test(batch__survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
