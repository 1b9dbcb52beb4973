// SPDX-License-Identifier: MIT
// What a change of the placement would move, and how far one has come.
#ifndef SYNC_PLAN_H
#define SYNC_PLAN_H

#include "sync/pass.h"

// plan_measure asks the partitions how much they have, for plan_print.
void plan_measure(struct pass *pass);

// plan_print appends who owns what, who would, and what that moves.
void plan_print(const struct pass *pass, struct bytes *out);

#endif
