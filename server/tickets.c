// SPDX-License-Identifier: MIT
#include "server/tickets.h"

#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"

void tickets_init(struct tickets *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    t->made = INT64_MIN;
}

void tickets_fini(struct tickets *t)
{
    explicit_bzero(t->key, sizeof t->key);
    pthread_mutex_destroy(&t->lock);
}

static bool is_due(const struct tickets *t, int64_t now, int64_t age)
{
    return t->made == INT64_MIN || now - t->made >= age;
}

// rotate also forgets a key that nobody asked for in time.
static void rotate(struct tickets *t)
{
    int64_t now = clock_ms();
    if (!is_due(t, now, TICKETS_ROTATE_MS))
        return;
    t->key[1] = t->key[0];
    if (is_due(t, now, 2 * TICKETS_ROTATE_MS))
        random_secret(&t->key[1], sizeof t->key[1]); // that no ticket was made with
    random_secret(&t->key[0], sizeof t->key[0]);
    t->made = now;
}

void tickets_present(struct tickets *t, struct ticket_key *key)
{
    pthread_mutex_lock(&t->lock);
    rotate(t);
    *key = t->key[0];
    pthread_mutex_unlock(&t->lock);
}

enum tickets_found tickets_find(struct tickets *t, const unsigned char name[TICKET_NAME],
                                struct ticket_key *key)
{
    enum tickets_found found = TICKETS_NONE;
    pthread_mutex_lock(&t->lock);
    rotate(t);
    for (int i = 0; i < 2 && !found; i++) {
        if (memcmp(t->key[i].name, name, TICKET_NAME) != 0)
            continue;
        *key = t->key[i];
        found = i ? TICKETS_BEFORE : TICKETS_PRESENT;
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}
