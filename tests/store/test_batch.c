// SPDX-License-Identifier: MIT
// What travels together, and how answers and failures come back, with a pool that answers as told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/batch.h"
#include "store/query.h"
#include "tests/fake/pool.h"

enum {
    ID = 7,
    OPERATIONS = 1100,
    PASSED_MAX = 1000, // of those that do not fit
    DEADLINE_MS = 1000,
    MIB = 1024 * 1024,
};

static char large_value[BATCH_BYTES + 1];

// An operation that remembers how it ended.
struct sent {
    struct operation operation;
    char key[16];
    unsigned ended;
    unsigned again;
    struct outcome outcome;
};

struct fixture {
    int64_t hurry_until;
    struct batch *batch;
    struct list queue;
    struct sent sent[OPERATIONS];
    size_t count;
    unsigned done;
};

static void on_operation_done(struct operation *operation, const struct outcome *outcome)
{
    struct sent *sent = CONTAINER_OF(operation, struct sent, operation);
    sent->ended++;
    sent->outcome = *outcome;
}

static void on_batch_done(struct batch *batch, void *context)
{
    struct fixture *f = context;
    size_t count;
    batch_operations(batch, &count);
    if (count == 0)
        f->done++;
}

static void on_again(struct operation *operation, void *context)
{
    (void)context;
    CONTAINER_OF(operation, struct sent, operation)->again++;
}

// fixture_sized makes a batch for values of at most `max_value` bytes.
static struct fixture *fixture_sized(unsigned limit, size_t max_value)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    struct batch_events events = {on_batch_done, on_again, f};
    struct batch_options options = {
        .id = ID, .limit = limit, .max_value = max_value, .hurry_until = &f->hurry_until};
    assert_int_equal(batch_new(&options, &events, &f->batch), ERROR_NONE);
    list_init(&f->queue);
    fake_init(1);
    clock_hold(0, 0);
    return f;
}

static struct fixture *fixture_new(unsigned limit)
{
    return fixture_sized(limit, 1024 * MIB);
}

static void fixture_free(struct fixture *f)
{
    batch_free(&f->batch);
    assert_null(f->batch);
    free(f);
    fake_init(0);
    clock_release();
}

static struct sent *add(struct fixture *f, enum operation_kind kind, const char *key)
{
    assert_true(f->count < OPERATIONS);
    struct sent *sent = &f->sent[f->count++];
    snprintf(sent->key, sizeof sent->key, "%s", key);
    sent->operation = (struct operation){.kind = kind,
                                         .key = slice_of(sent->key),
                                         .deadline = DEADLINE_MS,
                                         .on_done = on_operation_done};
    list_append(&f->queue, &sent->operation.link);
    return sent;
}

static struct sent *add_value(struct fixture *f, const char *key, size_t len)
{
    struct sent *sent = add(f, OPERATION_PUT, key);
    sent->operation.value = (struct slice){large_value, len};
    return sent;
}

static void add_all(struct fixture *f, enum operation_kind kind, const char *keys)
{
    for (; *keys; keys++)
        add(f, kind, (char[]){*keys, '\0'});
}

// expect_batch holds that the batch has the operations with these numbers, in that order.
static void expect_batch(const struct fixture *f, const size_t *number, size_t expected)
{
    size_t count;
    struct operation *const *operations = batch_operations(f->batch, &count);
    assert_int_equal(count, expected);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(operations[i], &f->sent[number[i]].operation);
}

#define EXPECT_BATCH(f, ...)                                                                       \
    expect_batch((f), (const size_t[]){__VA_ARGS__},                                               \
                 sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

static void expect_queue(const struct fixture *f, const size_t *number, size_t expected)
{
    const struct list *link = &f->queue;
    for (size_t i = 0; i < expected; i++) {
        assert_ptr_equal(link->next->prev, link);
        link = link->next;
        assert_ptr_equal(link, &f->sent[number[i]].operation.link);
    }
    assert_ptr_equal(link->next, &f->queue);
    assert_ptr_equal(f->queue.prev, link);
}

#define EXPECT_QUEUE(f, ...)                                                                       \
    expect_queue((f), (const size_t[]){__VA_ARGS__},                                               \
                 sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

static void expect_error(const struct sent *sent, enum error error)
{
    assert_int_equal(sent->ended, 1);
    assert_int_equal(sent->outcome.error, error);
    assert_int_equal(sent->outcome.partition, ID);
}

static bool sql_has(const char *text)
{
    return memmem(fake.sql.data, fake.sql.len, text, strlen(text)) != NULL;
}

// ---------------------------------------------------------------- filling

static void batch_fill__takes_nothing_from_an_empty_queue(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    assert_int_equal(batch_fill(f->batch, &f->queue), 0);
    fixture_free(f);
}

static void batch_fill__sorts_by_key(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "dbac");
    assert_int_equal(batch_fill(f->batch, &f->queue), 4);
    EXPECT_BATCH(f, 2, 1, 3, 0);
    assert_true(list_empty(&f->queue));
    fixture_free(f);
}

static void batch_fill__takes_up_to_the_limit_from_the_front(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(3);
    add_all(f, OPERATION_GET, "edcba");
    assert_int_equal(batch_fill(f->batch, &f->queue), 3);
    EXPECT_BATCH(f, 2, 1, 0);
    EXPECT_QUEUE(f, 3, 4);
    fixture_free(f);
}

static void batch_fill__fills_the_largest_batch_in_order(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(BATCH_MAX);
    for (size_t i = 0; i < OPERATIONS; i++) { // every key twice, far apart and in no order
        char key[16];
        snprintf(key, sizeof key, "%03zu", i * 7 % (BATCH_MAX / 2));
        add(f, OPERATION_GET, key);
    }
    assert_int_equal(batch_fill(f->batch, &f->queue), BATCH_MAX);
    size_t count;
    struct operation *const *operations = batch_operations(f->batch, &count);
    for (size_t i = 1; i < count; i++) {
        int order = slice_compare(operations[i - 1]->key, operations[i]->key);
        assert_true(order < 0 || (order == 0 && operations[i - 1] < operations[i]));
    }
    fixture_free(f);
}

static void batch_fill__stops_before_too_many_bytes(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(BATCH_MAX);
    // 16 values of 64 KiB and their keys are more than a MiB; fifteen and one byte less are not.
    for (size_t i = 0; i < 17; i++)
        add_value(f, (char[]){(char)('a' + i), '\0'}, QUERY_LARGE);
    assert_int_equal(batch_fill(f->batch, &f->queue), 15);
    EXPECT_QUEUE(f, 15, 16);
    fixture_free(f);

    f = fixture_new(BATCH_MAX);
    for (size_t i = 0; i < 16; i++)
        add_value(f, (char[]){(char)('a' + i), '\0'},
                  QUERY_LARGE - 2); // with keys, twice, exactly a MiB
    add_value(f, "z", 0);
    assert_int_equal(batch_fill(f->batch, &f->queue), 16);
    EXPECT_QUEUE(f, 16);
    fixture_free(f);
}

static void batch_fill__lets_large_values_travel_alone(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_value(f, "a", 1);
    add_value(f, "b", QUERY_LARGE + 1);
    add_value(f, "c", 1);
    assert_int_equal(batch_fill(f->batch, &f->queue), 1); // what stands before it goes first
    EXPECT_BATCH(f, 0);
    EXPECT_QUEUE(f, 1, 2);
    fixture_free(f);

    f = fixture_new(10);
    add_value(f, "b", QUERY_LARGE + 1);
    add_value(f, "c", 1);
    assert_int_equal(batch_fill(f->batch, &f->queue), 1);
    EXPECT_BATCH(f, 0);
    EXPECT_QUEUE(f, 1);
    fixture_free(f);

    f = fixture_new(10); // larger than any batch
    add_value(f, "a", BATCH_BYTES + 1);
    assert_int_equal(batch_fill(f->batch, &f->queue), 1);
    fixture_free(f);

    f = fixture_new(10); // not large
    add_value(f, "a", QUERY_LARGE);
    add_value(f, "b", QUERY_LARGE);
    assert_int_equal(batch_fill(f->batch, &f->queue), 2);
    fixture_free(f);
}

static void batch_fill__lets_preconditions_travel_alone(void **state)
{
    (void)state;
    static const struct precondition precondition = {.must_exist = true};
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "abc");
    f->sent[1].operation.precondition = &precondition;
    assert_int_equal(batch_fill(f->batch, &f->queue), 1);
    EXPECT_BATCH(f, 0);
    EXPECT_QUEUE(f, 1, 2);
    fixture_free(f);

    f = fixture_new(10);
    add_all(f, OPERATION_PUT, "ab");
    f->sent[0].operation.precondition = &precondition;
    assert_int_equal(batch_fill(f->batch, &f->queue), 1);
    EXPECT_QUEUE(f, 1);
    fixture_free(f);
}

static void batch_fill__lets_what_is_marked_travel_alone(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_GET, "abc");
    f->sent[1].operation.alone = true;
    assert_int_equal(batch_fill(f->batch, &f->queue), 1);
    EXPECT_QUEUE(f, 1, 2);
    fixture_free(f);
}

static void batch_fill__keeps_the_first_of_several_writes_to_a_key(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(6);
    add_all(f, OPERATION_PUT, "baabca"); // numbers 0 to 5
    add_all(f, OPERATION_DELETE, "ab");  // beyond the limit
    assert_int_equal(batch_fill(f->batch, &f->queue), 3);
    EXPECT_BATCH(f, 1, 0, 4);
    EXPECT_QUEUE(f, 2, 5, 3, 6, 7); // each key's writes in the order in which they came
    fixture_free(f);
}

static void batch_fill__lets_repeated_reads_travel_together(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_GET, "ba");
    add_all(f, OPERATION_HEAD, "a");
    add_all(f, OPERATION_GET, "ba");
    assert_int_equal(batch_fill(f->batch, &f->queue), 5);
    EXPECT_BATCH(f, 1, 2, 4, 0, 3);
    assert_true(list_empty(&f->queue));
    fixture_free(f);
}

static struct sent *add_in(struct fixture *f, const char *key, const struct session *session)
{
    struct sent *sent = add(f, OPERATION_PUT, key);
    sent->operation.session = *session;
    return sent;
}

static void batch_fill__mixes_no_sessions(void **state)
{
    (void)state;
    static const struct session plain = {0},
                                others[] = {{.divert = 2}, {.apply = true}, {.raised = true}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct fixture *f = fixture_new(10);
        add_in(f, "a", &plain);
        add_in(f, "b", &others[i]);
        add_in(f, "c", &plain);
        add_in(f, "d", &others[i]);
        assert_int_equal(batch_fill(f->batch, &f->queue), 2); // what fits overtakes
        EXPECT_BATCH(f, 0, 2);
        EXPECT_QUEUE(f, 1, 3); // and who was passed over keeps its place
        fixture_free(f);
    }
}

static void batch_fill__mixes_no_looks_with_reads(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_LOOK, "a");
    add_all(f, OPERATION_GET, "b");
    add_all(f, OPERATION_HEAD, "c");
    add_all(f, OPERATION_LOOK, "d");
    assert_int_equal(batch_fill(f->batch, &f->queue), 2);
    EXPECT_BATCH(f, 0, 3);
    EXPECT_QUEUE(f, 1, 2);
    fixture_free(f);
}

static void batch_fill__looks_only_so_far_for_what_fits(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct fixture *f = fixture_new(3);
        add_all(f, OPERATION_LOOK, "a");
        for (size_t i = 1; i < PASSED_MAX + more; i++)
            add_all(f, OPERATION_GET, "b");
        add_all(f, OPERATION_LOOK, "c");
        assert_int_equal(batch_fill(f->batch, &f->queue), more ? 1 : 2);
        fixture_free(f);
    }
}

// ---------------------------------------------------------------- answers

static void run(struct fixture *f)
{
    assert_true(batch_fill(f->batch, &f->queue) > 0);
    batch_run(f->batch, NULL);
}

static const struct answer done = {.error = ERROR_NONE};

static void refuse(unsigned code)
{
    fake_answer(&(struct answer){.error = ERROR_REJECTED, .code = code});
}

static void lose(bool timed_out)
{
    fake_answer(&(struct answer){.error = ERROR_OUTCOME, .timed_out = timed_out});
}

static void batch_run__gives_each_read_its_pair(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_GET, "cab");
    add_all(f, OPERATION_HEAD, "a");
    run(f);
    assert_int_equal(f->sent[0].ended, 0); // never inside the call
    FAKE_ROW("c", "see", "3", "t", "9", NULL, "0");
    FAKE_ROW("a", "ay", "2", "t", "8", NULL, "0");
    fake_answer(&done);
    expect_error(&f->sent[0], ERROR_NONE);
    assert_true(f->sent[0].outcome.found);
    assert_int_equal(f->sent[0].outcome.pair.version, 9);
    expect_error(&f->sent[1], ERROR_NONE);
    assert_int_equal(f->sent[1].outcome.pair.version, 8);
    expect_error(&f->sent[2], ERROR_NONE);
    assert_false(f->sent[2].outcome.found);
    assert_int_equal(f->sent[3].outcome.pair.version, 8);
    assert_int_equal(f->done, 1);
    assert_int_equal(fake.sent, 1);
    fixture_free(f);
}

static void batch_run__gives_each_write_its_stamp(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "ba");
    run(f);
    FAKE_ROW("a", "2048", "1024", "0");
    FAKE_ROW("b", "3072", "3072", "0");
    fake_answer(&done);
    expect_error(&f->sent[0], ERROR_NONE);
    assert_int_equal(f->sent[0].outcome.stamp.version, 3072);
    assert_true(f->sent[0].outcome.created);
    expect_error(&f->sent[1], ERROR_NONE);
    assert_int_equal(f->sent[1].outcome.stamp.version, 2048);
    assert_false(f->sent[1].outcome.created);
    fixture_free(f);
}

// sent_with holds the text that bounds the versions of one write, as the clocks are.
static void sent_with(const struct session *session, const char *bounds)
{
    struct fixture *f = fixture_new(10);
    fake.clock = (struct pool_clock){
        .now_us = 7000, .least_us = 8000, .partition_us = 9000, .floor_us = 5555};
    add_in(f, "a", session);
    run(f);
    assert_true(sql_has(bounds));
    assert_int_equal(fake.floor, session->raised);
    FAKE_ROW("a", "1024", "1024", "9");
    fake_answer(&done);
    assert_int_equal(f->sent[0].outcome.stamp.expires, 9);
    assert_false(f->sent[0].outcome.stamp.tombstone);
    fixture_free(f);
}

static void batch_run__bounds_the_versions_that_a_partition_may_give(void **state)
{
    (void)state;
    sent_with(&(struct session){.epoch = 3}, "sherd_log('1=a',7,0,1009000,3)");
    sent_with(&(struct session){.raised = true, .epoch = 3}, "sherd_log('1=a',7,5555,1009000,3)");
    sent_with(&(struct session){.divert = 2, .raised = true}, "sherd_diverted(2,");
}

static void batch_run__bounds_versions_by_the_likely_time_where_no_clock_was_heard(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    fake.clock = (struct pool_clock){.now_us = 7000, .partition_us = INT64_MAX};
    add_all(f, OPERATION_DELETE, "a");
    run(f);
    assert_true(sql_has("sherd_log('1-a',7,0,1007000,0)"));
    FAKE_ROW("a", "1024", "1024", "0");
    fake_answer(&done);
    assert_true(f->sent[0].outcome.stamp.tombstone);
    fixture_free(f);
}

// read_at reads a pair that ends at 1000 ms and returns whether it is asked for again.
static bool read_at(int64_t least_us, int64_t most_us, const char *value, bool *found)
{
    struct fixture *f = fixture_new(10);
    struct sent *sent = add(f, OPERATION_GET, "a");
    fake.clock = (struct pool_clock){.least_us = least_us, .partition_us = most_us};
    run(f);
    assert_false(sql_has("ends=0"));
    FAKE_ROW("a", value, NULL, "t", "8", NULL, "1000");
    fake_answer(&done);
    bool again = sent->again > 0;
    if (again) {
        assert_int_equal(sent->ended, 0);
        list_append(&f->queue, &sent->operation.link);
        run(f);
        assert_true(sql_has("AND(ends=0 OR ends>"));
        FAKE_ROW("a", value, NULL, "t", "8", NULL, "1000"); // the partition knows best
        fake_answer(&done);
    }
    expect_error(sent, ERROR_NONE);
    *found = sent->outcome.found;
    fixture_free(f);
    return again;
}

static void batch_run__finds_no_pair_that_has_ended(void **state)
{
    (void)state;
    bool found;
    assert_false(read_at(900000, 999999, "v", &found));
    assert_true(found);
    assert_false(read_at(1000000, 1000001, "v", &found));
    assert_false(found);
    assert_false(read_at(0, INT64_MAX, NULL, &found)); // a tombstone
    assert_false(found);
}

static void batch_run__lets_the_partition_decide_what_the_clock_does_not(void **state)
{
    (void)state;
    bool found;
    assert_true(read_at(999999, 1000000, "v", &found));
    assert_true(found);
    assert_true(read_at(0, INT64_MAX, "v", &found));
    assert_true(found);
}

static void batch_run__applies_rows_with_their_stamps(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    struct sent *sent = add(f, OPERATION_APPLY, "a");
    sent->operation.stamp = (struct stamp){.version = 2048, .created = 1024, .expires = 7};
    sent->operation.session.apply = true;
    run(f);
    assert_true(sql_has("2048,1024,7,@sherd_seq:=sherd_log_applied('1=a',2048,2048),NULL)"));
    FAKE_ROW("a", "4096", "4096", "0"); // a newer row was there
    fake_answer(&done);
    expect_error(sent, ERROR_NONE);
    assert_int_equal(sent->outcome.stamp.version, 4096);
    fixture_free(f);
}

// A removed row that was inserted again comes twice: once from `removed`, once from `pairs`.
static void batch_run__gives_a_look_the_newer_of_two_rows(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct fixture *f = fixture_new(10);
        add_all(f, OPERATION_LOOK, "a");
        run(f);
        assert_true(sql_has("removed"));
        if (order)
            FAKE_ROW("a", NULL, NULL, "", "8", NULL, "0", "8", "1");
        FAKE_ROW("a", "v", "1", "t", "9", NULL, "0", "7", "0");
        if (!order)
            FAKE_ROW("a", NULL, NULL, "", "8", NULL, "0", "8", "1");
        fake_answer(&done);
        expect_error(&f->sent[0], ERROR_NONE);
        assert_true(f->sent[0].outcome.found && !f->sent[0].outcome.pair.dead);
        assert_int_equal(f->sent[0].outcome.pair.version, 9);
        assert_int_equal(f->sent[0].outcome.pair.created, 7);
        fixture_free(f);
    }
}

// A write without a row of its own was not acknowledged by the database.
static void batch_run__acknowledges_no_write_without_a_row(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "ab");
    run(f);
    FAKE_ROW("a", "2048", "1024", "0");
    FAKE_ROW("x", "2048", "1024", "0"); // nobody's
    fake_answer(&done);
    expect_error(&f->sent[0], ERROR_NONE);
    expect_error(&f->sent[1], ERROR_OUTCOME);
    fixture_free(f);
}

static void batch_run__trusts_nothing_in_an_answer_with_a_malformed_row(void **state)
{
    (void)state;
    static const enum operation_kind kinds[] = {OPERATION_GET, OPERATION_PUT};
    static const enum error errors[] = {ERROR_UNAVAILABLE, ERROR_OUTCOME};
    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = fixture_new(10);
        add_all(f, kinds[i], "ab");
        run(f);
        if (kinds[i] == OPERATION_GET)
            FAKE_ROW("a", "v", "1", "t", "-1", NULL, "0");
        else
            FAKE_ROW("a", "2048", NULL, "0");
        fake_answer(&done);
        expect_error(&f->sent[0], errors[i]);
        expect_error(&f->sent[1], errors[i]);
        assert_int_equal(f->done, 1);
        fixture_free(f);
    }
}

static void batch_run__asks_again_for_a_value_that_was_left_out(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_GET, "ab");
    add_all(f, OPERATION_HEAD, "a");
    run(f);
    FAKE_ROW("a", NULL, "70000", "t", "8", NULL, "0");
    FAKE_ROW("b", "v", "1", "t", "9", NULL, "0");
    fake_answer(&done);
    assert_int_equal(f->sent[0].ended, 0);
    assert_int_equal(f->sent[0].again, 1);
    assert_true(f->sent[0].operation.alone);
    expect_error(&f->sent[1], ERROR_NONE);
    expect_error(&f->sent[2], ERROR_NONE); // HEAD needs no value
    assert_int_equal(f->sent[2].outcome.pair.size, 70000);

    list_append(&f->queue, &f->sent[0].operation.link);
    run(f);
    assert_true(sql_has("SELECT k,v,NULL,"));
    FAKE_ROW("a", "v", "1", "t", "8", NULL, "0");
    fake_answer(&done);
    expect_error(&f->sent[0], ERROR_NONE);
    fixture_free(f);
}

// Few reads may all have the largest value; of more, large values come alone.
static void batch_run__leaves_large_values_out_when_all_would_be_too_much(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 5; count++) {
        struct fixture *f = fixture_sized(10, 16 * MIB);
        for (size_t i = 0; i < count; i++)
            add(f, OPERATION_GET, (char[]){(char)('a' + i), '\0'});
        run(f);
        assert_int_equal(sql_has("SELECT k,v,NULL,"), count <= 4);
        fake_answer(&done);
        fixture_free(f);
    }
}

static void batch_run__fetches_no_large_value_for_a_lone_head(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add(f, OPERATION_HEAD, "a");
    run(f);
    assert_false(sql_has("SELECT k,v,"));
    fake_answer(&done);
    fixture_free(f);
}

// ---------------------------------------------------------------- preconditions

static void run_with(struct fixture *f, const struct precondition *precondition)
{
    add(f, OPERATION_PUT, "a")->operation.precondition = precondition;
    run(f);
}

static void batch_run__inserts_first_where_absence_will_do(void **state)
{
    (void)state;
    static const struct precondition absent = {.must_be_absent = true};
    struct fixture *f = fixture_new(10);
    run_with(f, &absent);
    assert_true(sql_has("INSERT INTO pairs(k,v,type,version,created,expires,seq,touched)VALUES"));
    assert_false(sql_has("UPDATE"));
    FAKE_ROW("a", "1024", "1024", "0");
    fake_answer(&done);
    expect_error(&f->sent[0], ERROR_NONE);
    assert_true(f->sent[0].outcome.created);
    fixture_free(f);
}

static void batch_run__looks_at_the_row_that_the_insert_found(void **state)
{
    (void)state;
    static const struct precondition absent = {.must_be_absent = true};
    for (int dead = 0; dead < 2; dead++) {
        struct fixture *f = fixture_new(10);
        run_with(f, &absent);
        refuse(1062);
        assert_int_equal(f->sent[0].ended, 0);
        assert_true(sql_has("FOR UPDATE"));
        if (dead)
            FAKE_ROW("a", "2048", "2048", "0"); // a tombstone was replaced
        fake_answer(&done);
        if (!dead)
            refuse(1062); // it is still there
        expect_error(&f->sent[0], dead ? ERROR_NONE : ERROR_PRECONDITION);
        assert_int_equal(fake.sent, dead ? 2 : 3);
        assert_int_equal(f->done, 1);
        fixture_free(f);
    }
}

// The tombstone that the INSERT found was purged before the second statement looked for it.
static void batch_run__inserts_once_more_when_the_row_has_vanished(void **state)
{
    (void)state;
    static const struct precondition absent = {.must_be_absent = true};
    for (int there = 0; there < 2; there++) {
        struct fixture *f = fixture_new(10);
        run_with(f, &absent);
        refuse(1062);
        fake_answer(&done); // nothing to replace
        assert_int_equal(f->sent[0].ended, 0);
        assert_int_equal(fake.sent, 3);
        assert_false(sql_has("FOR UPDATE"));
        if (there) {
            refuse(1062); // it lives
        } else {
            FAKE_ROW("a", "1024", "1024", "0");
            fake_answer(&done);
        }
        expect_error(&f->sent[0], there ? ERROR_PRECONDITION : ERROR_NONE);
        assert_int_equal(fake.sent, 3);
        assert_int_equal(f->done, 1);
        fixture_free(f);
    }
}

static void batch_run__never_inserts_where_the_key_must_exist(void **state)
{
    (void)state;
    static const struct precondition exists = {.must_exist = true};
    struct fixture *f = fixture_new(10);
    run_with(f, &exists);
    assert_true(sql_has("FOR UPDATE"));
    fake_answer(&done);
    expect_error(&f->sent[0], ERROR_PRECONDITION);
    assert_int_equal(fake.sent, 1);
    fixture_free(f);
}

// ---------------------------------------------------------------- failures

static void batch_run__splits_until_only_the_bad_row_fails(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "abcdefgh");
    run(f);
    while (fake.on_answer) {
        if (sql_has("('f',")) {
            refuse(1366);
            continue;
        }
        for (char key = 'a'; key <= 'h'; key++) {
            char part[] = {'(', '\'', key, '\'', ',', '\0'};
            if (sql_has(part))
                FAKE_ROW(f->sent[key - 'a'].key, "1024", "1024", "0");
        }
        fake_answer(&done);
    }
    for (size_t i = 0; i < 8; i++)
        expect_error(&f->sent[i], i == 5 ? ERROR_REJECTED : ERROR_NONE);
    assert_int_equal(f->done, 1);
    assert_true(fake.sent <= 7); // 2 log2(8) + 1
    fixture_free(f);
}

static void batch_run__splits_the_largest_batch_to_the_last_row(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(BATCH_MAX);
    for (size_t i = 0; i < BATCH_MAX; i++) {
        char key[16];
        snprintf(key, sizeof key, "%03zu", i);
        add(f, OPERATION_PUT, key);
    }
    run(f);
    while (fake.on_answer)
        refuse(1366);
    for (size_t i = 0; i < BATCH_MAX; i++)
        expect_error(&f->sent[i], ERROR_REJECTED);
    assert_int_equal(fake.sent, 2 * BATCH_MAX - 1);
    assert_int_equal(f->done, 1);
    fixture_free(f);
}

static void batch_run__tries_again_after_a_deadlock(void **state)
{
    (void)state;
    static const unsigned codes[] = {1213, 1020};
    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = fixture_new(10);
        add_all(f, OPERATION_PUT, "ab");
        run(f);
        refuse(codes[i]);
        refuse(codes[i]);
        assert_int_equal(fake.sent, 3);
        assert_int_equal(f->sent[0].ended, 0);
        FAKE_ROW("a", "1024", "1024", "0");
        FAKE_ROW("b", "1024", "1024", "0");
        fake_answer(&done);
        expect_error(&f->sent[0], ERROR_NONE);
        expect_error(&f->sent[1], ERROR_NONE);
        fixture_free(f);
    }
}

static void batch_run__ends_deadlocks_that_never_end(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "ab");
    run(f);
    while (fake.on_answer)
        refuse(1213);
    assert_in_range(fake.sent, 3, 50);
    expect_error(&f->sent[0], ERROR_UNAVAILABLE); // nothing was written: not the row's fault
    expect_error(&f->sent[1], ERROR_UNAVAILABLE);
    assert_int_equal(f->done, 1);
    fixture_free(f);
}

static void batch_run__does_not_try_again_after_the_deadline(void **state)
{
    (void)state;
    static const unsigned codes[] = {1213, 1020};
    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = fixture_new(10);
        add_all(f, OPERATION_PUT, "a");
        run(f);
        clock_hold(DEADLINE_MS * 1000, 0);
        refuse(codes[i]);
        expect_error(&f->sent[0], ERROR_UNAVAILABLE);
        assert_int_equal(fake.sent, 1);
        fixture_free(f);
    }
}

static void batch_run__sends_no_part_after_the_deadline(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "ab");
    run(f);
    refuse(1366);
    clock_hold(DEADLINE_MS * 1000, 0);
    FAKE_ROW("a", "1024", "1024", "0");
    fake_answer(&done);
    expect_error(&f->sent[0], ERROR_NONE);
    expect_error(&f->sent[1], ERROR_UNAVAILABLE);
    assert_int_equal(fake.sent, 2);
    fixture_free(f);
}

static void batch_run__finds_the_row_that_is_refused_among_others(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        enum error error;
    } cases[] = {{1153, ERROR_TOO_LARGE}, {1062, ERROR_REJECTED}};
    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = fixture_new(10);
        add_all(f, OPERATION_PUT, "ab");
        run(f);
        refuse(cases[i].code); // the two together
        refuse(cases[i].code); // a
        FAKE_ROW("b", "1024", "1024", "0");
        fake_answer(&done);
        expect_error(&f->sent[0], cases[i].error);
        expect_error(&f->sent[1], ERROR_NONE);
        fixture_free(f);
    }
}

// A unique key of the DBA's refuses the row that replaces the one that the insert found.
static void batch_run__ends_when_the_replacement_is_refused(void **state)
{
    (void)state;
    static const struct precondition absent = {.must_be_absent = true};
    struct fixture *f = fixture_new(10);
    run_with(f, &absent);
    refuse(1062);
    refuse(1062);
    expect_error(&f->sent[0], ERROR_REJECTED);
    assert_int_equal(fake.sent, 2);
    fixture_free(f);
}

static void batch_run__blames_a_held_lock_on_its_row_only(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "ab");
    run(f);
    refuse(1205); // the two together
    refuse(1205); // a
    FAKE_ROW("b", "1024", "1024", "0");
    fake_answer(&done);
    expect_error(&f->sent[0], ERROR_UNAVAILABLE);
    expect_error(&f->sent[1], ERROR_NONE);
    fixture_free(f);
}

static void batch_run__names_the_failure_of_a_lone_write(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        enum error error;
    } cases[] = {
        {1153, ERROR_TOO_LARGE},   {1406, ERROR_TOO_LARGE},   {1118, ERROR_TOO_LARGE},
        {1644, ERROR_REJECTED},    {1366, ERROR_REJECTED},    {1062, ERROR_REJECTED},
        {1114, ERROR_UNAVAILABLE}, {1021, ERROR_UNAVAILABLE}, {1290, ERROR_UNAVAILABLE},
        {1969, ERROR_UNAVAILABLE}, {1317, ERROR_UNAVAILABLE}, {1836, ERROR_UNAVAILABLE},
        {1205, ERROR_UNAVAILABLE}, {1180, ERROR_OUTCOME},     {1142, ERROR_UNAVAILABLE},
        {1305, ERROR_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture *f = fixture_new(10);
        add_all(f, OPERATION_PUT, "a");
        run(f);
        refuse(cases[i].code);
        expect_error(&f->sent[0], cases[i].error);
        assert_int_equal(f->done, 1);
        fixture_free(f);
    }
}

static void batch_run__ends_all_at_once_when_the_server_cannot_write(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "abcd");
    run(f);
    refuse(1114);
    for (size_t i = 0; i < 4; i++)
        expect_error(&f->sent[i], ERROR_UNAVAILABLE);
    assert_int_equal(fake.sent, 1);
    fixture_free(f);
}

static void batch_run__tells_who_cannot_write_from_who_is_busy(void **state)
{
    (void)state;
    static const struct {
        enum operation_kind kind;
        unsigned code;
        bool refusing;
    } cases[] = {{OPERATION_PUT, 1290, true},  {OPERATION_PUT, 30004, true},
                 {OPERATION_PUT, 1114, true},  {OPERATION_PUT, 1205, false},
                 {OPERATION_GET, 1317, false}, {OPERATION_GET, 1030, false},
                 {OPERATION_GET, 1180, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture *f = fixture_new(10);
        add(f, cases[i].kind, "a");
        run(f);
        refuse(cases[i].code);
        expect_error(&f->sent[0], ERROR_UNAVAILABLE);
        assert_int_equal(f->sent[0].outcome.refusing, cases[i].refusing);
        fixture_free(f);
    }
}

static void batch_run__says_unavailable_of_what_the_pool_did_not_send(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "ab");
    run(f);
    fake_answer(&(struct answer){.error = ERROR_UNAVAILABLE});
    expect_error(&f->sent[0], ERROR_UNAVAILABLE);
    expect_error(&f->sent[1], ERROR_UNAVAILABLE);
    assert_int_equal(f->done, 1);
    fixture_free(f);
}

static void batch_run__says_unavailable_of_what_finds_no_memory(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_value(f, "a", SIZE_MAX / 4);
    run(f);
    expect_error(&f->sent[0], ERROR_UNAVAILABLE);
    assert_int_equal(fake.sent, 0);
    fixture_free(f);
}

static void batch_run__does_not_know_what_a_lost_connection_wrote(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "ab");
    run(f);
    lose(false);
    expect_error(&f->sent[0], ERROR_OUTCOME);
    expect_error(&f->sent[1], ERROR_OUTCOME);
    assert_int_equal(f->sent[0].again, 0); // a write is never sent twice
    assert_int_equal(f->done, 1);
    fixture_free(f);
}

static void batch_run__says_of_parts_never_sent_that_nothing_was_written(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "ab");
    run(f);
    refuse(1366); // a is sent alone
    lose(false);  // and no connection is left for b
    expect_error(&f->sent[0], ERROR_OUTCOME);
    expect_error(&f->sent[1], ERROR_UNAVAILABLE);
    assert_int_equal(f->done, 1);
    fixture_free(f);
}

static void batch_run__gives_reads_one_more_try_on_another_connection(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_GET, "a");
    run(f);
    lose(false);
    assert_int_equal(f->sent[0].ended, 0);
    assert_int_equal(f->sent[0].again, 1);
    assert_int_equal(f->done, 1);
    fake.idle = 1;
    list_append(&f->queue, &f->sent[0].operation.link);
    run(f);
    lose(false);
    expect_error(&f->sent[0], ERROR_UNAVAILABLE);
    assert_int_equal(f->sent[0].again, 1);
    fixture_free(f);
}

static void batch_run__gives_no_second_try_after_a_timeout(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_GET, "a");
    run(f);
    lose(true);
    expect_error(&f->sent[0], ERROR_UNAVAILABLE);
    assert_int_equal(f->sent[0].again, 0);
    fixture_free(f);
}

static void batch_run__can_be_filled_again(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(10);
    add_all(f, OPERATION_PUT, "aa");
    run(f);
    FAKE_ROW("a", "1024", "1024", "0");
    fake_answer(&done);
    EXPECT_QUEUE(f, 1);
    run(f);
    FAKE_ROW("a", "2048", "1024", "0");
    fake_answer(&done);
    assert_int_equal(f->sent[0].outcome.stamp.version, 1024);
    assert_int_equal(f->sent[1].outcome.stamp.version, 2048);
    assert_int_equal(f->done, 2);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_fill__takes_nothing_from_an_empty_queue),
        cmocka_unit_test(batch_fill__sorts_by_key),
        cmocka_unit_test(batch_fill__takes_up_to_the_limit_from_the_front),
        cmocka_unit_test(batch_fill__fills_the_largest_batch_in_order),
        cmocka_unit_test(batch_fill__stops_before_too_many_bytes),
        cmocka_unit_test(batch_fill__lets_large_values_travel_alone),
        cmocka_unit_test(batch_fill__lets_preconditions_travel_alone),
        cmocka_unit_test(batch_fill__lets_what_is_marked_travel_alone),
        cmocka_unit_test(batch_fill__keeps_the_first_of_several_writes_to_a_key),
        cmocka_unit_test(batch_fill__lets_repeated_reads_travel_together),
        cmocka_unit_test(batch_fill__mixes_no_sessions),
        cmocka_unit_test(batch_fill__mixes_no_looks_with_reads),
        cmocka_unit_test(batch_fill__looks_only_so_far_for_what_fits),
        cmocka_unit_test(batch_run__gives_each_read_its_pair),
        cmocka_unit_test(batch_run__gives_each_write_its_stamp),
        cmocka_unit_test(batch_run__bounds_the_versions_that_a_partition_may_give),
        cmocka_unit_test(batch_run__bounds_versions_by_the_likely_time_where_no_clock_was_heard),
        cmocka_unit_test(batch_run__finds_no_pair_that_has_ended),
        cmocka_unit_test(batch_run__lets_the_partition_decide_what_the_clock_does_not),
        cmocka_unit_test(batch_run__applies_rows_with_their_stamps),
        cmocka_unit_test(batch_run__gives_a_look_the_newer_of_two_rows),
        cmocka_unit_test(batch_run__acknowledges_no_write_without_a_row),
        cmocka_unit_test(batch_run__trusts_nothing_in_an_answer_with_a_malformed_row),
        cmocka_unit_test(batch_run__asks_again_for_a_value_that_was_left_out),
        cmocka_unit_test(batch_run__leaves_large_values_out_when_all_would_be_too_much),
        cmocka_unit_test(batch_run__fetches_no_large_value_for_a_lone_head),
        cmocka_unit_test(batch_run__inserts_first_where_absence_will_do),
        cmocka_unit_test(batch_run__looks_at_the_row_that_the_insert_found),
        cmocka_unit_test(batch_run__inserts_once_more_when_the_row_has_vanished),
        cmocka_unit_test(batch_run__never_inserts_where_the_key_must_exist),
        cmocka_unit_test(batch_run__splits_until_only_the_bad_row_fails),
        cmocka_unit_test(batch_run__splits_the_largest_batch_to_the_last_row),
        cmocka_unit_test(batch_run__tries_again_after_a_deadlock),
        cmocka_unit_test(batch_run__ends_deadlocks_that_never_end),
        cmocka_unit_test(batch_run__does_not_try_again_after_the_deadline),
        cmocka_unit_test(batch_run__sends_no_part_after_the_deadline),
        cmocka_unit_test(batch_run__finds_the_row_that_is_refused_among_others),
        cmocka_unit_test(batch_run__ends_when_the_replacement_is_refused),
        cmocka_unit_test(batch_run__blames_a_held_lock_on_its_row_only),
        cmocka_unit_test(batch_run__names_the_failure_of_a_lone_write),
        cmocka_unit_test(batch_run__ends_all_at_once_when_the_server_cannot_write),
        cmocka_unit_test(batch_run__tells_who_cannot_write_from_who_is_busy),
        cmocka_unit_test(batch_run__says_unavailable_of_what_the_pool_did_not_send),
        cmocka_unit_test(batch_run__says_unavailable_of_what_finds_no_memory),
        cmocka_unit_test(batch_run__does_not_know_what_a_lost_connection_wrote),
        cmocka_unit_test(batch_run__says_of_parts_never_sent_that_nothing_was_written),
        cmocka_unit_test(batch_run__gives_reads_one_more_try_on_another_connection),
        cmocka_unit_test(batch_run__gives_no_second_try_after_a_timeout),
        cmocka_unit_test(batch_run__can_be_filled_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
