// SPDX-License-Identifier: MIT
// GET /changes: the listeners. A listener is told the present state (since=0), or what the change
// logs have from its token on, and then goes on in the feed's journal:
//
//   WAITS (-> LISTS -> WAITS) -> READS <-> LIVE -> OVER
//
// Lists and logs are read by the listener's own thread; server/feed.h says why nothing is missed in
// between. A partition that is away meanwhile is read when it has come back (server/debt.h).
#ifndef SERVER_CHANGES_H
#define SERVER_CHANGES_H

#include "base/list.h"
#include "server/request.h"

struct listener;

// The listeners of a worker, each in one list.
struct listeners {
    struct list waiting; // WAITS
    struct list past;    // LISTS, READS
    struct list streams; // LIVE and streaming
    struct list polls;   // LIVE, for one answer
    unsigned owing;      // listeners with a debt
    int64_t looked;      // clock_ms, when it was last seen who needs a heartbeat or can pay
};

extern const struct handler changes_get;

void changes_init(struct worker *worker);

// changes_deliver brings the listeners what is new in the journal.
void changes_deliver(struct worker *worker);

// changes_wait has a listener wait until the journal knows of all that is committed now.
void changes_wait(struct listener *listener);

// changes_go_live has a listener go on in the journal at `position`, which it is told.
void changes_go_live(struct listener *listener, struct slice position);

// changes_tick sends heartbeats and ends who has waited too long.
void changes_tick(struct worker *worker);

// changes_stop ends all answers.
void changes_stop(struct worker *worker);

#endif
