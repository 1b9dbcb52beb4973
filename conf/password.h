// SPDX-License-Identifier: MIT
// The file that holds a password.
#ifndef CONF_PASSWORD_H
#define CONF_PASSWORD_H

#include "base/error.h"

enum {
    PASSWORD_FILE_MAX = 1024, // bytes
};

// password_read reads the one line of the file at `path`. On success *password is new and the
// caller's, who overwrites it before freeing. ERROR_MALFORMED: *why says what is wrong and what
// would be right; ERROR_MEMORY.
enum error password_read(const char *path, char **password, const char **why) MUST_USE;

#endif
