// SPDX-License-Identifier: MIT
#include "server/worker.h"

#include <assert.h>
#include <errno.h>
#include <event2/listener.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/feed.h"
#include "server/tls.h"

enum {
    TICK_MS = 100,
    MEMORY_LOOK_US = 250000,
    MEMORY_PAUSE_US = 5000000,
    MEMORY_SHARE =
        100, // a look takes the hundredth part of the time at most: it walks all free pieces
    BACKLOG = 1024,
    LISTENER_PAUSE_MS = 100,
    LOG_KEEP = 64 * 1024,
    TIMERS = 256, // of a thread, at the same time
};

// ---------------------------------------------------------------- clients

static unsigned client_limit(const struct worker *w)
{
    unsigned share = w->all->clients / w->all->count;
    return share ? share : 1;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int address_len, void *context)
{
    static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                               "Content-Length: 0\r\nConnection: close\r\n\r\n";
    struct worker *w = context;
    struct crowd_place *place = NULL;
    unsigned most = w->limits.clients_per_address;
    (void)listener;
    (void)address_len;
    if (counter_get(&w->stats.clients) < client_limit(w) &&
        (most == 0 || crowd_enter(&w->all->crowd, address, most, &place))) {
        client_new(w, fd, place);
        return;
    }
    counter_add(&w->stats.refused, 1);
    if (!w->tls && write(fd, full, sizeof full - 1) < 0)
        log_write(LOG_DEBUG, "a refused client was gone already");
    close(fd);
}

// Out of descriptors: accepting would fail again at once, and the listener would spin.
static void on_accept_error(struct evconnlistener *listener, void *context)
{
    struct worker *w = context;
    struct timeval pause = {0, LISTENER_PAUSE_MS * 1000};
    log_write(LOG_WARN, "accept: %s", strerror(errno));
    evconnlistener_disable(listener);
    evtimer_add(&w->listener_pause, &pause);
}

static void on_listener_pause(evutil_socket_t fd, short what, void *context)
{
    struct worker *w = context;
    (void)fd;
    (void)what;
    if (w->listener)
        evconnlistener_enable(w->listener);
}

// ---------------------------------------------------------------- the loop

static void renew_date(struct worker *w)
{
    struct tm utc;
    time_t now = (time_t)(clock_unix_us() / 1000000);
    gmtime_r(&now, &utc);
    w->date_len = strftime(w->date, sizeof w->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
}

static void write_log(struct worker *w)
{
    int fd = atomic_load(&w->all->access_log);
    if (w->log.len && fd >= 0 && write(fd, w->log.data, w->log.len) < 0)
        log_write(LOG_WARN, "access log: %s", strerror(errno));
    bytes_shrink(&w->log, LOG_KEEP);
}

static bool clients_left(const struct worker *w)
{
    bool left = false;
    for (int i = 0; i < CLIENT_STATES; i++)
        left = left || !list_empty(&w->clients[i]);
    return left;
}

static void check_stop(struct worker *w)
{
    if (!w->stopping)
        return;
    bool busy = clients_left(w) || !store_idle(w->store);
    if (!busy || clock_ms() >= w->stop_deadline)
        event_base_loopbreak(w->base);
}

// look_at_memory: the first worker does, for all. There is room again once an eighth of the limit
// is free.
static void look_at_memory(struct worker *w)
{
    size_t most = w->limits.memory;
    bool was_full = atomic_load(&w->all->full);
    int64_t begin = clock_us();
    if (w->number || begin < w->memory_look_us)
        return;
    const struct mallinfo2 used = most ? mallinfo2() : (struct mallinfo2){0};
    int64_t pause = MEMORY_SHARE * (clock_us() - begin); // or it was only kept from running
    pause = pause < MEMORY_LOOK_US ? MEMORY_LOOK_US : pause;
    w->memory_look_us = begin + (pause < MEMORY_PAUSE_US ? pause : MEMORY_PAUSE_US);
    bool full = most && used.uordblks + used.hblkhd > (was_full ? most - most / 8 : most);
    if (full != was_full)
        log_write(LOG_WARN, full ? "memory: more than the limit is taken" : "memory: enough again");
    atomic_store(&w->all->full, full);
}

// run_feed: the first worker follows the change logs for all of them.
static void run_feed(struct worker *w)
{
    if (w->number == 0)
        feed_run(w->all->feed, w->base, w->store);
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct worker *w = context;
    (void)fd;
    (void)what;
    renew_date(w);
    http_check_deadlines(w);
    look_at_memory(w);
    run_feed(w);
    changes_tick(w);
    check_stop(w);
}

static void on_flush(evutil_socket_t fd, short what, void *context)
{
    struct worker *w = context;
    (void)fd;
    (void)what;
    http_flush(w);
    if (w->log.len)
        write_log(w);
    check_stop(w);
}

static void begin_stop(struct worker *w)
{
    w->stopping = true;
    w->stop_deadline = clock_ms() + w->limits.stop_timeout;
    evconnlistener_free(w->listener);
    w->listener = NULL;
    if (w->number == 0)
        feed_stop(w->all->feed);
    changes_stop(w);
    http_stop(w);
    store_leave(w->store);
    check_stop(w);
}

// take_identity: clients that are there go on with the certificate that they were shown.
static void take_identity(struct worker *w)
{
    tls_identity_release(&w->tls);
    w->tls = tls_identity_hold(w->all->tls);
}

// take_limits takes what was reloaded, and tells whether tokens or origins are others now.
static enum error take_limits(struct worker *w, bool *changed)
{
    struct access *access;
    w->reloads = atomic_load(&w->all->reloads);
    pthread_mutex_lock(&w->all->reload_lock);
    w->limits = w->all->conf->server;
    take_identity(w);
    enum error error = access_new(w->all->conf, &w->all->rates, &access);
    pthread_mutex_unlock(&w->all->reload_lock);
    w->limits.listen = w->limits.access_log = w->limits.cors_origins = NULL; // they stay there
    w->limits.tls_certificate = w->limits.tls_key = w->limits.user = NULL;
    *changed = !error && !(w->access && access_equal(w->access, access));
    struct access *old = *changed ? w->access : access;
    if (*changed)
        w->access = access;
    access_release(&old);
    return error;
}

// present_partitions returns settings that nobody changes any more.
static const struct conf_partition *present_partitions(struct workers *all)
{
    pthread_mutex_lock(&all->reload_lock);
    const struct conf_partition *partitions = all->conf->partition;
    pthread_mutex_unlock(&all->reload_lock);
    return partitions;
}

// take_configuration: who listens begins again if tokens are others now: his may be gone.
static void take_configuration(struct worker *w)
{
    bool changed;
    if (take_limits(w, &changed))
        log_write(LOG_ERROR, "out of memory: thread %u goes on with the tokens that it had",
                  w->number);
    if (changed)
        changes_stop(w);
    store_reload(w->store, present_partitions(w->all));
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct worker *w = context;
    uint64_t count;
    (void)what;
    if (read(fd, &count, sizeof count) < 0)
        return;
    if (w->reloads != atomic_load(&w->all->reloads))
        take_configuration(w);
    run_feed(w);
    changes_deliver(w);
    if (atomic_load(&w->all->stop) && !w->stopping)
        begin_stop(w);
}

static void *run(void *context)
{
    struct worker *w = context;
    event_base_dispatch(w->base);
    http_stop_now(w);
    return NULL;
}

// ---------------------------------------------------------------- life

static void worker_free(struct worker **worker)
{
    struct worker *w = *worker;
    struct list *link;
    if (!w)
        return;
    *worker = NULL;
    store_free(&w->store);
    request_free_orphans(w);
    while ((link = list_shift(&w->spare_requests))) {
        struct request *r = CONTAINER_OF(link, struct request, link);
        bytes_fini(&r->body);
        bytes_fini(&r->target);
        bytes_fini(&r->out);
        free(r);
    }
    if (w->listener)
        evconnlistener_free(w->listener);
    if (w->base) {
        event_del(&w->wake);
        event_del(&w->tick);
        event_del(&w->flush);
        event_del(&w->listener_pause);
        event_base_free(w->base);
    }
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    head_fini(&w->head);
    access_release(&w->access);
    tls_identity_release(&w->tls);
    bytes_fini(&w->log);
    free(w);
}

static enum error worker_listen(struct worker *w)
{
    const struct workers *all = w->all;
    w->listener = evconnlistener_new_bind(
        w->base, on_accept, w,
        LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE | LEV_OPT_REUSEABLE_PORT,
        BACKLOG, (const struct sockaddr *)&all->listen, all->listen_len);
    if (!w->listener)
        return ERROR_SYSTEM;
    evconnlistener_set_error_cb(w->listener, on_accept_error);
    return ERROR_NONE;
}

static void on_nothing(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context;
}

// reserve_timers makes room for timers at the start: one that could not be set for want of memory
// would never come, and nobody would know.
static enum error reserve_timers(struct event_base *base)
{
    static const struct timeval later = {3600, 0};
    struct event *timer = calloc(TIMERS, sizeof *timer);
    enum error error = timer ? ERROR_NONE : ERROR_MEMORY;
    unsigned count = 0;
    while (!error && count < TIMERS) {
        evtimer_assign(&timer[count], base, on_nothing, NULL);
        error = evtimer_add(&timer[count++], &later) ? ERROR_MEMORY : ERROR_NONE;
    }
    while (count > 0)
        event_del(&timer[--count]);
    free(timer);
    return error;
}

// Timers of less than a millisecond are for store/gather.h.
static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0)
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    return base;
}

static enum error worker_new(struct workers *all, unsigned number, struct worker **worker)
{
    static const struct timeval tick = {0, TICK_MS * 1000};
    struct worker *w = calloc(1, sizeof *w);
    *worker = w;
    if (!w)
        return ERROR_MEMORY;
    w->all = all;
    w->number = number;
    w->wake_fd = -1;
    for (int i = 0; i < CLIENT_STATES; i++)
        list_init(&w->clients[i]);
    list_init(&w->unsent);
    list_init(&w->dirty);
    list_init(&w->orphans);
    list_init(&w->spare_requests);
    changes_init(w);
    renew_date(w);
    bool changed;
    if (take_limits(w, &changed))
        return ERROR_MEMORY;
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->base = new_base();
    if (!w->base || w->wake_fd < 0)
        return ERROR_SYSTEM;
    if (reserve_timers(w->base))
        return ERROR_MEMORY;
    event_assign(&w->wake, w->base, w->wake_fd, EV_READ | EV_PERSIST, on_wake, w);
    event_assign(&w->tick, w->base, -1, EV_PERSIST, on_tick, w);
    evtimer_assign(&w->flush, w->base, on_flush, w);
    evtimer_assign(&w->listener_pause, w->base, on_listener_pause, w);
    event_add(&w->wake, NULL);
    event_add(&w->tick, &tick);
    const struct store_options options = {.conf = all->conf,
                                          .shared = all->shared,
                                          .hot = all->hot,
                                          .connections = all->conf->store.connections,
                                          .speaks = number == 0,
                                          .leads = number == 0,
                                          .placing = all->placing,
                                          .thread = number};
    enum error error = store_new(w->base, &options, &w->store);
    return error ? error : worker_listen(w);
}

void workers_init(struct workers *all)
{
    pthread_mutex_init(&all->reload_lock, NULL);
    tickets_init(&all->tickets);
    crowd_init(&all->crowd);
    atomic_store(&all->access_log, -1);
    all->access_log_fd = -1;
}

enum error workers_listen(struct workers *all)
{
    const struct conf *conf = all->conf;
    enum error error = ERROR_NONE;
    if (conf->server.cache)
        error = hot_new(conf->server.cache, conf->store.partitions, conf->server.cache_staleness,
                        &all->hot);
    if (!error)
        error = feed_new(all, conf->store.partitions, &all->feed);
    if (error)
        return error;
    for (unsigned i = 0; i < all->count; i++) {
        error = worker_new(all, i, &all->worker[i]);
        if (error)
            return error;
    }
    return ERROR_NONE;
}

void workers_start(struct workers *all)
{
    for (unsigned i = 0; i < all->count; i++) {
        int code = pthread_create(&all->worker[i]->thread, NULL, run, all->worker[i]);
        if (code) { // nothing can be undone cleanly with some threads running
            log_write(LOG_ERROR, "cannot start a thread: %s", strerror(code));
            exit(EXIT_OTHER);
        }
    }
}

void worker_wake(struct worker *w)
{
    static const uint64_t one = 1;
    if (write(w->wake_fd, &one, sizeof one) < 0)
        log_write(LOG_ERROR, "cannot wake a thread: %s", strerror(errno));
}

static void wake_all(struct workers *all)
{
    for (unsigned i = 0; i < all->count; i++)
        worker_wake(all->worker[i]);
}

void workers_reload(struct workers *all)
{
    atomic_fetch_add(&all->reloads, 1);
    wake_all(all);
}

void workers_stop(struct workers *all)
{
    atomic_store(&all->stop, true);
    wake_all(all);
    for (unsigned i = 0; i < all->count; i++)
        pthread_join(all->worker[i]->thread, NULL);
}

void workers_free(struct workers **workers)
{
    struct workers *all = *workers;
    if (!all)
        return;
    *workers = NULL;
    for (unsigned i = 0; i < all->count; i++)
        worker_free(&all->worker[i]);
    feed_free(&all->feed);
    hot_free(&all->hot);
    tls_identity_release(&all->tls);
    tickets_fini(&all->tickets);
    crowd_fini(&all->crowd);
    free(all);
}
