// SPDX-License-Identifier: MIT
// What a test lets a function write to standard error.
#ifndef TESTS_FAKE_CAPTURE_H
#define TESTS_FAKE_CAPTURE_H

#include <fcntl.h>
#include <unistd.h>

#include "base/bytes.h"

// Standard error goes into a pipe between capture_begin and capture_end.
struct capture {
    int read_end;
    int saved;
};

static struct capture capture_begin(void)
{
    int ends[2];
    struct capture c;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    c.read_end = ends[0];
    c.saved = dup(STDERR_FILENO);
    assert_true(c.saved >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    return c;
}

// capture_end appends what was written: less than a pipe holds.
static void capture_end(struct capture c, struct bytes *out)
{
    char piece[4096];
    ssize_t got;
    assert_true(dup2(c.saved, STDERR_FILENO) >= 0); // closes the last write end
    close(c.saved);
    while ((got = read(c.read_end, piece, sizeof piece)) > 0)
        bytes_append(out, piece, (size_t)got);
    close(c.read_end);
    assert_false(bytes_failed(out));
}

#endif
