/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_DRAWS_H
#define FORMATS_DRAWS_H

#include <stdint.h>

/*
 * Random numbers that are counted, not carried along: what is drawn for item `index` depends on (seed, index, stream)
 * alone, in whatever order the items come. SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), started at a hash of the
 * three.
 */
struct draws {
    uint64_t state;
};

struct draws draws_begin(uint64_t seed, uint64_t index, uint64_t stream);

/* A number of 0 .. bound - 1, each equally likely; bound is at least 1. */
uint64_t draws_below(struct draws *draws, uint64_t bound);

#endif
