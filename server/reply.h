// SPDX-License-Identifier: MIT
// Replies: an answer is begun with its status, gets headers, and is ended in exactly one way. All
// of it goes to the request's output and is sent at the end of the loop's turn.
#ifndef SERVER_REPLY_H
#define SERVER_REPLY_H

#include "server/request.h"

// reply_begin writes the status line and the headers that every answer has.
void reply_begin(struct request *request, unsigned status);

// reply_header adds a header. Values come from the program or from checked input; a control byte
// among them would end the process (an assert), never the header.
void reply_header(struct request *request, const char *name, struct slice value);
void reply_header_number(struct request *request, const char *name, unsigned long long number);
void reply_header_format(struct request *request, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// reply_headers adds headers that are known at compile time, each with its CRLF.
void reply_headers(struct request *request, struct slice lines);

// reply_body ends the answer with a body (left out for HEAD) of the given bytes.
void reply_body(struct request *request, struct slice body);

// reply_head_only ends the answer to a HEAD whose body would have `size` bytes.
void reply_head_only(struct request *request, uint64_t size);

// reply_empty ends an answer that has no body by its status (204, 304).
void reply_empty(struct request *request);

// reply_begin_stream begins an answer whose body comes bit by bit: headers, then reply_stream,
// which ends them, any number of reply_piece (which write nothing to HEAD), then reply_end.
void reply_begin_stream(struct request *request, unsigned status);
void reply_stream(struct request *request);
void reply_piece(struct request *request, struct slice piece);
void reply_end(struct request *request);

// reply_abort breaks a streamed answer off so that the client sees that it is not whole.
void reply_abort(struct request *request);

// reply_problem makes the whole answer out of an error: a problem document in the format the client
// wants. Prefer these over building one by hand. `reply_problem_begin` lets headers be added, then
// comes reply_problem_end.
void reply_problem(struct request *request, unsigned status, const char *detail);
void reply_problem_end(struct request *request, unsigned status, const char *detail);

// reply_stale names the partitions, if any, that could know something newer than the answer.
void reply_stale(struct request *request, const uint16_t *partitions, unsigned count);

// reply_outcome answers an operation of the store that did not succeed (outcome->error).
void reply_outcome(struct request *request, const struct outcome *outcome);

// reply_reason returns the reason phrase of a status.
const char *reply_reason(unsigned status);

#endif
