// SPDX-License-Identifier: MIT
// Where the partitions are: names are resolved once, at start, because resolving blocks.
#ifndef STORE_ADDRESS_H
#define STORE_ADDRESS_H

#include "base/bytes.h"
#include "conf/conf.h"

enum {
    ADDRESS_MAX = 64, // bytes of a numeric IPv4 or IPv6 address with its NUL
};

struct address {
    char text[ADDRESS_MAX]; // empty for a partition behind a socket
};

// address_resolve fills addresses[0 .. partitions - 1]. ERROR_UNAVAILABLE when a name does not
// resolve now; `why` gets a line a name. Blocks.
enum error address_resolve(const struct conf *conf, struct address *addresses,
                           struct bytes *why) MUST_USE;

#endif
