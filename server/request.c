// SPDX-License-Identifier: MIT
#include "server/request.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "server/bulk.h"
#include "server/changes.h"
#include "server/health.h"
#include "server/http.h"
#include "server/lists.h"
#include "server/page.h"
#include "server/reply.h"
#include "server/target.h"
#include "server/values.h"
#include "server/worker.h"

enum {
    PASS_OVER_MAX = 64 * 1024, // bytes of body read and dropped after an early answer
    BODY_KEEP = 4 * 1024,
};

// Who answers what. What is not here is answered in this file: OPTIONS, 404, 405.
static const struct handler *const handlers[RESOURCES][METHODS] = {
    [RESOURCE_KEY] = {[METHOD_GET] = &values_get,
                      [METHOD_HEAD] = &values_get,
                      [METHOD_PUT] = &values_put,
                      [METHOD_DELETE] = &values_delete},
    [RESOURCE_PREFIX] = {[METHOD_GET] = &lists_prefix,
                         [METHOD_HEAD] = &lists_prefix,
                         [METHOD_DELETE] = &lists_clear},
    [RESOURCE_KEYS] = {[METHOD_GET] = &lists_keys, [METHOD_HEAD] = &lists_keys},
    [RESOURCE_BULK] = {[METHOD_POST] = &bulk_post},
    [RESOURCE_CHANGES] = {[METHOD_GET] = &changes_get, [METHOD_HEAD] = &changes_get},
    [RESOURCE_LIVEZ] = {[METHOD_GET] = &health_livez, [METHOD_HEAD] = &health_livez},
    [RESOURCE_READYZ] = {[METHOD_GET] = &health_readyz, [METHOD_HEAD] = &health_readyz},
    [RESOURCE_STATUS] = {[METHOD_GET] = &health_status, [METHOD_HEAD] = &health_status},
    [RESOURCE_METRICS] = {[METHOD_GET] = &health_metrics, [METHOD_HEAD] = &health_metrics},
    [RESOURCE_PAGE] = {[METHOD_GET] = &page_get, [METHOD_HEAD] = &page_get},
};

// ---------------------------------------------------------------- life

enum error request_new(struct worker *worker, struct client *client, struct request **request)
{
    struct list *spare = list_shift(&worker->spare_requests);
    struct request *r = spare ? CONTAINER_OF(spare, struct request, link) : calloc(1, sizeof *r);
    *request = r;
    if (!r)
        return ERROR_MEMORY;
    if (spare)
        worker->spare_count--;
    struct bytes out = r->out, body = r->body, target = r->target; // memory is used again
    memset(r, 0, offsetof(struct request, key));                   // all but the large texts
    r->out = out;
    r->body = body;
    r->target = target;
    r->worker = worker;
    r->client = client;
    r->state = REQUEST_READING;
    r->method = METHOD_OTHER;
    r->minor = 1;
    r->keep_alive = !worker->stopping;
    r->format = FORMAT_JSON;
    r->began_us = clock_us();
    list_init(&r->link);
    return ERROR_NONE;
}

static void request_free(struct request *r)
{
    struct worker *worker = r->worker;
    assert(r->holds == 0);
    if (r->handler && r->handler->fini)
        r->handler->fini(r);
    access_release(&r->access);
    bytes_shrink(&r->out, 0);
    bytes_shrink(&r->body, BODY_KEEP);
    bytes_clear(&r->target);
    if (worker->spare_count < WORKER_SPARE_REQUESTS) {
        worker->spare_count++;
        list_prepend(&worker->spare_requests, &r->link);
        return;
    }
    bytes_fini(&r->body);
    bytes_fini(&r->target);
    free(r);
}

void request_gone(struct request *r)
{
    r->client = NULL;
    if (r->holds == 0)
        request_free(r);
    else
        list_append(&r->worker->orphans, &r->link);
}

void request_free_orphans(struct worker *worker)
{
    struct list *link;
    while ((link = list_shift(&worker->orphans))) {
        struct request *r = CONTAINER_OF(link, struct request, link);
        r->holds = 0;
        request_free(r);
    }
}

void request_hold(struct request *r)
{
    r->holds++;
}

bool request_release(struct request *r)
{
    assert(r->holds);
    r->holds--;
    if (r->client)
        return true;
    if (r->holds == 0) {
        list_remove(&r->link);
        request_free(r);
    }
    return false;
}

// ---------------------------------------------------------------- the head

// answer_options also answers what browsers ask before a page of another origin may ask (CORS).
static void answer_options(struct request *r)
{
    struct slice allow = slice_of(route_allow(r->route.resource));
    reply_begin(r, 204);
    reply_header(r, "Allow", allow);
    if (r->cors_origin.data) {
        reply_header(r, "Access-Control-Allow-Methods", allow);
        reply_headers(r, SLICE("Access-Control-Allow-Headers: Authorization, Cache-Control, "
                               "Content-Type, If-Match, If-Modified-Since, If-None-Match, "
                               "If-Range, If-Unmodified-Since, Last-Event-ID, Range, X-TTL\r\n"
                               "Access-Control-Max-Age: 600\r\n"));
    }
    reply_empty(r);
}

static void answer_method_not_allowed(struct request *r)
{
    reply_begin(r, 405);
    reply_header(r, "Allow", slice_of(route_allow(r->route.resource)));
    reply_problem_end(r, 405, "the resource does not know this method");
}

// decode_name decodes the key or prefix of the path; answers and returns false if there is none.
static bool decode_name(struct request *r)
{
    switch (target_decode(r->route.name, r->key, KEY_MAX, &r->key_len)) {
    case ERROR_NONE:
        if (r->key_len || r->route.resource == RESOURCE_PREFIX)
            return true;
        reply_problem(r, 400, "a key has 1 to 512 bytes, this one is empty");
        return false;
    case ERROR_TOO_LARGE:
        reply_problem(r, 414, "a key has 1 to 512 bytes, this one has more");
        return false;
    default:
        reply_problem(r, 400, "in the path, % must be followed by two hexadecimal digits");
        return false;
    }
}

static bool expectation_met(struct request *r, const struct head *head)
{
    struct slice expect = head->value[HEADER_EXPECT];
    if (!expect.data || r->minor == 0)
        return true;
    r->continue_wanted = slice_equal_nocase(expect, SLICE("100-continue"));
    return r->continue_wanted;
}

// formats_of returns the formats in which a resource answers, and the sentence that tells of them.
static unsigned formats_of(enum resource resource, const char **sentence)
{
    *sentence = NULL;
    if (resource == RESOURCE_KEYS)
        *sentence = "lists come as application/json, text/plain, text/html, application/xml and "
                    "application/x-ndjson";
    if (resource == RESOURCE_CHANGES)
        *sentence = "changes come as application/json, application/x-ndjson and text/event-stream";
    return resource == RESOURCE_CHANGES ? FORMATS_FEED : FORMATS_DOCUMENT;
}

// find_handler answers what needs none and returns false.
static bool find_handler(struct request *r)
{
    if (r->method == METHOD_OTHER)
        answer_method_not_allowed(r);
    else if (r->route.resource == RESOURCE_NONE)
        reply_problem(r, 404,
                      "there is nothing at this path: try /, /keys, /keys/{key}, /bulk, "
                      "/changes, /status, /metrics, /livez, /readyz");
    else if (r->method == METHOD_OPTIONS)
        answer_options(r);
    else if (!handlers[r->route.resource][r->method])
        answer_method_not_allowed(r);
    else
        r->handler = handlers[r->route.resource][r->method];
    return r->handler != NULL;
}

static void answer_unknown(struct request *r)
{
    reply_begin(r, 401);
    reply_headers(r, SLICE("WWW-Authenticate: Bearer realm=\"sherd\"\r\n"));
    reply_problem_end(r, 401, "a token is needed: Authorization: Bearer ...");
}

static void answer_too_fast(struct request *r)
{
    reply_begin(r, 429);
    reply_headers(r, SLICE("Retry-After: 1\r\n"));
    reply_problem_end(r, 429, "more requests than this token may make");
}

// is_welcome decides who may ask for what, but for the key; answers and returns false if not.
static bool is_welcome(struct request *r, const struct head *head)
{
    const struct guard_line *line = &head->line;
    const struct access_request asked = {.method = r->method,
                                         .resource = r->route.resource,
                                         .host =
                                             line->authority.data ? line->authority : line->host,
                                         .authorization = head->value[HEADER_AUTHORIZATION],
                                         .origin = head->value[HEADER_ORIGIN],
                                         .site = head->value[HEADER_SEC_FETCH_SITE]};
    r->access = access_hold(r->worker->access);
    enum access_verdict verdict = access_check(r->access, &asked, &r->grant);
    if (asked.origin.data)
        r->cors_origin = access_allowed_origin(r->access, asked.origin);
    if (verdict == ACCESS_GRANTED && !access_take(r->grant, 1, r->began_us))
        verdict = ACCESS_TOO_FAST;
    switch (verdict) {
    case ACCESS_GRANTED:
        break;
    case ACCESS_MISDIRECTED:
        reply_problem(r, 421,
                      "without tokens only this machine is served, under the name "
                      "localhost or a loopback address; see insecure");
        break;
    case ACCESS_FOREIGN:
        reply_problem(r, 403, "pages of other origins may not change anything; see cors_origins");
        break;
    case ACCESS_UNKNOWN:
        answer_unknown(r);
        break;
    case ACCESS_FORBIDDEN:
        reply_problem(r, 403, "this token may not ask for that");
        break;
    case ACCESS_TOO_FAST:
        answer_too_fast(r);
        break;
    }
    return verdict == ACCESS_GRANTED;
}

// is_roomy is false while too much memory is taken, but for who looks after the server.
static bool is_roomy(const struct request *r)
{
    enum resource resource = r->route.resource;
    return !atomic_load_explicit(&r->worker->all->full, memory_order_relaxed) ||
           resource == RESOURCE_METRICS || resource == RESOURCE_STATUS ||
           resource == RESOURCE_LIVEZ || resource == RESOURCE_READYZ || resource == RESOURCE_PAGE;
}

static void answer_no_room(struct request *r)
{
    reply_problem(r, 503, "the server has no memory to spare; try again");
}

// has_room answers and returns false if there is none.
static bool has_room(struct request *r)
{
    if (is_roomy(r))
        return true;
    answer_no_room(r);
    return false;
}

// is_allowed decides on the key of the path, whether it is there or not.
static bool is_allowed(struct request *r)
{
    bool writes = r->method == METHOD_PUT || r->method == METHOD_DELETE;
    if (r->route.resource == RESOURCE_PREFIX && !writes)
        return true; // a list has what may be read
    if (prefixes_cover(writes ? &r->grant->write : &r->grant->read, request_key(r)))
        return true;
    reply_problem(
        r, 403, writes ? "this token may not write that key" : "this token may not read that key");
    return false;
}

static void remember_target(struct request *r, const struct head *head)
{
    if (atomic_load_explicit(&r->worker->all->access_log, memory_order_relaxed) >= 0)
        bytes_append_slice(&r->target, head->line.target);
}

void request_begin(struct request *r, const struct head *head)
{
    const struct guard_line *line = &head->line;
    struct slice accept = head->value[HEADER_ACCEPT];
    struct slice path;
    r->minor = line->minor;
    r->keep_alive = r->keep_alive && head->keep_alive;
    r->method = method_of(line->method);
    remember_target(r, head);
    target_split(line->target, &path, &r->query);
    r->route = route_of(path);
    const char *formats;
    unsigned among = formats_of(r->route.resource, &formats);
    r->format = accept.data ? accept_choose(accept, true, among) : FORMAT_JSON;
    bool body_follows = line->framing == GUARD_CHUNKED || line->length > 0;
    bool named = r->route.resource == RESOURCE_KEY || r->route.resource == RESOURCE_PREFIX;
    bool expected = expectation_met(r, head);
    r->body_unwelcome = body_follows && (r->continue_wanted || line->framing == GUARD_CHUNKED ||
                                         line->length > PASS_OVER_MAX);
    if (head->repeated)
        reply_problem(r, 400, "a header that may come once came twice");
    else if (!expected)
        reply_problem(r, 417, "the only expectation that is met is 100-continue");
    else if (r->format == FORMAT_NONE && formats)
        reply_problem(r, 406, formats);
    else if (is_welcome(r, head) && has_room(r) && find_handler(r) &&
             (!named || (decode_name(r) && is_allowed(r))) && r->handler->begin)
        r->handler->begin(r, head);

    if (r->state != REQUEST_ANSWERED && r->continue_wanted && body_follows) {
        bytes_append_text(http_output(r), "HTTP/1.1 100 Continue\r\n\r\n");
        http_changed(r);
    }
}

// ---------------------------------------------------------------- the body

static void body_too_large(struct request *r)
{
    r->keep_alive = false;
    reply_problem(r, 413, "the value is larger than max_value");
}

void request_announced(struct request *r, uint64_t size)
{
    bool gathers = r->handler && !r->handler->on_body;
    if (r->state != REQUEST_ANSWERED && gathers && size > r->worker->limits.max_value)
        body_too_large(r);
}

// drop_body ends what takes memory while there is none to spare.
static void drop_body(struct request *r)
{
    bytes_shrink(&r->body, 0);
    r->keep_alive = false;
    if (r->status)
        reply_abort(r);
    else
        answer_no_room(r);
}

void request_body(struct request *r, struct slice piece)
{
    if (r->state == REQUEST_ANSWERED || !r->handler)
        return;
    if (!is_roomy(r)) {
        drop_body(r);
    } else if (r->handler->on_body) {
        r->handler->on_body(r, piece);
    } else if (r->body.len + piece.len > r->worker->limits.max_value) {
        bytes_shrink(&r->body, 0);
        body_too_large(r);
    } else {
        bytes_append_slice(&r->body, piece);
    }
}

void request_pass_over(struct request *r, struct slice piece)
{
    (void)r;
    (void)piece;
}

void request_end(struct request *r)
{
    if (r->state == REQUEST_ANSWERED) {
        http_changed(r); // it waited for this
        return;
    }
    r->state = REQUEST_WORKING;
    if (bytes_failed(&r->body))
        reply_problem(r, 503, "out of memory");
    else if (r->handler->end)
        r->handler->end(r);
}
