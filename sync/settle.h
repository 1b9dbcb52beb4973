// SPDX-License-Identifier: MIT
// Settling what SQL clients did: rows that they wrote get their versions, rows that they deleted
// become tombstones, and both their log entries.
#ifndef SYNC_SETTLE_H
#define SYNC_SETTLE_H

#include "sync/crew.h"
#include "sync/pass.h"

// settle stamps and buries all that there is on `peer`. What somebody has locked waits for the next
// pass. ERROR_REJECTED and ERROR_OUTCOME have been told.
enum error settle(struct pass *pass, struct peer *peer, struct channel *channel) MUST_USE;

// settle_all does so on every partition that is up; a dry run counts.
void settle_all(struct pass *pass);

#endif
