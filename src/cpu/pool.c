/* SPDX-License-Identifier: Apache-2.0 */
/* The mean hidden state of each part of each sequence. */
#include "training.h"

#include <ldar/model.h>

#include <math.h>
#include <string.h>

/* A task is some columns of one part of a sequence: its rows are added up in their order, whatever surrounds them. */
struct pool_job {
    const struct ldar_device *device;
    const struct ldar_packed *packed;
    float *mean;
    size_t parts, width, strips;
};

static void pool_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct pool_job *job = argument;
    const size_t which = task / job->strips, column = task % job->strips * LDAR_CPU_COLUMNS;
    const size_t sequence = which / job->parts;
    const size_t left = job->width - column, columns = left < LDAR_CPU_COLUMNS ? left : LDAR_CPU_COLUMNS;
    const size_t begin = job->packed->offsets[sequence], length = job->packed->offsets[sequence + 1] - begin;
    const size_t stride = job->device->stage[0].x_stride;
    float *mean = job->mean + which * job->width + column;
    size_t first = 0, end = 0;
    if (length > 0)
        ldar_head_part(length, job->parts, which % job->parts, &first, &end);
    const float *x = job->device->x[0] + (begin + first) * stride + column;
    double sum[LDAR_CPU_COLUMNS] = {0};
    for (size_t row = first; row < end; row++, x += stride)
        for (size_t c = 0; c < columns; c++)
            sum[c] += (double)x[c];
    for (size_t c = 0; c < columns; c++)
        mean[c] = end > first ? (float)(sum[c] / (double)(end - first)) : NAN;
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_pool(struct ldar_device *device, const struct ldar_packed *packed, size_t parts, float *mean)
{
    const size_t width = device->stage[0].width, strips = (width + LDAR_CPU_COLUMNS - 1) / LDAR_CPU_COLUMNS;
    const struct pool_job job = {device, packed, mean, parts, width, strips};
    ldar_parallel(&device->team, packed->sequences * parts * strips, pool_task, &job);
}

struct pool_backward_job {
    const struct ldar_device *device;
    const struct ldar_packed *packed;
    size_t parts;
    const float *dmean;
};

/* Rows [row, stop) of the sequence, which lie in one tile. */
static void spread(const struct pool_backward_job *job, size_t sequence, size_t row, size_t stop)
{
    const struct ldar_cpu_stage *stage = &job->device->stage[0];
    const size_t begin = job->packed->offsets[sequence], length = job->packed->offsets[sequence + 1] - begin;
    float *dx = job->device->training->dx[0] + row * stage->x_stride;
    for (size_t r = 0; r < stop - row; r++)
        memset(dx + r * stage->x_stride, 0, stage->width * sizeof *dx);
    for (size_t part = (row - begin) * job->parts / length; part < job->parts; part++) { /* none before has such rows */
        const float *dmean = job->dmean + (sequence * job->parts + part) * stage->width;
        size_t first, end;
        ldar_head_part(length, job->parts, part, &first, &end);
        if (begin + first >= stop)
            break;
        for (size_t r = begin + first > row ? begin + first : row; r < begin + end && r < stop; r++)
            for (size_t c = 0; c < stage->width; c++)
                dx[(r - row) * stage->x_stride + c] += (float)((double)dmean[c] / (double)(end - first));
    }
}

/* The rows of a tile, sequence by sequence. */
static void pool_backward_task(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct pool_backward_job *job = argument;
    const size_t *offsets = job->packed->offsets;
    const size_t first = tile * LDAR_TILE, end = first + ldar_tile_rows(job->packed->rows, tile);
    size_t sequence = ldar_sequence_of(job->packed, first);
    for (size_t row = first; row < end; row = offsets[++sequence])
        spread(job, sequence, row, offsets[sequence + 1] < end ? offsets[sequence + 1] : end);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_pool_backward(struct ldar_device *device, const struct ldar_packed *packed, size_t parts,
                            const float *dmean)
{
    const struct pool_backward_job job = {device, packed, parts, dmean};
    ldar_cpu_tape_end(device);
    ldar_parallel(&device->team, ldar_tiles(packed->rows), pool_backward_task, &job);
}
