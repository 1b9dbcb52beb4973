// SPDX-License-Identifier: MIT
#include "sync/keeper.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

enum {
    EVERY_US = 3000000, // well below CHANNEL_KEPT_S
};

struct keeper {
    struct pass *pass;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopped;
};

// rest waits until the next round, and tells whether there is one.
static bool rest(struct keeper *k)
{
    int64_t until_us = clock_us() + EVERY_US;
    const struct timespec until = {.tv_sec = until_us / 1000000,
                                   .tv_nsec = until_us % 1000000 * 1000};
    while (!k->stopped && pthread_cond_timedwait(&k->changed, &k->lock, &until) == 0)
        ;
    return !k->stopped;
}

static void *keep(void *context)
{
    struct keeper *k = context;
    pthread_mutex_lock(&k->lock);
    while (rest(k))
        for (unsigned i = 0; i < k->pass->partitions; i++)
            if (peer_up(&k->pass->peer[i]))
                channel_keep(k->pass->peer[i].control);
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

static void free_keeper(struct keeper *k)
{
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

enum error keeper_start(struct pass *pass, struct keeper **keeper)
{
    struct keeper *k = calloc(1, sizeof *k);
    pthread_condattr_t monotonic;
    *keeper = NULL;
    if (!k)
        return ERROR_MEMORY;
    k->pass = pass;
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&k->thread, NULL, keep, k)) {
        free_keeper(k);
        return ERROR_MEMORY;
    }
    *keeper = k;
    return ERROR_NONE;
}

void keeper_stop(struct keeper **keeper)
{
    struct keeper *k = *keeper;
    if (!k)
        return;
    *keeper = NULL;
    pthread_mutex_lock(&k->lock);
    k->stopped = true;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    free_keeper(k);
}
