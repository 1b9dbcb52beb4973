// SPDX-License-Identifier: MIT
#include "sync/classes.h"

#include <stdlib.h>

#include "store/slot.h"

// A record: the owners of a slot in ascending order, and the slot.
static int compare_numbers(const void *a, const void *b)
{
    const uint16_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int compare_records(const void *a, const void *b, void *context)
{
    const unsigned *owners = context;
    return memcmp(a, b, *owners * sizeof(uint16_t)); // any order does that brings equals together
}

// append_owners appends the owners of a slot that are not there yet.
static void append_owners(uint16_t *record, unsigned *count, const struct ring *ring, unsigned slot)
{
    const uint16_t *owners = ring_owners(ring, slot);
    for (unsigned i = 0; i < ring_replicas(ring); i++) {
        unsigned at = 0;
        while (at < *count && record[at] != owners[i])
            at++;
        if (at == *count)
            record[(*count)++] = owners[i];
    }
}

static uint16_t *new_records(const struct ring *ring, const struct ring *other, unsigned owners)
{
    size_t size = owners + 1;
    uint16_t *record = calloc(SLOT_COUNT, size * sizeof *record);
    for (unsigned slot = 0; record && slot < SLOT_COUNT; slot++) {
        uint16_t *r = &record[slot * size];
        unsigned count = 0;
        append_owners(r, &count, ring, slot);
        if (other)
            append_owners(r, &count, other, slot);
        qsort(r, owners, sizeof *r, compare_numbers);
        r[owners] = (uint16_t)slot;
    }
    if (record)
        qsort_r(record, SLOT_COUNT, size * sizeof *record, compare_records, &owners);
    return record;
}

static void number_records(struct classes *classes, const uint16_t *record, unsigned owners,
                           char *table)
{
    const uint16_t *last = NULL;
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        const uint16_t *r = &record[i * (owners + 1)];
        unsigned slot = r[owners];
        if (!last || memcmp(last, r, owners * sizeof *r) != 0)
            classes->slot[classes->count++] = (uint16_t)slot;
        table[2 * slot] = (char)((classes->count - 1) >> 8);
        table[2 * slot + 1] = (char)(classes->count - 1);
        last = r;
    }
}

enum error classes_init(struct classes *classes, const struct ring *ring, const struct ring *other,
                        unsigned members)
{
    unsigned owners = ring_replicas(ring) + (other ? ring_replicas(other) : 0);
    bool one = !other && owners == members;
    *classes = (struct classes){.count = one, .slot = calloc(SLOT_COUNT, sizeof(uint16_t))};
    if (!classes->slot)
        return ERROR_MEMORY;
    if (one)
        return ERROR_NONE;
    uint16_t *record = new_records(ring, other, owners);
    char *table = bytes_room(&classes->table, (size_t)2 * SLOT_COUNT);
    if (record && table)
        number_records(classes, record, owners, table);
    free(record);
    if (!record || !table)
        return ERROR_MEMORY;
    classes->table.len = classes->count == 1 ? 0 : (size_t)2 * SLOT_COUNT;
    return ERROR_NONE;
}

void classes_fini(struct classes *classes)
{
    free(classes->slot);
    bytes_fini(&classes->table);
    *classes = (struct classes){0};
}
