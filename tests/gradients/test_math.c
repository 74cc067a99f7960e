/* SPDX-License-Identifier: Apache-2.0 */
/* The elementary functions, whose derivatives are known by heart: a test of the checker as much as of them. */
#include "gradients.h"

enum { COUNT = 200 };

struct elementwise {
    void (*function)(double *out, const double *x, size_t n);
    double *out, *x, *dout;
};

static double loss(void *of)
{
    const struct elementwise *e = of;
    e->function(e->out, e->x, COUNT);
    return gradients_dot(e->out, e->dout, COUNT);
}

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

static double slope_of_silu(double x)
{
    return logistic(x) * (1 + x * (1 - logistic(x)));
}

static double slope_of_sigmoid(double x)
{
    return logistic(x) * (1 - logistic(x));
}

static void check(const char *name, void (*function)(double *out, const double *x, size_t n), double (*slope)(double x))
{
    check_case("%s", name);
    struct elementwise e = {.function = function,
                            .out = gradients_zeros(COUNT),
                            .x = gradients_uniform(COUNT, -5, 5),
                            .dout = gradients_normal(COUNT)};
    double *dx = gradients_zeros(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        dx[i] = slope(e.x[i]) * e.dout[i];
    }
    gradients_check("x", e.x, COUNT, dx, loss, &e);
    gradients_end();
}

void gradients_math(void)
{
    check("exp", ldar_kernels_real.exp, exp);
    check("sigmoid", ldar_kernels_real.sigmoid, slope_of_sigmoid);
    check("silu", ldar_kernels_real.silu, slope_of_silu);
    check("softplus", ldar_kernels_real.softplus, logistic);
}
