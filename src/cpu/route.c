/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

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
    float *prob;
};

static void route_project(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct route_job *job = argument;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->packed->rows, tile);
    ldar_cpu_operand(stage, job->x + first * stage->x_stride, rows, worker);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_multiply(&stage->router,
                      &(struct ldar_gemm_call){.c = job->device->z + first * stage->qk_stride,
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
        const float *q = job->device->z + row * stage->qk_stride;
        if (stop > row)
            job->device->floats->route(job->prob + row, q, q + stage->width, stop - row, stage->width,
                                       row > job->packed->offsets[sequence], (ptrdiff_t)stage->qk_stride);
        row = stop;
    }
}

void ldar_cpu_route(struct ldar_device *device, size_t stage, const struct ldar_packed *packed, float *prob)
{
    const struct route_job job = {device, &device->stage[stage], packed, device->x[stage], prob};
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
    ldar_parallel(&device->team, ldar_tiles(routing->chunks.rows), chunk_task, &job);
}
