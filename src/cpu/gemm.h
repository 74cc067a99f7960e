/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CPU_GEMM_H
#define LDAR_CPU_GEMM_H

#include <ldar/context.h>

#include "model/parameters.h"
#include "parallel.h"

/*
 * Matrix products c (rows, n) = a (rows, k) w^T of up to LDAR_TILE rows on one
 * thread, with w prepared once. Who does them is a provider; all give each row
 * the same bits whatever the number of rows. All but the packed one multiply
 * floats only.
 */

/*
 * Distance, in elements of that many bytes, of the rows of an array that serves as `a`: whole cache lines, and no
 * multiple of 1 KiB, so that rows do not fall on the same cache sets.
 */
static inline size_t ldar_row_stride(size_t width, size_t element)
{
    size_t bytes = (width * element + 63) / 64 * 64;
    return (bytes % 1024 ? bytes : bytes + 64) / element;
}

/* The rows of a weight matrix, wherever they lie. swiglu: the first half is up, the second half gate. */
struct ldar_gemm_rows {
    const void *const *row; /* (n) of k values each */
    size_t n, k;
    enum ldar_dtype dtype;
    int rounded; /* 1: as if they had been stored as bfloat16 */
    int swiglu;
};

struct ldar_gemm_provider;

/* A prepared weight matrix. */
struct ldar_gemm_weight {
    const struct ldar_gemm_provider *provider;
    const struct ldar_kernels *kernels; /* whose elements it multiplies */
    size_t n, k, bytes;
    int swiglu; /* c (rows, n / 2) = up * silu(gate) */
    void *packed;
    void *own; /* the provider's */
};

/* What one product reads and writes. */
struct ldar_gemm_call {
    void *c;
    const void *a; /* (LDAR_TILE, k), stride ldar_row_stride(k, element): readable as a whole, whatever `rows` is */
    ptrdiff_t c_stride;
    size_t rows;
    enum ldar_gemm_mode mode;            /* of a weight that is not swiglu */
    int panels;                          /* 1: of one that is, up and gate in the order of its panels; packed only */
    const struct ldar_gemm_weight *next; /* the weights that this thread needs next, or NULL */
};

struct ldar_gemm_provider {
    enum ldar_gemm kind;
    int in_place; /* finishes in c; else it needs worker->product (LDAR_TILE, n) */
    /* Name and version for people, and a check that it can serve the instruction set. */
    enum ldar_status (*open)(const struct ldar_kernels *kernels, int threads, char name[64], struct ldar_error *error);
    /*
     * Fills the weight, of which provider, kernels, n, k and swiglu are set; the packed provider also fills one of the
     * same shape anew.
     */
    enum ldar_status (*prepare)(struct ldar_team *team, const struct ldar_gemm_rows *rows,
                                struct ldar_gemm_weight *weight, struct ldar_error *error);
    void (*release)(struct ldar_gemm_weight *weight);
    void (*multiply)(const struct ldar_gemm_weight *weight, const struct ldar_gemm_call *call,
                     struct ldar_worker *worker);
};

extern const struct ldar_gemm_provider ldar_gemm_provider_packed, ldar_gemm_provider_onednn, ldar_gemm_provider_cblas,
    ldar_gemm_provider_reference;

/* The provider of that kind, NULL when not built in; for LDAR_GEMM_AUTO the one that suits the instruction set. */
const struct ldar_gemm_provider *ldar_gemm_find(enum ldar_gemm kind, const struct ldar_kernels *kernels);

/* Columns first .. first + count - 1 of row `i` as floats. */
void ldar_gemm_row(const struct ldar_gemm_rows *rows, size_t i, size_t first, size_t count, float *out);

/* The nearest bfloat16 of each, as floats. */
void ldar_gemm_round(float *x, size_t count);

/* All rows as one (n, k) float matrix on the heap, 64-byte aligned; NULL when there is no memory. */
float *ldar_gemm_matrix(const struct ldar_gemm_rows *rows);

/* prepare and release of providers that take the weights as that matrix, in weight->packed. */
enum ldar_status ldar_gemm_prepare_plain(struct ldar_team *team, const struct ldar_gemm_rows *rows,
                                         struct ldar_gemm_weight *weight, struct ldar_error *error);
void ldar_gemm_release_plain(struct ldar_gemm_weight *weight);

/* c from the product (rows, n) that a provider left in worker->product: stored, added, or put through SwiGLU. */
void ldar_gemm_finish(const struct ldar_gemm_weight *weight, const struct ldar_gemm_call *call, const float *product);

#endif
