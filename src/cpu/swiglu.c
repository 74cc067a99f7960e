/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

/*
 * fc1, activation and fc2 go block by block over the SwiGLU's width, so that what lies between the two products,
 * (T, block), is still in L2 when the second reads it; the activation is done where fc1 stores its result.
 */
void ldar_cpu_swiglu(const struct ldar_device *device, const struct ldar_cpu_stage *stage,
                     const struct ldar_cpu_layer *layer, float *x, size_t rows, const struct ldar_gemm_weight *next,
                     struct ldar_worker *worker)
{
    const size_t element = device->kernels->element, stride = ldar_row_stride(stage->width, element);
    device->kernels->rms_norm(worker->tile, x, layer->own->norm2, rows, stage->width, 1e-5f, (ptrdiff_t)stride,
                              (ptrdiff_t)stage->x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    for (size_t block = 0; block < layer->blocks; block++) {
        const struct ldar_gemm_weight *fc1 = &layer->fc1[block], *fc2 = &layer->fc2[block];
        ldar_cpu_multiply(fc1,
                          &(struct ldar_gemm_call){.c = worker->hidden,
                                                   .a = worker->tile,
                                                   .c_stride = (ptrdiff_t)ldar_row_stride(fc2->k, element),
                                                   .rows = rows,
                                                   .next = fc2},
                          worker);
        ldar_cpu_multiply(fc2,
                          &(struct ldar_gemm_call){.c = x,
                                                   .a = worker->hidden,
                                                   .c_stride = (ptrdiff_t)stage->x_stride,
                                                   .rows = rows,
                                                   .mode = LDAR_GEMM_ADD,
                                                   .next = block + 1 < layer->blocks ? fc1 + 1 : next},
                          worker);
    }
}
