/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KERNELS_ELEMENTWISE_H
#define LDAR_TESTS_KERNELS_ELEMENTWISE_H

#include "simd/kernels.h"

#include <stdbool.h>
#include <stddef.h>

typedef void elementwise_kernel(float *out, const float *x, size_t n);

/* An elementwise kernel, its reference and how far it may lie from it. */
struct elementwise {
    const char *name;
    elementwise_kernel *(*kernel)(const struct ldar_kernels *kernels);
    double (*reference)(double x);
    double ulps;
    bool monotone;
};

/* NULL when no elementwise kernel is called that. */
const struct elementwise *elementwise_find(const char *name);

/*
 * Error of got = f(x) in units in the last place. Below 2^-120 results may lose digits, up to 2^-120 in all, because a
 * factor may have been flushed to zero: then the error counts as 0 or as infinite.
 */
double elementwise_error(const struct elementwise *f, float x, float got);

#endif
