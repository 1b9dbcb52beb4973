// SPDX-License-Identifier: MIT
// A change of the placement: copy to the future owners, announce it, wait until all servers know,
// switch, bring what was written meanwhile, and remove what nobody owns any more. If a pass ends in
// the middle, the next one goes on.
#ifndef SYNC_MOVE_H
#define SYNC_MOVE_H

#include "sync/pass.h"

// move_decide finds out what this pass, or its next round, is to do: pass->mode.
void move_decide(struct pass *pass);

// move_on does the next step when a round has brought what it was to bring; true: there is another
// round.
bool move_on(struct pass *pass);

// move_forget takes the member --forget names out of the store; false if that cannot be, which was
// told.
bool move_forget(struct pass *pass);

#endif
