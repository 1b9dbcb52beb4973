// SPDX-License-Identifier: MIT
// Comparing: a digest of each slot on all its owners; where they differ, the rows, key by key, and
// the newest version goes where it is lacking. What is dead for long enough is purged on the way,
// and what lies where it does not belong is moved.
#ifndef SYNC_VERIFY_H
#define SYNC_VERIFY_H

#include "sync/pass.h"

// verify_run compares some of the slots, going on where the pass before ended, or all.
void verify_run(struct pass *pass);

#endif
