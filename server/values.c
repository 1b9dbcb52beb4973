// SPDX-License-Identifier: MIT
#include "server/values.h"

#include "base/clock.h"
#include "server/document.h"
#include "server/http.h"
#include "server/range.h"
#include "server/reply.h"
#include "server/target.h"
#include "server/worker.h"
#include "store/version.h"

static const struct slice default_type = {"application/octet-stream", 24};

// ---------------------------------------------------------------- the head

static bool parse_tags(struct request *r, struct slice value, enum condition_strength strength,
                       struct condition *condition)
{
    if (!value.data || condition_parse(value, strength, condition) == ERROR_NONE)
        return true;
    reply_problem(r, 400, "If-Match and If-None-Match take * or up to 16 quoted entity tags");
    return false;
}

static bool parse_conditions(struct request *r, const struct head *head)
{
    struct conditions *c = &r->conditions;
    struct slice modified = head->value[HEADER_IF_MODIFIED_SINCE];
    struct slice unmodified = head->value[HEADER_IF_UNMODIFIED_SINCE];
    if (modified.data)
        c->modified_since = condition_date_parse(modified);
    if (unmodified.data)
        c->unmodified_since = condition_date_parse(unmodified);
    return parse_tags(r, head->value[HEADER_IF_MATCH], CONDITION_STRONG, &c->match) &&
           parse_tags(r, head->value[HEADER_IF_NONE_MATCH], CONDITION_WEAK, &c->none_match);
}

static bool refuse_query(struct request *r)
{
    if (!r->query.data)
        return false;
    reply_problem(r, 400, "a key takes no query, but for ?ttl= with PUT; a ? in a key is %3F");
    return true;
}

// keep copies a header that is needed later; one that is too long counts as absent.
static void keep(struct slice value, char *to, size_t size, size_t *len)
{
    *len = value.data && value.len <= size ? value.len : 0;
    if (*len)
        memcpy(to, value.data, *len);
}

// ---------------------------------------------------------------- GET and HEAD

static bool read_quorum(struct request *r)
{
    struct slice query = r->query, name, value;
    r->operation.quorum = false;
    while (target_query_next(&query, &name, &value)) {
        if (!slice_equal(name, SLICE("read")) || !slice_equal(value, SLICE("quorum"))) {
            reply_problem(r, 400,
                          "a GET takes ?read=quorum and no other query; a ? in a key is "
                          "%3F");
            return false;
        }
        r->operation.quorum = true;
    }
    return true;
}

// wants_fresh tells whether the client asks not to be served from memory (RFC 9111, 5.2.1).
static bool wants_fresh(struct slice cache_control)
{
    struct slice rest = cache_control;
    while (rest.data) {
        struct slice directive = slice_trim(slice_token(&rest, ','));
        struct slice name = slice_trim(slice_token(&directive, '='));
        if (slice_equal_nocase(name, SLICE("no-cache")) ||
            slice_equal_nocase(name, SLICE("no-store")) ||
            (slice_equal_nocase(name, SLICE("max-age")) && slice_equal(directive, SLICE("0"))))
            return true;
    }
    return false;
}

static void get_begin(struct request *r, const struct head *head)
{
    if (!read_quorum(r) || !parse_conditions(r, head))
        return;
    r->operation.fresh = wants_fresh(head->value[HEADER_CACHE_CONTROL]);
    keep(head->value[HEADER_RANGE], r->range_text, sizeof r->range_text, &r->range_len);
    keep(head->value[HEADER_IF_RANGE], r->if_range, sizeof r->if_range, &r->if_range_len);
    // An If-Range that was too long to keep matches nothing: the whole is the answer.
    if (head->value[HEADER_IF_RANGE].data && r->if_range_len == 0)
        r->range_len = 0;
}

// stored_type returns the type to label a value with. SQL may have written anything into the
// column; what could break out of the header is not served.
static struct slice stored_type(struct slice type)
{
    for (size_t i = 0; i < type.len; i++)
        if ((unsigned char)type.data[i] < 0x20 || (unsigned char)type.data[i] == 0x7f)
            return default_type;
    return type.len ? type : default_type;
}

// partition_header tells who answered, and who could not be asked and may know something newer.
static void partition_header(struct request *r, const struct outcome *outcome)
{
    reply_header_number(r, "Sherd-Partition", outcome->partition);
    if (outcome->cached)
        reply_headers(r, SLICE("Age: 0\r\nSherd-Cache: hit\r\n"));
    reply_stale(r, outcome->stale, outcome->stale_count);
}

static void etag_header(struct request *r, uint64_t version)
{
    struct bytes *out = http_output(r);
    bytes_append_slice(out, SLICE("ETag: \""));
    bytes_append_number(out, version);
    bytes_append_slice(out, SLICE("\"\r\n"));
}

// value_headers writes what a 200, a 206 and a 304 share.
static void value_headers(struct request *r, const struct outcome *outcome)
{
    const struct pair *pair = &outcome->pair;
    char modified[CONDITION_DATE_SIZE];
    condition_date_format(version_unix_seconds(pair->version), modified);
    etag_header(r, pair->version);
    reply_header(r, "Last-Modified", slice_of(modified));
    reply_headers(r, SLICE("Cache-Control: no-cache\r\n"));
    if (pair->expires) {
        int64_t left_ms = (int64_t)pair->expires - clock_unix_us() / 1000;
        reply_header_number(r, "X-TTL", left_ms > 0 ? (uint64_t)(left_ms + 999) / 1000 : 0);
    }
    partition_header(r, outcome);
}

static void content_headers(struct request *r, const struct pair *pair)
{
    reply_header(r, "Content-Type", stored_type(pair->type));
    reply_headers(r, SLICE("Accept-Ranges: bytes\r\n"
                           "X-Content-Type-Options: nosniff\r\n"
                           "Content-Security-Policy: sandbox\r\n"));
}

static void answer_unsatisfiable(struct request *r, const struct outcome *outcome)
{
    reply_begin(r, 416);
    reply_header_format(r, "Content-Range", "bytes */%llu", (unsigned long long)outcome->pair.size);
    partition_header(r, outcome);
    reply_problem_end(r, 416, "the range lies outside of the value");
}

static void answer_value(struct request *r, const struct outcome *outcome)
{
    const struct pair *pair = &outcome->pair;
    struct range range = {0};
    enum range_kind kind = RANGE_WHOLE;
    bool applies = r->method == METHOD_GET && r->range_len &&
                   (r->if_range_len == 0 ||
                    condition_allows_range((struct slice){r->if_range, r->if_range_len},
                                           pair->version, version_unix_seconds(pair->version)));
    if (applies)
        kind = range_parse((struct slice){r->range_text, r->range_len}, pair->size, &range);
    if (kind == RANGE_UNSATISFIABLE) {
        answer_unsatisfiable(r, outcome);
        return;
    }
    reply_begin(r, kind == RANGE_PART ? 206 : 200);
    value_headers(r, outcome);
    content_headers(r, pair);
    if (r->method == METHOD_HEAD) {
        reply_head_only(r, pair->size);
    } else if (kind == RANGE_PART) {
        reply_header_format(r, "Content-Range", "bytes %llu-%llu/%llu",
                            (unsigned long long)range.first, (unsigned long long)range.last,
                            (unsigned long long)pair->size);
        reply_body(r, (struct slice){pair->value.data + range.first,
                                     (size_t)(range.last - range.first + 1)});
    } else {
        reply_body(r, pair->value);
    }
}

static void answer_absent(struct request *r, const struct outcome *outcome)
{
    reply_begin(r, 404);
    partition_header(r, outcome);
    reply_problem_end(r, 404, "no such key");
}

static void answer_failed(struct request *r, const struct outcome *outcome)
{
    reply_begin(r, 412);
    partition_header(r, outcome);
    reply_problem_end(r, 412, document_detail(ERROR_PRECONDITION));
}

static void get_done(struct operation *operation, const struct outcome *outcome)
{
    struct request *r = CONTAINER_OF(operation, struct request, operation);
    if (!request_release(r))
        return;
    if (outcome->error) {
        reply_outcome(r, outcome);
        return;
    }
    if (!outcome->found) { // whatever the conditions (RFC 9110, 13.2.1)
        answer_absent(r, outcome);
        return;
    }
    uint64_t version = outcome->pair.version;
    switch (condition_evaluate_read(&r->conditions, version, version_unix_seconds(version))) {
    case CONDITION_PASS:
        answer_value(r, outcome);
        break;
    case CONDITION_NOT_MODIFIED:
        reply_begin(r, 304);
        value_headers(r, outcome);
        reply_empty(r);
        break;
    case CONDITION_FAILED:
        answer_failed(r, outcome);
        break;
    }
}

static void get_end(struct request *r)
{
    r->operation.kind = r->method == METHOD_HEAD ? OPERATION_HEAD : OPERATION_GET;
    r->operation.key = request_key(r);
    r->operation.value = (struct slice){NULL, 0};
    r->operation.precondition = NULL;
    r->operation.on_done = get_done;
    request_hold(r);
    store_submit(r->worker->store, &r->operation);
}

const struct handler values_get = {
    .begin = get_begin, .on_body = request_pass_over, .end = get_end};

// ---------------------------------------------------------------- PUT and DELETE

// set_precondition turns the conditions of a write into what the store tests. If-Modified-Since
// means nothing here (RFC 9110, 13.1.3), If-Unmodified-Since nothing beside If-Match (13.1.4).
static void set_precondition(struct request *r)
{
    const struct conditions *c = &r->conditions;
    struct precondition *p = &r->precondition;
    const struct condition *tags = c->match.present ? &c->match : &c->none_match;
    *p = (struct precondition){
        .must_exist = c->match.present || c->unmodified_since.present,
        .must_match = c->match.present && !c->match.any,
        .must_differ = c->none_match.present && !c->none_match.any,
        .must_be_absent = c->none_match.present && c->none_match.any,
    };
    if (c->unmodified_since.present && !c->match.present)
        p->below = version_at(c->unmodified_since.seconds + 1);
    p->count = (unsigned)tags->count;
    memcpy(p->version, tags->version, tags->count * sizeof tags->version[0]);
    bool any = p->must_exist || p->must_differ || p->must_be_absent;
    r->operation.precondition = any ? p : NULL;
}

// One list of versions is all that the store takes, and all that anybody sends.
static bool refuse_two_lists(struct request *r)
{
    if (!r->conditions.match.present || !r->conditions.none_match.present)
        return false;
    reply_problem(r, 400, "a write takes If-Match or If-None-Match, not both");
    return true;
}

static bool parse_ttl(struct slice text, uint64_t *seconds)
{
    unsigned long long n = 0;
    if (slice_number(text, OPERATION_TTL_MAX, &n) || n == 0)
        return false;
    *seconds = n;
    return true;
}

static bool read_ttl(struct request *r, const struct head *head)
{
    struct slice header = head->value[HEADER_X_TTL], query = r->query, name, value;
    uint64_t from_header = 0, from_query = 0;
    bool right = !header.data || parse_ttl(header, &from_header);
    while (right && target_query_next(&query, &name, &value))
        right = slice_equal(name, SLICE("ttl")) && value.data && !from_query &&
                parse_ttl(value, &from_query);
    if (!right || (from_header && from_query && from_header != from_query)) {
        reply_problem(r, 400,
                      "X-TTL and ?ttl= take seconds, 1 to 3153600000, and must agree; no "
                      "other parameter is known");
        return false;
    }
    r->operation.ttl_ms = (from_header ? from_header : from_query) * 1000;
    return true;
}

static bool read_type(struct request *r, const struct head *head)
{
    struct slice type = head->value[HEADER_CONTENT_TYPE];
    if (!type.data || type.len == 0)
        type = default_type;
    if (type.len > TYPE_MAX) {
        reply_problem(r, 400, "a Content-Type has at most 128 bytes");
        return false;
    }
    memcpy(r->type, type.data, type.len);
    r->type_len = type.len;
    return true;
}

// refuse_framing answers a PUT whose body cannot become a value.
static bool refuse_framing(struct request *r, const struct head *head)
{
    struct slice coding = head->value[HEADER_CONTENT_ENCODING];
    if (head->line.framing == GUARD_NO_BODY)
        reply_problem(r, 411, "PUT needs Content-Length or Transfer-Encoding: chunked");
    else if (head->line.length > r->worker->limits.max_value)
        reply_problem(r, 413, "the value is larger than max_value");
    else if (head->value[HEADER_CONTENT_RANGE].data)
        reply_problem(r, 400, "a part of a value cannot be written");
    else if (coding.data && !slice_equal_nocase(coding, SLICE("identity")))
        reply_problem(r, 415, "the Content-Encoding would be lost: send the value as it is");
    else
        return false;
    return true;
}

static void put_begin(struct request *r, const struct head *head)
{
    if (!refuse_framing(r, head) && read_ttl(r, head) && read_type(r, head) &&
        parse_conditions(r, head))
        refuse_two_lists(r);
}

static void put_done(struct operation *operation, const struct outcome *outcome)
{
    struct request *r = CONTAINER_OF(operation, struct request, operation);
    if (!request_release(r))
        return;
    if (outcome->error) {
        reply_outcome(r, outcome);
        return;
    }
    bool created = operation->kind == OPERATION_PUT && outcome->created;
    bool few = outcome_short(outcome);
    reply_begin(r, few ? 202 : created ? 201 : 204);
    etag_header(r, outcome->stamp.version);
    partition_header(r, outcome);
    if (outcome->acks_wanted > 1)
        reply_header_format(r, "Sherd-Acks", "%u/%u", outcome->acks, outcome->acks_wanted);
    if (few || created)
        reply_body(r, (struct slice){NULL, 0});
    else
        reply_empty(r);
}

static void submit_write(struct request *r, enum operation_kind kind)
{
    r->operation.kind = kind;
    r->operation.key = request_key(r);
    r->operation.value = bytes_slice(&r->body);
    r->operation.type = (struct slice){r->type, r->type_len};
    r->operation.on_done = put_done;
    set_precondition(r);
    request_hold(r);
    store_submit(r->worker->store, &r->operation);
}

static void put_end(struct request *r)
{
    submit_write(r, OPERATION_PUT);
}

const struct handler values_put = {.begin = put_begin, .end = put_end};

static void delete_begin(struct request *r, const struct head *head)
{
    if (!refuse_query(r) && parse_conditions(r, head))
        refuse_two_lists(r);
}

static void delete_end(struct request *r)
{
    submit_write(r, OPERATION_DELETE);
}

const struct handler values_delete = {
    .begin = delete_begin, .on_body = request_pass_over, .end = delete_end};
