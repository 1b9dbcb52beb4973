// SPDX-License-Identifier: MIT
// A request, from its head to the last byte of its answer:
//
//   READING   the body is arriving; handler->begin was called with the head, and may have answered
//   WORKING   the body is complete, handler->end was called; the answer is being made
//   ANSWERED  the answer is complete; the request goes when its bytes have their turn
//
// A handler does not block: it answers at once (server/reply.h) or keeps the request until the
// store calls back. If the client goes away meanwhile, the request stays until the last operation
// in the store has ended (request_hold, request_release), and what is written to it goes nowhere.
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "server/accept.h"
#include "server/access.h"
#include "server/condition.h"
#include "server/parser.h"
#include "server/route.h"
#include "store/key.h"
#include "store/operation.h"

struct client;
struct request;
struct worker;

// How a resource deals with a method. Each may be NULL.
struct handler {
    // begin: the head is there, request->key among it; `head` is valid only during the call. May
    // answer, and the body is then passed over.
    void (*begin)(struct request *request, const struct head *head);
    // on_body: a piece of the body. NULL: the body is gathered in request->body, up to max_value.
    void (*on_body)(struct request *request, struct slice piece);
    // end: the body is complete.
    void (*end)(struct request *request);
    // on_writable: what was written has gone out, and there is room for more (request_writable).
    void (*on_writable)(struct request *request);
    // fini: the request ends, answered or not; no operation is under way any more. Frees
    // state_of_handler.
    void (*fini)(struct request *request);
};

enum request_state {
    REQUEST_READING,
    REQUEST_WORKING,
    REQUEST_ANSWERED,
};

struct request {
    enum request_state state;
    struct worker *worker;
    struct client *client; // NULL once it is gone
    struct list link;      // in the client's pipeline
    const struct handler *handler;
    struct access *access;     // held; of which
    const struct grant *grant; // what the client may do
    struct slice cors_origin;  // of the page that may read the answer; without data = none
    unsigned holds;            // operations of the store that still need this request

    enum method method;
    struct route route;   // name only valid in begin
    unsigned minor;       // of HTTP/1.x
    bool keep_alive;      // the connection serves further requests after this one
    bool paused;          // the handler takes no more body for now
    bool body_unwelcome;  // an answer before the end of the body ends the connection
    bool continue_wanted; // Expect: 100-continue, not answered yet
    enum format format;   // of lists and errors
    unsigned status;      // of the answer, 0 before it
    uint64_t sent;        // bytes of the answer's body
    int64_t began_us;     // clock_us
    bool chunked;         // a streamed answer comes in chunks
    struct bytes out;     // the answer, while other requests come first
    struct bytes body;
    struct bytes target; // as it came, only for the access log

    // For handlers.
    struct operation operation;
    struct conditions conditions;
    struct precondition precondition;
    struct slice query; // valid in begin
    void *state_of_handler;
    size_t key_len;
    size_t type_len;
    size_t range_len;
    size_t if_range_len;
    char key[KEY_MAX];
    char type[TYPE_MAX];
    char range_text[128];
    char if_range[64];
};

static inline struct slice request_key(const struct request *request)
{
    return (struct slice){request->key, request->key_len};
}

// request_new makes the request of a client whose head passed the guard.
enum error request_new(struct worker *worker, struct client *client,
                       struct request **request) MUST_USE;

// request_begin finds the resource, decodes what every handler needs, and calls its begin.
void request_begin(struct request *request, const struct head *head);

// request_announced is told how long the body will be at least, before it comes.
void request_announced(struct request *request, uint64_t size);

// request_body takes a piece of the body.
void request_body(struct request *request, struct slice piece);

// request_pass_over is an on_body for resources to which a body means nothing (RFC 9110, 9.3.1).
void request_pass_over(struct request *request, struct slice piece);

// request_end is told when the body is complete.
void request_end(struct request *request);

// request_gone ends a request that its client no longer has in its pipeline, answered or not: it is
// freed now or with the last request_release.
void request_gone(struct request *request);

// request_free_orphans frees the requests without a client that the store still held when it was
// closed: nobody will call back any more.
void request_free_orphans(struct worker *worker);

// request_hold and request_release bracket every operation in the store. request_release returns
// false if the client is gone: the request must not be touched any more then.
void request_hold(struct request *request);
bool request_release(struct request *request) MUST_USE;

#endif
