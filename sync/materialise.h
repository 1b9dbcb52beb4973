// SPDX-License-Identifier: MIT
// Rows that SQL removed become tombstones.
#ifndef SYNC_MATERIALISE_H
#define SYNC_MATERIALISE_H

#include "sync/crew.h"
#include "sync/pass.h"

// materialise makes tombstones of all that SQL removed from `peer`, page by page.
enum error materialise(struct pass *pass, struct peer *peer, struct channel *channel) MUST_USE;

// materialise_all does so on every partition.
void materialise_all(struct pass *pass);

// materialise_needed tells whether SQL removed any of `count` keys.
enum error materialise_needed(struct pass *pass, struct peer *peer, struct channel *channel,
                              const struct slice *keys, size_t count, bool *needed) MUST_USE;

#endif
