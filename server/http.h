// SPDX-License-Identifier: MIT
// The HTTP engine: the clients' connections, from bytes to requests and from answers to bytes.
//
// A client is in one state, and in the list of the thread's clients in that state, oldest first, so
// that whoever is late stands at the front:
//
//   IDLE      no request: nothing of one has come, nothing is unanswered
//   HEAD      a part of a head has come
//   BODY      a body is arriving
//   SERVING   requests are being worked on, and nothing of a next one has come
//   LINGER    the last answer is out; what still comes in is thrown away until the client ends
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "server/crowd.h"
#include "server/request.h"

enum client_state {
    CLIENT_IDLE,
    CLIENT_HEAD,
    CLIENT_BODY,
    CLIENT_SERVING,
    CLIENT_LINGER,
    CLIENT_STATES,
};

// client_new takes over an accepted, non-blocking socket and its place in the crowd, which may be
// NULL; closes it if memory is out.
void client_new(struct worker *worker, int fd, struct crowd_place *place);

// http_output returns where the bytes of a request's answer go now.
struct bytes *http_output(struct request *request);

// http_changed is told after something was written or the request was answered.
void http_changed(struct request *request);

// http_writable is false while so much of the answer is unsent that the handler should wait for
// on_writable.
bool http_writable(const struct request *request);

// http_resume is told when a handler that paused takes more body.
void http_resume(struct request *request);

// http_flush sends what was written during this turn of the loop.
void http_flush(struct worker *worker);

// http_check_deadlines ends clients that are late; called several times a second.
void http_check_deadlines(struct worker *worker);

// http_stop lets clients finish the requests under way and ends the others; http_stop_now ends all.
void http_stop(struct worker *worker);
void http_stop_now(struct worker *worker);

#endif
