/* SPDX-License-Identifier: Apache-2.0 */
/* The two ends of the network: the symbols' embedding and the head, with the loss of masked language modelling. */
#include "training.h"

#include <string.h>

struct head_job {
    const struct ldar_device *device;
    const uint8_t *labels;
    float scale;
    float *logits, *loss;
    uint8_t *correct;
    size_t rows;
};

static void head_task(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct head_job *job = argument;
    const struct ldar_device *device = job->device;
    const size_t first = tile * LDAR_TILE, stride = device->stage[0].x_stride;
    (void)worker;
    device->floats->head(job->logits + first * LDAR_SYMBOLS, device->x[0] + first * stride, device->parameters->head,
                         ldar_tile_rows(job->rows, tile), device->stage[0].width, LDAR_SYMBOLS, (ptrdiff_t)stride);
}

void ldar_cpu_head(struct ldar_device *device, const struct ldar_packed *packed, float *logits)
{
    const struct head_job job = {.device = device, .logits = logits, .rows = packed->rows};
    ldar_parallel(&device->team, ldar_tiles(packed->rows), head_task, &job);
}

/* Whether each label is the most likely symbol, the first of equals. */
static void classify_rows(uint8_t *correct, const float *logits, const uint8_t *labels, size_t rows)
{
    for (size_t r = 0; r < rows; r++, logits += LDAR_SYMBOLS) {
        size_t best = 0;
        for (size_t s = 1; s < LDAR_SYMBOLS; s++)
            best = logits[s] > logits[best] ? s : best;
        correct[r] = labels[r] == best;
    }
}

/* Logits, loss and, in a pass that is kept, the gradient of the hidden states of a tile. */
static void classify_task(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct head_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_cpu_stage *stage = &device->stage[0];
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile), width = stage->width;
    const float *x = device->x[0] + first * stage->x_stride;
    float logits[LDAR_TILE * LDAR_SYMBOLS], dlogits[LDAR_TILE * LDAR_SYMBOLS];
    device->floats->head(logits, x, device->parameters->head, rows, width, LDAR_SYMBOLS, (ptrdiff_t)stage->x_stride);
    device->floats->cross_entropy(dlogits, job->loss + first, logits, job->labels + first, rows, LDAR_SYMBOLS,
                                  job->scale);
    classify_rows(job->correct + first, logits, job->labels + first, rows);
    if (training->keep)
        device->floats->head_backward(training->dx[0] + first * stage->x_stride,
                                      ldar_cpu_partial(device, tile, LDAR_SYMBOLS * width), dlogits, x,
                                      device->parameters->head, rows, width, LDAR_SYMBOLS, (ptrdiff_t)stage->x_stride,
                                      (ptrdiff_t)stage->x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_classify(struct ldar_device *device, const struct ldar_packed *packed, const uint8_t *labels, float scale,
                       float *loss, uint8_t *correct)
{
    const struct head_job job = {device, labels, scale, NULL, loss, correct, packed->rows};
    ldar_parallel(&device->team, ldar_tiles(packed->rows), classify_task, &job);
    if (!device->training->keep)
        return;
    ldar_cpu_tape_end(device);
    ldar_cpu_sum_partial(device, ldar_cpu_gradient(device, device->parameters->head), 0,
                         LDAR_SYMBOLS * device->stage[0].width, ldar_tiles(packed->rows));
}

/* ---- embedding ---- */

struct embed_job {
    const struct ldar_device *device;
    const uint8_t *ids;
    size_t rows;
};

static void embed_task(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct embed_job *job = argument;
    const struct ldar_device *device = job->device;
    const size_t first = tile * LDAR_TILE, width = device->stage[0].width;
    (void)worker;
    device->floats->embed(device->x[0] + first * device->stage[0].x_stride, device->parameters->embeddings,
                          job->ids + first, ldar_tile_rows(job->rows, tile), width,
                          (ptrdiff_t)device->stage[0].x_stride, (ptrdiff_t)width);
}

void ldar_cpu_embed(struct ldar_device *device, const uint8_t *ids, const struct ldar_packed *packed)
{
    const struct embed_job job = {device, ids, packed->rows};
    device->ids = ids;
    ldar_parallel(&device->team, ldar_tiles(packed->rows), embed_task, &job);
}

enum { EMBED_STRIP = 64 };

static void embed_backward_task(const void *argument, size_t strip, struct ldar_worker *worker)
{
    const struct embed_job *job = argument;
    const struct ldar_device *device = job->device;
    const size_t first = strip * EMBED_STRIP, width = device->stage[0].width, left = width - first;
    device->floats->embed_backward(
        ldar_cpu_gradient(device, device->parameters->embeddings) + first, device->training->dx[0] + first, job->ids,
        job->rows, left < EMBED_STRIP ? left : EMBED_STRIP, (ptrdiff_t)width, (ptrdiff_t)device->stage[0].x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_embed_backward(struct ldar_device *device, const struct ldar_packed *packed)
{
    const struct embed_job job = {device, device->ids, packed->rows};
    ldar_parallel(&device->team, (device->stage[0].width + EMBED_STRIP - 1) / EMBED_STRIP, embed_backward_task, &job);
    ldar_cpu_final(device, device->training->weights);
}
