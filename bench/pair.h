// SPDX-License-Identifier: MIT
// The pairs of the benchmark. A key is a prefix of four bytes and six digits: key:000000,
// key:000001 and so on. A value is its key again and again, then ten digits that change with every
// write, so that whoever reads it knows whether it belongs to the key, and who wrote it.
// bench/wrk.lua and bench/load.py know the same.
#ifndef BENCH_PAIR_H
#define BENCH_PAIR_H

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    PREFIX_LEN = 4,
    KEY_LEN = 10,
    DIGITS_LEN = 10,
    VALUE_MIN = KEY_LEN + DIGITS_LEN,
    VALUE_MAX = 1000000,
    KEYS_MAX = 1000000,
};

static inline void pair_key(char key[KEY_LEN + 1], const char *prefix, uint32_t number)
{
    memcpy(key, prefix, PREFIX_LEN);
    for (int i = KEY_LEN - 1; i >= PREFIX_LEN; i--, number /= 10)
        key[i] = (char)('0' + number % 10);
    key[KEY_LEN] = '\0';
}

// pair_value writes a value of `size` bytes, a multiple of ten, and a NUL.
static inline void pair_value(char *value, size_t size, const char key[KEY_LEN + 1],
                              uint64_t digits)
{
    for (size_t i = 0; i + DIGITS_LEN < size; i += KEY_LEN)
        memcpy(value + i, key, KEY_LEN);
    snprintf(value + size - DIGITS_LEN, DIGITS_LEN + 1, "%010llu",
             (unsigned long long)digits % 10000000000);
}

// pair_right tells whether these bytes are a value of the key, whoever wrote it.
static inline bool pair_right(const char *value, size_t len, size_t size,
                              const char key[KEY_LEN + 1])
{
    if (len != size)
        return false;
    for (size_t i = 0; i + DIGITS_LEN < size; i += KEY_LEN)
        if (memcmp(value + i, key, KEY_LEN) != 0)
            return false;
    for (size_t i = size - DIGITS_LEN; i < size; i++)
        if (!isdigit((unsigned char)value[i]))
            return false;
    return true;
}

#endif
