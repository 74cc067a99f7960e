/* SPDX-License-Identifier: Apache-2.0 */
#include "training.h"

#include <string.h>

/*
 * A layer, from dx behind it to dx before it; dx is the gradient of the residual stream and passes every layer by:
 *
 *   | its SwiGLU | out_proj, gate, norm | mixer | in_proj, norm1, += dx | weight gradients |
 */
struct layer_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_cpu_layer *layer;
    const struct ldar_cpu_record *record;
    const struct ldar_cpu_activations *at;
    struct ldar_cpu_transposed in, out;
    float *dx;
    size_t rows, dz_stride;
};

/* Elements between the rows of arrays of D, or of a mixer's width. */
static size_t row_of(const struct ldar_device *device, size_t width)
{
    return ldar_row_stride(width, device->kernels->element);
}

/* z and y of a layer that has not kept them. */
static void again_tile(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct layer_job *job = argument;
    const size_t first = tile * LDAR_TILE;
    ldar_cpu_project(job->device, job->stage, job->layer, job->at, job->record->x + first * job->stage->x_stride, first,
                     ldar_tile_rows(job->rows, tile), &job->layer->in, worker);
}

/* Of the gated norm: dz's gate, dy in place of y, and what out_proj multiplied. */
static void gate_backward(const struct layer_job *job, size_t tile, const float *dmixed, size_t dmixed_stride,
                          struct ldar_worker *worker)
{
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile), inner = stage->inner;
    const size_t mixed = row_of(device, inner);
    float *partial = ldar_cpu_partial(device, tile, 2 * inner);
    void *y[2] = {ldar_element(device, job->at->y[0], first * stage->y_stride),
                  ldar_element(device, job->at->y[1], first * stage->y_stride)};
    device->kernels->gated_norm_backward(&(struct ldar_gated_norm_backward_args){
        .out = ldar_element(device, training->mixed, first * mixed),
        .dz = ldar_element(device, training->dz, first * job->dz_stride),
        .dy = {y[0], y[1]},
        .dweight = {partial, partial + inner},
        .dout = dmixed,
        .z = ldar_element(device, job->at->z, first * stage->z_stride),
        .y = {y[0], y[1]},
        .weight = {job->layer->direction[0].own->norm, job->layer->direction[1].own->norm},
        .eps = 1e-5f,
        .rows = rows,
        .width = inner,
        .out_stride = (ptrdiff_t)mixed,
        .dz_stride = (ptrdiff_t)job->dz_stride,
        .dout_stride = (ptrdiff_t)dmixed_stride,
        .z_stride = (ptrdiff_t)stage->z_stride,
        .y_stride = {(ptrdiff_t)stage->y_stride, (ptrdiff_t)stage->y_stride},
        .scratch = worker->kernel,
    });
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

/* Through out_proj, to what each mixer's backward pass begins with. */
static void out_backward(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct layer_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile),
                 stride = row_of(device, stage->width);
    const size_t wide = ldar_row_stride(job->out.k, sizeof(float));
    void *dout = ldar_element(device, training->dout, first * stride);
    device->kernels->round_rows(dout, job->dx + first * stage->x_stride, rows, stage->width, (ptrdiff_t)stride,
                                (ptrdiff_t)stage->x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_back(&job->out, 0, job->out.k, worker->wide, wide, dout, stride, rows, LDAR_GEMM_FLOATS, &job->out,
                  worker);
    if (ldar_is_mamba(job->layer))
        gate_backward(job, tile, worker->wide, wide, worker);
    else
        device->kernels->round_rows(ldar_element(device, training->mixed, first * stride), worker->wide, rows,
                                    stage->width, (ptrdiff_t)stride, (ptrdiff_t)wide);
}

/* The step sizes' columns of dz: both directions' share. */
static void steps_backward(const struct layer_job *job, size_t first, size_t rows, struct ldar_worker *worker)
{
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t column = 2 * (stage->inner + stage->config->state);
    float *sum = worker->tile;
    for (size_t r = 0; r < rows; r++)
        for (size_t h = 0; h < stage->heads; h++) {
            const size_t at = (first + r) * stage->dt_stride + h;
            sum[r * stage->dt_stride + h] = device->training->ddt[0][at] + device->training->ddt[1][at];
        }
    device->kernels->round_rows(ldar_element(device, device->training->dz, first * job->dz_stride + column), sum, rows,
                                stage->heads, (ptrdiff_t)job->dz_stride, (ptrdiff_t)stage->dt_stride);
}

/* Through in_proj and norm1, into the residual stream. */
static void in_backward(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct layer_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile), width = stage->width;
    const ptrdiff_t stride = (ptrdiff_t)row_of(device, width), wide = (ptrdiff_t)ldar_row_stride(width, sizeof(float));
    const float *x = job->record->x + first * stage->x_stride;
    if (ldar_is_mamba(job->layer))
        steps_backward(job, first, rows, worker);
    device->kernels->rms_norm(ldar_element(device, device->training->input, first * (size_t)stride), x,
                              job->layer->own->norm1, rows, width, 1e-5f, stride, (ptrdiff_t)stage->x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_back(&job->in, 0, width, worker->wide, (size_t)wide,
                  ldar_element(device, device->training->dz, first * job->dz_stride), job->dz_stride, rows,
                  LDAR_GEMM_FLOATS, &job->in, worker);
    device->floats->rms_norm_backward(job->dx + first * stage->x_stride, ldar_cpu_partial(device, tile, width),
                                      worker->wide, x, job->layer->own->norm1, rows, width, 1e-5f,
                                      (ptrdiff_t)stage->x_stride, wide, (ptrdiff_t)stage->x_stride);
}

/*
 * The first layer of all saw seven different rows: the gradients of all rows of a symbol are summed before they go
 * through in_proj. Leaves seven rows in `input` and at the beginning of dz; dx stays as it is.
 */
struct symbols_job {
    const struct layer_job *layer;
    float *sums; /* (7, columns) */
    size_t columns, first;
};

enum { SYMBOL_STRIP = 256 };

static void symbols_sum(const void *argument, size_t strip, struct ldar_worker *worker)
{
    const struct symbols_job *job = argument;
    const struct ldar_device *device = job->layer->device;
    const size_t first = strip * SYMBOL_STRIP, left = job->columns - first;
    const size_t width = left < SYMBOL_STRIP ? left : SYMBOL_STRIP;
    for (size_t s = 0; s < LDAR_SYMBOLS; s++)
        memset(job->sums + s * job->columns + first, 0, width * sizeof *job->sums);
    device->kernels->embed_backward(job->sums + first, ldar_element(device, device->training->dz, first), device->ids,
                                    job->layer->rows, width, (ptrdiff_t)job->columns, (ptrdiff_t)job->layer->dz_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

static void symbols_steps(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct layer_job *job = argument;
    steps_backward(job, tile * LDAR_TILE, ldar_tile_rows(job->rows, tile), worker);
}

static void symbols_project(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct symbols_job *job = argument;
    const struct layer_job *layer = job->layer;
    const struct ldar_device *device = layer->device;
    const size_t width = layer->stage->width, wide = ldar_row_stride(width, sizeof(float));
    const float *table = device->parameters->embeddings, *norm = layer->layer->own->norm1;
    (void)task;
    device->kernels->round_rows(device->training->dz, job->sums, LDAR_SYMBOLS, job->columns,
                                (ptrdiff_t)layer->dz_stride, (ptrdiff_t)job->columns);
    device->kernels->rms_norm(device->training->input, table, norm, LDAR_SYMBOLS, width, 1e-5f,
                              (ptrdiff_t)row_of(device, width), (ptrdiff_t)width);
    ldar_cpu_back(&layer->in, 0, width, worker->wide, wide, device->training->dz, layer->dz_stride, LDAR_SYMBOLS,
                  LDAR_GEMM_FLOATS, NULL, worker);
    device->floats->rms_norm_backward(ldar_cpu_gradient(device, table), ldar_cpu_gradient(device, norm), worker->wide,
                                      table, norm, LDAR_SYMBOLS, width, 1e-5f, (ptrdiff_t)width, (ptrdiff_t)wide,
                                      (ptrdiff_t)width);
}

static void symbols_backward(struct ldar_device *device, const struct layer_job *layer)
{
    struct symbols_job job = {layer, device->training->dhidden, layer->in.n, 0};
    if (ldar_is_mamba(layer->layer))
        ldar_parallel(&device->team, ldar_tiles(layer->rows), symbols_steps, layer);
    ldar_parallel(&device->team, (job.columns + SYMBOL_STRIP - 1) / SYMBOL_STRIP, symbols_sum, &job);
    ldar_parallel(&device->team, 1, symbols_project, &job);
}

/* The layer's z, y and states, kept or computed again. */
static const struct ldar_cpu_activations *layer_activations(struct layer_job *job, struct ldar_cpu_stage *stage,
                                                            const struct ldar_packed *packed,
                                                            struct ldar_cpu_activations *again)
{
    struct ldar_device *device = (struct ldar_device *)(uintptr_t)job->device;
    if (job->record->kept)
        return &job->record->own;
    *again = device->shared;
    again->states[0] = device->training->states[0];
    again->states[1] = device->training->states[1];
    again->log_sum = device->training->log_sum;
    job->at = again;
    ldar_parallel(&device->team, ldar_tiles(job->rows), again_tile, job);
    ldar_cpu_mix(device, stage, job->layer, again, packed);
    return again;
}

static void layer_weights(struct ldar_device *device, const struct layer_job *job, int symbols)
{
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_cpu_stage *stage = job->stage;
    const struct ldar_layer *own = job->layer->own;
    const int mamba = ldar_is_mamba(job->layer);
    const struct ldar_matrix *in = mamba ? &own->bimamba.in_proj : &own->attention.wqkv;
    const struct ldar_matrix *out = mamba ? &own->bimamba.out_proj : &own->attention.out_proj;
    const size_t width = row_of(device, stage->width);
    const struct ldar_cpu_product products[2] = {
        {device->kernels, ldar_cpu_gradient(device, out->data), training->dout, mamba ? training->mixed : job->at->y[0],
         out->rows, out->columns, width, mamba ? row_of(device, stage->inner) : stage->y_stride},
        {device->kernels, ldar_cpu_gradient(device, in->data), training->dz, training->input, in->rows, in->columns,
         job->dz_stride, width},
    };
    ldar_cpu_weight_gradients(device, products, symbols ? 1 : 2, job->rows);
    if (symbols)
        ldar_cpu_weight_gradients(device, products + 1, 1, LDAR_SYMBOLS);
}

void ldar_cpu_layer_backward(struct ldar_device *device, struct ldar_cpu_stage *stage,
                             const struct ldar_cpu_layer *layer, const struct ldar_cpu_record *record, float *dx,
                             const struct ldar_packed *packed, int symbols)
{
    const struct ldar_layer *own = layer->own;
    const int mamba = ldar_is_mamba(layer);
    const struct ldar_matrix *in = mamba ? &own->bimamba.in_proj : &own->attention.wqkv;
    const struct ldar_matrix *out = mamba ? &own->bimamba.out_proj : &own->attention.out_proj;
    const size_t tiles = ldar_tiles(packed->rows);
    struct ldar_cpu_activations again;
    struct layer_job job = {.device = device,
                            .stage = stage,
                            .layer = layer,
                            .record = record,
                            .dx = dx,
                            .rows = packed->rows,
                            .dz_stride = ldar_cpu_dz_stride(device, stage)};
    if (layer->blocks)
        ldar_cpu_swiglu_backward(device, stage, layer, record, dx, packed->rows);
    job.at = layer_activations(&job, stage, packed, &again);
    ldar_cpu_transpose(device, device->kernels, device->rounded, out->data, out->rows, out->columns,
                       (char *)device->training->packed[0], &job.out);
    ldar_cpu_transpose(device, device->kernels, device->rounded, in->data, in->rows, in->columns,
                       (char *)device->training->packed[1], &job.in);
    ldar_parallel(&device->team, tiles, out_backward, &job);
    if (mamba) {
        for (size_t d = 0; d < 2; d++)
            ldar_cpu_sum_partial(device, ldar_cpu_gradient(device, layer->direction[d].own->norm), d * stage->inner,
                                 stage->inner, tiles);
        ldar_cpu_bimamba_backward(device, stage, layer, job.at, packed);
    } else {
        ldar_cpu_attention_backward(device, stage, job.at, packed);
    }
    if (symbols) {
        symbols_backward(device, &job);
    } else {
        ldar_parallel(&device->team, tiles, in_backward, &job);
        ldar_cpu_sum_partial(device, ldar_cpu_gradient(device, own->norm1), 0, stage->width, tiles);
    }
    layer_weights(device, &job, symbols);
    ldar_cpu_final(device, own->norm1);
}
