// SPDX-License-Identifier: MIT
// The crew: threads that share out the tasks of a step, each with channels of its own.
#ifndef SYNC_CREW_H
#define SYNC_CREW_H

#include <stddef.h>

#include "base/error.h"
#include "sync/pass.h"

struct crew;
struct hand; // one of the crew

enum error crew_new(struct pass *pass, unsigned threads, struct crew **crew) MUST_USE;
void crew_free(struct crew **crew);

// crew_run calls work(hand, i, context) for every i < count, several at a time, and returns when
// all are done. Not from inside work.
void crew_run(struct crew *crew, size_t count,
              void (*work)(struct hand *hand, size_t i, void *context), void *context);

// crew_share does the same from inside work: the hand does it with those that have nothing else to
// do. Not from inside shared work.
void crew_share(struct hand *hand, size_t count,
                void (*work)(struct hand *hand, size_t i, void *context), void *context);

// hand_channel returns the hand's channel to a partition, opened when first asked for; NULL when
// the partition is away.
struct channel *hand_channel(struct hand *hand, struct peer *peer);

struct pass *hand_pass(const struct hand *hand);

#endif
