// SPDX-License-Identifier: MIT
#include "server/route.h"

static const struct slice method_names[METHODS] = {
    [METHOD_GET] = {"GET", 3},       [METHOD_HEAD] = {"HEAD", 4}, [METHOD_PUT] = {"PUT", 3},
    [METHOD_DELETE] = {"DELETE", 6}, [METHOD_POST] = {"POST", 4}, [METHOD_OPTIONS] = {"OPTIONS", 7},
};

static const struct {
    struct slice path;
    const char *allow;
} resources[RESOURCES] = {
    [RESOURCE_NONE] = {{NULL, 0}, "OPTIONS"},
    [RESOURCE_KEY] = {{NULL, 0}, "GET, HEAD, PUT, DELETE, OPTIONS"},
    [RESOURCE_PREFIX] = {{NULL, 0}, "GET, HEAD, DELETE, OPTIONS"},
    [RESOURCE_KEYS] = {{"/keys", 5}, "GET, HEAD, OPTIONS"},
    [RESOURCE_BULK] = {{"/bulk", 5}, "POST, OPTIONS"},
    [RESOURCE_CHANGES] = {{"/changes", 8}, "GET, HEAD, OPTIONS"},
    [RESOURCE_LIVEZ] = {{"/livez", 6}, "GET, HEAD, OPTIONS"},
    [RESOURCE_READYZ] = {{"/readyz", 7}, "GET, HEAD, OPTIONS"},
    [RESOURCE_STATUS] = {{"/status", 7}, "GET, HEAD, OPTIONS"},
    [RESOURCE_METRICS] = {{"/metrics", 8}, "GET, HEAD, OPTIONS"},
    [RESOURCE_PAGE] = {{"/", 1}, "GET, HEAD, OPTIONS"},
    [RESOURCE_SERVER] = {{"*", 1}, "GET, HEAD, PUT, DELETE, POST, OPTIONS"},
};

enum method method_of(struct slice name)
{
    for (enum method m = 0; m < METHODS; m++)
        if (slice_equal(name, method_names[m]))
            return m;
    return METHOD_OTHER;
}

const char *method_name(enum method method)
{
    return method < METHODS ? method_names[method].data : "other";
}

// below cuts `directory` off a path that begins with it.
static bool below(struct slice path, struct slice directory, struct slice *name)
{
    if (!slice_starts(path, directory))
        return false;
    *name = (struct slice){path.data + directory.len, path.len - directory.len};
    return true;
}

struct route route_of(struct slice path)
{
    struct route route = {RESOURCE_NONE, {NULL, 0}};
    if (below(path, SLICE("/page/"), &route.name)) {
        route.resource = RESOURCE_PAGE;
        return route;
    }
    if (below(path, SLICE("/keys/"), &route.name)) {
        route.resource = RESOURCE_KEY;
        if (route.name.len && route.name.data[route.name.len - 1] == ':') {
            route.resource = RESOURCE_PREFIX;
            route.name.len--;
        }
        return route;
    }
    for (enum resource r = 0; r < RESOURCES; r++)
        if (resources[r].path.data && slice_equal(path, resources[r].path))
            route.resource = r;
    return route;
}

const char *route_allow(enum resource resource)
{
    return resources[resource].allow;
}
