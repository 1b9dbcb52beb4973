// SPDX-License-Identifier: MIT
// One key: GET, HEAD, PUT, DELETE of /keys/{key}.
#ifndef SERVER_VALUES_H
#define SERVER_VALUES_H

#include "server/request.h"

extern const struct handler values_get; // and HEAD
extern const struct handler values_put;
extern const struct handler values_delete;

#endif
