// SPDX-License-Identifier: MIT
// Slots: every key falls into one of 16384, the same here and in SQL (pairs.slot).
#ifndef STORE_SLOT_H
#define STORE_SLOT_H

#include "base/bytes.h"

enum {
    SLOT_COUNT = 16384,
};

// slot_of returns CRC32(key) & 16383 (the CRC of zlib and of MariaDB's CRC32()).
unsigned slot_of(struct slice key);

#endif
