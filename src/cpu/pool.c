/* SPDX-License-Identifier: Apache-2.0 */
/* The mean hidden state of each sequence. */
#include "training.h"

#include <math.h>

/* A task is some columns of one sequence: its rows are added up in their order, whatever surrounds them. */
struct pool_job {
    const struct ldar_device *device;
    const struct ldar_packed *packed;
    float *mean;
    size_t width, strips;
};

static void pool_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct pool_job *job = argument;
    const size_t sequence = task / job->strips, column = task % job->strips * LDAR_CPU_COLUMNS;
    const size_t left = job->width - column, columns = left < LDAR_CPU_COLUMNS ? left : LDAR_CPU_COLUMNS;
    const size_t first = job->packed->offsets[sequence], end = job->packed->offsets[sequence + 1];
    const size_t stride = job->device->stage[0].x_stride;
    const float *x = job->device->x[0] + first * stride + column;
    float *mean = job->mean + sequence * job->width + column;
    double sum[LDAR_CPU_COLUMNS] = {0};
    for (size_t row = first; row < end; row++, x += stride)
        for (size_t c = 0; c < columns; c++)
            sum[c] += (double)x[c];
    for (size_t c = 0; c < columns; c++)
        mean[c] = end > first ? (float)(sum[c] / (double)(end - first)) : NAN;
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_pool(struct ldar_device *device, const struct ldar_packed *packed, float *mean)
{
    const size_t width = device->stage[0].width, strips = (width + LDAR_CPU_COLUMNS - 1) / LDAR_CPU_COLUMNS;
    const struct pool_job job = {device, packed, mean, width, strips};
    ldar_parallel(&device->team, packed->sequences * strips, pool_task, &job);
}

struct pool_backward_job {
    const struct ldar_device *device;
    const struct ldar_packed *packed;
    const float *dmean;
};

/* The rows of a tile, sequence by sequence. */
static void pool_backward_task(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct pool_backward_job *job = argument;
    const struct ldar_cpu_stage *stage = &job->device->stage[0];
    const size_t *offsets = job->packed->offsets;
    const size_t first = tile * LDAR_TILE, end = first + ldar_tile_rows(job->packed->rows, tile);
    size_t sequence = ldar_sequence_of(job->packed, first);
    for (size_t row = first; row < end; sequence++) {
        const size_t stop = offsets[sequence + 1] < end ? offsets[sequence + 1] : end;
        const float *dmean = job->dmean + sequence * stage->width;
        const double length = (double)(offsets[sequence + 1] - offsets[sequence]);
        for (; row < stop; row++) {
            float *dx = job->device->training->dx[0] + row * stage->x_stride;
            for (size_t c = 0; c < stage->width; c++)
                dx[c] = (float)((double)dmean[c] / length);
        }
    }
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_pool_backward(struct ldar_device *device, const struct ldar_packed *packed, const float *dmean)
{
    const struct pool_backward_job job = {device, packed, dmean};
    ldar_cpu_tape_end(device);
    ldar_parallel(&device->team, ldar_tiles(packed->rows), pool_backward_task, &job);
}
