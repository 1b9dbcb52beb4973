// SPDX-License-Identifier: MIT
#include "server/changes.h"

#include <stdlib.h>

#include "base/clock.h"
#include "server/http.h"
#include "server/listener.h"
#include "server/past.h"
#include "server/present.h"
#include "server/reply.h"
#include "server/target.h"
#include "store/version.h"

enum {
    LIMIT_MAX = 100000,
    LIMIT_JSON = 1000, // if none is given
    LIMIT_JSON_MAX = 10000,
    WAIT_MAX = 300,       // seconds
    HEARTBEAT_MS = 15000, // without another event
    START_MS = 5000,      // until the follower has begun
    LOOK_MS = 1000,       // between two looks at who needs a heartbeat or can pay
};

static const struct feed_wish no_wish;

static struct listener *listener_of(const struct request *r)
{
    return r->state_of_handler;
}

// ---------------------------------------------------------------- LIVE

// is_at_end tells whether the listener is at the journal's end, and appends its position.
static bool is_at_end(const struct listener *l, const struct feed_wish *wish,
                      struct bytes *position)
{
    uint64_t next, generation;
    return feed_now(listener_feed(l), wish, position, &next, &generation) && next == l->next &&
           generation == l->generation;
}

// take_position writes the token of the journal's end; false if the listener is not there.
static bool take_position(struct listener *l, const struct feed_wish *wish, struct bytes *token)
{
    struct bytes position = {0};
    bool there = is_at_end(l, wish, &position);
    const struct news news = {.token = bytes_slice(&position)};
    if (there) {
        bytes_clear(token);
        listener_write_token(l, &news, token);
    }
    bytes_fini(&position);
    return there;
}

// send_progress tells a stream how far it is, if it is at the journal's end.
static void send_progress(struct listener *l)
{
    struct bytes position = {0};
    bool there = is_at_end(l, &no_wish, &position);
    const struct news news = {.token = bytes_slice(&position)};
    if (there) {
        listener_write(l, "progress", &news);
        listener_send(l);
    }
    bytes_fini(&position);
}

static bool visit(const struct feed_event *event, void *context)
{
    struct listener *l = context;
    if (listener_is_full(l) || listener_has_piece(l))
        return false;
    if (!listener_hears(l, event->key))
        return true;
    if (l->debt && debt_holds(l->debt, event)) {
        l->out.failed |= debt_hold_back(l->debt, event) != ERROR_NONE;
        return true;
    }
    const struct news news = {.dead = event->dead,
                              .token = event->token,
                              .members = event->members,
                              .value = l->values ? event->value : (struct slice){0}};
    listener_tell(l, &news);
    return true;
}

static void drop(struct listener *l)
{
    atomic_fetch_add_explicit(&feed_stats(listener_feed(l))->dropped, 1, memory_order_relaxed);
    listener_end(l); // its token is what it was told last
}

static void deliver_poll(struct listener *l)
{
    enum feed_result result = feed_read(listener_feed(l), l->generation, &l->next, visit, l);
    if (result == FEED_LOST && l->told == 0)
        listener_fail(l, 503, "the feed began anew; ask again");
    else if (listener_is_full(l) || result == FEED_LOST)
        listener_end(l);
    else if ((l->told || l->late) && take_position(l, &no_wish, &l->token))
        listener_end(l);
    else if (l->told || l->late)
        deliver_poll(l); // more has come meanwhile
}

static void deliver(struct listener *l)
{
    if (listener_is_poll(l)) {
        deliver_poll(l);
        return;
    }
    while (http_writable(l->request)) {
        enum feed_result result = feed_read(listener_feed(l), l->generation, &l->next, visit, l);
        listener_send(l);
        if (l->state == LISTENER_OVER)
            return;
        if (result == FEED_LOST)
            drop(l);
        else if (listener_is_full(l))
            listener_end(l);
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
    if (!listener_is_poll(l))
        return;
    evtimer_assign(&l->timer, listener_worker(l)->base, on_poll_time, l);
    if (l->wait)
        evtimer_add(&l->timer, &tv);
    else
        l->late = true;
}

void changes_go_live(struct listener *l, struct slice position)
{
    const struct news news = {.token = position};
    listener_set_state(l, LISTENER_LIVE);
    begin_wait(l);
    if (!listener_is_poll(l)) {
        listener_write(l, "progress", &news);
        listener_send(l);
    }
    if (l->state == LISTENER_LIVE)
        deliver(l);
}

// pay leaves the journal, at its end, to read what was owed; the journal waits.
static void pay(struct listener *l)
{
    const struct feed_wish wish = {.values = l->values};
    struct bytes token = {0};
    if (take_position(l, &wish, &token) &&
        token_parse(bytes_slice(&token), listener_partitions(l), &l->from) == ERROR_NONE) {
        listener_drop_debt(l);
        past_begin(l);
    }
    bytes_fini(&token);
}

// ---------------------------------------------------------------- WAITS

// The body of a stream begins at once and never comes: a HEAD learns what it would be.
static bool is_head_of_stream(const struct listener *l)
{
    return l->request->method == METHOD_HEAD && !listener_is_poll(l);
}

// go_on leaves WAITS once the follower has begun.
static void go_on(struct listener *l)
{
    const struct feed_wish wish = {.since_us = l->asked_us, .values = l->values};
    struct bytes position = {0};
    if (!feed_now(listener_feed(l), &wish, &position, &l->next, &l->generation)) {
        bytes_fini(&position);
        return;
    }
    enum error error = ERROR_NONE;
    if (l->since == SINCE_START)
        error = token_parse(bytes_slice(&position), listener_partitions(l), &l->from);
    if (error)
        listener_fail(l, 503, "out of memory");
    else if (is_head_of_stream(l))
        listener_end(l);
    else if (l->since == SINCE_NOW)
        changes_go_live(l, bytes_slice(&position));
    else if (l->since == SINCE_START || l->from->listing)
        present_begin(l);
    else
        past_begin(l);
    bytes_fini(&position);
}

void changes_wait(struct listener *l)
{
    l->asked_us = clock_us();
    l->sent = clock_ms();
    listener_set_state(l, LISTENER_WAITS);
    go_on(l);
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

static bool is_due(const struct listener *l)
{
    return l->debt && debt_is_due(l->debt, store_outlook(listener_worker(l)->store));
}

static void pay_if_owing(struct listener *l)
{
    deliver(l);
    if (is_due(l)) // one that is over owes nothing
        pay(l);
}

// end_if_owing ends a poll that can be told more when it asks again.
static void end_if_owing(struct listener *l)
{
    if (!is_due(l))
        return;
    l->late = true;
    deliver(l);
}

static void give_up(struct listener *l)
{
    if (l->sent + START_MS <= clock_ms())
        listener_fail(l, 503, "no partition can be followed");
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
    if (all->owing) {
        for_all(&all->streams, pay_if_owing);
        for_all(&all->polls, end_if_owing);
    }
}

// stop ends an answer early. A poll that was told nothing has no token to go on with, and one that
// was told a part of a list, or waits behind it, has none that would not leave something out.
static void stop(struct listener *l)
{
    bool listing = l->state == LISTENER_LISTS || (l->state == LISTENER_WAITS && l->listed);
    if (listener_is_poll(l) && (l->told == 0 || listing))
        listener_fail(l, 503, "the answer had to end early; ask again");
    else
        listener_end(l);
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
    switch (target_query_which(names, 5, name, value, &p->seen)) {
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
    case 4:
        return slice_number(value, WAIT_MAX, &p->wait) == ERROR_NONE;
    default:
        return false;
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

// limit_newest: no partition has been read beyond what its clock may show, whatever a client says.
static void limit_newest(struct token *token)
{
    uint64_t most = (uint64_t)(clock_unix_us() + CLOCK_BOUND_US) / 1000;
    for (unsigned i = 0; i < token->partitions; i++)
        if (token->at[i].newest_ms > most)
            token->at[i].newest_ms = most;
}

#define LEFT "the token names a partition that has left the store: read with since=0"

// has_left tells whether a partition is one that the store had. One without a section, whose number
// is greater than all others, is about to come, and a daemon that was started later knows it.
static bool has_left(const struct store *store, unsigned id)
{
    const struct placement *p = store_placement(store);
    bool section = id <= store_partitions(store);
    bool exists = section && partition_exists(store_partition(store, id));
    bool greatest = true;
    for (unsigned other = id + 1; other <= CONF_PARTITIONS_MAX; other++)
        greatest = greatest && !placement_has(p, other);
    return !exists && !placement_has(p, id) && (section || p->gone[id - 1] || !greatest);
}

// names_who_left tells whether a token has a position in such a partition's log: nobody can go on
// behind it.
static bool names_who_left(const struct listener *l, const struct token *token)
{
    const struct store *store = listener_worker(l)->store;
    for (unsigned i = 0; i < token->partitions && store_knows(store); i++)
        if (token->at[i].kind != POSITION_START && has_left(store, i + 1))
            return true;
    return false;
}

#define LACKS "the token names a partition that this daemon does not have"

static bool names_who_lacks(const struct listener *l, const struct token *token)
{
    for (unsigned i = 0; i < token->partitions; i++)
        if (token->at[i].kind != POSITION_START && store_lacks(listener_worker(l)->store, i + 1))
            return true;
    return false;
}

// refuse_beyond: a token names a partition that the configuration does not have. It has left the
// store, or a daemon that was started later knows it.
static void refuse_beyond(struct listener *l, struct slice since)
{
    struct token *token;
    bool left =
        token_parse(since, CONF_PARTITIONS_MAX, &token) == ERROR_NONE && names_who_left(l, token);
    token_free(&token);
    if (left)
        reply_problem(l->request, 410, LEFT);
    else
        reply_problem(l->request, 503, LACKS);
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
        switch (token_parse(since, listener_partitions(l), &l->from)) {
        case ERROR_NONE:
            limit_newest(l->from);
            if (names_who_left(l, l->from))
                reply_problem(l->request, 410, LEFT);
            else if (names_who_lacks(l, l->from))
                reply_problem(l->request, 503, LACKS);
            return;
        case ERROR_UNAVAILABLE:
            refuse_beyond(l, since);
            return;
        case ERROR_MALFORMED:
            reply_problem(l->request, 400,
                          "since is now, 0, or a token that a daemon of this "
                          "store has given");
            return;
        default:
            reply_problem(l->request, 503, "out of memory");
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
    if (atomic_load(&feed_stats(r->worker->all->feed)->listeners) >= r->worker->limits.listeners) {
        reply_problem(r, 503, "there are as many listeners as there may be");
        return;
    }
    struct listener *l = calloc(1, sizeof *l + p.prefix_len);
    if (!l) {
        reply_problem(r, 503, "out of memory");
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
    if (r->access != r->worker->access) // it took long to ask
        listener_fail(l, 503, "the tokens have changed meanwhile; ask again");
    else
        changes_wait(l);
}

static void on_writable(struct request *r)
{
    struct listener *l = listener_of(r);
    if (l->state == LISTENER_LIVE)
        deliver(l);
    else if (l->state == LISTENER_LISTS)
        present_go_on(l);
    else if (l->state == LISTENER_READS)
        past_go_on(l);
}

static void fini(struct request *r)
{
    struct listener *l = listener_of(r);
    if (!l)
        return;
    if (l->state != LISTENER_OVER)
        listener_set_state(l, LISTENER_OVER);
    token_free(&l->from);
    present_fini(l);
    bytes_fini(&l->token);
    bytes_fini(&l->out);
    bytes_fini(&l->stale);
    free(l);
    r->state_of_handler = NULL;
}

const struct handler changes_get = {.begin = begin,
                                    .on_body = request_pass_over,
                                    .end = request_ended,
                                    .on_writable = on_writable,
                                    .fini = fini};
