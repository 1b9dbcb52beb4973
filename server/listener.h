// SPDX-License-Identifier: MIT
// A listener of GET /changes: what it is and how it is answered. What it is told comes from
// server/present.c (LISTS), server/past.c (READS) and server/changes.c (LIVE).
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include <event2/event_struct.h>

#include "server/debt.h"
#include "server/feed.h"
#include "server/request.h"
#include "server/worker.h"
#include "store/listing.h"

enum since {
    SINCE_NOW,
    SINCE_START,
    SINCE_TOKEN,
};

enum listener_state {
    LISTENER_NEW,   // the head has come
    LISTENER_WAITS, // for the journal
    LISTENER_LISTS, // the present state
    LISTENER_READS, // the change logs, up to the journal
    LISTENER_LIVE,
    LISTENER_OVER,
};

struct fetch;

struct listener {
    enum listener_state state;
    struct request *request;
    struct list link; // in the list of its state
    enum since since;
    bool values;
    bool began;          // the head of the answer is out
    bool late;           // a poll's time is up
    bool listed;         // the present state, to its end
    unsigned wait;       // seconds
    uint64_t limit;      // 0 = none
    uint64_t told;       // events
    uint64_t next;       // in the journal
    uint64_t generation; // of the journal
    int64_t asked_us;    // clock_us, when it began to wait for the journal
    int64_t sent;        // clock_ms; when it began to wait, when something was sent last
    struct token *from;  // of SINCE_TOKEN; what the logs are read from
    struct listing *listing;
    struct follow *follow;
    struct token *until; // of follow
    struct debt *debt;
    struct fetch *fetch; // of server/present.c, while a list is told with values
    unsigned fetching;   // under way
    unsigned fetched;    // in fetch
    struct bytes token;  // of the last event; the position that a list began with
    struct bytes out;    // what was not sent yet; all of a poll's events
    struct bytes stale;  // the partitions of listener_note_stale, a uint16_t each
    struct event timer;  // a poll's time
    size_t prefix_len;
    char prefix[];
};

// One event on its way to a listener.
struct news {
    bool dead;
    struct slice token;
    struct slice after; // in a list: the item's key, which is a part of the token
    struct slice members;
    struct slice value;
};

struct worker *listener_worker(const struct listener *listener);
struct feed *listener_feed(const struct listener *listener);
unsigned listener_partitions(const struct listener *listener);

// listener_hears tells whether changes of that key are for it.
bool listener_hears(const struct listener *listener, struct slice key);

// listener_is_poll: it wants one answer, not a stream.
bool listener_is_poll(const struct listener *listener);

// listener_set_state moves it to the list of that state, and in the end frees what it reads with.
void listener_set_state(struct listener *listener, enum listener_state state);

// listener_drop_reading ends listing and follow; listener_owe gives it a debt, which it owns, and
// listener_drop_debt takes it away.
void listener_drop_reading(struct listener *listener);
void listener_owe(struct listener *listener, struct debt *debt);
void listener_drop_debt(struct listener *listener);

// listener_write_token appends the token of an event, at a client's length. Partitions that are
// owed are where they were.
void listener_write_token(const struct listener *listener, const struct news *news,
                          struct bytes *out);

// listener_write appends an event in the listener's form to what it is sent; listener_tell a put or
// a delete, which counts.
void listener_write(struct listener *listener, const char *event, const struct news *news);
void listener_tell(struct listener *listener, const struct news *news);

// listener_has_piece: a stream has enough to be sent. listener_is_full: no more events are wanted.
bool listener_has_piece(const struct listener *listener);
bool listener_is_full(const struct listener *listener);

// listener_note_stale has the answer's head, if that is not out, name the partition: it could know
// something newer than what is listed.
void listener_note_stale(struct listener *listener, uint16_t partition);

// listener_send sends what was written to a stream; the listener may be OVER then.
void listener_send(struct listener *listener);

// listener_end ends the answer: a stream after what was sent, a poll with all that was gathered.
// listener_fail answers with an error, or cuts off what has begun.
void listener_end(struct listener *listener);
void listener_fail(struct listener *listener, unsigned status, const char *detail);

#endif
