// SPDX-License-Identifier: MIT
// The placement: which partitions are members of the store, and so who owns what. It lives as one
// row in each partition, and a program takes the one with the highest epoch that any of them shows.
// Pure.
//
// Only sync makes new epochs. A change goes through four phases, each an epoch of its own:
//
//   SETTLED -> ANNOUNCED -> MOVING -> SWEEPING -> SETTLED
//
// ANNOUNCED: nothing has changed yet, but all servers know what will. MOVING: the new owners own;
// what they lack is with the owners before. SWEEPING: they lack nothing; what is left elsewhere is
// being removed.
#ifndef STORE_CORE_PLACEMENT_H
#define STORE_CORE_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "conf/conf.h"
#include "store/ring.h"

enum placement_phase {
    PLACEMENT_SETTLED,
    PLACEMENT_ANNOUNCED,
    PLACEMENT_MOVING,
    PLACEMENT_SWEEPING,
};

enum {
    PLACEMENT_STORE_LEN = 36, // of a UUID as text
};

// Who the members are. Equal members own equal slots.
struct members {
    unsigned replicas;                    // 0 = all
    unsigned weight[CONF_PARTITIONS_MAX]; // by id - 1; 0 = no member
};

struct placement {
    char store[PLACEMENT_STORE_LEN + 1]; // the store's name for ever
    uint64_t epoch;                      // 0 = there is no placement yet
    enum placement_phase phase;
    struct members now;             // who own
    struct members other;           // ANNOUNCED: who will own; MOVING: who owned before
    bool gone[CONF_PARTITIONS_MAX]; // by id - 1: forgotten, for ever
};

// placement_store_crc returns what query_watch shows of a store's name.
uint32_t placement_store_crc(const struct placement *placement);

const char *placement_phase_text(enum placement_phase phase);
enum error placement_parse_phase(struct slice text, enum placement_phase *phase) MUST_USE;

// Members as the table holds them: `1:1 2:3`, ids ascending, each with its weight. Empty: none.
void members_format(const struct members *members, struct bytes *out);
enum error members_parse(struct slice text, struct members *members) MUST_USE; // MALFORMED

// Ids as the table holds them: `2 5`.
void gone_format(const bool gone[CONF_PARTITIONS_MAX], struct bytes *out);
enum error gone_parse(struct slice text, bool gone[CONF_PARTITIONS_MAX]) MUST_USE; // MALFORMED

bool members_equal(const struct members *a, const struct members *b);
bool members_any(const struct members *members);

// placement_has tells whether partition `id` takes part: it owns, will own, or did before, and has
// not been forgotten.
bool placement_has(const struct placement *placement, unsigned id);

// members_of_conf fills in what the configuration wants.
void members_of_conf(const struct conf *conf, struct members *members);

// ---------------------------------------------------------------- layout

// A placement with what follows from it. It never changes, and whoever holds it may read it from
// any thread.
struct layout {
    struct placement placement;
    unsigned last;         // the greatest id of a member, now or in `other`
    struct ring *now;      // who own
    struct ring *other;    // ANNOUNCED, MOVING: as in the placement, without those that are gone
    uint32_t *fingerprint; // [last]: of `now`
    uint32_t *before;      // [last]: of `other` while MOVING, else NULL
    bool *moves;           // [SLOT_COUNT]: another home in `other`; NULL without it
};

// layout_new computes the tables of a placement. ERROR_MEMORY.
enum error layout_new(const struct placement *placement, struct layout **layout) MUST_USE;
void layout_free(struct layout **layout);

// layout_whole returns the ring by which partitions have what they own.
const struct ring *layout_whole(const struct layout *layout);

#endif
