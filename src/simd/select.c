/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu.h"
#include "kernels.h"

static const struct ldar_kernels *const tables[LDAR_SIMD_ISAS] = {
#define ISA(name, NAME, FLOATS) [LDAR_SIMD_##NAME] = LDAR_BUILD_##NAME ? &ldar_kernels_##name : NULL,
#include "isa.def"
#undef ISA
};

const struct ldar_kernels *ldar_simd_table(enum ldar_simd_isa isa)
{
    return tables[isa];
}

enum ldar_simd_isa ldar_simd_floats(enum ldar_simd_isa isa)
{
    static const enum ldar_simd_isa floats[LDAR_SIMD_ISAS] = {
#define ISA(name, NAME, FLOATS) [LDAR_SIMD_##NAME] = LDAR_SIMD_##FLOATS,
#include "isa.def"
#undef ISA
    };
    return floats[isa];
}

enum ldar_simd_isa ldar_simd_best(uint32_t features)
{
    for (int isa = LDAR_SIMD_ISAS - 1; isa > LDAR_SIMD_SCALAR; isa--)
        if (features >> isa & 1)
            return (enum ldar_simd_isa)isa;
    return LDAR_SIMD_SCALAR;
}
