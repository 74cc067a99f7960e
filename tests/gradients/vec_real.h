/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_VEC_H
#define LDAR_VEC_H

/* One double in a vector. docs/adding-an-isa.md states what each name must do. Included after real.h. */

#define VEC_NAME real
#define VEC_WIDTH 1
#define VEC_REGISTERS 16
#define TILE_ROWS 4
#define TILE_VECS 4

typedef double vec;

static inline vec vec_load(const double *p)
{
    return *p;
}

static inline void vec_store(double *p, vec v)
{
    *p = v;
}

static inline vec vec_load_n(const double *p, size_t n)
{
    return n ? *p : 0;
}

static inline void vec_store_n(double *p, size_t n, vec v)
{
    if (n)
        *p = v;
}

static inline vec vec_set1(double x)
{
    return x;
}

static inline vec vec_zero(void)
{
    return 0;
}

static inline vec vec_iota(void)
{
    return 0;
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
    return sqrt(a);
}

/* Not fused: without the instruction fma() is a slow call, and the last bit of a double does not matter here. */
static inline vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}

static inline vec vec_fnma(vec a, vec b, vec c)
{
    return c - a * b;
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
    return fabs(a);
}

static inline vec vec_round(vec a)
{
    return nearbyint(a);
}

static inline vec vec_select_gt(vec a, vec b, vec yes, vec no)
{
    return a > b ? yes : no;
}

static inline vec vec_scale2(vec p, vec n)
{
    return ldexp(p, (int)n);
}

static inline double vec_sum(vec a)
{
    return a;
}

static inline double vec_largest(vec a)
{
    return a;
}

static inline void vec_transpose(double *out, ptrdiff_t out_stride, const double *in, ptrdiff_t in_stride)
{
    (void)out_stride, (void)in_stride;
    *out = *in;
}

static inline uint64_t vec_float_mode_enter(void)
{
    return 0;
}

static inline void vec_float_mode_leave(uint64_t mode)
{
    (void)mode;
}

/* In the place of simd/vec/vec_math.h, whose polynomials have the accuracy of floats. */
#define LDAR_VEC_MATH_H

static inline vec vec_exp(vec x)
{
    return exp(x);
}

static inline vec vec_exp2(vec x)
{
    return exp2(x);
}

static inline vec vec_sigmoid(vec x)
{
    return 1 / (1 + exp(-x));
}

static inline vec vec_silu(vec x)
{
    return x / (1 + exp(-x));
}

static inline vec vec_silu_slope(vec x, vec *slope)
{
    const double s = vec_sigmoid(x);
    *slope = s + x * s * (1 - s);
    return x * s;
}

static inline vec vec_softplus(vec x)
{
    return x > 20 ? x : log1p(exp(x));
}

#endif
