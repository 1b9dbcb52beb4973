// SPDX-License-Identifier: MIT
// What a listener in the journal still has to be told: everything between a position and the
// journal's, for each partition that is owed. Partitions are owed that could not be read, and those
// of which an event was held back because of these: its key may have a newer version there, which
// the listener knows and the follower of this process does not.
#ifndef SERVER_DEBT_H
#define SERVER_DEBT_H

#include "store/outlook.h"
#include "store/token.h"

struct feed_event;

struct debt {
    struct token *at;
    enum {
        OWED_NOTHING,
        OWED_AWAY, // the partition could not be read
        OWED_HELD, // it could
    } owed[];      // of partition id owed[id - 1]
};

// debt_new makes a debt of nothing; `at`: how far the listener is.
enum error debt_new(const struct token *at, struct debt **debt) MUST_USE;
void debt_free(struct debt **debt);

// debt_apply puts the partitions that are owed back where the listener is.
enum error debt_apply(const struct debt *debt, struct token *token) MUST_USE;

// debt_holds tells whether that event of the journal may be older than what the listener knows.
bool debt_holds(const struct debt *debt, const struct feed_event *event);

// debt_hold_back: the listener was not told the event.
enum error debt_hold_back(struct debt *debt, const struct feed_event *event) MUST_USE;

// debt_is_due tells whether reading again may help: a partition is back, or none was away.
bool debt_is_due(const struct debt *debt, const struct outlook *outlook);

#endif
