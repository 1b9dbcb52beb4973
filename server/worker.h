// SPDX-License-Identifier: MIT
// A worker: one thread with its own event loop, listener, clients and connections to the
// partitions. What workers share is in struct workers.
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/changes.h"
#include "server/crowd.h"
#include "server/http.h"
#include "server/stats.h"
#include "server/tickets.h"
#include "store/store.h"

enum {
    WORKER_SCRATCH = 64 * 1024,
    WORKER_SPARE_REQUESTS = 64,
};

struct feed;
struct workers;

struct worker {
    struct workers *all;
    unsigned number; // 0, 1, ...
    pthread_t thread;
    struct event_base *base;
    struct evconnlistener *listener;
    struct event listener_pause; // after EMFILE
    struct event wake;           // on wake_fd: reload, stop, or news in the feed
    struct event tick;
    struct event flush; // once a turn of the loop, after all else
    int wake_fd;
    struct store *store;
    struct conf_server limits; // of the present configuration; a copy of its own
    unsigned reloads;          // that it has seen
    int64_t memory_look_us;    // clock_us: when next
    struct access *access;     // of the same configuration
    struct ssl_ctx_st *tls;    // of the same; NULL: clients speak in clear
    bool stopping;
    int64_t stop_deadline; // clock_ms
    struct list clients[CLIENT_STATES];
    struct list unsent; // clients whose output waits for them to read, longest first
    struct list dirty;  // clients with output of this turn
    struct head head;
    char date[64]; // "Date: ...\r\n", renewed every tick
    size_t date_len;
    struct list orphans; // requests without a client that the store still holds
    struct listeners listeners;
    struct list spare_requests;
    unsigned spare_count;
    struct bytes log; // access log lines of this turn
    struct stats stats;
    char scratch[WORKER_SCRATCH];
};

// The workers of the process and what they share.
struct workers {
    struct conf *conf; // what SIGHUP changes, only under the lock: all but its `store` part
    pthread_mutex_t reload_lock; // workers keep what they need of it, in worker->limits and store
    struct outlook_shared *shared;
    struct placing_shared *placing;
    struct sockaddr_storage listen;
    int listen_len;
    int64_t started_us; // clock_unix_us
    struct hot *hot;    // NULL = none
    struct feed *feed;
    struct access_rates rates;
    struct crowd crowd;
    atomic_bool full; // more memory is taken than may be
    struct tickets tickets;
    struct ssl_ctx_st *tls; // under the lock, too
    atomic_bool stop;
    atomic_uint reloads;   // so far
    atomic_int access_log; // descriptor, -1 = none
    int access_log_fd;     // of the main thread: the log's number since it was opened first, or -1
    unsigned clients;      // at most, of all workers
    unsigned count;
    struct worker *worker[];
};

// workers_init makes what they share without memory of its own.
void workers_init(struct workers *workers);

// workers_listen makes `count` workers, which listen when it returns and accept nobody.
// ERROR_SYSTEM if the address cannot be listened on: errno says why.
enum error workers_listen(struct workers *workers) MUST_USE;

// workers_start starts their threads.
void workers_start(struct workers *workers);

// workers_reload tells the threads to take what may change from workers->conf again.
void workers_reload(struct workers *workers);

// worker_wake has a worker look at what its wake is for, from its loop; any thread.
void worker_wake(struct worker *worker);

// workers_stop lets all finish what is under way and waits for them.
void workers_stop(struct workers *workers);

void workers_free(struct workers **workers);

#endif
