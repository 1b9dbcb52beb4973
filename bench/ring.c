// SPDX-License-Identifier: MIT
// What a store of many members looks like: how evenly they are homes, what moves when one joins,
// and how long the tables take. Prints a table in Markdown; docs/scaling.md holds one.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/core/placement.h"
#include "store/slot.h"

enum { REPLICAS = 3 };

static struct layout *lay_out(unsigned members)
{
    struct placement p = {.epoch = 1, .now = {.replicas = REPLICAS}};
    struct layout *layout;
    for (unsigned i = 0; i < members; i++)
        p.now.weight[i] = 1;
    if (layout_new(&p, &layout))
        abort();
    return layout;
}

static double sigma_of(const struct layout *l, unsigned members, double *most)
{
    double mean = (double)SLOT_COUNT / members, sum = 0;
    unsigned *homes = calloc(members, sizeof *homes);
    if (!homes)
        abort();
    *most = 0;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        homes[ring_home(l->now, slot) - 1]++;
    for (unsigned i = 0; i < members; i++) {
        double share = homes[i] / mean;
        sum += (share - 1) * (share - 1);
        *most = share > *most ? share : *most;
    }
    free(homes);
    return sqrt(sum / members);
}

static double moved_of(const struct layout *before, const struct layout *now)
{
    unsigned moved = 0;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        for (unsigned i = 0; i < ring_replicas(now->now); i++)
            moved += !ring_owns(before->now, slot, ring_owners(now->now, slot)[i]);
    return (double)moved / SLOT_COUNT / ring_replicas(now->now);
}

int main(void)
{
    static const unsigned members[] = {4, 10, 50, 200, 999};
    printf("| members, `replicas = %d` | slots each is the home of | sigma | the fullest | moves "
           "when one "
           "joins | least | tables |\n| --- | --- | --- | --- | --- | --- | --- |\n",
           REPLICAS);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        unsigned count = members[i];
        double most;
        int64_t began = clock_us();
        struct layout *now = lay_out(count);
        int64_t took = clock_us() - began;
        struct layout *next = lay_out(count + 1);
        double sigma = sigma_of(now, count, &most);
        printf("| %u | %.0f | %.1f %% | %.2f × | %.2f %% | %.2f %% | %.0f ms |\n", count,
               (double)SLOT_COUNT / count, sigma * 100, most, moved_of(now, next) * 100,
               100.0 / (count + 1), (double)took / 1000);
        layout_free(&now);
        layout_free(&next);
    }
    return 0;
}
