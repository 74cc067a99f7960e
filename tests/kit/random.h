/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KIT_RANDOM_H
#define LDAR_TESTS_KIT_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* A stream of random numbers (splitmix64): equal seeds give equal streams on every machine. */
struct random {
    uint64_t state;
    double spare; /* normal numbers are made in pairs */
    int spared;
};

/* LDAR_TEST_SEED from the environment, or 1. */
uint64_t random_seed(void);

struct random random_start(uint64_t seed);
uint64_t random_bits(struct random *random);
size_t random_below(struct random *random, size_t limit); /* 0 .. limit - 1 */
double random_uniform(struct random *random, double low, double high);
double random_normal(struct random *random);

/* What a buffer is filled with, and what for. */
enum fill {
    FILL_NORMAL,   /* N(0, 1) */
    FILL_INTEGERS, /* -3..3: every partial sum below 2^24 is exact, so results have no excuse */
    FILL_TINY,     /* N(0, 1e-20): squares and products fall out of range */
    FILL_HUGE,     /* N(0, 1e15): squares stay in range */
    FILL_WIDE,     /* both signs, 1e-15..1e15, log-uniform */
    FILL_DENORMAL, /* below the smallest normal number */
    FILL_ZERO,     /* +0 and -0 */
    FILL_KINDS
};

const char *fill_name(enum fill fill);
void fill_floats(struct random *random, float *out, size_t count, enum fill fill);

#endif
