// SPDX-License-Identifier: MIT
// Filling a blank partition in the order of keys, without comparing.
#ifndef SYNC_FILL_H
#define SYNC_FILL_H

#include "sync/pass.h"

// fill_blank copies to each partition that is up, not trusted and empty what it owns. Comparing
// finds afterwards what may still be lacking.
void fill_blank(struct pass *pass);

#endif
