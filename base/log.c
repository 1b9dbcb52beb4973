// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    MESSAGE_MAX = 2048,               // bytes; the rest is cut off
    LINE_ROOM = 4 * MESSAGE_MAX + 64, // each byte escaped, behind time (24 bytes) and level (7)
};

static atomic_int wanted = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store(&wanted, (int)level);
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    return names[level];
}

static void escape(struct bytes *out, struct slice s, bool quotes)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        bool plain = c >= 0x20 && c < 0x7f && !(quotes && (c == '"' || c == '\\'));
        if (plain)
            bytes_append_char(out, (char)c);
        else
            bytes_append(out, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
    }
}

void log_escape(struct bytes *out, struct slice s)
{
    escape(out, s, true);
}

void log_time(struct bytes *out)
{
    int64_t now = clock_unix_us();
    time_t seconds = (time_t)(now / 1000000);
    struct tm utc;
    char text[32];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    bytes_format(out, "%s.%03dZ", text, (int)(now / 1000 % 1000));
}

void log_write(enum log_level level, const char *format, ...)
{
    if ((int)level > atomic_load(&wanted))
        return;
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (len < 0)
        return;
    size_t kept = (size_t)len < sizeof message ? (size_t)len : sizeof message - 1;

    // Of the stack: that memory is out has to be told, too.
    char room[LINE_ROOM];
    struct bytes line = {.data = room, .cap = sizeof room};
    log_time(&line);
    bytes_format(&line, " %-5s ", level_name(level));
    escape(&line, (struct slice){message, kept}, false);
    bytes_append_char(&line, '\n');
    // One write a line: lines of several threads never mix. Nobody could be told if it failed.
    if (write(STDERR_FILENO, line.data, line.len) < 0)
        (void)0;
}

void log_lines(enum log_level level, const struct bytes *lines)
{
    struct slice rest = bytes_slice(lines);
    while (rest.len) {
        struct slice line = slice_token(&rest, '\n');
        log_write(level, "%.*s", (int)line.len, line.data);
    }
}
