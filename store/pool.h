// SPDX-License-Identifier: MIT
// The connections of one thread to one partition, and the circuit breaker over them.
//
//   STARTING -> UP <-> DOWN
//
// While the pool is UP a lost connection is opened again at once. It goes DOWN when a statement
// gets no answer in time, when no connection is left and none can be opened, or when its clock has
// run away; then all its connections are closed and a single one is tried again and again, after a
// pause that doubles from 50 to 500 ms.
//
// A connection of its own asks the partition several times a second how it is: the answer keeps the
// outlook fresh, and a partition that gives none for POOL_WATCH_TIMEOUT_MS is DOWN, however long
// statements may take.
//
// When the settings of the partition change (pool_reload) each connection is opened anew as soon as
// nothing is under way on it.
#ifndef STORE_POOL_H
#define STORE_POOL_H

#include "store/connection.h"

enum {
    POOL_WATCH_MS = 250,
    POOL_WATCH_TIMEOUT_MS = 650, // together: known to be away within a second
};

enum pool_state {
    POOL_STARTING, // the first attempt to connect is under way
    POOL_UP,
    POOL_DOWN,
};

struct pool;

// What the clocks show, in microseconds since 1970 UTC.
struct pool_clock {
    int64_t now_us;       // in all likelihood
    int64_t least_us;     // the partition's clock, at least
    int64_t partition_us; // the partition's clock, at most
    int64_t floor_us;     // above all versions that were or may yet be given; if asked for
};

struct pool_events {
    // on_change: the state changed or a connection became idle.
    void (*on_change)(struct pool *pool, void *context);
    // on_watch: the partition answered query_watch; the rows are read from `connection` during the
    // call. `sent_us` is clock_unix_us when the question left.
    void (*on_watch)(struct pool *pool, struct connection *connection, int64_t sent_us,
                     void *context);
    // clock sets what the clocks are known to show; `floor`: a floor is wanted.
    void (*clock)(struct pool_clock *clock, bool floor, void *context);
    void *context;
};

// pool_on_answer gets a statement's end. Rows are read from `connection` during the call.
typedef void pool_on_answer(struct connection *connection, const struct answer *answer,
                            void *context);

struct pool_options {
    const struct conf_partition *partition; // borrowed for good
    unsigned connections;
    unsigned timeout_ms;        // of a statement
    uint64_t max_packet_needed; // bytes
    bool speaks; // logs what happens to the partition: one thread does, the others would repeat it
};

// pool_new makes a pool and starts to connect.
enum error pool_new(struct event_base *base, const struct pool_options *options,
                    const struct pool_events *events, struct pool **pool) MUST_USE;

// pool_free closes everything; callbacks do not come any more. Not from inside a callback.
void pool_free(struct pool **pool);

// pool_reload has other settings for the partition, borrowed for good, take the place of the
// present ones.
void pool_reload(struct pool *pool, const struct conf_partition *partition);

enum pool_state pool_state(const struct pool *pool);

// pool_idle returns how many connections can take a statement now; 0 unless the pool is UP.
unsigned pool_idle(const struct pool *pool);

// pool_open returns how many connections are open, idle or busy.
unsigned pool_open(const struct pool *pool);

// pool_busy returns how many statements are unanswered.
unsigned pool_busy(const struct pool *pool);

// pool_query sends a statement on an idle connection (pool_idle > 0). `sql` is borrowed until
// `on_answer`, which follows.
void pool_query(struct pool *pool, struct slice sql, pool_on_answer *on_answer, void *context);

// pool_clock tells what the clocks show now; `floor`: a floor is wanted.
void pool_clock(struct pool *pool, bool floor, struct pool_clock *clock);

// pool_check_clock takes the partition for DOWN if its clock, which shows `partition_us`, has run
// away.
void pool_check_clock(struct pool *pool, int64_t partition_us);

// pool_silent is true if the pool went DOWN because the partition does not answer: it may wake up
// and carry out what it was sent.
bool pool_silent(const struct pool *pool);

// pool_check returns what the partition said of itself last; all zero before it ever answered.
const struct check *pool_check(const struct pool *pool);

// pool_misconfigured is true when the last attempt failed in a way that trying again cannot mend;
// pool_why says why the last attempt failed, "" if it did not.
bool pool_misconfigured(const struct pool *pool);
const char *pool_why(const struct pool *pool);

#endif
