// SPDX-License-Identifier: MIT
// Log lines on standard error, one line each: `time level message`. Bytes that are not printable
// ASCII are written as \xNN, so that nothing a client sends can forge a line or a terminal code.
// Safe from any thread.
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/bytes.h"

enum log_level {
    LOG_ERROR,
    LOG_WARN,
    LOG_INFO,
    LOG_DEBUG,
};

// log_set_level drops what is less important than `level` from now on.
void log_set_level(enum log_level level);

// log_write writes one line if `level` is wanted. Lines over 2 KB are cut.
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

// log_lines is log_write for each line of a text.
void log_lines(enum log_level level, const struct bytes *lines);

// log_escape appends `s` with every byte outside printable ASCII, every quote and backslash as
// \xNN.
void log_escape(struct bytes *out, struct slice s);

// log_time appends the present time, UTC, as 2026-01-31T23:59:59.123Z.
void log_time(struct bytes *out);

#endif
