// SPDX-License-Identifier: MIT
// What may be forgotten: tombstones that all partitions have, and entries of the change logs that
// all have read.
#ifndef SYNC_PURGE_H
#define SYNC_PURGE_H

#include "sync/pass.h"

// purge_raise_floor finds out before which version nothing is missing anywhere, tells all
// partitions, and sets pass->floor to what they all know.
void purge_raise_floor(struct pass *pass);

// purge_slots deletes the `dead` rows of slots first..last that were dead before the floor.
enum error purge_slots(struct pass *pass, struct peer *peer, struct channel *channel,
                       unsigned first, unsigned last, uint64_t dead) MUST_USE;

// purge_trim_logs deletes the beginning of each log.
void purge_trim_logs(struct pass *pass);

#endif
