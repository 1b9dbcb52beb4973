// SPDX-License-Identifier: MIT
// Versions: (microseconds since 1970 UTC << 10) | id of the partition that gave it. They order the
// writes of a key and are its entity tag. The partitions give them, in the statements that write.
#ifndef STORE_VERSION_H
#define STORE_VERSION_H

#include <stdbool.h>
#include <stdint.h>

enum {
    VERSION_PARTITION_BITS = 10,
};

// How far the clocks of the partitions may be apart: a version further in the future is not
// accepted, neither here nor by the functions of database_definition.sql.
#define CLOCK_BOUND_US INT64_C(5000000)

static inline int64_t version_unix_us(uint64_t version)
{
    return (int64_t)(version >> VERSION_PARTITION_BITS);
}

static inline int64_t version_unix_seconds(uint64_t version)
{
    return version_unix_us(version) / 1000000;
}

// A version so far ahead of the time when SQL wrote the row was put there by SQL: it counts for
// nothing.
#define VERSION_BELIEVED_US UINT64_C(86400000000)

// version_effective returns the version of a row with that in its column when an SQL client wrote
// it last, at `touched_us` (microseconds since 1970 UTC): what stamping will store. It depends on
// nothing but the row, so that all readers agree before and after. store/query.c says the same.
static inline uint64_t version_effective(uint64_t version, uint64_t touched_us)
{
    uint64_t next_us = (version >> VERSION_PARTITION_BITS) + 1;
    bool next = next_us > touched_us && next_us <= touched_us + VERSION_BELIEVED_US;
    return (next ? next_us : touched_us) << VERSION_PARTITION_BITS;
}

// version_partition returns the id of the partition that gave the version; 0 when a SQL client
// wrote the pair.
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
