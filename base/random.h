// SPDX-License-Identifier: MIT
// The one door through which randomness comes, so that tests can hold it.
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

// random_below returns a number from 0 to bound - 1, evenly distributed; 0 when bound is 0.
uint32_t random_below(uint32_t bound);

// random_secret fills `to` with bytes that nobody can guess, seeded or not.
void random_secret(void *to, size_t len);

// random_uuid writes a random UUID (RFC 9562, version 4) as text, 36 bytes and a NUL.
void random_uuid(char to[static 37]);

// random_seed makes the sequence of this thread repeatable; for tests.
void random_seed(uint64_t seed);

#endif
