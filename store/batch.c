// SPDX-License-Identifier: MIT
#include "store/batch.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/query.h"

enum {
    PARTS_MAX = 12,   // halving 500 operations leaves at most ten parts waiting
    RETRIES_MAX = 10, // of one statement after deadlocks
    PASS_MAX = 1000,  // operations that are looked at in vain while a batch is filled
    HURRY_MS = 2000,  // after a lock that was held for long
    SQL_KEEP = 256 * 1024,
    ROWS_BYTES = 64 * 1024 * 1024, // that the values of one answer may take
};

// Operations [begin, end) that still have to be sent.
struct part {
    size_t begin;
    size_t end;
};

struct batch {
    struct batch_options options;
    struct batch_events events;
    struct pool *pool;
    bool writes;
    bool replacing; // the lone operation's INSERT found a row: its second statement is under way
    bool vanished;  // that found none any more, or one that it may not replace: INSERT once more
    unsigned retries;
    struct part part; // under way
    struct part waiting[PARTS_MAX];
    size_t waiting_count;
    bool refusing; // the partition answered that it cannot write
    bool moved;    // it answered that its placement is another one
    struct bytes sql;
    size_t count;
    struct outcome *outcome;       // [limit]
    struct operation *operation[]; // [limit], sorted by key
};

static void run_next(struct batch *b);

// ---------------------------------------------------------------- filling

static int operation_compare(const void *a, const void *b)
{
    const struct operation *const *x = a, *const *y = b;
    return slice_compare((*x)->key, (*y)->key);
}

// stable_sort sorts by key and keeps the order of operations on one key: insertion for the small
// batches of an idle server, merging for the others.
static void stable_sort(struct operation **first, size_t count, struct operation **spare)
{
    if (count <= 8) {
        for (size_t i = 1; i < count; i++) {
            struct operation *moving = first[i];
            size_t at = i;
            for (; at && operation_compare(&first[at - 1], &moving) > 0; at--)
                first[at] = first[at - 1];
            first[at] = moving;
        }
        return;
    }
    size_t half = count / 2;
    stable_sort(first, half, spare);
    stable_sort(first + half, count - half, spare);
    memcpy(spare, first, half * sizeof *first);
    size_t left = 0, right = half;
    for (size_t to = 0; left < half; to++) {
        bool take_left = right == count || operation_compare(&spare[left], &first[right]) <= 0;
        first[to] = take_left ? spare[left++] : first[right++];
    }
}

// drop_repeats puts back all but the first write of each key.
static void drop_repeats(struct batch *b, struct list *queue)
{
    struct list again;
    size_t kept = 0;
    list_init(&again);
    for (size_t i = 0; i < b->count; i++) {
        if (kept && slice_equal(b->operation[i]->key, b->operation[kept - 1]->key))
            list_append(&again, &b->operation[i]->link);
        else
            b->operation[kept++] = b->operation[i];
    }
    b->count = kept;
    while (!list_empty(&again)) {
        struct list *last = again.prev;
        list_remove(last);
        list_prepend(queue, last);
    }
}

static bool is_alone(const struct operation *operation)
{
    return operation->alone || operation->precondition || operation->value.len > QUERY_LARGE;
}

// fits tells whether both can share a statement: one shape, one session.
static bool fits(const struct operation *first, const struct operation *operation)
{
    return (first->kind == OPERATION_LOOK) == (operation->kind == OPERATION_LOOK) &&
           session_equal(&first->session, &operation->session);
}

size_t batch_fill(struct batch *b, struct list *queue)
{
    size_t size = 0, passed = 0;
    assert(b->count == 0);
    for (struct list *link = queue->next, *next;
         link != queue && b->count < b->options.limit && passed < PASS_MAX; link = next) {
        struct operation *operation = CONTAINER_OF(link, struct operation, link);
        size_t more = 2 * operation->key.len + operation->value.len; // a key is in the log too
        bool alone = is_alone(operation);
        next = link->next;
        if (b->count && !fits(b->operation[0], operation)) {
            passed++;
            continue;
        }
        if (b->count && (alone || size + more > BATCH_BYTES))
            break;
        list_remove(link);
        b->operation[b->count++] = operation;
        size += more;
        if (alone)
            break;
    }
    if (b->count == 0)
        return 0;
    b->writes = operation_writes(b->operation[0]);
    struct operation *spare[BATCH_MAX / 2];
    stable_sort(b->operation, b->count, spare);
    if (b->writes)
        drop_repeats(b, queue);
    return b->count;
}

// ---------------------------------------------------------------- ending operations

static void end(struct operation *operation, const struct outcome *outcome)
{
    operation->on_done(operation, outcome);
}

static void end_part(struct batch *b, enum error error)
{
    struct outcome outcome = {.error = error,
                              .partition = b->options.id,
                              .retry_after = 1,
                              .refusing = b->refusing,
                              .moved = b->moved};
    for (size_t i = b->part.begin; i < b->part.end; i++)
        end(b->operation[i], &outcome);
}

static void again(struct batch *b, struct operation *operation)
{
    b->events.on_again(operation, b->events.context);
}

// find returns the first operation of the part whose key is not less than `key`, or part.end.
static size_t find(const struct batch *b, struct slice key)
{
    size_t low = b->part.begin, high = b->part.end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(b->operation[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// ---------------------------------------------------------------- answers

// expect sets what becomes of the operations for which no row comes.
static void expect(struct batch *b)
{
    for (size_t i = b->part.begin; i < b->part.end; i++) {
        enum error error = ERROR_NONE; // a read: not found
        if (b->writes)                 // an upsert returns a row for each
            error = b->operation[i]->precondition ? ERROR_PRECONDITION : ERROR_OUTCOME;
        b->outcome[i] = (struct outcome){.error = error, .partition = b->options.id};
    }
}

static bool is_removal(const struct operation *operation)
{
    return operation->kind == OPERATION_DELETE || operation->stamp.tombstone;
}

static enum error take_row(struct batch *b, const struct row *row)
{
    struct pair pair = {0};
    struct stamp stamp;
    struct slice key;
    if (b->writes ? row_stamp(row, &key, &stamp) : row_pair(row, &pair))
        return ERROR_MALFORMED;
    if (!b->writes)
        key = pair.key;
    for (size_t i = find(b, key); i < b->part.end && slice_equal(b->operation[i]->key, key); i++) {
        struct outcome *outcome = &b->outcome[i];
        outcome->error = ERROR_NONE;
        if (b->writes) {
            stamp.tombstone = is_removal(b->operation[i]);
            outcome->stamp = stamp;
            outcome->created = stamp.created == stamp.version;
        } else if (!outcome->found || outcome->pair.version < pair.version) {
            outcome->found = true;
            outcome->pair = pair;
        }
    }
    return ERROR_NONE;
}

// Whether a pair that was read is alive, by what is known of its partition's clock.
enum life {
    LIFE_ALIVE,
    LIFE_DEAD,
    LIFE_DOUBTFUL,
};

static enum life life_of(const struct pair *pair, const struct pool_clock *clock)
{
    uint64_t least_ms = (uint64_t)clock->least_us / 1000,
             most_ms = (uint64_t)clock->partition_us / 1000;
    if (pair->expires == 0 || pair->expires > most_ms)
        return LIFE_ALIVE;
    return pair->expires <= least_ms || pair->tombstone ? LIFE_DEAD : LIFE_DOUBTFUL;
}

// bury_dead takes what is dead for not found, and marks what only its partition can decide on.
static void bury_dead(struct batch *b)
{
    struct pool_clock clock;
    pool_clock(b->pool, false, &clock);
    for (size_t i = b->part.begin; i < b->part.end; i++) {
        struct operation *operation = b->operation[i];
        struct outcome *outcome = &b->outcome[i];
        if (!outcome->found || operation->kind == OPERATION_LOOK || operation->doubtful)
            continue;
        enum life life = life_of(&outcome->pair, &clock);
        outcome->found = life != LIFE_DEAD;
        operation->doubtful = life == LIFE_DOUBTFUL;
        operation->alone |= operation->doubtful;
    }
}

static bool needs_value(const struct operation *operation, const struct outcome *outcome)
{
    return operation->kind != OPERATION_HEAD && outcome->found && !outcome->pair.whole;
}

static void wait_with(struct batch *b, struct part part)
{
    assert(b->waiting_count < PARTS_MAX);
    b->waiting[b->waiting_count++] = part;
}

// may_have_vanished: the INSERT found a row and the second statement none to replace. Perhaps sync
// purged a tombstone between them: then the INSERT succeeds now.
static bool may_have_vanished(const struct batch *b)
{
    return b->replacing && b->outcome[b->part.begin].error == ERROR_PRECONDITION;
}

static void answered(struct batch *b, struct connection *connection)
{
    struct row row;
    expect(b);
    while (connection_row(connection, &row)) {
        if (take_row(b, &row)) {
            end_part(b, b->writes ? ERROR_OUTCOME : ERROR_UNAVAILABLE);
            return;
        }
    }
    if (may_have_vanished(b)) {
        b->vanished = true;
        b->replacing = false;
        wait_with(b, b->part);
        return;
    }
    bool asked = !b->writes && b->operation[b->part.begin]->doubtful; // the partition has decided
    if (!b->writes && !asked)
        bury_dead(b);
    for (size_t i = b->part.begin; i < b->part.end; i++) {
        bool doubtful = !asked && b->operation[i]->doubtful;
        if (!b->writes && (doubtful || needs_value(b->operation[i], &b->outcome[i]))) {
            b->operation[i]->alone = true; // a large value comes in a statement of its own
            again(b, b->operation[i]);
        } else {
            end(b->operation[i], &b->outcome[i]);
        }
    }
}

// ---------------------------------------------------------------- failures

enum verdict {
    VERDICT_RETRY,     // the statement was rolled back for the others' sake
    VERDICT_SPLIT,     // one of the rows is to blame
    VERDICT_AWAY,      // the server cannot write or read now, whatever the row
    VERDICT_UNKNOWN,   // it may have been written
    VERDICT_TOO_LARGE, // the row is too large for the server's settings
    VERDICT_EXISTS,    // INSERT found a row
    VERDICT_MOVED,     // the placement is another one: nothing was written
};

static enum verdict verdict_of(unsigned code)
{
    switch (code) {
    case 1020: // record has changed since last read
    case 1213: // deadlock
        return VERDICT_RETRY;
    case 1062: // duplicate key
        return VERDICT_EXISTS;
    case 1118: // row too large
    case 1153: // packet too large
    case 1406: // data too long
        return VERDICT_TOO_LARGE;
    case 1180: // error during COMMIT
        return VERDICT_UNKNOWN;
    case 3:    // error writing file
    case 1021: // disk full
    case 1028: // sort aborted
    case 1030: // error from the storage engine
    case 1037: // out of memory
    case 1038: // out of sort memory
    case 1041: // out of memory
    case 1053: // server shutdown in progress
    case 1114: // the table is full
    case 1142: // a right is missing
    case 1146: // no such table
    case 1158: // packets could not be read or written: 1158 to 1161
    case 1159:
    case 1160:
    case 1161:
    case 1206:  // the lock table is full
    case 1226:  // a limit of the account
    case 1290:  // --read-only
    case 1305:  // no such function
    case 1317:  // query interrupted
    case 1370:  // a right on the function is missing
    case 1792:  // read-only transaction
    case 1449:  // the triggers' definer does not exist
    case 1637:  // too many transactions
    case 1836:  // read-only mode
    case 1877:  // the tablespace is damaged
    case 1927:  // connection killed
    case 1932:  // the table is not in the engine
    case 1969:  // max_statement_time
    case 30004: // its clock has run away: database_definition.sql
        return VERDICT_AWAY;
    case 30005:
        return VERDICT_MOVED;
    default: // 1205, a lock that is held for long, among them
        return VERDICT_SPLIT;
    }
}

static bool in_time(const struct batch *b)
{
    const struct operation *first = b->operation[b->part.begin];
    return clock_ms() < first->deadline;
}

static bool lock_was_held(unsigned code)
{
    return code == 1205 || code == 1213 || code == 1020;
}

// split halves the part; a part of one is to blame itself. A lock that was held for longer than the
// session waits will be held a little longer: for a while no statement waits for one, so that only
// the keys that are locked pay for it.
static void split(struct batch *b, unsigned code)
{
    struct part part = b->part;
    if (lock_was_held(code))
        *b->options.hurry_until = clock_ms() + HURRY_MS;
    if (part.end - part.begin == 1) {
        bool rejected = b->writes && !lock_was_held(code);
        end_part(b, rejected ? ERROR_REJECTED : ERROR_UNAVAILABLE);
        return;
    }
    size_t middle = part.begin + (part.end - part.begin) / 2;
    wait_with(b, (struct part){middle, part.end});
    wait_with(b, (struct part){part.begin, middle});
}

static void refused(struct batch *b, unsigned code)
{
    bool one = b->part.end - b->part.begin == 1;
    switch (verdict_of(code)) { // GCOVR_EXCL_BR_LINE: all are there
    case VERDICT_RETRY:
        if (b->retries++ < RETRIES_MAX && in_time(b))
            wait_with(b, b->part);
        else
            split(b, code);
        return;
    case VERDICT_EXISTS:
        if (one && b->vanished) {
            end_part(b, ERROR_PRECONDITION);
            return;
        }
        if (one && b->operation[b->part.begin]->precondition && !b->replacing) {
            b->replacing = true;
            wait_with(b, b->part);
            return;
        }
        break;
    case VERDICT_TOO_LARGE:
        if (one) {
            end_part(b, ERROR_TOO_LARGE);
            return;
        }
        break;
    case VERDICT_AWAY:
        b->refusing = b->writes;
        end_part(b, ERROR_UNAVAILABLE);
        b->refusing = false;
        return;
    case VERDICT_MOVED:
        b->moved = true;
        end_part(b, ERROR_UNAVAILABLE);
        b->moved = false;
        return;
    case VERDICT_UNKNOWN:
        end_part(b, b->writes ? ERROR_OUTCOME : ERROR_UNAVAILABLE);
        return;
    case VERDICT_SPLIT:
        break;
    }
    split(b, code);
}

// connection_lost ends writes whose fate nobody knows, and gives reads a second try.
static void connection_lost(struct batch *b, bool timed_out)
{
    struct outcome outcome = {.error = b->writes ? ERROR_OUTCOME : ERROR_UNAVAILABLE,
                              .partition = b->options.id,
                              .retry_after = 1};
    for (size_t i = b->part.begin; i < b->part.end; i++) {
        struct operation *operation = b->operation[i];
        if (b->writes || timed_out || operation->resent) {
            end(operation, &outcome);
        } else {
            operation->resent = true;
            again(b, operation);
        }
    }
}

static void on_answer(struct connection *connection, const struct answer *answer, void *context)
{
    struct batch *b = context;
    if (answer->error == ERROR_OUTCOME)
        connection_lost(b, answer->timed_out);
    else if (answer->error == ERROR_UNAVAILABLE)
        end_part(b, ERROR_UNAVAILABLE);
    else if (answer->error)
        refused(b, answer->code);
    else
        answered(b, connection);
    run_next(b);
}

// ---------------------------------------------------------------- sending

// takes_large_values: few enough operations may all have values of any size; of more, the large
// ones are asked for again, alone. HEAD needs none.
static bool takes_large_values(const struct batch *b, struct operation *const *first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (first[i]->kind != OPERATION_HEAD)
            return count == 1 || count * b->options.max_value <= ROWS_BYTES;
    return false;
}

static bool is_written(const struct batch *b)
{
    return b->writes && b->operation[b->part.begin]->kind != OPERATION_APPLY;
}

// terms_of bounds the versions that the partition may give, at the moment when the batch leaves.
static struct query_terms terms_of(const struct batch *b)
{
    const struct session *session = &b->operation[b->part.begin]->session;
    struct pool_clock clock;
    pool_clock(b->pool, session->raised, &clock);
    int64_t most_us = clock.partition_us < INT64_MAX ? clock.partition_us : clock.now_us;
    return (struct query_terms){.id = b->options.id,
                                .divert = session->divert,
                                .least_us = session->raised ? clock.floor_us : 0,
                                .most_us = most_us + SESSION_CEILING_MS * INT64_C(1000),
                                .epoch = session->epoch};
}

static void build_write(struct batch *b, struct operation *const *first, size_t count)
{
    const struct precondition *precondition = first[0]->precondition;
    const struct query_terms terms = terms_of(b);
    if (!precondition)
        query_upsert(&b->sql, first, count, &terms);
    else if (precondition->must_exist || b->replacing)
        query_replace(&b->sql, first[0], &terms);
    else
        query_insert(&b->sql, first[0], &terms);
}

static void build(struct batch *b)
{
    struct operation *const *first = b->operation + b->part.begin;
    size_t count = b->part.end - b->part.begin;
    bytes_shrink(&b->sql, SQL_KEEP);
    if (b->writes && clock_ms() < *b->options.hurry_until)
        query_without_waiting(&b->sql);
    if (first[0]->kind == OPERATION_LOOK)
        query_look(&b->sql, first, count, takes_large_values(b, first, count));
    else if (is_written(b))
        build_write(b, first, count);
    else if (b->writes)
        query_apply(&b->sql, first, count);
    else
        query_select(&b->sql, first, count, takes_large_values(b, first, count),
                     first[0]->doubtful);
}

// run_next sends the next part; none left: the batch is done. What the pool cannot take any more
// was never sent.
static void run_next(struct batch *b)
{
    while (b->waiting_count) {
        b->part = b->waiting[--b->waiting_count];
        build(b);
        if (!bytes_failed(&b->sql) && pool_idle(b->pool) && in_time(b)) {
            pool_query(b->pool, bytes_slice(&b->sql), on_answer, b);
            return;
        }
        end_part(b, ERROR_UNAVAILABLE);
    }
    b->count = 0;
    b->events.on_done(b, b->events.context);
}

void batch_run(struct batch *b, struct pool *pool)
{
    assert(b->count && b->waiting_count == 0);
    b->pool = pool;
    b->retries = 0;
    b->replacing = b->vanished = false;
    wait_with(b, (struct part){0, b->count});
    run_next(b);
}

struct operation *const *batch_operations(const struct batch *b, size_t *count)
{
    *count = b->count;
    return b->operation;
}

// ---------------------------------------------------------------- life

enum error batch_new(const struct batch_options *options, const struct batch_events *events,
                     struct batch **batch)
{
    unsigned limit = options->limit;
    assert(limit >= 1 && limit <= BATCH_MAX);
    struct batch *b = calloc(1, sizeof *b + sizeof b->operation[0] * limit);
    *batch = b;
    if (!b)
        return ERROR_MEMORY;
    b->outcome = calloc(limit, sizeof *b->outcome);
    if (!b->outcome) {
        batch_free(batch);
        return ERROR_MEMORY;
    }
    b->options = *options;
    b->events = *events;
    return ERROR_NONE;
}

void batch_free(struct batch **batch)
{
    struct batch *b = *batch;
    if (!b)
        return;
    *batch = NULL;
    free(b->outcome);
    bytes_fini(&b->sql);
    free(b);
}
