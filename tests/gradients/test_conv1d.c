/* SPDX-License-Identifier: Apache-2.0 */
/* Both directions of a layer's convolution, over the same x. */
#include "gradients.h"

enum { CHANNELS = 3, COUNT = LDAR_CONV_TAPS * CHANNELS };

struct conv {
    size_t rows;
    double *out[2], *dout[2], *x, *weight[2], *bias[2];
};

/* Right to left, all rows of x and of the output are walked from the last one. */
static void forward(const struct conv *c, int direction)
{
    const size_t last = (c->rows - 1) * CHANNELS;
    ldar_kernels_real.conv1d_silu(&(struct ldar_conv1d_args){.out = c->out[direction] + (direction ? last : 0),
                                                             .x = c->x + (direction ? last : 0),
                                                             .weight = c->weight[direction],
                                                             .bias = c->bias[direction],
                                                             .rows = c->rows,
                                                             .channels = CHANNELS,
                                                             .out_stride = direction ? -CHANNELS : CHANNELS,
                                                             .x_stride = direction ? -CHANNELS : CHANNELS,
                                                             .weight_stride = CHANNELS});
}

static double loss(void *of)
{
    const struct conv *c = of;
    double sum = 0;
    for (int direction = 0; direction < 2; direction++) {
        forward(c, direction);
        sum += gradients_dot(c->out[direction], c->dout[direction], c->rows * CHANNELS);
    }
    return sum;
}

/* The sum that the convolution puts through silu, in the order of the sequence. */
static double sum_at(const struct conv *c, int direction, size_t t, size_t channel)
{
    double sum = c->bias[direction][channel];
    for (size_t k = 0; k < LDAR_CONV_TAPS; k++) {
        const ptrdiff_t from = direction ? (ptrdiff_t)(t + 3 - k) : (ptrdiff_t)(t + k) - 3;
        if (from >= 0 && from < (ptrdiff_t)c->rows) {
            sum += c->weight[direction][k * CHANNELS + channel] * c->x[from * CHANNELS + (ptrdiff_t)channel];
        }
    }
    return sum;
}

/* dsum, in `parts` parts that are drawn at random but for their sum. */
static double *split_gradient(const struct conv *c, int direction, size_t parts)
{
    const size_t count = c->rows * CHANNELS;
    double *dsum = gradients_normal(parts * count);
    for (size_t i = 0; i < count; i++) {
        const double s = sum_at(c, direction, i / CHANNELS, i % CHANNELS), logistic = 1 / (1 + exp(-s));
        dsum[i] = c->dout[direction][i] * logistic * (1 + s * (1 - logistic));
        for (size_t part = 1; part < parts; part++) {
            dsum[i] -= dsum[part * count + i];
        }
    }
    return dsum;
}

static struct conv conv_new(size_t rows)
{
    struct conv c = {.rows = rows, .x = gradients_normal(rows * CHANNELS)};
    for (int j = 0; j < 2; j++) {
        c.out[j] = gradients_zeros(rows * CHANNELS), c.dout[j] = gradients_normal(rows * CHANNELS);
        c.weight[j] = gradients_normal(COUNT), c.bias[j] = gradients_normal(CHANNELS);
    }
    return c;
}

static void check(size_t rows, size_t parts)
{
    check_case("rows %zu parts %zu", rows, parts);
    struct conv c = conv_new(rows);
    double *dx = gradients_zeros(rows * CHANNELS);
    double *dweight[2] = {gradients_zeros(COUNT), gradients_zeros(COUNT)};
    double *dbias[2] = {gradients_zeros(CHANNELS), gradients_zeros(CHANNELS)};
    ldar_kernels_real.conv1d_backward(
        &(struct ldar_conv1d_backward_args){.dx = dx,
                                            .dweight = {dweight[0], dweight[1]},
                                            .dbias = {dbias[0], dbias[1]},
                                            .dsum = {split_gradient(&c, 0, parts), split_gradient(&c, 1, parts)},
                                            .x = c.x,
                                            .weight = {c.weight[0], c.weight[1]},
                                            .parts = parts,
                                            .rows = rows,
                                            .channels = CHANNELS,
                                            .part_stride = (ptrdiff_t)(rows * CHANNELS),
                                            .dx_stride = CHANNELS,
                                            .dsum_stride = CHANNELS,
                                            .x_stride = CHANNELS,
                                            .weight_stride = CHANNELS,
                                            .dweight_stride = CHANNELS});
    gradients_check("x", c.x, rows * CHANNELS, dx, loss, &c);
    for (int j = 0; j < 2; j++) {
        /* a sequence of fewer rows than taps never meets the outer ones */
        const size_t met = rows < LDAR_CONV_TAPS ? rows : LDAR_CONV_TAPS, skipped = (LDAR_CONV_TAPS - met) * CHANNELS;
        gradients_check(j ? "weight[1]" : "weight[0]", c.weight[j] + skipped, met * CHANNELS, dweight[j] + skipped,
                        loss, &c);
        gradients_check(j ? "bias[1]" : "bias[0]", c.bias[j], CHANNELS, dbias[j], loss, &c);
    }
    gradients_end();
}

void gradients_conv1d(void)
{
    for (size_t rows = 1; rows < 14; rows++) {
        check(rows, 1 + rows % 3);
    }
    check(131, 2); /* more than one stretch */
}
