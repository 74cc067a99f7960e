/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_VEC_H
#define LDAR_VEC_H

/*
 * Plain C: one float, the same bits on every machine with IEEE arithmetic.
 * docs/adding-an-isa.md states what each name must do.
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VEC_NAME scalar
#define VEC_WIDTH 1
#define VEC_REGISTERS 16
#define TILE_ROWS 4
#define TILE_VECS 4

typedef float vec;

static inline vec vec_load(const float *p)
{
    return *p;
}

static inline void vec_store(float *p, vec v)
{
    *p = v;
}

static inline vec vec_load_n(const float *p, size_t n)
{
    return n ? *p : 0.0f;
}

static inline void vec_store_n(float *p, size_t n, vec v)
{
    if (n)
        *p = v;
}

static inline vec vec_set1(float x)
{
    return x;
}

static inline vec vec_zero(void)
{
    return 0.0f;
}

static inline vec vec_iota(void)
{
    return 0.0f;
}

static inline vec vec_add(vec a, vec b)
{
    return a + b;
}

static inline vec vec_sub(vec a, vec b)
{
    return a - b;
}

static inline vec vec_mul(vec a, vec b)
{
    return a * b;
}

static inline vec vec_div(vec a, vec b)
{
    return a / b;
}

static inline vec vec_sqrt(vec a)
{
    return sqrtf(a);
}

/*
 * The product of two floats is exact in double, so only the sum is rounded (once to double, once to float: it differs
 * from fmaf in one case of 2^29 and is exact whenever the result is a float). fmaf itself is a library call without
 * an FMA instruction.
 */
static inline vec vec_fma(vec a, vec b, vec c)
{
    return (float)((double)a * (double)b + (double)c);
}

static inline vec vec_fnma(vec a, vec b, vec c)
{
    return (float)((double)c - (double)a * (double)b);
}

static inline vec vec_min(vec a, vec b)
{
    return a < b ? a : b;
}

static inline vec vec_max(vec a, vec b)
{
    return a > b ? a : b;
}

static inline vec vec_abs(vec a)
{
    return fabsf(a);
}

/* Above 2^23 every float is an integer; below, adding 2^23 leaves no room for a fraction. */
static inline vec vec_round(vec a)
{
    float x = fabsf(a);
    return x < 0x1p23f ? copysignf((x + 0x1p23f) - 0x1p23f, a) : a;
}

static inline vec vec_select_gt(vec a, vec b, vec yes, vec no)
{
    return a > b ? yes : no;
}

/* 2^n is out of a float's range but not of a double's. */
static inline vec vec_scale2(vec p, vec n)
{
    uint64_t bits = n >= -300.0f && n <= 300.0f ? (uint64_t)(1023 + (int)n) << 52 : 0;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return (float)(p * scale);
}

static inline float vec_sum(vec a)
{
    return a;
}

static inline float vec_largest(vec a)
{
    return a;
}

static inline void vec_transpose(float *out, ptrdiff_t out_stride, const float *in, ptrdiff_t in_stride)
{
    (void)out_stride, (void)in_stride;
    *out = *in;
}

/* Plain C has no word for flushing denormals; the reference keeps them. */
static inline uint64_t vec_float_mode_enter(void)
{
    return 0;
}

static inline void vec_float_mode_leave(uint64_t mode)
{
    (void)mode;
}

#endif
