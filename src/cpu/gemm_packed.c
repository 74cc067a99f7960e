/* SPDX-License-Identifier: Apache-2.0 */
/* The library's own GEMM: the `gemm` kernel of the ISA's table on weights packed by its `gemm_pack`. */
#include "gemm.h"

#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum ldar_status packed_open(const struct ldar_kernels *kernels, int threads, char name[64],
                                    struct ldar_error *error)
{
    (void)threads;
    (void)error;
    snprintf(name, 64, "packed %s %zux%zu", kernels->name, kernels->rows, kernels->panel);
    return LDAR_OK;
}

/* The row of the weight matrix that becomes column `column` of the packed panels. */
static size_t packed_row(const struct ldar_gemm_rows *rows, size_t panel, size_t column)
{
    if (!rows->swiglu)
        return column;
    size_t half = panel / 2, in_panel = column % panel;
    return column / panel * half + in_panel % half + (in_panel < half ? 0 : rows->n / 2);
}

static enum ldar_status packed_prepare(const struct ldar_kernels *kernels, const struct ldar_gemm_rows *rows,
                                       int threads, struct ldar_gemm_weight *weight, struct ldar_error *error)
{
    (void)threads;
    const size_t panel = kernels->panel, k = rows->k;
    weight->bytes = (ldar_gemm_packed(panel, rows->n, k) * sizeof(float) + 63) / 64 * 64;
    weight->packed = aligned_alloc(64, weight->bytes);
    float *some = malloc(panel * k * sizeof *some);
    if (!weight->packed || !some) {
        free(some);
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for %zu bytes of packed weights", weight->bytes);
    }
    for (size_t first = 0; first < rows->n; first += panel) {
        size_t columns = rows->n - first < panel ? rows->n - first : panel;
        for (size_t j = 0; j < columns; j++) {
            const float *row = ldar_gemm_row(rows, packed_row(rows, panel, first + j), some + j * k);
            if (row != some + j * k)
                memcpy(some + j * k, row, k * sizeof *row);
        }
        kernels->gemm_pack(weight->packed + first * k, some, columns, k, (ptrdiff_t)k);
    }
    free(some);
    return LDAR_OK;
}

static void packed_release(struct ldar_gemm_weight *weight)
{
    free(weight->packed);
}

static void packed_multiply(const struct ldar_kernels *kernels, const struct ldar_gemm_weight *weight,
                            const struct ldar_gemm_call *call, struct ldar_worker *worker)
{
    (void)worker;
    kernels->gemm(&(struct ldar_gemm_args){
        .c = call->c,
        .a = call->a,
        .packed = weight->packed,
        .next = call->next ? call->next->packed : NULL,
        .rows = call->rows,
        .n = weight->n,
        .k = weight->k,
        .c_stride = call->c_stride,
        .a_stride = (ptrdiff_t)ldar_row_stride(weight->k),
        .mode = weight->swiglu ? LDAR_GEMM_SWIGLU
                : call->add    ? LDAR_GEMM_ADD
                               : LDAR_GEMM_STORE,
    });
}

const struct ldar_gemm_provider ldar_gemm_provider_packed = {
    LDAR_GEMM_PACKED, 1, packed_open, packed_prepare, packed_release, packed_multiply,
};
