// SPDX-License-Identifier: MIT
#include "store/address.h"

#include <netdb.h>
#include <sys/socket.h>

static bool resolve(const char *host, struct address *address, const char **why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int code = getaddrinfo(host, NULL, &hints, &found);
    if (code == 0) {
        code = getnameinfo(found->ai_addr, found->ai_addrlen, address->text, sizeof address->text,
                           NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
    }
    *why = code ? gai_strerror(code) : NULL;
    return code == 0;
}

enum error address_resolve(const struct conf *conf, struct address *addresses, struct bytes *why)
{
    enum error error = ERROR_NONE;
    for (unsigned i = 0; i < conf->store.partitions; i++) {
        const struct conf_partition *partition = &conf->partition[i];
        const char *reason;
        addresses[i].text[0] = '\0';
        if (partition->host && !resolve(partition->host, &addresses[i], &reason)) {
            bytes_format(why, "partition-%u: host %s: %s\n", partition->id, partition->host,
                         reason);
            error = ERROR_UNAVAILABLE;
        }
    }
    return error;
}
