// SPDX-License-Identifier: MIT
// What is wrong with a file: a text for each fault, collected in any order and written out in the
// order of the lines. A failed allocation is remembered; faults_write reports it.
#ifndef CONF_FAULTS_H
#define CONF_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"

struct fault;

struct faults {
    struct bytes text;  // the texts, one after the other
    struct fault *list; // where each begins, and its line
    size_t count;
    size_t cap;
};

// faults_fini frees what `f` holds and leaves it empty and usable.
void faults_fini(struct faults *f);

// faults_add begins a fault of `line` and returns where its text is to be appended (a single line,
// without its end) before the next call on `f`. Never NULL.
struct bytes *faults_add(struct faults *f, unsigned line);

// faults_any is true once a fault was added, even one that found no memory.
bool faults_any(const struct faults *f);

// faults_write appends `path:line: text` a fault, ordered by line, those of one line as they came.
enum error faults_write(struct faults *f, const char *path, struct bytes *out) MUST_USE;

#endif
