// SPDX-License-Identifier: MIT
#include "server/http.h"

#include <assert.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/guard.h"
#include "server/reply.h"
#include "server/tls.h"
#include "server/worker.h"

enum {
    INPUT_MAX = 64 * 1024,    // bytes of input kept while requests wait; then reading stops
    OUTPUT_HIGH = 256 * 1024, // unsent bytes above which handlers wait and no request is begun
    OUTPUT_LOW = 64 * 1024,   // and below which they go on
    // What the kernel takes beyond what the client has room for: little, so that a slow reader is
    // seen to make progress, and the memory is ours to bound.
    OUTPUT_UNSENT = 128 * 1024,
    BUFFER_KEEP = 16 * 1024, // memory a client keeps between requests
    BODY_GRACE_MS = 5000,    // before the minimum rate applies
    FULL_MS = 1000,          // for the rest of a body or an answer, while memory is full
    LINGER_MS = 2000,
};

struct client {
    enum client_state state;
    struct worker *worker;
    struct list link;     // in worker->clients[state]
    int64_t since;        // clock_ms when it entered the state
    struct list dirty;    // in worker->dirty
    struct list unsent;   // in worker->unsent
    int64_t unsent_since; // clock_ms when something of the output was taken last,
    int64_t owed_since;   // when all of it was
    int fd;
    struct crowd_place *place;
    struct ssl_st *tls; // NULL: in clear
    bool greeted;       // the first byte of a handshake has come
    bool open;          // the handshake is over, or there is none
    bool last;          // no further request is read from this connection
    bool ended;         // the client has sent all that it will
    bool reading;       // `read` is added
    unsigned unanswered;
    struct list pipeline;     // of requests, oldest first
    struct request *arriving; // whose body is being read
    struct parser parser;
    struct event read;
    struct event write;
    size_t searched; // bytes of `in` already searched for the end of a head
    struct bytes in;
    struct bytes out;
    size_t out_at; // bytes of `out` already sent
};

// ---------------------------------------------------------------- states

static void set_state(struct client *c, enum client_state state)
{
    static const unsigned legal[CLIENT_STATES] = {
        [CLIENT_IDLE] =
            1u << CLIENT_HEAD | 1u << CLIENT_BODY | 1u << CLIENT_SERVING | 1u << CLIENT_LINGER,
        [CLIENT_HEAD] =
            1u << CLIENT_BODY | 1u << CLIENT_SERVING | 1u << CLIENT_LINGER | 1u << CLIENT_IDLE,
        [CLIENT_BODY] = 1u << CLIENT_HEAD | 1u << CLIENT_SERVING | 1u << CLIENT_IDLE |
                        1u << CLIENT_LINGER | 1u << CLIENT_BODY,
        [CLIENT_SERVING] =
            1u << CLIENT_IDLE | 1u << CLIENT_HEAD | 1u << CLIENT_BODY | 1u << CLIENT_LINGER,
        [CLIENT_LINGER] = 0,
    };
    if (c->state == state)
        return;
    assert(legal[c->state] & 1u << state);
    c->state = state;
    c->since = clock_ms();
    list_remove(&c->link);
    list_append(&c->worker->clients[state], &c->link);
}

static bool all_sent(const struct client *c)
{
    return c->out.len == c->out_at;
}

// settle puts the client into the state that its input and its requests ask for. While answers are
// unsent it is SERVING: how fast the client reads is watched over by `unsent`.
static void settle(struct client *c)
{
    bool serving = c->unanswered || !all_sent(c);
    if (c->state == CLIENT_LINGER)
        return;
    if (c->arriving)
        set_state(c, CLIENT_BODY);
    else if (serving)
        set_state(c, CLIENT_SERVING);
    else
        set_state(c, c->in.len ? CLIENT_HEAD : CLIENT_IDLE);
}

static void client_free(struct client *c)
{
    struct worker *worker = c->worker;
    struct list *link;
    event_del(&c->read);
    event_del(&c->write);
    tls_free(&c->tls);
    close(c->fd);
    crowd_leave(&worker->all->crowd, &c->place);
    list_remove(&c->link);
    list_remove(&c->dirty);
    list_remove(&c->unsent);
    while ((link = list_shift(&c->pipeline)))
        request_gone(CONTAINER_OF(link, struct request, link));
    bytes_fini(&c->in);
    bytes_fini(&c->out);
    counter_set(&worker->stats.clients, counter_get(&worker->stats.clients) - 1);
    free(c);
}

static void mark_dirty(struct client *c)
{
    if (list_empty(&c->dirty))
        list_append(&c->worker->dirty, &c->dirty);
    event_active(&c->worker->flush, EV_TIMEOUT, 0);
}

// want_read reads only while there is room for input. A client that is only waiting for answers
// stays registered: switching would cost two system calls a request.
static void want_read(struct client *c)
{
    bool wanted = !c->ended && (c->in.len < INPUT_MAX || c->state == CLIENT_LINGER);
    if (wanted == c->reading)
        return;
    c->reading = wanted;
    if (wanted)
        event_add(&c->read, NULL);
    else
        event_del(&c->read);
}

// ---------------------------------------------------------------- input

static void on_body(struct parser *parser, struct slice piece)
{
    struct client *c = CONTAINER_OF(parser, struct client, parser);
    request_body(c->arriving, piece);
}

static struct request *new_request(struct client *c)
{
    struct request *request;
    if (request_new(c->worker, c, &request))
        return NULL;
    list_append(&c->pipeline, &request->link);
    c->unanswered++;
    return request;
}

// refuse answers input that is no request; the connection ends after that.
static void refuse(struct client *c, int status, const char *wrong)
{
    struct request *request = new_request(c);
    c->last = true;
    if (!request)
        return;
    request->keep_alive = false;
    request->state = REQUEST_WORKING;
    reply_problem(request, (unsigned)status, wrong);
}

static bool is_safe(const struct request *request)
{
    return request->method == METHOD_GET || request->method == METHOD_HEAD;
}

// may_begin tells whether the next request may be read now. What writes waits for all before it,
// and all behind it wait for it: the pipeline then means what its order says.
static bool may_begin(const struct client *c)
{
    if (c->last || c->unanswered >= c->worker->limits.pipeline ||
        c->out.len - c->out_at > OUTPUT_HIGH)
        return false;
    for (const struct list *link = c->pipeline.next; link != &c->pipeline; link = link->next)
        if (!is_safe(CONTAINER_OF(link, struct request, link)))
            return false;
    return true;
}

static void finish_message(struct client *c)
{
    struct request *request = c->arriving;
    c->arriving = NULL;
    request_end(request);
}

// begin_request starts the request whose head is `bytes`.
static void begin_request(struct client *c, struct slice bytes)
{
    struct head *head = &c->worker->head;
    enum guard_verdict verdict = guard_check(bytes, &head->line);
    if (verdict != GUARD_OK) {
        refuse(c, guard_status(verdict), head->line.wrong);
        return;
    }
    if (parser_head(&c->parser, head, bytes)) {
        refuse(c, 400, "the head cannot be parsed");
        return;
    }
    struct request *request = new_request(c);
    if (!request) {
        c->last = true;
        return;
    }
    c->arriving = request;
    if (c->state == CLIENT_BODY) // straight from one body to the next
        c->since = clock_ms();
    request_begin(request, head);
    if (!request->keep_alive)
        c->last = true;
    if (c->parser.ended)
        finish_message(c);
}

// feed_head takes a head from the front of `input` and returns how many bytes it used: 0 when it is
// not complete.
static size_t feed_head(struct client *c, struct slice input)
{
    const char *wrong;
    size_t blank = guard_skip_blank(input.data, input.len);
    if (blank) {
        c->searched = 0;
        return blank;
    }
    size_t end = guard_head_end(input.data, input.len, c->searched);
    if (end) {
        c->searched = 0;
        // A write must not be begun while others are under way: look before the head is used up.
        bool safe = input.data[0] == 'G' || input.data[0] == 'H';
        if (!safe && c->unanswered)
            return 0;
        begin_request(c, (struct slice){input.data, end});
        return end;
    }
    enum guard_verdict verdict = guard_check_start(input, &wrong);
    if (verdict == GUARD_OK && input.len >= GUARD_HEAD_MAX)
        verdict = guard_check_unended(input, &wrong);
    if (verdict != GUARD_OK) {
        refuse(c, guard_status(verdict), wrong);
        return input.len;
    }
    c->searched = input.len;
    return 0;
}

static size_t feed_body(struct client *c, struct slice input)
{
    size_t used;
    enum error error = parser_body(&c->parser, input, &used);
    if (error) {
        // The request is not complete and never will be; its answer, if there is none yet, is this.
        struct request *request = c->arriving;
        c->arriving = NULL;
        c->last = true;
        request->keep_alive = false;
        if (request->status == 0)
            reply_problem(request, 400, "the chunks of the body are malformed");
        else if (request->state != REQUEST_ANSWERED)
            reply_abort(request);
        return input.len;
    }
    request_announced(c->arriving, c->parser.announced);
    if (c->parser.ended)
        finish_message(c);
    return used;
}

// consume uses up as much of `input` as may be used now and returns how much that is.
static size_t consume(struct client *c, struct slice input)
{
    size_t at = 0;
    while (at < input.len) {
        struct slice rest = {input.data + at, input.len - at};
        size_t used = 0;
        if (c->arriving && !c->arriving->paused)
            used = feed_body(c, rest);
        else if (!c->arriving && c->last)
            return input.len; // what comes behind the last request is nobody's
        else if (!c->arriving && may_begin(c))
            used = feed_head(c, rest);
        if (used == 0)
            break;
        at += used;
    }
    return at;
}

// consume_kept goes on with input that had to wait.
static void consume_kept(struct client *c)
{
    if (c->in.len && c->state != CLIENT_LINGER)
        bytes_consume(&c->in, consume(c, bytes_slice(&c->in)));
    if (c->in.len == 0)
        bytes_shrink(&c->in, 0);
    settle(c);
    want_read(c);
}

static void take_input(struct client *c, struct slice input)
{
    counter_add(&c->worker->stats.bytes_in, input.len);
    if (c->state == CLIENT_LINGER)
        return;
    if (c->in.len) {
        bytes_append_slice(&c->in, input);
        consume_kept(c);
    } else {
        // The usual case: whole requests, used up where they were read.
        size_t used = consume(c, input);
        bytes_append(&c->in, input.data + used, input.len - used);
        settle(c);
        want_read(c);
    }
    if (!bytes_failed(&c->in))
        return;
    bytes_shrink(&c->in, 0);
    if (c->arriving) // a part of its body is lost, and what follows is no request
        client_free(c);
    else
        refuse(c, 503, "out of memory");
}

// input_ended: the client will send no more. What it has sent is still used up and answered.
static void input_ended(struct client *c)
{
    c->ended = true;
    want_read(c);
    if (c->state == CLIENT_LINGER)
        client_free(c);
    else
        mark_dirty(c);
}

// drop_incomplete drops the request whose body will never be complete.
static void drop_incomplete(struct client *c)
{
    struct request *request = c->arriving;
    c->arriving = NULL;
    c->last = true;
    c->unanswered--;
    list_remove(&request->link);
    request_gone(request);
    settle(c);
}

static void end_connection(struct client *c);

// is_clear tells whether a client speaks HTTP where TLS is spoken. He is told so, in clear.
static bool is_clear(struct client *c)
{
    char first;
    if (c->greeted || recv(c->fd, &first, 1, MSG_PEEK) != 1)
        return false;
    c->greeted = true;
    return !tls_begins(first);
}

static void read_clear(struct client *c)
{
    ssize_t n = read(c->fd, c->worker->scratch, sizeof c->worker->scratch);
    if (n > 0)
        take_input(c, (struct slice){c->worker->scratch, (size_t)n});
    else if (n == 0)
        input_ended(c);
    else if (errno != EAGAIN && errno != EINTR)
        client_free(c);
}

static void read_tls(struct client *c)
{
    if (is_clear(c)) {
        tls_free(&c->tls);
        c->open = true;
        refuse(c, 400, "TLS is spoken here: https");
        settle(c);
        return;
    }
    ssize_t n = tls_read(c->tls, c->worker->scratch, sizeof c->worker->scratch);
    bool wait = n < 0 && errno == EAGAIN;
    if (!c->open && tls_handshake_over(c->tls)) {
        c->open = true;
        settle(c); // nothing of a request has come
        mark_dirty(c);
    }
    if (n > 0)
        take_input(c, (struct slice){c->worker->scratch, (size_t)n});
    else if (n == 0)
        input_ended(c);
    else if (wait && tls_waits_to_write(c->tls))
        event_add(&c->write, NULL);
    else if (!wait && !c->open)
        end_connection(c); // what was wrong with the handshake is on its way
    else if (!wait)
        client_free(c);
}

static void on_read(evutil_socket_t fd, short what, void *context)
{
    struct client *c = context;
    (void)fd;
    (void)what;
    if (c->tls && c->state != CLIENT_LINGER)
        read_tls(c);
    else
        read_clear(c);
}

// ---------------------------------------------------------------- output

static bool is_first(const struct request *request)
{
    return request->client->pipeline.next == &request->link;
}

struct bytes *http_output(struct request *request)
{
    return request->client && is_first(request) ? &request->client->out : &request->out;
}

bool http_writable(const struct request *request)
{
    const struct client *c = request->client;
    return c && is_first(request) && c->out.len - c->out_at < OUTPUT_HIGH;
}

void http_changed(struct request *request)
{
    if (request->client)
        mark_dirty(request->client);
    else
        bytes_shrink(&request->out, 0); // nobody will read it
}

void http_resume(struct request *request)
{
    request->paused = false;
    if (request->client)
        mark_dirty(
            request->client); // kept input is consumed from the flush, not from inside a call
}

// retire_answered takes answered requests off the front of the pipeline and moves the next answer
// to the output.
static void retire_answered(struct client *c)
{
    struct list *first;
    while ((first = list_first(&c->pipeline))) {
        struct request *request = CONTAINER_OF(first, struct request, link);
        bytes_append_slice(&c->out, bytes_slice(&request->out));
        c->out.failed |= bytes_failed(&request->out);
        bytes_shrink(&request->out, 0);
        if (request->state != REQUEST_ANSWERED)
            return;
        if (request == c->arriving) { // answered before its body was complete
            if (request->keep_alive)
                return;
            c->arriving = NULL;
        }
        list_remove(first);
        c->unanswered--;
        if (!request->keep_alive)
            c->last = true;
        request_gone(request);
    }
}

// note_unsent: the list has those first that took nothing for longest.
static void note_unsent(struct client *c, bool took)
{
    bool first = list_empty(&c->unsent);
    if (first)
        c->owed_since = clock_ms();
    if (!first && !took)
        return;
    c->unsent_since = clock_ms();
    list_remove(&c->unsent);
    list_append(&c->worker->unsent, &c->unsent);
}

// send_output returns false if the client is gone.
static bool send_output(struct client *c)
{
    size_t rest = c->out.len - c->out_at;
    if (rest == 0)
        return true;
    const char *from = c->out.data + c->out_at;
    ssize_t n = c->tls ? tls_write(c->tls, from, rest) : send(c->fd, from, rest, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    if (n > 0) {
        counter_add(&c->worker->stats.bytes_out, (uint64_t)n);
        c->out_at += (size_t)n;
    }
    if (c->out_at == c->out.len) {
        bytes_shrink(&c->out, BUFFER_KEEP);
        c->out_at = 0;
        list_remove(&c->unsent);
        return true;
    }
    if (c->out_at > OUTPUT_HIGH && c->out_at > c->out.len / 2) { // what was sent need not be kept
        bytes_consume(&c->out, c->out_at);
        c->out_at = 0;
    }
    note_unsent(c, n > 0);
    event_add(&c->write, NULL);
    return true;
}

static void tell_writable(struct client *c)
{
    struct list *first = list_first(&c->pipeline);
    if (!first || c->out.len - c->out_at > OUTPUT_LOW)
        return;
    struct request *request = CONTAINER_OF(first, struct request, link);
    if (request->state != REQUEST_ANSWERED && request->handler && request->handler->on_writable)
        request->handler->on_writable(request);
}

// end_connection: all answers are out and no request will follow. What the client may still be
// sending has to be read, or the reset it would get could overtake the last answer.
static void end_connection(struct client *c)
{
    if (c->tls && !tls_end(c->tls)) {
        event_add(&c->write, NULL); // and flush_client comes here again
        return;
    }
    shutdown(c->fd, SHUT_WR);
    bytes_shrink(&c->in, 0);
    set_state(c, CLIENT_LINGER);
    want_read(c);
}

// flush_client does everything that follows from this turn's answers.
static void flush_client(struct client *c)
{
    retire_answered(c);
    if (bytes_failed(&c->out) || !send_output(c)) {
        client_free(c);
        return;
    }
    tell_writable(c);
    if (c->state == CLIENT_LINGER)
        return;
    consume_kept(c);
    if (c->ended && c->arriving && !c->arriving->paused)
        drop_incomplete(c);
    bool all_out = c->unanswered == 0 && all_sent(c);
    if (all_out && c->ended)
        client_free(c);
    else if (all_out && (c->last || (c->worker->stopping && c->state == CLIENT_IDLE)))
        end_connection(c);
}

static void on_write(evutil_socket_t fd, short what, void *context)
{
    struct client *c = context;
    (void)fd;
    (void)what;
    if (!c->open && c->state != CLIENT_LINGER)
        read_tls(c);
    else
        flush_client(c);
}

void http_flush(struct worker *worker)
{
    struct list now, *link;
    list_init(&now);
    list_splice(&now, &worker->dirty);
    while ((link = list_shift(&now)))
        flush_client(CONTAINER_OF(link, struct client, dirty));
}

// ---------------------------------------------------------------- deadlines and life

static bool is_full(const struct worker *worker)
{
    return atomic_load_explicit(&worker->all->full, memory_order_relaxed);
}

static int64_t body_deadline(const struct client *c)
{
    if (is_full(c->worker))
        return c->since + FULL_MS;
    unsigned rate = c->worker->limits.body_rate;
    int64_t earned = rate ? (int64_t)(c->parser.body * 1000 / rate) : INT64_MAX / 2;
    return c->since + BODY_GRACE_MS + earned;
}

static int64_t deadline_of(const struct client *c)
{
    const struct conf_server *limits = &c->worker->limits;
    switch (c->state) {
    case CLIENT_IDLE:
        return c->since + limits->idle_timeout;
    case CLIENT_HEAD:
        return c->since + limits->head_timeout;
    case CLIENT_BODY:
        return c->arriving->paused ? INT64_MAX : body_deadline(c);
    case CLIENT_LINGER:
        return c->since + LINGER_MS;
    default:
        return INT64_MAX; // the store answers in its own time
    }
}

static void client_late(struct client *c)
{
    if (c->state == CLIENT_IDLE || c->state == CLIENT_LINGER) {
        client_free(c);
        return;
    }
    if (!c->open) {
        client_free(c);
        return;
    }
    struct request *request = c->arriving;
    c->arriving = NULL;
    if (!request) {
        refuse(c, 408, "the head of the request did not come in time");
    } else if (request->status == 0) {
        request->keep_alive = false;
        reply_problem(request, 408, "the body of the request did not come in time");
    } else {
        client_free(c);
        return;
    }
    c->last = true;
    bytes_shrink(&c->in, 0);
    settle(c);
    mark_dirty(c);
}

// check_readers ends who reads too slowly: with memory full, who has not taken all within a second.
static void check_readers(struct worker *worker, int64_t now)
{
    struct list *next;
    bool full = is_full(worker);
    for (struct list *link = worker->unsent.next; link != &worker->unsent; link = next) {
        struct client *c = CONTAINER_OF(link, struct client, unsent);
        next = link->next;
        if (c->unsent_since + worker->limits.idle_timeout <= now ||
            (full && c->owed_since + FULL_MS <= now))
            client_free(c);
        else if (!full)
            break;
    }
}

void http_check_deadlines(struct worker *worker)
{
    int64_t now = clock_ms();
    for (int state = 0; state < CLIENT_STATES; state++) {
        struct list *head = &worker->clients[state], *next;
        for (struct list *link = head->next; link != head; link = next) {
            struct client *c = CONTAINER_OF(link, struct client, link);
            next = link->next;
            if (deadline_of(c) <= now)
                client_late(c);
            else if (state != CLIENT_BODY) // the others are in the order of their deadlines
                break;
        }
    }
    check_readers(worker, now);
}

void http_stop(struct worker *worker)
{
    struct list *link;
    while ((link = list_shift(&worker->clients[CLIENT_IDLE])))
        client_free(CONTAINER_OF(link, struct client, link));
    for (int state = 0; state < CLIENT_STATES; state++) {
        struct list *head = &worker->clients[state];
        for (link = head->next; link != head; link = link->next) {
            struct client *c = CONTAINER_OF(link, struct client, link);
            for (struct list *r = c->pipeline.next; r != &c->pipeline; r = r->next)
                CONTAINER_OF(r, struct request, link)->keep_alive = false;
        }
    }
}

void http_stop_now(struct worker *worker)
{
    struct list *link;
    for (int state = 0; state < CLIENT_STATES; state++)
        while ((link = list_shift(&worker->clients[state])))
            client_free(CONTAINER_OF(link, struct client, link));
}

void client_new(struct worker *worker, int fd, struct crowd_place *place)
{
    static const int yes = 1, unsent = OUTPUT_UNSENT;
    struct client *c = calloc(1, sizeof *c);
    if (!c || (worker->tls && !(c->tls = tls_new(worker->tls, fd)))) {
        free(c);
        close(fd);
        crowd_leave(&worker->all->crowd, &place);
        return;
    }
    c->worker = worker;
    c->place = place;
    c->open = !c->tls;
    c->fd = fd;
    c->state = c->tls ? CLIENT_HEAD : CLIENT_IDLE; // the handshake may take as long as a head
    c->since = clock_ms();
    c->parser.on_body = on_body;
    list_init(&c->pipeline);
    list_init(&c->dirty);
    list_init(&c->unsent);
    list_append(&worker->clients[c->state], &c->link);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    event_assign(&c->read, worker->base, fd, EV_READ | EV_PERSIST, on_read, c);
    event_assign(&c->write, worker->base, fd, EV_WRITE, on_write, c);
    counter_set(&worker->stats.clients, counter_get(&worker->stats.clients) + 1);
    counter_add(&worker->stats.accepted, 1);
    want_read(c);
}
