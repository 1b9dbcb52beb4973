// SPDX-License-Identifier: MIT
#include "server/reply.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "server/document.h"
#include "server/http.h"
#include "server/worker.h"

static const struct {
    unsigned status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *reply_reason(unsigned status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

void reply_begin_stream(struct request *r, unsigned status)
{
    // HTTP/1.0 knows no chunks: there the end of the connection is the end of the body.
    r->chunked = r->minor >= 1;
    r->keep_alive = r->keep_alive && r->chunked;
    reply_begin(r, status);
}

static void cors_headers(struct request *r)
{
    reply_header(r, "Access-Control-Allow-Origin", r->cors_origin);
    reply_headers(r, SLICE("Vary: Origin\r\n"
                           "Access-Control-Expose-Headers: Age, ETag, Link, Retry-After, "
                           "Sherd-Acks, Sherd-Cache, Sherd-Partition, Sherd-Stale, X-TTL\r\n"));
}

void reply_begin(struct request *r, unsigned status)
{
    struct bytes *out = http_output(r);
    assert(r->status == 0);
    r->status = status;
    if (r->state == REQUEST_READING && r->body_unwelcome)
        r->keep_alive = false;
    bytes_append_text(out, "HTTP/1.1 ");
    bytes_append_number(out, status);
    bytes_append_char(out, ' ');
    bytes_append_text(out, reply_reason(status));
    bytes_append_text(out, "\r\n");
    bytes_append(out, r->worker->date, r->worker->date_len);
    if (!r->keep_alive)
        bytes_append_text(out, "Connection: close\r\n");
    else if (r->minor == 0)
        bytes_append_text(out, "Connection: keep-alive\r\n");
    if (r->cors_origin.data)
        cors_headers(r);
    else // else any page could have a value as an image, or learn whether it is there
        bytes_append_slice(out, SLICE("Cross-Origin-Resource-Policy: same-origin\r\n"));
}

void reply_header(struct request *r, const char *name, struct slice value)
{
    struct bytes *out = http_output(r);
    for (size_t i = 0; i < value.len; i++)
        assert((unsigned char)value.data[i] >= 0x20 && value.data[i] != 0x7f);
    bytes_append_text(out, name);
    bytes_append_slice(out, SLICE(": "));
    bytes_append_slice(out, value);
    bytes_append_slice(out, SLICE("\r\n"));
}

void reply_header_number(struct request *r, const char *name, unsigned long long number)
{
    struct bytes *out = http_output(r);
    bytes_append_text(out, name);
    bytes_append_slice(out, SLICE(": "));
    bytes_append_number(out, number);
    bytes_append_slice(out, SLICE("\r\n"));
}

void reply_headers(struct request *r, struct slice lines)
{
    bytes_append_slice(http_output(r), lines);
}

void reply_header_format(struct request *r, const char *name, const char *format, ...)
{
    char value[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(value, sizeof value, format, args);
    va_end(args);
    assert(len >= 0 && (size_t)len < sizeof value);
    reply_header(r, name, (struct slice){value, (size_t)len});
}

static void access_log(struct request *r)
{
    struct bytes *log = &r->worker->log;
    log_time(log);
    bytes_format(log, " method=%s target=\"", method_name(r->method));
    log_escape(log, bytes_slice(&r->target));
    bytes_format(log, "\" status=%u bytes=%llu us=%lld thread=%u\n", r->status,
                 (unsigned long long)r->sent, (long long)(clock_us() - r->began_us),
                 r->worker->number);
}

static void answered(struct request *r)
{
    r->state = REQUEST_ANSWERED;
    stats_count(&r->worker->stats, r->method, r->status, clock_us() - r->began_us);
    if (r->target.len)
        access_log(r);
    http_changed(r);
}

static void content_length(struct request *r, uint64_t size)
{
    struct bytes *out = http_output(r);
    bytes_append_text(out, "Content-Length: ");
    bytes_append_number(out, size);
    bytes_append_text(out, "\r\n\r\n");
}

void reply_body(struct request *r, struct slice body)
{
    content_length(r, body.len);
    if (r->method != METHOD_HEAD) {
        bytes_append_slice(http_output(r), body);
        r->sent = body.len;
    }
    answered(r);
}

void reply_head_only(struct request *r, uint64_t size)
{
    content_length(r, size);
    answered(r);
}

void reply_empty(struct request *r)
{
    bytes_append_text(http_output(r), "\r\n");
    answered(r);
}

void reply_stream(struct request *r)
{
    if (r->chunked)
        reply_header(r, "Transfer-Encoding", SLICE("chunked"));
    bytes_append_text(http_output(r), "\r\n");
    http_changed(r);
}

void reply_piece(struct request *r, struct slice piece)
{
    struct bytes *out = http_output(r);
    if (piece.len == 0 || r->method == METHOD_HEAD) // a chunk of length 0 would be the last
        return;
    if (r->chunked)
        bytes_format(out, "%zx\r\n", piece.len);
    bytes_append_slice(out, piece);
    if (r->chunked)
        bytes_append_text(out, "\r\n");
    r->sent += piece.len;
    http_changed(r);
}

void reply_end(struct request *r)
{
    if (r->chunked && r->method != METHOD_HEAD)
        bytes_append_text(http_output(r), "0\r\n\r\n");
    answered(r);
}

void reply_abort(struct request *r)
{
    r->keep_alive = false; // the missing last chunk tells the client
    answered(r);
}

void reply_problem(struct request *r, unsigned status, const char *detail)
{
    reply_begin(r, status);
    if (status == 503) // not the client's fault
        reply_header_number(r, "Retry-After", 1);
    reply_problem_end(r, status, detail);
}

void reply_problem_end(struct request *r, unsigned status, const char *detail)
{
    struct bytes body = {0};
    const char *type = document_problem(r->format, status, detail, &body);
    if (bytes_failed(&body)) { // the status must do
        bytes_clear(&body);
    } else {
        reply_header(r, "Content-Type", slice_of(type));
        reply_header(r, "X-Content-Type-Options", SLICE("nosniff"));
    }
    reply_body(r, bytes_slice(&body));
    bytes_fini(&body);
}

void reply_stale(struct request *r, const uint16_t *partitions, unsigned count)
{
    struct bytes ids = {0};
    for (unsigned i = 0; i < count; i++)
        bytes_format(&ids, i ? ", %u" : "%u", partitions[i]);
    if (ids.len && !bytes_failed(&ids))
        reply_header(r, "Sherd-Stale", bytes_slice(&ids));
    bytes_fini(&ids);
}

void reply_outcome(struct request *r, const struct outcome *outcome)
{
    unsigned status = document_status(outcome->error);
    reply_begin(r, status);
    reply_header_number(r, "Sherd-Partition", outcome->partition);
    if (status == 503)
        reply_header_number(r, "Retry-After", outcome->retry_after);
    reply_problem_end(r, status, document_detail(outcome->error));
}
