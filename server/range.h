// SPDX-License-Identifier: MIT
// The Range header (RFC 9110, 14). One range of bytes is served; whatever else is asked, the whole
// is the answer, which the RFC always allows.
#ifndef SERVER_RANGE_H
#define SERVER_RANGE_H

#include <stdint.h>

#include "base/bytes.h"

enum range_kind {
    RANGE_WHOLE,         // 200: no range, several, another unit, malformed
    RANGE_PART,          // 206
    RANGE_UNSATISFIABLE, // 416, with `Content-Range: bytes */size`
};

// The bytes from `first` to `last`, both included; first <= last < size.
struct range {
    uint64_t first;
    uint64_t last;
};

// range_parse reads the value of a Range header for a body of `size` bytes; *out is written only
// with RANGE_PART (RFC 9110, 14.1.2). A suffix of an empty body is RANGE_WHOLE: satisfiable, but
// no Content-Range can say so.
enum range_kind range_parse(struct slice value, uint64_t size, struct range *out) MUST_USE;

#endif
