// SPDX-License-Identifier: MIT
// A relay: the way of an operation that needs more than the home of its key.
//
//   a read      READING several partitions: the newest row is the answer; a home that has an older
//               one gets it (MENDING, while the answer is already out)
//   a write     WRITING to the first owner that takes it, then SPREADING to write_acks - 1 others
//   a condition needs the home, and there the newest row: READING, MENDING, then WRITING
#ifndef STORE_RELAY_H
#define STORE_RELAY_H

#include "store/store.h"

// relay_start carries out an operation; `end` gets its end, once, never from inside the call.
void relay_start(struct store *store, struct operation *operation,
                 void (*end)(struct operation *operation, const struct outcome *outcome));

// relay_free_all frees relays that will not come to an end any more; their operations are not
// answered.
void relay_free_all(struct list *relays);

#endif
