// SPDX-License-Identifier: MIT
// A line of a bulk: a JSON object that says what is to be done with a key.
#ifndef SERVER_BULK_LINE_H
#define SERVER_BULK_LINE_H

#include "store/key.h"
#include "store/operation.h"

struct bulk_line {
    struct operation operation; // points into this line
    struct precondition precondition;
    struct bytes value; // owned
    size_t key_len;     // 0 = no key was understood
    char key[KEY_MAX];
    char type[TYPE_MAX];
};

// What is wrong with a line; the status is 0 if nothing is.
struct bulk_fault {
    unsigned status;
    const char *detail;
};

// bulk_line_parse fills in the line, whose value is empty or from a line before. Where memory is
// out, to->value has failed.
struct bulk_fault bulk_line_parse(struct slice text, struct bulk_line *to) MUST_USE;

#endif
