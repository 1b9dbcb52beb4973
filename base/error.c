// SPDX-License-Identifier: MIT
#include "base/error.h"

const char *error_text(enum error error)
{
    switch (error) {
    case ERROR_NONE:
        return "no error";
    case ERROR_MEMORY:
        return "out of memory";
    case ERROR_SYSTEM:
        return "system call failed";
    case ERROR_MALFORMED:
        return "malformed input";
    case ERROR_TOO_LARGE:
        return "too large";
    case ERROR_UNAVAILABLE:
        return "partition unavailable";
    case ERROR_OUTCOME:
        return "outcome unknown";
    case ERROR_PRECONDITION:
        return "precondition failed";
    case ERROR_REJECTED:
        return "rejected by the database";
    case ERROR_MISCONFIGURED:
        return "partition misconfigured";
    }
    return "unknown error";
}
