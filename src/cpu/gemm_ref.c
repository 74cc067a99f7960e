/* SPDX-License-Identifier: Apache-2.0 */
/* The product as it is defined: the yardstick of the other providers. */
#include "gemm.h"

#include <stdio.h>

static enum ldar_status reference_open(const struct ldar_kernels *kernels, int threads, char name[64],
                                       struct ldar_error *error)
{
    (void)kernels;
    (void)threads;
    (void)error;
    snprintf(name, 64, "reference loops");
    return LDAR_OK;
}

static void reference_multiply(const struct ldar_gemm_weight *weight, const struct ldar_gemm_call *call,
                               struct ldar_worker *worker)
{
    const size_t n = weight->n, k = weight->k, stride = ldar_row_stride(k, sizeof(float));
    const float *a = call->a, *w = weight->packed;
    for (size_t r = 0; r < call->rows; r++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t i = 0; i < k; i++)
                sum += (double)a[r * stride + i] * w[j * k + i];
            worker->product[r * n + j] = (float)sum;
        }
    ldar_gemm_finish(weight, call, worker->product);
}

const struct ldar_gemm_provider ldar_gemm_provider_reference = {
    LDAR_GEMM_REFERENCE, 0, reference_open, ldar_gemm_prepare_plain, ldar_gemm_release_plain, reference_multiply,
};
