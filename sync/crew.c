// SPDX-License-Identifier: MIT
#include "sync/crew.h"

#include <pthread.h>
#include <stdlib.h>

struct hand {
    struct crew *crew;
    struct channel **channel; // [partitions]
};

// A task: work(hand, i, context) for every i < count.
struct task {
    void (*work)(struct hand *hand, size_t i, void *context);
    void *context;
    size_t count;
    size_t next; // the first that nobody has begun
    size_t done;
    struct task *after; // the next one in the list
};

struct crew {
    struct pass *pass;
    unsigned threads;
    struct hand *hand; // [threads]
    struct channel **channels;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct task task;    // of crew_run
    struct task *shared; // those of crew_share
};

enum error crew_new(struct pass *pass, unsigned threads, struct crew **crew)
{
    struct crew *c = calloc(1, sizeof *c);
    *crew = c;
    if (!c)
        return ERROR_MEMORY;
    c->pass = pass;
    c->threads = threads;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
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
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

// run_one runs the next part of a task, without the lock meanwhile.
static void run_one(struct hand *hand, struct task *task)
{
    struct crew *c = hand->crew;
    size_t i = task->next++;
    pthread_mutex_unlock(&c->lock);
    task->work(hand, i, task->context);
    pthread_mutex_lock(&c->lock);
    if (++task->done == task->count)
        pthread_cond_broadcast(&c->changed);
}

static struct task *find_begun(struct crew *c)
{
    for (struct task *task = c->shared; task; task = task->after)
        if (task->next < task->count)
            return task;
    return NULL;
}

// work_on works on the crew's task, then helps with what others share, until all is done.
static void *work_on(void *context)
{
    struct hand *hand = context;
    struct crew *c = hand->crew;
    struct task *shared;
    pthread_mutex_lock(&c->lock);
    while (c->task.done < c->task.count) {
        if (c->task.next < c->task.count)
            run_one(hand, &c->task);
        else if ((shared = find_begun(c)))
            run_one(hand, shared);
        else
            pthread_cond_wait(&c->changed, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

// A thread that cannot be made is one less: the caller works too.
void crew_run(struct crew *c, size_t count,
              void (*work)(struct hand *hand, size_t i, void *context), void *context)
{
    pthread_t thread[64];
    unsigned made = 0;
    c->task = (struct task){.work = work, .context = context, .count = count};
    while (made + 1 < c->threads && made + 1 < count &&
           pthread_create(&thread[made], NULL, work_on, &c->hand[made + 1]) == 0)
        made++;
    work_on(&c->hand[0]);
    for (unsigned i = 0; i < made; i++)
        pthread_join(thread[i], NULL);
}

static void remove_task(struct crew *c, struct task *task)
{
    struct task **at = &c->shared;
    while (*at != task)
        at = &(*at)->after;
    *at = task->after;
}

void crew_share(struct hand *hand, size_t count,
                void (*work)(struct hand *hand, size_t i, void *context), void *context)
{
    struct crew *c = hand->crew;
    struct task task = {.work = work, .context = context, .count = count};
    pthread_mutex_lock(&c->lock);
    task.after = c->shared;
    c->shared = &task;
    pthread_cond_broadcast(&c->changed);
    while (task.done < count) {
        if (task.next < count)
            run_one(hand, &task);
        else
            pthread_cond_wait(&c->changed, &c->lock);
    }
    remove_task(c, &task);
    pthread_mutex_unlock(&c->lock);
}

struct channel *hand_channel(struct hand *hand, struct peer *peer)
{
    struct pass *pass = hand->crew->pass;
    struct channel **channel = &hand->channel[peer->conf->id - 1];
    struct bytes why = {0};
    if (!peer_up(peer))
        return NULL;
    if (!*channel && channel_open(peer->conf, pass->max_packet_needed, 0, channel, &why)) {
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
