// SPDX-License-Identifier: MIT
// What a pass did: as JSON, as text, and as metrics for node_exporter's textfile collector.
#ifndef SYNC_REPORT_H
#define SYNC_REPORT_H

#include "sync/pass.h"

// report_json appends one object and a line's end.
void report_json(const struct pass *pass, struct bytes *out);

// report_plan appends in words what a dry run would have done.
void report_plan(const struct pass *pass, struct bytes *out);

// report_metrics replaces the file at `path` at once; when the pass did not converge the time of
// the last success is kept from the old one. ERROR_SYSTEM: errno says why.
enum error report_metrics(const struct pass *pass, const char *path) MUST_USE;

#endif
