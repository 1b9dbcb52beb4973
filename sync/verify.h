// SPDX-License-Identifier: MIT
// Comparing: a digest of each range of keys on all partitions; where they differ, the rows, key by
// key, and the newest version goes where it is lacking. What lies where it does not belong is
// moved.
#ifndef SYNC_VERIFY_H
#define SYNC_VERIFY_H

#include "sync/pass.h"

// verify_run compares some of the rows, going on where the pass before ended, or all.
void verify_run(struct pass *pass);

#endif
