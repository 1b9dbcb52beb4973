// SPDX-License-Identifier: MIT
// One partition as one thread sees it: operations wait in two queues, reads and writes, until a
// connection is free, and then leave together: the busier the partition, the larger the batches.
#ifndef STORE_PARTITION_H
#define STORE_PARTITION_H

#include <event2/event.h>

#include "base/histogram.h"
#include "store/batch.h"

// What a thread has done with a partition; read by any thread.
struct partition_stats {
    counter operations;     // that were submitted
    counter diverts;        // writes among them that were taken for another home
    counter applied;        // rows among them that were brought from other partitions
    struct histogram reads; // operations in each statement
    struct histogram writes;
    counter queued;  // operations waiting now
    counter open;    // connections open now
    counter state;   // enum pool_state now
    counter durable; // innodb_flush_log_at_trx_commit is 1
    counter known;   // it has told how it is since it came up
};

struct partition;

struct partition_options {
    struct pool_options pool;
    unsigned batch;   // operations in one statement, at most
    size_t max_value; // bytes
    unsigned queue;   // operations waiting, at most
};

struct partition_events {
    // on_up: the partition can be asked now, or cannot any more.
    void (*on_up)(struct partition *partition, bool up, void *context);
    // on_watch and clock: see struct pool_events.
    void (*on_watch)(struct partition *partition, struct connection *connection, int64_t sent_us,
                     void *context);
    void (*clock)(struct partition *partition, struct pool_clock *clock, bool floor, void *context);
    void *context;
};

// partition_new makes a partition and starts to connect.
enum error partition_new(struct event_base *base, const struct partition_options *options,
                         const struct partition_events *events,
                         struct partition **partition) MUST_USE;

// partition_free closes the connections. Operations that were not answered are not answered any
// more: the owner waits for them first.
void partition_free(struct partition **partition);

// partition_submit queues an operation; its on_done follows from the loop within twice the
// statement timeout.
void partition_submit(struct partition *partition, struct operation *operation);

// partition_query sends a statement of its own, outside the queues, as soon as a connection is
// idle; see store/listing.c. `request` is the caller's until on_answer, which follows from the
// loop; the answer is NULL if nothing was sent: the partition is DOWN, or was busy for too long.
struct partition_request {
    struct slice sql;
    pool_on_answer *on_answer;
    void *context;
    struct list link; // private
    int64_t deadline; // private; clock_ms
};
void partition_query(struct partition *partition, struct partition_request *request);

// partition_cancel takes back a request that was not sent yet; false if it was, and on_answer
// follows.
bool partition_cancel(struct partition_request *request);

// partition_idle is true while nothing is queued and no statement is unanswered.
bool partition_idle(const struct partition *partition);

// partition_reload is pool_reload.
void partition_reload(struct partition *partition, const struct conf_partition *conf);

// partition_conf returns the present settings.
const struct conf_partition *partition_conf(const struct partition *partition);

// partition_exists is false for one that keeps only its number (conf_partition_exists).
bool partition_exists(const struct partition *partition);

unsigned partition_id(const struct partition *partition);

// partition_check_clock is pool_check_clock.
void partition_check_clock(struct partition *partition, int64_t partition_us);

const struct pool *partition_pool(const struct partition *partition);
const struct partition_stats *partition_stats(const struct partition *partition);

#endif
