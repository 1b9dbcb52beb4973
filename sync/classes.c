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
    const unsigned *replicas = context;
    return memcmp(a, b, *replicas * sizeof(uint16_t)); // any order does that brings equals together
}

static uint16_t *new_records(const struct ring *ring, unsigned replicas)
{
    size_t size = replicas + 1;
    uint16_t *record = calloc(SLOT_COUNT, size * sizeof *record);
    for (unsigned slot = 0; record && slot < SLOT_COUNT; slot++) {
        uint16_t *r = &record[slot * size];
        memcpy(r, ring_owners(ring, slot), replicas * sizeof *r);
        qsort(r, replicas, sizeof *r, compare_numbers);
        r[replicas] = (uint16_t)slot;
    }
    if (record)
        qsort_r(record, SLOT_COUNT, size * sizeof *record, compare_records, &replicas);
    return record;
}

static void number_records(struct classes *classes, const uint16_t *record, unsigned replicas,
                           char *table)
{
    const uint16_t *last = NULL;
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        const uint16_t *r = &record[i * (replicas + 1)];
        unsigned slot = r[replicas];
        if (!last || memcmp(last, r, replicas * sizeof *r) != 0)
            classes->slot[classes->count++] = (uint16_t)slot;
        table[2 * slot] = (char)((classes->count - 1) >> 8);
        table[2 * slot + 1] = (char)(classes->count - 1);
        last = r;
    }
}

enum error classes_init(struct classes *classes, const struct ring *ring, unsigned partitions)
{
    unsigned replicas = ring_replicas(ring);
    bool one = replicas == partitions;
    *classes = (struct classes){.count = one, .slot = calloc(SLOT_COUNT, sizeof(uint16_t))};
    if (!classes->slot)
        return ERROR_MEMORY;
    if (one)
        return ERROR_NONE;
    uint16_t *record = new_records(ring, replicas);
    char *table = bytes_room(&classes->table, (size_t)2 * SLOT_COUNT);
    if (record && table)
        number_records(classes, record, replicas, table);
    free(record);
    if (!record || !table)
        return ERROR_MEMORY;
    classes->table.len = (size_t)2 * SLOT_COUNT;
    return ERROR_NONE;
}

void classes_fini(struct classes *classes)
{
    free(classes->slot);
    bytes_fini(&classes->table);
    *classes = (struct classes){0};
}
