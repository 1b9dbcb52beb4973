// SPDX-License-Identifier: MIT
#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

static struct {
    bool on;
    int64_t monotonic_us;
    int64_t unix_us;
} held;

static int64_t now_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_us(void)
{
    return held.on ? held.monotonic_us : now_us(CLOCK_MONOTONIC);
}

int64_t clock_ms(void)
{
    return clock_us() / 1000;
}

int64_t clock_unix_us(void)
{
    return held.on ? held.unix_us : now_us(CLOCK_REALTIME);
}

void clock_hold(int64_t monotonic_us, int64_t unix_us)
{
    held.monotonic_us = monotonic_us;
    held.unix_us = unix_us;
    held.on = true;
}

void clock_release(void)
{
    held.on = false;
}
