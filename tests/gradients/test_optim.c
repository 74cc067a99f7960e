/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the optimiser takes a gradient for. Its first step, without decay, goes down by the rate wherever the gradient
 * is far above epsilon: there the step has the slope 0, and where it is far below, the slope of rate / epsilon.
 */
#include "gradients.h"

enum { COUNT = 100 };

static const double rate = 0.01, epsilon = 2, beta1 = 0.9, beta2 = 0.999;

struct descent {
    double *weight, *gradient, *direction;
};

/* The weights after one step from zero, along some direction. */
static double moved(void *of)
{
    const struct descent *d = of;
    double moment1[COUNT] = {0}, moment2[COUNT] = {0};
    memset(d->weight, 0, COUNT * sizeof *d->weight);
    ldar_kernels_real.adamw(&(struct ldar_adamw_args){.weight = d->weight,
                                                      .moment1 = moment1,
                                                      .moment2 = moment2,
                                                      .gradient = d->gradient,
                                                      .count = COUNT,
                                                      .scale = 1,
                                                      .rate = rate,
                                                      .beta1 = beta1,
                                                      .beta2 = beta2,
                                                      .correction1 = 1 / (1 - beta1),
                                                      .correction2 = 1 / (1 - beta2),
                                                      .epsilon = epsilon});
    return gradients_dot(d->weight, d->direction, COUNT);
}

/* d/dg of -rate g / (|g| + epsilon) */
static void check_adamw(void)
{
    check_case("adamw");
    struct descent d = {.weight = gradients_zeros(COUNT),
                        .gradient = gradients_uniform(COUNT, 0.1, 5),
                        .direction = gradients_normal(COUNT)};
    double *slope = gradients_zeros(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        d.gradient[i] *= i % 2 ? -1 : 1;
        slope[i] = -rate * epsilon / pow(fabs(d.gradient[i]) + epsilon, 2) * d.direction[i];
    }
    gradients_check("gradient", d.gradient, COUNT, slope, moved, &d);
    gradients_end();
}

static double squares(void *of)
{
    double sum;
    ldar_kernels_real.sum_squares(&sum, of, COUNT);
    return sum;
}

static void check_sum_squares(void)
{
    check_case("sum_squares");
    double *x = gradients_normal(COUNT), *dx = gradients_zeros(COUNT);
    ldar_kernels_real.add(dx, x, COUNT);
    ldar_kernels_real.add(dx, x, COUNT);
    gradients_check("x", x, COUNT, dx, squares, x);
    gradients_end();
}

void gradients_optim(void)
{
    check_adamw();
    check_sum_squares();
}
