/* SPDX-License-Identifier: Apache-2.0 */
#include "gradients.h"

struct swiglu {
    size_t rows, width;
    double *out, *dout, *hidden;
};

static double loss(void *of)
{
    const struct swiglu *s = of;
    ldar_kernels_real.swiglu_panels(s->out, s->hidden, s->rows, s->width, (ptrdiff_t)s->width,
                                    (ptrdiff_t)(2 * s->width));
    return gradients_dot(s->out, s->dout, s->rows * s->width);
}

/* The gradient in the order of hidden: it comes with all of up first. */
static double *in_panels(const double *dhidden, size_t rows, size_t width)
{
    const size_t half = ldar_kernels_real.panel / 2;
    double *panels = gradients_zeros(rows * 2 * width);
    for (size_t i = 0; i < rows * 2 * width; i++) {
        const size_t column = i % (2 * width), c = column % width;
        panels[i - column + c / half * 2 * half + c % half + (column < width ? 0 : half)] = dhidden[i];
    }
    return panels;
}

static void check(size_t rows, size_t halves)
{
    const size_t width = halves * (ldar_kernels_real.panel / 2), count = rows * width;
    const ptrdiff_t stride = (ptrdiff_t)width;
    check_case("swiglu, rows %zu width %zu", rows, width);
    struct swiglu s = {.rows = rows,
                       .width = width,
                       .out = gradients_zeros(count),
                       .dout = gradients_normal(count),
                       .hidden = gradients_normal(2 * count)};
    double *dhidden = gradients_zeros(2 * count);
    ldar_kernels_real.swiglu_backward(gradients_zeros(count), dhidden, s.dout, s.hidden, rows, width, stride,
                                      2 * stride, stride, 2 * stride);
    gradients_check("hidden", s.hidden, 2 * count, in_panels(dhidden, rows, width), loss, &s);
    gradients_end();
}

void gradients_act(void)
{
    for (size_t rows = 1; rows < 8; rows++) {
        check(rows, 1 + rows % 4);
    }
}
