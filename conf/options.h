// SPDX-License-Identifier: MIT
// The table of all options: one entry each says what it is called, what it may be, what it is when
// left out, where it is stored and what it does. The parser, --print-config, the reload and
// docs/configuration.md are made from it; to add an option is to add an entry and a field.
#ifndef CONF_OPTIONS_H
#define CONF_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"

enum option_section {
    OPTION_STORE,     // stored in struct conf_store
    OPTION_SERVER,    // in struct conf_server
    OPTION_SYNC,      // in struct conf_sync
    OPTION_PARTITION, // in struct conf_partition
    OPTION_TOKEN,     // in struct conf_token
};

enum option_type {
    OPTION_INTEGER,  // unsigned
    OPTION_SIZE,     // size_t: bytes, or with K or M
    OPTION_DURATION, // unsigned: milliseconds, or with ms, s, m or h
    OPTION_BOOLEAN,  // bool: yes or no
    OPTION_LEVEL,    // enum log_level
    OPTION_TLS,      // enum conf_tls: off or required
    OPTION_STRING,   // char *, as all below
    OPTION_PATH,     // of a file; conf makes it absolute
    OPTION_HOST,     // a name, an IPv4 or an IPv6 address
    OPTION_ADDRESS,  // host:port, an IPv6 address in [ ]
    OPTION_DATABASE, // letters, digits, _, $ and -
    OPTION_HASH,     // 64 hexadecimal digits
    OPTION_PREFIXES, // of keys, percent-encoded, with commas between; * for all
    OPTION_ORIGINS,  // of pages (RFC 6454), with commas between
};

enum {
    OPTIONS_MAX = 32, // in one section
};

struct option {
    enum option_section section;
    const char *name; // also that of the field
    enum option_type type;
    unsigned long long min; // of a number, or of the bytes of a text
    unsigned long long max;
    const char *zero;     // word for the number 0, which may lie below min; or NULL
    const char *fallback; // what it is when left out; "" for not there; NULL when required
    bool reload;          // may change while running
    bool secret;          // never shown
    size_t offset;        // of the field
    const char *help;     // what it does, in a sentence
};

// options_of returns the options of a section, which lie side by side, and how many there are.
const struct option *options_of(enum option_section section, size_t *count);

// option_find returns an option by its name, NULL if the section has none such.
const struct option *option_find(enum option_section section, struct slice name);

// The functions below take the struct of the option's section as `base`. A text that is not there
// is NULL.

// option_set reads `value` and stores it. ERROR_MALFORMED, ERROR_TOO_LARGE (out of bounds, also too
// small), ERROR_MEMORY: nothing was stored.
enum error option_set(const struct option *o, void *base, struct slice value) MUST_USE;

// option_explain appends what is wrong with a value that option_set refused with `error`, and what
// would be right; never the value itself.
void option_explain(const struct option *o, struct slice value, enum error error,
                    struct bytes *out);

// option_text returns the stored text of an option that is one.
char *option_text(const struct option *o, const void *base);

// option_set_text stores a text and frees the one before; takes `text`, which may be NULL.
void option_set_text(const struct option *o, void *base, char *text);

// option_is_text is true for the types that are stored as char *.
bool option_is_text(const struct option *o);

// option_is_set is false for a value below its minimum: not there.
bool option_is_set(const struct option *o, const void *base);

// option_equal is true if both structs hold the same.
bool option_equal(const struct option *o, const void *a, const void *b);

// option_copy stores the number, boolean or level of `from` in `to`; not for texts.
void option_copy(const struct option *o, void *to, const void *from);

// options_equal is true if all options of the section are equal in both structs.
bool options_equal(enum option_section section, const void *a, const void *b);

// options_copy stores in `to`, which has no texts yet, all options of the section: those that may
// change while running as in `from`, the others as in `fixed`. ERROR_MEMORY: some are missing.
enum error options_copy(enum option_section section, void *to, const void *fixed,
                        const void *from) MUST_USE;

// options_fini frees the texts; secrets are overwritten first.
void options_fini(enum option_section section, void *base);

// option_show appends the value in its shortest exact form, a secret as ********.
void option_show(const struct option *o, const void *base, struct bytes *out);

// option_accepts appends what may stand as the value, in words.
void option_accepts(const struct option *o, struct bytes *out);

// options_title appends the name of a section: store, server, partition-N, token-NAME.
void options_title(enum option_section section, struct bytes *out);

#endif
