// SPDX-License-Identifier: MIT
// The keeper: a thread that keeps the locks of a pass. A server ends a session that stays silent,
// and its lock with it, so that a sync whose connections the network cut off holds nobody up.
#ifndef SYNC_KEEPER_H
#define SYNC_KEEPER_H

#include "sync/pass.h"

struct keeper;

// keeper_start calls channel_keep for the control channels of the partitions that are up, until
// keeper_stop. ERROR_MEMORY.
enum error keeper_start(struct pass *pass, struct keeper **keeper) MUST_USE;
void keeper_stop(struct keeper **keeper);

#endif
