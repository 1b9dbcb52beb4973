// SPDX-License-Identifier: MIT
// The bar on a terminal: what part is done, how fast, how long it will take.
#ifndef SYNC_PROGRESS_H
#define SYNC_PROGRESS_H

#include "sync/pass.h"

// progress_show draws the bar, a few times a second at most; from any thread.
void progress_show(struct pass *pass);

// progress_hide takes it away, for a line of text or for good.
void progress_hide(struct pass *pass);

#endif
