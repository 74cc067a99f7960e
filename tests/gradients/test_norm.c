/* SPDX-License-Identifier: Apache-2.0 */
#include "gradients.h"

static const double eps = 1e-5;

/* ---- rms_norm ---- */

struct norm {
    size_t rows, width;
    ptrdiff_t stride;
    double *out, *dout, *x, *weight;
};

static double norm_loss(void *of)
{
    const struct norm *n = of;
    ldar_kernels_real.rms_norm(n->out, n->x, n->weight, n->rows, n->width, eps, n->stride, n->stride);
    return gradients_dot(n->out, n->dout, n->rows * (size_t)n->stride);
}

/* Zeroes what lies between the rows. */
static double *rows_only(double *x, size_t rows, size_t width, ptrdiff_t stride)
{
    for (size_t i = 0; i < rows * (size_t)stride; i++) {
        x[i] = i % (size_t)stride < width ? x[i] : 0;
    }
    return x;
}

static void check_norm(size_t rows, size_t width, size_t gap)
{
    const size_t stride = width + gap, count = rows * stride;
    check_case("rms_norm, rows %zu width %zu", rows, width);
    struct norm n = {.rows = rows,
                     .width = width,
                     .stride = (ptrdiff_t)stride,
                     .out = gradients_zeros(count),
                     .dout = rows_only(gradients_normal(count), rows, width, (ptrdiff_t)stride),
                     .x = gradients_normal(count),
                     .weight = gradients_normal(width)};
    double *dx = gradients_zeros(count), *dweight = gradients_zeros(width);
    ldar_kernels_real.rms_norm_backward(dx, dweight, n.dout, n.x, n.weight, rows, width, eps, n.stride, n.stride,
                                        n.stride);
    gradients_check("x", n.x, count, dx, norm_loss, &n);
    gradients_check("weight", n.weight, width, dweight, norm_loss, &n);
    gradients_end();
}

/* ---- gated_norm ---- */

struct gated {
    struct ldar_gated_norm_args args;
    double *out, *dout, *z, *y[2], *weight[2];
};

static double gated_loss(void *of)
{
    const struct gated *g = of;
    ldar_kernels_real.gated_norm(&g->args);
    return gradients_dot(g->out, g->dout, g->args.rows * g->args.width);
}

static struct gated gated_new(size_t rows, size_t width)
{
    const size_t count = rows * width;
    struct gated g = {.out = gradients_zeros(count), .dout = gradients_normal(count), .z = gradients_normal(count)};
    g.args = (struct ldar_gated_norm_args){.out = g.out,
                                           .z = g.z,
                                           .eps = eps,
                                           .rows = rows,
                                           .width = width,
                                           .out_stride = (ptrdiff_t)width,
                                           .z_stride = (ptrdiff_t)width,
                                           .scratch = gradients_zeros(2 * width)};
    for (int j = 0; j < 2; j++) {
        g.args.y[j] = g.y[j] = gradients_normal(count);
        g.args.weight[j] = g.weight[j] = gradients_normal(width);
        g.args.y_stride[j] = (ptrdiff_t)width;
    }
    return g;
}

static void check_gated(size_t rows, size_t width)
{
    const size_t count = rows * width;
    const ptrdiff_t stride = (ptrdiff_t)width;
    check_case("gated_norm, rows %zu width %zu", rows, width);
    struct gated g = gated_new(rows, width);
    double *dz = gradients_zeros(count), *dy[2] = {gradients_zeros(count), gradients_zeros(count)};
    double *dweight[2] = {gradients_zeros(width), gradients_zeros(width)};
    ldar_kernels_real.gated_norm_backward(
        &(struct ldar_gated_norm_backward_args){.out = gradients_zeros(count),
                                                .dz = dz,
                                                .dy = {dy[0], dy[1]},
                                                .dweight = {dweight[0], dweight[1]},
                                                .dout = g.dout,
                                                .z = g.z,
                                                .y = {g.y[0], g.y[1]},
                                                .weight = {g.weight[0], g.weight[1]},
                                                .eps = eps,
                                                .rows = rows,
                                                .width = width,
                                                .out_stride = stride,
                                                .dz_stride = stride,
                                                .dout_stride = stride,
                                                .z_stride = stride,
                                                .y_stride = {stride, stride},
                                                .scratch = gradients_zeros(2 * width)});
    gradients_check("z", g.z, count, dz, gated_loss, &g);
    for (int j = 0; j < 2; j++) {
        gradients_check(j ? "y[1]" : "y[0]", g.y[j], count, dy[j], gated_loss, &g);
        gradients_check(j ? "weight[1]" : "weight[0]", g.weight[j], width, dweight[j], gated_loss, &g);
    }
    gradients_end();
}

void gradients_norm(void)
{
    for (size_t rows = 1; rows < 10; rows++) {
        check_norm(rows, 3 + 7 * rows, rows % 3);
        check_gated(rows, 2 + 5 * rows);
    }
}
