// SPDX-License-Identifier: MIT
// What may be forgotten: tombstones that all partitions have, and entries of the change logs that
// all have read.
#ifndef SYNC_PURGE_H
#define SYNC_PURGE_H

#include "sync/pass.h"

// purge_raise_floor finds out before which version nothing is missing anywhere, tells all
// partitions, and sets pass->floor to what they all know.
void purge_raise_floor(struct pass *pass);

// purge_rows deletes the rows that were dead before the floor.
void purge_rows(struct pass *pass);

// purge_trim_logs deletes the beginning of each log.
void purge_trim_logs(struct pass *pass);

// purge_read_by_all returns the number up to which all others have read the log of a partition, an
// index of pass->peer, without a gap; 0 if one of them has not read it to its end.
uint64_t purge_read_by_all(const struct pass *pass, unsigned source);

#endif
