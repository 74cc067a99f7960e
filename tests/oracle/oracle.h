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
void oracle_conv1d_silu(double *out, const struct ldar_conv1d_args *args);

/* y (length, heads P), of whole heads whatever args->width is. The state begins at zero: args->state_in is not read. */
void oracle_ssd_scan(double *y, const struct ldar_ssd_args *args);

/* out (queries, width) */
void oracle_attention(double *out, const struct ldar_attention_args *args);

/* out (rows, n) = a (rows, k) weight^T, weight (n, k) */
void oracle_gemm(double *out, const float *a, const float *weight, size_t rows, size_t n, size_t k, ptrdiff_t a_stride,
                 ptrdiff_t weight_stride);
void oracle_swiglu(double *out, const float *up, const float *gate, size_t rows, size_t width, ptrdiff_t in_stride);

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

#endif
