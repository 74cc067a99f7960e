/* SPDX-License-Identifier: Apache-2.0 */
#include "gradients.h"

struct head {
    struct ldar_attention_args args;
    double *q, *k, *v, *out, *dout, *log_sum;
};

static void forward(struct head *h)
{
    for (size_t first = 0; first < h->args.length; first += LDAR_ATTENTION_QUERIES) {
        const size_t left = h->args.length - first;
        h->args.first = first;
        h->args.queries = left < LDAR_ATTENTION_QUERIES ? left : LDAR_ATTENTION_QUERIES;
        ldar_kernels_real.attention(&h->args);
    }
}

static double loss(void *of)
{
    struct head *h = of;
    forward(h);
    return gradients_dot(h->out, h->dout, h->args.length * h->args.width);
}

static struct head head_of(size_t length, size_t width, size_t rotary, ptrdiff_t window)
{
    const size_t half = rotary / 2;
    struct head h = {.q = gradients_normal(length * width),
                     .k = gradients_normal(length * width),
                     .v = gradients_normal(length * width),
                     .out = gradients_zeros(length * width),
                     .dout = gradients_normal(length * width),
                     .log_sum = gradients_zeros(length)};
    double *cosine = gradients_zeros(length * half), *sine = gradients_zeros(length * half);
    for (size_t i = 0; i < length * half; i++) {
        const double angle = (double)(i / half) / (1 + (double)(i % half));
        cosine[i] = cos(angle), sine[i] = sin(angle);
    }
    h.args = (struct ldar_attention_args){.out = h.out,
                                          .q = h.q,
                                          .k = h.k,
                                          .v = h.v,
                                          .cosine = cosine,
                                          .sine = sine,
                                          .length = length,
                                          .width = width,
                                          .rotary = rotary,
                                          .window = window,
                                          .stride = (ptrdiff_t)width,
                                          .out_stride = (ptrdiff_t)width,
                                          .scale = 0.6,
                                          .log_sum = h.log_sum,
                                          .scratch = gradients_zeros(ldar_attention_scratch(width))};
    return h;
}

static void check(size_t length, size_t width, size_t rotary, ptrdiff_t window, size_t samples)
{
    const size_t count = length * width;
    check_case("length %zu width %zu rotary %zu window %td", length, width, rotary, window);
    struct head h = head_of(length, width, rotary, window);
    double *dq = gradients_zeros(count), *dk = gradients_zeros(count), *dv = gradients_zeros(count);
    forward(&h);
    ldar_kernels_real.attention_backward(&(struct ldar_attention_backward_args){
        .dq = dq,
        .dk = dk,
        .dv = dv,
        .dout = h.dout,
        .q = h.q,
        .k = h.k,
        .v = h.v,
        .out = h.out,
        .log_sum = h.log_sum,
        .cosine = h.args.cosine,
        .sine = h.args.sine,
        .length = length,
        .width = width,
        .rotary = rotary,
        .window = window,
        .stride = (ptrdiff_t)width,
        .out_stride = (ptrdiff_t)width,
        .dout_stride = (ptrdiff_t)width,
        .gradient_stride = (ptrdiff_t)width,
        .scale = h.args.scale,
        .scratch = gradients_zeros(ldar_attention_backward_scratch(length, width))});
    gradients_check_some("q", h.q, count, dq, loss, &h, samples);
    gradients_check_some("k", h.k, count, dk, loss, &h, samples);
    gradients_check_some("v", h.v, count, dv, loss, &h, samples);
    gradients_end();
}

void gradients_attention(void)
{
    check(2, 2, 2, -1, 10);
    check(7, 5, 4, -1, 100);
    check(20, 33, 10, 3, 300);
    check(50, 8, 0, 1, 100);
    check(LDAR_ATTENTION_BACKWARD_KEYS + 5, 6, 6, 30, 100);
    check(3 * LDAR_ATTENTION_BACKWARD_KEYS, 4, 2, -1, 30);
}
