// SPDX-License-Identifier: MIT
#include "server/crowd.h"

#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

_Static_assert(sizeof(((struct crowd *)0)->secret) == crypto_shorthash_KEYBYTES, "the hash's");

void crowd_init(struct crowd *c)
{
    pthread_mutex_init(&c->lock, NULL);
    random_secret(c->secret, sizeof c->secret);
    for (unsigned i = 0; i < CROWD_BUCKETS; i++)
        list_init(&c->bucket[i]);
}

void crowd_fini(struct crowd *c)
{
    struct list *link;
    for (unsigned i = 0; i < CROWD_BUCKETS; i++)
        while ((link = list_shift(&c->bucket[i])))
            free(CONTAINER_OF(link, struct crowd_place, link));
    pthread_mutex_destroy(&c->lock);
}

static struct crowd_place place_of(const struct sockaddr *address)
{
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
    struct crowd_place place = {.v6 = address->sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(v6)};
    if (place.v6)
        memcpy(place.address, v6, 8);
    else if (address->sa_family == AF_INET6)
        memcpy(place.address, &v6->s6_addr[12], 4);
    else
        memcpy(place.address, &((const struct sockaddr_in *)address)->sin_addr, 4);
    return place;
}

static struct list *bucket_of(struct crowd *c, const struct crowd_place *place)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, place->address, sizeof place->address, c->secret);
    return &c->bucket[hash % CROWD_BUCKETS];
}

static struct crowd_place *find(struct list *bucket, const struct crowd_place *wanted)
{
    for (struct list *link = bucket->next; link != bucket; link = link->next) {
        struct crowd_place *place = CONTAINER_OF(link, struct crowd_place, link);
        if (place->v6 == wanted->v6 &&
            memcmp(place->address, wanted->address, sizeof place->address) == 0)
            return place;
    }
    return NULL;
}

bool crowd_enter(struct crowd *c, const struct sockaddr *address, unsigned most,
                 struct crowd_place **place)
{
    const struct crowd_place wanted = place_of(address);
    struct list *bucket = bucket_of(c, &wanted);
    pthread_mutex_lock(&c->lock);
    *place = find(bucket, &wanted);
    if (!*place && (*place = malloc(sizeof wanted))) {
        **place = wanted;
        list_append(bucket, &(*place)->link);
    }
    bool room = *place && (*place)->count < most;
    if (room)
        (*place)->count++;
    else
        *place = NULL;
    pthread_mutex_unlock(&c->lock);
    return room;
}

void crowd_leave(struct crowd *c, struct crowd_place **place)
{
    struct crowd_place *p = *place;
    *place = NULL;
    if (!p)
        return;
    pthread_mutex_lock(&c->lock);
    if (--p->count == 0) {
        list_remove(&p->link);
        free(p);
    }
    pthread_mutex_unlock(&c->lock);
}
