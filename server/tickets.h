// SPDX-License-Identifier: MIT
// The keys of TLS session tickets (RFC 5077, RFC 8446 4.6.1): whoever gets hold of one can read the
// sessions that were resumed with it, so that they change, and none is kept for long. They live in
// memory alone: a ticket is good for this process.
#ifndef SERVER_TICKETS_H
#define SERVER_TICKETS_H

#include <pthread.h>
#include <stdint.h>

enum {
    TICKETS_ROTATE_MS =
        3600 * 1000,  // for so long a key makes tickets, and reads them twice as long
    TICKET_NAME = 16, // bytes
};

struct ticket_key {
    unsigned char name[TICKET_NAME]; // that the ticket carries
    unsigned char cipher[32];        // AES-256
    unsigned char mac[32];           // HMAC-SHA-256
};

// Any thread may use it.
struct tickets {
    pthread_mutex_t lock;
    int64_t made;             // clock_ms, of key[0]; INT64_MIN before the first
    struct ticket_key key[2]; // the present one, and the one before
};

enum tickets_found {
    TICKETS_NONE,
    TICKETS_PRESENT,
    TICKETS_BEFORE, // the client should get a new ticket
};

void tickets_init(struct tickets *tickets);

// tickets_fini overwrites the keys.
void tickets_fini(struct tickets *tickets);

// tickets_present copies the key that makes tickets now.
void tickets_present(struct tickets *tickets, struct ticket_key *key);

// tickets_find copies the key of that name.
enum tickets_found tickets_find(struct tickets *tickets, const unsigned char name[TICKET_NAME],
                                struct ticket_key *key);

#endif
