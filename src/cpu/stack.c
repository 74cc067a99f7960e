/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

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
    const float *norm;                        /* of the stack, applied behind the last layer */
    const uint8_t *ids;                       /* of x, when the next layer's projection is a table; else NULL */
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

/* x += out_proj(what the mixer of `done` left), then its SwiGLU. */
static void stack_finish(const struct stack_job *job, size_t first, size_t rows, float *x, struct ldar_worker *worker)
{
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const struct ldar_cpu_layer *layer = job->done;
    const void *z = ldar_element(device, device->z, first * stage->z_stride);
    const void *y = ldar_element(device, device->y[0], first * stage->y_stride);
    if (layer->own->kind == 'm' || layer->own->kind == 'M') {
        device->kernels->gated_norm(&(struct ldar_gated_norm_args){
            .out = worker->tile,
            .z = z,
            .y = {y, device->in_place ? ldar_element(device, z, stage->inner)
                                      : ldar_element(device, device->y[1], first * stage->y_stride)},
            .weight = {layer->direction[0].own->norm, layer->direction[1].own->norm},
            .eps = 1e-5f,
            .rows = rows,
            .width = stage->inner,
            .out_stride = (ptrdiff_t)ldar_row_stride(stage->inner, device->kernels->element),
            .z_stride = (ptrdiff_t)stage->z_stride,
            .y_stride = {(ptrdiff_t)stage->y_stride, (ptrdiff_t)(device->in_place ? stage->z_stride : stage->y_stride)},
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
    if (layer->blocks)
        ldar_cpu_swiglu(device, stage, layer, x, rows, job->next ? &job->next->in : NULL, worker);
}

/* The step sizes that in_proj ends with, as floats, and what follows them. */
static void stack_steps(const struct stack_job *job, size_t first, size_t rows, const struct ldar_gemm_weight *next,
                        struct ldar_worker *worker)
{
    const struct ldar_cpu_stage *stage = job->stage;
    ldar_cpu_multiply(&job->next->step,
                      &(struct ldar_gemm_call){.c = job->device->dt + first * stage->dt_stride,
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
    const ptrdiff_t z_stride = (ptrdiff_t)stage->z_stride, dt_stride = (ptrdiff_t)stage->dt_stride;
    const struct ldar_gemm_weight *after = job->done ? &job->done->out : &job->next->in;
    const int steps = job->next->step.n > 0;
    void *z = ldar_element(device, device->z, first * stage->z_stride);
    if (job->ids) {
        device->kernels->embed(z, device->table, job->ids + first, rows, job->next->in.n, z_stride, z_stride);
        device->floats->embed(device->dt + first * stage->dt_stride, device->dt_table, job->ids + first, rows,
                              job->next->step.n, dt_stride, dt_stride);
        return;
    }
    device->kernels->rms_norm(worker->tile, x, job->next->own->norm1, rows, stage->width, 1e-5f,
                              (ptrdiff_t)ldar_row_stride(stage->width, device->kernels->element),
                              (ptrdiff_t)stage->x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_multiply(
        &job->next->in,
        &(struct ldar_gemm_call){
            .c = z, .a = worker->tile, .c_stride = z_stride, .rows = rows, .next = steps ? &job->next->step : after},
        worker);
    if (steps)
        stack_steps(job, first, rows, after, worker);
}

static void stack_tile(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct stack_job *job = argument;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile);
    const ptrdiff_t stride = (ptrdiff_t)job->stage->x_stride;
    float *x = job->x + first * job->stage->x_stride;
    if (job->done)
        stack_finish(job, first, rows, x, worker);
    if (job->next)
        stack_begin(job, first, rows, x, worker);
    else
        job->device->floats->rms_norm(x, x, job->norm, rows, job->stage->width, 1e-5f, stride, stride);
}

void ldar_cpu_stack_run(struct ldar_device *device, size_t index, enum ldar_stack_part part,
                        const struct ldar_packed *packed)
{
    struct ldar_cpu_stage *stage = &device->stage[index];
    const struct ldar_cpu_stack *stack = &stage->stack[part];
    int symbols = index == 0 && part == LDAR_ENCODER;
    for (size_t i = 0; i <= stack->layers; i++) {
        struct stack_job job = {
            .device = device,
            .stage = stage,
            .done = i ? &stack->layer[i - 1] : NULL,
            .next = i < stack->layers ? &stack->layer[i] : NULL,
            .norm = stack->norm,
            .ids = i == 0 && symbols ? device->ids : NULL,
            .x = device->x[index],
            .rows = packed->rows,
        };
        ldar_parallel(&device->team, ldar_tiles(packed->rows), stack_tile, &job);
        if (!job.next)
            break;
        if (job.next->own->kind == 'm' || job.next->own->kind == 'M')
            ldar_cpu_bimamba(device, stage, job.next, packed);
        else
            ldar_cpu_attention(device, stage, packed);
    }
}
