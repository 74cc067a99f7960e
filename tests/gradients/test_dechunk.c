/* SPDX-License-Identifier: Apache-2.0 */
#include "gradients.h"

/* ---- ema ---- */

struct ema {
    size_t rows, width;
    ptrdiff_t stride;
    double *x, *prob, *out, *dout;
};

static double ema_loss(void *of)
{
    const struct ema *e = of;
    for (int reverse = 0; reverse < 2; reverse++) {
        ldar_kernels_real.ema(e->out, e->x, e->prob, e->rows, e->width, reverse, e->stride, e->stride);
    }
    return gradients_dot(e->out, e->dout, e->rows * (size_t)e->stride);
}

static void ema_check(size_t rows, size_t width, double low, double high)
{
    check_case("ema rows %zu width %zu p %g..%g", rows, width, low, high);
    struct ema e = {.rows = rows, .width = width, .stride = (ptrdiff_t)width + 2};
    const size_t count = rows * (size_t)e.stride;
    e.x = gradients_normal(count);
    e.prob = gradients_uniform(rows, low, high);
    e.out = gradients_zeros(count);
    e.dout = gradients_normal(count);
    if (rows) {
        e.prob[0] = 1;
        e.prob[rows / 2] = 0;
    }
    double *dx = gradients_zeros(count), *dprob = gradients_zeros(rows);
    ldar_kernels_real.ema_backward(
        &(struct ldar_ema_backward_args){.dx = dx,
                                         .dprob = dprob,
                                         .dout = e.dout,
                                         .x = e.x,
                                         .prob = e.prob,
                                         .rows = rows,
                                         .width = width,
                                         .dx_stride = e.stride,
                                         .dout_stride = e.stride,
                                         .x_stride = e.stride,
                                         .scratch = gradients_zeros(rows * ((width + 15) / 16 * 16))});
    gradients_check("x", e.x, count, dx, ema_loss, &e);
    gradients_check("prob", e.prob, rows, dprob, ema_loss, &e);
    gradients_end();
}

/* ---- expand ---- */

/* The gate is 1 whatever p is, and has the slope of what was selected: p at the first row of a chunk, else 1 - p. */
struct expand {
    size_t rows, chunks, width;
    ptrdiff_t stride;
    double *x, *bias, *prob, *prob_then, *out, *dout;
    uint32_t *position, *index;
};

static double expand_loss(void *of)
{
    const struct expand *e = of;
    ldar_kernels_real.expand(e->out, e->x, e->bias, e->index, e->rows, e->width, e->stride, e->stride);
    double sum = 0;
    for (size_t row = 0; row < e->rows; row++) {
        const double moved = e->prob[row] - e->prob_then[row];
        const double gate = e->position[e->index[row]] == row ? 1 + moved : 1 - moved;
        const ptrdiff_t at = (ptrdiff_t)row * e->stride;
        sum += gate * gradients_dot(e->out + at, e->dout + at, e->width);
    }
    return sum;
}

/* Chunks of 1 to `longest` rows. */
static void expand_check(size_t chunks, size_t width, size_t longest)
{
    check_case("expand chunks %zu width %zu of up to %zu rows", chunks, width, longest);
    uint32_t position[64], index[64 * 16];
    struct expand e = {
        .chunks = chunks, .width = width, .stride = (ptrdiff_t)width + 1, .position = position, .index = index};
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        position[chunk] = (uint32_t)e.rows;
        for (size_t end = e.rows + 1 + random_below(&gradients_random, longest); e.rows < end; e.rows++) {
            index[e.rows] = (uint32_t)chunk;
        }
    }
    position[chunks] = (uint32_t)e.rows;
    e.x = gradients_normal(chunks * (size_t)e.stride);
    e.bias = gradients_zeros(width);
    e.prob = gradients_uniform(e.rows, 0, 1);
    e.prob_then = gradients_zeros(e.rows);
    memcpy(e.prob_then, e.prob, e.rows * sizeof *e.prob);
    e.out = gradients_zeros(e.rows * (size_t)e.stride);
    e.dout = gradients_normal(e.rows * (size_t)e.stride);
    double *dx = gradients_zeros(chunks * (size_t)e.stride), *dprob = gradients_zeros(e.rows);
    ldar_kernels_real.expand_backward(dx, dprob, e.dout, e.x, e.position, chunks, width, e.stride, e.stride, e.stride);
    gradients_check("x", e.x, chunks * (size_t)e.stride, dx, expand_loss, &e);
    gradients_check("prob", e.prob, e.rows, dprob, expand_loss, &e);
    gradients_end();
}

void gradients_dechunk(void)
{
    ema_check(1, 5, 0.1, 0.9);
    for (size_t rows = 2; rows <= 9; rows++) {
        ema_check(rows, 3 + rows, 0.05, 0.95);
    }
    ema_check(50, 18, 0.001, 0.1);
    for (size_t longest = 1; longest <= 16; longest *= 2) {
        expand_check(1, 9, longest);
        expand_check(20, 10, longest);
    }
}
