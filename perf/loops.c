/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled once for each instruction set, with PERF_VEC naming its vec header. */
#include PERF_VEC

#include <string.h>

#include "loops.h"

#include "simd/vec/element.h"
#include "simd/vec/tile.h"

#define TABLE_OF(isa) perf_loops_##isa
#define TABLE(isa) TABLE_OF(isa)

/* All chains stay near 1, neither denormal nor infinite, and none stands still, for a compiler would leave it out. */
#define ROUNDS(name, step)                                                                                             \
    static void name(float *sink, size_t rounds)                                                                       \
    {                                                                                                                  \
        vec chain[PERF_CHAINS];                                                                                        \
        TILE_UNROLL                                                                                                    \
        for (int i = 0; i < PERF_CHAINS; i++)                                                                          \
            chain[i] = vec_set1(1.0f + 0.1f * (float)(i + 1));                                                         \
        for (size_t round = 0; round < rounds; round++)                                                                \
            TILE_UNROLL                                                                                                \
        for (int i = 0; i < PERF_CHAINS; i++)                                                                          \
            chain[i] = step;                                                                                           \
        for (int i = 1; i < PERF_CHAINS; i++)                                                                          \
            chain[0] = vec_add(chain[0], chain[i]);                                                                    \
        vec_store(sink, chain[0]);                                                                                     \
    }

ROUNDS(multiply_add, vec_fma(chain[i], vec_set1(0.5f), vec_set1(0.5f)))
ROUNDS(multiply, vec_mul(chain[i], vec_set1(0x1.000002p+0f)))
ROUNDS(divide, vec_div(vec_set1(1.7f), chain[i]))

/* Eight sums, since two additions begin in a cycle and take up to four. */
enum { STREAM_SUMS = 8, STREAM_BLOCK = STREAM_SUMS * VEC_WIDTH };

static float stream(float *to, size_t written, const float *from, size_t read, size_t rows, int fill)
{
    const vec value = vec_set1(0.5f);
    vec sum[STREAM_SUMS];
    TILE_UNROLL
    for (int i = 0; i < STREAM_SUMS; i++)
        sum[i] = vec_zero();
    for (size_t row = 0; row < rows; row++) {
        const float *end = from + read;
        for (; end - from >= STREAM_BLOCK; from += STREAM_BLOCK)
            TILE_UNROLL
        for (int i = 0; i < STREAM_SUMS; i++)
            sum[i] = vec_add(sum[i], vec_load(from + i * VEC_WIDTH));
        for (; from < end; from += VEC_WIDTH)
            sum[0] = vec_add(sum[0], vec_load(from));
        if (fill)
            memset(to, 0, written * sizeof *to);
        for (size_t i = 0; !fill && i < written; i += VEC_WIDTH)
            vec_store(to + i, value);
        to += written;
    }
    for (int i = 1; i < STREAM_SUMS; i++)
        sum[0] = vec_add(sum[0], sum[i]);
    return vec_sum(sum[0]);
}

const struct perf_loops TABLE(VEC_NAME) = {VEC_WIDTH, multiply_add, multiply, divide, stream};
