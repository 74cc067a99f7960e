/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_OPS_H
#define LDAR_OPS_H

#include <ldar/cpu.h>

LDAR_BEGIN_DECLS

/*
 * The kernels on their own, for people who have a Mamba-2 of their own. All
 * arrays are float32, row-major and contiguous, of any alignment. One call
 * runs on the calling thread; calls are independent and thread-safe. Inputs
 * and outputs must not overlap. `isa` as in cpu.h.
 */

/*
 * Mamba-2 state-space scan (Dao and Gu, "Transformers are SSMs", ICML 2024,
 * section 6), head width P = 64, one group of B and C:
 *   S_t = exp(dt_t a) S_{t-1} + dt_t x_t B_t^T,   y_t = S_t C_t + d x_t,   S_{-1} = 0.
 * With reverse != 0, t runs from length - 1 down to 0.
 */
struct ldar_ssd {
    float *y;        /* (length, heads, 64) out */
    const float *x;  /* (length, heads, 64) */
    const float *dt; /* (length, heads) step sizes >= 0, after softplus */
    const float *a;  /* (heads) negative */
    const float *b;  /* (length, state) */
    const float *c;  /* (length, state) */
    const float *d;  /* (heads) skip */
    size_t length, heads, state;
    int reverse;
};
LDAR_API LDAR_MUST_USE enum ldar_status ldar_ssd_scan(enum ldar_isa isa, const struct ldar_ssd *ssd,
                                                      struct ldar_error *error);

/*
 * Softmax attention within a window, not causal: key j is seen by query i when
 * |i - j| <= window (-1: always). Rotary positions (base 10000, halves rotated)
 * on the first `rotary` columns of queries and keys; scale 1 / sqrt(width).
 */
struct ldar_window_attention {
    float *out;             /* (length, heads, width) */
    const float *q, *k, *v; /* (length, heads, width) each */
    size_t length, heads, width, rotary;
    ptrdiff_t window;
};
LDAR_API LDAR_MUST_USE enum ldar_status ldar_attend(enum ldar_isa isa, const struct ldar_window_attention *attention,
                                                    struct ldar_error *error);

/* out = x / sqrt(mean(x^2) + 1e-5) * weight for each of `rows` rows of `width`. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_rms_norm(enum ldar_isa isa, float *out, const float *x,
                                                      const float *weight, size_t rows, size_t width,
                                                      struct ldar_error *error);

LDAR_END_DECLS

#endif
