/* SPDX-License-Identifier: Apache-2.0 */
#include "training.h"

#include <string.h>

/*
 * A stack of pre-norm blocks over x, which is the residual stream. Between two mixers everything is local to a tile, so
 * one task finishes a layer and begins the next while the tile is in cache:
 *
 *   | norm1, in_proj | mixer | gate, out_proj, += x, SwiGLU, += x; norm1, in_proj | mixer | ... | norm |
 *
 * Two waits a layer, and x is read and written once.
 */
struct stack_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_cpu_layer *done, *next; /* the layers around this point of the stack; NULL at its ends */
    const struct ldar_cpu_activations *done_at, *next_at;
    const struct ldar_cpu_record *done_record, *next_record; /* NULL where nothing is to be kept */
    float *last;                                             /* for x behind the last layer, or NULL */
    const float *norm;                                       /* of the stack, applied behind the last layer */
    const uint8_t *ids; /* of x, when the next layer's projection is a table; else NULL */
    float *x;
    size_t rows;
};

void ldar_cpu_operand(const struct ldar_cpu_stage *stage, const float *x, size_t rows, struct ldar_worker *worker)
{
    const size_t stride = ldar_row_stride(stage->width, sizeof *x);
    for (size_t r = 0; r < rows; r++)
        memcpy(worker->tile + r * stride, x + r * stage->x_stride, stage->width * sizeof *x);
}

/* What the GEMM multiplies with when this task is through with `weight`. */
static const struct ldar_gemm_weight *stack_after_out(const struct stack_job *job)
{
    if (job->done->blocks)
        return &job->done->fc1[0];
    return job->next ? &job->next->in : NULL;
}

/* Leaves rows of x for the backward pass. */
static void stack_keep(const struct ldar_cpu_stage *stage, float *to, const float *x, size_t first, size_t rows)
{
    if (to)
        memcpy(to + first * stage->x_stride, x, rows * stage->x_stride * sizeof *x);
}

/* x += out_proj(what the mixer of `done` left), then its SwiGLU. */
static void stack_finish(const struct stack_job *job, size_t first, size_t rows, float *x, struct ldar_worker *worker)
{
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const struct ldar_cpu_layer *layer = job->done;
    const struct ldar_cpu_activations *at = job->done_at;
    const void *z = ldar_element(device, at->z, first * stage->z_stride);
    const void *y = ldar_element(device, at->y[0], first * stage->y_stride);
    if (ldar_is_mamba(layer)) {
        device->kernels->gated_norm(&(struct ldar_gated_norm_args){
            .out = worker->tile,
            .z = z,
            .y = {y, at->in_place ? ldar_element(device, z, stage->inner)
                                  : ldar_element(device, at->y[1], first * stage->y_stride)},
            .weight = {layer->direction[0].own->norm, layer->direction[1].own->norm},
            .eps = 1e-5f,
            .rows = rows,
            .width = stage->inner,
            .out_stride = (ptrdiff_t)ldar_row_stride(stage->inner, device->kernels->element),
            .z_stride = (ptrdiff_t)stage->z_stride,
            .y_stride = {(ptrdiff_t)stage->y_stride, (ptrdiff_t)(at->in_place ? stage->z_stride : stage->y_stride)},
            .scratch = worker->kernel,
        });
    } else {
        const size_t element = device->kernels->element, stride = ldar_row_stride(stage->width, element);
        for (size_t r = 0; r < rows; r++)
            memcpy(ldar_element(device, worker->tile, r * stride), ldar_element(device, y, r * stage->y_stride),
                   stage->width * element);
    }
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_multiply(&layer->out,
                      &(struct ldar_gemm_call){.c = x,
                                               .a = worker->tile,
                                               .c_stride = (ptrdiff_t)stage->x_stride,
                                               .rows = rows,
                                               .mode = LDAR_GEMM_ADD,
                                               .next = stack_after_out(job)},
                      worker);
    if (layer->blocks) {
        stack_keep(stage, job->done_record ? job->done_record->middle : NULL, x, first, rows);
        ldar_cpu_swiglu(device, stage, layer, x,
                        at->hidden ? ldar_element(device, at->hidden, first * stage->hidden_stride) : NULL, rows,
                        job->next ? &job->next->in : NULL, worker);
    }
}

void ldar_cpu_project(const struct ldar_device *device, const struct ldar_cpu_stage *stage,
                      const struct ldar_cpu_layer *layer, const struct ldar_cpu_activations *at, const float *x,
                      size_t first, size_t rows, const struct ldar_gemm_weight *next, struct ldar_worker *worker)
{
    const int steps = layer->step.n > 0;
    device->kernels->rms_norm(worker->tile, x, layer->own->norm1, rows, stage->width, 1e-5f,
                              (ptrdiff_t)ldar_row_stride(stage->width, device->kernels->element),
                              (ptrdiff_t)stage->x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_multiply(&layer->in,
                      &(struct ldar_gemm_call){.c = ldar_element(device, at->z, first * stage->z_stride),
                                               .a = worker->tile,
                                               .c_stride = (ptrdiff_t)stage->z_stride,
                                               .rows = rows,
                                               .next = steps ? &layer->step : next},
                      worker);
    if (steps) /* what in_proj ends with, as floats */
        ldar_cpu_multiply(&layer->step,
                          &(struct ldar_gemm_call){.c = at->dt + first * stage->dt_stride,
                                                   .a = worker->tile,
                                                   .c_stride = (ptrdiff_t)stage->dt_stride,
                                                   .rows = rows,
                                                   .mode = LDAR_GEMM_FLOATS,
                                                   .next = next},
                          worker);
}

/* z = in_proj(norm1(x)); of the very first layer, whose x has seven different rows, a look-up. */
static void stack_begin(const struct stack_job *job, size_t first, size_t rows, const float *x,
                        struct ldar_worker *worker)
{
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const struct ldar_cpu_activations *at = job->next_at;
    const ptrdiff_t z_stride = (ptrdiff_t)stage->z_stride, dt_stride = (ptrdiff_t)stage->dt_stride;
    stack_keep(stage, job->next_record ? job->next_record->x : NULL, x, first, rows);
    if (!job->ids) {
        ldar_cpu_project(device, stage, job->next, at, x, first, rows, job->done ? &job->done->out : &job->next->in,
                         worker);
        return;
    }
    device->kernels->embed(ldar_element(device, at->z, first * stage->z_stride), device->table, job->ids + first, rows,
                           job->next->in.n, z_stride, z_stride);
    if (job->next->step.n)
        device->floats->embed(at->dt + first * stage->dt_stride, device->dt_table, job->ids + first, rows,
                              job->next->step.n, dt_stride, dt_stride);
}

static void stack_tile(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct stack_job *job = argument;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile);
    const ptrdiff_t stride = (ptrdiff_t)job->stage->x_stride;
    float *x = job->x + first * job->stage->x_stride;
    if (job->done)
        stack_finish(job, first, rows, x, worker);
    if (job->next) {
        stack_begin(job, first, rows, x, worker);
        return;
    }
    stack_keep(job->stage, job->last, x, first, rows);
    job->device->floats->rms_norm(x, x, job->norm, rows, job->stage->width, 1e-5f, stride, stride);
}

void ldar_cpu_mix(struct ldar_device *device, struct ldar_cpu_stage *stage, const struct ldar_cpu_layer *layer,
                  struct ldar_cpu_activations *at, const struct ldar_packed *packed)
{
    if (ldar_is_mamba(layer))
        ldar_cpu_bimamba(device, stage, layer, at, packed);
    else
        ldar_cpu_attention(device, stage, at, packed);
}

/* The spans of all sequences. */
static size_t stack_spans(const struct ldar_packed *packed)
{
    size_t spans = 0;
    for (size_t s = 0; s < packed->sequences; s++)
        spans += ldar_spans(packed->offsets[s + 1] - packed->offsets[s]);
    return spans;
}

void ldar_cpu_stack_run(struct ldar_device *device, size_t index, enum ldar_stack_part part,
                        const struct ldar_packed *packed)
{
    struct ldar_cpu_stage *stage = &device->stage[index];
    struct ldar_cpu_stack *stack = &stage->stack[part];
    const int symbols = index == 0 && part == LDAR_ENCODER, keep = device->training && device->training->keep;
    const size_t first = keep ? device->training->reach.first[index][part] : SIZE_MAX; /* layer that is kept */
    struct stack_job job = {
        .device = device, .stage = stage, .norm = stack->norm, .x = device->x[index], .rows = packed->rows};
    struct ldar_cpu_activations *at = &device->shared;
    for (size_t i = 0; i <= stack->layers; i++) {
        job.done = job.next;
        job.done_at = job.next_at;
        job.done_record = job.next_record;
        job.next = i < stack->layers ? &stack->layer[i] : NULL;
        job.ids = i == 0 && symbols ? device->ids : NULL;
        if (job.next && i >= first) {
            ldar_cpu_record(device, stage, job.next, packed->rows, stack_spans(packed), &stack->record[i]);
            job.next_record = &stack->record[i];
            at = stack->record[i].kept ? &stack->record[i].own : &device->shared;
        }
        job.next_at = at;
        if (!job.next)
            job.last = stack->last =
                first < SIZE_MAX ? ldar_cpu_tape_take(device, packed->rows * stage->x_stride) : NULL;
        ldar_parallel(&device->team, ldar_tiles(packed->rows), stack_tile, &job);
        if (job.next)
            ldar_cpu_mix(device, stage, job.next, at, packed);
    }
}

/* ---- backward ---- */

struct norm_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const float *x, *norm;
    float *dx;
    size_t rows;
};

static void norm_backward(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct norm_job *job = argument;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile);
    const ptrdiff_t stride = (ptrdiff_t)stage->x_stride;
    float *dx = job->dx + first * stage->x_stride;
    memcpy(worker->wide, dx, rows * stage->x_stride * sizeof *dx);
    memset(dx, 0, rows * stage->x_stride * sizeof *dx);
    job->device->floats->rms_norm_backward(dx, ldar_cpu_partial(job->device, tile, stage->width), worker->wide,
                                           job->x + first * stage->x_stride, job->norm, rows, stage->width, 1e-5f,
                                           stride, stride, stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_stack_backward(struct ldar_device *device, size_t index, enum ldar_stack_part part,
                             const struct ldar_packed *packed)
{
    struct ldar_cpu_stage *stage = &device->stage[index];
    const struct ldar_cpu_stack *stack = &stage->stack[part];
    float *dx = device->training->dx[index];
    const struct norm_job norm = {device, stage, stack->last, stack->norm, dx, packed->rows};
    ldar_parallel(&device->team, ldar_tiles(packed->rows), norm_backward, &norm);
    ldar_cpu_sum_partial(device, ldar_cpu_gradient(device, stack->norm), 0, stage->width, ldar_tiles(packed->rows));
    for (size_t i = stack->layers; i-- > device->training->reach.first[index][part];)
        ldar_cpu_layer_backward(device, stage, &stack->layer[i], &stack->record[i], dx, packed,
                                i == 0 && index == 0 && part == LDAR_ENCODER);
}
