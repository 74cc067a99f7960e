/* SPDX-License-Identifier: Apache-2.0 */
/* c = a w^T: the gradient of a by gemm_pack_transposed and gemm, that of w by gemm_gradient. */
#include "gradients.h"

struct product {
    size_t rows, n, k;
    double *c, *a, *w, *packed, *dc;
};

static void multiply(const struct product *p, double *c, const double *a, size_t n, size_t k)
{
    ldar_kernels_real.gemm(&(struct ldar_gemm_args){.c = c,
                                                    .a = a,
                                                    .packed = p->packed,
                                                    .rows = p->rows,
                                                    .n = n,
                                                    .k = k,
                                                    .c_stride = (ptrdiff_t)n,
                                                    .a_stride = (ptrdiff_t)k,
                                                    .mode = LDAR_GEMM_STORE});
}

static double loss(void *of)
{
    const struct product *p = of;
    ldar_kernels_real.gemm_pack(p->packed, p->w, p->n, p->k, (ptrdiff_t)p->k);
    multiply(p, p->c, p->a, p->n, p->k);
    return gradients_dot(p->c, p->dc, p->rows * p->n);
}

static void check(size_t rows, size_t n, size_t k)
{
    const size_t panel = ldar_kernels_real.panel;
    check_case("rows %zu n %zu k %zu", rows, n, k);
    struct product p = {.rows = rows,
                        .n = n,
                        .k = k,
                        .c = gradients_zeros(rows * n),
                        .a = gradients_normal(rows * k),
                        .w = gradients_normal(n * k),
                        .packed = gradients_zeros((n + panel) * (k + panel)),
                        .dc = gradients_normal(rows * n)};
    double *da = gradients_zeros(rows * k), *dw = gradients_zeros(n * k);
    ldar_kernels_real.gemm_pack_transposed(p.packed, p.w, n, k, (ptrdiff_t)k);
    multiply(&p, da, p.dc, k, n);
    ldar_kernels_real.gemm_gradient(
        &(struct ldar_gemm_gradient_args){.dw = dw,
                                          .dc = p.dc,
                                          .a = p.a,
                                          .rows = rows,
                                          .n = n,
                                          .k = k,
                                          .dw_stride = (ptrdiff_t)k,
                                          .dc_stride = (ptrdiff_t)n,
                                          .a_stride = (ptrdiff_t)k,
                                          .scratch = gradients_zeros(ldar_gemm_gradient_scratch(n, k))});
    gradients_check("a", p.a, rows * k, da, loss, &p);
    gradients_check("w", p.w, n * k, dw, loss, &p);
    gradients_end();
}

void gradients_gemm(void)
{
    check(1, 1, 1);
    check(7, 5, 3);
    check(9, 13, 18);
    check(LDAR_GRADIENT_ROWS + 5, 6, 5);
}
