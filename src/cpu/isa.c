/* SPDX-License-Identifier: Apache-2.0 */
#include "isa.h"

#include "simd/cpu.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

/* Public numbers are pinned, so they are not those of isa.def; the names are. */
static const struct {
    enum ldar_isa isa;
    enum ldar_simd_isa simd;
    const char *name;
} isas[] = {
#define ISA(name, NAME, FLOATS) {LDAR_ISA_##NAME, LDAR_SIMD_##NAME, #name},
#include "simd/isa.def"
#undef ISA
};

enum { ISAS = sizeof isas / sizeof *isas };

const char *ldar_isa_name(enum ldar_isa isa)
{
    if (isa == LDAR_ISA_AUTO)
        return "auto";
    for (size_t i = 0; i < ISAS; i++)
        if (isas[i].isa == isa)
            return isas[i].name;
    return NULL;
}

enum ldar_status ldar_isa_parse(const char *name, enum ldar_isa *isa, struct ldar_error *error)
{
    if (!name || !isa)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no name of an instruction set");
    *isa = LDAR_ISA_AUTO;
    if (!strcmp(name, "auto"))
        return LDAR_OK;
    for (size_t i = 0; i < ISAS; i++)
        if (!strcmp(isas[i].name, name)) {
            *isa = isas[i].isa;
            return LDAR_OK;
        }
    return ldar_fail(
        error, LDAR_ERROR_ARGUMENT,
        "unknown instruction set \"%.40s\": known are auto, scalar, avx2, avx512, avx512bf16, neon, neonbf16", name);
}

int ldar_isa_runs(enum ldar_isa isa)
{
    for (size_t i = 0; i < ISAS; i++)
        if (isas[i].isa == isa)
            return (int)(ldar_simd_detect() >> isas[i].simd & 1u);
    return 0;
}

enum ldar_status ldar_isa_choose(enum ldar_isa cap, enum ldar_isa *isa, struct ldar_error *error)
{
    const char *environment = cap == LDAR_ISA_AUTO ? getenv("LDAR_ISA") : NULL;
    if (!isa || !ldar_isa_name(cap))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no instruction set has the number %d", (int)cap);
    *isa = cap;
    if (environment && *environment) {
        struct ldar_error unknown;
        if (ldar_isa_parse(environment, isa, &unknown) != LDAR_OK)
            return ldar_fail(error, LDAR_ERROR_ARGUMENT, "LDAR_ISA: %s", unknown.message);
    }
    if (*isa == LDAR_ISA_AUTO) {
        enum ldar_simd_isa best = ldar_simd_best(ldar_simd_detect());
        for (size_t i = 0; i < ISAS; i++)
            if (isas[i].simd == best)
                *isa = isas[i].isa;
    }
    if (!ldar_isa_runs(*isa))
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED, "%sthe instruction set %s does not run on this machine",
                         environment && *environment ? "LDAR_ISA: " : "", ldar_isa_name(*isa));
    return LDAR_OK;
}

const struct ldar_kernels *ldar_isa_kernels(enum ldar_isa isa, enum ldar_dtype dtype)
{
    for (size_t i = 0; i < ISAS; i++) {
        if (isas[i].isa != isa)
            continue;
        const enum ldar_simd_isa floats = ldar_simd_floats(isas[i].simd);
        if (dtype == LDAR_F32)
            return ldar_simd_table(floats);
        return floats == isas[i].simd ? NULL : ldar_simd_table(isas[i].simd);
    }
    return NULL;
}
