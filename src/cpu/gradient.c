/* SPDX-License-Identifier: Apache-2.0 */
/* What the backward passes share: sums over rows, gradients of weight matrices, and products with their transposed. */
#include "training.h"

#include <string.h>

float *ldar_cpu_partial(const struct ldar_device *device, size_t tile, size_t count)
{
    float *partial = device->training->partial + tile * device->training->partial_stride;
    return memset(partial, 0, count * sizeof *partial);
}

enum { SUM_STRIP = 128 };

struct sum_job {
    const struct ldar_device *device;
    float *out;
    const float *partial;
    size_t count, tiles;
};

static void sum_task(const void *argument, size_t strip, struct ldar_worker *worker)
{
    const struct sum_job *job = argument;
    const size_t first = strip * SUM_STRIP;
    (void)worker;
    job->device->floats->sum_rows(job->out + first, job->partial + first, job->tiles,
                                  job->count - first < SUM_STRIP ? job->count - first : SUM_STRIP,
                                  (ptrdiff_t)job->device->training->partial_stride);
}

void ldar_cpu_sum_partial(struct ldar_device *device, float *out, size_t column, size_t count, size_t tiles)
{
    const struct sum_job job = {device, out, device->training->partial + column, count, tiles};
    ldar_parallel(&device->team, (count + SUM_STRIP - 1) / SUM_STRIP, sum_task, &job);
}

/* A task is one block of one matrix, for all rows. */
struct gradient_job {
    const struct ldar_cpu_product *product;
    size_t count, rows;
};

static size_t blocks_of(size_t width)
{
    return (width + LDAR_CPU_BLOCK - 1) / LDAR_CPU_BLOCK;
}

static size_t block_width(size_t width, size_t first)
{
    return width - first < LDAR_CPU_BLOCK ? width - first : LDAR_CPU_BLOCK;
}

static void gradient_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct gradient_job *job = argument;
    const struct ldar_cpu_product *p = job->product;
    for (size_t blocks; task >= (blocks = blocks_of(p->n) * blocks_of(p->k)); p++)
        task -= blocks;
    const size_t n = task / blocks_of(p->k) * LDAR_CPU_BLOCK, k = task % blocks_of(p->k) * LDAR_CPU_BLOCK;
    p->kernels->gemm_gradient(&(struct ldar_gemm_gradient_args){
        .dw = p->dw + n * p->k + k,
        .dc = (const char *)p->dc + n * p->kernels->element,
        .a = (const char *)p->a + k * p->kernels->element,
        .rows = job->rows,
        .n = block_width(p->n, n),
        .k = block_width(p->k, k),
        .dw_stride = (ptrdiff_t)p->k,
        .dc_stride = (ptrdiff_t)p->dc_stride,
        .a_stride = (ptrdiff_t)p->a_stride,
        .scratch = worker->kernel,
    });
    ldar_lap(worker, LDAR_CLOCK_GEMM);
}

void ldar_cpu_weight_gradients(struct ldar_device *device, const struct ldar_cpu_product *products, size_t count,
                               size_t rows)
{
    const struct gradient_job job = {products, count, rows};
    size_t tasks = 0;
    for (size_t i = 0; i < count; i++)
        tasks += blocks_of(products[i].n) * blocks_of(products[i].k);
    ldar_parallel(&device->team, tasks, gradient_task, &job);
}

struct transpose_job {
    const struct ldar_cpu_transposed *to;
    const float *weight;
    int rounded;
};

static void transpose_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct transpose_job *job = argument;
    const struct ldar_cpu_transposed *to = job->to;
    const size_t panel = to->kernels->panel, first = task * panel;
    const size_t columns = to->k - first < panel ? to->k - first : panel;
    const size_t bytes = ldar_gemm_packed(to->kernels->element, panel, panel, to->n);
    char *packed = to->packed + task * bytes;
    to->kernels->gemm_pack_transposed(packed, job->weight + first, to->n, columns, (ptrdiff_t)to->k);
    if (job->rounded)
        ldar_gemm_round((float *)(void *)packed, bytes / sizeof(float));
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

char *ldar_cpu_transpose(struct ldar_device *device, const struct ldar_kernels *kernels, int rounded,
                         const float *weight, size_t n, size_t k, char *packed, struct ldar_cpu_transposed *transposed)
{
    *transposed = (struct ldar_cpu_transposed){kernels, n, k, packed};
    const struct transpose_job job = {transposed, weight, rounded};
    ldar_parallel(&device->team, (k + kernels->panel - 1) / kernels->panel, transpose_task, &job);
    return packed + ldar_gemm_packed(kernels->element, kernels->panel, k, n);
}

void ldar_cpu_back(const struct ldar_cpu_transposed *w, size_t first, size_t columns, float *dx, size_t dx_stride,
                   const void *dc, size_t dc_stride, size_t rows, enum ldar_gemm_mode mode,
                   const struct ldar_cpu_transposed *next, struct ldar_worker *worker)
{
    w->kernels->gemm(&(struct ldar_gemm_args){
        .c = dx,
        .a = dc,
        .packed = w->packed + ldar_gemm_packed(w->kernels->element, w->kernels->panel, first, w->n),
        .next = next ? next->packed : NULL,
        .rows = rows,
        .n = columns,
        .k = w->n,
        .c_stride = (ptrdiff_t)dx_stride,
        .a_stride = (ptrdiff_t)dc_stride,
        .mode = mode,
    });
    ldar_lap(worker, LDAR_CLOCK_GEMM);
}
