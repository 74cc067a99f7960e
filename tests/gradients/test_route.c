/* SPDX-License-Identifier: Apache-2.0 */
#include "gradients.h"

/* A sequence of `length` rows; its gradient is found in two calls, of the first `cut` rows and of the rest. */
struct route {
    size_t length, width, cut;
    ptrdiff_t stride;
    double *q, *k, *prob, *dprob;
};

static double loss(void *of)
{
    const struct route *r = of;
    ldar_kernels_real.route(r->prob, r->q, r->k, r->length, r->width, 0, r->stride);
    return gradients_dot(r->prob, r->dprob, r->length);
}

static void backward(const struct route *r, double *dq, double *dk, size_t first, size_t end)
{
    const ptrdiff_t at = (ptrdiff_t)first * r->stride;
    ldar_kernels_real.route_backward(&(struct ldar_route_backward_args){.dq = dq + at,
                                                                        .dk = dk + at,
                                                                        .dprob = r->dprob + first,
                                                                        .q = r->q + at,
                                                                        .k = r->k + at,
                                                                        .rows = end - first,
                                                                        .width = r->width,
                                                                        .before = first > 0,
                                                                        .after = end < r->length,
                                                                        .gradient_stride = r->stride,
                                                                        .stride = r->stride});
}

static void check(size_t length, size_t width, size_t cut)
{
    check_case("length %zu width %zu cut %zu", length, width, cut);
    struct route r = {.length = length, .width = width, .cut = cut, .stride = (ptrdiff_t)width + 3};
    const size_t count = length * (size_t)r.stride;
    r.q = gradients_normal(count);
    r.k = gradients_normal(count);
    r.prob = gradients_zeros(length);
    r.dprob = gradients_normal(length);
    double *dq = gradients_zeros(count), *dk = gradients_zeros(count);
    backward(&r, dq, dk, 0, cut);
    backward(&r, dq, dk, cut, length);
    gradients_check("q", r.q, count, dq, loss, &r);
    gradients_check("k", r.k, count, dk, loss, &r);
    gradients_end();
}

void gradients_route(void)
{
    for (size_t length = 2; length <= 9; length++) {
        check(length, 24, 0);
        check(length, 33, length / 2);
    }
    check(40, 7, 39);
    check(40, 16, 1);
}
