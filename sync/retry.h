// SPDX-License-Identifier: MIT
// Statements that met somebody else's lock are sent again, a few times.
#ifndef SYNC_RETRY_H
#define SYNC_RETRY_H

#include "sync/pass.h"

// retry_ask is pass_ask for a block; retry_do is pass_do.
enum error retry_ask(struct pass *pass, struct peer *peer, struct channel *channel,
                     const struct bytes *sql) MUST_USE;
enum error retry_do(struct pass *pass, struct peer *peer, struct channel *channel,
                    const struct bytes *sql) MUST_USE;

#endif
