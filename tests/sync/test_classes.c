// SPDX-License-Identifier: MIT
// Classes: slots are of one exactly if they have the same owners.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/slot.h"
#include "sync/classes.h"

static unsigned class_of(const struct classes *c, unsigned slot)
{
    const unsigned char *at = (const unsigned char *)c->table.data + (size_t)2 * slot;
    return c->table.len ? (unsigned)at[0] << 8 | at[1] : 0;
}

// owners returns which of up to 64 partitions own a slot, a bit each.
static uint64_t owners(const struct ring *ring, unsigned slot, unsigned partitions)
{
    uint64_t set = 0;
    for (unsigned id = 1; id <= partitions; id++)
        set |= (uint64_t)ring_owns(ring, slot, id) << (id - 1);
    return set;
}

static void expect(unsigned partitions, unsigned replicas, unsigned at_least, unsigned at_most)
{
    unsigned weight[64];
    struct ring *ring;
    struct classes c;
    for (unsigned i = 0; i < partitions; i++)
        weight[i] = 1 + i % 3;
    assert_int_equal(ring_new(weight, partitions, replicas, &ring), ERROR_NONE);
    assert_int_equal(classes_init(&c, ring, NULL, partitions), ERROR_NONE);
    assert_in_range(c.count, at_least, at_most);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        unsigned class = class_of(&c, slot);
        assert_in_range(class, 0, c.count - 1);
        assert_int_equal(owners(ring, slot, partitions), owners(ring, c.slot[class], partitions));
    }
    for (unsigned a = 0; a < c.count && a < 100; a++)
        for (unsigned b = 0; b < a; b++)
            assert_int_not_equal(owners(ring, c.slot[a], partitions),
                                 owners(ring, c.slot[b], partitions));
    classes_fini(&c);
    ring_free(&ring);
}

static void classes_init__brings_together_what_has_the_same_owners(void **state)
{
    (void)state;
    expect(2, 1, 2, 2);
    expect(3, 2, 3, 3); // not 6: their order is nothing to it
    expect(4, 3, 4, 4);
    expect(5, 2, 10, 10);
    expect(50, 3, 1000, SLOT_COUNT);
}

static void classes_init__needs_no_table_where_all_own_all(void **state)
{
    (void)state;
    static const unsigned weight[3] = {1, 2, 3};
    for (unsigned partitions = 1; partitions <= 3; partitions++) {
        struct ring *ring;
        struct classes c;
        assert_int_equal(ring_new(weight, partitions, 0, &ring), ERROR_NONE);
        assert_int_equal(classes_init(&c, ring, NULL, partitions), ERROR_NONE);
        assert_int_equal(c.count, 1);
        assert_int_equal(c.table.len, 0);
        classes_fini(&c);
        ring_free(&ring);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_init__brings_together_what_has_the_same_owners),
        cmocka_unit_test(classes_init__needs_no_table_where_all_own_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
