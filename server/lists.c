// SPDX-License-Identifier: MIT
// A page is gathered and sent whole, because its Link header tells whether more follows. What has
// no limit is streamed: items are taken only while the client reads.
#include "server/lists.h"

#include <stdlib.h>

#include "server/document.h"
#include "server/http.h"
#include "server/reply.h"
#include "server/target.h"
#include "server/worker.h"
#include "store/listing.h"

enum {
    LIMIT_DEFAULT = 1000,
    LIMIT_MAX = 10000,
    PIECE = 16 * 1024,  // bytes of a streamed list in one chunk
    CLEAR_WINDOW = 256, // deletions under way
};

struct parameters {
    char prefix[KEY_MAX];
    char after[KEY_MAX];
    char delimiter[KEY_MAX];
    size_t prefix_len;
    size_t after_len;
    size_t delimiter_len;
    uint64_t limit; // 0 = none: stream
    unsigned seen;  // bits of the parameters that came
};

struct list_state {
    struct listing *listing;
    struct parameters parameters;
    struct document_list document;
    struct bytes out;
    char last[KEY_MAX]; // the last item of a full page
    size_t last_len;
    bool streaming; // the head of the answer is out

    unsigned deleting;         // deletions under way
    bool listed;               // no more keys to delete will come
    enum error error;          // of a deletion or of the listing; ERROR_OUTCOME goes before others
    unsigned failed_partition; // 0: none is to blame
};

// ---------------------------------------------------------------- parameters

static bool read_text(struct slice value, char *to, size_t *len)
{
    return target_decode(value, to, KEY_MAX, len) == ERROR_NONE;
}

static bool read_limit(struct slice value, uint64_t *limit)
{
    unsigned long long n;
    if (slice_number(value, LIMIT_MAX, &n) || n == 0)
        return false;
    *limit = n;
    return true;
}

static bool read_parameter(struct parameters *p, struct slice name, struct slice value)
{
    static const struct slice names[] = {
        {"prefix", 6}, {"after", 5}, {"delimiter", 9}, {"limit", 5}};
    switch (target_query_which(names, 4, name, value, &p->seen)) {
    case 0:
        return read_text(value, p->prefix, &p->prefix_len);
    case 1:
        return read_text(value, p->after, &p->after_len);
    case 2:
        return read_text(value, p->delimiter, &p->delimiter_len) && p->delimiter_len;
    case 3:
        return read_limit(value, &p->limit);
    default:
        return false;
    }
}

static bool read_parameters(struct request *r, struct parameters *p)
{
    struct slice query = r->query, name, value;
    while (target_query_next(&query, &name, &value)) {
        if (!read_parameter(p, name, value)) {
            reply_problem(
                r, 400,
                "lists take prefix, after and delimiter (up to 512 bytes, percent-encoded) "
                "and limit (1 to 10000), each once");
            return false;
        }
    }
    if (p->limit == 0 && r->format != FORMAT_NDJSON)
        p->limit = LIMIT_DEFAULT;
    return true;
}

// next_address makes the address of the page behind `last`.
static void next_address(const struct parameters *p, struct slice last, struct bytes *out)
{
    bytes_append_text(out, "/keys?limit=");
    bytes_append_number(out, p->limit);
    if (p->prefix_len) {
        bytes_append_text(out, "&prefix=");
        target_encode(out, (struct slice){p->prefix, p->prefix_len});
    }
    if (p->delimiter_len) {
        bytes_append_text(out, "&delimiter=");
        target_encode(out, (struct slice){p->delimiter, p->delimiter_len});
    }
    bytes_append_text(out, "&after=");
    target_encode(out, last);
}

// ---------------------------------------------------------------- life

static struct list_state *state_of(struct request *r)
{
    return r->state_of_handler;
}

static void fini(struct request *r)
{
    struct list_state *s = r->state_of_handler;
    if (!s)
        return;
    listing_free(&s->listing);
    bytes_fini(&s->out);
    free(s);
    r->state_of_handler = NULL;
}

static bool new_state(struct request *r)
{
    struct list_state *s = calloc(1, sizeof *s);
    r->state_of_handler = s;
    if (s) {
        s->document = (struct document_list){.format = r->format, .out = &s->out};
        return true;
    }
    reply_problem(r, 503, "out of memory");
    return false;
}

static bool start_listing(struct request *r, const struct prefixes *only,
                          void (*on_ready)(struct listing *, void *))
{
    struct list_state *s = state_of(r);
    const struct parameters *p = &s->parameters;
    const struct listing_options options = {
        .prefix = {p->prefix, p->prefix_len},
        .after = {p->after, p->after_len},
        .delimiter = {p->delimiter, p->delimiter_len},
        .expected = p->limit ? p->limit + 1 : 0,
        .only = only,
    };
    if (listing_new(r->worker->store, &options, on_ready, r, &s->listing) == ERROR_NONE)
        return true;
    reply_problem(r, 503, "out of memory");
    return false;
}

static void fail_list(struct request *r)
{
    const struct outcome outcome = {.error = ERROR_UNAVAILABLE,
                                    .partition = listing_failed_partition(state_of(r)->listing),
                                    .retry_after = 1};
    if (r->status)
        reply_abort(r);
    else
        reply_outcome(r, &outcome);
}

// ---------------------------------------------------------------- a page

static void list_headers(struct request *r, const char *type)
{
    reply_header(r, "Content-Type", slice_of(type));
    reply_header(r, "Cache-Control", SLICE("no-cache"));
    reply_header(r, "X-Content-Type-Options", SLICE("nosniff"));
    reply_header(r, "Content-Security-Policy",
                 SLICE("default-src 'none'; sandbox allow-top-navigation"));
    unsigned count;
    const uint16_t *missing = listing_missing(state_of(r)->listing, &count);
    reply_stale(r, missing, count);
}

static void answer_page(struct request *r, bool more)
{
    struct list_state *s = state_of(r);
    struct bytes next = {0};
    if (more)
        next_address(&s->parameters, (struct slice){s->last, s->last_len}, &next);
    document_list_end(&s->document, bytes_slice(&next));
    if (bytes_failed(&s->out) || bytes_failed(&next)) {
        reply_problem(r, 503, "out of memory");
    } else {
        reply_begin(r, 200);
        list_headers(r, document_type(r->format));
        if (more) {
            struct bytes link = {0};
            bytes_append_char(&link, '<');
            bytes_append_slice(&link, bytes_slice(&next));
            bytes_append_text(&link, ">; rel=\"next\"");
            if (!bytes_failed(&link))
                reply_header(r, "Link", bytes_slice(&link));
            bytes_fini(&link);
        }
        if (r->method == METHOD_HEAD)
            reply_head_only(r, s->out.len);
        else
            reply_body(r, bytes_slice(&s->out));
    }
    bytes_fini(&next);
}

static void fill_page(struct listing *listing, void *context)
{
    struct request *r = context;
    struct list_state *s = state_of(r);
    for (;;) {
        struct listing_item item;
        switch (listing_next(listing, &item)) {
        case LISTING_ITEM:
            if (s->document.items == s->parameters.limit) {
                answer_page(r, true);
                return;
            }
            document_list_item(&s->document, &item);
            memcpy(s->last, item.key.data, item.key.len);
            s->last_len = item.key.len;
            break;
        case LISTING_WAIT:
            return;
        case LISTING_END:
            answer_page(r, false);
            return;
        case LISTING_FAILED:
            fail_list(r);
            return;
        }
    }
}

// ---------------------------------------------------------------- a stream

static void send_piece(struct request *r)
{
    struct list_state *s = state_of(r);
    if (bytes_failed(&s->out)) {
        reply_abort(r);
        return;
    }
    reply_piece(r, bytes_slice(&s->out));
    bytes_clear(&s->out);
}

// array_item writes a key as a member of a plain JSON array.
static void array_item(struct list_state *s, struct slice key)
{
    json_t *text = json_stringn(key.data, key.len);
    if (!text) { // not UTF-8
        struct bytes encoded = {0};
        target_encode_printable(&encoded, key);
        text = bytes_failed(&encoded) ? NULL : json_stringn(encoded.data, encoded.len);
        bytes_fini(&encoded);
    }
    char *dump = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    bytes_append_char(&s->out, s->document.items++ ? ',' : '[');
    if (dump)
        bytes_append_text(&s->out, dump);
    else
        s->out.failed = true;
    free(dump);
    json_decref(text);
}

static void stream_item(struct request *r, const struct listing_item *item)
{
    struct list_state *s = state_of(r);
    if (r->route.resource == RESOURCE_PREFIX)
        array_item(s, item->key);
    else
        document_list_item(&s->document, item);
}

static void begin_stream(struct request *r)
{
    struct list_state *s = state_of(r);
    if (s->streaming)
        return;
    s->streaming = true;
    reply_begin_stream(r, 200);
    list_headers(r, r->route.resource == RESOURCE_PREFIX ? "application/json"
                                                         : document_type(r->format));
    reply_stream(r);
}

static void end_stream(struct request *r)
{
    struct list_state *s = state_of(r);
    begin_stream(r);
    if (r->route.resource == RESOURCE_PREFIX)
        bytes_append_text(&s->out, s->document.items ? "]\n" : "[]\n");
    send_piece(r);
    if (r->state != REQUEST_ANSWERED)
        reply_end(r);
}

static void stream(struct listing *listing, void *context)
{
    struct request *r = context;
    struct list_state *s = state_of(r);
    while (http_writable(r) && r->state != REQUEST_ANSWERED) {
        struct listing_item item;
        switch (listing_next(listing, &item)) {
        case LISTING_ITEM:
            begin_stream(r);
            stream_item(r, &item);
            if (s->out.len >= PIECE || bytes_failed(&s->out))
                send_piece(r);
            if (r->method == METHOD_HEAD) { // no body will follow: the head was all
                end_stream(r);
                return;
            }
            break;
        case LISTING_WAIT:
            return;
        case LISTING_END:
            end_stream(r);
            return;
        case LISTING_FAILED:
            fail_list(r);
            return;
        }
    }
}

static void stream_on(struct request *r)
{
    struct list_state *s = state_of(r);
    if (s && s->listing && s->parameters.limit == 0 && !listing_waiting(s->listing))
        stream(s->listing, r);
}

// ---------------------------------------------------------------- GET

static void keys_begin(struct request *r, const struct head *head)
{
    (void)head;
    if (new_state(r))
        read_parameters(r, &state_of(r)->parameters);
}

static void keys_end(struct request *r)
{
    struct list_state *s = state_of(r);
    if (s->parameters.limit == 0) {
        if (start_listing(r, &r->grant->read, stream))
            stream(s->listing, r);
    } else if (start_listing(r, &r->grant->read, fill_page)) {
        document_list_begin(&s->document);
        fill_page(s->listing, r);
    }
}

static void prefix_begin(struct request *r, const struct head *head)
{
    (void)head;
    if (r->query.data) {
        reply_problem(r, 400, "a list by prefix takes no query; GET /keys does");
        return;
    }
    if (!new_state(r))
        return;
    struct parameters *p = &state_of(r)->parameters;
    memcpy(p->prefix, r->key, r->key_len);
    p->prefix_len = r->key_len;
}

const struct handler lists_keys = {.begin = keys_begin,
                                   .on_body = request_pass_over,
                                   .end = keys_end,
                                   .on_writable = stream_on,
                                   .fini = fini};
const struct handler lists_prefix = {.begin = prefix_begin,
                                     .on_body = request_pass_over,
                                     .end = keys_end,
                                     .on_writable = stream_on,
                                     .fini = fini};

// ---------------------------------------------------------------- DELETE

struct deletion {
    struct operation operation;
    struct request *request;
    char key[KEY_MAX];
};

static void delete_more(struct listing *listing, void *context);

static void finish_clear(struct request *r)
{
    struct list_state *s = state_of(r);
    if (!s->listed || s->deleting || r->state == REQUEST_ANSWERED)
        return;
    unsigned status = s->error ? document_status(s->error) : 204;
    reply_begin(r, status);
    if (s->failed_partition)
        reply_header_number(r, "Sherd-Partition", s->failed_partition);
    if (status == 503)
        reply_header_number(r, "Retry-After", 1);
    if (status == 204)
        reply_empty(r);
    else
        reply_problem_end(r, status, "not all keys may have been removed");
}

static void fail_clear(struct list_state *s, enum error error, unsigned partition)
{
    if (s->error == ERROR_OUTCOME)
        return;
    s->error = error;
    s->failed_partition = partition;
}

static void on_deleted(struct operation *operation, const struct outcome *outcome)
{
    struct deletion *d = CONTAINER_OF(operation, struct deletion, operation);
    struct request *r = d->request;
    enum error error = outcome->error;
    free(d);
    if (!request_release(r))
        return;
    struct list_state *s = state_of(r);
    s->deleting--;
    if (error)
        fail_clear(s, error, outcome->partition);
    if (!s->listed && !listing_waiting(s->listing))
        delete_more(s->listing, r);
    finish_clear(r);
}

static void delete_key(struct request *r, struct slice key)
{
    struct list_state *s = state_of(r);
    struct deletion *d = calloc(1, sizeof *d);
    if (!d) {
        fail_clear(s, ERROR_MEMORY, 0);
        return;
    }
    memcpy(d->key, key.data, key.len);
    d->request = r;
    d->operation.kind = OPERATION_DELETE;
    d->operation.key = (struct slice){d->key, key.len};
    d->operation.on_done = on_deleted;
    s->deleting++;
    request_hold(r);
    store_submit(r->worker->store, &d->operation);
}

static void delete_more(struct listing *listing, void *context)
{
    struct request *r = context;
    struct list_state *s = state_of(r);
    while (!s->listed && s->deleting < CLEAR_WINDOW) {
        struct listing_item item;
        enum listing_result result =
            s->error || !r->client ? LISTING_END : listing_next(listing, &item);
        if (result == LISTING_WAIT)
            return;
        if (result == LISTING_ITEM) {
            delete_key(r, item.key);
            continue;
        }
        s->listed = true;
        if (result == LISTING_FAILED)
            fail_clear(s, ERROR_UNAVAILABLE, listing_failed_partition(listing));
    }
    finish_clear(r);
}

static void clear_begin(struct request *r, const struct head *head)
{
    if (r->worker->all->conf->test || r->worker->limits.allow_clear)
        prefix_begin(r, head);
    else
        reply_problem(r, 403,
                      "removing all keys with a prefix needs allow_clear = yes or test mode");
}

static void clear_end(struct request *r)
{
    if (start_listing(r, &r->grant->write, delete_more))
        delete_more(state_of(r)->listing, r);
}

const struct handler lists_clear = {
    .begin = clear_begin, .on_body = request_pass_over, .end = clear_end, .fini = fini};
