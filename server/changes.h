// SPDX-License-Identifier: MIT
// GET /changes: the listeners. A listener is told the present state (since=0), or what the change
// logs have from its token on, and then goes on in the feed's journal:
//
//   WAITS -> LISTS -> READS <-> LIVE -> OVER
//
// Lists and logs are read by the listener's own thread; server/feed.h says why nothing is missed in
// between. A partition that is away meanwhile is read when it has come back (struct debt).
#ifndef SERVER_CHANGES_H
#define SERVER_CHANGES_H

#include "base/list.h"
#include "server/request.h"

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

// changes_tick sends heartbeats and ends who has waited too long.
void changes_tick(struct worker *worker);

// changes_stop ends all answers.
void changes_stop(struct worker *worker);

#endif
