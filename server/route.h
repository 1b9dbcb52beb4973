// SPDX-License-Identifier: MIT
// Routes: which resource a path names, and which methods it knows.
#ifndef SERVER_ROUTE_H
#define SERVER_ROUTE_H

#include "base/bytes.h"

enum method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_POST,
    METHOD_OPTIONS,
    METHODS,
    METHOD_OTHER = METHODS, // one that HTTP knows and no resource here
};

// method_of returns the method of that name (in capitals).
enum method method_of(struct slice name);

const char *method_name(enum method method);

enum resource {
    RESOURCE_NONE,
    RESOURCE_KEY,    // /keys/{key}
    RESOURCE_PREFIX, // /keys/{prefix}:
    RESOURCE_KEYS,   // /keys
    RESOURCE_BULK,
    RESOURCE_CHANGES,
    RESOURCE_LIVEZ,
    RESOURCE_READYZ,
    RESOURCE_STATUS,
    RESOURCE_METRICS,
    RESOURCE_PAGE,   // / and what is below /page/
    RESOURCE_SERVER, // the target `*` of OPTIONS
    RESOURCES,
};

struct route {
    enum resource resource;
    struct slice name; // what follows /keys/ or /page/, still percent-encoded; borrowed
};

// route_of finds the resource of a path (still percent-encoded).
struct route route_of(struct slice path);

// route_allow returns the methods of a resource as the Allow header wants them.
const char *route_allow(enum resource resource);

#endif
