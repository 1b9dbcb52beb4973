// SPDX-License-Identifier: MIT
#include "server/debt.h"

#include <stdlib.h>

#include "server/feed.h"

enum error debt_new(const struct token *at, struct debt **debt)
{
    struct debt *d = calloc(1, sizeof *d + sizeof d->owed[0] * at->partitions);
    *debt = d;
    if (!d)
        return ERROR_MEMORY;
    enum error error = token_new(at->partitions, &d->at);
    if (!error)
        error = token_copy(d->at, at);
    if (error)
        debt_free(debt);
    return error;
}

void debt_free(struct debt **debt)
{
    struct debt *d = *debt;
    if (!d)
        return;
    *debt = NULL;
    token_free(&d->at);
    free(d);
}

enum error debt_apply(const struct debt *d, struct token *token)
{
    for (unsigned i = 0; i < token->partitions; i++) {
        struct position *to = &token->at[i];
        uint64_t newest_ms = to->newest_ms;
        if (d->owed[i] && position_copy(to, &d->at->at[i]))
            return ERROR_MEMORY;
        position_note(to, d->at->at[i].newest_ms);
        position_note(to, newest_ms); // it was told newer things of it
    }
    return ERROR_NONE;
}

bool debt_holds(const struct debt *d, const struct feed_event *event)
{
    for (unsigned i = 0; i < d->at->partitions; i++)
        if (d->owed[i] == OWED_AWAY && position_is_past(&d->at->at[i], event->version))
            return true;
    return false;
}

enum error debt_hold_back(struct debt *d, const struct feed_event *event)
{
    unsigned i = event->partition - 1;
    struct position *at = &d->at->at[i];
    struct token *token;
    if (d->owed[i]) // that position lies before the event
        return ERROR_NONE;
    enum error error = token_parse(event->token, d->at->partitions, &token);
    if (error)
        return error;
    d->owed[i] = OWED_HELD;
    error = position_copy(at, &token->at[i]);
    at->part_of = at->part = 0; // the event may be of that part
    if (!error)
        error = cursor_reopen(&at->cursor, event->seq, 0);
    token_free(&token);
    return error;
}

bool debt_is_due(const struct debt *d, const struct outlook *outlook)
{
    bool away = false;
    for (unsigned i = 0; i < d->at->partitions; i++) {
        if (d->owed[i] != OWED_AWAY)
            continue;
        away = true;
        if (outlook_is_up(outlook, i + 1))
            return true;
    }
    return !away;
}
