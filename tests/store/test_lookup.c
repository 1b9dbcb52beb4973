// SPDX-License-Identifier: MIT
// The system's resolver is one of our own here, which answers when, and what, the test says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/lookup.h"

enum {
    PATIENCE_MS = 20000,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held; // no answer yet
static int code;  // of the answer
static unsigned asked;

// What the system gives: two addresses.
static struct addrinfo *new_found(void)
{
    struct addrinfo *found = calloc(2, sizeof *found);
    struct sockaddr_in *address = calloc(2, sizeof *address);
    for (int i = 0; i < 2; i++) {
        address[i].sin_family = AF_INET;
        address[i].sin_addr.s_addr = htonl(0x0a000001u + (unsigned)i);
        found[i].ai_family = AF_INET;
        found[i].ai_addr = (struct sockaddr *)&address[i];
        found[i].ai_addrlen = sizeof address[i];
    }
    found[0].ai_next = &found[1];
    return found;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    (void)host;
    (void)service;
    (void)hints;
    pthread_mutex_lock(&lock);
    asked++;
    while (held)
        pthread_cond_wait(&changed, &lock);
    int answer = code;
    pthread_mutex_unlock(&lock);
    if (answer == 0)
        *found = new_found();
    errno = EMFILE; // which counts only with EAI_SYSTEM
    return answer;
}

void freeaddrinfo(struct addrinfo *found)
{
    free(found->ai_addr);
    free(found);
}

static void resolver(bool hold, int answer)
{
    pthread_mutex_lock(&lock);
    held = hold;
    code = answer;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static unsigned asked_so_far(void)
{
    pthread_mutex_lock(&lock);
    unsigned count = asked;
    pthread_mutex_unlock(&lock);
    return count;
}

static struct lookup *begin(const char *host)
{
    struct lookup *lookup;
    assert_int_equal(lookup_new(host, &lookup), 0);
    return lookup;
}

static bool is_done(const struct lookup *lookup, int timeout_ms)
{
    struct pollfd ready = {.fd = lookup_fd(lookup), .events = POLLIN};
    return poll(&ready, 1, timeout_ms) == 1;
}

static void expect_address(struct lookup *lookup, const char *address)
{
    const char *why;
    assert_true(is_done(lookup, PATIENCE_MS));
    assert_string_equal(lookup_address(lookup, &why), address);
    assert_string_equal(why, "");
}

static void expect_failure(struct lookup *lookup, const char *expected)
{
    const char *why;
    assert_true(is_done(lookup, PATIENCE_MS));
    assert_null(lookup_address(lookup, &why));
    assert_string_equal(why, expected);
}

static void wait_until_nothing_runs(void)
{
    static const struct timespec pause = {0, 1000 * 1000};
    for (int i = 0; i < PATIENCE_MS && lookup_running(); i++)
        nanosleep(&pause, NULL);
    assert_false(lookup_running());
}

static void wait_until_asked(unsigned count)
{
    static const struct timespec pause = {0, 1000 * 1000};
    for (int i = 0; i < PATIENCE_MS && asked_so_far() < count; i++)
        nanosleep(&pause, NULL);
    assert_int_equal(asked_so_far(), count);
}

static void lookup_needed__is_false_for_numbers(void **state)
{
    (void)state;
    static const char *const numbers[] = {"127.0.0.1", "::1", "fe80::1", "::ffff:10.0.0.1"};
    static const char *const names[] = {"localhost", "db1", "db1.example.com", "10.example"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_false(lookup_needed(numbers[i]));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(lookup_needed(names[i]));
}

static void lookup_address__is_the_first_that_the_system_gives(void **state)
{
    (void)state;
    resolver(false, 0);
    struct lookup *lookup = begin("db1");
    expect_address(lookup, "10.0.0.1");
    lookup_free(&lookup);
    assert_null(lookup);
    wait_until_nothing_runs();
}

static void lookup_address__says_why_there_is_none(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *why;
    } cases[] = {{EAI_NONAME, "Name or service not known"}, {EAI_SYSTEM, "Too many open files"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        resolver(false, cases[i].code);
        struct lookup *lookup = begin("db1");
        expect_failure(lookup, cases[i].why);
        lookup_free(&lookup);
    }
    wait_until_nothing_runs();
}

static void lookup_new__shares_what_is_under_way(void **state)
{
    (void)state;
    unsigned before = asked_so_far();
    const char *why;
    resolver(true, 0);
    struct lookup *one = begin("db1"), *two = begin("db1"), *other = begin("db2");
    wait_until_asked(before + 2);
    assert_false(is_done(one, 0) || is_done(two, 0) || is_done(other, 0));
    assert_null(lookup_address(one, &why));
    assert_string_equal(why, "no answer in time");
    resolver(false, 0);
    expect_address(one, "10.0.0.1");
    lookup_free(&one);
    expect_address(two, "10.0.0.1");
    expect_address(other, "10.0.0.1");
    lookup_free(&two);
    lookup_free(&other);
    wait_until_nothing_runs();
    assert_int_equal(asked_so_far(), before + 2);
}

static void lookup_new__asks_again_each_time(void **state)
{
    (void)state;
    unsigned before = asked_so_far();
    resolver(false, 0);
    struct lookup *one = begin("db1");
    expect_address(one, "10.0.0.1");
    struct lookup *two = begin("db1");
    expect_address(two, "10.0.0.1");
    assert_int_equal(asked_so_far(), before + 2);
    lookup_free(&one);
    lookup_free(&two);
    wait_until_nothing_runs();
}

static void lookup_free__leaves_a_late_one_behind(void **state)
{
    (void)state;
    unsigned before = asked_so_far();
    resolver(true, EAI_AGAIN);
    struct lookup *late = begin("db1");
    lookup_free(&late);
    assert_true(lookup_running());
    struct lookup *later = begin("db1"); // joins it
    resolver(false, EAI_AGAIN);
    expect_failure(later, "no answer in time"); // the same reason each time, for the log's sake
    lookup_free(&later);
    wait_until_nothing_runs();
    assert_int_equal(asked_so_far(), before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookup_needed__is_false_for_numbers),
        cmocka_unit_test(lookup_address__is_the_first_that_the_system_gives),
        cmocka_unit_test(lookup_address__says_why_there_is_none),
        cmocka_unit_test(lookup_new__shares_what_is_under_way),
        cmocka_unit_test(lookup_new__asks_again_each_time),
        cmocka_unit_test(lookup_free__leaves_a_late_one_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
