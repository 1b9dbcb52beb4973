// SPDX-License-Identifier: MIT
#include "store/slot.h"

#include <zlib.h>

unsigned slot_of(struct slice key)
{
    return (unsigned)(crc32_z(0, (const unsigned char *)key.data, key.len) & (SLOT_COUNT - 1));
}
