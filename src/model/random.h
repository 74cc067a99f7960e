/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_RANDOM_H
#define LDAR_MODEL_RANDOM_H

#include <stdint.h>

/*
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * The words depend on key and counter alone, so that any element can be drawn by any thread in any order.
 */
void ldar_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

/* The word's place in (0, 1): the middle of the 2^32 equal parts that it numbers. */
double ldar_uniform(uint32_t word);

/* Two independent standard normals (Box and Muller). Plain arithmetic: no bit depends on the system's libm. */
void ldar_normal_pair(uint32_t first, uint32_t second, double normal[2]);

/* Natural logarithm of x > 0 and exponential of |x| < 700 to about 1e-15 relative, the same bits on every system. */
double ldar_portable_log(double x);
double ldar_portable_exp(double x);

#endif
