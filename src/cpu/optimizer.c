/* SPDX-License-Identifier: Apache-2.0 */
/* Passes over all parameters at once: AdamW, and the norm of the gradient. */
#include "training.h"

enum { OPTIMIZER_BLOCK = 1 << 16 };

struct optimizer_job {
    const struct ldar_device *device;
    const struct ldar_optimizer_part *part;
    const float *x;
    double *sum; /* (blocks) */
    size_t count;
};

static size_t blocks_of(size_t count)
{
    return (count + OPTIMIZER_BLOCK - 1) / OPTIMIZER_BLOCK;
}

static size_t block_size(size_t count, size_t first)
{
    return count - first < OPTIMIZER_BLOCK ? count - first : OPTIMIZER_BLOCK;
}

static void optimize_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct optimizer_job *job = argument;
    const struct ldar_optimizer_part *p = job->part;
    for (; task >= blocks_of(p->count); p++)
        task -= blocks_of(p->count);
    const size_t first = task * OPTIMIZER_BLOCK;
    job->device->floats->adamw(&(struct ldar_adamw_args){
        .weight = p->weight + first,
        .moment1 = p->moment1 + first,
        .moment2 = p->moment2 + first,
        .gradient = p->gradient + first,
        .count = block_size(p->count, first),
        .scale = p->scale,
        .rate = p->rate,
        .beta1 = p->beta1,
        .beta2 = p->beta2,
        .correction1 = p->correction1,
        .correction2 = p->correction2,
        .epsilon = p->epsilon,
        .decay = p->decay,
    });
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_optimize(struct ldar_device *device, const struct ldar_optimizer_part *parts, size_t count)
{
    const struct optimizer_job job = {.device = device, .part = parts};
    size_t tasks = 0;
    for (size_t i = 0; i < count; i++)
        tasks += blocks_of(parts[i].count);
    ldar_parallel(&device->team, tasks, optimize_task, &job);
}

static void square_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct optimizer_job *job = argument;
    const size_t first = task * OPTIMIZER_BLOCK;
    job->device->floats->sum_squares(&job->sum[task], job->x + first, block_size(job->count, first));
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_sum_squares(struct ldar_device *device, const float *x, size_t count, double *sum)
{
    enum { ABREAST = 256 };
    double part[ABREAST];
    *sum = 0;
    for (size_t first = 0; first < count; first += (size_t)ABREAST * OPTIMIZER_BLOCK) {
        const size_t left = count - first, most = (size_t)ABREAST * OPTIMIZER_BLOCK;
        const struct optimizer_job job = {
            .device = device, .x = x + first, .sum = part, .count = left < most ? left : most};
        ldar_parallel(&device->team, blocks_of(job.count), square_task, &job);
        for (size_t i = 0; i < blocks_of(job.count); i++)
            *sum += part[i];
    }
}
