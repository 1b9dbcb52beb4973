// SPDX-License-Identifier: MIT
#include "base/random.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>

static _Thread_local struct {
    bool on;
    uint64_t state;
} seeded;

// The seeded sequence is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
// generators, 2014).
static uint32_t seeded_next(void)
{
    seeded.state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = seeded.state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

uint32_t random_below(uint32_t bound)
{
    if (bound < 2)
        return 0;
    return seeded.on ? (uint32_t)(((uint64_t)seeded_next() * bound) >> 32)
                     : randombytes_uniform(bound);
}

void random_secret(void *to, size_t len)
{
    randombytes_buf(to, len);
}

void random_uuid(char to[static 37])
{
    unsigned char bytes[16];
    random_secret(bytes, sizeof bytes);
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40); // the version
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80); // the variant
    char *at = to;
    for (size_t i = 0; i < sizeof bytes; i++)
        at += sprintf(at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", bytes[i]);
}

void random_seed(uint64_t seed)
{
    seeded.on = true;
    seeded.state = seed;
}
