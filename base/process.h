// SPDX-License-Identifier: MIT
// What a process does with itself for safety's sake.
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include "base/bytes.h"
#include "base/error.h"

// process_hide keeps the memory, which holds passwords and keys, out of core files and from other
// processes of the same user.
void process_hide(void);

// process_files lets the process have `wanted` open files as far as its hard limit goes, and
// returns how many it may have.
unsigned long long process_files(unsigned long long wanted);

// process_become makes the process one of `user`, with that one's groups, for good. For
// root only, unless it is that user already. ERROR_SYSTEM, and `why` says why not.
enum error process_become(const char *user, struct bytes *why) MUST_USE;

// process_detach runs run(context) on a thread that nobody waits for, and returns what
// pthread_create does.
int process_detach(void *(*run)(void *context), void *context) MUST_USE;

#endif
