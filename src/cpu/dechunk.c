/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

/*
 * Dechunking: both moving averages over a sequence's chunks by blocks of columns, which do not mix; then each
 * row takes its chunk's average and adds the residual projection of the encoder's output, which x still holds.
 */
enum { EMA_COLUMNS = 64 };

struct dechunk_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_routing *routing;
    const float *inner; /* x of the next stage */
    ptrdiff_t inner_stride, stride;
    float *x;
    size_t rows, blocks;
};

static void dechunk_average(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct dechunk_job *job = argument;
    const size_t *offsets = job->routing->chunks.offsets, sequence = task / job->blocks;
    const size_t column = task % job->blocks * EMA_COLUMNS, first = offsets[sequence];
    const size_t count = offsets[sequence + 1] - first;
    const size_t width = job->stage->width - column < EMA_COLUMNS ? job->stage->width - column : EMA_COLUMNS;
    float *out = job->device->z + first * (size_t)job->stride + column;
    const float *in = job->inner + first * (size_t)job->inner_stride + column;
    const float *prob = job->routing->chunk_prob + first;
    (void)worker;
    for (int reverse = 0; reverse < 2; reverse++)
        job->device->floats->ema(out, in, prob, count, width, reverse, job->stride, job->inner_stride);
}

static void dechunk_expand(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct dechunk_job *job = argument;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile);
    const ptrdiff_t stride = (ptrdiff_t)stage->x_stride;
    float *x = job->x + first * stage->x_stride;
    ldar_cpu_operand(stage, x, rows, worker);
    job->device->floats->expand(x, job->device->z, stage->own->residual_bias, job->routing->chunk + first, rows,
                                stage->width, stride, job->stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_multiply(&stage->residual,
                      &(struct ldar_gemm_call){.c = x,
                                               .a = worker->tile,
                                               .c_stride = stride,
                                               .rows = rows,
                                               .mode = LDAR_GEMM_ADD,
                                               .next = &stage->residual},
                      worker);
}

void ldar_cpu_dechunk(struct ldar_device *device, size_t index, const struct ldar_packed *packed,
                      const struct ldar_routing *routing)
{
    const struct ldar_cpu_stage *stage = &device->stage[index];
    const struct dechunk_job job = {
        .device = device,
        .stage = stage,
        .routing = routing,
        .inner = device->x[index + 1],
        .inner_stride = (ptrdiff_t)device->stage[index + 1].x_stride,
        .stride = (ptrdiff_t)ldar_row_stride(stage->width, sizeof(float)),
        .x = device->x[index],
        .rows = packed->rows,
        .blocks = (stage->width + EMA_COLUMNS - 1) / EMA_COLUMNS,
    };
    ldar_parallel(&device->team, packed->sequences * job.blocks, dechunk_average, &job);
    ldar_parallel(&device->team, ldar_tiles(packed->rows), dechunk_expand, &job);
}
