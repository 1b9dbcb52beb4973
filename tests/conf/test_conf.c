// SPDX-License-Identifier: MIT
// A configuration from text to struct and back: defaults, the rules between options, test mode,
// password files, printing, reloading, and what happens when memory is out. Run from the root of
// the project.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "conf/faults.h"
#include "conf/password.h"
#include "tests/fake/allocator.h"

#define STORE     "[store]\npartitions = 1\n"
#define PARTITION "[partition-1]\nhost = db1\nuser = sherd\n"
#define SMALLEST  STORE PARTITION
#define TWO       "[store]\npartitions = 2\n"
#define HASH_A    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbB"
#define TOKEN_A   "[token-a]\nsha256 = " HASH_A "\nread = users/, p%2C\n"
#define PATH      "/etc/sherd/c.cfg"

static struct conf *parse_at(const char *path, const char *text, bool test)
{
    struct conf *conf;
    struct bytes why = {0};
    enum error error = conf_parse(path, slice_of(text), test, &conf, &why);
    if (error)
        fail_msg("%s: %.*s", error_text(error), (int)why.len, why.data);
    assert_int_equal(why.len, 0);
    bytes_fini(&why);
    return conf;
}

static struct conf *parse(const char *text)
{
    return parse_at(PATH, text, false);
}

// refusal returns why `text` is refused, the caller's to free.
static char *refusal(const char *path, const char *text, bool test)
{
    struct conf *conf;
    struct bytes why = {0};
    assert_int_equal(conf_parse(path, slice_of(text), test, &conf, &why), ERROR_MALFORMED);
    assert_null(conf);
    bytes_append_char(&why, 0);
    assert_false(bytes_failed(&why));
    return why.data;
}

// expect_faults holds that `text` is refused with exactly these lines; without their path.
static void expect_faults_in(const char *text, bool test, const char *expected)
{
    char *why = refusal("f", text, test);
    assert_string_equal(why, expected);
    free(why);
}

static void expect_faults(const char *text, const char *expected)
{
    expect_faults_in(text, false, expected);
}

static char *printed(const struct conf *conf)
{
    struct bytes out = {0};
    conf_print(conf, &out);
    bytes_append_char(&out, 0);
    assert_false(bytes_failed(&out));
    return out.data;
}

// Files
// --------------------------------------------------------------------------------------------

static char directory[] = "/tmp/sherd-test-conf-XXXXXX";

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static const char *const file_names[] = {"c.cfg", "password", "partition-1.password",
                                         "partition-2.password", "key"};

enum { FILES = sizeof file_names / sizeof *file_names };

static const char *path_of(const char *name)
{
    static char path[FILES][PATH_MAX];
    for (size_t i = 0; i < FILES; i++)
        if (strcmp(file_names[i], name) == 0) {
            snprintf(path[i], sizeof path[i], "%s/%s", directory, name);
            return path[i];
        }
    fail_msg("%s is not in file_names", name);
    return NULL;
}

static int remove_directory(void **state)
{
    (void)state;
    for (size_t i = 0; i < FILES; i++)
        unlink(path_of(file_names[i]));
    return rmdir(directory);
}

static void write_file(const char *name, struct slice text, mode_t mode)
{
    const char *path = path_of(name);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.data, text.len), (ssize_t)text.len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

// Parsing
// ------------------------------------------------------------------------------------------

static void conf_parse__fills_in_the_defaults(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST);
    assert_false(conf->test);
    assert_int_equal(conf->store.partitions, 1);
    assert_int_equal(conf->store.replicas, 0);
    assert_int_equal(conf->store.connections, 2);
    assert_int_equal(conf->store.batch, 500);
    assert_int_equal(conf->store.queue, 10000);
    assert_int_equal(conf->store.timeout, 2000);
    assert_string_equal(conf->server.listen, "127.0.0.1:8080");
    assert_int_equal(conf->server.threads, 0);
    assert_int_equal(conf->server.clients, 20000);
    assert_int_equal(conf->server.max_value, 1 << 20);
    assert_int_equal(conf->server.pipeline, 16);
    assert_int_equal(conf->server.head_timeout, 5000);
    assert_int_equal(conf->server.idle_timeout, 60000);
    assert_int_equal(conf->server.body_rate, 1000);
    assert_int_equal(conf->server.stop_timeout, 5000);
    assert_int_equal(conf->server.log_level, LOG_INFO);
    assert_null(conf->server.access_log);
    assert_false(conf->server.allow_clear);
    conf_free(&conf);
    assert_null(conf);
}

static void conf_parse__fills_in_the_defaults_of_a_partition(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST);
    const struct conf_partition *p = conf->partition;
    assert_int_equal(p->id, 1);
    assert_string_equal(p->host, "db1");
    assert_int_equal(p->port, 3306);
    assert_null(p->socket);
    assert_string_equal(p->user, "sherd");
    assert_string_equal(p->password, "");
    assert_null(p->password_file);
    assert_string_equal(p->database, "sherd");
    assert_int_equal(p->weight, 1);
    conf_free(&conf);
}

static void conf_parse__takes_every_option(void **state)
{
    (void)state;
    struct conf *conf =
        parse("[store]\npartitions = 2\nreplicas = 2\nconnections = 3\nbatch = 4\nqueue = 5\n"
              "timeout = 6s\n"
              "[server]\nlisten = [::1]:0\nthreads = 7\nclients = 8\nmax_value = 9K\n"
              "pipeline = 10\nhead_timeout = 11s\nidle_timeout = 12m\nbody_rate = 13\n"
              "stop_timeout = 14s\nlog_level = debug\naccess_log = -\nallow_clear = yes\n"
              "[partition-2]\nsocket = /run/s.sock\nuser = u\npassword = p w\ndatabase = d\n"
              "weight = 15\n"
              "[partition-1]\nhost = ::1\nport = 16\nuser = u\n");
    assert_int_equal(conf->store.partitions, 2);
    assert_int_equal(conf->store.replicas, 2);
    assert_int_equal(conf->store.connections, 3);
    assert_int_equal(conf->store.batch, 4);
    assert_int_equal(conf->store.queue, 5);
    assert_int_equal(conf->store.timeout, 6000);
    assert_string_equal(conf->server.listen, "[::1]:0");
    assert_int_equal(conf->server.threads, 7);
    assert_int_equal(conf->server.clients, 8);
    assert_int_equal(conf->server.max_value, 9 * 1024);
    assert_int_equal(conf->server.pipeline, 10);
    assert_int_equal(conf->server.head_timeout, 11000);
    assert_int_equal(conf->server.idle_timeout, 720000);
    assert_int_equal(conf->server.body_rate, 13);
    assert_int_equal(conf->server.stop_timeout, 14000);
    assert_int_equal(conf->server.log_level, LOG_DEBUG);
    assert_string_equal(conf->server.access_log, "-");
    assert_true(conf->server.allow_clear);
    assert_int_equal(conf->partition[0].id, 1);
    assert_string_equal(conf->partition[0].host, "::1");
    assert_int_equal(conf->partition[0].port, 16);
    assert_int_equal(conf->partition[1].id, 2);
    assert_string_equal(conf->partition[1].socket, "/run/s.sock");
    assert_int_equal(conf->partition[1].port, 0);
    assert_string_equal(conf->partition[1].password, "p w");
    assert_string_equal(conf->partition[1].database, "d");
    assert_int_equal(conf->partition[1].weight, 15);
    conf_free(&conf);
}

static void conf_parse__refuses_a_value_out_of_bounds(void **state)
{
    (void)state;
    expect_faults(
        SMALLEST "[server]\nthreads = 9999\nclients = 0\nmax_value = 17M\n",
        "f:7: [server] threads = 9999: out of bounds; 0 to 256, or auto\n"
        "f:8: [server] clients = 0: out of bounds; 1 to 1000000\n"
        "f:9: [server] max_value = 17M: out of bounds; 1 to 16M bytes (K and M allowed)\n");
}

static void conf_parse__refuses_a_value_of_another_type(void **state)
{
    (void)state;
    expect_faults(
        SMALLEST "[server]\nthreads = many\nlisten = 8080\nallow_clear = maybe\n"
                 "log_level = all\nidle_timeout = 5 s\nmax_value =\n",
        "f:7: [server] threads = many: not a whole number; 0 to 256, or auto\n"
        "f:8: [server] listen = 8080: not an address; host:port or [IPv6]:port, port 0 to "
        "65535\n"
        "f:9: [server] allow_clear = maybe: not understood; yes or no\n"
        "f:10: [server] log_level = all: not a level; error, warn, info or debug\n"
        "f:11: [server] idle_timeout = 5 s: not a duration; 1s to 1h (a number is ms)\n"
        "f:12: [server] max_value =: empty; 1 to 16M bytes (K and M allowed)\n");
}

static void conf_parse__shows_values_safely(void **state)
{
    (void)state;
    expect_faults(SMALLEST "[server]\nthreads = \xc2\xa0\"4\"\n",
                  "f:7: [server] threads = \\xc2\\xa0\\x224\\x22: not a whole number; 0 to 256, or "
                  "auto\n");
    char text[400], value[121] = "";
    memset(value, '9', 120);
    snprintf(text, sizeof text, SMALLEST "[server]\nthreads = %s\n", value);
    char *why = refusal("f", text, false);
    assert_non_null(strstr(why, "999...: out of bounds"));
    assert_true(strlen(why) < 160);
    free(why);
}

static void conf_parse__refuses_an_unknown_option_naming_the_known(void **state)
{
    (void)state;
    expect_faults(STORE "thread = 1\n" PARTITION "hots = SECRET\n",
                  "f:3: [store] thread: unknown option; partitions, replicas, write_acks, "
                  "connections, batch, queue, timeout\n"
                  "f:7: [partition-1] hots: unknown option; host, port, socket, user, password, "
                  "password_file, database, tls, tls_ca, tls_certificate, tls_key, weight\n");
}

static void conf_parse__refuses_an_unknown_section(void **state)
{
    (void)state;
    static const char *const names[] = {
        "sever",        "Store",          "partition",     "partition-0",
        "partition-01", "partition-1001", "partition-x",   "partition--1",
        "partition- 1", "partition-",     "partition-1.0", " store",
        "token",        "token-",         "token-A",       "token-a.b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[200], expected[400];
        snprintf(text, sizeof text, SMALLEST "[%s]\nx = 1\n", names[i]);
        snprintf(expected, sizeof expected,
                 "f:6: [%s]: unknown section; [store], [server], [sync], [partition-1] to "
                 "[partition-1000], [token-NAME], at most 100 of them, NAME of at most 32 of a-z, "
                 "0-9, - and _\n",
                 names[i]);
        expect_faults(text, expected);
    }
}

static void conf_parse__reads_tokens(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST TOKEN_A "[token-b-2]\nsha256 = " HASH_B
                                               "\nwrite = *\nadmin = yes\nrate = 1000\n");
    assert_int_equal(conf->tokens, 2);
    assert_string_equal(conf->token[0].name, "a");
    assert_string_equal(conf->token[0].sha256, HASH_A);
    assert_string_equal(conf->token[0].read, "users/, p%2C");
    assert_null(conf->token[0].write);
    assert_false(conf->token[0].admin);
    assert_int_equal(conf->token[0].rate, 0);
    assert_string_equal(conf->token[1].name, "b-2");
    assert_string_equal(conf->token[1].write, "*");
    assert_true(conf->token[1].admin);
    assert_int_equal(conf->token[1].rate, 1000);
    conf_free(&conf);
}

static void conf_parse__refuses_tokens_that_make_no_sense(void **state)
{
    (void)state;
    expect_faults(SMALLEST "[token-a]\nread = *\n",
                  "f:6: [token-a] sha256: missing; 64 hexadecimal digits\n");
    expect_faults(SMALLEST "[token-a]\nsha256 = 12\nread = a,,b\nwrite = %4\n",
                  "f:7: [token-a] sha256 = 12: too short; 64 hexadecimal digits\n"
                  "f:8: [token-a] read = a,,b: not prefixes; prefixes of keys, percent-encoded, "
                  "with commas between, or *\n"
                  "f:9: [token-a] write = %4: not prefixes; prefixes of keys, percent-encoded, "
                  "with commas between, or *\n");
    expect_faults(SMALLEST "[token-a]\nsha256 = " HASH_A "\n",
                  "f:6: [token-a]: neither read nor write nor admin; it may do nothing\n");
    expect_faults(SMALLEST TOKEN_A "[token-b]\nread = *\nsha256 = " HASH_A "\n",
                  "f:11: [token-b] sha256: that of [token-a]; each needs its own\n");
}

static void conf_parse__refuses_more_tokens_than_there_may_be(void **state)
{
    (void)state;
    struct bytes text = {0};
    bytes_append_text(&text, SMALLEST);
    for (int i = 0; i <= CONF_TOKENS_MAX; i++)
        bytes_format(&text, "[token-%d]\nsha256 = %064d\nread = *\n", i, i);
    bytes_append_char(&text, 0);
    char *why = refusal("f", text.data, false);
    assert_non_null(strstr(why, "f:306: [token-100]: unknown section"));
    assert_null(strstr(why, "token-99"));
    free(why);
    bytes_fini(&text);
}

static void conf_parse__wants_tokens_where_others_can_connect(void **state)
{
    (void)state;
    static const char *const open[] = {"0.0.0.0:80", "[::]:80", "db.example:80", "10.127.0.1:80"};
    static const char *const local[] = {"127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "LocalHost:80"};
    char text[400], expected[400];
    for (size_t i = 0; i < 4; i++) {
        snprintf(text, sizeof text, SMALLEST "[server]\nlisten = %s\n", open[i]);
        snprintf(expected, sizeof expected,
                 "f:7: [server] listen = %s: others could connect and there is no [token-NAME]; "
                 "tokens, a loopback address, or insecure = yes\n",
                 open[i]);
        expect_faults(text, expected);
        strcat(text, "insecure = yes\n");
        struct conf *conf = parse(text);
        conf_free(&conf);
        snprintf(text, sizeof text, "%s[server]\nlisten = %s\n", SMALLEST TOKEN_A, open[i]);
        conf = parse(text);
        conf_free(&conf);
        snprintf(text, sizeof text, SMALLEST "[server]\nlisten = %s\n", local[i]);
        conf = parse(text);
        conf_free(&conf);
    }
}

static void conf_parse__refuses_an_option_of_another_section(void **state)
{
    (void)state;
    char *why = refusal("f", STORE "threads = 1\n" PARTITION "listen = a:1\n", false);
    assert_non_null(strstr(why, "f:3: [store] threads: unknown option"));
    assert_non_null(strstr(why, "f:7: [partition-1] listen: unknown option"));
    free(why);
}

static void conf_parse__refuses_a_missing_option(void **state)
{
    (void)state;
    expect_faults("[store]\n#partitions\n" PARTITION,
                  "f:1: [store] partitions: missing; 1 to 1000\n");
    expect_faults(STORE "[partition-1]\nhost = db1\n",
                  "f:3: [partition-1] user: missing; 1 to 128 bytes\n");
    expect_faults(STORE "[partition-1]\nuser = u\n",
                  "f:3: [partition-1]: neither host nor socket; give one of them\n");
}

static void conf_parse__refuses_a_missing_section(void **state)
{
    (void)state;
    expect_faults("", "f:1: [store] partitions: missing; 1 to 1000\n");
    expect_faults("[server]\n\n", "f:2: [store] partitions: missing; 1 to 1000\n");
    expect_faults(STORE "\n",
                  "f:3: [partition-1]: missing; every one of partitions = 1 needs its section\n");
    expect_faults("[store]\npartitions = 5\n[partition-3]\nhost = a\nuser = u\n",
                  "f:5: [partition-1] to [partition-2]: missing; every one of partitions = 5 needs "
                  "its section\n"
                  "f:5: [partition-4] to [partition-5]: missing; every one of partitions = 5 needs "
                  "its section\n");
}

static void conf_parse__keeps_the_number_of_a_partition_that_has_left(void **state)
{
    (void)state;
    struct conf *conf = parse("[store]\npartitions = 2\n[partition-1]\nweight = 0\n"
                              "[partition-2]\nhost = a\nuser = u\n");
    assert_false(conf_partition_exists(&conf->partition[0]));
    assert_int_equal(conf->partition[0].weight, 0);
    assert_true(conf_partition_exists(&conf->partition[1]));
    conf_free(&conf);
    expect_faults("[store]\npartitions = 1\n[partition-1]\nweight = 0\n",
                  "f:2: [store] partitions: none has a weight; at least one with weight = 1\n");
    expect_faults(
        "[store]\npartitions = 2\nreplicas = 2\n[partition-1]\nweight = 0\n"
        "[partition-2]\nhost = a\nuser = u\n",
        "f:3: [store] replicas: 2, more than the 1 partitions with a weight; at most that, "
        "or all\n");
}

static void conf_parse__does_without_a_server_section(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST);
    conf_free(&conf);
}

static void conf_parse__refuses_a_partition_beyond_the_number(void **state)
{
    (void)state;
    expect_faults(SMALLEST "[partition-3]\nhost = db3\nuser = u\n",
                  "f:6: [partition-3]: beyond partitions = 1; raise partitions, or remove the "
                  "section\n");
}

static void conf_parse__refuses_more_acks_than_replicas(void **state)
{
    (void)state;
    expect_faults(STORE "write_acks = 2\n" PARTITION,
                  "f:3: [store] write_acks: 2, more than there are replicas; at most 1\n");
}

static void conf_parse__refuses_more_replicas_than_partitions(void **state)
{
    (void)state;
    expect_faults(STORE "replicas = 2\n" PARTITION,
                  "f:3: [store] replicas: 2, more than partitions = 1; at most that, or all\n");
}

static void conf_parse__refuses_both_host_and_socket(void **state)
{
    (void)state;
    expect_faults(SMALLEST "socket = /s\n",
                  "f:6: [partition-1]: both host and socket; keep one of them\n");
}

static void conf_parse__refuses_a_port_with_a_socket(void **state)
{
    (void)state;
    expect_faults(STORE "[partition-1]\nsocket = /s\nport = 3306\nuser = u\n",
                  "f:5: [partition-1] port: there is none with a socket; remove one of them\n");
}

static void conf_parse__refuses_both_password_and_file(void **state)
{
    (void)state;
    expect_faults(SMALLEST "password = SECRET\npassword_file = /nowhere\n",
                  "f:7: [partition-1]: both password and password_file; keep one of them\n");
}

static void conf_parse__refuses_partitions_in_one_database(void **state)
{
    (void)state;
    static const char same[] = "f:6: [partition-2]: the same server and database as [partition-1]; "
                               "each needs its own\n";
    expect_faults(TWO PARTITION "[partition-2]\nhost = db1\nuser = other\n", same);
    expect_faults(TWO PARTITION "[partition-2]\nhost = DB1\nport = 3306\nuser = u\n", same);
    expect_faults(TWO PARTITION "[partition-2]\nhost = db1\nuser = u\ndatabase = Sherd\n", same);
    expect_faults(
        TWO "[partition-1]\nsocket = /s\nuser = u\n[partition-2]\nuser = u\nsocket = /s\n", same);
    expect_faults_in(TWO "[partition-1]\nhost = a\nuser = u\n"
                         "[partition-2]\nhost = a\nuser = u\ndatabase = test_sherd\n",
                     true, same);
}

static void conf_parse__takes_partitions_in_two_databases_of_a_server(void **state)
{
    (void)state;
    static const char *const others[] = {"host = db1\ndatabase = sherd2", "host = db1\nport = 3307",
                                         "host = db2", "socket = /s"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char text[300];
        snprintf(text, sizeof text, TWO PARTITION "[partition-2]\n%s\nuser = u\n", others[i]);
        struct conf *conf = parse(text);
        conf_free(&conf);
    }
}

static void conf_parse__takes_a_thousand_partitions(void **state)
{
    (void)state;
    struct bytes text = {0}, why = {0};
    struct conf *conf;
    bytes_append_text(&text, "[store]\npartitions = 1000\n");
    for (unsigned id = 1; id <= CONF_PARTITIONS_MAX; id++)
        bytes_format(&text, "[partition-%u]\nhost = db%u\nuser = u\n", id, id);
    assert_int_equal(conf_parse("f", bytes_slice(&text), false, &conf, &why), ERROR_NONE);
    assert_int_equal(conf->partition[999].id, 1000);
    assert_string_equal(conf->partition[999].host, "db1000");
    conf_free(&conf);
    bytes_fini(&text);
}

static void conf_parse__refuses_a_password_cut_by_a_comment(void **state)
{
    (void)state;
    char *why = refusal("f", SMALLEST "password = SECRET ;SECRET\n", false);
    assert_ptr_equal(strstr(why, "f:6: [partition-1] password: "), why);
    assert_non_null(strstr(why, "password_file"));
    assert_null(strstr(why, "SECRET"));
    assert_ptr_equal(strchr(why, '\n') + 1, why + strlen(why));
    free(why);
}

static void conf_parse__refuses_what_ini_refuses_once(void **state)
{
    (void)state;
    expect_faults(STORE "[partition-1]\nhost = db1\nuser = \x01\n",
                  "f:5: [partition-1] user: a control byte; only text and tabs may stand here\n");
    expect_faults(
        SMALLEST "user = other\n",
        "f:6: [partition-1] user: a duplicate; the first is in line 5, keep one of them\n");
    expect_faults(SMALLEST "[store]\n",
                  "f:6: [store]: a duplicate; the first is in line 1, keep one of them\n");
    expect_faults("[store] x\npartitions = 1\n" PARTITION,
                  "f:1: text after the section; put it on a line of its own\n");
}

static void conf_parse__never_tells_a_password(void **state)
{
    (void)state;
    char text[600], password[190] = "SECRET";
    memset(password + 6, 'x', 183);
    snprintf(text, sizeof text, SMALLEST "password = %.175s\npassword = %.175s\n", password,
             password);
    char *why = refusal("f", text, false);
    assert_null(strstr(why, "SECRET"));
    free(why);
    snprintf(text, sizeof text, SMALLEST "password = %.183s\n", password);
    why = refusal("f", text, false);
    assert_ptr_equal(strstr(why, "f:6: [partition-1] password: too long; 0 to 180 bytes\n"), why);
    free(why);
}

static void conf_parse__tells_all_faults_in_order(void **state)
{
    (void)state;
    char *why = refusal("f",
                        "partitions = 1\n[store]\npartitions = 1\nreplicas = 9\n junk\n"
                        "[nothing]\nx = 1\n[server]\nthreads = x\nwhat = 1\nclients = 1\n"
                        "clients = 1\n[partition-1]\nhost = a b\nuser = u ;c\nweight = -1\n"
                        "[partition-2]\n",
                        false);
    const unsigned lines[] = {1, 4, 5, 6, 9, 10, 12, 14, 15, 16, 17, 17, 17};
    struct slice rest = slice_of(why);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "f:%u: ", lines[i]);
        struct slice line = slice_token(&rest, '\n');
        if (!slice_starts(line, slice_of(prefix)))
            fail_msg("expected %s, got %.*s", prefix, (int)line.len, line.data);
    }
    assert_int_equal(rest.len, 0);
    free(why);
}

static void conf_parse__makes_paths_absolute(void **state)
{
    (void)state;
    struct conf *conf = parse(STORE "[partition-1]\nsocket = run/s\nuser = u\n");
    assert_string_equal(conf->partition[0].socket, "/etc/sherd/run/s");
    conf_free(&conf);
    char here[PATH_MAX], expected[PATH_MAX + 20];
    assert_non_null(getcwd(here, sizeof here));
    conf = parse_at("c.cfg", STORE "[partition-1]\nsocket = s\nuser = u\n", false);
    snprintf(expected, sizeof expected, "%s/s", here);
    assert_string_equal(conf->partition[0].socket, expected);
    conf_free(&conf);
    conf = parse_at("d/c.cfg", STORE "[partition-1]\nsocket = s\nuser = u\n", false);
    snprintf(expected, sizeof expected, "%s/d/s", here);
    assert_string_equal(conf->partition[0].socket, expected);
    conf_free(&conf);
}

static void conf_parse__refuses_a_path_that_becomes_too_long(void **state)
{
    (void)state;
    char path[140] = "/";
    memset(path + 1, 'd', 110);
    strcat(path, "/c.cfg");
    char *why = refusal(path, STORE "[partition-1]\nsocket = s\nuser = u\n", false);
    assert_non_null(strstr(why, ":4: [partition-1] socket = s: cannot be taken"));
    assert_non_null(strstr(why, "at most 107 bytes"));
    free(why);
    why = refusal("/a ;b/c", STORE "[partition-1]\nsocket = s\nuser = u\n", false);
    free(why);
}

// Test mode
// ----------------------------------------------------------------------------------------

static void conf_parse__puts_test_in_front_in_test_mode(void **state)
{
    (void)state;
    struct conf *conf = parse_at(PATH, SMALLEST, true);
    assert_true(conf->test);
    assert_string_equal(conf->partition[0].database, "test_sherd");
    conf_free(&conf);
    conf = parse_at(PATH, SMALLEST "database = test_mine\n", true);
    assert_string_equal(conf->partition[0].database, "test_mine");
    conf_free(&conf);
    conf = parse_at(PATH, SMALLEST "database = testing\n", true);
    assert_string_equal(conf->partition[0].database, "test_testing");
    conf_free(&conf);
    conf = parse_at(PATH, SMALLEST "database = TEST_x\n", true);
    assert_string_equal(conf->partition[0].database, "test_TEST_x");
    conf_free(&conf);
}

static void conf_parse__refuses_a_test_database_outside_of_test_mode(void **state)
{
    (void)state;
    expect_faults(
        SMALLEST "database = test_sherd\n",
        "f:6: [partition-1] database = test_sherd: a database for tests; another name, or "
        "SHERD_ENV=test\n");
    expect_faults(
        SMALLEST "database = Test_sherd\n",
        "f:6: [partition-1] database = Test_sherd: a database for tests; another name, or "
        "SHERD_ENV=test\n");
    struct conf *conf = parse(SMALLEST "database = testing\n");
    conf_free(&conf);
}

static void conf_parse__refuses_a_name_too_long_for_test(void **state)
{
    (void)state;
    char text[300], name[61] = "";
    memset(name, 'd', 60);
    snprintf(text, sizeof text, SMALLEST "database = %s\n", name);
    struct conf *conf = parse(text);
    conf_free(&conf);
    char *why = refusal("f", text, true);
    assert_non_null(strstr(why, "too long to have test_ in front; at most 59 bytes"));
    free(why);
    snprintf(text, sizeof text, SMALLEST "database = %.59s\n", name);
    conf = parse_at(PATH, text, true);
    conf_free(&conf);
}

// Password files
// -----------------------------------------------------------------------------------

static void expect_password(struct slice content, const char *password)
{
    write_file("password", content, 0600);
    struct conf *conf = parse_at(path_of("c.cfg"), SMALLEST "password_file = password\n", false);
    assert_string_equal(conf->partition[0].password, password);
    assert_string_equal(conf->partition[0].password_file, path_of("password"));
    conf_free(&conf);
}

static void expect_password_refused(struct slice content, mode_t mode, const char *part)
{
    write_file("password", content, mode);
    char *why = refusal(path_of("c.cfg"), SMALLEST "password_file = password\n", false);
    assert_non_null(strstr(why, "c.cfg:6: [partition-1] password_file = "));
    if (!strstr(why, part))
        fail_msg("expected %s, got %s", part, why);
    assert_null(strstr(why, "SECRET"));
    free(why);
}

static void password_file__gives_its_line_verbatim(void **state)
{
    (void)state;
    expect_password(SLICE("secret\n"), "secret");
    expect_password(SLICE("secret"), "secret");
    expect_password(SLICE("secret\r\n"), "secret");
    expect_password(SLICE("  a ;b = \"c\" # d \t\n"), "  a ;b = \"c\" # d \t");
    char longest[PASSWORD_FILE_MAX + 1] = "";
    memset(longest, 'p', PASSWORD_FILE_MAX);
    expect_password(slice_of(longest), longest);
}

static void password_file__that_others_may_read_or_write_is_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0640, 0620, 0604, 0602, 0644, 0666};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        expect_password_refused(SLICE("SECRET\n"), modes[i], "others than its owner");
}

static void password_file__that_is_no_single_line_is_refused(void **state)
{
    (void)state;
    char longer[PASSWORD_FILE_MAX + 2] = "";
    memset(longer, 'p', PASSWORD_FILE_MAX + 1);
    expect_password_refused(SLICE(""), 0600, "empty");
    expect_password_refused(SLICE("\n"), 0600, "empty");
    expect_password_refused(SLICE("\r\n"), 0600, "empty");
    expect_password_refused(SLICE("SECRET\nSECRET\n"), 0600, "more than one line");
    expect_password_refused(SLICE("SECRET\n\n"), 0600, "more than one line");
    expect_password_refused(SLICE("SECRET\0SECRET\n"), 0600, "NUL");
    expect_password_refused(slice_of(longer), 0600, "longer than 1024 bytes");
}

static void password_file__that_is_not_there_is_refused(void **state)
{
    (void)state;
    expect_faults(SMALLEST "password_file = /dev/null/x\n",
                  "f:6: [partition-1] password_file = /dev/null/x: Not a directory; a file of one "
                  "line, the password, chmod 600\n");
    expect_faults(SMALLEST "password_file = /dev/null\n",
                  "f:6: [partition-1] password_file = /dev/null: not a regular file; a file of one "
                  "line, the password, chmod 600\n");
}

// TLS
// ----------------------------------------------------------------------------------------------

static void tls__of_clients_is_a_certificate_and_its_key(void **state)
{
    (void)state;
    write_file("key", SLICE("SECRET\n"), 0600);
    struct conf *conf = parse_at(
        path_of("c.cfg"), SMALLEST "[server]\ntls_certificate = c.pem\ntls_key = key\n", false);
    assert_string_equal(conf->server.tls_key, path_of("key"));
    assert_non_null(strstr(conf->server.tls_certificate, "/c.pem"));
    conf_free(&conf);
    expect_faults(SMALLEST "[server]\ntls_certificate = /c.pem\n",
                  "f:7: [server] tls_certificate: of no use without tls_key\n");
    expect_faults(SMALLEST "[server]\ntls_key = /dev/null\n",
                  "f:7: [server] tls_key: of no use without tls_certificate\n");
    expect_faults(SMALLEST "[server]\ntls_certificate = /c.pem\ntls_key = /none/at/all\n",
                  "f:8: [server] tls_key = /none/at/all: No such file or directory; a file with "
                  "chmod 600\n");
}

static void tls__keys_that_others_may_see_are_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0640, 0620, 0604, 0602, 0644};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        write_file("key", SLICE("SECRET\n"), modes[i]);
        char *why = refusal(path_of("c.cfg"),
                            SMALLEST "[server]\ntls_certificate = c.pem\ntls_key = key\n", false);
        assert_non_null(strstr(why, "others than its owner may read or write it; a file with chmod "
                                    "600"));
        assert_null(strstr(why, "SECRET"));
        free(why);
    }
}

static void tls__to_a_partition_needs_to_know_whom_to_trust(void **state)
{
    (void)state;
    write_file("key", SLICE("SECRET\n"), 0600);
    struct conf *conf = parse_at(path_of("c.cfg"),
                                 SMALLEST "tls = required\ntls_ca = ca.pem\n"
                                          "tls_certificate = c.pem\ntls_key = key\n",
                                 false);
    assert_int_equal(conf->partition[0].tls, CONF_TLS_REQUIRED);
    assert_non_null(strstr(conf->partition[0].tls_ca, "/ca.pem"));
    assert_string_equal(conf->partition[0].tls_key, path_of("key"));
    conf_free(&conf);
    conf = parse(SMALLEST "tls = off\n");
    assert_int_equal(conf->partition[0].tls, CONF_TLS_OFF);
    conf_free(&conf);
    expect_faults(SMALLEST "tls = required\n", "f:6: [partition-1] tls: required without tls_ca; a "
                                               "file of certificates to trust\n");
    expect_faults(SMALLEST "tls = yes\n",
                  "f:6: [partition-1] tls = yes: not understood; off or required\n");
    expect_faults(SMALLEST "tls_ca = /ca.pem\n",
                  "f:6: [partition-1] tls_ca: of no use without tls = required\n");
    expect_faults(SMALLEST "tls = required\ntls_ca = /ca.pem\ntls_certificate = /c.pem\n",
                  "f:8: [partition-1] tls_certificate: of no use without tls_key\n");
    expect_faults("[store]\npartitions = 1\n[partition-1]\nsocket = /s\nuser = u\n"
                  "tls = required\ntls_ca = /ca.pem\n",
                  "f:6: [partition-1] tls: not for a socket; it stays on this machine\n");
}

static void memory__leaves_room_beside_the_cache(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST "[server]\nmemory = 128M\ncache = 64M\n");
    conf_free(&conf);
    expect_faults(SMALLEST "[server]\nmemory = 127M\ncache = 64M\n",
                  "f:7: [server] memory: less than twice the cache; more, or 0 for no limit\n");
}

// Reading
// ------------------------------------------------------------------------------------------

static int unset_environment(void **state)
{
    (void)state;
    return unsetenv("SHERD_ENV");
}

static enum error read_file(struct conf **conf, struct bytes *why)
{
    bytes_clear(why);
    return conf_read(path_of("c.cfg"), conf, why);
}

static void conf_read__takes_the_mode_from_the_environment(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool test;
    } good[] = {{NULL, false}, {"", false}, {"production", false}, {"test", true}};
    struct conf *conf;
    struct bytes why = {0};
    write_file("c.cfg", SLICE(SMALLEST), 0600);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (good[i].name)
            setenv("SHERD_ENV", good[i].name, 1);
        assert_int_equal(read_file(&conf, &why), ERROR_NONE);
        assert_int_equal(conf->test, good[i].test);
        conf_free(&conf);
    }
    bytes_fini(&why);
}

static void conf_read__refuses_an_unknown_environment(void **state)
{
    (void)state;
    static const char *const bad[] = {"Test", "tests", "prod", " test", "1"};
    struct conf *conf;
    struct bytes why = {0};
    write_file("c.cfg", SLICE(SMALLEST), 0600);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("SHERD_ENV", bad[i], 1);
        assert_int_equal(read_file(&conf, &why), ERROR_MALFORMED);
        assert_null(conf);
        assert_true(slice_starts(bytes_slice(&why), SLICE("SHERD_ENV: ")));
    }
    bytes_fini(&why);
}

static void conf_read__tells_why_a_file_cannot_be_read(void **state)
{
    (void)state;
    struct conf *conf;
    struct bytes why = {0};
    unlink(path_of("c.cfg"));
    assert_int_equal(read_file(&conf, &why), ERROR_SYSTEM);
    assert_int_equal(errno, ENOENT);
    assert_null(conf);
    assert_non_null(memmem(why.data, why.len, "c.cfg: No such file", 19));
    bytes_clear(&why);
    assert_int_equal(conf_read(directory, &conf, &why), ERROR_SYSTEM);
    assert_int_equal(errno, EISDIR);
    bytes_clear(&why);
    assert_int_equal(conf_read("/dev/zero", &conf, &why), ERROR_MALFORMED);
    assert_true(slice_starts(bytes_slice(&why), SLICE("/dev/zero: too long")));
    bytes_fini(&why);
}

static void conf_read__tells_the_faults_of_the_file(void **state)
{
    (void)state;
    struct conf *conf;
    struct bytes why = {0};
    write_file("c.cfg", SLICE(SMALLEST "wrong = 1\n"), 0600);
    assert_int_equal(read_file(&conf, &why), ERROR_MALFORMED);
    assert_true(slice_starts(bytes_slice(&why), slice_of(path_of("c.cfg"))));
    assert_non_null(memmem(why.data, why.len, ":6: [partition-1] wrong: ", 25));
    bytes_fini(&why);
}

static void conf_read__refuses_a_file_that_others_may_see_into(void **state)
{
    (void)state;
    static const mode_t bad[] = {0640, 0620, 0604, 0602, 0644};
    struct conf *conf;
    struct bytes why = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file("c.cfg", SLICE(SMALLEST "password = SECRET\n"), bad[i]);
        assert_int_equal(read_file(&conf, &why), ERROR_MALFORMED);
        assert_null(conf);
        assert_non_null(memmem(why.data, why.len, "chmod 600\n", 10));
        assert_null(memmem(why.data, why.len, "SECRET", 6));
    }
    write_file("c.cfg", SLICE(SMALLEST "password = SECRET\n"), 0400);
    assert_int_equal(read_file(&conf, &why), ERROR_NONE);
    conf_free(&conf);
    bytes_fini(&why);
}

// Printing
// -----------------------------------------------------------------------------------------

static void expect_round_trip(const char *path, const char *text, bool test)
{
    struct conf *conf = parse_at(path, text, test);
    char *first = printed(conf);
    conf_free(&conf);
    conf = parse_at(path, first, test);
    char *second = printed(conf);
    assert_string_equal(first, second);
    assert_null(strstr(first, "SECRET"));
    conf_free(&conf);
    free(first);
    free(second);
}

static void conf_print__shows_everything_in_the_shortest_form(void **state)
{
    (void)state;
    struct conf *conf =
        parse(STORE "timeout = 1500\n[server]\nmax_value = 2097152\n"
                    "idle_timeout = 120s\nthreads = 0\n" PARTITION "password = SECRET\n");
    char *text = printed(conf);
    assert_string_equal(
        text,
        "[store]\npartitions = 1\nreplicas = all\nwrite_acks = 1\nconnections = 2\nbatch = 500\n"
        "queue = 10000\ntimeout = 1500ms\n\n"
        "[server]\nlisten = 127.0.0.1:8080\nthreads = auto\nclients = 20000\n"
        "clients_per_address = 0\nlisteners = 20000\nmemory = 1024M\nmax_value = 2M\npipeline = "
        "16\nhead_timeout = 5s\nidle_timeout = 2m\n"
        "body_rate = 1000\nstop_timeout = 5s\nlog_level = info\naccess_log =\n"
        "cache = 0\ncache_staleness = 100ms\nallow_clear = no\ninsecure = no\n"
        "cors_origins =\n\n"
        "[sync]\nthreads = 4\nrows_per_second = 0\nbytes_per_second = 0\nverify = 10000\n"
        "grace = 1m\nkeep_log = 1h\n\n"
        "[partition-1]\nhost = db1\nport = 3306\nuser = sherd\npassword = ********\n"
        "database = sherd\ntls = off\nweight = 1\n");
    free(text);
    conf_free(&conf);
}

static void conf_print__shows_the_password_file_not_the_password(void **state)
{
    (void)state;
    write_file("password", SLICE("SECRET\n"), 0600);
    struct conf *conf = parse_at(path_of("c.cfg"), SMALLEST "password_file = password\n", false);
    char *text = printed(conf), expected[PATH_MAX + 40];
    snprintf(expected, sizeof expected, "\npassword_file = %s\n", path_of("password"));
    assert_non_null(strstr(text, expected));
    assert_null(strstr(text, "password = "));
    assert_null(strstr(text, "SECRET"));
    free(text);
    conf_free(&conf);
}

static void conf_print__is_read_back_as_the_same(void **state)
{
    (void)state;
    write_file("password", SLICE("SECRET\n"), 0600);
    static const char *const texts[] = {
        SMALLEST,
        SMALLEST "password = SECRET\n",
        SMALLEST "password_file = password\n",
        STORE "[partition-1]\nsocket = s\nuser = \"u\" = 'v' # w\n",
        SMALLEST "[server]\naccess_log = -\nthreads = 3\nlisten = [::]:0\nallow_clear = yes\n"
                 "insecure = yes\n",
        SMALLEST TOKEN_A "[token-b]\nsha256 = " HASH_B "\nadmin = yes\nrate = 7\n",
        STORE "replicas = 1\ntimeout = 101\n" PARTITION "weight = 1000\ndatabase = x\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        expect_round_trip(path_of("c.cfg"), texts[i], false);
        expect_round_trip(path_of("c.cfg"), texts[i], true);
    }
}

static void conf_print__is_read_back_wherever_the_file_was(void **state)
{
    (void)state;
    struct conf *conf = parse_at("d/c.cfg", STORE "[partition-1]\nsocket = s\nuser = u\n", false);
    char *first = printed(conf);
    conf_free(&conf);
    conf = parse_at("/elsewhere/c.cfg", first, false);
    char *second = printed(conf);
    assert_string_equal(first, second);
    conf_free(&conf);
    free(first);
    free(second);
}

// Reloading
// ----------------------------------------------------------------------------------------

// adopted returns what conf_adopt says; `conf` is as it is then.
static char *adopted(struct conf *conf, const char *text)
{
    struct conf *fresh = parse(text);
    struct bytes why = {0};
    assert_int_equal(conf_adopt(conf, fresh, &why), ERROR_NONE);
    conf_free(&fresh);
    bytes_append_char(&why, 0);
    return why.data;
}

static void conf_adopt__takes_what_may_change(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST);
    char *why = adopted(conf, SMALLEST
                        "[server]\npipeline = 3\nhead_timeout = 4s\n"
                        "idle_timeout = 5s\nbody_rate = 6\nstop_timeout = 7s\nlog_level = debug\n"
                        "access_log = /log\nallow_clear = yes\nlisteners = 8\n"
                        "clients_per_address = 9\nmemory = 10M\n");
    assert_string_equal(why, "");
    assert_int_equal(conf->server.listeners, 8);
    assert_int_equal(conf->server.clients_per_address, 9);
    assert_int_equal(conf->server.memory, 10 << 20);
    assert_true(conf->server.allow_clear);
    free(why);
    assert_int_equal(conf->server.pipeline, 3);
    assert_int_equal(conf->server.head_timeout, 4000);
    assert_int_equal(conf->server.idle_timeout, 5000);
    assert_int_equal(conf->server.body_rate, 6);
    assert_int_equal(conf->server.stop_timeout, 7000);
    assert_int_equal(conf->server.log_level, LOG_DEBUG);
    assert_string_equal(conf->server.access_log, "/log");
    free(adopted(conf, SMALLEST));
    assert_null(conf->server.access_log);
    assert_int_equal(conf->server.pipeline, 16);
    conf_free(&conf);
}

static void conf_adopt__keeps_and_names_what_needs_a_restart(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST);
    char *before = printed(conf);
    char *why = adopted(conf, TWO "timeout = 3s\n[server]\nthreads = 4\nlisten = 127.9.9.9:1\n"
                                  "max_value = 2K\n"
                                  "[partition-1]\nhost = db1\nuser = sherd\ndatabase = other\n"
                                  "[partition-2]\nhost = a\nuser = u\n");
    assert_string_equal(why, "[store] partitions = 2: needs a restart\n"
                             "[store] timeout = 3s: needs a restart\n"
                             "[server] listen = 127.9.9.9:1: needs a restart\n"
                             "[server] threads = 4: needs a restart\n"
                             "[server] max_value = 2K: needs a restart\n"
                             "[partition-1] database = other: needs a restart\n");
    char *after = printed(conf);
    assert_string_equal(before, after);
    assert_null(conf->retired);
    free(before);
    free(after);
    free(why);
    conf_free(&conf);
}

static void conf_adopt__takes_how_a_partition_is_reached(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST "password = SECRET\n");
    const struct conf_partition *before = conf->partition;
    free(adopted(conf, STORE "[partition-1]\nsocket = /s\nuser = other\npassword = SECRET2\n"));
    const struct conf_partition *after = conf->partition;
    assert_ptr_not_equal(before, after);
    assert_int_equal(after->id, 1);
    assert_null(after->host);
    assert_int_equal(after->port, 0);
    assert_string_equal(after->socket, "/s");
    assert_string_equal(after->user, "other");
    assert_string_equal(after->password, "SECRET2");
    // Who still reads the one before finds it as it was.
    assert_string_equal(before->host, "db1");
    assert_string_equal(before->password, "SECRET");
    free(adopted(conf, STORE "[partition-1]\nhost = h\nuser = u\ntls = required\ntls_ca = /ca\n"
                             "tls_certificate = /dev/null\ntls_key = /dev/null\n"));
    assert_int_equal(conf->partition->tls, CONF_TLS_REQUIRED);
    assert_string_equal(conf->partition->tls_ca, "/ca");
    assert_string_equal(conf->partition->tls_key, "/dev/null");
    assert_string_equal(after->socket, "/s");
    assert_ptr_equal(conf->retired->partition, after);
    assert_ptr_equal(conf->retired->next->partition, before);
    conf_free(&conf);
}

static void conf_adopt__takes_the_partitions_that_both_have(void **state)
{
    (void)state;
    struct conf *conf = parse(TWO "[partition-1]\nhost = a\nuser = u\n"
                                  "[partition-2]\nhost = b\nuser = u\n");
    char *why = adopted(conf, STORE "[partition-1]\nhost = c\nuser = u\n");
    assert_string_equal(why, "[store] partitions = 1: needs a restart\n");
    assert_string_equal(conf->partition[0].host, "c");
    assert_string_equal(conf->partition[1].host, "b");
    free(why);
    conf_free(&conf);
}

static void conf_adopt__never_makes_two_partitions_of_one_database(void **state)
{
    (void)state;
    struct conf *conf = parse(TWO "[partition-1]\nhost = a\nuser = u\n"
                                  "[partition-2]\nhost = b\nuser = u\n");
    char *why = adopted(conf, STORE "[partition-1]\nhost = b\nuser = u\n");
    assert_string_equal(why, "[store] partitions = 1: needs a restart\n"
                             "[partition-2]: would be the same server and database as "
                             "[partition-1]: the partitions need a restart\n");
    assert_string_equal(conf->partition[0].host, "a");
    assert_null(conf->retired);
    free(why);
    conf_free(&conf);
}

static void conf_adopt__takes_all_tokens(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST TOKEN_A);
    struct conf *fresh = parse(SMALLEST "[token-b]\nsha256 = " HASH_B "\nread = *\n"
                                        "[token-c]\nsha256 = " HASH_A "\nread = *\n");
    struct bytes why = {0};
    assert_int_equal(conf_adopt(conf, fresh, &why), ERROR_NONE);
    assert_int_equal(why.len, 0);
    conf_free(&fresh);
    assert_int_equal(conf->tokens, 2);
    assert_string_equal(conf->token[0].name, "b");
    assert_string_equal(conf->token[1].sha256, HASH_A);
    fresh = parse(SMALLEST);
    assert_int_equal(conf_adopt(conf, fresh, &why), ERROR_NONE);
    assert_int_equal(conf->tokens, 0);
    conf_free(&fresh);
    conf_free(&conf);
    bytes_fini(&why);
}

static void conf_adopt__says_nothing_of_the_same(void **state)
{
    (void)state;
    struct conf *conf = parse(SMALLEST "password = SECRET\n[server]\naccess_log = -\n");
    char *why = adopted(conf, SMALLEST "password = SECRET\n[server]\naccess_log = -\n");
    assert_string_equal(why, "");
    free(why);
    conf_free(&conf);
}

// The example
// --------------------------------------------------------------------------------------

// read_example returns configuration.cfg; with `all` its commented defaults are options.
static struct bytes read_example(bool all)
{
    char line[512];
    struct bytes text = {0};
    FILE *file = fopen("configuration.cfg", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        bool option = line[0] == '#' && line[1] >= 'a' && line[1] <= 'z' && strchr(line, '=');
        bytes_append_text(&text, all && option ? line + 1 : line);
    }
    fclose(file);
    return text;
}

static char *printed_example(bool all)
{
    struct bytes text = read_example(all), why = {0};
    struct conf *conf;
    write_file("c.cfg", bytes_slice(&text), 0600);
    write_file("partition-1.password", SLICE("secret\n"), 0600);
    write_file("partition-2.password", SLICE("secret\n"), 0600);
    if (read_file(&conf, &why))
        fail_msg("%.*s", (int)why.len, why.data);
    char *shown = printed(conf);
    conf_free(&conf);
    bytes_fini(&text);
    return shown;
}

static void example__is_read(void **state)
{
    (void)state;
    free(printed_example(false));
}

static void example__comments_the_defaults(void **state)
{
    (void)state;
    char *first = printed_example(false), *second = printed_example(true);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void example__names_every_option_of_store_and_server(void **state)
{
    (void)state;
    char *shown = printed_example(false);
    struct bytes text = read_example(true);
    bytes_append_char(&text, 0);
    struct slice rest = slice_of(shown);
    while (rest.data) {
        char wanted[64];
        struct slice line = slice_token(&rest, '\n');
        if (slice_starts(line, SLICE("[partition-1]")))
            break;
        if (!line.len || line.data[0] == '[')
            continue;
        struct slice name = slice_token(&line, ' ');
        snprintf(wanted, sizeof wanted, "\n%.*s =", (int)name.len, name.data);
        if (!strstr(text.data, wanted))
            fail_msg("configuration.cfg lacks%s", wanted);
    }
    bytes_fini(&text);
    free(shown);
}

// ---------------------------------------------------------------- hosts, prefixes, origins, names

// accepts tells whether `option = value` may stand in a section; the rest of the file is right.
static bool accepts(const char *section, const char *option, const char *value)
{
    struct conf *conf;
    struct bytes text = {0}, why = {0};
    bool partition = strcmp(section, "partition-1") == 0;
    bytes_append_text(&text, partition ? STORE "[partition-1]\nuser = u\n" : SMALLEST);
    if (!partition)
        bytes_format(&text, "[%s]\n", section);
    if (strncmp(section, "token-", 6) == 0 && strcmp(option, "sha256") != 0)
        bytes_append_text(&text, "sha256 = " HASH_A "\n");
    else if (strncmp(section, "token-", 6) == 0)
        bytes_append_text(&text, "read = *\n");
    bytes_format(&text, "%s = %s\n", option, value);
    enum error error = conf_parse("f", bytes_slice(&text), false, &conf, &why);
    assert_true(error == ERROR_NONE || error == ERROR_MALFORMED);
    conf_free(&conf);
    bytes_fini(&text);
    bytes_fini(&why);
    return error == ERROR_NONE;
}

static void expect_values(const char *section, const char *option, const char *const *right,
                          const char *const *wrong)
{
    for (; *right; right++)
        if (!accepts(section, option, *right))
            fail_msg("%s = %s is refused", option, *right);
    for (; *wrong; wrong++)
        if (accepts(section, option, *wrong))
            fail_msg("%s = %s is accepted", option, *wrong);
}

#define TEN "abcdefghi."
#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void values__of_hosts(void **state)
{
    (void)state;
    static const char *const right[] = {"a",   "A-1.b_c",      "10.0.0.1",
                                        "::1", "fe80::1",      TEN TEN TEN TEN TEN "org",
                                        L63,   L63 ".0xg.com", NULL};
    static const char *const wrong[] = {"-a",        "a..b",  "a.",        ".a",       "a~b",
                                        "a{b",       "a@b",   "a:b",       "a/b",      L63 "a",
                                        "10",        "10.1",  "1.2.3.4.5", "a.0x1f",   "a.0X1F",
                                        "256.1.1.1", "[::1]", "a b",       "\xc3\xa4", NULL};
    expect_values("partition-1", "host", right, wrong);
}

static void values__of_addresses(void **state)
{
    (void)state;
    static const char *const right[] = {"127.0.0.1:0", "localhost:65535", "[::1]:80", NULL};
    static const char *const wrong[] = {
        "localhost", "localhost:", "localhost:65536", "localhost:x", ":80", "[::1:80",
        "[x]:80",    "[]:80",      "::1:80",          "a:b:80",      NULL};
    expect_values("server", "listen", right, wrong);
}

static void values__of_prefixes(void **state)
{
    (void)state;
    static const char *const right[] = {"*", "a", "a, b/c", "%00", "a%fFb", "\xff", "a=b", NULL};
    static const char *const wrong[] = {"a b", "a\tb", "%",    "%4", "%g0",
                                        "%0g", "%4/",  "a,,b", "a,", NULL};
    expect_values("token-a", "read", right, wrong);
}

static void values__of_origins(void **state)
{
    (void)state;
    static const char *const right[] = {
        "https://a.example", "http://localhost:3000",      "http://[::1]",
        "http://[::1]:80",   "http://10.0.0.1, https://b", NULL};
    static const char *const wrong[] = {"*",           "null",       "a.example",  "ftp://a",
                                        "http://",     "http://a/",  "http://a/b", "http://[::1",
                                        "http://[]",   "http://[x]", "http://u@a", "https://a,,b",
                                        "http://::1]", NULL};
    expect_values("server", "cors_origins", right, wrong);
}

static void values__of_hashes(void **state)
{
    (void)state;
    char hash[65] = HASH_B;
    for (const char *c = "09afAF"; *c; c++) {
        hash[63] = *c;
        assert_true(accepts("token-a", "sha256", hash));
    }
    for (const char *c = "/:@G`g{"; *c; c++) {
        hash[63] = *c;
        assert_false(accepts("token-a", "sha256", hash));
    }
}

static void values__of_names(void **state)
{
    (void)state;
    assert_true(accepts("token-a_b-9", "read", "*"));
    static const char *const wrong[] = {"token-a{", "token-a`", "token-a/",
                                        "token-a:", "tokens-a", "other-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(accepts(wrong[i], "read", "*"));
    static const char *const options[] = {"a{b", "a`b", "a@b", "a[b", "a/b", "a:b", "a.b"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        assert_false(accepts("server", options[i], "1"));
    char *why = refusal("f", SMALLEST "[server]\nno-such_option = 1\n", false);
    assert_non_null(strstr(why, "f:7: [server] no-such_option: unknown option; "));
    free(why);
}

// ---------------------------------------------------------------- memory

#if OWN_ALLOCATOR
static const char memory_text[] = STORE "[partition-1]\nsocket = s\nuser = u\n"
                                        "password_file = password\n"
                                        "[server]\naccess_log = -\n";

static enum error step_parse(void)
{
    struct conf *conf;
    struct bytes why = {0};
    enum error error = conf_parse(path_of("c.cfg"), SLICE(memory_text), true, &conf, &why);
    if (error ? conf != NULL : conf == NULL)
        error = ERROR_OUTCOME;
    conf_free(&conf);
    bytes_fini(&why);
    return error;
}

static enum error step_read(void)
{
    struct conf *conf;
    struct bytes why = {0};
    enum error error = conf_read(path_of("c.cfg"), &conf, &why);
    conf_free(&conf);
    bytes_fini(&why);
    return error;
}

static enum error step_refuse(void)
{
    struct conf *conf;
    struct bytes why = {0};
    enum error error = conf_parse("f", SLICE("x\n[store]\nq = 1\nq = 1\n"), true, &conf, &why);
    bytes_fini(&why);
    return error == ERROR_MALFORMED ? ERROR_NONE : error;
}

// step_refuse_much has more faults than there is room for at first, some of them doubled.
static enum error step_refuse_much(void)
{
    struct conf *conf;
    struct bytes why = {0}, text = {0};
    enum error error = ERROR_MEMORY;
    for (int i = 0; i < 20; i++)
        bytes_append_text(&text, "a = 1\nb\n");
    if (!bytes_failed(&text))
        error = conf_parse("f", bytes_slice(&text), false, &conf, &why);
    bytes_fini(&text);
    bytes_fini(&why);
    return error == ERROR_MALFORMED ? ERROR_NONE : error;
}

static enum error step_faults(void)
{
    struct faults faults = {0};
    struct bytes out = {0};
    for (unsigned line = 20; line; line--)
        bytes_append_text(faults_add(&faults, line), "wrong");
    assert_true(faults_any(&faults));
    enum error error = faults_write(&faults, "f", &out);
    if (!error)
        assert_int_equal(strncmp(out.data, "f:1: wrong\nf:2: wrong\n", 22), 0);
    faults_fini(&faults);
    bytes_fini(&out);
    return error;
}

static struct conf *printing;

static enum error step_print(void)
{
    struct bytes out = {0};
    conf_print(printing, &out);
    enum error error = bytes_failed(&out) ? ERROR_MEMORY : ERROR_NONE;
    bytes_fini(&out);
    return error;
}

static void conf_print__survives_every_failed_allocation(void **state)
{
    (void)state;
    printing = parse(SMALLEST);
    fail_each_allocation(step_print);
    conf_free(&printing);
}

static void conf_parse__survives_every_failed_allocation(void **state)
{
    (void)state;
    write_file("password", SLICE("secret\n"), 0600);
    write_file("c.cfg", SLICE(memory_text), 0600);
    fail_each_allocation(step_parse);
    fail_each_allocation(step_read);
    fail_each_allocation(step_refuse);
    fail_each_allocation(step_refuse_much);
    fail_each_allocation(step_faults);
}

static struct conf *adopting, *adopted_from;

static enum error step_adopt(void)
{
    struct bytes why = {0};
    char *before = adopting->server.access_log;
    enum error error = conf_adopt(adopting, adopted_from, &why);
    if (error && adopting->server.access_log != before)
        error = ERROR_OUTCOME;
    bytes_fini(&why);
    return error;
}

static enum error step_adopt_partitions(void)
{
    struct bytes why = {0};
    long left = calls_left;
    calls_left = LONG_MAX;
    struct conf *conf = parse(SMALLEST), *fresh = parse(SMALLEST "port = 1\npassword = SECRET\n");
    calls_left = left;
    enum error error = conf_adopt(conf, fresh, &why);
    calls_left = LONG_MAX;
    if (error && (conf->retired || conf->partition->port == 1))
        error = ERROR_OUTCOME;
    conf_free(&conf);
    conf_free(&fresh);
    bytes_fini(&why);
    return error;
}

static void conf_adopt__takes_nothing_when_memory_is_out(void **state)
{
    (void)state;
    fail_each_allocation(step_adopt_partitions);
    adopting = parse(SMALLEST "[server]\naccess_log = /a\n");
    adopted_from = parse(SMALLEST "[server]\naccess_log = /b\nthreads = 3\n");
    fail_each_allocation(step_adopt);
    assert_string_equal(adopting->server.access_log, "/b");
    conf_free(&adopting);
    conf_free(&adopted_from);
}
#else
static void conf_print__survives_every_failed_allocation(void **state)
{
    (void)state;
    skip();
}

static void conf_parse__survives_every_failed_allocation(void **state)
{
    (void)state;
    skip();
}

static void conf_adopt__takes_nothing_when_memory_is_out(void **state)
{
    (void)state;
    skip();
}
#endif

#define WITH_ENVIRONMENT(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, unset_environment, unset_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conf_parse__fills_in_the_defaults),
        cmocka_unit_test(conf_parse__fills_in_the_defaults_of_a_partition),
        cmocka_unit_test(conf_parse__takes_every_option),
        cmocka_unit_test(conf_parse__refuses_a_value_out_of_bounds),
        cmocka_unit_test(conf_parse__refuses_a_value_of_another_type),
        cmocka_unit_test(conf_parse__shows_values_safely),
        cmocka_unit_test(conf_parse__refuses_an_unknown_option_naming_the_known),
        cmocka_unit_test(conf_parse__refuses_an_unknown_section),
        cmocka_unit_test(conf_parse__reads_tokens),
        cmocka_unit_test(conf_parse__refuses_tokens_that_make_no_sense),
        cmocka_unit_test(conf_parse__refuses_more_tokens_than_there_may_be),
        cmocka_unit_test(conf_parse__wants_tokens_where_others_can_connect),
        cmocka_unit_test(conf_parse__refuses_an_option_of_another_section),
        cmocka_unit_test(conf_parse__refuses_a_missing_option),
        cmocka_unit_test(conf_parse__refuses_a_missing_section),
        cmocka_unit_test(conf_parse__keeps_the_number_of_a_partition_that_has_left),
        cmocka_unit_test(conf_parse__does_without_a_server_section),
        cmocka_unit_test(conf_parse__refuses_a_partition_beyond_the_number),
        cmocka_unit_test(conf_parse__refuses_more_acks_than_replicas),
        cmocka_unit_test(conf_parse__refuses_more_replicas_than_partitions),
        cmocka_unit_test(conf_parse__refuses_both_host_and_socket),
        cmocka_unit_test(conf_parse__refuses_a_port_with_a_socket),
        cmocka_unit_test(conf_parse__refuses_both_password_and_file),
        cmocka_unit_test(conf_parse__refuses_partitions_in_one_database),
        cmocka_unit_test(conf_parse__takes_partitions_in_two_databases_of_a_server),
        cmocka_unit_test(conf_parse__takes_a_thousand_partitions),
        cmocka_unit_test(conf_parse__refuses_a_password_cut_by_a_comment),
        cmocka_unit_test(conf_parse__refuses_what_ini_refuses_once),
        cmocka_unit_test(conf_parse__never_tells_a_password),
        cmocka_unit_test(conf_parse__tells_all_faults_in_order),
        cmocka_unit_test(conf_parse__makes_paths_absolute),
        cmocka_unit_test(conf_parse__refuses_a_path_that_becomes_too_long),
        cmocka_unit_test(conf_parse__puts_test_in_front_in_test_mode),
        cmocka_unit_test(conf_parse__refuses_a_test_database_outside_of_test_mode),
        cmocka_unit_test(conf_parse__refuses_a_name_too_long_for_test),
        cmocka_unit_test(password_file__gives_its_line_verbatim),
        cmocka_unit_test(password_file__that_others_may_read_or_write_is_refused),
        cmocka_unit_test(password_file__that_is_no_single_line_is_refused),
        cmocka_unit_test(password_file__that_is_not_there_is_refused),
        cmocka_unit_test(tls__of_clients_is_a_certificate_and_its_key),
        cmocka_unit_test(tls__keys_that_others_may_see_are_refused),
        cmocka_unit_test(tls__to_a_partition_needs_to_know_whom_to_trust),
        cmocka_unit_test(memory__leaves_room_beside_the_cache),
        WITH_ENVIRONMENT(conf_read__takes_the_mode_from_the_environment),
        WITH_ENVIRONMENT(conf_read__refuses_an_unknown_environment),
        WITH_ENVIRONMENT(conf_read__tells_why_a_file_cannot_be_read),
        WITH_ENVIRONMENT(conf_read__tells_the_faults_of_the_file),
        WITH_ENVIRONMENT(conf_read__refuses_a_file_that_others_may_see_into),
        cmocka_unit_test(conf_print__shows_everything_in_the_shortest_form),
        cmocka_unit_test(conf_print__shows_the_password_file_not_the_password),
        cmocka_unit_test(conf_print__is_read_back_as_the_same),
        cmocka_unit_test(conf_print__is_read_back_wherever_the_file_was),
        cmocka_unit_test(conf_adopt__takes_what_may_change),
        cmocka_unit_test(conf_adopt__keeps_and_names_what_needs_a_restart),
        cmocka_unit_test(conf_adopt__takes_how_a_partition_is_reached),
        cmocka_unit_test(conf_adopt__takes_the_partitions_that_both_have),
        cmocka_unit_test(conf_adopt__never_makes_two_partitions_of_one_database),
        cmocka_unit_test(conf_adopt__takes_all_tokens),
        cmocka_unit_test(conf_adopt__says_nothing_of_the_same),
        WITH_ENVIRONMENT(example__is_read),
        WITH_ENVIRONMENT(example__comments_the_defaults),
        WITH_ENVIRONMENT(example__names_every_option_of_store_and_server),
        WITH_ENVIRONMENT(conf_parse__survives_every_failed_allocation),
        cmocka_unit_test(conf_adopt__takes_nothing_when_memory_is_out),
        cmocka_unit_test(conf_print__survives_every_failed_allocation),
        cmocka_unit_test(values__of_hosts),
        cmocka_unit_test(values__of_addresses),
        cmocka_unit_test(values__of_prefixes),
        cmocka_unit_test(values__of_origins),
        cmocka_unit_test(values__of_hashes),
        cmocka_unit_test(values__of_names),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
