// SPDX-License-Identifier: MIT
// Lines are parsed while the body arrives; up to WINDOW of them are under way at once. Results
// leave in the order of the lines, and only while the client reads them: a full window stops the
// parsing, and a full line buffer stops the reading, so that the memory of a bulk is bounded.
//
// Operations on one key keep the order of their lines: a line whose slot has an operation under way
// waits (a slot is a good enough hash of the key, and a rare false alarm costs only a moment).
#include "server/bulk.h"

#include <stdlib.h>

#include "base/clock.h"
#include "server/bulk_line.h"
#include "server/document.h"
#include "server/http.h"
#include "server/reply.h"
#include "server/worker.h"
#include "store/slot.h"

enum {
    WINDOW = 384,
    HELD_MAX = 16 * 1024 * 1024, // bytes of values and results above which no line is begun
    INPUT_HIGH = 64 * 1024,      // bytes of whole lines that wait; then the body is not read on
    OUTPUT_PIECE = 16 * 1024,
    LINE_EXTRA = 4096, // a line may be this much longer than its value needs
};

struct bulk;

// One line: its operation, and its result once there is one.
struct entry {
    struct bulk *bulk;
    struct bulk_line line;
    unsigned slot;
    bool done;
    bool again; // to be asked once more: there was no memory for what it brought
    struct bytes result;
};

struct bulk {
    struct request *request;
    struct bytes lines; // input that is not parsed yet
    size_t searched;    // bytes of it without a line feed
    bool skipping;      // inside a line that was too long
    bool ended;         // the body is complete
    bool blocked;       // the next line waits for blocked_slot, or for memory
    unsigned blocked_slot;
    size_t held;      // bytes of values and results in the window
    size_t largest;   // result so far: what an operation under way may bring
    size_t under_way; // operations in the store
    size_t again;     // entries that are to be asked again
    size_t first;     // entries first .. first + count - 1 (modulo WINDOW) are under way
    size_t count;
    uint8_t busy[SLOT_COUNT]; // operations under way by slot
    struct entry entry[WINDOW];
};

// ---------------------------------------------------------------- results

static void end_line(struct entry *e)
{
    struct bulk *b = e->bulk;
    bytes_append_slice(&e->result, SLICE("}\n"));
    b->held += e->result.len;
    if (e->result.len > b->largest)
        b->largest = e->result.len;
    e->done = true;
}

static void fail_line(struct entry *e, unsigned status, const char *detail)
{
    struct bytes *out = &e->result;
    bytes_shrink(&e->line.value, 0);
    bytes_append_slice(out, SLICE("{\"status\":"));
    bytes_append_number(out, status);
    bytes_append_char(out, ',');
    document_append_bytes(out, "detail", slice_of(detail));
    if (e->line.key_len) {
        bytes_append_char(out, ',');
        document_append_bytes(out, "key", (struct slice){e->line.key, e->line.key_len});
    }
    end_line(e);
}

static void append_stale(struct bytes *out, const struct outcome *outcome)
{
    bytes_append_slice(out, SLICE(",\"stale\":["));
    for (unsigned i = 0; i < outcome->stale_count; i++) {
        if (i)
            bytes_append_char(out, ',');
        bytes_append_number(out, outcome->stale[i]);
    }
    bytes_append_char(out, ']');
}

static void append_pair(struct bytes *out, const struct pair *pair)
{
    bytes_append_char(out, ',');
    document_append_bytes(out, "type", pair->type);
    bytes_append_char(out, ',');
    document_append_bytes(out, "value", pair->value);
    bytes_append_char(out, ',');
    document_append_version(out, pair->version);
}

static unsigned success_status(const struct operation *operation, const struct outcome *outcome)
{
    if (operation->kind == OPERATION_GET)
        return outcome->found ? 200 : 404;
    if (outcome_short(outcome))
        return 202;
    return operation->kind == OPERATION_PUT && outcome->created ? 201 : 204;
}

static void write_result(struct entry *e, const struct outcome *outcome)
{
    if (outcome->error) {
        fail_line(e, document_status(outcome->error), document_detail(outcome->error));
        return;
    }
    struct bytes *out = &e->result;
    bytes_append_char(out, '{');
    document_append_bytes(out, "key", (struct slice){e->line.key, e->line.key_len});
    bytes_append_slice(out, SLICE(",\"status\":"));
    bytes_append_number(out, success_status(&e->line.operation, outcome));
    if (e->line.operation.kind != OPERATION_GET) {
        bytes_append_char(out, ',');
        document_append_version(out, outcome->stamp.version);
    } else if (outcome->found) {
        append_pair(out, &outcome->pair);
    }
    if (outcome->stale_count)
        append_stale(out, outcome);
    end_line(e);
}

// is_too_much tells of a value for which there is no memory. That of the first line always has
// some.
static bool is_too_much(const struct entry *e, const struct outcome *outcome)
{
    const struct bulk *b = e->bulk;
    return outcome->found && e->line.operation.kind == OPERATION_GET && e != &b->entry[b->first] &&
           b->held + outcome->pair.value.len > HELD_MAX;
}

static void on_done(struct operation *operation, const struct outcome *outcome)
{
    struct entry *e = CONTAINER_OF(operation, struct entry, line.operation);
    struct bulk *b = e->bulk;
    if (!request_release(b->request))
        return;
    b->under_way--;
    if (is_too_much(e, outcome)) {
        e->again = true;
        b->again++;
        if (outcome->pair.value.len > b->largest)
            b->largest = outcome->pair.value.len;
    } else {
        b->busy[e->slot]--;
        b->held -= e->line.value.len;
        bytes_shrink(&e->line.value, 0);
        write_result(e, outcome);
    }
    http_changed(b->request); // on_writable follows, once for all that end in this turn
}

// ---------------------------------------------------------------- access

static struct bulk_fault check_access(const struct entry *e)
{
    const struct request *r = e->bulk->request;
    bool reads = e->line.operation.kind == OPERATION_GET;
    if (r->access != r->worker->access) // else a bulk without end would outlive its token
        return (struct bulk_fault){403, "the tokens have changed meanwhile; begin a new bulk"};
    if (!prefixes_cover(reads ? &r->grant->read : &r->grant->write,
                        (struct slice){e->line.key, e->line.key_len}))
        return (struct bulk_fault){403, reads ? "this token may not read that key"
                                              : "this token may not write that key"};
    return (struct bulk_fault){0, NULL};
}

// ---------------------------------------------------------------- the window

static struct entry *next_entry(struct bulk *b)
{
    struct entry *e = &b->entry[(b->first + b->count) % WINDOW];
    e->bulk = b;
    e->done = e->again = false;
    e->line.key_len = 0;
    return e;
}

static void submit(struct entry *e)
{
    struct bulk *b = e->bulk;
    b->under_way++;
    request_hold(b->request);
    store_submit(b->request->worker->store, &e->line.operation);
}

// start_line begins the operation of a line; false if its slot is busy and the line must wait.
static bool start_line(struct bulk *b, struct slice text)
{
    struct request *r = b->request;
    struct entry *e = next_entry(b);
    struct bulk_fault fault = bulk_line_parse(text, &e->line);
    if (!fault.status)
        fault = check_access(e);
    e->slot = slot_of((struct slice){e->line.key, e->line.key_len});
    if (!fault.status && b->busy[e->slot]) {
        b->blocked_slot = e->slot;
        return false;
    }
    b->count++;
    if (!fault.status && !access_take(r->grant, 1, clock_us()))
        fault = (struct bulk_fault){429, "more requests than this token may make"};
    if (fault.status) {
        fail_line(e, fault.status, fault.detail);
    } else if (bytes_failed(&e->line.value)) {
        fail_line(e, 503, "out of memory");
    } else if (e->line.value.len > r->worker->limits.max_value) {
        fail_line(e, 413, "the value is larger than max_value");
    } else {
        e->line.operation.on_done = on_done;
        b->busy[e->slot]++;
        b->held += e->line.value.len;
        submit(e);
    }
    return true;
}

// line_max is how long a line may be: a value of max_value in base64 or with every byte as \u00XX.
static size_t line_max(const struct bulk *b)
{
    return b->request->worker->limits.max_value * 6 + LINE_EXTRA;
}

// cut_line finds the next whole line; at the end of the body, what is left is one.
static bool cut_line(struct bulk *b, struct slice rest, struct slice *line, size_t *used)
{
    const char *feed = b->searched < rest.len
                           ? memchr(rest.data + b->searched, '\n', rest.len - b->searched)
                           : NULL;
    if (!feed && !(b->ended && rest.len)) {
        b->searched = rest.len;
        return false;
    }
    line->data = rest.data;
    line->len = feed ? (size_t)(feed - rest.data) : rest.len;
    *used = line->len + (feed ? 1 : 0);
    if (line->len && line->data[line->len - 1] == '\r')
        line->len--;
    return true;
}

static void refuse_long_line(struct bulk *b)
{
    struct entry *e = next_entry(b);
    b->count++;
    fail_line(e, 413, "the line is longer than a value of max_value needs");
}

// has_memory tells whether another operation may be begun: each under way may yet bring a result as
// large as the largest so far.
static bool has_memory(const struct bulk *b)
{
    return b->count == 0 || b->held + (b->under_way + 1) * b->largest <= HELD_MAX;
}

// ask_again asks for what found no memory, once there is some.
static void ask_again(struct bulk *b)
{
    for (size_t i = 0; i < b->count && b->again; i++) {
        struct entry *e = &b->entry[(b->first + i) % WINDOW];
        if (e->again && (i == 0 || has_memory(b))) {
            e->again = false;
            b->again--;
            submit(e);
        }
    }
}

// must_wait tells whether no line can be begun before another one ends.
static bool must_wait(const struct bulk *b)
{
    return b->count == WINDOW || b->blocked || b->again || !has_memory(b);
}

// start_lines begins as many lines as there are and the window takes.
static void start_lines(struct bulk *b)
{
    size_t at = 0;
    b->blocked =
        b->blocked && b->busy[b->blocked_slot]; // else it would be parsed again for nothing
    while (!must_wait(b)) {
        struct slice rest = {b->lines.data + at, b->lines.len - at}, line;
        size_t used;
        if (!cut_line(b, rest, &line, &used)) {
            if (rest.len > line_max(b) && !b->skipping) {
                b->skipping = true;
                refuse_long_line(b);
            }
            if (b->skipping) {
                at = b->lines.len;
                b->searched = 0;
            }
            break;
        }
        if (!b->skipping && slice_trim(line).len && !start_line(b, line)) {
            b->blocked = true;
            break;
        }
        b->skipping = false;
        b->searched = 0;
        at += used;
    }
    bytes_consume(&b->lines, at);
}

// send_results sends the results at the front of the window.
static void send_results(struct bulk *b)
{
    struct request *r = b->request;
    struct bytes piece = {0};
    while (b->count && b->entry[b->first].done && http_writable(r) && !bytes_failed(&piece)) {
        struct entry *e = &b->entry[b->first];
        if (bytes_failed(&e->result))
            piece.failed = true;
        bytes_append_slice(&piece, bytes_slice(&e->result));
        b->held -= e->result.len;
        bytes_shrink(&e->result, 1024);
        b->first = (b->first + 1) % WINDOW;
        b->count--;
        if (piece.len >= OUTPUT_PIECE) {
            reply_piece(r, bytes_slice(&piece));
            bytes_clear(&piece);
        }
    }
    if (bytes_failed(&piece))
        reply_abort(r);
    else
        reply_piece(r, bytes_slice(&piece));
    bytes_fini(&piece);
}

// work moves the bulk on as far as it goes: results out, lines in, until neither moves.
static void work(struct bulk *b)
{
    struct request *r = b->request;
    size_t before;
    do {
        before = b->lines.len;
        send_results(b);
        if (r->state == REQUEST_ANSWERED)
            return;
        ask_again(b);
        start_lines(b);
    } while (b->lines.len != before && !must_wait(b));
    if (b->ended && b->count == 0 && b->lines.len == 0)
        reply_end(r);
    else if (b->count && b->entry[b->first].done)
        http_changed(r); // results that found no room, or came without an operation
    else if (r->paused && !must_wait(b))
        http_resume(r);
}

// ---------------------------------------------------------------- the handler

static void begin(struct request *r, const struct head *head)
{
    struct slice coding = head->value[HEADER_CONTENT_ENCODING];
    if (r->query.data) {
        reply_problem(r, 400, "/bulk takes no query");
        return;
    }
    if (head->line.framing == GUARD_NO_BODY) {
        reply_problem(r, 411, "POST needs Content-Length or Transfer-Encoding: chunked");
        return;
    }
    if (coding.data && !slice_equal_nocase(coding, SLICE("identity"))) {
        reply_problem(r, 415, "a bulk is not decoded: send it without Content-Encoding");
        return;
    }
    struct bulk *b = calloc(1, sizeof *b);
    r->state_of_handler = b;
    if (!b) {
        reply_problem(r, 503, "out of memory");
        return;
    }
    b->request = r;
    r->body_unwelcome = false; // the answer begins while the body arrives
}

// The answer begins with the first piece of the body: after the head of the request it would come
// before the 100 Continue that the client may wait for.
static void begin_answer(struct request *r)
{
    if (r->status)
        return;
    reply_begin_stream(r, 200);
    reply_header(r, "Content-Type", SLICE("application/x-ndjson"));
    reply_header(r, "X-Content-Type-Options", SLICE("nosniff"));
    reply_stream(r);
}

static void on_body(struct request *r, struct slice piece)
{
    struct bulk *b = r->state_of_handler;
    begin_answer(r);
    bytes_append_slice(&b->lines, piece);
    if (bytes_failed(&b->lines)) {
        reply_abort(r);
        return;
    }
    work(b);
    r->paused = b->lines.len >= INPUT_HIGH && must_wait(b);
}

static void end(struct request *r)
{
    struct bulk *b = r->state_of_handler;
    begin_answer(r);
    b->ended = true;
    work(b);
}

static void on_writable(struct request *r)
{
    if (r->status && r->state != REQUEST_ANSWERED)
        work(r->state_of_handler);
}

static void fini(struct request *r)
{
    struct bulk *b = r->state_of_handler;
    if (!b)
        return;
    for (size_t i = 0; i < WINDOW; i++) {
        bytes_fini(&b->entry[i].line.value);
        bytes_fini(&b->entry[i].result);
    }
    bytes_fini(&b->lines);
    free(b);
}

const struct handler bulk_post = {
    .begin = begin, .on_body = on_body, .end = end, .on_writable = on_writable, .fini = fini};
