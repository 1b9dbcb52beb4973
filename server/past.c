// SPDX-License-Identifier: MIT
#include "server/past.h"

#include "server/changes.h"
#include "server/http.h"
#include "store/version.h"

enum {
    // The follower is behind where a partition does not answer it; by more than clocks may differ.
    BEHIND_MS = CLOCK_BOUND_US / 1000 + 1000,
};

static void on_entry(struct follow *follow, const struct follow_entry *entry, void *context)
{
    struct listener *l = context;
    if (!entry->told || !listener_hears(l, entry->key))
        return;
    // A greater version was told here: this listener knows it, or will come to its entry.
    if (feed_told(listener_feed(l), entry->key) > entry->version)
        return;
    struct bytes token = {0}, members = {0}, value = {0};
    token_format(follow_token(follow), &token);
    feed_write_members(entry, &members);
    if (l->values)
        feed_write_value(entry, &value);
    if (bytes_failed(&token) || bytes_failed(&members) || bytes_failed(&value))
        l->out.failed = true;
    const struct news news = {.dead = entry->dead,
                              .token = bytes_slice(&token),
                              .members = bytes_slice(&members),
                              .value = bytes_slice(&value)};
    listener_tell(l, &news);
    bytes_fini(&token);
    bytes_fini(&members);
    bytes_fini(&value);
    if (listener_is_full(l)) {
        listener_send(l);
        if (l->state != LISTENER_OVER)
            listener_end(l);
    } else if (listener_has_piece(l)) {
        listener_send(l);
        if (l->state != LISTENER_OVER && !http_writable(l->request))
            follow_pause(follow);
    }
}

static void on_read(struct follow *follow, unsigned id, int64_t asked_us, bool settled,
                    void *context)
{
    (void)settled;
    (void)follow;
    (void)id;
    (void)asked_us;
    listener_send(context);
}

static void on_trimmed(struct follow *follow, unsigned id, void *context)
{
    struct listener *l = context;
    (void)follow;
    (void)id;
    listener_fail(l, 410, "the change log no longer reaches back to this token: read with since=0");
}

// is_away: partition id i + 1 cannot be read here, or the follower could not, on another thread: it
// does not know where it is, or this listener has newer things, from elsewhere.
static bool is_away(const struct listener *l, unsigned i)
{
    const struct position *journal = &l->until->at[i];
    const struct store *store = listener_worker(l)->store;
    if (!partition_exists(store_partition(store, i + 1)) && !store_lacks(store, i + 1))
        return false; // it has left
    return !outlook_is_up(store_outlook(listener_worker(l)->store), i + 1) ||
           journal->kind != POSITION_CURSOR ||
           journal->newest_ms < follow_token(l->follow)->at[i].newest_ms;
}

// note_debt remembers what could not be read, and what of others waits for it.
static enum error note_debt(struct listener *l)
{
    bool any = false;
    struct debt *debt;
    listener_drop_debt(l);
    enum error error = debt_new(follow_token(l->follow), &debt);
    if (error)
        return error;
    for (unsigned i = 0; i < listener_partitions(l); i++) {
        if (is_away(l, i))
            debt->owed[i] = OWED_AWAY;
        else if (!follow_finished(l->follow, i + 1))
            debt->owed[i] = OWED_HELD;
        any = any || debt->owed[i];
    }
    if (any)
        listener_owe(l, debt);
    else
        debt_free(&debt);
    return ERROR_NONE;
}

static void on_done(struct follow *follow, bool whole, void *context)
{
    struct listener *l = context;
    (void)follow;
    (void)whole;
    if (note_debt(l)) {
        listener_fail(l, 503, "out of memory");
        return;
    }
    struct bytes position = {0};
    token_format_whole(l->until, &position);
    listener_drop_reading(l);
    if (l->state == LISTENER_READS)
        changes_go_live(l, bytes_slice(&position));
    bytes_fini(&position);
}

// note_listed: what the partitions have up to now was told by the list, also of those that only the
// follower cannot read.
static void note_listed(struct listener *l)
{
    uint64_t now = 0;
    l->listed = false;
    for (unsigned i = 0; i < listener_partitions(l); i++)
        if (now < l->until->at[i].newest_ms)
            now = l->until->at[i].newest_ms;
    for (unsigned i = 0; i < listener_partitions(l); i++) {
        uint64_t read = l->until->at[i].newest_ms;
        if (l->from->at[i].kind != POSITION_START) // it was not in the list
            position_note(&l->from->at[i], read + BEHIND_MS < now ? now : read);
    }
}

// read_logs reads the logs from l->from up to the journal's end.
static enum error read_logs(struct listener *l, struct slice until)
{
    const struct follow_events events = {.on_entry = on_entry,
                                         .on_read = on_read,
                                         .on_trimmed = on_trimmed,
                                         .on_done = on_done,
                                         .context = l};
    if (token_parse(until, listener_partitions(l), &l->until))
        return ERROR_MEMORY;
    if (l->listed)
        note_listed(l);
    const struct follow_options options = {.from = l->from, .until = l->until, .values = l->values};
    return follow_new(listener_worker(l)->base, listener_worker(l)->store, &options, &events,
                      &l->follow);
}

void past_begin(struct listener *l)
{
    const struct feed_wish wish = {.values = l->values};
    struct bytes position = {0};
    if (l->state != LISTENER_READS)
        listener_set_state(l, LISTENER_READS);
    if (!feed_now(listener_feed(l), &wish, &position, &l->next, &l->generation))
        listener_fail(l, 503, "the feed began anew; ask again");
    else if (bytes_failed(&position) || read_logs(l, bytes_slice(&position)))
        listener_fail(l, 503, "out of memory");
    token_free(&l->from);
    bytes_fini(&position);
}

void past_go_on(struct listener *l)
{
    follow_resume(l->follow);
}
