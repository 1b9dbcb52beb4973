// SPDX-License-Identifier: MIT
// The first steps of a pass: reach the partitions, take the locks, read what each knows, and judge
// whom to trust.
#ifndef SYNC_PEER_H
#define SYNC_PEER_H

#include "sync/crew.h"
#include "sync/pass.h"

// peers_connect opens the control channels, all at once.
void peers_connect(struct pass *pass);

// peers_lock takes the lock of each partition that is up, in the order of ids; false when another
// sync holds one.
bool peers_lock(struct pass *pass);

// peers_begin puts the pass's token into each partition, reads what each knows, and leaves out
// those whose clock is too far off. peers_judge sets `trusted`, all but for the marks.
void peers_begin(struct pass *pass);
void peers_judge_clocks(struct pass *pass); // a part of it
void peers_judge(struct pass *pass);

// peers_number gives the pass its number and tells it to the trusted partitions.
void peers_number(struct pass *pass);

// peers_number_again ends the pass with a new number. A backup that was made during the pass lacks
// what was read after it: now the others remember more than it knows.
void peers_number_again(struct pass *pass);

// peers_mark sets the mark in each log, and no longer trusts a partition whose log went back.
void peers_mark(struct pass *pass);

// peers_doubt tells the partitions that are not trusted any more, so that servers ask others too.
void peers_doubt(struct pass *pass);

// peers_settle fills the gaps that are older than what may still be under way.
void peers_settle(struct pass *pass);

// peers_seeded tells the partitions that were filled that they are, and stores the cursors.
void peers_seeded(struct pass *pass);

// peers_clear_diverts forgets the diverts that have been delivered.
void peers_clear_diverts(struct pass *pass);

// peer_put_cursor appends the part of a block that stores a cursor of the log of `source`.
void peer_put_cursor(const struct pass *pass, const struct cursor *cursor, unsigned source,
                     struct bytes *sql);

#endif
