/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

static const char *const gemm_names[] = {"auto", "packed", "onednn", "cblas", "reference"};

const char *ldar_gemm_name(enum ldar_gemm gemm)
{
    return (unsigned)gemm < sizeof gemm_names / sizeof *gemm_names ? gemm_names[gemm] : NULL;
}

enum ldar_status ldar_gemm_parse(const char *name, enum ldar_gemm *gemm, struct ldar_error *error)
{
    for (size_t i = 0; name && gemm && i < sizeof gemm_names / sizeof *gemm_names; i++)
        if (!strcmp(gemm_names[i], name)) {
            *gemm = (enum ldar_gemm)i;
            return LDAR_OK;
        }
    return ldar_fail(error, LDAR_ERROR_ARGUMENT,
                     "unknown GEMM \"%.40s\": known are auto, packed, onednn, cblas, reference", name ? name : "");
}

const struct ldar_gemm_provider *ldar_gemm_find(enum ldar_gemm kind, const struct ldar_kernels *kernels)
{
    switch (kind) {
    case LDAR_GEMM_AUTO:
        /* The packed kernel wins on every vector ISA (docs/perf.md); without vectors, oneDNN's SSE4.1 does. */
#if LDAR_WITH_ONEDNN
        if (kernels->width == 1)
            return &ldar_gemm_provider_onednn;
#else
        (void)kernels;
#endif
        return &ldar_gemm_provider_packed;
    case LDAR_GEMM_PACKED:
        return &ldar_gemm_provider_packed;
    case LDAR_GEMM_ONEDNN:
#if LDAR_WITH_ONEDNN
        return &ldar_gemm_provider_onednn;
#else
        return NULL;
#endif
    case LDAR_GEMM_CBLAS:
#if LDAR_WITH_CBLAS
        return &ldar_gemm_provider_cblas;
#else
        return NULL;
#endif
    case LDAR_GEMM_REFERENCE:
        return &ldar_gemm_provider_reference;
    }
    return NULL;
}

int ldar_gemm_built(enum ldar_gemm gemm)
{
    static const struct ldar_kernels any = {.width = 1};
    return ldar_gemm_find(gemm, &any) != NULL;
}

const float *ldar_gemm_row(const struct ldar_gemm_rows *rows, size_t i, float *room)
{
    if (rows->dtype == LDAR_F32)
        return rows->row[i];
    const uint16_t *half = rows->row[i];
    for (size_t k = 0; k < rows->k; k++) {
        uint32_t bits = (uint32_t)half[k] << 16;
        memcpy(room + k, &bits, sizeof bits);
    }
    return room;
}

float *ldar_gemm_matrix(const struct ldar_gemm_rows *rows)
{
    size_t bytes = (rows->n * rows->k * sizeof(float) + 63) / 64 * 64;
    float *matrix = aligned_alloc(64, bytes);
    for (size_t i = 0; matrix && i < rows->n; i++) {
        const float *row = ldar_gemm_row(rows, i, matrix + i * rows->k);
        if (row != matrix + i * rows->k)
            memcpy(matrix + i * rows->k, row, rows->k * sizeof *row);
    }
    return matrix;
}

enum ldar_status ldar_gemm_prepare_plain(const struct ldar_kernels *kernels, const struct ldar_gemm_rows *rows,
                                         int threads, struct ldar_gemm_weight *weight, struct ldar_error *error)
{
    (void)kernels;
    (void)threads;
    weight->bytes = rows->n * rows->k * sizeof(float);
    weight->packed = ldar_gemm_matrix(rows);
    return weight->packed ? LDAR_OK : ldar_fail_memory(error, weight->bytes, "a weight matrix");
}

void ldar_gemm_release_plain(struct ldar_gemm_weight *weight)
{
    free(weight->packed);
}

void ldar_gemm_finish(const struct ldar_kernels *kernels, const struct ldar_gemm_weight *weight,
                      const struct ldar_gemm_call *call, const float *product)
{
    const size_t n = weight->n;
    if (weight->swiglu) {
        kernels->swiglu(call->c, product, product + n / 2, call->rows, n / 2, call->c_stride, (ptrdiff_t)n);
        return;
    }
    for (size_t r = 0; r < call->rows; r++) {
        float *c = call->c + (ptrdiff_t)r * call->c_stride;
        const float *p = product + r * n;
        if (!call->add)
            memcpy(c, p, n * sizeof *c);
        else
            for (size_t i = 0; i < n; i++)
                c[i] += p[i];
    }
}
