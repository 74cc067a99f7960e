/* SPDX-License-Identifier: Apache-2.0 */
#include "draws.h"
#include "mixing.h"

static uint64_t next(struct draws *draws)
{
    draws->state += UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    return mix_word(draws->state);
}

struct draws draws_begin(uint64_t seed, uint64_t index, uint64_t stream)
{
    struct draws draws = {seed};
    draws.state = next(&draws) ^ index;
    draws.state = next(&draws) ^ stream;
    draws.state = next(&draws);
    return draws;
}

uint64_t draws_below(struct draws *draws, uint64_t bound)
{
    /* The words below 2^64 mod bound would make the small numbers likelier. */
    const uint64_t refused = (0 - bound) % bound;
    uint64_t word = next(draws);
    while (word < refused) {
        word = next(draws);
    }
    return word % bound;
}
