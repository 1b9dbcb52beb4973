// SPDX-License-Identifier: MIT
// Versions: (microseconds since 1970 UTC << 10) | id of the partition that gave it. They order the
// writes of a key and are its entity tag. The partitions' triggers make them, nobody else.
#ifndef STORE_VERSION_H
#define STORE_VERSION_H

#include <stdint.h>

enum {
    VERSION_PARTITION_BITS = 10,
};

// How far the clocks of the partitions may be apart: a version further in the future is not
// accepted, neither here nor by the triggers of database_definition.sql.
#define CLOCK_BOUND_US INT64_C(5000000)

static inline int64_t version_unix_us(uint64_t version)
{
    return (int64_t)(version >> VERSION_PARTITION_BITS);
}

static inline int64_t version_unix_seconds(uint64_t version)
{
    return version_unix_us(version) / 1000000;
}

// version_partition returns the id of the partition that gave the version; 0 when a SQL connection
// that is not Sherd's made it.
static inline unsigned version_partition(uint64_t version)
{
    return (unsigned)(version & ((1u << VERSION_PARTITION_BITS) - 1));
}

// version_at returns the smallest version that can be given at or after the second `unix_seconds`;
// 0 before 1970, the largest there is beyond what versions can express (the year 2541).
static inline uint64_t version_at(int64_t unix_seconds)
{
    const int64_t last = (int64_t)((UINT64_MAX >> VERSION_PARTITION_BITS) / 1000000);
    if (unix_seconds > last)
        return UINT64_MAX;
    return unix_seconds < 0 ? 0 : (uint64_t)unix_seconds * 1000000 << VERSION_PARTITION_BITS;
}

#endif
