/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An elementwise kernel on all 2^32 floats, or on `count` of them spread evenly:
 *     exhaustive ISA FUNCTION [COUNT]
 * prints the worst error and the input that gives it. Exit status 1 when it is over the bound.
 */
#include "elementwise.h"
#include "kit/check.h"
#include "simd/cpu.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096 };

struct sweep_result {
    double worst;
    float worst_x, worst_y;
    uint64_t over;  /* results over the bound */
    uint64_t turns; /* places where a monotone function turned back */
    float turn_x;
};

/* Bit patterns number..number + count - 1, `step` apart; within one sign they ascend in magnitude. */
static void load_block(float *x, uint64_t number, size_t count, uint64_t step)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)((number + i) * step);
        memcpy(&x[i], &bits, sizeof bits);
    }
}

static int turned_back(float x, float y, float x_before, float y_before)
{
    return (x > x_before && y < y_before) || (x < x_before && y > y_before);
}

static struct sweep_result sweep_floats(const struct elementwise *f, const struct ldar_kernels *kernels, uint64_t count)
{
    struct sweep_result result = {0};
    uint64_t step = (UINT64_C(1) << 32) / count;
    float x[BLOCK], y[BLOCK], x_before = NAN, y_before = NAN;
    for (uint64_t number = 0; number < count; number += BLOCK) {
        size_t block = count - number < BLOCK ? (size_t)(count - number) : BLOCK;
        load_block(x, number, block, step);
        f->kernel(kernels)(y, x, block);
        for (size_t i = 0; i < block; i++) {
            double error = elementwise_error(f, x[i], y[i]);
            if (!(error <= result.worst)) {
                result.worst = error, result.worst_x = x[i], result.worst_y = y[i];
            }
            result.over += !(error <= f->ulps);
            if (f->monotone && turned_back(x[i], y[i], x_before, y_before)) {
                result.turn_x = result.turns++ ? result.turn_x : x[i];
            }
            x_before = x[i], y_before = y[i];
        }
    }
    return result;
}

static const struct ldar_kernels *find_table(const char *name)
{
    for (enum ldar_simd_isa isa = 0; isa < LDAR_SIMD_ISAS; isa++) {
        const struct ldar_kernels *table = ldar_simd_table(isa);
        if (table && strcmp(table->name, name) == 0 && ldar_simd_detect() >> isa & 1) {
            return table;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const struct elementwise *f = argc > 2 ? elementwise_find(argv[2]) : NULL;
    uint64_t count = argc > 3 ? strtoull(argv[3], NULL, 0) : UINT64_C(1) << 32;
    if (!f || count == 0 || count > UINT64_C(1) << 32) {
        fprintf(stderr, "usage: exhaustive ISA exp|sigmoid|silu|softplus [COUNT, 1..2^32]\n");
        return 2;
    }
    const struct ldar_kernels *kernels = find_table(argv[1]);
    if (!kernels) {
        printf("SKIP %s: not in this build or not on this machine\n", argv[1]);
        return CHECK_SKIP;
    }
    struct sweep_result result = sweep_floats(f, kernels, count);
    printf("%s %s: %llu floats, worst %.4f ULP (bound %g) at %a (%.9g): %.9g, expected %.17g; %llu over the bound",
           kernels->name, f->name, (unsigned long long)count, result.worst, f->ulps, result.worst_x, result.worst_x,
           result.worst_y, f->reference(result.worst_x), (unsigned long long)result.over);
    if (f->monotone) {
        printf("; turns back at %llu places%s", (unsigned long long)result.turns, result.turns ? ", first at " : "");
        if (result.turns) {
            printf("%a", result.turn_x);
        }
    }
    printf("\n");
    return result.over || result.turns ? 1 : 0;
}
