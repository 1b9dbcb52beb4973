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

// ring_new ranks partitions 1..count; weight[i] >= 1 belongs to partition i + 1. It keeps the first
// `replicas` owners of each slot (0 or more than count: all). ERROR_MEMORY.
enum error ring_new(const unsigned *weight, unsigned count, unsigned replicas,
                    struct ring **ring) MUST_USE;

void ring_free(struct ring **ring);

// ring_replicas returns how many owners every slot has.
unsigned ring_replicas(const struct ring *ring);

// ring_owners returns the ids (1..count) of the owners of `slot`, ring_replicas of them; the first
// is its home.
const uint16_t *ring_owners(const struct ring *ring, unsigned slot);

// ring_owns tells whether partition `id` is among the owners of `slot`.
bool ring_owns(const struct ring *ring, unsigned slot, unsigned id);

// ring_fingerprint returns a CRC32 of which slots partition `id` owns: another one than before
// means that the partition may own slots that it has never seen.
uint32_t ring_fingerprint(const struct ring *ring, unsigned id);

static inline unsigned ring_home(const struct ring *ring, unsigned slot)
{
    return ring_owners(ring, slot)[0];
}

#endif
