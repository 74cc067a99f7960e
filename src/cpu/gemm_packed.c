/* SPDX-License-Identifier: Apache-2.0 */
/* The library's own GEMM: the `gemm` kernel of the ISA's table on weights packed by its `gemm_pack`. */
#include "gemm.h"

#include "pages.h"
#include "status.h"

#include <assert.h>
#include <stdio.h>

static enum ldar_status packed_open(const struct ldar_kernels *kernels, int threads, char name[64],
                                    struct ldar_error *error)
{
    (void)threads;
    (void)error;
    snprintf(name, 64, "packed %s %zux%zu", kernels->name, kernels->rows, kernels->panel);
    return LDAR_OK;
}

struct pack_job {
    const struct ldar_gemm_rows *rows;
    struct ldar_gemm_weight *weight;
    size_t depth; /* columns in memory: k, made even where elements are pairs */
};

enum { PACK_COLUMNS = 256, PACK_PANEL = 64 };

/* The row of the weight matrix that becomes column `column` of the packed panels. */
static size_t packed_row(const struct ldar_gemm_rows *rows, size_t panel, size_t column)
{
    if (!rows->swiglu)
        return column;
    size_t half = panel / 2, in_panel = column % panel;
    return column / panel * half + in_panel % half + (in_panel < half ? 0 : rows->n / 2);
}

static void pack_panel(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct pack_job *job = argument;
    const struct ldar_kernels *kernels = job->weight->kernels;
    const size_t panel = kernels->panel, k = job->weight->k, first = task * panel;
    const size_t columns = job->weight->n - first < panel ? job->weight->n - first : panel;
    float some[PACK_PANEL * PACK_COLUMNS];
    (void)worker;
    for (size_t from = 0, count; from < k; from += count) {
        count = k - from < PACK_COLUMNS ? k - from : PACK_COLUMNS;
        for (size_t j = 0; j < columns; j++)
            ldar_gemm_row(job->rows, packed_row(job->rows, panel, first + j), from, count, some + j * PACK_COLUMNS);
        char *to = (char *)job->weight->packed + (first * job->depth + from * panel) * kernels->element;
        kernels->gemm_pack(to, some, columns, count, PACK_COLUMNS);
    }
}

static enum ldar_status packed_prepare(struct ldar_team *team, const struct ldar_gemm_rows *rows,
                                       struct ldar_gemm_weight *weight, struct ldar_error *error)
{
    const size_t panel = weight->kernels->panel, pair = sizeof(float) / weight->kernels->element;
    const struct pack_job job = {rows, weight, (weight->k + pair - 1) / pair * pair};
    assert(panel <= PACK_PANEL);
    weight->bytes = ldar_gemm_packed(weight->kernels->element, panel, weight->n, weight->k);
    if (!weight->packed)
        weight->packed = ldar_pages_new(weight->bytes);
    if (!weight->packed)
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for %zu bytes of packed weights", weight->bytes);
    ldar_parallel(team, (weight->n + panel - 1) / panel, pack_panel, &job);
    return LDAR_OK;
}

static void packed_release(struct ldar_gemm_weight *weight)
{
    ldar_pages_free(weight->packed, weight->bytes);
}

static void packed_multiply(const struct ldar_gemm_weight *weight, const struct ldar_gemm_call *call,
                            struct ldar_worker *worker)
{
    (void)worker;
    weight->kernels->gemm(&(struct ldar_gemm_args){
        .c = call->c,
        .a = call->a,
        .packed = weight->packed,
        .next = call->next ? call->next->packed : NULL,
        .rows = call->rows,
        .n = weight->n,
        .k = weight->k,
        .c_stride = call->c_stride,
        .a_stride = (ptrdiff_t)ldar_row_stride(weight->k, weight->kernels->element),
        .mode = call->panels     ? LDAR_GEMM_STORE
                : weight->swiglu ? LDAR_GEMM_SWIGLU
                                 : call->mode,
    });
}

const struct ldar_gemm_provider ldar_gemm_provider_packed = {
    LDAR_GEMM_PACKED, 1, packed_open, packed_prepare, packed_release, packed_multiply,
};
