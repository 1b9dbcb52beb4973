// SPDX-License-Identifier: MIT
// A pool for tests of store/batch.c: it keeps the statement and answers when, and what, the test
// says. It defines what batch.c calls of pool.c and connection.c, so that one test file per program
// may include it, and the library's own are not linked.
#ifndef TESTS_FAKE_POOL_H
#define TESTS_FAKE_POOL_H

#include <assert.h>

#include "store/pool.h"

enum {
    FAKE_ROWS_MAX = 512,
    FAKE_FIELDS_MAX = 9,
};

static struct {
    unsigned idle;    // connections that can take a statement
    struct bytes sql; // the last statement
    unsigned sent;    // statements so far
    struct pool_clock clock;
    bool floor; // a floor was wanted when the clock was asked last
    pool_on_answer *on_answer;
    void *context;

    // Rows of the next answer: fields are texts, NULL for SQL's NULL.
    const char *field[FAKE_ROWS_MAX][FAKE_FIELDS_MAX];
    unsigned long length[FAKE_FIELDS_MAX];
    unsigned fields;
    size_t rows;
    size_t taken;
} fake;

static void fake_init(unsigned idle)
{
    bytes_fini(&fake.sql);
    memset(&fake, 0, sizeof fake);
    fake.idle = idle;
}

unsigned pool_idle(const struct pool *pool)
{
    (void)pool;
    return fake.idle;
}

void pool_query(struct pool *pool, struct slice sql, pool_on_answer *on_answer, void *context)
{
    (void)pool;
    assert(fake.idle && !fake.on_answer);
    bytes_clear(&fake.sql);
    bytes_append_slice(&fake.sql, sql);
    fake.on_answer = on_answer;
    fake.context = context;
    fake.idle--;
    fake.sent++;
}

void pool_clock(struct pool *pool, bool floor, struct pool_clock *clock)
{
    (void)pool;
    fake.floor = floor;
    *clock = fake.clock;
}

bool connection_row(struct connection *connection, struct row *row)
{
    (void)connection;
    if (fake.taken == fake.rows)
        return false;
    const char *const *field = fake.field[fake.taken++];
    for (unsigned i = 0; i < fake.fields; i++)
        fake.length[i] = field[i] ? strlen(field[i]) : 0;
    *row = (struct row){(char *const *)field, fake.length, fake.fields};
    return true;
}

static void fake_row(const char *const *field, unsigned fields)
{
    assert(fake.rows < FAKE_ROWS_MAX && fields <= FAKE_FIELDS_MAX);
    memcpy(fake.field[fake.rows++], field, fields * sizeof *field);
    fake.fields = fields;
}

#define FAKE_ROW(...)                                                                              \
    fake_row((const char *const[]){__VA_ARGS__},                                                   \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

// fake_answer ends the statement under way; the connection is idle again, unless it is lost.
static void fake_answer(const struct answer *answer)
{
    pool_on_answer *on_answer = fake.on_answer;
    assert(on_answer);
    fake.on_answer = NULL;
    fake.taken = 0;
    if (answer->error != ERROR_OUTCOME)
        fake.idle++;
    on_answer(NULL, answer, fake.context);
    if (fake.taken == fake.rows)
        fake.rows = fake.taken = 0;
}

#endif
