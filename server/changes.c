// SPDX-License-Identifier: MIT
#include "server/changes.h"

#include <assert.h>
#include <event2/event_struct.h>
#include <stdlib.h>

#include "base/clock.h"
#include "server/document.h"
#include "server/feed.h"
#include "server/http.h"
#include "server/reply.h"
#include "server/target.h"
#include "server/worker.h"
#include "store/listing.h"

enum {
    LIMIT_MAX = 100000,
    LIMIT_JSON = 1000, // if none is given
    LIMIT_JSON_MAX = 10000,
    WAIT_MAX = 300,        // seconds
    HEARTBEAT_MS = 15000,  // without another event
    START_MS = 5000,       // until the follower has begun
    LOOK_MS = 1000,        // between two looks at who needs a heartbeat or can pay
    PIECE = 64 * 1024,     // bytes written to a listener before the next one's turn
    FETCH = 32,            // values read at a time while a list is told
    VALUE_MAX = 64 * 1024, // of the values that come along
};

enum since {
    SINCE_NOW,
    SINCE_START,
    SINCE_TOKEN,
};

enum listener_state {
    LISTENER_NEW,   // the head has come
    LISTENER_WAITS, // for the follower
    LISTENER_LISTS, // the present state
    LISTENER_READS, // the change logs, up to the journal
    LISTENER_LIVE,
    LISTENER_OVER,
};

// What a listener still has to be told of partitions that were away: everything between `at` and
// the journal, for each partition that is owed.
struct debt {
    struct token *at;
    bool owed[];
};

// An item of a list whose value is being read.
struct fetch {
    struct operation operation;
    struct listener *listener;
    bool found;
    struct bytes members;
    struct bytes value;
    size_t key_len;
    char key[KEY_MAX];
};

struct listener {
    enum listener_state state;
    struct request *request;
    struct list link; // in the list of its state
    enum since since;
    bool values;
    bool began;          // the head of the answer is out
    bool late;           // a poll's time is up
    unsigned wait;       // seconds
    uint64_t limit;      // 0 = none
    uint64_t told;       // events
    uint64_t next;       // in the journal
    uint64_t generation; // of the journal
    int64_t came_us;     // clock_us
    int64_t sent;        // clock_ms; when it began to wait, when something was sent last
    struct token *from;  // of SINCE_TOKEN; what the logs are read from
    struct listing *listing;
    struct follow *follow;
    struct token *until; // of follow
    struct debt *debt;
    struct fetch *fetch; // [FETCH], while a list is told with values
    unsigned fetching;   // under way
    unsigned fetched;    // in fetch
    struct bytes token;  // of the last event; the position that a list began with
    struct bytes out;    // what was not sent yet; all of a poll's events
    struct event timer;  // a poll's time
    size_t prefix_len;
    char prefix[];
};

static const struct feed_wish no_wish;

// One event on its way to a listener.
struct news {
    bool dead;
    struct slice token;
    struct slice after; // in a list: the item's key, which is a part of the token
    struct slice members;
    struct slice value;
};

static struct listener *listener_of(const struct request *r)
{
    return r->state_of_handler;
}

static struct worker *worker_of(const struct listener *l)
{
    return l->request->worker;
}

static struct feed *feed_of(const struct listener *l)
{
    return worker_of(l)->all->feed;
}

static unsigned partitions_of(const struct listener *l)
{
    return store_partitions(worker_of(l)->store);
}

static bool is_poll(const struct listener *l)
{
    return l->request->format == FORMAT_JSON;
}

// ---------------------------------------------------------------- the mover of states

static struct list *list_of(struct listener *l)
{
    struct listeners *all = &worker_of(l)->listeners;
    switch (l->state) {
    case LISTENER_WAITS:
        return &all->waiting;
    case LISTENER_LISTS:
    case LISTENER_READS:
        return &all->past;
    case LISTENER_LIVE:
        return is_poll(l) ? &all->polls : &all->streams;
    default:
        return NULL;
    }
}

static void drop_debt(struct listener *l)
{
    if (!l->debt)
        return;
    token_free(&l->debt->at);
    free(l->debt);
    l->debt = NULL;
    worker_of(l)->listeners.owing--;
}

static void drop_past(struct listener *l)
{
    listing_free(&l->listing);
    follow_free(&l->follow);
    token_free(&l->until);
}

static void set_state(struct listener *l, enum listener_state state)
{
    assert(l->state < state || (l->state == LISTENER_LIVE && state == LISTENER_READS));
    list_remove(&l->link);
    if (l->state == LISTENER_NEW && state == LISTENER_WAITS)
        feed_join(feed_of(l), l->values);
    if (l->state != LISTENER_NEW && state == LISTENER_OVER)
        feed_leave(feed_of(l), l->values);
    l->state = state;
    struct list *list = list_of(l);
    if (list)
        list_append(list, &l->link);
    if (state == LISTENER_OVER) {
        drop_past(l);
        drop_debt(l);
        if (event_initialized(&l->timer))
            event_del(&l->timer);
    }
}

// ---------------------------------------------------------------- what is written

// write_token appends the token of an event, at a client's length. Partitions that are owed are
// where they were.
static void write_token(const struct listener *l, const struct news *news, struct bytes *out)
{
    struct token *token;
    if (!l->debt && news->token.len <= TOKEN_SHORT) {
        bytes_append_slice(out, news->token);
    } else if (token_parse(news->token, partitions_of(l), &token)) {
        out->failed = true;
    } else {
        for (unsigned i = 0; l->debt && i < token->partitions; i++)
            if (l->debt->owed[i] && position_copy(&token->at[i], &l->debt->at->at[i]))
                out->failed = true;
        token_format(token, out);
        token_free(&token);
    }
    if (news->after.data)
        token_format_after(news->after, out);
}

static void write_object(const struct listener *l, const char *event, const struct news *news,
                         struct bytes *out)
{
    bytes_append_text(out, "{\"event\":\"");
    bytes_append_text(out, event);
    bytes_append_text(out, "\",\"token\":\"");
    write_token(l, news, out);
    bytes_append_char(out, '"');
    if (news->members.len)
        bytes_append_char(out, ',');
    bytes_append_slice(out, news->members);
    bytes_append_slice(out, news->value);
    bytes_append_char(out, '}');
}

static void write_event(const struct listener *l, const char *event, const struct news *news,
                        struct bytes *out)
{
    bytes_append_text(out, "event: ");
    bytes_append_text(out, event);
    bytes_append_text(out, "\nid: ");
    write_token(l, news, out);
    bytes_append_text(out, "\ndata: {");
    if (news->members.len) {
        bytes_append_slice(out, news->members);
        bytes_append_slice(out, news->value);
    } else {
        bytes_append_text(out, "\"token\":\"");
        write_token(l, news, out);
        bytes_append_char(out, '"');
    }
    bytes_append_text(out, "}\n\n");
}

// write_news appends an event in the listener's form to what it is sent.
static void write_news(struct listener *l, const char *event, const struct news *news)
{
    if (l->request->format == FORMAT_EVENTS) {
        write_event(l, event, news, &l->out);
    } else if (l->request->format == FORMAT_NDJSON) {
        write_object(l, event, news, &l->out);
        bytes_append_char(&l->out, '\n');
    } else {
        bytes_append_text(&l->out, l->told ? "," : "");
        write_object(l, event, news, &l->out);
        bytes_clear(&l->token);
        write_token(l, news, &l->token);
    }
}

static void tell(struct listener *l, const struct news *news)
{
    write_news(l, news->dead ? "delete" : "put", news);
    l->told++;
}

// has_piece: a stream has enough to be sent.
static bool has_piece(const struct listener *l)
{
    return !is_poll(l) && l->out.len > PIECE;
}

static bool is_full(const struct listener *l)
{
    return l->limit && l->told >= l->limit;
}

// ---------------------------------------------------------------- the answer

static void begin_stream(struct listener *l)
{
    struct request *r = l->request;
    if (l->began || is_poll(l))
        return;
    l->began = true;
    reply_begin_stream(r, 200);
    reply_header(r, "Content-Type", slice_of(document_type(r->format)));
    reply_headers(r, SLICE("Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
                           "X-Accel-Buffering: no\r\n"));
    if (l->listing) {
        unsigned count;
        const uint16_t *missing = listing_missing(l->listing, &count);
        reply_stale(r, missing, count);
    }
    reply_stream(r);
    if (r->format == FORMAT_EVENTS)
        reply_piece(r, SLICE("retry: 1000\n\n"));
}

// send_piece sends what was written to a stream.
static void send_piece(struct listener *l)
{
    if (bytes_failed(&l->out)) {
        set_state(l, LISTENER_OVER);
        reply_abort(l->request);
        return;
    }
    if (l->out.len == 0 || is_poll(l))
        return;
    begin_stream(l);
    reply_piece(l->request, bytes_slice(&l->out));
    bytes_shrink(&l->out, 0); // there may be thousands of idle listeners
    l->sent = clock_ms();
}

// refuse answers without a listener's beginning; what is not the client's fault it may try again.
static void refuse(struct request *r, unsigned status, const char *detail)
{
    reply_begin(r, status);
    if (status == 503)
        reply_headers(r, SLICE("Retry-After: 1\r\n"));
    reply_problem_end(r, status, detail);
}

static void fail(struct listener *l, unsigned status, const char *detail)
{
    set_state(l, LISTENER_OVER);
    if (l->began)
        reply_abort(l->request);
    else
        refuse(l->request, status, detail);
}

// end ends the answer: a stream after what was sent, a poll with all that was gathered.
static void end(struct listener *l)
{
    struct request *r = l->request;
    set_state(l, LISTENER_OVER);
    if (!is_poll(l)) {
        begin_stream(l);
        if (l->out.len && !bytes_failed(&l->out))
            reply_piece(r, bytes_slice(&l->out));
        bytes_fini(&l->out);
        reply_end(r);
        return;
    }
    struct bytes body = {0};
    bytes_append_text(&body, "{\"changes\":[");
    bytes_append_slice(&body, bytes_slice(&l->out));
    bytes_append_text(&body, "],\"token\":\"");
    bytes_append_slice(&body, bytes_slice(&l->token));
    bytes_append_text(&body, "\"}\n");
    if (bytes_failed(&body) || bytes_failed(&l->out) || bytes_failed(&l->token)) {
        refuse(r, 503, "out of memory");
    } else {
        reply_begin(r, 200);
        reply_headers(r, SLICE("Content-Type: application/json\r\nCache-Control: no-cache\r\n"
                               "X-Content-Type-Options: nosniff\r\n"));
        reply_body(r, bytes_slice(&body));
    }
    bytes_fini(&body);
}

// ---------------------------------------------------------------- LIVE

// is_at_end tells whether the listener is at the journal's end, and appends its position.
static bool is_at_end(const struct listener *l, struct bytes *position)
{
    uint64_t next, generation;
    return feed_now(feed_of(l), &no_wish, position, &next, &generation) && next == l->next &&
           generation == l->generation;
}

// take_position makes the listener's token that of the journal's end; false if it is not there.
static bool take_position(struct listener *l, struct bytes *token)
{
    struct bytes position = {0};
    bool there = is_at_end(l, &position);
    const struct news news = {.token = bytes_slice(&position)};
    if (there) {
        bytes_clear(token);
        write_token(l, &news, token);
    }
    bytes_fini(&position);
    return there;
}

// send_progress tells a stream how far it is, if it is at the journal's end.
static void send_progress(struct listener *l)
{
    struct bytes position = {0};
    bool there = is_at_end(l, &position);
    const struct news news = {.token = bytes_slice(&position)};
    if (there) {
        write_news(l, "progress", &news);
        send_piece(l);
    }
    bytes_fini(&position);
}

static bool visit(const struct feed_event *event, void *context)
{
    struct listener *l = context;
    if (is_full(l) || has_piece(l))
        return false;
    if (!slice_starts(event->key, (struct slice){l->prefix, l->prefix_len}))
        return true;
    const struct news news = {.dead = event->dead,
                              .token = event->token,
                              .members = event->members,
                              .value = l->values ? event->value : (struct slice){0}};
    tell(l, &news);
    return true;
}

static void drop(struct listener *l)
{
    atomic_fetch_add_explicit(&feed_stats(feed_of(l))->dropped, 1, memory_order_relaxed);
    end(l); // its token is what it was told last
}

static void deliver_poll(struct listener *l)
{
    enum feed_result result = feed_read(feed_of(l), l->generation, &l->next, visit, l);
    if (result == FEED_LOST && l->told == 0)
        fail(l, 503, "the feed began anew; ask again");
    else if (is_full(l) || result == FEED_LOST)
        end(l);
    else if ((l->told || l->late) && take_position(l, &l->token))
        end(l);
    else if (l->told || l->late)
        deliver_poll(l); // more has come meanwhile
}

static void deliver(struct listener *l)
{
    if (is_poll(l)) {
        deliver_poll(l);
        return;
    }
    while (http_writable(l->request)) {
        enum feed_result result = feed_read(feed_of(l), l->generation, &l->next, visit, l);
        send_piece(l);
        if (l->state == LISTENER_OVER)
            return;
        if (result == FEED_LOST)
            drop(l);
        else if (is_full(l))
            end(l);
        else if (result == FEED_FULL)
            continue;
        return;
    }
}

static void on_poll_time(evutil_socket_t fd, short what, void *context)
{
    struct listener *l = context;
    (void)fd;
    (void)what;
    l->late = true;
    if (l->state == LISTENER_LIVE)
        deliver(l);
}

static void begin_wait(struct listener *l)
{
    struct timeval tv = {l->wait, 0};
    if (!is_poll(l))
        return;
    evtimer_assign(&l->timer, worker_of(l)->base, on_poll_time, l);
    if (l->wait)
        evtimer_add(&l->timer, &tv);
    else
        l->late = true;
}

// be_live goes on in the journal at `position`, which the listener is told.
static void be_live(struct listener *l, struct slice position)
{
    const struct news news = {.token = position};
    set_state(l, LISTENER_LIVE);
    begin_wait(l);
    if (!is_poll(l)) {
        write_news(l, "progress", &news);
        send_piece(l);
    }
    if (l->state == LISTENER_LIVE)
        deliver(l);
}

// ---------------------------------------------------------------- READS

static void on_past_entry(struct follow *follow, const struct follow_entry *entry, void *context)
{
    struct listener *l = context;
    if (!entry->told || !slice_starts(entry->key, (struct slice){l->prefix, l->prefix_len}))
        return;
    // A greater version was told here: this listener knows it, or will come to its entry.
    if (feed_told(feed_of(l), entry->key) > entry->version)
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
    tell(l, &news);
    bytes_fini(&token);
    bytes_fini(&members);
    bytes_fini(&value);
    if (is_full(l)) {
        send_piece(l);
        if (l->state != LISTENER_OVER)
            end(l);
    } else if (has_piece(l)) {
        send_piece(l);
        if (l->state != LISTENER_OVER && !http_writable(l->request))
            follow_pause(follow);
    }
}

static void on_past_read(struct follow *follow, unsigned id, int64_t asked_us, void *context)
{
    (void)follow;
    (void)id;
    (void)asked_us;
    send_piece(context);
}

static void on_past_trimmed(struct follow *follow, unsigned id, void *context)
{
    struct listener *l = context;
    (void)follow;
    (void)id;
    fail(l, 410, "the change log no longer reaches back to this token: read with since=0");
}

// note_debt remembers what could not be read: partitions that are away, and those of which the
// journal itself does not know where it is.
static enum error note_debt(struct listener *l)
{
    const struct follow *f = l->follow;
    bool any = false;
    drop_debt(l);
    struct debt *debt = calloc(1, sizeof *debt + sizeof debt->owed[0] * partitions_of(l));
    if (!debt || token_new(partitions_of(l), &debt->at) || token_copy(debt->at, follow_token(f))) {
        if (debt)
            token_free(&debt->at);
        free(debt);
        return ERROR_MEMORY;
    }
    for (unsigned i = 0; i < partitions_of(l); i++) {
        debt->owed[i] = !follow_finished(f, i + 1) || l->until->at[i].kind != POSITION_CURSOR;
        any = any || debt->owed[i];
    }
    l->debt = debt;
    worker_of(l)->listeners.owing++;
    if (!any)
        drop_debt(l);
    return ERROR_NONE;
}

static void on_past_done(struct follow *follow, bool whole, void *context)
{
    struct listener *l = context;
    (void)follow;
    (void)whole;
    if (note_debt(l)) {
        fail(l, 503, "out of memory");
        return;
    }
    struct bytes position = {0};
    token_format_whole(l->until, &position);
    drop_past(l);
    if (l->state == LISTENER_READS)
        be_live(l, bytes_slice(&position));
    bytes_fini(&position);
}

// read_past reads the logs from `from` up to the journal's end.
static enum error read_past(struct listener *l, const struct token *from, struct slice until)
{
    const struct follow_events events = {.on_entry = on_past_entry,
                                         .on_read = on_past_read,
                                         .on_trimmed = on_past_trimmed,
                                         .on_done = on_past_done,
                                         .context = l};
    if (token_parse(until, partitions_of(l), &l->until))
        return ERROR_MEMORY;
    const struct follow_options options = {.from = from, .until = l->until, .values = l->values};
    return follow_new(worker_of(l)->base, worker_of(l)->store, &options, &events, &l->follow);
}

// catch_up goes from l->from to the journal.
static void catch_up(struct listener *l)
{
    const struct feed_wish wish = {.values = l->values};
    struct bytes position = {0};
    if (l->state != LISTENER_READS)
        set_state(l, LISTENER_READS);
    if (!feed_now(feed_of(l), &wish, &position, &l->next, &l->generation))
        fail(l, 503, "the feed began anew; ask again");
    else if (bytes_failed(&position) || read_past(l, l->from, bytes_slice(&position)))
        fail(l, 503, "out of memory");
    token_free(&l->from);
    bytes_fini(&position);
}

// pay leaves the journal, at its end, to read what was owed; the journal waits.
static void pay(struct listener *l)
{
    struct bytes position = {0};
    if (l->state == LISTENER_LIVE && take_position(l, &position) &&
        token_parse(bytes_slice(&position), partitions_of(l), &l->from) == ERROR_NONE) {
        drop_debt(l);
        catch_up(l);
    }
    bytes_fini(&position);
}

// ---------------------------------------------------------------- LISTS

static void tell_item(struct listener *l, struct slice key, struct slice members,
                      struct slice value)
{
    struct bytes start = {0};
    bytes_append_slice(&start, bytes_slice(&l->token)); // which a poll's event replaces
    const struct news news = {
        .token = bytes_slice(&start), .after = key, .members = members, .value = value};
    tell(l, &news);
    bytes_clear(&l->token);
    bytes_append_slice(&l->token, news.token);
    bytes_fini(&start);
}

static void end_list_at_limit(struct listener *l, struct slice key)
{
    token_format_after(key, &l->token);
    send_piece(l);
    if (l->state != LISTENER_OVER)
        end(l);
}

static void list_on(struct listener *l);

static void tell_fetched(struct listener *l)
{
    unsigned count = l->fetched;
    l->fetched = 0;
    for (unsigned i = 0; i < count && l->state == LISTENER_LISTS; i++) {
        struct fetch *f = &l->fetch[i];
        struct slice key = {f->key, f->key_len};
        if (!f->found)
            continue;
        tell_item(l, key, bytes_slice(&f->members), bytes_slice(&f->value));
        if (is_full(l))
            end_list_at_limit(l, key);
    }
    if (l->state == LISTENER_LISTS && !is_poll(l))
        send_piece(l);
    if (l->state == LISTENER_LISTS && !listing_waiting(l->listing))
        list_on(l);
}

static void on_fetched(struct operation *operation, const struct outcome *outcome)
{
    struct fetch *f = CONTAINER_OF(operation, struct fetch, operation);
    struct listener *l = f->listener;
    l->fetching--;
    if (!request_release(l->request))
        return;
    if (l->state != LISTENER_LISTS)
        return;
    if (outcome->error) {
        fail(l, document_status(outcome->error), document_detail(outcome->error));
        return;
    }
    f->found = outcome->found;
    bytes_clear(&f->members);
    bytes_clear(&f->value);
    if (f->found) {
        const struct follow_entry entry = {
            .version = outcome->pair.version, .key = {f->key, f->key_len}, .pair = outcome->pair};
        feed_write_members(&entry, &f->members);
        if (outcome->pair.size <= VALUE_MAX)
            feed_write_value(&entry, &f->value);
    }
    if (l->fetching == 0)
        tell_fetched(l);
}

static void fetch_item(struct listener *l, const struct listing_item *item)
{
    struct fetch *f = &l->fetch[l->fetched++];
    memcpy(f->key, item->key.data, item->key.len);
    f->key_len = item->key.len;
    f->listener = l;
}

static void fetch_all(struct listener *l)
{
    l->fetching = l->fetched;
    for (unsigned i = 0; i < l->fetched; i++) {
        struct fetch *f = &l->fetch[i];
        f->operation = (struct operation){
            .kind = OPERATION_GET, .key = {f->key, f->key_len}, .on_done = on_fetched};
        request_hold(l->request);
        store_submit(worker_of(l)->store, &f->operation);
    }
}

// take_item tells an item, or lays it by until its value is there; false when no more can be taken.
static bool take_item(struct listener *l, const struct listing_item *item)
{
    if (l->values) {
        fetch_item(l, item);
        return l->fetched < FETCH;
    }
    const struct follow_entry entry = {
        .version = item->version, .key = item->key, .pair = {.type = item->type}};
    struct bytes members = {0};
    feed_write_members(&entry, &members);
    l->out.failed |= bytes_failed(&members);
    tell_item(l, item->key, bytes_slice(&members), (struct slice){0});
    bytes_fini(&members);
    if (is_full(l)) {
        end_list_at_limit(l, item->key);
        return false;
    }
    if (has_piece(l))
        send_piece(l);
    return l->state == LISTENER_LISTS && (is_poll(l) || http_writable(l->request));
}

static void end_list(struct listener *l)
{
    listing_free(&l->listing);
    catch_up(l);
}

// list_on takes from the list until it has to wait: for the list, for values, for the client.
static void list_on(struct listener *l)
{
    bool more = !l->fetching && (is_poll(l) || http_writable(l->request));
    while (more) {
        struct listing_item item;
        enum listing_result result = listing_next(l->listing, &item);
        if (result == LISTING_ITEM) {
            more = take_item(l, &item);
            continue;
        }
        if (result == LISTING_FAILED)
            fail(l, 503, "a partition that is needed is unavailable");
        else if (l->fetched == 0 && result == LISTING_END)
            end_list(l);
        break;
    }
    if (l->state == LISTENER_LISTS && l->fetched && !l->fetching)
        fetch_all(l);
    else if (l->state == LISTENER_LISTS)
        send_piece(l);
}

static void on_listing_ready(struct listing *listing, void *context)
{
    (void)listing;
    list_on(context);
}

// begin_logs_of_missing: what partitions have that are away now is not in the list. Their logs will
// be read from their beginning; what these no longer have is on other partitions.
static void begin_logs_of_missing(struct listener *l)
{
    unsigned count;
    const uint16_t *missing = listing_missing(l->listing, &count);
    for (unsigned i = 0; i < count; i++) {
        struct position *at = &l->from->at[missing[i] - 1];
        cursor_fini(&at->cursor);
        *at = (struct position){.kind = POSITION_START};
    }
}

// begin_list lists the present state, from behind l->from's key on; the logs are then read from
// l->from.
static void begin_list(struct listener *l)
{
    const struct listing_options options = {.prefix = {l->prefix, l->prefix_len},
                                            .after = {l->from->after, l->from->after_len},
                                            .expected = is_poll(l) ? l->limit : 0};
    set_state(l, LISTENER_LISTS);
    l->from->listing = false;
    l->fetch = l->values ? calloc(FETCH, sizeof *l->fetch) : NULL;
    if ((l->values && !l->fetch) ||
        listing_new(worker_of(l)->store, &options, on_listing_ready, l, &l->listing)) {
        fail(l, 503, "out of memory");
        return;
    }
    begin_logs_of_missing(l);
    token_format(l->from, &l->token);
    list_on(l);
}

// ---------------------------------------------------------------- WAITS

// The body of a stream begins at once and never comes: a HEAD learns what it would be.
static bool is_head_of_stream(const struct listener *l)
{
    return l->request->method == METHOD_HEAD && !is_poll(l);
}

// go_on leaves WAITS once the follower has begun.
static void go_on(struct listener *l)
{
    const struct feed_wish wish = {.since_us = l->came_us, .values = l->values};
    struct bytes position = {0};
    if (!feed_now(feed_of(l), &wish, &position, &l->next, &l->generation)) {
        bytes_fini(&position);
        return;
    }
    enum error error = ERROR_NONE;
    if (l->since == SINCE_START)
        error = token_parse(bytes_slice(&position), partitions_of(l), &l->from);
    if (error)
        fail(l, 503, "out of memory");
    else if (is_head_of_stream(l))
        end(l);
    else if (l->since == SINCE_NOW)
        be_live(l, bytes_slice(&position));
    else if (l->since == SINCE_START || l->from->listing)
        begin_list(l);
    else
        catch_up(l);
    bytes_fini(&position);
}

// ---------------------------------------------------------------- the worker

void changes_init(struct worker *w)
{
    list_init(&w->listeners.waiting);
    list_init(&w->listeners.past);
    list_init(&w->listeners.streams);
    list_init(&w->listeners.polls);
}

// for_all calls for each that is in the list now; the call may move or end that one.
static void for_all(struct list *list, void (*call)(struct listener *listener))
{
    struct list now, *link;
    list_init(&now);
    list_splice(&now, list);
    while ((link = list_shift(&now))) {
        list_append(list, link);
        call(CONTAINER_OF(link, struct listener, link));
    }
}

void changes_deliver(struct worker *w)
{
    for_all(&w->listeners.waiting, go_on);
    for_all(&w->listeners.streams, deliver);
    for_all(&w->listeners.polls, deliver);
}

static void pay_if_owing(struct listener *l)
{
    deliver(l);
    if (l->debt)
        pay(l);
}

static void give_up(struct listener *l)
{
    if (l->sent + START_MS <= clock_ms())
        fail(l, 503, "no partition can be followed");
}

static void beat(struct listener *l)
{
    if (l->sent + HEARTBEAT_MS > clock_ms() || !http_writable(l->request))
        return;
    send_progress(l);
    l->sent = clock_ms();
}

void changes_tick(struct worker *w)
{
    struct listeners *all = &w->listeners;
    int64_t now = clock_ms();
    for_all(&all->waiting, give_up);
    if (all->looked + LOOK_MS > now)
        return;
    all->looked = now;
    for_all(&all->streams, beat);
    if (all->owing)
        for_all(&all->streams, pay_if_owing);
}

// stop ends an answer early; a poll that was told nothing has no token to go on with.
static void stop(struct listener *l)
{
    if (is_poll(l) && l->told == 0)
        fail(l, 503, "the server is stopping");
    else
        end(l);
}

void changes_stop(struct worker *w)
{
    struct listeners *all = &w->listeners;
    for_all(&all->waiting, stop);
    for_all(&all->past, stop);
    for_all(&all->streams, stop);
    for_all(&all->polls, stop);
}

// ---------------------------------------------------------------- the request

struct parameters {
    char prefix[KEY_MAX];
    size_t prefix_len;
    struct slice since;
    unsigned long long limit;
    unsigned long long wait;
    bool values;
    unsigned seen; // bits of the parameters that came
};

static bool read_parameter(struct parameters *p, struct slice name, struct slice value)
{
    static const struct slice names[] = {
        {"prefix", 6}, {"since", 5}, {"include", 7}, {"limit", 5}, {"wait", 4}};
    unsigned which = 0;
    while (which < 5 && !slice_equal(name, names[which]))
        which++;
    if (which == 5 || p->seen & 1u << which || !value.data)
        return false;
    p->seen |= 1u << which;
    switch (which) {
    case 0:
        return target_decode(value, p->prefix, KEY_MAX, &p->prefix_len) == ERROR_NONE;
    case 1:
        p->since = value;
        return value.len > 0;
    case 2:
        p->values = slice_equal(value, SLICE("value"));
        return p->values;
    case 3:
        return slice_number(value, LIMIT_MAX, &p->limit) == ERROR_NONE && p->limit;
    default:
        return slice_number(value, WAIT_MAX, &p->wait) == ERROR_NONE;
    }
}

static bool read_parameters(struct request *r, struct parameters *p)
{
    struct slice query = r->query, name, value;
    bool right = true;
    while (right && target_query_next(&query, &name, &value))
        right = read_parameter(p, name, value);
    bool poll = r->format == FORMAT_JSON;
    if (poll && p->limit == 0)
        p->limit = LIMIT_JSON;
    if (right && (!poll || p->limit <= LIMIT_JSON_MAX))
        return true;
    reply_problem(r, 400,
                  "changes take prefix (up to 512 bytes, percent-encoded), since (now, 0 or a "
                  "token), include=value, limit (1 to 100000; JSON: to 10000) and wait (0 to 300 "
                  "seconds), each once");
    return false;
}

// read_since answers what is no token.
static void read_since(struct listener *l, struct slice since)
{
    if (since.len == 0 || slice_equal(since, SLICE("now"))) {
        l->since = SINCE_NOW;
    } else if (slice_equal(since, SLICE("0"))) {
        l->since = SINCE_START;
    } else {
        l->since = SINCE_TOKEN;
        switch (token_parse(since, partitions_of(l), &l->from)) {
        case ERROR_NONE:
            break;
        case ERROR_UNAVAILABLE:
            refuse(l->request, 503, "the token names a partition that this daemon does not have");
            return;
        case ERROR_MALFORMED:
            reply_problem(l->request, 400,
                          "since is now, 0, or a token that a daemon of this "
                          "store has given");
            return;
        default:
            refuse(l->request, 503, "out of memory");
            return;
        }
    }
}

static void begin(struct request *r, const struct head *head)
{
    struct parameters p = {0};
    struct slice last = head->value[HEADER_LAST_EVENT_ID];
    if (!read_parameters(r, &p))
        return;
    struct listener *l = calloc(1, sizeof *l + p.prefix_len);
    if (!l) {
        refuse(r, 503, "out of memory");
        return;
    }
    r->state_of_handler = l;
    l->request = r;
    list_init(&l->link);
    l->values = p.values;
    l->limit = p.limit;
    l->wait = (unsigned)p.wait;
    memcpy(l->prefix, p.prefix, p.prefix_len);
    l->prefix_len = p.prefix_len;
    read_since(l, last.len ? last : p.since);
}

static void request_ended(struct request *r)
{
    struct listener *l = listener_of(r);
    l->came_us = clock_us();
    l->sent = clock_ms();
    set_state(l, LISTENER_WAITS);
    go_on(l);
}

static void on_writable(struct request *r)
{
    struct listener *l = listener_of(r);
    if (l->state == LISTENER_LIVE)
        deliver(l);
    else if (l->state == LISTENER_LISTS && !l->fetching && !listing_waiting(l->listing))
        list_on(l);
    if (l->follow && l->state != LISTENER_OVER)
        follow_resume(l->follow);
}

static void fini(struct request *r)
{
    struct listener *l = listener_of(r);
    if (!l)
        return;
    if (l->state != LISTENER_OVER)
        set_state(l, LISTENER_OVER);
    token_free(&l->from);
    for (unsigned i = 0; l->fetch && i < FETCH; i++) {
        bytes_fini(&l->fetch[i].members);
        bytes_fini(&l->fetch[i].value);
    }
    free(l->fetch);
    bytes_fini(&l->token);
    bytes_fini(&l->out);
    free(l);
    r->state_of_handler = NULL;
}

const struct handler changes_get = {.begin = begin,
                                    .on_body = request_pass_over,
                                    .end = request_ended,
                                    .on_writable = on_writable,
                                    .fini = fini};
