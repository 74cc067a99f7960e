/* SPDX-License-Identifier: Apache-2.0 */
/* Any CBLAS. Its own threads are of no use here: it is called from inside the team, on a tile. */
#include "gemm.h"

#include <cblas.h>
#include <stdio.h>

static enum ldar_status cblas_open(const struct ldar_kernels *kernels, int threads, char name[64],
                                   struct ldar_error *error)
{
    (void)kernels;
    (void)threads;
    (void)error;
#ifdef OPENBLAS_VERSION
    openblas_set_num_threads(1);
    snprintf(name, 64, "%s", "OpenBLAS");
#else
    snprintf(name, 64, "CBLAS");
#endif
    return LDAR_OK;
}

/*
 * Always a whole tile: a CBLAS may choose its kernel by the number of rows, and then a row's bits would depend on how
 * many others there are.
 */
static void cblas_multiply(const struct ldar_gemm_weight *weight, const struct ldar_gemm_call *call,
                           struct ldar_worker *worker)
{
    const int n = (int)weight->n, k = (int)weight->k;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, LDAR_TILE, n, k, 1.0f, call->a,
                (int)ldar_row_stride(weight->k, sizeof(float)), weight->packed, k, 0.0f, worker->product, n);
    ldar_gemm_finish(weight, call, worker->product);
}

const struct ldar_gemm_provider ldar_gemm_provider_cblas = {
    LDAR_GEMM_CBLAS, 0, cblas_open, ldar_gemm_prepare_plain, ldar_gemm_release_plain, cblas_multiply,
};
