// SPDX-License-Identifier: MIT
#include "server/feed.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/document.h"
#include "server/worker.h"
#include "store/recent.h"

enum {
    JOURNAL = 16384,                  // events
    LINGER_MS = 30000,                // after the last listener has left
    REMEMBERED = 16384,               // keys
    JOURNAL_BYTES = 32 * 1024 * 1024, // of them
    PATIENCE_US = 500000, // with what SQL wrote and somebody has locked: a listener begins without
};

// An event: lengths, then the texts behind each other.
struct item {
    struct item *next; // of those that are pending
    bool dead;
    unsigned partition;
    uint64_t seq;
    uint64_t version;
    unsigned key, token, members, value; // bytes
    char text[];
};

struct feed {
    struct workers *workers;
    unsigned partitions;
    struct feed_stats stats;
    atomic_uint with_values; // listeners that want them
    atomic_bool wished;      // somebody waits for the journal to be as wished

    pthread_mutex_t lock; // of all that follows
    bool live;            // the follower knows where it is
    bool has_values;      // events come with values
    int64_t asked_us;     // follow_asked_us
    int64_t settled_us;   // follow_settled_us
    bool stopped;
    uint64_t generation; // of the journal
    uint64_t first;      // number of its oldest event
    uint64_t end;        // number of its next event
    size_t bytes;
    struct bytes position;
    struct item *item[JOURNAL]; // by number modulo JOURNAL
    struct recent told;         // the last versions of keys

    // Of the first thread.
    struct follow *follow;
    int64_t needed; // clock_ms, when there were listeners
    bool appended;  // since the others were told
    // The events of an entry whose last key has not come yet. The journal has whole entries only:
    // `position` knows nothing in between.
    struct item *pending;
    struct item **more;
    size_t pending_bytes;
};

// ---------------------------------------------------------------- the journal

static size_t size_of(const struct item *item)
{
    return sizeof *item + item->key + item->token + item->members + item->value;
}

static void drop_first(struct feed *feed)
{
    struct item **item = &feed->item[feed->first++ % JOURNAL];
    feed->bytes -= size_of(*item);
    free(*item);
    *item = NULL;
}

static void drop_all(struct feed *feed)
{
    while (feed->first < feed->end)
        drop_first(feed);
}

static void append(struct feed *feed, struct item *item)
{
    if (feed->end - feed->first == JOURNAL)
        drop_first(feed);
    feed->bytes += size_of(item);
    feed->item[feed->end++ % JOURNAL] = item;
    while (feed->bytes > JOURNAL_BYTES && feed->first + 1 < feed->end)
        drop_first(feed);
}

static void set_position(struct feed *feed)
{
    bytes_clear(&feed->position);
    token_format_whole(follow_token(feed->follow), &feed->position);
}

// drop_pending forgets what has not come into the journal.
static void drop_pending(struct feed *feed)
{
    struct item *item;
    while ((item = feed->pending)) {
        feed->pending = item->next;
        free(item);
    }
    feed->more = &feed->pending;
    feed->pending_bytes = 0;
}

// publish puts the events of an entry into the journal, and moves its position behind it.
static void publish(struct feed *feed)
{
    struct item *item;
    pthread_mutex_lock(&feed->lock);
    while ((item = feed->pending)) {
        feed->pending = item->next;
        recent_note(&feed->told, (struct slice){item->text, item->key}, item->version);
        append(feed, item);
        feed->appended = true;
    }
    set_position(feed);
    pthread_mutex_unlock(&feed->lock);
    drop_pending(feed);
}

// begin_anew makes everybody notice that the journal does not go on.
static void begin_anew(struct feed *feed)
{
    drop_pending(feed);
    pthread_mutex_lock(&feed->lock);
    drop_all(feed);
    feed->generation++;
    feed->live = feed->has_values = false;
    pthread_mutex_unlock(&feed->lock);
    if (feed->workers->hot)
        hot_lost(feed->workers->hot);
}

// ---------------------------------------------------------------- from the follower

void feed_write_members(const struct follow_entry *entry, struct bytes *out)
{
    document_append_bytes(out, "key", entry->key);
    bytes_append_char(out, ',');
    document_append_version(out, entry->version);
    if (entry->dead)
        return;
    bytes_append_char(out, ',');
    document_append_bytes(out, "type", entry->pair.type);
    if (entry->pair.expires) {
        bytes_append_text(out, ",\"expires\":");
        bytes_append_number(out, entry->pair.expires);
    }
}

void feed_write_value(const struct follow_entry *entry, struct bytes *out)
{
    if (entry->dead || !entry->pair.value.data)
        return;
    bytes_append_char(out, ',');
    document_append_bytes(out, "value", entry->pair.value);
}

static struct item *make_item(const struct follow_entry *entry, const struct token *token)
{
    struct bytes text = {0};
    struct item lengths = {.dead = entry->dead,
                           .partition = entry->partition,
                           .seq = entry->seq,
                           .version = entry->version,
                           .key = (unsigned)entry->key.len};
    bytes_append_slice(&text, entry->key);
    size_t at = text.len;
    token_format(token, &text);
    lengths.token = (unsigned)(text.len - at);
    at = text.len;
    feed_write_members(entry, &text);
    lengths.members = (unsigned)(text.len - at);
    at = text.len;
    feed_write_value(entry, &text);
    lengths.value = (unsigned)(text.len - at);
    struct item *item = bytes_failed(&text) ? NULL : malloc(sizeof *item + text.len);
    if (item) {
        *item = lengths;
        memcpy(item->text, text.data, text.len);
    }
    bytes_fini(&text);
    return item;
}

static void tell_listeners(struct feed *feed)
{
    for (unsigned i = 0; i < feed->workers->count; i++)
        worker_wake(feed->workers->worker[i]);
}

uint64_t feed_told(struct feed *feed, struct slice key)
{
    pthread_mutex_lock(&feed->lock);
    uint64_t version = recent_version(&feed->told, key);
    pthread_mutex_unlock(&feed->lock);
    return version;
}

// lay_by keeps an event until its entry's last key has come.
static enum error lay_by(struct feed *feed, const struct follow_entry *entry,
                         const struct token *token)
{
    struct item *item = make_item(entry, token);
    if (!item)
        return ERROR_MEMORY;
    feed->pending_bytes += size_of(item);
    *feed->more = item;
    feed->more = &item->next;
    atomic_fetch_add_explicit(&feed->stats.events, 1, memory_order_relaxed);
    return feed->pending_bytes > JOURNAL_BYTES ? ERROR_MEMORY : ERROR_NONE;
}

static void on_entry(struct follow *follow, const struct follow_entry *entry, void *context)
{
    struct feed *feed = context;
    atomic_fetch_add_explicit(&feed->stats.entries, 1, memory_order_relaxed);
    if (feed->workers->hot)
        cache_invalidate(feed->workers->hot->cache, entry->key);
    if (entry->told && lay_by(feed, entry, follow_token(follow))) {
        // An event that is left out would be lost.
        log_write(LOG_ERROR, "out of memory: the feed begins anew");
        begin_anew(feed);
    }
    if (entry->last && feed->pending)
        publish(feed);
}

static void on_read(struct follow *follow, unsigned id, int64_t asked_us, bool settled,
                    void *context)
{
    struct feed *feed = context;
    if (feed->workers->hot && settled)
        hot_read(feed->workers->hot, id, asked_us);
    if (feed->pending) // an entry whose end is spoilt
        publish(feed);
    bool has_values = follow_has_values(follow);
    pthread_mutex_lock(&feed->lock);
    bool news = feed->appended || atomic_exchange(&feed->wished, false);
    set_position(feed);
    feed->asked_us = follow_asked_us(follow);
    feed->settled_us = follow_settled_us(follow);
    feed->has_values = has_values;
    feed->live = !bytes_failed(&feed->position);
    pthread_mutex_unlock(&feed->lock);
    feed->appended = false;
    if (news)
        tell_listeners(feed);
}

static void on_trimmed(struct follow *follow, unsigned id, void *context)
{
    struct feed *feed = context;
    (void)follow;
    log_write(LOG_WARN, "partition-%u: its change log was trimmed or began anew; listeners do, too",
              id);
    follow_free(&feed->follow);
    begin_anew(feed);
    worker_wake(feed->workers->worker[0]); // which follows again from now
    tell_listeners(feed);
}

// ---------------------------------------------------------------- the follower's life

static void start(struct feed *feed, struct event_base *base, struct store *store)
{
    static const struct follow_events events = {
        .on_entry = on_entry, .on_read = on_read, .on_trimmed = on_trimmed};
    struct follow_events with_context = events;
    struct token *from;
    with_context.context = feed;
    if (token_new(feed->partitions, &from))
        return;
    for (unsigned i = 0; i < feed->partitions; i++)
        from->at[i].kind = POSITION_NOW;
    const struct follow_options options = {.from = from,
                                           .values = atomic_load(&feed->with_values) > 0};
    if (follow_new(base, store, &options, &with_context, &feed->follow))
        log_write(LOG_ERROR, "out of memory: the feed does not start");
    token_free(&from);
}

void feed_run(struct feed *feed, struct event_base *base, struct store *store)
{
    int64_t now = clock_ms();
    bool joined = atomic_load(&feed->stats.listeners) > 0 || feed->workers->hot;
    if (joined)
        feed->needed = now;
    bool wanted = joined || (feed->follow && now < feed->needed + LINGER_MS);
    if (wanted && !feed->follow && !feed->stopped)
        start(feed, base, store);
    if (!wanted && feed->follow) {
        follow_free(&feed->follow);
        begin_anew(feed);
    }
    if (feed->follow)
        follow_want_values(feed->follow, atomic_load(&feed->with_values) > 0);
}

void feed_stop(struct feed *feed)
{
    feed->stopped = true;
    follow_free(&feed->follow);
    begin_anew(feed);
}

enum error feed_new(struct workers *workers, unsigned partitions, struct feed **feed)
{
    struct feed *f = calloc(1, sizeof *f);
    *feed = f;
    if (!f)
        return ERROR_MEMORY;
    f->workers = workers;
    f->partitions = partitions;
    f->more = &f->pending;
    pthread_mutex_init(&f->lock, NULL);
    enum error error = recent_init(&f->told, REMEMBERED);
    if (error)
        feed_free(feed);
    return error;
}

void feed_free(struct feed **feed)
{
    struct feed *f = *feed;
    if (!f)
        return;
    *feed = NULL;
    follow_free(&f->follow);
    drop_pending(f);
    drop_all(f);
    bytes_fini(&f->position);
    recent_fini(&f->told);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

// ---------------------------------------------------------------- for the listeners

void feed_join(struct feed *feed, bool values)
{
    bool first = atomic_fetch_add(&feed->stats.listeners, 1) == 0;
    bool first_with = values && atomic_fetch_add(&feed->with_values, 1) == 0;
    if (first || first_with)
        worker_wake(feed->workers->worker[0]);
}

void feed_leave(struct feed *feed, bool values)
{
    bool last_with = values && atomic_fetch_sub(&feed->with_values, 1) == 1;
    bool last = atomic_fetch_sub(&feed->stats.listeners, 1) == 1;
    if (last || last_with)
        worker_wake(feed->workers->worker[0]);
}

bool feed_now(struct feed *feed, const struct feed_wish *wish, struct bytes *token, uint64_t *next,
              uint64_t *generation)
{
    pthread_mutex_lock(&feed->lock);
    bool told =
        feed->settled_us >= wish->since_us || feed->asked_us >= wish->since_us + PATIENCE_US;
    bool there = feed->live && told && (!wish->values || feed->has_values);
    if (!there) {
        atomic_store(&feed->wished, true);
    } else {
        bytes_append_slice(token, bytes_slice(&feed->position));
        *next = feed->end;
        *generation = feed->generation;
    }
    pthread_mutex_unlock(&feed->lock);
    return there;
}

static bool visit_item(const struct item *item,
                       bool (*visit)(const struct feed_event *event, void *context), void *context)
{
    const char *text = item->text;
    struct feed_event event = {.dead = item->dead,
                               .partition = item->partition,
                               .seq = item->seq,
                               .version = item->version};
    event.key = (struct slice){text, item->key};
    event.token = (struct slice){text += item->key, item->token};
    event.members = (struct slice){text += item->token, item->members};
    event.value = (struct slice){text + item->members, item->value};
    return visit(&event, context);
}

enum feed_result feed_read(struct feed *feed, uint64_t generation, uint64_t *next,
                           bool (*visit)(const struct feed_event *event, void *context),
                           void *context)
{
    enum feed_result result = FEED_END;
    pthread_mutex_lock(&feed->lock);
    if (generation != feed->generation || *next < feed->first)
        result = FEED_LOST;
    while (result == FEED_END && *next < feed->end) {
        if (visit_item(feed->item[*next % JOURNAL], visit, context))
            ++*next;
        else
            result = FEED_FULL;
    }
    pthread_mutex_unlock(&feed->lock);
    return result;
}

struct feed_stats *feed_stats(struct feed *feed)
{
    return &feed->stats;
}
