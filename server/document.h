// SPDX-License-Identifier: MIT
// Documents: problems and lists in the formats that clients may ask for.
//
// Bytes that are not valid UTF-8 appear in base64, in members named *_base64.
#ifndef SERVER_DOCUMENT_H
#define SERVER_DOCUMENT_H

#include <jansson.h>

#include "server/accept.h"
#include "store/listing.h"

// document_status returns the HTTP status for an error of the store.
unsigned document_status(enum error error);

// document_detail returns the sentence that explains an error of the store to a client.
const char *document_detail(enum error error);

// document_problem appends the problem document (RFC 9457) of a status and returns its media type.
const char *document_problem(enum format format, unsigned status, const char *detail,
                             struct bytes *out);

// document_type returns the media type of a list in that format.
const char *document_type(enum format format);

// A list is written as its beginning, items, its end. `next` is the address of the next page, empty
// on the last one. The end of JSON, XML and HTML names it.
struct document_list {
    enum format format;
    struct bytes *out;
    uint64_t items; // so far
};

void document_list_begin(struct document_list *list);
void document_list_item(struct document_list *list, const struct listing_item *item);
void document_list_end(struct document_list *list, struct slice next);

// document_append_bytes appends a member of a JSON object: `s` as `name`, or as name_base64 where
// it is not UTF-8.
void document_append_bytes(struct bytes *out, const char *name, struct slice s);

// document_append_version appends the member "version", a string because of JavaScript's numbers.
void document_append_version(struct bytes *out, uint64_t version);

// document_append_json appends `value` on one line and drops the reference; NULL marks `out`
// failed.
void document_append_json(struct bytes *out, json_t *value);

#endif
