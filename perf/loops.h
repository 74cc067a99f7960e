/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_PERF_LOOPS_H
#define LDAR_PERF_LOOPS_H

#include "simd/kernels.h"

/*
 * Loops that do one thing as fast as a core can, one table for each instruction set, on the same vectors as its
 * kernels: what the kernels' times are held against (limits.h).
 */
enum { PERF_CHAINS = 12, PERF_LINE = 16 /* floats in a cache line */ };

struct perf_loops {
    size_t width; /* floats in a vector */
    /* `rounds` rounds of PERF_CHAINS vectors, each waiting for itself alone; sink (width). */
    void (*multiply_add)(float *sink, size_t rounds);
    void (*multiply)(float *sink, size_t rounds);
    void (*divide)(float *sink, size_t rounds);
    /*
     * `rows` times in turns: reads `read` floats and writes `written` floats, both multiples of PERF_LINE and going on
     * where the row before ended. fill: the library's memset writes, which knows more of a machine than a loop of
     * stores. Returns a sum of what was read.
     */
    float (*stream)(float *to, size_t written, const float *from, size_t read, size_t rows, int fill);
};

#define ISA(name, NAME, FLOATS) extern const struct perf_loops perf_loops_##name;
#include "simd/isa.def"
#undef ISA

#endif
