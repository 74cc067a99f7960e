/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_VEC_NEONBF16_H
#define LDAR_VEC_NEONBF16_H

/* Advanced SIMD with FEAT_BF16: the vectors of Advanced SIMD, and pairs of bfloat16 in their lanes. */

#define VEC_NAME neonbf16
#define VEC_BF16 1

#include "vec_neon.h"

/* bfloat16 are the upper halves of floats: zipped with zeros, which every vector unit does; not all of them shift. */
static inline vec vec_widen_bf16(uint16x4_t v)
{
    return vreinterpretq_f32_u16(vzip1q_u16(vdupq_n_u16(0), vcombine_u16(v, v)));
}

static inline vec vec_load_bf16(const uint16_t *p)
{
    return vec_widen_bf16(vld1_u16(p));
}

static inline vec vec_load_bf16_n(const uint16_t *p, size_t n)
{
    if (n >= 4)
        return vec_load_bf16(p);
    uint16x4_t v = vdup_n_u16(0);
    if (n > 0)
        v = vld1_lane_u16(p, v, 0);
    if (n > 1)
        v = vld1_lane_u16(p + 1, v, 1);
    if (n > 2)
        v = vld1_lane_u16(p + 2, v, 2);
    return vec_widen_bf16(v);
}

/*
 * The nearest bfloat16, ties to even, in the lower half. Not by the intrinsic: zipped as below it is a fatal error in
 * clang 14.
 */
static inline uint16x8_t vec_narrow_bf16(vec v)
{
    uint16x8_t nearest;
    __asm__("bfcvtn %0.4h, %1.4s" : "=w"(nearest) : "w"(v));
    return nearest;
}

static inline void vec_store_bf16(uint16_t *p, vec v)
{
    vst1_u16(p, vget_low_u16(vec_narrow_bf16(v)));
}

static inline void vec_store_bf16_n(uint16_t *p, size_t n, vec v)
{
    uint16x8_t nearest = vec_narrow_bf16(v);
    if (n >= 4) {
        vst1_u16(p, vget_low_u16(nearest));
        return;
    }
    if (n > 0)
        vst1q_lane_u16(p, nearest, 0);
    if (n > 1)
        vst1q_lane_u16(p + 1, nearest, 1);
    if (n > 2)
        vst1q_lane_u16(p + 2, nearest, 2);
}

static inline vec vec_zip_bf16(vec low, vec high)
{
    return vreinterpretq_f32_u16(vzip1q_u16(vec_narrow_bf16(low), vec_narrow_bf16(high)));
}

static inline vec vec_load_zip_bf16(const uint16_t *low, const uint16_t *high)
{
    const uint16x4_t first = vld1_u16(low), second = vld1_u16(high);
    return vreinterpretq_f32_u16(vzip1q_u16(vcombine_u16(first, first), vcombine_u16(second, second)));
}

static inline vec vec_dot_bf16(vec a, vec b, vec c)
{
    return vbfdotq_f32(c, vreinterpretq_bf16_f32(a), vreinterpretq_bf16_f32(b));
}

/*
 * The same with one pair for all lanes of a. The instruction takes it from lane 0 of any register, but its intrinsic
 * takes a vector, into which compilers copy the pair to all lanes: a fifth instruction for each four.
 */
static inline vec vec_dot1_bf16(float a, vec b, vec c)
{
    __asm__("bfdot %0.4s, %1.8h, %2.2h[0]" : "+w"(c) : "w"(b), "w"(a));
    return c;
}

/* 1 / x with a relative error of 2^-16, x normal: an estimate of eight bits and one step of Newton's. */
static inline vec vec_reciprocal_bf16(vec x)
{
    float32x4_t y = vrecpeq_f32(x);
    return vmulq_f32(y, vrecpsq_f32(x, y));
}

#endif
