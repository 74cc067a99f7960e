/* SPDX-License-Identifier: Apache-2.0 */
#include "training.h"

#include <math.h>

/*
 * Attention between Wqkv and out_proj. A task is one head of LDAR_ATTENTION_QUERIES queries of one sequence, so the
 * blocks of a sequence lie in the same places whatever stands around it.
 */
struct attention_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_cpu_activations *at;
    size_t rows;
};

/* The kept sums of one head's exponentials, from the first row of a sequence on; NULL where they are not kept. */
static float *attention_sums(const struct attention_job *job, size_t head, size_t start)
{
    return job->at->log_sum ? job->at->log_sum + head * job->rows + start : NULL;
}

static void attention_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct attention_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t heads = stage->config->attention_heads, width = stage->width / heads, head = task % heads;
    const struct ldar_piece *piece = &device->piece[task / heads];
    const size_t start = piece->first - piece->before;
    const void *q = ldar_element(device, job->at->z, start * stage->z_stride + head * width);
    device->kernels->attention(&(struct ldar_attention_args){
        .out = ldar_element(device, job->at->y[0], start * stage->y_stride + head * width),
        .q = q,
        .k = ldar_element(device, q, stage->width),
        .v = ldar_element(device, q, 2 * stage->width),
        .cosine = stage->cosine,
        .sine = stage->sine,
        .length = piece->before + piece->length + piece->after,
        .first = piece->before,
        .queries = piece->length,
        .width = width,
        .rotary = stage->rotary,
        .window = stage->config->window,
        .stride = (ptrdiff_t)stage->z_stride,
        .out_stride = (ptrdiff_t)stage->y_stride,
        .scale = (float)(1.0 / sqrt((double)width)),
        .log_sum = attention_sums(job, head, start),
        .scratch = worker->kernel,
    });
    ldar_lap(worker, LDAR_CLOCK_ATTENTION);
}

struct rotation_job {
    const struct ldar_cpu_stage *stage;
    size_t first, end;
};

enum { ROTATION_BLOCK = 256 };

static void rotation_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct rotation_job *job = argument;
    const size_t rotary = job->stage->rotary, half = rotary / 2;
    const size_t first = job->first + task * ROTATION_BLOCK;
    const size_t end = job->end - first < ROTATION_BLOCK ? job->end : first + ROTATION_BLOCK;
    for (size_t i = 0; i < half; i++) {
        double frequency = pow(10000.0, -2.0 * (double)i / (double)rotary);
        for (size_t position = first; position < end; position++) {
            job->stage->cosine[position * half + i] = (float)cos((double)position * frequency);
            job->stage->sine[position * half + i] = (float)sin((double)position * frequency);
        }
    }
    ldar_lap(worker, LDAR_CLOCK_ATTENTION);
}

/* Angles are formed in double precision: at position 65,536 a float has lost the fourth digit of the rotation. */
static void attention_rotations(struct ldar_device *device, struct ldar_cpu_stage *stage, size_t positions)
{
    if (stage->rotary == 0 || positions <= stage->positions)
        return;
    struct rotation_job job = {stage, stage->positions, positions};
    ldar_parallel(&device->team, (positions - stage->positions + ROTATION_BLOCK - 1) / ROTATION_BLOCK, rotation_task,
                  &job);
    stage->positions = positions;
}

void ldar_cpu_attention(struct ldar_device *device, struct ldar_cpu_stage *stage, const struct ldar_cpu_activations *at,
                        const struct ldar_packed *packed)
{
    struct attention_job job = {device, stage, at, packed->rows};
    size_t longest = 0;
    for (size_t s = 0; s < packed->sequences; s++) {
        size_t length = packed->offsets[s + 1] - packed->offsets[s];
        longest = length > longest ? length : longest;
    }
    attention_rotations(device, stage, longest);
    ldar_cpu_cut(device, packed, LDAR_ATTENTION_QUERIES);
    ldar_parallel(&device->team, device->pieces * stage->config->attention_heads, attention_task, &job);
}

/* ---- backward ---- */

/* One head of one sequence. The gradient of the output is in `mixed`, that of q, k and v goes where they are in dz. */
static void attention_backward(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct attention_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t heads = stage->config->attention_heads, width = stage->width / heads, head = task % heads;
    const struct ldar_piece *piece = &device->piece[task / heads];
    const size_t dz_stride = ldar_cpu_dz_stride(device, stage);
    const size_t dout_stride = ldar_row_stride(stage->width, device->kernels->element);
    const void *q = ldar_element(device, job->at->z, piece->first * stage->z_stride + head * width);
    void *dq = ldar_element(device, device->training->dz, piece->first * dz_stride + head * width);
    device->kernels->attention_backward(&(struct ldar_attention_backward_args){
        .dq = dq,
        .dk = ldar_element(device, dq, stage->width),
        .dv = ldar_element(device, dq, 2 * stage->width),
        .dout = ldar_element(device, device->training->mixed, piece->first * dout_stride + head * width),
        .q = q,
        .k = ldar_element(device, q, stage->width),
        .v = ldar_element(device, q, 2 * stage->width),
        .out = ldar_element(device, job->at->y[0], piece->first * stage->y_stride + head * width),
        .log_sum = attention_sums(job, head, piece->first),
        .cosine = stage->cosine,
        .sine = stage->sine,
        .length = piece->length,
        .width = width,
        .rotary = stage->rotary,
        .window = stage->config->window,
        .stride = (ptrdiff_t)stage->z_stride,
        .out_stride = (ptrdiff_t)stage->y_stride,
        .dout_stride = (ptrdiff_t)dout_stride,
        .gradient_stride = (ptrdiff_t)dz_stride,
        .scale = (float)(1.0 / sqrt((double)width)),
        .scratch = worker->kernel,
    });
    ldar_lap(worker, LDAR_CLOCK_ATTENTION);
}

void ldar_cpu_attention_backward(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                                 const struct ldar_cpu_activations *at, const struct ldar_packed *packed)
{
    const struct attention_job job = {device, stage, at, packed->rows};
    ldar_cpu_cut(device, packed, SIZE_MAX);
    ldar_parallel(&device->team, device->pieces * stage->config->attention_heads, attention_backward, &job);
}
