// SPDX-License-Identifier: MIT
#include "server/listener.h"

#include <assert.h>

#include "base/clock.h"
#include "server/document.h"
#include "server/reply.h"

enum {
    PIECE = 64 * 1024, // bytes written to a listener before the next one's turn
    POLL_MAX =
        1024 * 1024, // bytes of events above which a poll is answered; the rest is for the next
};

struct worker *listener_worker(const struct listener *l)
{
    return l->request->worker;
}

struct feed *listener_feed(const struct listener *l)
{
    return listener_worker(l)->all->feed;
}

unsigned listener_partitions(const struct listener *l)
{
    return store_partitions(listener_worker(l)->store);
}

bool listener_hears(const struct listener *l, struct slice key)
{
    return slice_starts(key, (struct slice){l->prefix, l->prefix_len}) &&
           prefixes_cover(&l->request->grant->read, key);
}

bool listener_is_poll(const struct listener *l)
{
    return l->request->format == FORMAT_JSON;
}

// ---------------------------------------------------------------- the mover of states

static struct list *list_of(struct listener *l)
{
    struct listeners *all = &listener_worker(l)->listeners;
    switch (l->state) {
    case LISTENER_WAITS:
        return &all->waiting;
    case LISTENER_LISTS:
    case LISTENER_READS:
        return &all->past;
    case LISTENER_LIVE:
        return listener_is_poll(l) ? &all->polls : &all->streams;
    default:
        return NULL;
    }
}

void listener_drop_debt(struct listener *l)
{
    if (!l->debt)
        return;
    debt_free(&l->debt);
    listener_worker(l)->listeners.owing--;
}

void listener_owe(struct listener *l, struct debt *debt)
{
    l->debt = debt;
    listener_worker(l)->listeners.owing++;
}

void listener_drop_reading(struct listener *l)
{
    listing_free(&l->listing);
    follow_free(&l->follow);
    token_free(&l->until);
}

void listener_set_state(struct listener *l, enum listener_state state)
{
    assert(l->state < state || (l->state == LISTENER_LIVE && state == LISTENER_READS) ||
           (l->state == LISTENER_LISTS && state == LISTENER_WAITS));
    list_remove(&l->link);
    if (l->state == LISTENER_NEW && state == LISTENER_WAITS)
        feed_join(listener_feed(l), l->values);
    if (l->state != LISTENER_NEW && state == LISTENER_OVER)
        feed_leave(listener_feed(l), l->values);
    l->state = state;
    struct list *list = list_of(l);
    if (list)
        list_append(list, &l->link);
    if (state == LISTENER_OVER) {
        listener_drop_reading(l);
        listener_drop_debt(l);
        if (event_initialized(&l->timer))
            event_del(&l->timer);
    }
}

// ---------------------------------------------------------------- what is written

void listener_write_token(const struct listener *l, const struct news *news, struct bytes *out)
{
    struct token *token;
    if (!l->debt && news->token.len <= TOKEN_SHORT) {
        bytes_append_slice(out, news->token);
    } else if (token_parse(news->token, listener_partitions(l), &token)) {
        out->failed = true;
    } else {
        if (l->debt && debt_apply(l->debt, token))
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
    listener_write_token(l, news, out);
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
    listener_write_token(l, news, out);
    bytes_append_text(out, "\ndata: {");
    if (news->members.len) {
        bytes_append_slice(out, news->members);
        bytes_append_slice(out, news->value);
    } else {
        bytes_append_text(out, "\"token\":\"");
        listener_write_token(l, news, out);
        bytes_append_char(out, '"');
    }
    bytes_append_text(out, "}\n\n");
}

void listener_write(struct listener *l, const char *event, const struct news *news)
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
        listener_write_token(l, news, &l->token);
    }
}

void listener_tell(struct listener *l, const struct news *news)
{
    listener_write(l, news->dead ? "delete" : "put", news);
    l->told++;
}

bool listener_has_piece(const struct listener *l)
{
    return !listener_is_poll(l) && l->out.len > PIECE;
}

bool listener_is_full(const struct listener *l)
{
    return (l->limit && l->told >= l->limit) || (listener_is_poll(l) && l->out.len > POLL_MAX);
}

// ---------------------------------------------------------------- the answer

static unsigned count_stale(const struct listener *l)
{
    return (unsigned)(l->stale.len / sizeof(uint16_t));
}

void listener_note_stale(struct listener *l, uint16_t partition)
{
    const uint16_t *id = (const uint16_t *)l->stale.data;
    for (unsigned i = 0; i < count_stale(l); i++)
        if (id[i] == partition)
            return;
    bytes_append(&l->stale, &partition, sizeof partition);
    l->out.failed |= bytes_failed(&l->stale);
}

static void write_stale(const struct listener *l)
{
    reply_stale(l->request, (const uint16_t *)l->stale.data, count_stale(l));
}

static void begin_stream(struct listener *l)
{
    struct request *r = l->request;
    if (l->began || listener_is_poll(l))
        return;
    l->began = true;
    reply_begin_stream(r, 200);
    reply_header(r, "Content-Type", slice_of(document_type(r->format)));
    reply_headers(r, SLICE("Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
                           "X-Accel-Buffering: no\r\n"));
    write_stale(l);
    reply_stream(r);
    if (r->format == FORMAT_EVENTS)
        reply_piece(r, SLICE("retry: 1000\n\n"));
}

void listener_send(struct listener *l)
{
    if (bytes_failed(&l->out)) {
        listener_set_state(l, LISTENER_OVER);
        reply_abort(l->request);
        return;
    }
    if (l->out.len == 0 || listener_is_poll(l))
        return;
    begin_stream(l);
    reply_piece(l->request, bytes_slice(&l->out));
    bytes_shrink(&l->out, 0); // there may be thousands of idle listeners
    l->sent = clock_ms();
}

void listener_fail(struct listener *l, unsigned status, const char *detail)
{
    listener_set_state(l, LISTENER_OVER);
    if (l->began)
        reply_abort(l->request);
    else
        reply_problem(l->request, status, detail);
}

void listener_end(struct listener *l)
{
    struct request *r = l->request;
    listener_set_state(l, LISTENER_OVER);
    if (!listener_is_poll(l)) {
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
        reply_problem(r, 503, "out of memory");
    } else {
        reply_begin(r, 200);
        reply_headers(r, SLICE("Content-Type: application/json\r\nCache-Control: no-cache\r\n"
                               "X-Content-Type-Options: nosniff\r\n"));
        write_stale(l);
        reply_body(r, bytes_slice(&body));
    }
    bytes_fini(&body);
}
