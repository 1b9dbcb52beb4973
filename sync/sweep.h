// SPDX-License-Identifier: MIT
// Removing what has moved away: rows of slots that a partition owned before this pass moved them.
#ifndef SYNC_SWEEP_H
#define SYNC_SWEEP_H

#include "sync/pass.h"

// sweep_run deletes such rows, in a round of PASS_SWEEP whose streams have brought what was written
// there since. What else lies where it does not belong is left to verify_run.
void sweep_run(struct pass *pass);

#endif
