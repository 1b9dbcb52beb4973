// SPDX-License-Identifier: MIT
// How many connections each address has, over all threads: one of them alone must not take the room
// of all others. An IPv6 address stands for its /64, of which one machine may have all.
#ifndef SERVER_CROWD_H
#define SERVER_CROWD_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"

enum { CROWD_BUCKETS = 1024 };

// The connections of one address.
struct crowd_place {
    struct list link;
    unsigned char address[8]; // the first half of an IPv6 address, the hash's input
    bool v6;
    unsigned count;
};

// Any thread may use it.
struct crowd {
    pthread_mutex_t lock;
    unsigned char secret[16]; // nobody can choose addresses that share a bucket
    struct list bucket[CROWD_BUCKETS];
};

void crowd_init(struct crowd *crowd);
void crowd_fini(struct crowd *crowd);

// crowd_enter counts a connection of an IPv4 or IPv6 address; false if it has `most` already, or
// memory is out. *place is for crowd_leave.
bool crowd_enter(struct crowd *crowd, const struct sockaddr *address, unsigned most,
                 struct crowd_place **place);

// crowd_leave counts it out, nulls *place; does nothing for NULL.
void crowd_leave(struct crowd *crowd, struct crowd_place **place);

#endif
