// SPDX-License-Identifier: MIT
// The yardstick of the benchmark: what a client gets that talks to the partitions itself. Each
// thread has one blocking connection with one prepared statement, to partition (thread %
// partitions), and asks it for random keys among those whose home it is, for some seconds.
//
// The keys are key:000000, key:000001 and so on. A value has 100 bytes: its key nine times, then
// ten digits that change with every write. bench/wrk.lua and bench/run know the same.
#include <argp.h>
#include <mysql.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "store/ring.h"
#include "store/slot.h"

enum {
    KEY_LEN = 10,
    KEY_COPIES = 9, // in a value
    COPIES_LEN = KEY_LEN * KEY_COPIES,
    VALUE_LEN = COPIES_LEN + 10,
    KEYS_MAX = 1000000,
    PARTITIONS_MAX = 100,
    THREADS_MAX = 1000,
    SECONDS_MAX = 3600,
};

struct options {
    const char *sockets[PARTITIONS_MAX]; // of partition 1, 2 and so on
    unsigned partitions;
    const char *user;
    const char *password;
    const char *database;
    unsigned threads;
    unsigned seconds;
    unsigned keys;
    bool upsert;
};

// The keys of one home, by number.
struct keys {
    uint32_t *numbers;
    uint32_t count;
};

struct worker {
    pthread_t thread;
    unsigned number;
    unsigned partition; // its id
    const struct options *options;
    const struct keys *keys;
    pthread_barrier_t *ready;
    unsigned long long requests; // answered
    MYSQL *mysql;
    MYSQL_STMT *statement;
    char key[KEY_LEN + 1]; // what the statement is bound to
    char value[VALUE_LEN + 1];
    unsigned long value_len; // of the row that was read
};

// die ends the process, whatever its threads do: a wrong answer makes the figure worthless.
__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("direct: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(EXIT_OTHER);
}

static void key_write(char key[KEY_LEN + 1], uint32_t number)
{
    memcpy(key, "key:", 4);
    for (int i = KEY_LEN - 1; i >= 4; i--, number /= 10)
        key[i] = (char)('0' + number % 10);
    key[KEY_LEN] = '\0';
}

static void value_write(struct worker *w)
{
    for (int i = 0; i < KEY_COPIES; i++)
        memcpy(w->value + i * KEY_LEN, w->key, KEY_LEN);
    // A write that changes nothing would be cheaper than a real one.
    unsigned thread = w->number % 10000, request = (unsigned)(w->requests % 1000000);
    snprintf(w->value + COPIES_LEN, VALUE_LEN - COPIES_LEN + 1, "%04u%06u", thread, request);
}

static bool value_right(const struct worker *w)
{
    if (w->value_len != VALUE_LEN)
        return false;
    for (int i = 0; i < KEY_COPIES; i++)
        if (memcmp(w->value + i * KEY_LEN, w->key, KEY_LEN) != 0)
            return false;
    return true;
}

// --- The placement
// ---------------------------------------------------------------------------------

// keys_new returns the keys of each partition, those of partition 1 first.
static struct keys *keys_new(const struct options *o)
{
    unsigned weights[PARTITIONS_MAX];
    for (unsigned i = 0; i < o->partitions; i++)
        weights[i] = 1;
    struct ring *ring;
    struct keys *keys = calloc(o->partitions, sizeof *keys);
    if (!keys || ring_new(weights, o->partitions, 0, &ring) != ERROR_NONE)
        die("out of memory");
    for (unsigned i = 0; i < o->partitions; i++) {
        keys[i].numbers = malloc(sizeof *keys[i].numbers * o->keys);
        if (!keys[i].numbers)
            die("out of memory");
    }
    for (uint32_t number = 0; number < o->keys; number++) {
        char key[KEY_LEN + 1];
        key_write(key, number);
        struct keys *home = &keys[ring_home(ring, slot_of((struct slice){key, KEY_LEN})) - 1];
        home->numbers[home->count++] = number;
    }
    ring_free(&ring);
    return keys;
}

static void keys_free(struct keys **keys, unsigned partitions)
{
    for (unsigned i = 0; i < partitions; i++)
        free((*keys)[i].numbers);
    free(*keys);
    *keys = NULL;
}

// --- A thread and its connection
// -------------------------------------------------------------------

static void connect_to(struct worker *w)
{
    const struct options *o = w->options;
    char session[128]; // as the server has it, so that both do the same work
    snprintf(session, sizeof session,
             "SET SESSION autocommit=1,tx_isolation='READ-COMMITTED',@sherd_node=%u", w->partition);
    w->mysql = mysql_init(NULL);
    if (!w->mysql)
        die("out of memory");
    mysql_options(w->mysql, MYSQL_SET_CHARSET_NAME, "binary");
    if (!mysql_real_connect(w->mysql, NULL, o->user, o->password, o->database, 0,
                            o->sockets[w->partition - 1], 0) ||
        mysql_query(w->mysql, session) != 0)
        die("partition %u: %s", w->partition, mysql_error(w->mysql));
}

static void check_statement(const struct worker *w, bool fine)
{
    if (!fine)
        die("partition %u, %s: %s", w->partition, w->key, mysql_stmt_error(w->statement));
}

static void prepare(struct worker *w)
{
    static const char select[] = "SELECT v FROM pairs WHERE k=?";
    static const char upsert[] = "INSERT INTO pairs (k,v,type,expires) VALUES (?,?,'text/plain',0)"
                                 " ON DUPLICATE KEY UPDATE v=VALUES(v),type=VALUES(type),"
                                 "expires=VALUES(expires)";
    const char *sql = w->options->upsert ? upsert : select;
    MYSQL_BIND key = {.buffer_type = MYSQL_TYPE_BLOB, .buffer = w->key, .buffer_length = KEY_LEN};
    MYSQL_BIND value = {
        .buffer_type = MYSQL_TYPE_BLOB, .buffer = w->value, .buffer_length = VALUE_LEN};
    MYSQL_BIND given[] = {key, value};
    value.length = &w->value_len;
    w->statement = mysql_stmt_init(w->mysql);
    if (!w->statement)
        die("out of memory");
    check_statement(w, mysql_stmt_prepare(w->statement, sql, strlen(sql)) == 0 &&
                           !mysql_stmt_bind_param(w->statement, given));
    if (!w->options->upsert)
        check_statement(w, !mysql_stmt_bind_result(w->statement, &value));
}

static void read_value(struct worker *w)
{
    check_statement(w, mysql_stmt_execute(w->statement) == 0);
    int fetched = mysql_stmt_fetch(w->statement);
    check_statement(w, fetched != 1);
    if (fetched != 0 || !value_right(w))
        die("partition %u: wrong or no value of %s", w->partition, w->key);
    check_statement(w, mysql_stmt_fetch(w->statement) == MYSQL_NO_DATA);
}

static void write_value(struct worker *w)
{
    value_write(w);
    check_statement(w, mysql_stmt_execute(w->statement) == 0);
    if (mysql_stmt_affected_rows(w->statement) == 0)
        die("partition %u: %s was not written", w->partition, w->key);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    mysql_thread_init();
    connect_to(w);
    prepare(w);
    random_seed((uint64_t)clock_unix_us() + w->number);
    pthread_barrier_wait(w->ready);
    int64_t end = clock_us() + w->options->seconds * INT64_C(1000000);
    while (clock_us() < end) {
        key_write(w->key, w->keys->numbers[random_below(w->keys->count)]);
        if (w->options->upsert)
            write_value(w);
        else
            read_value(w);
        w->requests++;
    }
    mysql_stmt_close(w->statement);
    mysql_close(w->mysql);
    mysql_thread_end();
    return NULL;
}

// run returns how many requests a second all threads together got answered.
static double run(const struct options *o, const struct keys *keys)
{
    pthread_barrier_t ready;
    struct worker *workers = calloc(o->threads, sizeof *workers);
    if (!workers || pthread_barrier_init(&ready, NULL, o->threads + 1) != 0)
        die("out of memory");
    for (unsigned i = 0; i < o->threads; i++) {
        struct worker *w = &workers[i];
        w->number = i;
        w->partition = i % o->partitions + 1;
        w->options = o;
        w->keys = &keys[w->partition - 1];
        w->ready = &ready;
        if (w->keys->count == 0)
            die("no key has its home on partition %u", w->partition);
        if (pthread_create(&w->thread, NULL, work, w) != 0)
            die("cannot start %u threads", o->threads);
    }
    pthread_barrier_wait(&ready);
    int64_t begin = clock_us();
    unsigned long long requests = 0;
    for (unsigned i = 0; i < o->threads; i++) {
        pthread_join(workers[i].thread, NULL);
        requests += workers[i].requests;
    }
    double seconds = (double)(clock_us() - begin) / 1e6;
    pthread_barrier_destroy(&ready);
    free(workers);
    return (double)requests / seconds;
}

// --- The command line
// ------------------------------------------------------------------------------

static const struct argp_option argp_options[] = {
    {"socket", 's', "PATH", 0,
     "The socket of a partition; once for each, in the order of their ids", 0},
    {"user", 'u', "NAME", 0, "The database user (sherd)", 0},
    {"password", 'p', "WORD", 0, "The user's password (none)", 0},
    {"database", 'd', "NAME", 0, "The database (sherd)", 0},
    {"threads", 't', "N", 0, "How many threads, with a connection each (16)", 0},
    {"seconds", 'n', "N", 0, "For how long (5)", 0},
    {"keys", 'k', "N", 0, "How many keys there are (200000)", 0},
    {"upsert", 'w', NULL, 0, "Write a row with each request instead of reading one", 0},
    {0},
};

static unsigned number_of(const char *text, unsigned max, struct argp_state *state)
{
    unsigned long long number;
    if (slice_number(slice_of(text), max, &number) != ERROR_NONE || number == 0)
        argp_error(state, "%s is not a number from 1 to %u", text, max);
    return (unsigned)number;
}

static error_t parse(int option, char *argument, struct argp_state *state)
{
    struct options *o = state->input;
    switch (option) {
    case 's':
        if (o->partitions == PARTITIONS_MAX)
            argp_error(state, "more than %d partitions", PARTITIONS_MAX);
        o->sockets[o->partitions++] = argument;
        break;
    case 'u':
        o->user = argument;
        break;
    case 'p':
        o->password = argument;
        break;
    case 'd':
        o->database = argument;
        break;
    case 't':
        o->threads = number_of(argument, THREADS_MAX, state);
        break;
    case 'n':
        o->seconds = number_of(argument, SECONDS_MAX, state);
        break;
    case 'k':
        o->keys = number_of(argument, KEYS_MAX, state);
        break;
    case 'w':
        o->upsert = true;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "what is %s?", argument);
        break;
    case ARGP_KEY_END:
        if (o->partitions == 0)
            argp_error(state, "--socket is missing");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse,
        .doc = "What a client gets that asks the partitions directly, a connection a thread.",
    };
    struct options o = {
        .user = "sherd", .database = "sherd", .threads = 16, .seconds = 5, .keys = 200000};
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (mysql_library_init(0, NULL, NULL) != 0)
        die("out of memory");
    struct keys *keys = keys_new(&o);
    double rate = run(&o, keys);
    printf("direct %s: %.0f requests/s\n", o.upsert ? "upsert" : "select", rate);
    keys_free(&keys, o.partitions);
    mysql_library_end();
    return EXIT_OK;
}
