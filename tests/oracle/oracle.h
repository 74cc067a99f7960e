/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_ORACLE_H
#define LDAR_TESTS_ORACLE_H

#include "simd/kernels.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The first rung of truth: what each kernel computes, from the textbook, in double precision, slowly. It takes the
 * kernels' own arguments, so that both sides of a comparison read the same memory, but for elements: those are floats
 * here, whatever the table's are. It ignores outputs and scratch: results go to dense arrays of doubles, (rows, width)
 * unless said.
 */
double oracle_exp(double x);
double oracle_sigmoid(double x);
double oracle_silu(double x);
double oracle_softplus(double x);

void oracle_rms_norm(double *out, const float *x, const float *weight, size_t rows, size_t width, float eps,
                     ptrdiff_t x_stride);
void oracle_gated_norm(double *out, const struct ldar_gated_norm_args *args);

/* Gradients: dx, dz, dy (rows, width), dweight (width), all without what an array held before. */
void oracle_rms_norm_backward(double *dx, double *dweight, const float *dy, const float *x, const float *weight,
                              size_t rows, size_t width, float eps, ptrdiff_t dy_stride, ptrdiff_t x_stride);
void oracle_gated_norm_backward(double *dz, double *const dy[2], double *const dweight[2],
                                const struct ldar_gated_norm_backward_args *args);

void oracle_conv1d_silu(double *out, const struct ldar_conv1d_args *args);

/* dx (rows, channels), dweight (4, channels), dbias (channels), the last two of this sequence alone */
void oracle_conv1d_backward(double *dx, double *const dweight[2], double *const dbias[2],
                            const struct ldar_conv1d_backward_args *args);

/* y (length, heads P), of whole heads whatever args->width is. */
void oracle_ssd_scan(double *y, const struct ldar_ssd_args *args);

/*
 * dx (length, heads P), db and dc (length, state), ddt (length, heads); da, dd and ddt_bias (heads). The sizes are the
 * roots of the sums of squares of the terms that all but dx are sums of: what rounding each term is measured by, since
 * most of them cancel.
 */
struct oracle_ssd_gradient {
    double *dx, *db, *dc, *ddt, *da, *dd, *ddt_bias;
    double *db_size, *dc_size, *ddt_size, *da_size, *dd_size, *ddt_bias_size;
};

/*
 * The gradient of the scan of `args` where y has the gradient dy (length, heads P), dense; of x, B and C as they go
 * into the recurrence or, where there are convolutions, of their sums. Adds to what da, dd and ddt_bias hold; all
 * other arrays are zero at first.
 */
void oracle_ssd_backward(const struct oracle_ssd_gradient *out, const struct ldar_ssd_args *args, const double *dy);

/* out (queries, width); log_sum (queries) */
void oracle_attention(double *out, const struct ldar_attention_args *args);
void oracle_attention_log_sum(double *log_sum, const struct ldar_attention_args *args);

/* dq, dk and dv (length, width), from q, k, v and dout alone */
void oracle_attention_backward(double *dq, double *dk, double *dv, const struct ldar_attention_backward_args *args);

/* out (rows, n) = a (rows, k) weight^T, weight (n, k) */
void oracle_gemm(double *out, const float *a, const float *weight, size_t rows, size_t n, size_t k, ptrdiff_t a_stride,
                 ptrdiff_t weight_stride);

/* dw (n, k) = args->dw + dc^T a */
void oracle_gemm_gradient(double *dw, const struct ldar_gemm_gradient_args *args);
void oracle_swiglu(double *out, const float *up, const float *gate, size_t rows, size_t width, ptrdiff_t in_stride);

/* `hidden` in panels of `panel` columns, half of them up and half gate; dhidden (rows, 2 width) up first, then gate */
void oracle_swiglu_panels(double *out, const float *hidden, size_t rows, size_t width, size_t panel,
                          ptrdiff_t hidden_stride);
void oracle_swiglu_backward(double *dhidden, const float *dh, const float *hidden, size_t rows, size_t width,
                            size_t panel, ptrdiff_t dh_stride, ptrdiff_t hidden_stride);

/* prob (rows) */
void oracle_route(double *prob, const float *q, const float *k, size_t rows, size_t width, size_t before,
                  ptrdiff_t stride);

/* Half of the moving average of one direction; with reverse it is added to out. */
void oracle_ema(double *out, const float *x, const float *prob, size_t rows, size_t width, int reverse,
                ptrdiff_t x_stride);
void oracle_expand(double *out, const float *x, const float *bias, const uint32_t *index, size_t rows, size_t width,
                   ptrdiff_t x_stride);
void oracle_embed(double *out, const float *table, const uint8_t *ids, size_t rows, size_t width,
                  ptrdiff_t table_stride);

/* weight, moment1 and moment2 (count) after the step, and the sum of squares. */
void oracle_adamw(double *weight, double *moment1, double *moment2, const struct ldar_adamw_args *args);
double oracle_sum_squares(const float *x, size_t n);

/* ---- gradients of routing, rows and loss: where the kernel adds (+=), so does the oracle ---- */

/* dq, dk (rows, width) */
void oracle_route_backward(double *dq, double *dk, const struct ldar_route_backward_args *args);

/* dx (rows, width), dprob (rows) */
void oracle_ema_backward(double *dx, double *dprob, const struct ldar_ema_backward_args *args);

/* dx (chunks, width); dprob by its row's number, as position counts. */
void oracle_expand_backward(double *dx, double *dprob, const float *dout, const float *x, const uint32_t *position,
                            size_t chunks, size_t width, ptrdiff_t dout_stride, ptrdiff_t x_stride);

/* dtable (symbols, width) +=, dense */
void oracle_embed_backward(double *dtable, const float *dy, const uint8_t *ids, size_t rows, size_t width,
                           ptrdiff_t dy_stride);

/* out (width) += */
void oracle_sum_rows(double *out, const float *x, size_t rows, size_t width, ptrdiff_t x_stride);

/* dlogits (rows, symbols), loss (rows) */
void oracle_cross_entropy(double *dlogits, double *loss, const float *logits, const uint8_t *labels, size_t rows,
                          size_t symbols, double scale);

/* dx (rows, width), dweight (symbols, width) += */
void oracle_head_backward(double *dx, double *dweight, const float *dlogits, const float *x, const float *weight,
                          size_t rows, size_t width, size_t symbols, ptrdiff_t x_stride);

#endif
