/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_SIMD_CPU_H
#define LDAR_SIMD_CPU_H

#include <stdint.h>

struct ldar_kernels;

/* What the processor can and the system lets it do (XCR0, HWCAP): one bit per ISA bundle, 1 << enum ldar_simd_isa. */
enum ldar_simd_isa {
#define ISA(name, NAME, FLOATS) LDAR_SIMD_##NAME,
#include "isa.def"
#undef ISA
    LDAR_SIMD_ISAS
};

/* Bundles that this build holds and this machine runs. Pure but for reading the processor. */
uint32_t ldar_simd_detect(void);

/* The bundle's table, or NULL when the build does not hold it. Pure. */
const struct ldar_kernels *ldar_simd_table(enum ldar_simd_isa isa);

/* The bundle that computes in float32 on the processors of this one. Pure. */
enum ldar_simd_isa ldar_simd_floats(enum ldar_simd_isa isa);

/* The best bundle among `features`. Scalar is always there. Pure. */
enum ldar_simd_isa ldar_simd_best(uint32_t features);

#endif
