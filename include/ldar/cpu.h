/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CPU_H
#define LDAR_CPU_H

#include <ldar/status.h>

#include <stddef.h>

LDAR_BEGIN_DECLS

/*
 * Instruction sets. Each is a bundle for which the library holds one complete
 * table of kernels. All functions here are pure or read only the processor's
 * own description, and may be called from any thread.
 */
enum ldar_isa {
    LDAR_ISA_AUTO = 0, /* the best that this machine runs; LDAR_ISA in the environment caps it */
    LDAR_ISA_SCALAR = 1,
    LDAR_ISA_AVX2 = 2,       /* AVX2 + FMA */
    LDAR_ISA_AVX512 = 3,     /* AVX-512 F, BW, DQ, VL (and AVX2 + FMA) */
    LDAR_ISA_NEON = 4,       /* AArch64 Advanced SIMD */
    LDAR_ISA_AVX512BF16 = 5, /* AVX-512 with AVX512_BF16: float32 as LDAR_ISA_AVX512, and products of bfloat16 */
    LDAR_ISA_NEONBF16 = 6    /* Advanced SIMD with FEAT_BF16: float32 as LDAR_ISA_NEON, and products of bfloat16 */
};

/* "scalar", "avx2", ...; "auto" for LDAR_ISA_AUTO, NULL for a number that names none. */
LDAR_API const char *ldar_isa_name(enum ldar_isa isa);

/* The instruction set of that name (exact, lower case). LDAR_ERROR_ARGUMENT names the known ones. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_isa_parse(const char *name, enum ldar_isa *isa, struct ldar_error *error);

/* 1 when this build holds the bundle and this processor and system run it, else 0. */
LDAR_API int ldar_isa_runs(enum ldar_isa isa);

/*
 * The instruction set that a context created now with `cap` would use:
 * the cap itself, or for LDAR_ISA_AUTO what the environment variable LDAR_ISA
 * names, or else the best one that runs here. An unknown name in LDAR_ISA, or a
 * bundle that cannot run here, is an error and never silently replaced.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_isa_choose(enum ldar_isa cap, enum ldar_isa *isa,
                                                        struct ldar_error *error);

/* CPUs that this process may use: the smaller of its affinity mask and its cgroup quota (rounded up), at least 1. */
LDAR_API int ldar_cpu_count(void);

LDAR_END_DECLS

#endif
