/* SPDX-License-Identifier: Apache-2.0 */
#include "oracle.h"

#include <math.h>
#include <stdlib.h>

static double *zeros(size_t count)
{
    double *memory = calloc(count + 1, sizeof *memory);
    if (!memory) {
        abort();
    }
    return memory;
}

static const float *row(const float *matrix, size_t i, ptrdiff_t stride)
{
    return matrix + (ptrdiff_t)i * stride;
}

double oracle_exp(double x)
{
    return exp(x);
}

double oracle_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

double oracle_silu(double x)
{
    return x / (1 + exp(-x));
}

double oracle_softplus(double x)
{
    return x > 20 ? x : log1p(exp(x));
}

/* ---- norms ---- */

static double rms(const double *x, size_t width, double eps)
{
    double sum = 0;
    for (size_t c = 0; c < width; c++) {
        sum += x[c] * x[c];
    }
    return sqrt(sum / (double)width + eps);
}

void oracle_rms_norm(double *out, const float *x, const float *weight, size_t rows, size_t width, float eps,
                     ptrdiff_t x_stride)
{
    double *v = zeros(width);
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < width; c++) {
            v[c] = row(x, i, x_stride)[c];
        }
        double scale = rms(v, width, eps);
        for (size_t c = 0; c < width; c++) {
            out[i * width + c] = v[c] / scale * weight[c];
        }
    }
    free(v);
}

void oracle_gated_norm(double *out, const struct ldar_gated_norm_args *args)
{
    double *v = zeros(args->width);
    for (size_t i = 0; i < args->rows; i++) {
        double *o = out + i * args->width;
        for (size_t c = 0; c < args->width; c++) {
            o[c] = 0;
        }
        for (int direction = 0; direction < 2; direction++) {
            const float *y = row(args->y[direction], i, args->y_stride[direction]);
            const float *z = row(args->z, i, args->z_stride);
            for (size_t c = 0; c < args->width; c++) {
                v[c] = y[c] * oracle_silu(z[c]);
            }
            double scale = rms(v, args->width, args->eps);
            for (size_t c = 0; c < args->width; c++) {
                o[c] += 0.5 * v[c] / scale * args->weight[direction][c];
            }
        }
    }
    free(v);
}

/* ---- convolution and scan ---- */

void oracle_conv1d_silu(double *out, const struct ldar_conv1d_args *args)
{
    const float *x = args->x;
    for (size_t t = 0; t < args->rows; t++) {
        for (size_t c = 0; c < args->channels; c++) {
            double sum = args->bias[c];
            for (size_t tap = 0; tap < 4; tap++) {
                ptrdiff_t from = (ptrdiff_t)(t + tap) - 3;
                if (from >= -(ptrdiff_t)args->history) {
                    sum += (double)args->weight[(ptrdiff_t)tap * args->weight_stride + (ptrdiff_t)c]
                           * x[from * args->x_stride + (ptrdiff_t)c];
                }
            }
            out[t * args->channels + c] = oracle_silu(sum);
        }
    }
}

/* One of x, B, C as the recurrence wants it, (length, channels): convolved, or only widened. */
static double *scan_input(const struct ldar_ssd_args *args, const float *x, ptrdiff_t stride, size_t channels,
                          const float *weight, const float *bias)
{
    double *out = zeros(args->length * channels);
    if (args->conv_weight_x) {
        oracle_conv1d_silu(out, &(struct ldar_conv1d_args){.x = x,
                                                           .weight = weight,
                                                           .bias = bias,
                                                           .rows = args->length,
                                                           .channels = channels,
                                                           .history = args->history,
                                                           .x_stride = stride,
                                                           .weight_stride = args->conv_stride});
        return out;
    }
    for (size_t t = 0; t < args->length; t++) {
        for (size_t c = 0; c < channels; c++) {
            out[t * channels + c] = row(x, t, stride)[c];
        }
    }
    return out;
}

/* S = exp(dt a) S + dt x B^T; y = S C + d x: one token of one head, S (P, N). */
static void scan_token(double *y, double *state, const double *x, const double *b, const double *c, size_t n, double dt,
                       double a, double d)
{
    double decay = exp(dt * a);
    for (size_t p = 0; p < LDAR_HEAD; p++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            double *s = &state[p * n + j];
            *s = decay * *s + dt * x[p] * b[j];
            sum += *s * c[j];
        }
        y[p] = sum + d * x[p];
    }
}

void oracle_ssd_scan(double *y, const struct ldar_ssd_args *args)
{
    size_t n = args->state, inner = args->heads * LDAR_HEAD;
    double *x = scan_input(args, args->x, args->x_stride, inner, args->conv_weight_x, args->conv_bias_x);
    double *b = scan_input(args, args->b, args->bc_stride, n, args->conv_weight_b, args->conv_bias_b);
    double *c = scan_input(args, args->c, args->bc_stride, n, args->conv_weight_c, args->conv_bias_c);
    for (size_t h = 0; h < args->heads; h++) {
        double *state = zeros(LDAR_HEAD * n);
        for (size_t t = 0; t < args->length; t++) {
            double dt = row(args->dt, t, args->dt_stride)[h];
            dt = args->dt_bias ? oracle_softplus(dt + args->dt_bias[h]) : dt;
            size_t at = t * inner + h * LDAR_HEAD;
            scan_token(y + at, state, x + at, b + t * n, c + t * n, n, dt, args->a[h], args->d[h]);
        }
        free(state);
    }
    free(x);
    free(b);
    free(c);
}

/* ---- attention ---- */

/* The row of x after rotation: columns c and c + rotary / 2 are the two coordinates of one plane. */
static void rotate(double *out, const float *x, const float *cosine, const float *sine, size_t width, size_t rotary)
{
    size_t half = rotary / 2;
    for (size_t c = 0; c < width; c++) {
        out[c] = x[c];
    }
    for (size_t c = 0; c < half; c++) {
        out[c] = (double)x[c] * cosine[c] - (double)x[c + half] * sine[c];
        out[c + half] = (double)x[c] * sine[c] + (double)x[c + half] * cosine[c];
    }
}

/* Softmax of the scores first..last, in place. */
static void softmax(double *score, size_t first, size_t last)
{
    double largest = -INFINITY, sum = 0;
    for (size_t j = first; j <= last; j++) {
        largest = score[j] > largest || isnan(score[j]) ? score[j] : largest;
    }
    for (size_t j = first; j <= last; j++) {
        score[j] = exp(score[j] - largest);
        sum += score[j];
    }
    for (size_t j = first; j <= last; j++) {
        score[j] /= sum;
    }
}

static void attend(double *out, double *score, const double *q, const double *k, size_t i,
                   const struct ldar_attention_args *args)
{
    size_t width = args->width, reach = args->window < 0 ? args->length : (size_t)args->window;
    size_t first = i > reach ? i - reach : 0, last = args->length - 1 - i > reach ? i + reach : args->length - 1;
    for (size_t j = first; j <= last; j++) {
        double dot = 0;
        for (size_t c = 0; c < width; c++) {
            dot += q[c] * k[j * width + c];
        }
        score[j] = args->scale * dot;
    }
    softmax(score, first, last);
    for (size_t c = 0; c < width; c++) {
        out[c] = 0;
    }
    for (size_t j = first; j <= last; j++) {
        for (size_t c = 0; c < width; c++) {
            out[c] += score[j] * row(args->v, j, args->stride)[c];
        }
    }
}

void oracle_attention(double *out, const struct ldar_attention_args *args)
{
    size_t width = args->width, half = args->rotary / 2;
    double *k = zeros(args->length * width), *q = zeros(width), *score = zeros(args->length);
    for (size_t j = 0; j < args->length; j++) {
        rotate(k + j * width, row(args->k, j, args->stride), args->cosine + j * half, args->sine + j * half, width,
               args->rotary);
    }
    for (size_t i = 0; i < args->queries; i++) {
        size_t at = args->first + i;
        rotate(q, row(args->q, at, args->stride), args->cosine + at * half, args->sine + at * half, width,
               args->rotary);
        attend(out + i * width, score, q, k, at, args);
    }
    free(k);
    free(q);
    free(score);
}

/* ---- products ---- */

void oracle_gemm(double *out, const float *a, const float *weight, size_t rows, size_t n, size_t k, ptrdiff_t a_stride,
                 ptrdiff_t weight_stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t c = 0; c < k; c++) {
                sum += (double)row(a, i, a_stride)[c] * row(weight, j, weight_stride)[c];
            }
            out[i * n + j] = sum;
        }
    }
}

void oracle_swiglu(double *out, const float *up, const float *gate, size_t rows, size_t width, ptrdiff_t in_stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < width; c++) {
            out[i * width + c] = row(up, i, in_stride)[c] * oracle_silu(row(gate, i, in_stride)[c]);
        }
    }
}

/* ---- route and dechunk ---- */

static double dot(const float *x, const float *y, size_t width)
{
    double sum = 0;
    for (size_t c = 0; c < width; c++) {
        sum += (double)x[c] * y[c];
    }
    return sum;
}

static double cosine(const float *x, const float *y, size_t width)
{
    double x_norm = sqrt(dot(x, x, width)), y_norm = sqrt(dot(y, y, width)), sum = 0;
    x_norm = x_norm < 1e-12 ? 1e-12 : x_norm;
    y_norm = y_norm < 1e-12 ? 1e-12 : y_norm;
    for (size_t c = 0; c < width; c++) {
        sum += x[c] / x_norm * (y[c] / y_norm);
    }
    return sum;
}

void oracle_route(double *prob, const float *q, const float *k, size_t rows, size_t width, size_t before,
                  ptrdiff_t stride)
{
    for (size_t i = 0; i < rows; i++) {
        if (i == 0 && !before) {
            prob[0] = 1;
            continue;
        }
        const float *q_here = row(q, i, stride), *k_here = row(k, i, stride);
        double p = (1 - (cosine(q_here - stride, k_here, width) + cosine(q_here, k_here - stride, width)) / 2) / 2;
        p = p < 0 ? 0 : p;
        prob[i] = p > 1 ? 1 : p;
    }
}

void oracle_ema(double *out, const float *x, const float *prob, size_t rows, size_t width, int reverse,
                ptrdiff_t x_stride)
{
    double *h = zeros(width);
    for (size_t step = 0; step < rows; step++) {
        size_t i = reverse ? rows - 1 - step : step;
        double p = prob[i];
        p = p < 1e-4 ? 1e-4 : p;
        p = p > 1 - 1e-4 ? 1 - 1e-4 : p;
        for (size_t c = 0; c < width; c++) {
            h[c] = (1 - p) * h[c] + p * row(x, i, x_stride)[c];
            out[i * width + c] = reverse ? out[i * width + c] + h[c] / 2 : h[c] / 2;
        }
    }
    free(h);
}

void oracle_expand(double *out, const float *x, const float *bias, const uint32_t *index, size_t rows, size_t width,
                   ptrdiff_t x_stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < width; c++) {
            out[i * width + c] = (double)row(x, index[i], x_stride)[c] + bias[c];
        }
    }
}

void oracle_embed(double *out, const float *table, const uint8_t *ids, size_t rows, size_t width,
                  ptrdiff_t table_stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < width; c++) {
            out[i * width + c] = row(table, ids[i], table_stride)[c];
        }
    }
}
