/* SPDX-License-Identifier: Apache-2.0 */
#include "training.h"

#include <string.h>

/*
 * Dechunking: both moving averages over a sequence's chunks by blocks of columns, which do not mix; then each
 * row takes its chunk's average and adds the residual projection of the encoder's output, which x still holds.
 */
struct dechunk_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_routing *routing;
    const float *inner; /* x of the next stage */
    ptrdiff_t inner_stride, stride;
    float *average, *x;
    size_t rows, blocks;
};

static void dechunk_average(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct dechunk_job *job = argument;
    const size_t *offsets = job->routing->chunks.offsets, sequence = task / job->blocks;
    const size_t column = task % job->blocks * LDAR_CPU_COLUMNS, first = offsets[sequence];
    const size_t count = offsets[sequence + 1] - first;
    const size_t width = job->stage->width - column < LDAR_CPU_COLUMNS ? job->stage->width - column : LDAR_CPU_COLUMNS;
    float *out = job->average + first * (size_t)job->stride + column;
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
    job->device->floats->expand(x, job->average, stage->own->residual_bias, job->routing->chunk + first, rows,
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

/* Room for the averages, which the backward pass needs as well. */
static float *dechunk_room(struct ldar_device *device, size_t index, size_t chunks)
{
    struct ldar_cpu_training *training = device->training;
    if (!training || !training->keep || !training->reach.inside[index])
        return device->shared.z;
    const size_t stride = ldar_row_stride(device->stage[index].width, sizeof(float));
    training->average[index] = ldar_cpu_tape_take(device, chunks * stride);
    return training->average[index];
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
        .average = dechunk_room(device, index, routing->chunks.rows),
        .x = device->x[index],
        .rows = packed->rows,
        .blocks = (stage->width + LDAR_CPU_COLUMNS - 1) / LDAR_CPU_COLUMNS,
    };
    ldar_parallel(&device->team, packed->sequences * job.blocks, dechunk_average, &job);
    ldar_parallel(&device->team, ldar_tiles(packed->rows), dechunk_expand, &job);
}

/* ---- backward ---- */

/*
 * Three passes: over tiles of chunks, whose averages get the sums of their rows' gradients, and whose rows' probability
 * gets its share by the straight-through estimate; over (sequence, columns), through both averages; over tiles of rows,
 * through the residual projection.
 */
struct dechunk_backward_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_routing *routing;
    const float *average, *inner; /* the averages; x of the next stage */
    float *daverage, *dinner, *dx, *dprob;
    float *share; /* (blocks, chunks): of dprob */
    struct ldar_cpu_transposed residual;
    size_t stride, inner_stride, rows, blocks;
};

static void expand_backward(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct dechunk_backward_job *job = argument;
    const struct ldar_routing *routing = job->routing;
    const size_t first = tile * LDAR_TILE, chunks = ldar_tile_rows(routing->chunks.rows, tile);
    job->device->floats->expand_backward(job->daverage + first * job->stride, job->dprob, job->dx,
                                         job->average + first * job->stride, routing->position + first, chunks,
                                         job->stage->width, (ptrdiff_t)job->stride, (ptrdiff_t)job->stage->x_stride,
                                         (ptrdiff_t)job->stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

static void average_backward(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct dechunk_backward_job *job = argument;
    const size_t *offsets = job->routing->chunks.offsets, sequence = task / job->blocks, block = task % job->blocks;
    const size_t column = block * LDAR_CPU_COLUMNS, first = offsets[sequence], left = job->stage->width - column;
    job->device->floats->ema_backward(&(struct ldar_ema_backward_args){
        .dx = job->dinner + first * job->inner_stride + column,
        .dprob = job->share + block * job->routing->chunks.rows + first,
        .dout = job->daverage + first * job->stride + column,
        .x = job->inner + first * job->inner_stride + column,
        .prob = job->routing->chunk_prob + first,
        .rows = offsets[sequence + 1] - first,
        .width = left < LDAR_CPU_COLUMNS ? left : LDAR_CPU_COLUMNS,
        .dx_stride = (ptrdiff_t)job->inner_stride,
        .dout_stride = (ptrdiff_t)job->stride,
        .x_stride = (ptrdiff_t)job->inner_stride,
        .scratch = worker->kernel,
    });
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

/* dx becomes that of the encoder's output; the sums for the projection's bias. */
static void residual_backward(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct dechunk_backward_job *job = argument;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile);
    float *dx = job->dx + first * stage->x_stride;
    memcpy(worker->wide, dx, rows * stage->x_stride * sizeof *dx);
    job->device->floats->sum_rows(ldar_cpu_partial(job->device, tile, stage->width), dx, rows, stage->width,
                                  (ptrdiff_t)stage->x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_back(&job->residual, 0, stage->width, dx, stage->x_stride, worker->wide, stage->x_stride, rows,
                  LDAR_GEMM_FLOATS, &job->residual, worker);
}

/* The columns' shares of a chunk's probability, in their order; what lies beyond the outer width has no gradient. */
static void chunk_backward(const struct dechunk_backward_job *job, size_t width)
{
    const size_t chunks = job->routing->chunks.rows;
    for (size_t block = 0; block < job->blocks; block++)
        for (size_t j = 0; j < chunks; j++)
            job->dprob[job->routing->position[j]] += job->share[block * chunks + j];
    for (size_t j = 0; j < chunks && width > job->stage->width; j++)
        memset(job->dinner + j * job->inner_stride + job->stage->width, 0, (width - job->stage->width) * sizeof(float));
}

void ldar_cpu_dechunk_backward(struct ldar_device *device, size_t index, const struct ldar_packed *packed,
                               const struct ldar_routing *routing, float *dprob)
{
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_cpu_stage *stage = &device->stage[index];
    const struct ldar_matrix *residual = &stage->own->residual_proj;
    struct dechunk_backward_job job = {
        .device = device,
        .stage = stage,
        .routing = routing,
        .average = training->average[index],
        .inner = device->x[index + 1],
        .daverage = device->shared.z,
        .dinner = training->dx[index + 1],
        .dx = training->dx[index],
        .dprob = dprob,
        .share = training->partial,
        .stride = ldar_row_stride(stage->width, sizeof(float)),
        .inner_stride = device->stage[index + 1].x_stride,
        .rows = packed->rows,
        .blocks = (stage->width + LDAR_CPU_COLUMNS - 1) / LDAR_CPU_COLUMNS,
    };
    ldar_parallel(&device->team, ldar_tiles(routing->chunks.rows), expand_backward, &job);
    ldar_parallel(&device->team, packed->sequences * job.blocks, average_backward, &job);
    chunk_backward(&job, device->stage[index + 1].width);
    if (training->reach.first[index][LDAR_ENCODER] == SIZE_MAX)
        return;
    const struct ldar_cpu_product product = {device->floats,  ldar_cpu_gradient(device, residual->data),
                                             job.dx,          training->encoder[index],
                                             residual->rows,  residual->columns,
                                             stage->x_stride, stage->x_stride};
    ldar_cpu_weight_gradients(device, &product, 1, packed->rows);
    ldar_cpu_transpose(device, device->floats, 0, residual->data, residual->rows, residual->columns,
                       (char *)training->packed[0], &job.residual);
    ldar_parallel(&device->team, ldar_tiles(packed->rows), residual_backward, &job);
    ldar_cpu_sum_partial(device, ldar_cpu_gradient(device, stage->own->residual_bias), 0, stage->width,
                         ldar_tiles(packed->rows));
}
