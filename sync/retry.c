// SPDX-License-Identifier: MIT
#include "sync/retry.h"

#include <time.h>

#include "base/random.h"

enum {
    TRIES = 4, // of a second each where a lock is waited for
};

bool retry_locked(const struct channel *channel)
{
    unsigned code = channel_code(channel);
    return code == CHANNEL_LOCK_WAIT || code == CHANNEL_DEADLOCK || code == CHANNEL_CHECKREAD;
}

// Some milliseconds, more with every try, not the same for two threads that met.
static void pause_before(unsigned try)
{
    struct timespec pause = {0, (long)(try * 5 + random_below(20 * try)) * 1000 * 1000};
    nanosleep(&pause, NULL);
}

enum error retry_ask(struct pass *pass, struct peer *peer, struct channel *channel,
                     const struct bytes *sql, channel_on_row *on_row, void *context)
{
    enum error error = pass_ask(pass, peer, channel, sql, on_row, context);
    for (unsigned try = 1; try < TRIES && error == ERROR_REJECTED; try++) {
        if (pass_stopped(pass) || !retry_locked(channel))
            break;
        pause_before(try);
        error = pass_ask(pass, peer, channel, sql, on_row, context);
    }
    return error;
}

enum error retry_do(struct pass *pass, struct peer *peer, struct channel *channel,
                    const struct bytes *sql)
{
    enum error error = retry_ask(pass, peer, channel, sql, NULL, NULL);
    if (error == ERROR_REJECTED)
        pass_refused(pass, peer, channel);
    return error;
}
