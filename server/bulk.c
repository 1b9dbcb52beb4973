// SPDX-License-Identifier: MIT
// Lines are parsed while the body arrives; up to WINDOW of them are under way at once. Results
// leave in the order of the lines, and only while the client reads them: a full window stops the
// parsing, and a full line buffer stops the reading, so that the memory of a bulk is bounded.
//
// Operations on one key keep the order of their lines: a line whose slot has an operation under way
// waits (a slot is a good enough hash of the key, and a rare false alarm costs only a moment).
#include "server/bulk.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

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
    struct operation operation;
    struct precondition precondition;
    unsigned slot;
    bool done;
    struct bytes value; // owned
    struct bytes result;
    size_t key_len;
    char key[KEY_MAX];
    char type[TYPE_MAX];
};

struct bulk {
    struct request *request;
    struct bytes lines; // input that is not parsed yet
    size_t searched;    // bytes of it without a line feed
    bool skipping;      // inside a line that was too long
    bool ended;         // the body is complete
    bool blocked;       // the next line waits for blocked_slot, or for memory
    unsigned blocked_slot;
    size_t held;    // bytes of values and results in the window
    size_t largest; // result so far: what a get under way may bring
    size_t first;   // entries first .. first + count - 1 (modulo WINDOW) are under way
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
    bytes_append_slice(out, SLICE("{\"status\":"));
    bytes_append_number(out, status);
    bytes_append_char(out, ',');
    document_append_bytes(out, "detail", slice_of(detail));
    if (e->key_len) {
        bytes_append_char(out, ',');
        document_append_bytes(out, "key", (struct slice){e->key, e->key_len});
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
    document_append_bytes(out, "key", (struct slice){e->key, e->key_len});
    bytes_append_slice(out, SLICE(",\"status\":"));
    bytes_append_number(out, success_status(&e->operation, outcome));
    if (e->operation.kind != OPERATION_GET) {
        bytes_append_char(out, ',');
        document_append_version(out, outcome->stamp.version);
    } else if (outcome->found) {
        append_pair(out, &outcome->pair);
    }
    if (outcome->stale_count)
        append_stale(out, outcome);
    end_line(e);
}

static void on_done(struct operation *operation, const struct outcome *outcome)
{
    struct entry *e = CONTAINER_OF(operation, struct entry, operation);
    struct bulk *b = e->bulk;
    if (!request_release(b->request))
        return;
    b->busy[e->slot]--;
    write_result(e, outcome);
    b->held -= e->value.len;
    bytes_shrink(&e->value, 0);
    http_changed(b->request); // on_writable follows, once for all that end in this turn
}

// ---------------------------------------------------------------- parsing

// member_bytes reads `name` (a string) or `name_base64` into `to`: 1 there, 0 absent, -1 wrong.
static int member_bytes(const json_t *line, const char *name, struct bytes *to)
{
    char encoded_name[32];
    snprintf(encoded_name, sizeof encoded_name, "%s_base64", name);
    const json_t *plain = json_object_get(line, name);
    const json_t *encoded = json_object_get(line, encoded_name);
    const json_t *either = plain ? plain : encoded;
    if (!either)
        return 0;
    if ((plain && encoded) || !json_is_string(either))
        return -1;
    if (plain) {
        bytes_append(to, json_string_value(plain), json_string_length(plain));
        return 1;
    }
    size_t len = json_string_length(encoded), used;
    char *room = bytes_room(to, len / 4 * 3 + 3);
    if (!room ||
        sodium_base642bin((unsigned char *)room, len / 4 * 3 + 3, json_string_value(encoded), len,
                          NULL, &used, NULL, sodium_base64_VARIANT_ORIGINAL))
        return -1;
    to->len += used;
    return 1;
}

// What is wrong with a line; the status is 0 if nothing is.
struct fault {
    unsigned status;
    const char *detail;
};

static const struct fault no_fault = {0, NULL};

static struct fault bad_line(const char *detail)
{
    return (struct fault){400, detail};
}

static struct fault parse_key(struct entry *e, const json_t *line)
{
    struct fault fault = no_fault;
    struct bytes key = {0};
    if (member_bytes(line, "key", &key) != 1 || key.len == 0) {
        fault = bad_line("key (1 to 512 bytes) or key_base64 is needed");
    } else if (key.len > KEY_MAX) {
        fault = (struct fault){414, "a key has 1 to 512 bytes, this one has more"};
    } else {
        memcpy(e->key, key.data, key.len);
        e->key_len = key.len;
    }
    bytes_fini(&key);
    return fault;
}

static bool parse_type(struct entry *e, const json_t *line)
{
    const json_t *type = json_object_get(line, "type");
    const char *text =
        json_object_get(line, "value") ? "text/plain; charset=utf-8" : "application/octet-stream";
    struct slice s = slice_of(text);
    if (type && !json_is_string(type))
        return false;
    if (type)
        s = (struct slice){json_string_value(type), json_string_length(type)};
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < 0x20 || (unsigned char)s.data[i] >= 0x7f)
            return false;
    if (s.len == 0 || s.len > TYPE_MAX)
        return false;
    memcpy(e->type, s.data, s.len);
    e->operation.type = (struct slice){e->type, s.len};
    return true;
}

static bool parse_ttl(struct entry *e, const json_t *line)
{
    const json_t *ttl = json_object_get(line, "ttl");
    if (!ttl)
        return true;
    json_int_t seconds = json_integer_value(ttl);
    if (!json_is_integer(ttl) || seconds < 1 || seconds > OPERATION_TTL_MAX)
        return false;
    e->operation.ttl_ms = (uint64_t)seconds * 1000;
    return true;
}

// text_of returns a JSON string, NULs and all; an empty slice for anything else.
static struct slice text_of(const json_t *value)
{
    return (struct slice){json_string_value(value), json_string_length(value)};
}

static bool parse_conditions(struct entry *e, const json_t *line)
{
    const json_t *match = json_object_get(line, "if_match");
    const json_t *none = json_object_get(line, "if_none_match");
    struct precondition *p = &e->precondition;
    unsigned long long version;
    if (!match && !none)
        return true;
    if (match && none)
        return false;
    struct slice text = slice_of(
        json_is_string(match ? match : none) ? json_string_value(match ? match : none) : "");
    bool any = slice_equal(text, SLICE("*"));
    if (none && !any)
        return false;
    if (!any && slice_number(text, UINT64_MAX, &version))
        return false;
    p->must_be_absent = none != NULL;
    p->must_exist = match != NULL;
    p->must_match = match && !any;
    if (p->must_match)
        p->version[p->count++] = version;
    e->operation.precondition = p;
    return true;
}

static struct fault parse_put(struct entry *e, const json_t *line)
{
    if (member_bytes(line, "value", &e->value) != 1)
        return bad_line("a put needs value (a string) or value_base64");
    if (!parse_type(e, line))
        return bad_line("type must be 1 to 128 printable ASCII characters");
    if (!parse_ttl(e, line))
        return bad_line("ttl must be a number of seconds, 1 to 3153600000");
    e->operation.kind = OPERATION_PUT;
    e->operation.value = bytes_slice(&e->value);
    return no_fault;
}

static bool only_known_members(json_t *line)
{
    static const char *const known[] = {"op",   "key", "key_base64", "value",        "value_base64",
                                        "type", "ttl", "if_match",   "if_none_match"};
    const char *name;
    json_t *value;
    json_object_foreach(line, name, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || strcmp(name, known[i]) == 0;
        if (!found)
            return false;
    }
    return true;
}

// parse_line fills in the entry's operation or tells what is wrong with the line.
static struct fault parse_line(struct entry *e, json_t *line)
{
    struct slice op = text_of(json_object_get(line, "op"));
    if (!json_is_object(line))
        return bad_line("the line is not a JSON object");
    if (!only_known_members(line))
        return bad_line("the line has a member that is not known");
    struct fault fault = parse_key(e, line);
    if (fault.status)
        return fault;
    if (!parse_conditions(e, line))
        return bad_line(
            "if_match takes a version or *, if_none_match takes *, and only one of them");
    if (slice_equal(op, SLICE("put")))
        return parse_put(e, line);
    if (slice_equal(op, SLICE("delete")))
        e->operation.kind = OPERATION_DELETE;
    else if (slice_equal(op, SLICE("get")) && !e->operation.precondition)
        e->operation.kind = OPERATION_GET;
    else
        return bad_line("op is put, get or delete, and get takes no condition");
    return no_fault;
}

// ---------------------------------------------------------------- the window

static struct entry *next_entry(struct bulk *b)
{
    struct entry *e = &b->entry[(b->first + b->count) % WINDOW];
    e->bulk = b;
    e->operation = (struct operation){.on_done = on_done};
    e->precondition = (struct precondition){0};
    e->done = false;
    e->key_len = 0;
    bytes_clear(&e->value);
    return e;
}

// start_line begins the operation of a line; false if its slot is busy and the line must wait.
static bool start_line(struct bulk *b, struct slice text)
{
    struct request *r = b->request;
    struct entry *e = next_entry(b);
    json_error_t error;
    json_t *line = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    struct fault fault = line ? parse_line(e, line) : bad_line("the line is not JSON");
    json_decref(line);
    e->slot = slot_of((struct slice){e->key, e->key_len});
    if (!fault.status && b->busy[e->slot]) {
        b->blocked_slot = e->slot;
        return false;
    }
    b->count++;
    if (fault.status) {
        fail_line(e, fault.status, fault.detail);
    } else if (bytes_failed(&e->value)) {
        fail_line(e, 503, "out of memory");
    } else if (e->value.len > r->worker->limits.max_value) {
        fail_line(e, 413, "the value is larger than max_value");
    } else {
        e->operation.key = (struct slice){e->key, e->key_len};
        b->busy[e->slot]++;
        b->held += e->value.len;
        request_hold(r);
        store_submit(r->worker->store, &e->operation);
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

// has_memory tells whether another line may be begun: each under way may yet bring a result as
// large as the largest so far.
static bool has_memory(const struct bulk *b)
{
    return b->count == 0 || b->held + (b->count + 1) * b->largest <= HELD_MAX;
}

// start_lines begins as many lines as there are and the window takes.
static void start_lines(struct bulk *b)
{
    size_t at = 0;
    b->blocked =
        b->blocked && b->busy[b->blocked_slot]; // else it would be parsed again for nothing
    while (b->count < WINDOW && !b->blocked && has_memory(b)) {
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

// must_wait tells whether no line can be begun before another one ends.
static bool must_wait(const struct bulk *b)
{
    return b->count == WINDOW || b->blocked || !has_memory(b);
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
        bytes_fini(&b->entry[i].value);
        bytes_fini(&b->entry[i].result);
    }
    bytes_fini(&b->lines);
    free(b);
}

const struct handler bulk_post = {
    .begin = begin, .on_body = on_body, .end = end, .on_writable = on_writable, .fini = fini};
