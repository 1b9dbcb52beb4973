// SPDX-License-Identifier: MIT
// One connection to one partition, driven by the event loop: the only file that calls the client
// library's networked functions.
//
//   CLOSED -> CONNECTING -> PREPARING -> IDLE <-> BUSY
//      ^----------------------------------------- from everywhere
//
// All callbacks come from the loop, never from inside a call.
#ifndef STORE_CONNECTION_H
#define STORE_CONNECTION_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "conf/conf.h"
#include "store/row.h"

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_CONNECTING, // the name is looked up, the client library connects and signs in
    CONNECTION_PREPARING,  // session settings, then the check of the schema
    CONNECTION_IDLE,
    CONNECTION_BUSY,
};

struct connection;

// What a statement came to. Rows are read with connection_row, during the callback only.
struct answer {
    enum error
        error;     // ERROR_NONE; _REJECTED: the server refused, see code; _OUTCOME: connection lost
    unsigned code; // the server's error number, with ERROR_REJECTED
    const char *text; // the server's or the library's message, with an error
    bool timed_out;   // with ERROR_OUTCOME: the deadline ended it
};

struct connection_events {
    // on_open: the connection is IDLE for the first time.
    void (*on_open)(struct connection *connection, void *context);
    // on_answer: the statement of connection_query ended; the connection is IDLE, or CLOSED if
    // answer->error is ERROR_OUTCOME.
    void (*on_answer)(struct connection *connection, const struct answer *answer, void *context);
    // on_closed: it could not be opened or was lost while IDLE; `error` is ERROR_UNAVAILABLE, or
    // ERROR_MISCONFIGURED when trying again cannot help before somebody mends the partition.
    void (*on_closed)(struct connection *connection, enum error error, const char *why,
                      void *context);
    void *context;
};

// connection_new makes a CLOSED connection. `timeout_ms` is a statement's, `max_packet_needed` what
// max_allowed_packet must be at least.
enum error connection_new(struct event_base *base, unsigned timeout_ms, uint64_t max_packet_needed,
                          const struct connection_events *events,
                          struct connection **connection) MUST_USE;

// connection_free closes and frees; on_answer and on_closed do not come any more. Not from inside
// one of its callbacks.
void connection_free(struct connection **connection);

// connection_open starts to connect a CLOSED connection to `partition`, which is borrowed until it
// is closed again and connection_opening is false: on_open or on_closed follows, within
// `timeout_ms`. A host's name is looked up each time.
void connection_open(struct connection *connection, const struct conf_partition *partition,
                     unsigned timeout_ms);

// connection_query sends a statement on an IDLE connection; `sql` is borrowed until on_answer,
// which follows within the connection's timeout.
void connection_query(struct connection *connection, struct slice sql);

// connection_abort ends a CONNECTING, PREPARING or BUSY connection as if its deadline had come;
// on_closed or on_answer follows.
void connection_abort(struct connection *connection);

// connection_close closes an IDLE connection; no callback follows.
void connection_close(struct connection *connection);

// connection_row returns the next row of the answer, or false after the last.
bool connection_row(struct connection *connection, struct row *row);

// connection_refused is true if the last attempt to open was refused at once: nobody is there, who
// could wake up later.
bool connection_refused(const struct connection *connection);

// connection_opening is true while threads that connections have left behind still look up a name
// or connect through TLS. They end in their own time; what they use must not be freed before.
bool connection_opening(void);

enum connection_state connection_state(const struct connection *connection);

// connection_check returns what the partition said of itself when the connection was opened.
const struct check *connection_check(const struct connection *connection);

#endif
