// SPDX-License-Identifier: MIT
// An INI text, read by inih, with nothing lost on the way.
//
// inih alone cuts long lines and long section names, drops what follows ` ;` (the end of a
// password) and what follows `]`, joins an indented line to the value before it, takes `:` for `=`
// and the last of two duplicates. Here each of these is a fault, and each option that inih yields
// is compared with the line it came from.
//
// The grammar that is left: `[section]`, `name = value`, lines that begin with # or ;, empty lines;
// LF or CRLF; values verbatim between the blanks around them, quotes included.
#ifndef CONF_INI_H
#define CONF_INI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"
#include "conf/faults.h"

enum {
    INI_LINE_MAX = 196,   // bytes of a line that is not a comment
    INI_SECTION_MAX = 49, // bytes of a section's name
    INI_VALUE_MAX = 180,  // bytes of a value that fits a line with every name in use
};

// A header or an option. The slices are borrowed from the text.
struct ini_item {
    unsigned line;
    bool wrong; // refused, and a fault says so; listed so that it does not count as missing
    struct slice section; // may be empty if `wrong`
    struct slice name;    // empty: the header of the section
    struct slice value;   // empty if `wrong`
};

// All items in the order of the text.
struct ini {
    struct ini_item *item;
    size_t count;
    size_t cap;
    unsigned lines; // of the text, at least 1
};

// ini_read reads `text`, which must outlive `ini`. What is wrong with it goes to `faults` (without
// any value), and is no error. Duplicates are a fault and are listed all the same.
enum error ini_read(struct slice text, struct ini *ini, struct faults *faults) MUST_USE;

// ini_fini frees what `ini` holds and leaves it empty.
void ini_fini(struct ini *ini);

// ini_holds is true if `value`, written after `name = `, is read back unchanged.
bool ini_holds(struct slice value);

#endif
