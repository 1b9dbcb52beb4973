// SPDX-License-Identifier: MIT
// The daemon itself: /livez, /readyz, /status, /metrics.
#ifndef SERVER_HEALTH_H
#define SERVER_HEALTH_H

#include "server/request.h"

extern const struct handler health_livez;
extern const struct handler health_readyz;
extern const struct handler health_status;
extern const struct handler health_metrics;

#endif
