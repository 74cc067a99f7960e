/* SPDX-License-Identifier: Apache-2.0 */
#include "training.h"

#include <string.h>

/*
 * Routing and chunking. q and k of a row meet those of the row before it, which another tile may hold, so they are all
 * formed first, side by side.
 */
struct route_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_packed *packed;
    const float *x;
    float *qk, *prob;
};

static void route_project(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct route_job *job = argument;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->packed->rows, tile);
    ldar_cpu_operand(stage, job->x + first * stage->x_stride, rows, worker);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_multiply(&stage->router,
                      &(struct ldar_gemm_call){.c = job->qk + first * stage->qk_stride,
                                               .a = worker->tile,
                                               .c_stride = (ptrdiff_t)stage->qk_stride,
                                               .rows = rows,
                                               .mode = LDAR_GEMM_FLOATS,
                                               .next = &stage->router},
                      worker);
}

static void route_compare(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct route_job *job = argument;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, end = first + ldar_tile_rows(job->packed->rows, tile);
    size_t sequence = ldar_sequence_of(job->packed, first);
    (void)worker;
    for (size_t row = first; row < end; sequence++) {
        size_t stop = job->packed->offsets[sequence + 1] < end ? job->packed->offsets[sequence + 1] : end;
        const float *q = job->qk + row * stage->qk_stride;
        if (stop > row)
            job->device->floats->route(job->prob + row, q, q + stage->width, stop - row, stage->width,
                                       row > job->packed->offsets[sequence], (ptrdiff_t)stage->qk_stride);
        row = stop;
    }
}

/* For the backward pass: what the router saw, and its q and k. */
static float *route_keep(struct ldar_device *device, size_t stage, size_t rows)
{
    struct ldar_cpu_training *training = device->training;
    const size_t floats = rows * device->stage[stage].x_stride;
    training->encoder[stage] = ldar_cpu_tape_take(device, floats);
    memcpy(training->encoder[stage], device->x[stage], floats * sizeof(float));
    return training->qk[stage] = ldar_cpu_tape_take(device, rows * device->stage[stage].qk_stride);
}

void ldar_cpu_route(struct ldar_device *device, size_t stage, const struct ldar_packed *packed, float *prob)
{
    const struct ldar_cpu_training *training = device->training;
    const int keep = training && training->keep && training->reach.first[stage][LDAR_ENCODER] < SIZE_MAX;
    float *qk = keep ? route_keep(device, stage, packed->rows) : device->shared.z;
    const struct route_job job = {device, &device->stage[stage], packed, device->x[stage], qk, prob};
    ldar_parallel(&device->team, ldar_tiles(packed->rows), route_project, &job);
    ldar_parallel(&device->team, ldar_tiles(packed->rows), route_compare, &job);
}

struct chunk_job {
    const struct ldar_device *device;
    const struct ldar_routing *routing;
    size_t stage;
};

static void chunk_task(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct chunk_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *outer = &device->stage[job->stage], *inner = outer + 1;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->routing->chunks.rows, tile);
    (void)worker;
    for (size_t i = first; i < first + rows; i++) {
        float *to = device->x[job->stage + 1] + i * inner->x_stride;
        memcpy(to, device->x[job->stage] + job->routing->position[i] * outer->x_stride, outer->width * sizeof *to);
        if (inner->width > outer->width)
            memcpy(to + outer->width, inner->own->pad, (inner->width - outer->width) * sizeof *to);
    }
}

void ldar_cpu_chunk(struct ldar_device *device, size_t stage, const struct ldar_routing *routing)
{
    const struct chunk_job job = {device, routing, stage};
    if (device->training && device->training->keep)
        ldar_cpu_tape_chunks(device, stage, routing->chunks.rows);
    ldar_parallel(&device->team, ldar_tiles(routing->chunks.rows), chunk_task, &job);
}

/* ---- backward ---- */

struct route_backward_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_packed *packed;
    const float *qk, *dprob;
    float *dqk, *dx;
    struct ldar_cpu_transposed q, k;
};

/* dq and dk of a tile, sequence by sequence. */
static void route_compare_backward(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct route_backward_job *job = argument;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, end = first + ldar_tile_rows(job->packed->rows, tile);
    size_t sequence = ldar_sequence_of(job->packed, first);
    for (size_t row = first; row < end; sequence++) {
        const size_t last = job->packed->offsets[sequence + 1], stop = last < end ? last : end;
        if (stop > row)
            job->device->floats->route_backward(&(struct ldar_route_backward_args){
                .dq = job->dqk + row * stage->qk_stride,
                .dk = job->dqk + row * stage->qk_stride + stage->width,
                .dprob = job->dprob + row,
                .q = job->qk + row * stage->qk_stride,
                .k = job->qk + row * stage->qk_stride + stage->width,
                .rows = stop - row,
                .width = stage->width,
                .before = row > job->packed->offsets[sequence],
                .after = stop < last,
                .gradient_stride = (ptrdiff_t)stage->qk_stride,
                .stride = (ptrdiff_t)stage->qk_stride,
            });
        row = stop;
    }
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

static void route_project_backward(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct route_backward_job *job = argument;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->packed->rows, tile);
    const float *dq = job->dqk + first * stage->qk_stride;
    float *dx = job->dx + first * stage->x_stride;
    ldar_cpu_back(&job->q, 0, stage->width, dx, stage->x_stride, dq, stage->qk_stride, rows, LDAR_GEMM_ADD, &job->k,
                  worker);
    ldar_cpu_back(&job->k, 0, stage->width, dx, stage->x_stride, dq + stage->width, stage->qk_stride, rows,
                  LDAR_GEMM_ADD, &job->q, worker);
}

void ldar_cpu_route_backward(struct ldar_device *device, size_t index, const struct ldar_packed *packed,
                             const float *dprob)
{
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_cpu_stage *stage = &device->stage[index];
    const struct ldar_matrix *q = &stage->own->router_q, *k = &stage->own->router_k;
    struct route_backward_job job = {.device = device,
                                     .stage = stage,
                                     .packed = packed,
                                     .qk = training->qk[index],
                                     .dprob = dprob,
                                     .dqk = device->shared.z,
                                     .dx = training->dx[index]};
    ldar_cpu_transpose(device, device->floats, 0, q->data, q->rows, q->columns, (char *)training->packed[0], &job.q);
    ldar_cpu_transpose(device, device->floats, 0, k->data, k->rows, k->columns, (char *)training->packed[1], &job.k);
    ldar_parallel(&device->team, ldar_tiles(packed->rows), route_compare_backward, &job);
    ldar_parallel(&device->team, ldar_tiles(packed->rows), route_project_backward, &job);
    const struct ldar_cpu_product products[2] = {
        {device->floats, ldar_cpu_gradient(device, q->data), job.dqk, training->encoder[index], q->rows, q->columns,
         stage->qk_stride, stage->x_stride},
        {device->floats, ldar_cpu_gradient(device, k->data), job.dqk + stage->width, training->encoder[index], k->rows,
         k->columns, stage->qk_stride, stage->x_stride},
    };
    ldar_cpu_weight_gradients(device, products, 2, packed->rows);
}

/* dx of a chunk's first row grows by that of the chunk; the learned columns get what lies beyond its width. */
static void chunk_back_task(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct chunk_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *outer = &device->stage[job->stage], *inner = outer + 1;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->routing->chunks.rows, tile);
    const float *from = device->training->dx[job->stage + 1] + first * inner->x_stride;
    for (size_t i = 0; i < rows; i++)
        device->floats->add(device->training->dx[job->stage] + job->routing->position[first + i] * outer->x_stride,
                            from + i * inner->x_stride, outer->width);
    if (inner->width > outer->width)
        device->floats->sum_rows(ldar_cpu_partial(device, tile, inner->width - outer->width), from + outer->width, rows,
                                 inner->width - outer->width, (ptrdiff_t)inner->x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_chunk_backward(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                             const struct ldar_routing *routing)
{
    const struct chunk_job job = {device, routing, stage};
    const struct ldar_cpu_stage *outer = &device->stage[stage], *inner = outer + 1;
    const size_t tiles = ldar_tiles(routing->chunks.rows);
    (void)packed;
    ldar_parallel(&device->team, tiles, chunk_back_task, &job);
    if (inner->width > outer->width)
        ldar_cpu_sum_partial(device, ldar_cpu_gradient(device, inner->own->pad), 0, inner->width - outer->width, tiles);
}
