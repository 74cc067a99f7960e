/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_MIXING_H
#define FORMATS_MIXING_H

#include <stddef.h>
#include <stdint.h>

/*
 * Hashes and counter-based random numbers of 64 bits, by the finaliser of
 * SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
 * generators", OOPSLA 2014). What is drawn depends on the counters alone.
 * Against chance, not against an adversary.
 */

/* The finaliser: each bit of x changes half of what it gives. */
uint64_t mix_word(uint64_t x);

/* A hash of bytes that goes on from another. */
uint64_t mix_bytes(uint64_t hash, const void *data, size_t bytes);

/* A random number of [0, 1) with 53 bits, which knows of nothing but its counters. */
double chance_of(const uint64_t *counters, size_t count);

#endif
