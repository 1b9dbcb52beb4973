// SPDX-License-Identifier: MIT
// How fast sync may write: rows and bytes a second over all threads, and considerately.
#ifndef SYNC_THROTTLE_H
#define SYNC_THROTTLE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

// A bucket for each: it runs full at its rate, for at most a second, and may be overdrawn.
struct throttle {
    pthread_mutex_t lock;
    uint64_t rows_per_second; // 0 = no limit
    uint64_t bytes_per_second;
    double rows;
    double bytes;
    int64_t filled_us; // clock_us
};

void throttle_init(struct throttle *throttle, uint64_t rows_per_second, uint64_t bytes_per_second);
void throttle_fini(struct throttle *throttle);

// throttle_due takes so much and returns for how many microseconds the caller must wait first.
int64_t throttle_due(struct throttle *throttle, size_t rows, size_t bytes);

// throttle_wait is throttle_due and waits.
void throttle_wait(struct throttle *throttle, size_t rows, size_t bytes);

// throttle_spare rests after a write that took `us`, if that shows that the partition is busy.
void throttle_spare(int64_t us);

#endif
