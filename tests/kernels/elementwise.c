/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise.h"

#include "kit/measure.h"
#include "oracle/oracle.h"

#include <math.h>
#include <string.h>

#define FUNCTION(name)                                                                                                 \
    static elementwise_kernel *kernel_##name(const struct ldar_kernels *kernels)                                       \
    {                                                                                                                  \
        return kernels->name;                                                                                          \
    }
FUNCTION(exp)
FUNCTION(sigmoid)
FUNCTION(silu)
FUNCTION(softplus)
#undef FUNCTION

static const struct elementwise functions[] = {
    {"exp", kernel_exp, oracle_exp, 1.5, true},
    {"sigmoid", kernel_sigmoid, oracle_sigmoid, 3, false},
    {"silu", kernel_silu, oracle_silu, 3, false},
    {"softplus", kernel_softplus, oracle_softplus, 3, false},
};

const struct elementwise *elementwise_find(const char *name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (strcmp(functions[i].name, name) == 0) {
            return &functions[i];
        }
    }
    return NULL;
}

double elementwise_error(const struct elementwise *f, float x, float got)
{
    double expected = f->reference(x);
    if (fabs(expected) < 0x1p-120) {
        return fabs(got - expected) <= 0x1p-120 ? 0 : INFINITY;
    }
    return ulp_error(got, expected);
}
