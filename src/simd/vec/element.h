/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_ELEMENT_H
#define LDAR_ELEMENT_H

/*
 * What a table stores and multiplies. An *element* is a float, or where the vec header defines VEC_BF16 a bfloat16. An
 * *operand* is what a lane of the register tile multiplies: 32 bits, a float or a pair of bfloat16 that follow each
 * other along the sum. Operands travel as floats that nobody computes with, so that all arrays of operands are float
 * arrays, shorter by OPERAND where they hold pairs, and one body serves both.
 *
 * Included after a vec header.
 */
#include "vec_math.h"

#ifdef VEC_BF16

typedef uint16_t element;
enum { OPERAND = 2 }; /* elements in an operand */

static inline vec element_load(const element *p)
{
    return vec_load_bf16(p);
}

static inline vec element_load_n(const element *p, size_t n)
{
    return vec_load_bf16_n(p, n);
}

static inline void element_store(element *p, vec v)
{
    vec_store_bf16(p, v);
}

static inline void element_store_n(element *p, size_t n, vec v)
{
    vec_store_bf16_n(p, n, v);
}

/* The element nearest to x, ties to even. */
static inline element element_of(float x)
{
    uint16_t nearest;
    vec_store_bf16_n(&nearest, 1, vec_set1(x));
    return nearest;
}

/* c + the sum of the operands' products, lane by lane. */
static inline vec operand_fma(vec a, vec b, vec c)
{
    return vec_dot_bf16(a, b, c);
}

/* The same with one operand for all lanes of a. */
static inline vec operand_fma1(float a, vec b, vec c)
{
    return vec_dot1_bf16(a, b, c);
}

/*
 * 2^x for x <= 127 and x / (1 + e^-x) for results that become elements: relative errors of 2^-13 and 2^-12, against
 * 2^-9 for the rounding that follows, at half the cost of the functions of vec_math.h.
 */
static inline vec element_exp2(vec x)
{
    x = vec_max(vec_set1(-151.0f), x);
    vec n = vec_round(x);
    vec r = vec_sub(x, n);
    vec p = vec_set1(0x1.c96cfap-5f);
    p = vec_fma(p, r, vec_set1(0x1.f0ed0ep-3f));
    p = vec_fma(p, r, vec_set1(0x1.62e2b2p-1f));
    p = vec_fma(p, r, vec_set1(0x1.fff61cp-1f));
    return vec_scale2(p, n);
}

static inline vec element_silu(vec x)
{
    vec e = element_exp2(vec_min(vec_set1(129.0f), vec_mul(x, vec_set1(-0x1.715476p+0f))));
    return vec_mul(x, vec_reciprocal_bf16(vec_add(vec_set1(1.0f), e)));
}

/* element_silu to the bit, and its derivative: off by 2^-14 at most, and by 2^-12 of itself but where it nears zero. */
static inline vec element_silu_slope(vec x, vec *slope)
{
    vec e = element_exp2(vec_min(vec_set1(129.0f), vec_mul(x, vec_set1(-0x1.715476p+0f))));
    vec s = vec_reciprocal_bf16(vec_add(vec_set1(1.0f), e));
    vec rest = vec_mul(vec_min(vec_set1(0x1.fffffep+127f), e), s);
    *slope = vec_mul(s, vec_fma(x, rest, vec_set1(1.0f)));
    return vec_mul(x, s);
}

/* Operands of the lanes of one row of floats and the next. */
static inline vec operand_zip(vec low, vec high)
{
    return vec_zip_bf16(low, high);
}

/* Operands of as many elements at `low` and `high` as a vector has lanes. */
static inline vec operand_load(const element *low, const element *high)
{
    return vec_load_zip_bf16(low, high);
}

#else

typedef float element;
enum { OPERAND = 1 };

static inline vec element_load(const element *p)
{
    return vec_load(p);
}

static inline vec element_load_n(const element *p, size_t n)
{
    return vec_load_n(p, n);
}

static inline void element_store(element *p, vec v)
{
    vec_store(p, v);
}

static inline void element_store_n(element *p, size_t n, vec v)
{
    vec_store_n(p, n, v);
}

static inline element element_of(float x)
{
    return x;
}

static inline vec operand_fma(vec a, vec b, vec c)
{
    return vec_fma(a, b, c);
}

static inline vec operand_fma1(float a, vec b, vec c)
{
    return vec_fma(vec_set1(a), b, c);
}

static inline vec element_exp2(vec x)
{
    return vec_exp2(x);
}

static inline vec element_silu(vec x)
{
    return vec_silu(x);
}

static inline vec element_silu_slope(vec x, vec *slope)
{
    return vec_silu_slope(x, slope);
}

static inline vec operand_zip(vec low, vec high)
{
    (void)high;
    return low;
}

static inline vec operand_load(const element *low, const element *high)
{
    (void)high;
    return vec_load(low);
}

#endif

#ifndef GEMM_ROWS
#define GEMM_ROWS TILE_ROWS
#endif

#endif
