// SPDX-License-Identifier: MIT
// The one door through which time comes, so that tests can hold it.
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

// clock_ms returns milliseconds of a clock that never goes back: for deadlines and durations.
int64_t clock_ms(void);

// clock_us is clock_ms in microseconds.
int64_t clock_us(void);

// clock_unix_us returns microseconds since 1970-01-01 UTC: for what people and databases read.
int64_t clock_unix_us(void);

// clock_hold makes both clocks stand still at the given microseconds; clock_release lets them run.
// For tests.
void clock_hold(int64_t monotonic_us, int64_t unix_us);
void clock_release(void);

#endif
