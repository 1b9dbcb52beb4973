// SPDX-License-Identifier: MIT
// What needs no partition: how names become addresses, and how long that may take. The system's
// resolver is one of our own here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <mysql.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "store/connection.h"

enum {
    OPEN_MS = 100,
    COARSE_MS = 10, // that the loop may be early: its clock is the coarse one
    PATIENCE_MS = 20000,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;
static atomic_uint asked;

static int resolve(const char *host, struct addrinfo **found)
{
    struct addrinfo *one = calloc(1, sizeof *one);
    struct sockaddr_in *address = calloc(1, sizeof *address);
    *found = one;
    address->sin_family = AF_INET;
    address->sin_port = htons(1); // where nobody listens
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    one->ai_family = AF_INET;
    one->ai_socktype = SOCK_STREAM;
    one->ai_addr = (struct sockaddr *)address;
    one->ai_addrlen = sizeof *address;
    return strcmp(host, "unknown") == 0 ? EAI_NONAME : 0;
}

void freeaddrinfo(struct addrinfo *found)
{
    free(found->ai_addr);
    free(found);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    struct in_addr number;
    (void)service;
    (void)hints;
    if (inet_pton(AF_INET, host, &number) != 1) {
        pthread_mutex_lock(&lock);
        asked++;
        while (held)
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
    }
    int code = resolve(host, found);
    if (code)
        freeaddrinfo(*found);
    return code;
}

static void hold(bool hold_it)
{
    pthread_mutex_lock(&lock);
    held = hold_it;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

// One connection, and what became of it.
static struct {
    struct event_base *base;
    struct connection *connection;
    bool closed;
    enum error error;
    char why[256];
} one;

static void on_open(struct connection *connection, void *context)
{
    (void)connection;
    (void)context;
    abort();
}

static void on_answer(struct connection *connection, const struct answer *answer, void *context)
{
    (void)connection;
    (void)answer;
    (void)context;
    abort();
}

static void on_closed(struct connection *connection, enum error error, const char *why,
                      void *context)
{
    (void)connection;
    (void)context;
    one.closed = true;
    one.error = error;
    snprintf(one.why, sizeof one.why, "%s", why);
}

static int set_up(void **state)
{
    const struct connection_events events = {on_open, on_answer, on_closed, NULL};
    (void)state;
    memset(&one, 0, sizeof one);
    asked = 0;
    held = false;
    one.base = event_base_new();
    return connection_new(one.base, 1000, 1000, &events, &one.connection) != ERROR_NONE;
}

static int tear_down(void **state)
{
    static const struct timespec pause = {0, 1000 * 1000};
    (void)state;
    hold(false);
    connection_free(&one.connection);
    event_base_free(one.base);
    for (int i = 0; i < PATIENCE_MS && connection_opening(); i++)
        nanosleep(&pause, NULL);
    return connection_opening();
}

static struct conf_partition at(char *host)
{
    return (struct conf_partition){.id = 1,
                                   .host = host,
                                   .port = 1,
                                   .user = (char[]){"u"},
                                   .password = (char[]){""},
                                   .database = (char[]){"d"}};
}

static void wait_for_end(void)
{
    int64_t deadline = clock_ms() + PATIENCE_MS;
    while (!one.closed && clock_ms() < deadline)
        event_base_loop(one.base, EVLOOP_ONCE);
    assert_true(one.closed);
    one.closed = false;
}

static void expect(struct conf_partition *partition, const char *why)
{
    connection_open(one.connection, partition, OPEN_MS);
    wait_for_end();
    assert_int_equal(one.error, ERROR_UNAVAILABLE);
    assert_string_equal(one.why, why);
    assert_int_equal(connection_state(one.connection), CONNECTION_CLOSED);
}

// At once, or by the library a little later.
static void expect_refused(void)
{
    wait_for_end();
    assert_int_equal(one.error, ERROR_UNAVAILABLE);
    assert_true(strcmp(one.why, "Connection refused") == 0 ||
                strcmp(one.why, "Can't connect to server on '127.0.0.1' (111)") == 0);
}

static void connection_open__looks_up_a_name_each_time(void **state)
{
    (void)state;
    struct conf_partition partition = at((char[]){"db1"});
    for (unsigned i = 1; i <= 2; i++) {
        connection_open(one.connection, &partition, PATIENCE_MS);
        expect_refused();
        assert_int_equal(asked, i);
    }
}

static void connection_open__looks_up_no_number(void **state)
{
    (void)state;
    struct conf_partition partition = at((char[]){"127.0.0.1"});
    connection_open(one.connection, &partition, PATIENCE_MS);
    expect_refused();
    assert_int_equal(asked, 0);
    assert_false(connection_opening());
}

static void connection_open__names_what_cannot_be_resolved(void **state)
{
    (void)state;
    struct conf_partition partition = at((char[]){"unknown"});
    expect(&partition, "the name unknown cannot be resolved: Name or service not known");
    assert_false(connection_refused(one.connection)); // nobody knows
}

static void connection_open__looks_up_no_longer_than_its_time_out(void **state)
{
    (void)state;
    struct conf_partition partition = at((char[]){"db1"});
    hold(true);
    for (int i = 0; i < 3; i++) {
        int64_t before = clock_ms();
        expect(&partition, "the name db1 cannot be resolved: no answer in time");
        assert_true(clock_ms() - before >= OPEN_MS - COARSE_MS);
    }
    assert_true(connection_opening());
    assert_true(asked <= 1); // one thread, which all attempts wait for
}

static void connection_open__goes_on_with_a_late_answer(void **state)
{
    (void)state;
    struct conf_partition partition = at((char[]){"db1"});
    hold(true);
    expect(&partition, "the name db1 cannot be resolved: no answer in time");
    connection_open(one.connection, &partition, PATIENCE_MS);
    hold(false);
    expect_refused();
    assert_int_equal(asked, 1);
}

static void connection_abort__ends_a_look_up(void **state)
{
    (void)state;
    struct conf_partition partition = at((char[]){"db1"});
    hold(true);
    connection_open(one.connection, &partition, PATIENCE_MS);
    connection_abort(one.connection);
    assert_false(one.closed); // not from inside
    wait_for_end();
    assert_string_equal(one.why, "the name db1 cannot be resolved: no answer in time");
}

static void connection_free__ends_a_look_up(void **state)
{
    (void)state;
    struct conf_partition partition = at((char[]){"db1"});
    hold(true);
    connection_open(one.connection, &partition, PATIENCE_MS);
    connection_free(&one.connection);
    assert_true(connection_opening());
    event_base_loop(one.base, EVLOOP_NONBLOCK);
    assert_false(one.closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connection_open__looks_up_a_name_each_time, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(connection_open__looks_up_no_number, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connection_open__names_what_cannot_be_resolved, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(connection_open__looks_up_no_longer_than_its_time_out,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(connection_open__goes_on_with_a_late_answer, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(connection_abort__ends_a_look_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connection_free__ends_a_look_up, set_up, tear_down),
    };
    if (mysql_library_init(0, NULL, NULL))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mysql_library_end();
    return failed;
}
