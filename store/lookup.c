// SPDX-License-Identifier: MIT
#include "store/lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/process.h"

// What a thread finds out, for all who wait for it.
struct search {
    unsigned owners;     // the thread, and who waits
    struct list link;    // in `searches` until it has ended
    struct list waiting; // of struct lookup
    bool ended;
    bool late;                        // somebody had given up by then
    char address[LOOKUP_ADDRESS_MAX]; // empty if there is none
    char why[128];
    char host[];
};

struct lookup {
    struct search *search;
    struct list link; // in search->waiting until it has ended
    int fd;           // an eventfd
};

// Of all that is here, but for what the thread alone works on before its search has ended.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list searches = {&searches, &searches};

static void leave(struct search *search)
{
    if (--search->owners == 0)
        free(search);
}

// resolve returns what getaddrinfo does.
static int resolve(const char *host, char address[static LOOKUP_ADDRESS_MAX])
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int code = getaddrinfo(host, NULL, &hints, &found);
    if (code)
        return code;
    code = getnameinfo(found->ai_addr, found->ai_addrlen, address, LOOKUP_ADDRESS_MAX, NULL, 0,
                       NI_NUMERICHOST);
    freeaddrinfo(found);
    return code;
}

static void *run(void *context)
{
    static const uint64_t one = 1;
    struct search *search = context;
    struct list *link;
    int code = resolve(search->host, search->address);
    if (code) {
        search->address[0] = '\0';
        snprintf(search->why, sizeof search->why, "%s",
                 code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
    }
    pthread_mutex_lock(&lock);
    search->ended = true;
    list_remove(&search->link);
    while ((link = list_shift(&search->waiting)))
        if (write(CONTAINER_OF(link, struct lookup, link)->fd, &one, sizeof one) < 0)
            abort(); // GCOVR_EXCL_LINE: an eventfd takes it
    leave(search);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static struct search *find(const char *host)
{
    for (struct list *link = searches.next; link != &searches; link = link->next) {
        struct search *search = CONTAINER_OF(link, struct search, link);
        if (strcmp(search->host, host) == 0)
            return search;
    }
    return NULL;
}

// begin starts a search; it returns 0, or an errno.
static int begin(const char *host, struct search **search)
{
    size_t size = strlen(host) + 1;
    struct search *s = calloc(1, sizeof *s + size);
    *search = s;
    if (!s)
        return ENOMEM;
    s->owners = 1;
    list_init(&s->waiting);
    memcpy(s->host, host, size);
    list_append(&searches, &s->link);
    int code = process_detach(run, s);
    if (code) {
        list_remove(&s->link);
        leave(s);
    }
    return code;
}

// join waits for the search of that name, a new one unless one is under way.
static int join(struct lookup *lookup, const char *host)
{
    int code = 0;
    pthread_mutex_lock(&lock);
    struct search *search = find(host);
    if (!search)
        code = begin(host, &search);
    if (!code) {
        search->owners++;
        list_append(&search->waiting, &lookup->link);
        lookup->search = search;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

bool lookup_needed(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) != 1 && inet_pton(AF_INET6, host, address) != 1;
}

int lookup_new(const char *host, struct lookup **lookup)
{
    struct lookup *l = calloc(1, sizeof *l);
    *lookup = l;
    if (!l)
        return ENOMEM;
    list_init(&l->link);
    l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int code = l->fd < 0 ? errno : join(l, host);
    if (code)
        lookup_free(lookup);
    return code;
}

void lookup_free(struct lookup **lookup)
{
    struct lookup *l = *lookup;
    if (!l)
        return;
    *lookup = NULL;
    pthread_mutex_lock(&lock);
    list_remove(&l->link);
    if (l->search) {
        l->search->late = l->search->late || !l->search->ended;
        leave(l->search);
    }
    pthread_mutex_unlock(&lock);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}

int lookup_fd(const struct lookup *lookup)
{
    return lookup->fd;
}

const char *lookup_address(const struct lookup *lookup, const char **why)
{
    const struct search *search = lookup->search;
    pthread_mutex_lock(&lock);
    bool found = search->ended && search->address[0];
    // Who came later to a search that is slow hears the same as who gave up.
    *why = found ? "" : search->ended && !search->late ? search->why : "no answer in time";
    pthread_mutex_unlock(&lock);
    return found ? search->address : NULL;
}

bool lookup_running(void)
{
    pthread_mutex_lock(&lock);
    bool running = !list_empty(&searches);
    pthread_mutex_unlock(&lock);
    return running;
}
