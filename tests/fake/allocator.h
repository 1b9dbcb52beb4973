// SPDX-License-Identifier: MIT
// The allocator of the C library, that fails at the n-th call and counts what was not freed. The
// sanitizers bring their own: OWN_ALLOCATOR is 0 with them.
#ifndef TESTS_FAKE_ALLOCATOR_H
#define TESTS_FAKE_ALLOCATOR_H

#include <limits.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define OWN_ALLOCATOR 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define OWN_ALLOCATOR 0
#endif
#ifndef OWN_ALLOCATOR
#define OWN_ALLOCATOR 1
#endif

#if OWN_ALLOCATOR
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static _Thread_local long calls_left = LONG_MAX; // until an allocation fails, and all after it
static _Thread_local long alive;
static _Thread_local long alive_bytes; // with what the allocator needs itself

static bool refused(void)
{
    if (calls_left == LONG_MAX)
        return false;
    if (calls_left == 0)
        return true;
    calls_left--;
    return false;
}

static void *counted(void *p, int sign)
{
    alive += p ? sign : 0;
    alive_bytes += p ? sign * (long)(malloc_usable_size(p) + sizeof(size_t)) : 0;
    return p;
}

void *malloc(size_t size)
{
    return refused() ? NULL : counted(__libc_malloc(size), 1);
}

void *calloc(size_t count, size_t size)
{
    return refused() ? NULL : counted(__libc_calloc(count, size), 1);
}

void *realloc(void *p, size_t size)
{
    if (refused())
        return NULL;
    counted(p, -1);
    return counted(__libc_realloc(p, size), 1);
}

void free(void *p)
{
    __libc_free(counted(p, -1));
}

// fail_each_allocation runs `step` with 0, 1, 2 ... allocations, until it works; before that it
// must say that memory is out, and never leak.
__attribute__((unused)) static void fail_each_allocation(enum error (*step)(void))
{
    enum error error = ERROR_MEMORY;
    for (long n = 0; error == ERROR_MEMORY; n++) {
        long before = alive;
        calls_left = n;
        error = step();
        calls_left = LONG_MAX;
        assert_int_equal(alive, before);
        assert_true(n < 1000);
    }
    assert_int_equal(error, ERROR_NONE);
}
#else
__attribute__((unused)) static void fail_each_allocation(enum error (*step)(void))
{
    assert_int_equal(step(), ERROR_NONE); // where nothing can be made to fail
}
#endif

#endif
