// SPDX-License-Identifier: MIT
// What a thread counts of its clients; any thread reads it.
#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include <stdint.h>

#include "base/histogram.h"
#include "server/route.h"

enum {
    STATS_STATUS_MAX = 600,
    STATS_LATENCY_FIRST_US = 16, // the first bucket of latencies; they double up to 2 s
};

struct stats {
    counter requests[METHODS + 1][STATS_STATUS_MAX]; // answered, by method and status
    struct histogram latency;                        // microseconds from head to last byte
    counter clients;                                 // connected now
    counter accepted;
    counter refused; // over the limit of clients
    counter bytes_in;
    counter bytes_out;
};

// stats_count counts an answered request.
void stats_count(struct stats *stats, enum method method, unsigned status, int64_t us);

#endif
