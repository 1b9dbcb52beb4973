// SPDX-License-Identifier: MIT
#include "store/core/placement.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "store/slot.h"

static const char *const phases[] = {"settled", "announced", "moving", "sweeping"};

uint32_t placement_store_crc(const struct placement *p)
{
    return (uint32_t)crc32_z(0, (const unsigned char *)p->store, strlen(p->store));
}

const char *placement_phase_text(enum placement_phase phase)
{
    return phases[phase];
}

enum error placement_parse_phase(struct slice text, enum placement_phase *phase)
{
    for (unsigned i = 0; i < sizeof phases / sizeof phases[0]; i++) {
        if (!slice_equal(text, slice_of(phases[i])))
            continue;
        *phase = (enum placement_phase)i;
        return ERROR_NONE;
    }
    return ERROR_MALFORMED;
}

void members_format(const struct members *members, struct bytes *out)
{
    const char *before = "";
    for (unsigned i = 0; i < CONF_PARTITIONS_MAX; i++) {
        if (members->weight[i] == 0)
            continue;
        bytes_format(out, "%s%u:%u", before, i + 1, members->weight[i]);
        before = " ";
    }
}

enum error members_parse(struct slice text, struct members *members)
{
    unsigned long long id, weight, last = 0;
    memset(members->weight, 0, sizeof members->weight);
    while (text.len) {
        struct slice rest = slice_token(&text, ' '), first = slice_token(&rest, ':');
        if (slice_number(first, CONF_PARTITIONS_MAX, &id) || id <= last || !rest.data ||
            slice_number(rest, UINT16_MAX, &weight) || weight == 0)
            return ERROR_MALFORMED;
        members->weight[id - 1] = (unsigned)weight;
        last = id;
    }
    return ERROR_NONE;
}

void gone_format(const bool gone[CONF_PARTITIONS_MAX], struct bytes *out)
{
    const char *before = "";
    for (unsigned i = 0; i < CONF_PARTITIONS_MAX; i++) {
        if (!gone[i])
            continue;
        bytes_format(out, "%s%u", before, i + 1);
        before = " ";
    }
}

enum error gone_parse(struct slice text, bool gone[CONF_PARTITIONS_MAX])
{
    unsigned long long id;
    memset(gone, 0, CONF_PARTITIONS_MAX * sizeof *gone);
    while (text.len) {
        if (slice_number(slice_token(&text, ' '), CONF_PARTITIONS_MAX, &id) || id == 0)
            return ERROR_MALFORMED;
        gone[id - 1] = true;
    }
    return ERROR_NONE;
}

static unsigned count_members(const struct members *members)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CONF_PARTITIONS_MAX; i++)
        count += members->weight[i] > 0;
    return count;
}

static unsigned replicas_of(const struct members *members)
{
    unsigned count = count_members(members);
    return members->replicas == 0 || members->replicas > count ? count : members->replicas;
}

bool members_equal(const struct members *a, const struct members *b)
{
    return a->replicas == b->replicas && memcmp(a->weight, b->weight, sizeof a->weight) == 0;
}

bool members_any(const struct members *members)
{
    return count_members(members) > 0;
}

bool placement_has(const struct placement *p, unsigned id)
{
    return !p->gone[id - 1] && (p->now.weight[id - 1] || p->other.weight[id - 1]);
}

void members_of_conf(const struct conf *conf, struct members *members)
{
    memset(members, 0, sizeof *members);
    members->replicas = conf->store.replicas;
    for (unsigned i = 0; i < conf->store.partitions; i++)
        members->weight[i] = conf->partition[i].weight;
}

// ---------------------------------------------------------------- layout

static unsigned last_of(const struct placement *p)
{
    unsigned last = 1;
    for (unsigned id = 1; id <= CONF_PARTITIONS_MAX; id++)
        if (p->now.weight[id - 1] || p->other.weight[id - 1])
            last = id;
    return last;
}

static enum error add_fingerprints(const struct ring *ring, unsigned last, uint32_t **fingerprint)
{
    *fingerprint = calloc(last, sizeof **fingerprint);
    return *fingerprint ? ring_fingerprints(ring, last, *fingerprint) : ERROR_MEMORY;
}

static enum error add_other(struct layout *l)
{
    const struct placement *p = &l->placement;
    enum error error = ring_new(p->other.weight, l->last, replicas_of(&p->other), &l->other);
    if (error)
        return error;
    for (unsigned id = 1; id <= l->last; id++)
        if (p->gone[id - 1] && p->other.weight[id - 1])
            ring_leave_out(l->other, id);
    l->moves = calloc(SLOT_COUNT, sizeof *l->moves);
    for (unsigned slot = 0; l->moves && slot < SLOT_COUNT; slot++)
        l->moves[slot] = ring_home(l->now, slot) != ring_home(l->other, slot);
    if (!l->moves)
        return ERROR_MEMORY;
    return p->phase == PLACEMENT_MOVING ? add_fingerprints(l->other, l->last, &l->before)
                                        : ERROR_NONE;
}

enum error layout_new(const struct placement *placement, struct layout **layout)
{
    struct layout *l = calloc(1, sizeof *l);
    *layout = l;
    if (!l)
        return ERROR_MEMORY;
    l->placement = *placement;
    l->last = last_of(placement);
    enum error error =
        ring_new(placement->now.weight, l->last, replicas_of(&placement->now), &l->now);
    if (!error)
        error = add_fingerprints(l->now, l->last, &l->fingerprint);
    if (!error && members_any(&placement->other))
        error = add_other(l);
    if (error)
        layout_free(layout);
    return error;
}

void layout_free(struct layout **layout)
{
    struct layout *l = *layout;
    if (!l)
        return;
    *layout = NULL;
    ring_free(&l->now);
    ring_free(&l->other);
    free(l->fingerprint);
    free(l->before);
    free(l->moves);
    free(l);
}

const struct ring *layout_whole(const struct layout *l)
{
    return l->placement.phase == PLACEMENT_MOVING ? l->other : l->now;
}
