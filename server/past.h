// SPDX-License-Identifier: MIT
// What a listener is told of the past (READS): the change logs, from where it was up to the
// journal.
#ifndef SERVER_PAST_H
#define SERVER_PAST_H

#include "server/listener.h"

// past_begin goes from listener->from, which it frees, to the journal, and there on
// (changes_go_live).
void past_begin(struct listener *listener);

// past_go_on: the client takes more.
void past_go_on(struct listener *listener);

#endif
