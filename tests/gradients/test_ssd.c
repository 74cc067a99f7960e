/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include "gradients.h"

enum { P = LDAR_HEAD, TAPS = LDAR_CONV_TAPS, ROOM = TAPS - 1 };

/* What the scan reads through a convolution: (length, width), its taps and bias; and the gradient of its sums. */
struct input {
    double *at, *weight, *bias, *gradient;
    size_t width;
};

struct scan {
    struct ldar_ssd_args args;
    struct ldar_ssd_backward_args back;
    struct input x, b, c;
    double *dt, *dt_bias, *a, *d;
    size_t length, heads, state;
};

/* A sum of thousands of outputs of which a difference of 1e-6 is wanted. */
static double loss(void *of)
{
    const struct scan *s = of;
    ldar_kernels_real.ssd_scan(&s->args);
    const double *y = s->args.y, *dy = s->back.dy;
    long double sum = 0;
    for (size_t i = 0; i < s->length * s->heads * P; i++) {
        sum += (long double)y[i] * dy[i];
    }
    return (double)sum;
}

static struct input input_new(size_t length, size_t width, size_t conv_stride)
{
    return (struct input){.at = gradients_normal(length * width),
                          .weight = gradients_uniform(TAPS * conv_stride, -1, 1),
                          .bias = gradients_normal(width),
                          .gradient = gradients_zeros(length * width),
                          .width = width};
}

/* With `turned` the scan runs from the last row to the first. */
static struct scan scan_new(size_t length, size_t heads, size_t state, bool plain, bool turned)
{
    const size_t inner = heads * P, stride = inner > state ? inner : state;
    const size_t spans = (length - 1) / LDAR_SSD_SPAN;
    const size_t last = turned ? length - 1 : 0;
    const ptrdiff_t sign = turned ? -1 : 1;
    struct scan s = {.length = length, .heads = heads, .state = state};
    s.x = input_new(length, inner, stride), s.b = input_new(length, state, stride);
    s.c = input_new(length, state, stride);
    s.dt = plain ? gradients_uniform(length * heads, 0.01, 0.1) : gradients_uniform(length * heads, -2, 2);
    s.dt_bias = gradients_uniform(heads, -5, -2);
    s.a = gradients_uniform(heads, -16, -0.1);
    s.d = gradients_normal(heads);
    double *states = gradients_zeros(spans * heads * ldar_ssd_state(state));
    s.args = (struct ldar_ssd_args){.y = gradients_zeros(length * inner),
                                    .states = states,
                                    .x = s.x.at + last * inner,
                                    .b = s.b.at + last * state,
                                    .c = s.c.at + last * state,
                                    .dt = s.dt + last * heads,
                                    .a = s.a,
                                    .d = s.d,
                                    .length = length,
                                    .heads = heads,
                                    .state = state,
                                    .width = P,
                                    .y_stride = (ptrdiff_t)inner,
                                    .x_stride = sign * (ptrdiff_t)inner,
                                    .bc_stride = sign * (ptrdiff_t)state,
                                    .dt_stride = sign * (ptrdiff_t)heads,
                                    .conv_stride = (ptrdiff_t)stride,
                                    .states_stride = (ptrdiff_t)(heads * ldar_ssd_state(state)),
                                    .scratch = gradients_zeros(ldar_ssd_scratch(heads, state))};
    if (!plain) {
        s.args.conv_weight_x = s.x.weight, s.args.conv_bias_x = s.x.bias;
        s.args.conv_weight_b = s.b.weight, s.args.conv_bias_b = s.b.bias;
        s.args.conv_weight_c = s.c.weight, s.args.conv_bias_c = s.c.bias;
        s.args.dt_bias = s.dt_bias;
    }
    return s;
}

/* The backward kernel; its rows are in the order of the scan, as those of y. */
static void scan_backward(struct scan *s)
{
    const size_t inner = s->heads * P;
    s->back = (struct ldar_ssd_backward_args){.dx = s->x.gradient,
                                              .db = s->b.gradient,
                                              .dc = s->c.gradient,
                                              .ddt = gradients_zeros(s->length * s->heads),
                                              .da = gradients_zeros(s->heads),
                                              .dd = gradients_zeros(s->heads),
                                              .ddt_bias = gradients_zeros(s->heads),
                                              .dy = gradients_normal(s->length * inner),
                                              .x = s->args.x,
                                              .b = s->args.b,
                                              .c = s->args.c,
                                              .dt = s->args.dt,
                                              .conv_weight_x = s->args.conv_weight_x,
                                              .conv_weight_b = s->args.conv_weight_b,
                                              .conv_weight_c = s->args.conv_weight_c,
                                              .conv_bias_x = s->args.conv_bias_x,
                                              .conv_bias_b = s->args.conv_bias_b,
                                              .conv_bias_c = s->args.conv_bias_c,
                                              .dt_bias = s->args.dt_bias,
                                              .a = s->a,
                                              .d = s->d,
                                              .states = s->args.states,
                                              .length = s->length,
                                              .heads = s->heads,
                                              .state = s->state,
                                              .dbc_stride = (ptrdiff_t)s->state,
                                              .ddt_stride = (ptrdiff_t)s->heads,
                                              .dy_stride = (ptrdiff_t)inner,
                                              .x_stride = s->args.x_stride,
                                              .bc_stride = s->args.bc_stride,
                                              .dt_stride = s->args.dt_stride,
                                              .conv_stride = s->args.conv_stride,
                                              .states_stride = s->args.states_stride};
    s->back.scratch = gradients_zeros(ldar_ssd_backward_scratch(s->heads, s->state));
    ldar_kernels_real.ssd_scan(&s->args);
    ldar_kernels_real.ssd_backward(&s->back);
}

static size_t row_of(const struct scan *s, size_t t)
{
    return s->args.x_stride < 0 ? s->length - 1 - t : t;
}

/* From the gradient of the convolution's sums to those of what it reads, of its taps and of its bias. */
static void check_input(const char *name, struct scan *s, struct input *in, size_t samples)
{
    const size_t width = in->width, stride = (size_t)s->args.conv_stride;
    double *dx = gradients_zeros(s->length * width), *dweight = gradients_zeros(TAPS * stride);
    double *dbias = gradients_zeros(width);
    for (size_t t = 0; t < s->length; t++) {
        for (size_t c = 0; c < width; c++) {
            const double sum = in->gradient[t * width + c];
            dbias[c] += sum;
            if (!s->args.conv_weight_x) {
                dx[row_of(s, t) * width + c] = sum;
            }
            for (size_t k = 0; k < TAPS && s->args.conv_weight_x; k++) {
                if (t + k < ROOM) {
                    continue;
                }
                const size_t at = row_of(s, t + k - ROOM) * width + c;
                dx[at] += in->weight[k * stride + c] * sum;
                dweight[k * stride + c] += in->at[at] * sum;
            }
        }
    }
    check_case("%s of %zu tokens, %zu heads, state %zu", name, s->length, s->heads, s->state);
    gradients_check_some(name, in->at, s->length * width, dx, loss, s, samples);
    if (s->args.conv_weight_x) {
        gradients_check_some("taps", in->weight, TAPS * stride, dweight, loss, s, samples);
        gradients_check_some("bias", in->bias, width, dbias, loss, s, samples);
    }
}

/* The gradient of a step is by tokens in the order of the scan. */
static void check_steps(struct scan *s, size_t samples)
{
    double *ddt = gradients_zeros(s->length * s->heads);
    for (size_t t = 0; t < s->length; t++) {
        memcpy(ddt + row_of(s, t) * s->heads, s->back.ddt + t * s->heads, s->heads * sizeof *ddt);
    }
    gradients_check_some("dt", s->dt, s->length * s->heads, ddt, loss, s, samples);
    gradients_check("a", s->a, s->heads, s->back.da, loss, s);
    gradients_check("d", s->d, s->heads, s->back.dd, loss, s);
    if (s->args.dt_bias) {
        gradients_check("dt_bias", s->dt_bias, s->heads, s->back.ddt_bias, loss, s);
    }
}

static void check(size_t length, size_t heads, size_t state, size_t samples)
{
    for (int plain = 0; plain < 2; plain++) {
        for (int turned = 0; turned < 2; turned++) {
            struct scan s = scan_new(length, heads, state, plain, turned);
            scan_backward(&s);
            check_input("x", &s, &s.x, samples);
            check_input("b", &s, &s.b, samples);
            check_input("c", &s, &s.c, samples);
            check_steps(&s, samples);
            gradients_end();
        }
    }
}

void gradients_ssd(void)
{
    static const size_t lengths[] = {1, 2, 3, 7, 63, 64, 65, 127, 128, 130, 200};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        check(lengths[i], 1 + i % 3, i % 2 ? 20 : 7, 40);
    }
    check(66, 2, 33, 100);
    check(LDAR_SSD_SPAN + 1, 1, 3, 10);
    check(2 * LDAR_SSD_SPAN + 70, 1, 5, 10);
}
