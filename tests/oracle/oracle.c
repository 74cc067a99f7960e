/* SPDX-License-Identifier: Apache-2.0 */
#include "oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* The derivative, as d/dx (x / (1 + e^-x)) is first written down. */
static double silu_slope(double x)
{
    double s = oracle_sigmoid(x);
    return s + x * s * (1 - s);
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

/*
 * The gradient of u / rms(u) * weight by u and by weight, of one row, from d(u_c / r)/du_e = (c == e) / r -
 * u_c u_e / (n r^3). Neither array is cleared.
 */
static void norm_gradient(double *du, double *dweight, const double *u, const double *dout, const float *weight,
                          size_t width, double eps)
{
    double r = rms(u, width, eps), along = 0;
    for (size_t c = 0; c < width; c++) {
        along += dout[c] * weight[c] * u[c];
        dweight[c] += dout[c] * u[c] / r;
    }
    for (size_t e = 0; e < width; e++) {
        du[e] += dout[e] * weight[e] / r - u[e] * along / ((double)width * r * r * r);
    }
}

static void clear(double *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        x[i] = 0;
    }
}

void oracle_rms_norm_backward(double *dx, double *dweight, const float *dy, const float *x, const float *weight,
                              size_t rows, size_t width, float eps, ptrdiff_t dy_stride, ptrdiff_t x_stride)
{
    double *v = zeros(width), *dout = zeros(width);
    clear(dx, rows * width);
    clear(dweight, width);
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < width; c++) {
            v[c] = row(x, i, x_stride)[c];
            dout[c] = row(dy, i, dy_stride)[c];
        }
        norm_gradient(dx + i * width, dweight, v, dout, weight, width, eps);
    }
    free(v);
    free(dout);
}

/* One row of one direction: v = y silu(z), du = the gradient by v. */
static void gated_row_gradient(double *dz, double *dy, double *dweight, const float *y, const float *z,
                               const double *half, const float *weight, size_t width, double eps)
{
    double *v = zeros(width), *dv = zeros(width);
    for (size_t c = 0; c < width; c++) {
        v[c] = y[c] * oracle_silu(z[c]);
    }
    norm_gradient(dv, dweight, v, half, weight, width, eps);
    for (size_t c = 0; c < width; c++) {
        dy[c] = dv[c] * oracle_silu(z[c]);
        dz[c] += dv[c] * y[c] * silu_slope(z[c]);
    }
    free(v);
    free(dv);
}

void oracle_gated_norm_backward(double *dz, double *const dy[2], double *const dweight[2],
                                const struct ldar_gated_norm_backward_args *args)
{
    const size_t width = args->width;
    double *half = zeros(width);
    clear(dz, args->rows * width);
    clear(dweight[0], width);
    clear(dweight[1], width);
    for (size_t i = 0; i < args->rows; i++) {
        for (size_t c = 0; c < width; c++) {
            half[c] = 0.5 * row(args->dout, i, args->dout_stride)[c];
        }
        for (int direction = 0; direction < 2; direction++) {
            gated_row_gradient(dz + i * width, dy[direction] + i * width, dweight[direction],
                               row(args->y[direction], i, args->y_stride[direction]), row(args->z, i, args->z_stride),
                               half, args->weight[direction], width, args->eps);
        }
    }
    free(half);
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

/* The sum of the parts of dsum at one row and channel. */
static double conv1d_dsum(const struct ldar_conv1d_backward_args *args, int direction, size_t t, size_t c)
{
    double sum = 0;
    for (size_t part = 0; part < args->parts; part++) {
        const float *dsum = (const float *)args->dsum[direction] + (ptrdiff_t)part * args->part_stride;
        sum += row(dsum, t, args->dsum_stride)[c];
    }
    return sum;
}

/* What each sum s[t] = bias + sum_k weight[k] x[from], from = t + k - 3 or t + 3 - k, gives back to its terms. */
void oracle_conv1d_backward(double *dx, double *const dweight[2], double *const dbias[2],
                            const struct ldar_conv1d_backward_args *args)
{
    const size_t channels = args->channels;
    clear(dx, args->rows * channels);
    for (int direction = 0; direction < 2; direction++) {
        clear(dweight[direction], 4 * channels);
        clear(dbias[direction], channels);
        for (size_t t = 0; t < args->rows; t++) {
            for (size_t c = 0; c < channels; c++) {
                double ds = conv1d_dsum(args, direction, t, c);
                dbias[direction][c] += ds;
                for (size_t tap = 0; tap < 4; tap++) {
                    ptrdiff_t from = direction ? (ptrdiff_t)(t + 3 - tap) : (ptrdiff_t)(t + tap) - 3;
                    if (from >= 0 && from < (ptrdiff_t)args->rows) {
                        const float *weight = row(args->weight[direction], tap, args->weight_stride);
                        dx[(size_t)from * channels + c] += ds * weight[c];
                        dweight[direction][tap * channels + c] += ds * row(args->x, (size_t)from, args->x_stride)[c];
                    }
                }
            }
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

/* The slope of silu at the sums of a convolution, (length, channels); 1 where there is none. */
static double *scan_slope(const struct ldar_ssd_args *args, const float *x, ptrdiff_t stride, size_t channels,
                          const float *weight, const float *bias)
{
    double *out = zeros(args->length * channels);
    for (size_t t = 0; t < args->length; t++) {
        for (size_t c = 0; c < channels; c++) {
            double sum = args->conv_weight_x ? bias[c] : 0;
            for (size_t tap = 0; args->conv_weight_x && tap < 4; tap++) {
                ptrdiff_t from = (ptrdiff_t)(t + tap) - 3;
                sum += from < 0 ? 0
                                : (double)weight[(ptrdiff_t)tap * args->conv_stride + (ptrdiff_t)c]
                                      * x[from * stride + (ptrdiff_t)c];
            }
            double s = oracle_sigmoid(sum);
            out[t * channels + c] = args->conv_weight_x ? s + sum * s * (1 - s) : 1;
        }
    }
    return out;
}

/* A token of a head: what it read, and the states around it. */
struct scan_step {
    const double *x, *b, *c, *dy, *before, *after;
    double dt, a, d;
    size_t n;
};

/* A sum, and the sum of its terms' squares. */
struct scan_sum {
    double sum, squares;
};

static void scan_add(struct scan_sum *sum, double term)
{
    sum->sum += term;
    sum->squares += term * term;
}

/*
 * One token of one head backwards. dstate (P, N) comes as the gradient of the state after the token, without what y
 * says, and leaves as that of the state before. direct: the gradient of dt as a factor; exponent: of dt a.
 */
static void scan_token_backward(double *dx, struct scan_sum *db, struct scan_sum *dc, struct scan_sum *direct,
                                struct scan_sum *exponent, double *dstate, const struct scan_step *s)
{
    double decay = exp(s->dt * s->a);
    for (size_t p = 0; p < LDAR_HEAD; p++) {
        dx[p] = s->d * s->dy[p];
        for (size_t j = 0; j < s->n; j++) {
            double *ds = &dstate[p * s->n + j];
            *ds += s->dy[p] * s->c[j];
            scan_add(&dc[j], s->dy[p] * s->after[p * s->n + j]);
            dx[p] += s->dt * *ds * s->b[j];
            scan_add(&db[j], s->dt * *ds * s->x[p]);
            scan_add(direct, *ds * s->x[p] * s->b[j]);
            *ds *= decay;
            scan_add(exponent, *ds * s->before[p * s->n + j]);
        }
    }
}

/* The states of one head, (1 + length, P, N), the first zero. */
static double *scan_states(const struct ldar_ssd_args *args, const double *x, const double *b, const double *c,
                           const double *dt, double a)
{
    size_t n = args->state, size = LDAR_HEAD * n;
    double *states = zeros((args->length + 1) * size), y[LDAR_HEAD];
    for (size_t t = 0; t < args->length; t++) {
        double *state = states + (t + 1) * size;
        memcpy(state, state - size, size * sizeof *state);
        scan_token(y, state, x + t * args->heads * LDAR_HEAD, b + t * n, c + t * n, n, dt[t], a, 0);
    }
    return states;
}

static void scan_head_backward(const struct oracle_ssd_gradient *out, struct scan_sum *db, struct scan_sum *dc,
                               const struct ldar_ssd_args *args, size_t h, const double *x, const double *b,
                               const double *c, const double *dy)
{
    size_t n = args->state, size = LDAR_HEAD * n, inner = args->heads * LDAR_HEAD;
    double *dt = zeros(args->length), *slope = zeros(args->length), *dstate = zeros(size), a = args->a[h];
    struct scan_sum da = {0}, dd = {0}, dbias = {0};
    for (size_t t = 0; t < args->length; t++) {
        double raw = row(args->dt, t, args->dt_stride)[h] + (args->dt_bias ? (double)args->dt_bias[h] : 0);
        dt[t] = args->dt_bias ? oracle_softplus(raw) : raw;
        slope[t] = !args->dt_bias || raw > 20 ? 1 : oracle_sigmoid(raw);
    }
    double *states = scan_states(args, x + h * LDAR_HEAD, b, c, dt, a);
    for (size_t t = args->length; t-- > 0;) {
        size_t at = t * inner + h * LDAR_HEAD, step = t * args->heads + h;
        const double *before = states + t * size;
        struct scan_sum direct = {0}, exponent = {0};
        scan_token_backward(
            out->dx + at, db + t * n, dc + t * n, &direct, &exponent, dstate,
            &(struct scan_step){x + at, b + t * n, c + t * n, dy + at, before, before + size, dt[t], a, args->d[h], n});
        for (size_t p = 0; p < LDAR_HEAD; p++) {
            scan_add(&dd, dy[at + p] * x[at + p]);
        }
        out->ddt[step] = (direct.sum + a * exponent.sum) * slope[t];
        out->ddt_size[step] = sqrt(direct.squares + a * a * exponent.squares) * slope[t];
        da.sum += dt[t] * exponent.sum;
        da.squares += dt[t] * dt[t] * exponent.squares;
        dbias.sum += out->ddt[step];
        dbias.squares += out->ddt_size[step] * out->ddt_size[step];
    }
    out->da[h] += da.sum, out->da_size[h] = sqrt(da.squares);
    out->dd[h] += dd.sum, out->dd_size[h] = sqrt(dd.squares);
    out->ddt_bias[h] += dbias.sum, out->ddt_bias_size[h] = sqrt(dbias.squares);
    free(dt);
    free(slope);
    free(dstate);
    free(states);
}

/* The sums of a factor's gradient, times the slopes that they meet. */
static void scan_give(double *out, double *size, const struct scan_sum *sum, const double *slope, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = sum[i].sum * slope[i];
        size[i] = sqrt(sum[i].squares) * fabs(slope[i]);
    }
}

void oracle_ssd_backward(const struct oracle_ssd_gradient *out, const struct ldar_ssd_args *args, const double *dy)
{
    size_t n = args->state, inner = args->heads * LDAR_HEAD;
    double *x = scan_input(args, args->x, args->x_stride, inner, args->conv_weight_x, args->conv_bias_x);
    double *b = scan_input(args, args->b, args->bc_stride, n, args->conv_weight_b, args->conv_bias_b);
    double *c = scan_input(args, args->c, args->bc_stride, n, args->conv_weight_c, args->conv_bias_c);
    double *slope_x = scan_slope(args, args->x, args->x_stride, inner, args->conv_weight_x, args->conv_bias_x);
    double *slope_b = scan_slope(args, args->b, args->bc_stride, n, args->conv_weight_b, args->conv_bias_b);
    double *slope_c = scan_slope(args, args->c, args->bc_stride, n, args->conv_weight_c, args->conv_bias_c);
    struct scan_sum *db = calloc(2 * args->length * n + 1, sizeof *db), *dc = db + args->length * n;
    if (!db) {
        abort();
    }
    for (size_t h = 0; h < args->heads; h++) {
        scan_head_backward(out, db, dc, args, h, x, b, c, dy);
    }
    for (size_t i = 0; i < args->length * inner; i++) {
        out->dx[i] *= slope_x[i];
    }
    scan_give(out->db, out->db_size, db, slope_b, args->length * n);
    scan_give(out->dc, out->dc_size, dc, slope_c, args->length * n);
    free(db);
    double *const all[] = {x, b, c, slope_x, slope_b, slope_c};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
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

/* Scaled scores of query i, which begins at the key returned and ends before *end. */
static size_t scores(double *score, const double *q, const double *k, size_t i, size_t length, size_t width,
                     ptrdiff_t window, double scale, size_t *end)
{
    size_t reach = window < 0 ? length : (size_t)window, first = i > reach ? i - reach : 0;
    *end = length - i > reach ? i + reach + 1 : length;
    *end = *end < length ? *end : length;
    for (size_t j = first; j < *end; j++) {
        score[j] = 0;
        for (size_t c = 0; c < width; c++) {
            score[j] += scale * q[i * width + c] * k[j * width + c];
        }
    }
    return first;
}

/* All rows of x, rotated. */
static double *rotated(const float *x, ptrdiff_t stride, const float *cosine, const float *sine, size_t length,
                       size_t width, size_t rotary)
{
    double *out = zeros(length * width);
    for (size_t i = 0; i < length; i++) {
        rotate(out + i * width, row(x, i, stride), cosine + i * (rotary / 2), sine + i * (rotary / 2), width, rotary);
    }
    return out;
}

void oracle_attention_log_sum(double *log_sum, const struct ldar_attention_args *args)
{
    size_t length = args->length, width = args->width, rotary = args->rotary, end;
    double *q = rotated(args->q, args->stride, args->cosine, args->sine, length, width, rotary);
    double *k = rotated(args->k, args->stride, args->cosine, args->sine, length, width, rotary);
    double *score = zeros(length);
    for (size_t i = 0; i < args->queries; i++) {
        size_t first = scores(score, q, k, args->first + i, length, width, args->window, args->scale, &end);
        double largest = score[first], sum = 0;
        for (size_t j = first; j < end; j++) {
            largest = score[j] > largest ? score[j] : largest;
        }
        for (size_t j = first; j < end; j++) {
            sum += exp(score[j] - largest);
        }
        log_sum[i] = (largest + log(sum)) / log(2);
    }
    free(q);
    free(k);
    free(score);
}

/* The gradient by a row before its rotation, from that after it. */
static void rotate_back(double *gradient, const float *cosine, const float *sine, size_t rotary)
{
    size_t half = rotary / 2;
    for (size_t c = 0; c < half; c++) {
        double x = gradient[c], y = gradient[c + half];
        gradient[c] = x * cosine[c] + y * sine[c];
        gradient[c + half] = y * cosine[c] - x * sine[c];
    }
}

/* What query i adds to all gradients; p holds its scores. */
static void attend_backward(double *dq, double *dk, double *dv, const double *q, const double *k, double *p, size_t i,
                            const struct ldar_attention_backward_args *args)
{
    size_t width = args->width, end;
    const float *dout = row(args->dout, i, args->dout_stride);
    size_t first = scores(p, q, k, i, args->length, width, args->window, args->scale, &end);
    double *dp = zeros(args->length), mean = 0;
    softmax(p, first, end - 1);
    for (size_t j = first; j < end; j++) {
        for (size_t c = 0; c < width; c++) {
            dp[j] += (double)dout[c] * row(args->v, j, args->stride)[c];
            dv[j * width + c] += p[j] * dout[c];
        }
        mean += p[j] * dp[j];
    }
    for (size_t j = first; j < end; j++) {
        double slope = args->scale * p[j] * (dp[j] - mean);
        for (size_t c = 0; c < width; c++) {
            dq[i * width + c] += slope * k[j * width + c];
            dk[j * width + c] += slope * q[i * width + c];
        }
    }
    free(dp);
}

void oracle_attention_backward(double *dq, double *dk, double *dv, const struct ldar_attention_backward_args *args)
{
    size_t length = args->length, width = args->width, rotary = args->rotary, half = rotary / 2;
    double *q = rotated(args->q, args->stride, args->cosine, args->sine, length, width, rotary);
    double *k = rotated(args->k, args->stride, args->cosine, args->sine, length, width, rotary);
    double *p = zeros(length);
    for (size_t i = 0; i < length * width; i++) {
        dq[i] = dk[i] = dv[i] = 0;
    }
    for (size_t i = 0; i < length; i++) {
        attend_backward(dq, dk, dv, q, k, p, i, args);
    }
    for (size_t i = 0; i < length; i++) {
        rotate_back(dq + i * width, args->cosine + i * half, args->sine + i * half, rotary);
        rotate_back(dk + i * width, args->cosine + i * half, args->sine + i * half, rotary);
    }
    free(q);
    free(k);
    free(p);
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

void oracle_gemm_gradient(double *dw, const struct ldar_gemm_gradient_args *args)
{
    for (size_t j = 0; j < args->n; j++) {
        for (size_t c = 0; c < args->k; c++) {
            double sum = 0;
            for (size_t i = 0; i < args->rows; i++) {
                sum += (double)row(args->dc, i, args->dc_stride)[j] * row(args->a, i, args->a_stride)[c];
            }
            dw[j * args->k + c] = row(args->dw, j, args->dw_stride)[c] + sum;
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

/* Where in a row of panels column c of up stands; its gate is panel / 2 further. */
static size_t panel_column(size_t c, size_t panel)
{
    return c / (panel / 2) * panel + c % (panel / 2);
}

void oracle_swiglu_panels(double *out, const float *hidden, size_t rows, size_t width, size_t panel,
                          ptrdiff_t hidden_stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < width; c++) {
            const float *up = row(hidden, i, hidden_stride) + panel_column(c, panel);
            out[i * width + c] = up[0] * oracle_silu(up[panel / 2]);
        }
    }
}

void oracle_swiglu_backward(double *dhidden, const float *dh, const float *hidden, size_t rows, size_t width,
                            size_t panel, ptrdiff_t dh_stride, ptrdiff_t hidden_stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < width; c++) {
            const float *up = row(hidden, i, hidden_stride) + panel_column(c, panel);
            double gradient = row(dh, i, dh_stride)[c];
            dhidden[i * 2 * width + c] = gradient * oracle_silu(up[panel / 2]);
            dhidden[i * 2 * width + width + c] = gradient * up[0] * silu_slope(up[panel / 2]);
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

/* ---- the optimiser ---- */

void oracle_adamw(double *weight, double *moment1, double *moment2, const struct ldar_adamw_args *args)
{
    for (size_t i = 0; i < args->count; i++) {
        double beta1 = args->beta1, beta2 = args->beta2, rate = args->rate;
        double gradient = (double)args->scale * args->gradient[i];
        weight[i] = args->weight[i] * (1 - rate * args->decay);
        moment1[i] = beta1 * args->moment1[i] + (1 - beta1) * gradient;
        moment2[i] = beta2 * args->moment2[i] + (1 - beta2) * gradient * gradient;
        double mean = moment1[i] * args->correction1, variance = moment2[i] * args->correction2;
        weight[i] -= rate * mean / (sqrt(variance) + args->epsilon);
    }
}

double oracle_sum_squares(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * x[i];
    }
    return sum;
}

/* ---- gradients of routing, rows and loss ---- */

/* u = x / max(|x|, 1e-12); returns the divisor. */
static double normalised(double *u, const float *x, size_t width)
{
    double sum = 0;
    for (size_t c = 0; c < width; c++) {
        sum += (double)x[c] * x[c];
    }
    double norm = sqrt(sum) < 1e-12 ? 1e-12 : sqrt(sum);
    for (size_t c = 0; c < width; c++) {
        u[c] = x[c] / norm;
    }
    return norm;
}

/* The gradient of x from that of u = x / |x|, in place: (I - u u^T) du / |x|. */
static void through_norm(double *du, const float *x, size_t width)
{
    double *u = zeros(width), norm = normalised(u, x, width), along = 0;
    for (size_t c = 0; c < width && norm > 1e-12; c++) {
        along += u[c] * du[c];
    }
    for (size_t c = 0; c < width; c++) {
        du[c] = (norm > 1e-12 ? du[c] - along * u[c] : du[c]) / norm;
    }
    free(u);
}

/* prob[i] = (1 - (uq_{i-1} . uk_i + uq_i . uk_{i-1}) / 2) / 2, u normalised: each row meets both its neighbours. */
void oracle_route_backward(double *dq, double *dk, const struct ldar_route_backward_args *args)
{
    const size_t width = args->width;
    double *u = zeros(width);
    for (size_t i = 0; i < args->rows; i++) {
        for (int side = 0; side < 2; side++) {
            if (side == 0 ? i == 0 && !args->before : i + 1 == args->rows && !args->after) {
                continue;
            }
            const ptrdiff_t neighbour = (ptrdiff_t)(side == 0 ? i - 1 : i + 1) * args->stride;
            const double slope = -(double)args->dprob[i + (size_t)side] / 4;
            normalised(u, args->k + neighbour, width);
            for (size_t c = 0; c < width; c++) {
                dq[i * width + c] += slope * u[c];
            }
            normalised(u, args->q + neighbour, width);
            for (size_t c = 0; c < width; c++) {
                dk[i * width + c] += slope * u[c];
            }
        }
        through_norm(dq + i * width, row(args->q, i, args->stride), width);
        through_norm(dk + i * width, row(args->k, i, args->stride), width);
    }
    free(u);
}

/* One column and one direction, by the chain rule of h = h_before + p (x - h_before), step by step backwards. */
static void ema_backward_column(double *dx, double *dprob, const struct ldar_ema_backward_args *args, size_t column,
                                int reverse)
{
    double *h = zeros(args->rows + 1), *p = zeros(args->rows), dh = 0;
    for (size_t step = 0; step < args->rows; step++) {
        size_t i = reverse ? args->rows - 1 - step : step;
        p[step] = args->prob[i];
        p[step] = p[step] < 1e-4 ? 1e-4 : p[step];
        p[step] = p[step] > 1 - 1e-4 ? 1 - 1e-4 : p[step];
        h[step + 1] = (1 - p[step]) * h[step] + p[step] * row(args->x, i, args->x_stride)[column];
    }
    for (size_t step = args->rows; step-- > 0;) {
        size_t i = reverse ? args->rows - 1 - step : step;
        dh += row(args->dout, i, args->dout_stride)[column] / 2.0;
        dx[i * args->width + column] += dh * p[step];
        dprob[i] += dh * (row(args->x, i, args->x_stride)[column] - h[step]);
        dh *= 1 - p[step];
    }
    free(h);
    free(p);
}

void oracle_ema_backward(double *dx, double *dprob, const struct ldar_ema_backward_args *args)
{
    for (size_t c = 0; c < args->width; c++) {
        ema_backward_column(dx, dprob, args, c, 0);
        ema_backward_column(dx, dprob, args, c, 1);
    }
    for (size_t i = 0; i < args->rows; i++) {
        if (args->prob[i] < 1e-4 || args->prob[i] > 1 - 1e-4) {
            dprob[i] = 0;
        }
    }
}

void oracle_expand_backward(double *dx, double *dprob, const float *dout, const float *x, const uint32_t *position,
                            size_t chunks, size_t width, ptrdiff_t dout_stride, ptrdiff_t x_stride)
{
    for (size_t j = 0; j < chunks; j++) {
        for (size_t t = position[j]; t < position[j + 1]; t++) {
            double sum = 0;
            for (size_t c = 0; c < width; c++) {
                dx[j * width + c] += row(dout, t, dout_stride)[c];
                sum += (double)row(dout, t, dout_stride)[c] * row(x, j, x_stride)[c];
            }
            dprob[t] = t == position[j] ? sum : -sum;
        }
    }
}

void oracle_embed_backward(double *dtable, const float *dy, const uint8_t *ids, size_t rows, size_t width,
                           ptrdiff_t dy_stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < width; c++) {
            dtable[ids[i] * width + c] += row(dy, i, dy_stride)[c];
        }
    }
}

void oracle_sum_rows(double *out, const float *x, size_t rows, size_t width, ptrdiff_t x_stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < width; c++) {
            out[c] += row(x, i, x_stride)[c];
        }
    }
}

static double largest_of(const float *z, size_t count)
{
    float largest = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        largest = z[i] > largest ? z[i] : largest;
    }
    return largest;
}

static double sum_of_exponentials(const float *z, size_t first, size_t end, double largest)
{
    double sum = 0;
    for (size_t s = first; s < end; s++) {
        sum += exp(z[s] - largest);
    }
    return sum;
}

void oracle_cross_entropy(double *dlogits, double *loss, const float *logits, const uint8_t *labels, size_t rows,
                          size_t symbols, double scale)
{
    for (size_t i = 0; i < rows; i++) {
        const float *z = logits + i * symbols;
        if (labels[i] == LDAR_NO_LABEL) {
            continue;
        }
        const double largest = largest_of(z, symbols);
        const double sum = sum_of_exponentials(z, 0, symbols, largest);
        for (size_t s = 0; s < symbols; s++) {
            dlogits[i * symbols + s] = scale * exp(z[s] - largest) / sum;
        }
        /* 1 - p of the label, which has no digits of its own near 1 */
        const double others =
            sum_of_exponentials(z, 0, labels[i], largest) + sum_of_exponentials(z, labels[i] + 1U, symbols, largest);
        const double wrong = others / sum;
        dlogits[i * symbols + labels[i]] = scale * -wrong;
        loss[i] = wrong < 0.5 ? -log1p(-wrong) : log(sum) - (z[labels[i]] - largest);
    }
}

void oracle_head_backward(double *dx, double *dweight, const float *dlogits, const float *x, const float *weight,
                          size_t rows, size_t width, size_t symbols, ptrdiff_t x_stride)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t s = 0; s < symbols; s++) {
            double slope = dlogits[i * symbols + s];
            for (size_t c = 0; c < width; c++) {
                dx[i * width + c] += slope * weight[s * width + c];
                dweight[s * width + c] += slope * row(x, i, x_stride)[c];
            }
        }
    }
}
