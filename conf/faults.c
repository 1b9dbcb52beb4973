// SPDX-License-Identifier: MIT
#include "conf/faults.h"

#include <stdlib.h>

struct fault {
    unsigned line;
    size_t at; // where its text begins
    size_t len;
};

void faults_fini(struct faults *f)
{
    bytes_fini(&f->text);
    free(f->list);
    *f = (struct faults){0};
}

static bool grow(struct faults *f)
{
    size_t cap = f->cap ? 2 * f->cap : 16;
    struct fault *list = realloc(f->list, cap * sizeof *list);
    if (!list)
        return false;
    f->list = list;
    f->cap = cap;
    return true;
}

struct bytes *faults_add(struct faults *f, unsigned line)
{
    if (f->count == f->cap && !grow(f))
        f->text.failed = true;
    else
        f->list[f->count++] = (struct fault){line, f->text.len, 0};
    return &f->text;
}

bool faults_any(const struct faults *f)
{
    return f->count > 0 || bytes_failed(&f->text);
}

static int by_line(const void *a, const void *b)
{
    const struct fault *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

enum error faults_write(struct faults *f, const char *path, struct bytes *out)
{
    if (bytes_failed(&f->text))
        return ERROR_MEMORY;
    for (size_t i = 0; i < f->count; i++) {
        size_t end = i + 1 < f->count ? f->list[i + 1].at : f->text.len;
        f->list[i].len = end - f->list[i].at;
    }
    if (f->count)
        qsort(f->list, f->count, sizeof *f->list, by_line);
    for (size_t i = 0; i < f->count; i++) {
        bytes_format(out, "%s:%u: ", path, f->list[i].line);
        bytes_append(out, f->text.data + f->list[i].at, f->list[i].len);
        bytes_append_char(out, '\n');
    }
    faults_fini(f);
    return bytes_failed(out) ? ERROR_MEMORY : ERROR_NONE;
}
