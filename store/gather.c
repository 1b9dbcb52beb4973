// SPDX-License-Identifier: MIT
#include "store/gather.h"

enum {
    EXPECTED_MIN = 4, // of fewer there is too little to gain
    PATIENCE_MAX_US = 1000,
};

int64_t gather_wait_us(struct gather *gather, size_t waiting, int64_t now_us)
{
    if (gather->expected < EXPECTED_MIN || waiting >= gather->expected)
        return 0;
    if (gather->since_us == 0)
        gather->since_us = now_us;
    int64_t left = gather->since_us + gather->patience_us - now_us;
    return left > 0 ? left : 0;
}

void gather_sent(struct gather *gather, size_t count)
{
    gather->expected = count >= gather->expected ? count + count / 4 : count;
    gather->since_us = 0;
}

void gather_answered(struct gather *gather, int64_t took_us)
{
    gather->patience_us = took_us / 2 < PATIENCE_MAX_US ? took_us / 2 : PATIENCE_MAX_US;
}
