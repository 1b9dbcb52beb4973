// SPDX-License-Identifier: MIT
// Who may ask for what, by the configuration: tokens, what each may read and write and how often,
// and where requests may come from. Pure: it is told what a head says.
//
// Without any token everybody who can connect may do everything. That is only this machine; but a
// page in a browser on this machine can connect, too, under a name that its owner lets point here
// (DNS rebinding). So Host must then name this machine, unless `insecure` says that it need not.
#ifndef SERVER_ACCESS_H
#define SERVER_ACCESS_H

#include <stdatomic.h>

#include "conf/conf.h"
#include "server/route.h"
#include "store/prefixes.h"

// How far in the future the next request of a token would be on time, by clock_us in nanoseconds;
// for all threads.
struct access_rates {
    atomic_int_least64_t next_ns[CONF_TOKENS_MAX];
};

// What a token allows.
struct grant {
    const char *name; // NULL: there are no tokens
    unsigned char sha256[32];
    struct prefixes read, write;
    bool admin;
    unsigned rate;
    atomic_int_least64_t *next_ns;
};

struct access;

// What a head says, slices without data where it says nothing.
struct access_request {
    enum method method;
    enum resource resource;
    struct slice host;          // of the target if it is absolute, else of Host
    struct slice authorization; // Authorization
    struct slice origin;        // Origin
    struct slice site;          // Sec-Fetch-Site
};

enum access_verdict {
    ACCESS_GRANTED,
    ACCESS_MISDIRECTED, // 421: Host does not name this machine
    ACCESS_FOREIGN,     // 403: a page of another origin wants to change something
    ACCESS_UNKNOWN,     // 401: no token, or none that is known
    ACCESS_FORBIDDEN,   // 403: not with this token
    ACCESS_TOO_FAST,    // 429
};

// access_new: nothing of `conf` is kept; `rates` is borrowed. It has one reference.
enum error access_new(const struct conf *conf, struct access_rates *rates,
                      struct access **access) MUST_USE;

// A grant is valid while its access is. Not for several threads.
struct access *access_hold(struct access *access);
void access_release(struct access **access);

// access_equal tells whether both allow the same to the same.
bool access_equal(const struct access *a, const struct access *b);

// access_check decides on all but the key. With ACCESS_GRANTED, *grant is what the token allows.
enum access_verdict access_check(const struct access *access, const struct access_request *request,
                                 const struct grant **grant);

// access_allowed_origin returns the origin, borrowed from `access`, if its pages may read answers
// (CORS); else without data.
struct slice access_allowed_origin(const struct access *access, struct slice origin);

// access_take counts `requests` against the rate of the token; returns false if they come too early
// by more than a second.
bool access_take(const struct grant *grant, unsigned requests, int64_t now_us);

#endif
