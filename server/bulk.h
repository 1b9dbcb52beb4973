// SPDX-License-Identifier: MIT
// POST /bulk: operations, a JSON object a line, and their results, a line each, in order.
#ifndef SERVER_BULK_H
#define SERVER_BULK_H

#include "server/request.h"

extern const struct handler bulk_post;

#endif
