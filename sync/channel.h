// SPDX-License-Identifier: MIT
// A channel: a connection to a partition for a thread that waits for each answer.
#ifndef SYNC_CHANNEL_H
#define SYNC_CHANNEL_H

#include "base/bytes.h"
#include "base/error.h"
#include "conf/conf.h"
#include "store/check.h"
#include "store/row.h"

enum {
    CHANNEL_TIMEOUT_MS = 30000, // of a statement
    CHANNEL_OPEN_MS = 2000,
    CHANNEL_KEPT_S = 15, // the idle_s of a channel that channel_keep is called for
};

// Errors of the server that sync acts on; from 30000 on they are our own.
enum channel_code {
    CHANNEL_LOCK_WAIT = 1205,
    CHANNEL_DEADLOCK = 1213,
    CHANNEL_CHECKREAD = 1020,
    CHANNEL_FUTURE = 30001,  // a version more than 5 s in the future
    CHANNEL_REMOVED = 30003, // SQL removed the row later, and there is no tombstone yet
    CHANNEL_FENCED = 30010,  // a newer sync took over
};

struct channel;

// channel_on_row gets each row of an answer, borrowed. An error ends the reading.
typedef enum error channel_on_row(const struct row *row, void *context);

// channel_open connects, within CHANNEL_OPEN_MS, and prepares the session for sync; the server ends
// it after `idle_s` without a statement, 0 = never. `partition` is borrowed for good.
// ERROR_UNAVAILABLE, ERROR_MISCONFIGURED: `why` gets the reason.
enum error channel_open(const struct conf_partition *partition, uint64_t max_packet_needed,
                        unsigned idle_s, struct channel **channel, struct bytes *why) MUST_USE;

void channel_free(struct channel **channel);

// channel_query runs one statement; `on_row` may be NULL. ERROR_REJECTED: the server refused it,
// see channel_code, and no transaction is left open; ERROR_OUTCOME: the connection is lost, and
// nothing more can be asked; or what on_row said.
enum error channel_query(struct channel *channel, const struct bytes *sql, channel_on_row *on_row,
                         void *context) MUST_USE;

// channel_keep sends a statement on an idle channel, so that the server does not end its session.
// Any thread may call it.
void channel_keep(struct channel *channel);

// channel_code and channel_text tell what the server said last, 0 and "" if it refused nothing.
unsigned channel_code(const struct channel *channel);
const char *channel_text(const struct channel *channel);

// channel_check returns what the partition said of itself.
const struct check *channel_check(const struct channel *channel);

// channel_statements returns how many statements all channels have sent.
unsigned long channel_statements(void);

#endif
