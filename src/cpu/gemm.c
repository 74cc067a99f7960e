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

static float widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The nearest bfloat16, ties to even; a NaN stays one. */
static float rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t up = bits + 0x7fff + (bits >> 16 & 1);
    return widen((uint16_t)((x != x ? bits | 1u << 22 : up) >> 16));
}

void ldar_gemm_row(const struct ldar_gemm_rows *rows, size_t i, size_t first, size_t count, float *out)
{
    const float *wide = (const float *)rows->row[i] + first;
    const uint16_t *half = (const uint16_t *)rows->row[i] + first;
    if (rows->dtype == LDAR_BF16)
        for (size_t k = 0; k < count; k++)
            out[k] = widen(half[k]);
    else if (rows->rounded)
        for (size_t k = 0; k < count; k++)
            out[k] = rounded(wide[k]);
    else
        memcpy(out, wide, count * sizeof *out);
}

void ldar_gemm_round(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = rounded(x[i]);
}

float *ldar_gemm_matrix(const struct ldar_gemm_rows *rows)
{
    size_t bytes = (rows->n * rows->k * sizeof(float) + 63) / 64 * 64;
    float *matrix = aligned_alloc(64, bytes);
    for (size_t i = 0; matrix && i < rows->n; i++)
        ldar_gemm_row(rows, i, 0, rows->k, matrix + i * rows->k);
    return matrix;
}

enum ldar_status ldar_gemm_prepare_plain(struct ldar_team *team, const struct ldar_gemm_rows *rows,
                                         struct ldar_gemm_weight *weight, struct ldar_error *error)
{
    (void)team;
    weight->bytes = rows->n * rows->k * sizeof(float);
    weight->packed = ldar_gemm_matrix(rows);
    return weight->packed ? LDAR_OK : ldar_fail_memory(error, weight->bytes, "a weight matrix");
}

void ldar_gemm_release_plain(struct ldar_gemm_weight *weight)
{
    free(weight->packed);
}

void ldar_gemm_finish(const struct ldar_gemm_weight *weight, const struct ldar_gemm_call *call, const float *product)
{
    const size_t n = weight->n;
    if (weight->swiglu) {
        weight->kernels->swiglu(call->c, product, product + n / 2, call->rows, n / 2, call->c_stride, (ptrdiff_t)n);
        return;
    }
    for (size_t r = 0; r < call->rows; r++) {
        float *c = (float *)call->c + (ptrdiff_t)r * call->c_stride;
        const float *p = product + r * n;
        if (call->mode != LDAR_GEMM_ADD)
            memcpy(c, p, n * sizeof *c);
        else
            for (size_t i = 0; i < n; i++)
                c[i] += p[i];
    }
}
