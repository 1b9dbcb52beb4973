// SPDX-License-Identifier: MIT
// Streams: each partition's change log is read into each other partition, from its cursor to the
// mark.
#ifndef SYNC_STREAM_H
#define SYNC_STREAM_H

#include "sync/pass.h"

// streams_run reads all logs between partitions that are trusted. Where one is not, the cursor is
// set to the mark (and not stored): comparing all rows does the rest.
void streams_run(struct pass *pass);

// streams_measure fills in what each partition has not got: pending, lag.
void streams_measure(struct pass *pass);

#endif
