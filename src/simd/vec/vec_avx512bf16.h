/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_VEC_AVX512BF16_H
#define LDAR_VEC_AVX512BF16_H

/* AVX-512 with AVX512_BF16: the vectors of AVX-512, and pairs of bfloat16 in their lanes. */

#define VEC_NAME avx512bf16
#define VEC_BF16 1
/* 26 accumulators of 32 registers: the chains of VDPBF16PS leave no gap, which those of 8 rows do. */
#define GEMM_ROWS 13

#include "vec_avx512.h"

static inline vec vec_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline vec vec_load_bf16_n(const uint16_t *p, size_t n)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(vec_mask(n), p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline void vec_store_bf16(uint16_t *p, vec v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, (__m256i)_mm512_cvtneps_pbh(v));
}

static inline void vec_store_bf16_n(uint16_t *p, size_t n, vec v)
{
    _mm256_mask_storeu_epi16(p, vec_mask(n), (__m256i)_mm512_cvtneps_pbh(v));
}

static inline vec vec_zip_bf16(vec low, vec high)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low)));
}

static inline vec vec_load_zip_bf16(const uint16_t *low, const uint16_t *high)
{
    const __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                                           37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)low));
    const __m512i second = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)high));
    return _mm512_castsi512_ps(_mm512_permutex2var_epi16(first, order, second));
}

/* 1 / x with a relative error of 2^-14, x normal. */
static inline vec vec_reciprocal_bf16(vec x)
{
    return _mm512_rcp14_ps(x);
}

static inline vec vec_dot_bf16(vec a, vec b, vec c)
{
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}

static inline vec vec_dot1_bf16(float a, vec b, vec c)
{
    return vec_dot_bf16(vec_set1(a), b, c);
}

#endif
