// SPDX-License-Identifier: MIT
// The outcomes that travel through Sherd as return values. Text is made only where it is shown.
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#define MUST_USE __attribute__((warn_unused_result))

// Exit codes, from sysexits(3): an interface, documented in the README.
enum exit_code {
    EXIT_OK = 0,
    EXIT_OTHER = 1,
    EXIT_USAGE = 64,  // wrong command line
    EXIT_CONFIG = 78, // configuration or database that can never work
};

enum error {
    ERROR_NONE = 0,
    ERROR_MEMORY,        // an allocation failed; nothing was changed
    ERROR_SYSTEM,        // a system call failed; errno says why
    ERROR_MALFORMED,     // input that breaks its grammar
    ERROR_TOO_LARGE,     // input beyond a limit
    ERROR_UNAVAILABLE,   // the partition is away or overloaded; nothing was written
    ERROR_OUTCOME,       // the partition went away during a write: it may or may not have happened
    ERROR_PRECONDITION,  // a compare-and-swap found another state; nothing was written
    ERROR_REJECTED,      // the database refuses this row for good; nothing was written
    ERROR_MISCONFIGURED, // the partition answers but can never serve: wrong password, schema,
                         // setting
};

// error_text returns a constant phrase for `error`, for logs.
const char *error_text(enum error error);

#endif
