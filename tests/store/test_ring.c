// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <zlib.h>

#include "store/ring.h"
#include "store/slot.h"

enum {
    MANY = 1000,
};

// ring_of returns a ring of `count` partitions; all weights are 1 where `weight` is NULL.
static struct ring *ring_of(const unsigned *weight, unsigned count, unsigned replicas)
{
    unsigned equal[MANY];
    struct ring *ring;
    for (unsigned i = 0; i < MANY; i++)
        equal[i] = 1;
    assert_int_equal(ring_new(weight ? weight : equal, count, replicas, &ring), ERROR_NONE);
    return ring;
}

// digest is the CRC of all owners, slot by slot, two bytes each, the low one first.
static unsigned long digest(const struct ring *ring)
{
    unsigned long crc = crc32(0, NULL, 0);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        const uint16_t *owners = ring_owners(ring, slot);
        for (unsigned i = 0; i < ring_replicas(ring); i++) {
            unsigned char bytes[2] = {(unsigned char)(owners[i] & 255),
                                      (unsigned char)(owners[i] >> 8)};
            crc = crc32(crc, bytes, sizeof bytes);
        }
    }
    return crc;
}

static unsigned position(const struct ring *ring, unsigned slot, unsigned id)
{
    const uint16_t *owners = ring_owners(ring, slot);
    unsigned i = 0;
    while (i < ring_replicas(ring) && owners[i] != id)
        i++;
    return i;
}

// ---------------------------------------------------------------- known answers

// A different table would leave stored pairs on partitions where nobody looks for them: whatever
// changes these digests needs a migration.
static void ring_new__gives_the_table_that_stored_pairs_lie_by(void **state)
{
    (void)state;
    static const unsigned weights_1_2_7[] = {1, 2, 7}, weights_1_2[] = {1, 2};
    static const unsigned extreme[] = {1000, 1, 1000000};
    static const struct {
        const unsigned *weight;
        unsigned count;
        unsigned replicas;
        unsigned long digest;
    } cases[] = {
        {NULL, 1, 0, 0xba052f50},        {NULL, 2, 0, 0xd4d50982},
        {NULL, 3, 0, 0x37bfd992},        {NULL, 3, 2, 0x9cfdab60},
        {NULL, 5, 0, 0x3863b49b},        {NULL, 10, 0, 0x5cbccfe9},
        {NULL, 10, 1, 0x99c20e61},       {NULL, MANY, 1, 0x8e3ae13c},
        {weights_1_2, 2, 0, 0x8f288fee}, {weights_1_2_7, 3, 0, 0x22b357a7},
        {extreme, 3, 0, 0x63289bd8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ring *ring = ring_of(cases[i].weight, cases[i].count, cases[i].replicas);
        unsigned long got = digest(ring);
        if (got != cases[i].digest)
            fail_msg("table %zu has the digest 0x%08lx", i, got);
        ring_free(&ring);
    }
}

static void ring_owners__gives_known_answers(void **state)
{
    (void)state;
    static const struct {
        unsigned slot;
        uint16_t owners[10];
        unsigned count;
        unsigned partitions;
    } cases[] = {
        {0, {2, 1, 3}, 3, 3},          {2, {3, 1, 2}, 3, 3},         {8047, {3, 2, 1}, 3, 3},
        {15939, {1, 2, 3}, 3, 3},      {16383, {3, 2, 1}, 3, 3},     {0, {5, 7, 2, 4}, 4, 10},
        {1, {2, 4, 6, 7}, 4, 10},      {8047, {7, 5, 10, 6}, 4, 10}, {12281, {3, 7, 8, 9}, 4, 10},
        {15939, {10, 7, 1, 4}, 4, 10}, {16383, {3, 4, 8, 5}, 4, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ring *ring = ring_of(NULL, cases[i].partitions, 0);
        const uint16_t *owners = ring_owners(ring, cases[i].slot);
        for (unsigned j = 0; j < cases[i].count; j++)
            assert_int_equal(owners[j], cases[i].owners[j]);
        assert_int_equal(ring_home(ring, cases[i].slot), cases[i].owners[0]);
        ring_free(&ring);
    }
}

// ---------------------------------------------------------------- shape

static void ring_owners__are_distinct_partitions(void **state)
{
    (void)state;
    static const unsigned counts[] = {1, 2, 3, 10, 60};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        unsigned count = counts[c];
        struct ring *ring = ring_of(NULL, count, 0);
        assert_int_equal(ring_replicas(ring), count);
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            uint64_t seen = 0;
            for (unsigned i = 0; i < count; i++) {
                unsigned id = ring_owners(ring, slot)[i];
                assert_true(id >= 1 && id <= count);
                assert_false(seen >> id & 1);
                seen |= UINT64_C(1) << id;
            }
        }
        ring_free(&ring);
    }
}

static void ring_new__keeps_as_many_replicas_as_there_are_partitions(void **state)
{
    (void)state;
    static const unsigned asked[] = {0, 1, 2, 3, 4, 1000000};
    static const unsigned given[] = {3, 1, 2, 3, 3, 3};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        struct ring *ring = ring_of(NULL, 3, asked[i]);
        assert_int_equal(ring_replicas(ring), given[i]);
        ring_free(&ring);
    }
}

static void ring_owners__begin_alike_whatever_the_number_of_replicas(void **state)
{
    (void)state;
    static const unsigned weights[] = {3, 1, 4, 1, 5};
    struct ring *all = ring_of(weights, 5, 0);
    for (unsigned replicas = 1; replicas <= 5; replicas++) {
        struct ring *some = ring_of(weights, 5, replicas);
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
            assert_memory_equal(ring_owners(some, slot), ring_owners(all, slot),
                                replicas * sizeof(uint16_t));
        ring_free(&some);
    }
    ring_free(&all);
}

static void ring_new__takes_one_partition(void **state)
{
    (void)state;
    static const unsigned weight[] = {1000};
    struct ring *ring = ring_of(weight, 1, 0);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        assert_int_equal(ring_home(ring, slot), 1);
    ring_free(&ring);
    assert_null(ring);
    ring_free(&ring);
}

static void ring_new__takes_a_thousand_partitions(void **state)
{
    (void)state;
    static unsigned homes[MANY + 1];
    struct ring *ring = ring_of(NULL, MANY, 1);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        unsigned home = ring_home(ring, slot);
        assert_in_range(home, 1, MANY);
        homes[home]++;
    }
    for (unsigned id = 1; id <= MANY; id++)
        assert_in_range(homes[id], 1, 50); // 16 on average
    ring_free(&ring);
}

// ---------------------------------------------------------------- balance

// check_balance holds that partitions get slots in proportion to their weights, at every place of
// the owners when weights are equal, within 5 %.
static void check_balance(const unsigned *weight, unsigned count)
{
    struct ring *ring = ring_of(weight, count, 0);
    double total = 0;
    for (unsigned i = 0; i < count; i++)
        total += weight ? weight[i] : 1;
    for (unsigned place = 0; place < (weight ? 1 : count); place++) {
        for (unsigned id = 1; id <= count; id++) {
            double expected = SLOT_COUNT * (weight ? weight[id - 1] : 1) / total, got = 0;
            for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
                got += ring_owners(ring, slot)[place] == id;
            // Chance alone is allowed three standard deviations at the later places.
            if (got < expected * (place ? 0.92 : 0.95) || got > expected * (place ? 1.08 : 1.05))
                fail_msg("partition %u of %u has %.0f of %.0f slots at place %u", id, count, got,
                         expected, place);
        }
    }
    ring_free(&ring);
}

static void ring_owners__are_balanced_when_weights_are_equal(void **state)
{
    (void)state;
    check_balance(NULL, 2);
    check_balance(NULL, 3);
    check_balance(NULL, 10);
}

static void ring_owners__are_balanced_in_proportion_to_weights(void **state)
{
    (void)state;
    check_balance((const unsigned[]){1, 2, 7}, 3);
    check_balance((const unsigned[]){7, 2, 1}, 3);
    check_balance((const unsigned[]){1, 1, 2}, 3);
    check_balance((const unsigned[]){500, 1000}, 2);
}

static void ring_owners__depend_on_the_ratio_of_weights_only(void **state)
{
    (void)state;
    struct ring *small = ring_of((const unsigned[]){1, 2, 7}, 3, 0);
    struct ring *large = ring_of((const unsigned[]){100, 200, 700}, 3, 0);
    assert_true(digest(small) == digest(large));
    ring_free(&small);
    ring_free(&large);
}

// ---------------------------------------------------------------- movement

static void ring_owners__moves_only_what_a_new_partition_gains(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 10; count++) {
        struct ring *before = ring_of(NULL, count, 0), *after = ring_of(NULL, count + 1, 0);
        unsigned moved = 0;
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            // Without the new one the order of the others is what it was.
            const uint16_t *old = ring_owners(before, slot), *new = ring_owners(after, slot);
            unsigned at = position(after, slot, count + 1);
            assert_true(at <= count);
            assert_memory_equal(new, old, at * sizeof *new);
            assert_memory_equal(new + at + 1, old + at, (count - at) * sizeof *new);
            moved += at == 0;
        }
        double expected = (double)SLOT_COUNT / (count + 1);
        assert_true(moved > expected * 0.9 && moved < expected * 1.1);
        ring_free(&before);
        ring_free(&after);
    }
}

static void ring_owners__moves_with_two_replicas_only_what_a_new_partition_gains(void **state)
{
    (void)state;
    struct ring *before = ring_of(NULL, 4, 2), *after = ring_of(NULL, 5, 2);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        unsigned gained = 0;
        for (unsigned i = 0; i < 2; i++) {
            unsigned id = ring_owners(after, slot)[i];
            if (position(before, slot, id) == 2) {
                assert_int_equal(id, 5);
                gained++;
            }
        }
        assert_true(gained <= 1);
    }
    ring_free(&before);
    ring_free(&after);
}

// A raised weight lets its partition come forward; the order of the others stays.
static void ring_owners__moves_only_towards_a_raised_weight(void **state)
{
    (void)state;
    static const unsigned steps[] = {2, 3, 10, 1000};
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        struct ring *before = ring_of((const unsigned[]){1, 1, 1, 2}, 4, 0);
        struct ring *after = ring_of((const unsigned[]){1, steps[s], 1, 2}, 4, 0);
        unsigned moved = 0;
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            const uint16_t *old = ring_owners(before, slot), *new = ring_owners(after, slot);
            unsigned was = position(before, slot, 2), is = position(after, slot, 2);
            assert_true(is <= was);
            assert_memory_equal(new, old, is * sizeof *new);
            assert_memory_equal(new + is + 1, old + is, (was - is) * sizeof *new);
            assert_memory_equal(new + was + 1, old + was + 1, (3 - was) * sizeof *new);
            moved += is < was;
        }
        assert_true(moved > 0);
        ring_free(&before);
        ring_free(&after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring_new__gives_the_table_that_stored_pairs_lie_by),
        cmocka_unit_test(ring_owners__gives_known_answers),
        cmocka_unit_test(ring_owners__are_distinct_partitions),
        cmocka_unit_test(ring_new__keeps_as_many_replicas_as_there_are_partitions),
        cmocka_unit_test(ring_owners__begin_alike_whatever_the_number_of_replicas),
        cmocka_unit_test(ring_new__takes_one_partition),
        cmocka_unit_test(ring_new__takes_a_thousand_partitions),
        cmocka_unit_test(ring_owners__are_balanced_when_weights_are_equal),
        cmocka_unit_test(ring_owners__are_balanced_in_proportion_to_weights),
        cmocka_unit_test(ring_owners__depend_on_the_ratio_of_weights_only),
        cmocka_unit_test(ring_owners__moves_only_what_a_new_partition_gains),
        cmocka_unit_test(ring_owners__moves_with_two_replicas_only_what_a_new_partition_gains),
        cmocka_unit_test(ring_owners__moves_only_towards_a_raised_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
