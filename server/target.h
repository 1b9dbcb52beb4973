// SPDX-License-Identifier: MIT
// Request targets: path and query, percent-decoding and -encoding (RFC 3986).
//
// Nothing is normalised: `..`, `//`, `%00` are ordinary parts of a key, `+` is a plus everywhere.
#ifndef SERVER_TARGET_H
#define SERVER_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

// target_split cuts `target` at its first `?`. An empty path becomes `/`; without `?` query->data
// is NULL. Both still encoded.
void target_split(struct slice target, struct slice *path, struct slice *query);

// target_decode decodes %XX, once, into `out` of `cap` bytes. ERROR_MALFORMED for a `%` without two
// hexadecimal digits, ERROR_TOO_LARGE when it does not fit; *len is then unchanged.
enum error target_decode(struct slice in, char *out, size_t cap, size_t *len) MUST_USE;

// target_encode appends `in` for use in a URL's path or query: unreserved characters (RFC 3986,
// 2.3) and `/` as they are, anything else as %XX.
void target_encode(struct bytes *out, struct slice in);

// target_encode_printable appends `in` for a line of text/plain: printable ASCII but `%` as it is,
// anything else as %XX. target_decode undoes both.
void target_encode_printable(struct bytes *out, struct slice in);

// target_query_next cuts the next `name=value` off *query, both still encoded; false at the end.
// Empty ones (`&&`) are passed over; value->data is NULL without `=`.
bool target_query_next(struct slice *query, struct slice *name, struct slice *value);

// target_query_which returns the index of `name` among the `count` names, each of which may come
// once (bits of *seen) and has a value; else `count`.
unsigned target_query_which(const struct slice names[], unsigned count, struct slice name,
                            struct slice value, unsigned *seen);

#endif
