// SPDX-License-Identifier: MIT
// The placement during a pass: what the partitions show of it, and giving them another one.
#ifndef SYNC_PLACE_H
#define SYNC_PLACE_H

#include "sync/pass.h"

// place_read reads the placement of each partition that is up, and leaves out those that are of
// another store, or no members and not to become any. A store without a placement is given its
// first one, once all partitions are there. False: the pass cannot go on, which was told.
bool place_read(struct pass *pass);

// place_catch_up gives the placement to members that were away when it came.
void place_catch_up(struct pass *pass);

// place_put makes `placement` the next epoch, on all members of it and of the present one, while
// all of them are up. Those that decide now come first: once the last of them has it, nothing can
// be written by the epoch before. False: it is on some of them at most, which was told; a later
// pass, or a server, goes on with it.
bool place_put(struct pass *pass, const struct placement *placement);

// place_use makes `placement` the one by which the pass works. ERROR_MEMORY.
enum error place_use(struct pass *pass, const struct placement *placement) MUST_USE;

#endif
