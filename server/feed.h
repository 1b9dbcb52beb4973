// SPDX-License-Identifier: MIT
// The feed of a process: one follower of the change logs, on the first thread, for the listeners of
// all threads. What it tells lies in a journal in memory, which each listener reads at its own
// pace; who falls behind the journal's beginning has lost it. The journal's position, a token, is
// always that of its end: who reads the logs from an older token up to it, and then the journal,
// misses nothing.
//
// The follower runs while somebody listens, and a little longer: listeners come back. It also keeps
// the hot values true (store/hot.h), and then runs always.
#ifndef SERVER_FEED_H
#define SERVER_FEED_H

#include <event2/event.h>

#include "base/counter.h"
#include "store/follow.h"

struct feed;
struct store;
struct workers;

// What the listeners of a process and the follower count.
struct feed_stats {
    atomic_uint_least64_t listeners; // now
    atomic_uint_least64_t events;    // that were told
    atomic_uint_least64_t entries;   // of the logs that were read
    atomic_uint_least64_t dropped;   // listeners that were too slow
};

// An event, ready to be sent; texts are valid during the visit only.
struct feed_event {
    bool dead;
    unsigned partition; // in whose log it is
    uint64_t seq;       // and its number there
    uint64_t version;
    struct slice key;
    struct slice token;   // the position behind it
    struct slice members; // of its JSON object, without braces, token and value
    struct slice value;   // the member with the value, with a comma before it; may be empty
};

// feed_new: `partitions` as configured; `workers` are told when there is something new
// (worker_wake).
enum error feed_new(struct workers *workers, unsigned partitions, struct feed **feed) MUST_USE;
void feed_free(struct feed **feed);

// feed_join and feed_leave count the listeners, and those who want values; any thread.
void feed_join(struct feed *feed, bool values);
void feed_leave(struct feed *feed, bool values);

// feed_run starts and stops the follower as it is needed; on the first thread, several times a
// second and whenever it was woken. feed_stop ends it for good.
void feed_run(struct feed *feed, struct event_base *base, struct store *store);
void feed_stop(struct feed *feed);

// What a listener asks of the journal before it begins there.
struct feed_wish {
    // clock_us; what was committed before it is in the journal or in its position, but for rows
    // that SQL wrote and somebody has locked: those come when they have got their entry.
    int64_t since_us;
    bool values; // events come with values
};

// feed_now returns the journal's position (all of it, appended to `token`), the number of its next
// event, and its generation; false if that is not as wished yet: all threads are woken when it is.
bool feed_now(struct feed *feed, const struct feed_wish *wish, struct bytes *token, uint64_t *next,
              uint64_t *generation);

enum feed_result {
    FEED_END,  // there is nothing more now
    FEED_FULL, // the visitor wanted no more
    FEED_LOST, // the journal begins later, or began anew: log trimmed, follower stopped
};

// feed_read visits the events from number *next on, of that generation, and counts *next up. The
// visitor returns false to be given no more; it runs under the feed's lock.
enum feed_result feed_read(struct feed *feed, uint64_t generation, uint64_t *next,
                           bool (*visit)(const struct feed_event *event, void *context),
                           void *context);

// feed_told returns the greatest version of a key that was told of late; 0 if it is not remembered.
uint64_t feed_told(struct feed *feed, struct slice key);

// feed_write_members appends what an entry's JSON object has beside token and value, without
// braces; feed_write_value the member with the value, with a comma before it, or nothing.
void feed_write_members(const struct follow_entry *entry, struct bytes *out);
void feed_write_value(const struct follow_entry *entry, struct bytes *out);

struct feed_stats *feed_stats(struct feed *feed);

#endif
