// SPDX-License-Identifier: MIT
// What a batch of writes costs the database, without a server before it: each thread has one
// blocking connection and overwrites distinct random keys (bench/pair.h), in byte order, so many a
// statement, for some seconds. The statements are those that Sherd sends: their texts come from
// store/query.h. With --plain they upsert into the table that one would make without Sherd: plain
// (k VARBINARY PRIMARY KEY, v LONGBLOB). Whoever runs it looks at the database's CPU meanwhile.
#include <argp.h>
#include <mysql.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "bench/pair.h"
#include "store/query.h"
#include "store/row.h"
#include "store/session.h"

enum {
    THREADS_MAX = 100,
    SECONDS_MAX = 3600,
    ROWS_MAX = 500,
    VALUES_MAX = 10000,
    TIMEOUT_MS = 10000,
    SEEDS_MAX = 999,
    PARTITION = 1, // the id in the versions
};

#define WRITES_MAX UINT64_C(10000000) // after that many of a seed, values come again

static const char prefix[] = "key:";
static const char type[] = "application/octet-stream";

struct options {
    const char *socket, *user, *password, *database;
    unsigned threads;
    unsigned seconds;
    unsigned rows; // a statement
    unsigned keys;
    unsigned size;
    unsigned seed;
    bool plain;
};

struct worker {
    pthread_t thread;
    unsigned number;
    const struct options *options;
    MYSQL *mysql;
    struct bytes sql;
    uint64_t statements;
    // The batch that is under way.
    uint32_t key_number[ROWS_MAX];
    char key[ROWS_MAX][KEY_LEN + 1];
    char *value[ROWS_MAX];
    struct operation operation[ROWS_MAX];
    struct operation *list[ROWS_MAX];
};

static atomic_ullong writes;
static int64_t end_us; // set before the workers begin

// die ends the process, whatever its threads do: a wrong answer makes the figure worthless.
__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("rows: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(EXIT_OTHER);
}

// --- A connection ------------------------------------------------------------------------------

static void send_sql(struct worker *w)
{
    if (bytes_failed(&w->sql))
        die("out of memory");
    if (mysql_real_query(w->mysql, w->sql.data, w->sql.len) != 0)
        die("%s", mysql_error(w->mysql));
}

// connect_to opens a connection with the session of the product, for the plain table too: what is
// compared are the rows.
static void connect_to(struct worker *w)
{
    const struct options *o = w->options;
    w->mysql = mysql_init(NULL);
    if (!w->mysql)
        die("out of memory");
    mysql_options(w->mysql, MYSQL_SET_CHARSET_NAME, "binary");
    if (!mysql_real_connect(w->mysql, NULL, o->user, o->password, o->database, 0, o->socket, 0))
        die("%s", mysql_error(w->mysql));
    query_session(&w->sql, TIMEOUT_MS);
    send_sql(w);
}

// --- A batch -----------------------------------------------------------------------------------

static int number_compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// choose_keys draws distinct numbers and sorts them, which sorts the keys.
static void choose_keys(struct worker *w)
{
    for (unsigned i = 0; i < w->options->rows;) {
        uint32_t number = random_below(w->options->keys);
        bool taken = false;
        for (unsigned j = 0; j < i && !taken; j++)
            taken = w->key_number[j] == number;
        if (!taken)
            w->key_number[i++] = number;
    }
    qsort(w->key_number, w->options->rows, sizeof *w->key_number, number_compare);
}

static void fill_batch(struct worker *w)
{
    const struct options *o = w->options;
    choose_keys(w);
    for (unsigned i = 0; i < o->rows; i++) {
        // A write that changes nothing would be cheaper than a real one.
        uint64_t digits = o->seed * WRITES_MAX + atomic_fetch_add(&writes, 1) % WRITES_MAX;
        pair_key(w->key[i], prefix, w->key_number[i]);
        pair_value(w->value[i], o->size, w->key[i], digits);
    }
}

// start_batch points the operations to the keys and values, once.
static void start_batch(struct worker *w)
{
    const struct options *o = w->options;
    for (unsigned i = 0; i < o->rows; i++) {
        w->value[i] = malloc(o->size + 1);
        if (!w->value[i])
            die("out of memory");
        w->operation[i] = (struct operation){.kind = OPERATION_PUT,
                                             .key = {w->key[i], KEY_LEN},
                                             .value = {w->value[i], o->size},
                                             .type = slice_of(type)};
        w->list[i] = &w->operation[i];
    }
}

static void build_plain(struct worker *w)
{
    bytes_append_text(&w->sql, "INSERT INTO plain(k,v)VALUES");
    for (unsigned i = 0; i < w->options->rows; i++) {
        bytes_append_text(&w->sql, i ? ",(" : "(");
        query_quote(&w->sql, w->operation[i].key);
        bytes_append_char(&w->sql, ',');
        query_quote(&w->sql, w->operation[i].value);
        bytes_append_char(&w->sql, ')');
    }
    bytes_append_text(&w->sql, " ON DUPLICATE KEY UPDATE v=VALUES(v)");
}

static void write_plain(struct worker *w)
{
    build_plain(w);
    send_sql(w);
    if (mysql_affected_rows(w->mysql) != 2 * w->options->rows) // 2 for each that was changed
        die("%llu rows affected", (unsigned long long)mysql_affected_rows(w->mysql));
}

// check_row checks a row of the answer: it is that of the batch's `i`th key, which was there.
static void check_row(const struct worker *w, const struct row *row, unsigned i)
{
    struct slice key;
    struct stamp stamp;
    if (i == w->options->rows || row_stamp(row, &key, &stamp))
        die("row %u of the answer is malformed", i);
    if (!slice_equal(key, w->operation[i].key) || stamp.created >= stamp.version)
        die("row %u of the answer is not that of %s, or it was not there before", i, w->key[i]);
}

static void write_pairs(struct worker *w)
{
    const struct query_terms terms = {
        .id = PARTITION, .most_us = clock_unix_us() + SESSION_CEILING_MS * INT64_C(1000)};
    unsigned count = 0;
    query_upsert(&w->sql, w->list, w->options->rows, &terms);
    send_sql(w);
    MYSQL_RES *result = mysql_store_result(w->mysql);
    if (!result)
        die("%s", mysql_error(w->mysql));
    for (char **field; (field = mysql_fetch_row(result)); count++) {
        struct row row = {field, mysql_fetch_lengths(result), mysql_num_fields(result)};
        check_row(w, &row, count);
    }
    if (count != w->options->rows)
        die("%u rows in the answer", count);
    mysql_free_result(result);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    mysql_thread_init();
    connect_to(w);
    start_batch(w);
    random_seed(w->options->seed * UINT64_C(1000) + w->number);
    for (; clock_us() < end_us; w->statements++) {
        fill_batch(w);
        bytes_clear(&w->sql);
        if (w->options->plain)
            write_plain(w);
        else
            write_pairs(w);
    }
    for (unsigned i = 0; i < w->options->rows; i++)
        free(w->value[i]);
    bytes_fini(&w->sql);
    mysql_close(w->mysql);
    mysql_thread_end();
    return NULL;
}

// run returns how many statements there were.
static uint64_t run(const struct options *o)
{
    uint64_t statements = 0;
    struct worker *workers = calloc(o->threads, sizeof *workers);
    if (!workers)
        die("out of memory");
    end_us = clock_us() + o->seconds * INT64_C(1000000);
    for (unsigned i = 0; i < o->threads; i++) {
        workers[i].number = i;
        workers[i].options = o;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("cannot start %u threads", o->threads);
    }
    for (unsigned i = 0; i < o->threads; i++) {
        pthread_join(workers[i].thread, NULL);
        statements += workers[i].statements;
    }
    free(workers);
    return statements;
}

// --- The command line --------------------------------------------------------------------------

static const struct argp_option argp_options[] = {
    {"socket", 's', "PATH", 0, "The socket of the database server", 0},
    {"user", 'u', "NAME", 0, "The database user (root)", 0},
    {"password", 'p', "WORD", 0, "The user's password (none)", 0},
    {"database", 'd', "NAME", 0, "The database", 0},
    {"threads", 't', "N", 0, "How many threads, with a connection each (4)", 0},
    {"seconds", 'n', "N", 0, "For how long (5)", 0},
    {"rows", 'r', "N", 0, "Rows a statement (16)", 0},
    {"keys", 'k', "N", 0, "How many keys there are, all of them with a row (200000)", 0},
    {"size", 'z', "N", 0, "Of the values, a multiple of ten (100)", 0},
    {"seed", 'S', "N", 0, "Which random keys; the first three digits of the values (1)", 0},
    {"plain", 'P', NULL, 0, "Upsert into the plain table", 0},
    {0},
};

static unsigned number_of(const char *text, unsigned min, unsigned max, struct argp_state *state)
{
    unsigned long long number;
    if (slice_number(slice_of(text), max, &number) != ERROR_NONE || number < min)
        argp_error(state, "%s is not a number from %u to %u", text, min, max);
    return (unsigned)number;
}

static error_t parse(int option, char *argument, struct argp_state *state)
{
    struct options *o = state->input;
    switch (option) {
    case 's':
        o->socket = argument;
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
        o->threads = number_of(argument, 1, THREADS_MAX, state);
        break;
    case 'n':
        o->seconds = number_of(argument, 1, SECONDS_MAX, state);
        break;
    case 'r':
        o->rows = number_of(argument, 1, ROWS_MAX, state);
        break;
    case 'k':
        o->keys = number_of(argument, ROWS_MAX, KEYS_MAX, state);
        break;
    case 'z':
        o->size = number_of(argument, VALUE_MIN, VALUES_MAX, state);
        break;
    case 'S':
        o->seed = number_of(argument, 0, SEEDS_MAX, state);
        break;
    case 'P':
        o->plain = true;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "what is %s?", argument);
        break;
    case ARGP_KEY_END:
        if (!o->socket || !o->database)
            argp_error(state, "--socket or --database is missing");
        if (o->size % KEY_LEN)
            argp_error(state, "a size is a multiple of ten");
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
        .doc = "Overwrites rows of a database in batches, as Sherd does, a connection a thread; a "
               "line of JSON.",
    };
    struct options o = {.user = "root",
                        .threads = 4,
                        .seconds = 5,
                        .rows = 16,
                        .keys = 200000,
                        .size = 100,
                        .seed = 1};
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (mysql_library_init(0, NULL, NULL) != 0)
        die("out of memory");
    uint64_t statements = run(&o);
    printf("{\"statements\":%llu,\"rows\":%llu}\n", (unsigned long long)statements,
           (unsigned long long)statements * o.rows);
    mysql_library_end();
    return EXIT_OK;
}
