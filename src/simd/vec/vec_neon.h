/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_VEC_H
#define LDAR_VEC_H

/* AArch64 Advanced SIMD: 4 floats. docs/adding-an-isa.md states what each name must do. */

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#ifndef VEC_NAME
#define VEC_NAME neon
#endif
#define VEC_WIDTH 4
#define VEC_REGISTERS 32
/*
 * 16 accumulators are what four multiply-add units of latency 4 need (Neoverse V1, V2). Square, because that asks for
 * the fewest loads per multiply-add; by llvm-mca nothing but the multiply-adds bounds the loop (docs/perf.md).
 */
#define TILE_ROWS 4
#define TILE_VECS 4

typedef float32x4_t vec;

static inline vec vec_load(const float *p)
{
    return vld1q_f32(p);
}

static inline void vec_store(float *p, vec v)
{
    vst1q_f32(p, v);
}

static inline vec vec_load_n(const float *p, size_t n)
{
    if (n >= 4)
        return vld1q_f32(p);
    vec v = vdupq_n_f32(0.0f);
    if (n > 0)
        v = vld1q_lane_f32(p, v, 0);
    if (n > 1)
        v = vld1q_lane_f32(p + 1, v, 1);
    if (n > 2)
        v = vld1q_lane_f32(p + 2, v, 2);
    return v;
}

static inline void vec_store_n(float *p, size_t n, vec v)
{
    if (n >= 4) {
        vst1q_f32(p, v);
        return;
    }
    if (n > 0)
        vst1q_lane_f32(p, v, 0);
    if (n > 1)
        vst1q_lane_f32(p + 1, v, 1);
    if (n > 2)
        vst1q_lane_f32(p + 2, v, 2);
}

/*
 * A number that is not known beforehand comes through a register of its own: a product then takes it from there by
 * element, and the load that copies into all lanes, which occupies a multiply-add unit too, is not used (6 % of GEMM).
 */
static inline vec vec_set1(float x)
{
    if (!__builtin_constant_p(x))
        __asm__("" : "+w"(x));
    return vdupq_n_f32(x);
}

static inline vec vec_zero(void)
{
    return vdupq_n_f32(0.0f);
}

static inline vec vec_iota(void)
{
    static const float lanes[4] = {0, 1, 2, 3};
    return vld1q_f32(lanes);
}

static inline vec vec_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return vsubq_f32(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}

static inline vec vec_div(vec a, vec b)
{
    return vdivq_f32(a, b);
}

static inline vec vec_sqrt(vec a)
{
    return vsqrtq_f32(a);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

static inline vec vec_fnma(vec a, vec b, vec c)
{
    return vfmsq_f32(c, a, b);
}

/* NaN where either is: a select would take two instructions for one. */
static inline vec vec_min(vec a, vec b)
{
    return vminq_f32(a, b);
}

static inline vec vec_max(vec a, vec b)
{
    return vmaxq_f32(a, b);
}

static inline vec vec_abs(vec a)
{
    return vabsq_f32(a);
}

static inline vec vec_round(vec a)
{
    return vrndnq_f32(a);
}

static inline vec vec_select_gt(vec a, vec b, vec yes, vec no)
{
    return vbslq_f32(vcgtq_f32(a, b), yes, no);
}

/*
 * 2^n in two factors, for it may be out of the range of a float. The first, of half the exponent, is added to p's: p is
 * a polynomial near 1 and |n| < 256, so that this stays a normal number.
 */
static inline vec vec_scale2(vec p, vec n)
{
    int32x4_t exponent = vcvtq_n_s32_f32(n, 23); /* n 2^23, n where a float keeps its exponent */
    int32x4_t half = vbicq_s32(vshrq_n_s32(exponent, 1), vdupq_n_s32(0x7fffff));
    int32x4_t rest = vaddq_s32(vsubq_s32(exponent, half), vreinterpretq_s32_f32(vdupq_n_f32(1.0f)));
    p = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), half));
    return vmulq_f32(p, vreinterpretq_f32_s32(rest));
}

static inline float vec_sum(vec a)
{
    return vaddvq_f32(a); /* (0 + 1) + (2 + 3) */
}

static inline float vec_largest(vec a)
{
    return vmaxvq_f32(a);
}

/* out (4, 4) = in (4, 4) transposed. */
static inline void vec_transpose(float *out, ptrdiff_t out_stride, const float *in, ptrdiff_t in_stride)
{
    float32x4x2_t a = vtrnq_f32(vld1q_f32(in), vld1q_f32(in + in_stride));
    float32x4x2_t b = vtrnq_f32(vld1q_f32(in + 2 * in_stride), vld1q_f32(in + 3 * in_stride));
    for (int i = 0; i < 2; i++) {
        vst1q_f32(out + i * out_stride, vcombine_f32(vget_low_f32(a.val[i]), vget_low_f32(b.val[i])));
        vst1q_f32(out + (i + 2) * out_stride, vcombine_f32(vget_high_f32(a.val[i]), vget_high_f32(b.val[i])));
    }
}

static inline uint64_t vec_float_mode_enter(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | UINT64_C(1) << 24)); /* FZ */
    return mode;
}

static inline void vec_float_mode_leave(uint64_t mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
}

#endif
