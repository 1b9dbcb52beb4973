// SPDX-License-Identifier: MIT
// Statements that met somebody else's lock are sent again, a few times.
#ifndef SYNC_RETRY_H
#define SYNC_RETRY_H

#include "sync/pass.h"

// retry_ask is pass_ask for a statement that happens as a whole or not at all; retry_do is pass_do
// for one that answers nothing.
enum error retry_ask(struct pass *pass, struct peer *peer, struct channel *channel,
                     const struct bytes *sql, channel_on_row *on_row, void *context) MUST_USE;
enum error retry_do(struct pass *pass, struct peer *peer, struct channel *channel,
                    const struct bytes *sql) MUST_USE;

// retry_locked tells whether the statement that was refused last met somebody else's lock.
bool retry_locked(const struct channel *channel);

#endif
