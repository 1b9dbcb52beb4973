// SPDX-License-Identifier: MIT
// What a listener is told of the present (LISTS): a list of all keys and their values, in key
// order.
#ifndef SERVER_PRESENT_H
#define SERVER_PRESENT_H

#include "server/listener.h"

// present_begin lists from behind the key of listener->from on, then waits for the journal
// (changes_wait), up to which the logs are read.
void present_begin(struct listener *listener);

// present_go_on: the client takes more.
void present_go_on(struct listener *listener);

void present_fini(struct listener *listener);

#endif
