// SPDX-License-Identifier: MIT
// Whom a pass trusts: what a partition says of itself against what the others remember of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sync/peer.h"

enum { PEERS = 3 };

struct fixture {
    struct pass pass;
    struct peer peer[PEERS];
    struct conf_partition conf[PEERS];
    struct reading reading[PEERS][PEERS];
    struct ring *ring;
};

// begin makes three partitions that have nothing against each other.
static void begin(struct fixture *f)
{
    static const unsigned weight[PEERS] = {1, 1, 1};
    *f = (struct fixture){0};
    assert_int_equal(ring_new(weight, PEERS, 2, &f->ring), ERROR_NONE);
    f->pass.ring = f->ring;
    f->pass.partitions = PEERS;
    f->pass.peer = f->peer;
    for (unsigned i = 0; i < PEERS; i++) {
        f->conf[i].id = i + 1;
        f->peer[i] = (struct peer){.conf = &f->conf[i],
                                   .present = true,
                                   .id = i + 1,
                                   .seeded = true,
                                   .ring = ring_fingerprint(f->ring, i + 1),
                                   .pass = 50,
                                   .floor = 7,
                                   .reading = f->reading[i]};
        for (unsigned s = 0; s < PEERS; s++) {
            f->reading[i][s].present = s != i;
            f->reading[i][s].cursor.pass = 50;
        }
    }
}

// expect judges and holds who is trusted: T, or - for not.
static void expect(struct fixture *f, const char *trusted)
{
    peers_judge(&f->pass);
    for (unsigned i = 0; i < PEERS; i++)
        if (f->peer[i].trusted != (trusted[i] == 'T'))
            fail_msg("partition-%u: expected %s", i + 1, trusted);
    ring_free(&f->ring);
}

static void peers_judge__trusts_who_is_as_remembered(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    expect(&f, "TTT");
    begin(&f);
    f.peer[0].pass = 60; // told of a pass that then ended early
    expect(&f, "TTT");
}

static void peers_judge__doubts_the_blank_and_the_unseeded(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.peer[0].present = false;
    f.peer[1].seeded = false;
    expect(&f, "--T");
}

static void peers_judge__doubts_who_is_behind_what_others_remember(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.peer[1].pass = 49;
    expect(&f, "T-T");
    begin(&f);
    f.peer[2].floor = 6;
    expect(&f, "TT-");
    begin(&f);
    f.peer[1].pass = 49;
    f.reading[0][1].present = false;
    f.reading[2][1].present = false;
    expect(&f, "TTT");
}

static void peers_judge__doubts_the_stranger_and_who_owns_other_slots_now(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.peer[0].id = 2;
    f.peer[2].ring++;
    expect(&f, "-T-");
}

static void peers_judge__does_not_ask_who_is_away(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    f.peer[0].pass = 49;
    f.peer[1].state = f.peer[2].state = PEER_AWAY;
    expect(&f, "T--");
}

static void expect_clocks(const int64_t offset_us[PEERS], const char *states)
{
    struct fixture f;
    begin(&f);
    for (unsigned i = 0; i < PEERS; i++)
        f.peer[i].offset_us = offset_us[i];
    peers_judge_clocks(&f.pass);
    for (unsigned i = 0; i < PEERS; i++)
        if (peer_up(&f.peer[i]) != (states[i] == 'u'))
            fail_msg("partition-%u: expected %s", i + 1, states);
    ring_free(&f.ring);
}

static void peers_judge_clocks__leaves_out_who_differs_from_most(void **state)
{
    (void)state;
    static const int64_t s = 1000000;
    expect_clocks((const int64_t[]){0, 0, 0}, "uuu");
    expect_clocks((const int64_t[]){0, 5 * s, -5 * s}, "uuu");
    expect_clocks((const int64_t[]){0, 6 * s, 0}, "ucu");
    expect_clocks((const int64_t[]){0, 0, -6 * s}, "uuc");
    expect_clocks((const int64_t[]){60 * s, 60 * s, 60 * s}, "uuu"); // it is ours that is wrong
    expect_clocks((const int64_t[]){60 * s, -60 * s, s}, "ccu");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peers_judge__trusts_who_is_as_remembered),
        cmocka_unit_test(peers_judge__doubts_the_blank_and_the_unseeded),
        cmocka_unit_test(peers_judge__doubts_who_is_behind_what_others_remember),
        cmocka_unit_test(peers_judge__doubts_the_stranger_and_who_owns_other_slots_now),
        cmocka_unit_test(peers_judge__does_not_ask_who_is_away),
        cmocka_unit_test(peers_judge_clocks__leaves_out_who_differs_from_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
