// SPDX-License-Identifier: MIT
// The page: `/` and the files below /page/ that it loads. They are part of the binary (web/), so
// that a browser needs nothing but the daemon, and they use no other interface than docs/http.md.
#ifndef SERVER_PAGE_H
#define SERVER_PAGE_H

#include "server/request.h"

extern const struct handler page_get;

// page_init computes the entity tags; before any thread is made.
void page_init(void);

#endif
