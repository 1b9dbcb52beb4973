// SPDX-License-Identifier: MIT
#include "server/stats.h"

void stats_count(struct stats *stats, enum method method, unsigned status, int64_t us)
{
    if (status < STATS_STATUS_MAX)
        counter_add(&stats->requests[method][status], 1);
    histogram_add(&stats->latency, STATS_LATENCY_FIRST_US, us < 0 ? 0 : (uint64_t)us);
}
