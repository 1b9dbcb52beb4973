// SPDX-License-Identifier: MIT
// The yardstick of the benchmark: what a client gets that talks to the databases itself. Each
// thread has one blocking connection with one prepared statement, to server (thread % servers), and
// asks it for random keys (bench/pair.h) among those whose number % servers is the same, for some
// seconds. The table is what one would make without Sherd: plain (k VARBINARY PRIMARY KEY, v
// LONGBLOB).
//
// With a rate, requests have a time at which they are to be sent, whichever thread is free then
// takes the next one, and latencies count from that time, as in bench/rate.c.
#include <argp.h>
#include <errno.h>
#include <mysql.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "bench/latency.h"
#include "bench/pair.h"

enum {
    SERVERS_MAX = 100,
    THREADS_MAX = 1000,
    RATE_MAX = 10000000,
    SECONDS_MAX = 3600,
    LIST_KEYS = 1000,
};

static const char select_sql[] = "SELECT v FROM plain WHERE k=?";
static const char list_sql[] = "SELECT k FROM plain WHERE k>? ORDER BY k LIMIT 1000";
static const char upsert_sql[] =
    "INSERT INTO plain (k,v) VALUES (?,?) ON DUPLICATE KEY UPDATE v=VALUES(v)";

struct options {
    const char *sockets[SERVERS_MAX];
    unsigned servers;
    const char *user, *password, *database;
    unsigned threads;
    unsigned seconds;
    unsigned rate; // 0: as fast as it goes
    unsigned keys, first;
    unsigned size;
    unsigned seed;
    const char *prefix;
    bool upsert, list;
};

struct worker {
    pthread_t thread;
    unsigned number;
    unsigned server;
    const struct options *options;
    pthread_barrier_t *ready;
    MYSQL *mysql;
    MYSQL_STMT *statement;
    char key[KEY_LEN + 1]; // what the statement is bound to
    char *value;
    unsigned long value_len; // of the row that was read
    struct latency latency;
};

static atomic_ullong tickets; // requests at a rate that somebody took
static atomic_ullong writes;
static int64_t begin_us; // set before the workers begin

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

// --- A thread and its connection ---------------------------------------------------------------

static void check(const struct worker *w, bool fine)
{
    if (!fine)
        die("server %u, %s: %s", w->server, w->key, mysql_stmt_error(w->statement));
}

static void connect_to(struct worker *w)
{
    const struct options *o = w->options;
    w->mysql = mysql_init(NULL);
    if (!w->mysql)
        die("out of memory");
    mysql_options(w->mysql, MYSQL_SET_CHARSET_NAME, "binary");
    if (!mysql_real_connect(w->mysql, NULL, o->user, o->password, o->database, 0,
                            o->sockets[w->server], 0))
        die("server %u: %s", w->server, mysql_error(w->mysql));
}

static void prepare(struct worker *w)
{
    const struct options *o = w->options;
    const char *sql = o->upsert ? upsert_sql : o->list ? list_sql : select_sql;
    MYSQL_BIND key = {.buffer_type = MYSQL_TYPE_BLOB, .buffer = w->key, .buffer_length = KEY_LEN};
    MYSQL_BIND value = {
        .buffer_type = MYSQL_TYPE_BLOB, .buffer = w->value, .buffer_length = o->size};
    MYSQL_BIND given[] = {key, value};
    value.length = &w->value_len;
    w->statement = mysql_stmt_init(w->mysql);
    if (!w->statement)
        die("out of memory");
    check(w, mysql_stmt_prepare(w->statement, sql, strlen(sql)) == 0 &&
                 !mysql_stmt_bind_param(w->statement, given));
    if (!o->upsert)
        check(w, !mysql_stmt_bind_result(w->statement, &value));
}

static void read_value(struct worker *w)
{
    check(w, mysql_stmt_execute(w->statement) == 0);
    int fetched = mysql_stmt_fetch(w->statement);
    check(w, fetched != 1);
    if (fetched != 0 || !pair_right(w->value, w->value_len, w->options->size, w->key))
        die("server %u: wrong or no value of %s", w->server, w->key);
    check(w, mysql_stmt_fetch(w->statement) == MYSQL_NO_DATA);
}

static void read_list(struct worker *w)
{
    unsigned rows = 0;
    check(w, mysql_stmt_execute(w->statement) == 0);
    while (mysql_stmt_fetch(w->statement) == 0)
        rows++;
    if (rows != LIST_KEYS)
        die("%u keys follow %s", rows, w->key);
}

static void write_value(struct worker *w)
{
    // A write that changes nothing would be cheaper than a real one.
    uint64_t digits = w->options->seed * UINT64_C(1000000) + atomic_fetch_add(&writes, 1) % 1000000;
    pair_value(w->value, w->options->size, w->key, digits);
    check(w, mysql_stmt_execute(w->statement) == 0);
    if (mysql_stmt_affected_rows(w->statement) == 0)
        die("server %u: %s was not written", w->server, w->key);
}

static void ask(struct worker *w)
{
    const struct options *o = w->options;
    uint32_t of_server = o->keys / o->servers;
    pair_key(w->key, o->prefix, o->first + random_below(of_server) * o->servers + w->server);
    if (o->upsert)
        write_value(w);
    else if (o->list)
        read_list(w);
    else
        read_value(w);
}

static void sleep_until(int64_t us)
{
    struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
        ;
}

static void *work(void *argument)
{
    struct worker *w = argument;
    const struct options *o = w->options;
    mysql_thread_init();
    prctl(PR_SET_TIMERSLACK, 1);
    connect_to(w);
    prepare(w);
    random_seed(o->seed * UINT64_C(1000) + w->number);
    pthread_barrier_wait(w->ready);
    pthread_barrier_wait(w->ready); // meanwhile begin_us was set
    int64_t end = begin_us + o->seconds * INT64_C(1000000);
    for (int64_t due = begin_us; due < end;) {
        if (o->rate) {
            due = begin_us + (int64_t)(atomic_fetch_add(&tickets, 1) * 1000000 / o->rate);
            if (due >= end)
                break;
            if (due > clock_us()) // a sleep of no time is one all the same
                sleep_until(due);
        }
        ask(w);
        int64_t now = clock_us();
        latency_add(&w->latency, now - due);
        if (!o->rate)
            due = now;
    }
    mysql_stmt_close(w->statement);
    mysql_close(w->mysql);
    mysql_thread_end();
    return NULL;
}

// run returns the seconds that it took, and adds up the latencies of all threads.
static double run(const struct options *o, struct latency *sum)
{
    pthread_barrier_t ready;
    struct worker *workers = calloc(o->threads, sizeof *workers);
    if (!workers || pthread_barrier_init(&ready, NULL, o->threads + 1) != 0)
        die("out of memory");
    for (unsigned i = 0; i < o->threads; i++) {
        struct worker *w = &workers[i];
        w->number = i;
        w->server = i % o->servers;
        w->options = o;
        w->ready = &ready;
        w->value = malloc(o->size + 1);
        if (!w->value || pthread_create(&w->thread, NULL, work, w) != 0)
            die("cannot start %u threads", o->threads);
    }
    pthread_barrier_wait(&ready);
    begin_us = clock_us();
    pthread_barrier_wait(&ready);
    for (unsigned i = 0; i < o->threads; i++) {
        pthread_join(workers[i].thread, NULL);
        latency_merge(sum, &workers[i].latency);
        free(workers[i].value);
    }
    double seconds = (double)(clock_us() - begin_us) / 1e6;
    pthread_barrier_destroy(&ready);
    free(workers);
    return seconds;
}

// --- The command line --------------------------------------------------------------------------

static const struct argp_option argp_options[] = {
    {"socket", 's', "PATH", 0, "The socket of a database server; once for each", 0},
    {"user", 'u', "NAME", 0, "The database user (root)", 0},
    {"password", 'p', "WORD", 0, "The user's password (none)", 0},
    {"database", 'd', "NAME", 0, "The database (plain)", 0},
    {"threads", 't', "N", 0, "How many threads, with a connection each (16)", 0},
    {"seconds", 'n', "N", 0, "For how long (5)", 0},
    {"rate", 'a', "N", 0, "Requests a second of all threads together (as many as it goes)", 0},
    {"keys", 'k', "N", 0, "How many keys there are (200000)", 0},
    {"first", 'f', "N", 0, "The number of the first of them (0)", 0},
    {"prefix", 'P', "TEXT", 0, "Of the keys, four bytes (key:)", 0},
    {"size", 'z', "N", 0, "Of the values, a multiple of ten (100)", 0},
    {"seed", 'S', "N", 0, "Which random keys; the first four digits of written values (1)", 0},
    {"upsert", 'w', NULL, 0, "Write a row with each request instead of reading one", 0},
    {"list", 'l', NULL, 0, "Read 1000 keys with each request", 0},
    {0},
};

static unsigned number_of(const char *text, unsigned max, struct argp_state *state)
{
    unsigned long long number;
    if (slice_number(slice_of(text), max, &number) != ERROR_NONE)
        argp_error(state, "%s is not a number up to %u", text, max);
    return (unsigned)number;
}

static error_t parse(int option, char *argument, struct argp_state *state)
{
    struct options *o = state->input;
    switch (option) {
    case 's':
        if (o->servers == SERVERS_MAX)
            argp_error(state, "more than %d servers", SERVERS_MAX);
        o->sockets[o->servers++] = argument;
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
    case 'a':
        o->rate = number_of(argument, RATE_MAX, state);
        break;
    case 'k':
        o->keys = number_of(argument, KEYS_MAX, state);
        break;
    case 'f':
        o->first = number_of(argument, KEYS_MAX, state);
        break;
    case 'P':
        o->prefix = argument;
        break;
    case 'z':
        o->size = number_of(argument, VALUE_MAX, state);
        break;
    case 'S':
        o->seed = number_of(argument, 9999, state);
        break;
    case 'w':
        o->upsert = true;
        break;
    case 'l':
        o->list = true;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "what is %s?", argument);
        break;
    case ARGP_KEY_END:
        if (o->servers == 0)
            argp_error(state, "--socket is missing");
        if (!o->threads || o->keys < o->servers || o->first + o->keys > KEYS_MAX)
            argp_error(state, "threads and keys have to be more than 0");
        if (o->size < VALUE_MIN || o->size % KEY_LEN || strlen(o->prefix) != PREFIX_LEN)
            argp_error(state, "a size is a multiple of ten, a prefix has four bytes");
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
        .doc = "What a client gets that asks the databases directly, a connection a thread; a line "
               "of JSON, latencies in microseconds.",
    };
    struct options o = {.user = "root",
                        .database = "plain",
                        .threads = 16,
                        .seconds = 5,
                        .keys = 200000,
                        .size = 100,
                        .seed = 1,
                        .prefix = "key:"};
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (mysql_library_init(0, NULL, NULL) != 0)
        die("out of memory");
    static struct latency sum;
    double seconds = run(&o, &sum);
    printf("{\"rate\":%u,\"achieved\":%.1f,\"requests\":%llu,\"p50\":%llu,\"p99\":%llu,"
           "\"p99.9\":%llu,\"max\":%llu}\n",
           o.rate, (double)sum.count / seconds, (unsigned long long)sum.count,
           (unsigned long long)latency_at(&sum, 0.5), (unsigned long long)latency_at(&sum, 0.99),
           (unsigned long long)latency_at(&sum, 0.999), (unsigned long long)sum.max);
    mysql_library_end();
    return EXIT_OK;
}
