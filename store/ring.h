// SPDX-License-Identifier: MIT
// The ring: which partitions own a slot, in order. Weighted rendezvous hashing: every slot ranks
// all partitions by a score that depends on nothing but slot, partition id and weight, so that
// adding, removing or re-weighting one partition moves only what it gains or loses.
//
// The table is computed once; afterwards it is constant and may be read from any thread.
#ifndef STORE_RING_H
#define STORE_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct ring;

// ring_new ranks those of the partitions 1..count that have a weight: weight[i] belongs to
// partition i + 1, and 0 means that there is no such partition; one at least has a weight. It keeps
// the first `replicas` owners of each slot (0 or more than there are: all). ERROR_MEMORY.
enum error ring_new(const unsigned *weight, unsigned count, unsigned replicas,
                    struct ring **ring) MUST_USE;

void ring_free(struct ring **ring);

// ring_leave_out takes partition `id` out of the owners of all slots: those behind it move up, and
// the last place gets NO_OWNER.
enum { NO_OWNER = 0 };
void ring_leave_out(struct ring *ring, unsigned id);

// ring_replicas returns how many owners every slot has.
unsigned ring_replicas(const struct ring *ring);

// ring_owners returns the ids of the owners of `slot`, ring_replicas of them; the first is its
// home. Only ring_leave_out leaves places without an owner, behind the others.
const uint16_t *ring_owners(const struct ring *ring, unsigned slot);

// ring_owns tells whether partition `id` is among the owners of `slot`.
bool ring_owns(const struct ring *ring, unsigned slot, unsigned id);

// ring_fingerprint returns a CRC32 of which slots partition `id` owns: another one than before
// means that the partition may own slots that it has never seen.
uint32_t ring_fingerprint(const struct ring *ring, unsigned id);

// ring_fingerprints does so for all ids from 1 to `count`, in a hundredth of the time.
enum error ring_fingerprints(const struct ring *ring, unsigned count,
                             uint32_t *fingerprint) MUST_USE;

static inline unsigned ring_home(const struct ring *ring, unsigned slot)
{
    return ring_owners(ring, slot)[0];
}

#endif
