// SPDX-License-Identifier: MIT
// The store as one thread sees it: decides which partitions an operation needs and hands it over.
// Nearly all need only the home of their key; the others take store/relay.c's way.
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/hot.h"
#include "store/operation.h"
#include "store/outlook.h"
#include "store/partition.h"
#include "store/ring.h"

struct store;
struct placing_shared;

struct store_options {
    const struct conf *conf;        // borrowed
    struct outlook_shared *shared;  // borrowed; one for all threads of the process
    struct hot *hot;                // the same; NULL = none
    unsigned connections;           // to each partition
    bool speaks;                    // logs what happens to the partitions
    bool leads;                     // as in store/placing.h
    struct placing_shared *placing; // the same; NULL = none
    unsigned thread;                // the same
};

// store_new makes the store of one thread on its loop and starts to connect.
enum error store_new(struct event_base *base, const struct store_options *options,
                     struct store **store) MUST_USE;

// store_free closes all connections; no operation may be under way.
void store_free(struct store **store);

// store_reload takes other settings of the partitions, [store_partitions], borrowed for good.
// Connections to those that differ are opened anew.
void store_reload(struct store *store, const struct conf_partition *partitions);

// store_submit carries out an operation; on_done follows from the loop.
void store_submit(struct store *store, struct operation *operation);

// store_idle is true while no operation is under way and no statement unanswered.
bool store_idle(const struct store *store);

// store_leave says that this server ends, where the store was told of it.
void store_leave(struct store *store);

// store_place makes `layout` (borrowed until the next call) the one by which the store works, for
// placing.c. ERROR_MEMORY: nothing was changed.
enum error store_place(struct store *store, const struct layout *layout) MUST_USE;

// store_knows is true once the store works by a placement; any thread may ask. store_placed is true
// once all its members that are up show it.
bool store_knows(const struct store *store);
bool store_placed(const struct store *store);

// store_claim declares all partitions of a new store complete (outlook_all_blank).
void store_claim(struct store *store);

// store_partitions returns how many partitions the configuration has. Others may be members.
unsigned store_partitions(const struct store *store);

// store_partition returns the partition with that id, 1..store_partitions.
struct partition *store_partition(const struct store *store, unsigned id);

// store_lacks tells whether partition `id` is a member that the configuration has no section for.
bool store_lacks(const struct store *store, unsigned id);

// The placement by which the store works, and its ring: until the loop's next turn.
const struct placement *store_placement(const struct store *store);
const struct ring *store_ring(const struct store *store);
struct outlook *store_outlook(const struct store *store);
unsigned store_write_acks(const struct store *store);

// store_send hands an operation to one partition, for relay.c; `on_done` gets its end.
void store_send(struct store *store, unsigned partition, struct operation *operation,
                void (*on_done)(struct operation *operation, const struct outcome *outcome));

// store_woke is true when the process was stopped, or held up, and has not heard since how the
// partitions are: somebody else may have begun to own a key. Not for longer than it takes to find a
// silent partition down.
bool store_woke(struct store *store);

// store_again carries out an operation anew, a little later: it came under an epoch that has
// passed. store_refuse ends it with ERROR_UNAVAILABLE, from the loop, for want of partition `id`.
// store_ask_placement asks partition `id`, which refused a batch for its epoch, for its placement.
void store_ask_placement(struct store *store, unsigned id);
void store_again(struct store *store, struct operation *operation);
void store_refuse(struct store *store, struct operation *operation, unsigned id);

// store_relays returns the list of the relays under way.
struct list *store_relays(struct store *store);

#endif
