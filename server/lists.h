// SPDX-License-Identifier: MIT
// Many keys: GET /keys, GET and DELETE of /keys/{prefix}:
#ifndef SERVER_LISTS_H
#define SERVER_LISTS_H

#include "server/request.h"

extern const struct handler lists_keys;   // GET and HEAD of /keys
extern const struct handler lists_prefix; // GET and HEAD of /keys/{prefix}:
extern const struct handler lists_clear;  // DELETE of /keys/{prefix}:

#endif
