// SPDX-License-Identifier: MIT
// The look-up of a host's name, in a thread, because getaddrinfo blocks. All who want a name at the
// same time share one: however many connections wait, there is one thread for each name. A look-up
// that nobody waits for any more is left behind, and ends in its own time.
#ifndef STORE_LOOKUP_H
#define STORE_LOOKUP_H

#include <stdbool.h>

enum {
    LOOKUP_ADDRESS_MAX = 64, // bytes of a numeric IPv4 or IPv6 address with its NUL
};

struct lookup;

// lookup_needed is false for a numeric address.
bool lookup_needed(const char *host);

// lookup_new begins to look up `host`, which is copied. It returns 0, or an errno.
int lookup_new(const char *host, struct lookup **lookup);

// lookup_free may come before the end.
void lookup_free(struct lookup **lookup);

// lookup_fd is readable once the look-up has ended.
int lookup_fd(const struct lookup *lookup);

// lookup_address returns the numeric address, the first that the system gave, until lookup_free.
// NULL if there is none, or none yet: *why says why.
const char *lookup_address(const struct lookup *lookup, const char **why);

// lookup_running is true while any thread still looks up a name.
bool lookup_running(void);

#endif
