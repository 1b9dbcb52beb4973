// SPDX-License-Identifier: MIT
#include "conf/password.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "conf/secret.h"

// check_file returns what is wrong with an open file, NULL if nothing is.
static const char *check_file(int fd)
{
    struct stat st;
    if (fstat(fd, &st)) // GCOVR_EXCL_BR_LINE: of an open file it works
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "not a regular file";
    if (st.st_size > PASSWORD_FILE_MAX)
        return "longer than 1024 bytes";
    return secret_problem(fd);
}

// cut_line reduces the content to its one line, and returns what is wrong with it, NULL if nothing.
static const char *cut_line(struct slice *content)
{
    struct slice rest = *content;
    struct slice line = slice_token(&rest, '\n');
    if (rest.len)
        return "more than one line";
    if (rest.data && line.len && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0)
        return "empty";
    if (memchr(line.data, 0, line.len))
        return "it holds a NUL byte";
    *content = line;
    return NULL;
}

static const char *read_all(int fd, char *data, size_t cap, size_t *len)
{
    *len = 0;
    while (*len < cap) {
        ssize_t n = read(fd, data + *len, cap - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return strerror(errno);
        if (n == 0)
            return NULL;
        *len += (size_t)n;
    }
    return "longer than 1024 bytes";
}

enum error password_read(const char *path, char **password, const char **why)
{
    char data[PASSWORD_FILE_MAX + 1];
    struct slice content = {data, 0};
    *password = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); // a FIFO must not block
    if (fd < 0) {
        *why = strerror(errno);
        return ERROR_MALFORMED;
    }
    *why = check_file(fd);
    if (!*why)
        *why = read_all(fd, data, sizeof data, &content.len);
    close(fd);
    if (!*why)
        *why = cut_line(&content);
    if (!*why)
        *password = strndup(content.data, content.len);
    explicit_bzero(data, sizeof data);
    if (*why)
        return ERROR_MALFORMED;
    return *password ? ERROR_NONE : ERROR_MEMORY;
}
