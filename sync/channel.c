// SPDX-License-Identifier: MIT
#include "sync/channel.h"

#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "store/connection.h"
#include "store/query.h"

struct channel {
    pthread_mutex_t lock; // of all that follows, against channel_keep
    struct event_base *base;
    struct connection *connection;
    bool waiting;
    bool keeping;     // events are for channel_keep, not for its owner
    enum error error; // of the statement, or of opening
    unsigned code;
    struct bytes text; // NUL-terminated once something was said
    channel_on_row *on_row;
    void *context;
};

static atomic_ulong statements;

unsigned long channel_statements(void)
{
    return atomic_load(&statements);
}

// Tests have the process killed right before its n-th statement, for every n.
static void count_statement(void)
{
    unsigned long n = atomic_fetch_add(&statements, 1) + 1;
    const char *mode = getenv("SHERD_ENV"), *last = getenv("SHERD_SYNC_DIE_AT");
    if (last && mode && strcmp(mode, "test") == 0 && n == strtoul(last, NULL, 10))
        raise(SIGKILL);
}

static void set_text(struct channel *c, const char *text)
{
    bytes_clear(&c->text);
    bytes_append(&c->text, text, strlen(text) + 1);
}

static void on_open(struct connection *connection, void *context)
{
    struct channel *c = context;
    (void)connection;
    c->waiting = false;
    c->error = ERROR_NONE;
}

static void on_closed(struct connection *connection, enum error error, const char *why,
                      void *context)
{
    struct channel *c = context;
    (void)connection;
    c->waiting = false;
    if (c->keeping)
        return;
    c->error = error;
    set_text(c, why);
}

static void on_answer(struct connection *connection, const struct answer *answer, void *context)
{
    struct channel *c = context;
    struct row row;
    c->waiting = false;
    if (c->keeping)
        return;
    c->error = answer->error;
    c->code = answer->code;
    set_text(c, answer->text);
    while (!c->error && c->on_row && connection_row(connection, &row))
        c->error = c->on_row(&row, c->context);
}

static void wait_for_answer(struct channel *c)
{
    while (c->waiting)
        if (event_base_loop(c->base, EVLOOP_ONCE) < 0)
            abort(); // the loop itself is broken: no answer would ever come
}

static enum error prepare(struct channel *c, unsigned idle_s)
{
    struct bytes sql = {0};
    query_sync_session(&sql, idle_s);
    enum error error = channel_query(c, &sql, NULL, NULL);
    bytes_fini(&sql);
    return error ? ERROR_UNAVAILABLE : ERROR_NONE;
}

static enum error connect_channel(struct channel *c, const struct conf_partition *partition,
                                  uint64_t max_packet_needed, unsigned idle_s)
{
    const struct connection_events events = {
        .on_open = on_open, .on_answer = on_answer, .on_closed = on_closed, .context = c};
    if (!c->base ||
        connection_new(c->base, CHANNEL_TIMEOUT_MS, max_packet_needed, &events, &c->connection))
        return ERROR_MEMORY;
    c->waiting = true;
    connection_open(c->connection, partition, CHANNEL_OPEN_MS);
    wait_for_answer(c);
    return c->error ? c->error : prepare(c, idle_s);
}

enum error channel_open(const struct conf_partition *partition, uint64_t max_packet_needed,
                        unsigned idle_s, struct channel **channel, struct bytes *why)
{
    struct channel *c = calloc(1, sizeof *c);
    *channel = c;
    if (!c)
        return ERROR_MEMORY;
    pthread_mutex_init(&c->lock, NULL);
    c->base = event_base_new();
    enum error error = connect_channel(c, partition, max_packet_needed, idle_s);
    if (error) {
        bytes_append_text(why, error == ERROR_MEMORY ? error_text(error) : channel_text(c));
        channel_free(channel);
    }
    return error;
}

void channel_free(struct channel **channel)
{
    struct channel *c = *channel;
    if (!c)
        return;
    *channel = NULL;
    connection_free(&c->connection);
    if (c->base)
        event_base_free(c->base);
    bytes_fini(&c->text);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

// run sends one statement and waits for its answer.
static enum error run(struct channel *c, struct slice sql, channel_on_row *on_row, void *context)
{
    // The server may have ended it meanwhile: the loop would tell.
    event_base_loop(c->base, EVLOOP_NONBLOCK);
    wait_for_answer(c); // to channel_keep
    c->keeping = false;
    if (connection_state(c->connection) != CONNECTION_IDLE) {
        if (!c->text.len)
            set_text(c, "the connection was lost while it was idle");
        return ERROR_OUTCOME;
    }
    count_statement();
    c->on_row = on_row;
    c->context = context;
    c->waiting = true;
    connection_query(c->connection, sql);
    wait_for_answer(c);
    return c->error;
}

// roll_back ends what a refused statement may have left open: a block that is killed, or that takes
// too long, runs no handler. What the server said of the statement stays.
static void roll_back(struct channel *c)
{
    unsigned code = c->code;
    struct bytes text = c->text;
    c->text = (struct bytes){0};
    enum error error = run(c, SLICE("ROLLBACK"), NULL, NULL);
    (void)error; // a connection that is lost has rolled back too; the next statement tells
    bytes_fini(&c->text);
    c->text = text;
    c->code = code;
}

enum error channel_query(struct channel *c, const struct bytes *sql, channel_on_row *on_row,
                         void *context)
{
    if (bytes_failed(sql))
        return ERROR_MEMORY;
    pthread_mutex_lock(&c->lock);
    c->code = 0;
    bytes_clear(&c->text);
    enum error error = run(c, bytes_slice(sql), on_row, context);
    if (error == ERROR_REJECTED && c->code)
        roll_back(c);
    pthread_mutex_unlock(&c->lock);
    return error;
}

// The answer is not waited for: a partition that gives none must not keep the others from being
// asked in time.
void channel_keep(struct channel *c)
{
    if (pthread_mutex_trylock(&c->lock))
        return; // it is not idle
    // From here on nothing changes that its owner may be reading.
    c->keeping = true;
    event_base_loop(c->base, EVLOOP_NONBLOCK);
    if (connection_state(c->connection) == CONNECTION_IDLE) {
        c->waiting = true;
        connection_query(c->connection, SLICE("DO 1"));
    }
    pthread_mutex_unlock(&c->lock);
}

unsigned channel_code(const struct channel *c)
{
    return c->code;
}

const char *channel_text(const struct channel *c)
{
    return c->text.len ? c->text.data : "";
}

const struct check *channel_check(const struct channel *c)
{
    return connection_check(c->connection);
}
