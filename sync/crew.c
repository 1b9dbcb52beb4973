// SPDX-License-Identifier: MIT
#include "sync/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct hand {
    struct crew *crew;
    struct channel **channel; // [partitions]
};

struct crew {
    struct pass *pass;
    unsigned threads;
    struct hand *hand; // [threads]
    struct channel **channels;

    void (*work)(struct hand *hand, size_t i, void *context);
    void *context;
    size_t count;
    atomic_size_t next;
};

enum error crew_new(struct pass *pass, unsigned threads, struct crew **crew)
{
    struct crew *c = calloc(1, sizeof *c);
    *crew = c;
    if (!c)
        return ERROR_MEMORY;
    c->pass = pass;
    c->threads = threads;
    c->hand = calloc(threads, sizeof *c->hand);
    c->channels = calloc((size_t)threads * pass->partitions, sizeof(struct channel *));
    if (!c->hand || !c->channels) {
        crew_free(crew);
        return ERROR_MEMORY;
    }
    for (unsigned i = 0; i < threads; i++)
        c->hand[i] = (struct hand){c, &c->channels[(size_t)i * pass->partitions]};
    return ERROR_NONE;
}

void crew_free(struct crew **crew)
{
    struct crew *c = *crew;
    if (!c)
        return;
    *crew = NULL;
    for (size_t i = 0; c->channels && i < (size_t)c->threads * c->pass->partitions; i++)
        channel_free(&c->channels[i]);
    free(c->channels);
    free(c->hand);
    free(c);
}

static void *work_on(void *context)
{
    struct hand *hand = context;
    struct crew *c = hand->crew;
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->count;)
        c->work(hand, i, c->context);
    return NULL;
}

// A thread that cannot be made is one less: the caller works too.
void crew_run(struct crew *c, size_t count,
              void (*work)(struct hand *hand, size_t i, void *context), void *context)
{
    pthread_t thread[64];
    unsigned made = 0;
    c->work = work;
    c->context = context;
    c->count = count;
    atomic_store(&c->next, 0);
    while (made + 1 < c->threads && made + 1 < count &&
           pthread_create(&thread[made], NULL, work_on, &c->hand[made + 1]) == 0)
        made++;
    work_on(&c->hand[0]);
    for (unsigned i = 0; i < made; i++)
        pthread_join(thread[i], NULL);
}

struct channel *hand_channel(struct hand *hand, struct peer *peer)
{
    struct pass *pass = hand->crew->pass;
    struct channel **channel = &hand->channel[peer->conf->id - 1];
    struct bytes why = {0};
    if (!peer_up(peer))
        return NULL;
    if (!*channel &&
        channel_open(peer->conf, peer->address, pass->max_packet_needed, channel, &why)) {
        atomic_store(&peer->state, PEER_AWAY);
        pass_trouble(pass, PASS_BUSY, "partition-%u: %.*s", peer->conf->id, (int)why.len,
                     why.len ? why.data : "");
    }
    bytes_fini(&why);
    return *channel;
}

struct pass *hand_pass(const struct hand *hand)
{
    return hand->crew->pass;
}
