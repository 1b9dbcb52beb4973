// SPDX-License-Identifier: MIT
#include "sync/throttle.h"

#include <time.h>

#include "base/clock.h"

enum {
    BUSY_US = 100 * 1000,      // a batch that takes longer meets a busy partition
    REST_MAX_US = 2000 * 1000, // after it
};

void throttle_init(struct throttle *t, uint64_t rows_per_second, uint64_t bytes_per_second)
{
    *t = (struct throttle){.rows_per_second = rows_per_second,
                           .bytes_per_second = bytes_per_second,
                           .filled_us = clock_us()};
    pthread_mutex_init(&t->lock, NULL);
}

void throttle_fini(struct throttle *t)
{
    pthread_mutex_destroy(&t->lock);
}

// take lets `level` rise for `seconds`, takes `amount` and returns the microseconds until it is
// back at zero.
static double take(double *level, uint64_t rate, double seconds, size_t amount)
{
    if (rate == 0)
        return 0;
    *level += seconds * (double)rate;
    if (*level > (double)rate)
        *level = (double)rate;
    double due = *level < 0 ? -*level / (double)rate : 0;
    *level -= (double)amount;
    return due * 1e6;
}

int64_t throttle_due(struct throttle *t, size_t rows, size_t bytes)
{
    pthread_mutex_lock(&t->lock);
    int64_t now = clock_us();
    double seconds = (double)(now - t->filled_us) / 1e6;
    t->filled_us = now;
    double for_rows = take(&t->rows, t->rows_per_second, seconds, rows);
    double for_bytes = take(&t->bytes, t->bytes_per_second, seconds, bytes);
    pthread_mutex_unlock(&t->lock);
    return (int64_t)(for_rows > for_bytes ? for_rows : for_bytes);
}

static void rest(int64_t us)
{
    struct timespec pause = {us / 1000000, us % 1000000 * 1000};
    if (us > 0)
        nanosleep(&pause, NULL);
}

void throttle_wait(struct throttle *t, size_t rows, size_t bytes)
{
    rest(throttle_due(t, rows, bytes));
}

void throttle_spare(int64_t us)
{
    if (us > BUSY_US)
        rest(us < REST_MAX_US ? us : REST_MAX_US);
}
