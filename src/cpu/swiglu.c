/* SPDX-License-Identifier: Apache-2.0 */
#include "training.h"

/*
 * fc1, activation and fc2 go block by block over the SwiGLU's width, so that what lies between the two products,
 * (T, block), is still in L2 when the second reads it; the activation is done where fc1 stores its result. In a pass
 * with a backward one, fc1 stores up and gate, kept or not, and the activation is a step of its own: whether they are
 * kept changes no bit, also where they are rounded to bfloat16.
 */
static void swiglu_first(const struct ldar_device *device, const struct ldar_cpu_stage *stage,
                         const struct ldar_gemm_weight *fc1, void *kept, size_t width, size_t rows,
                         const struct ldar_gemm_weight *next, struct ldar_worker *worker)
{
    const size_t element = device->kernels->element;
    const ptrdiff_t stride = (ptrdiff_t)ldar_row_stride(width, element);
    const int apart = device->training && device->training->keep;
    void *hidden = kept ? kept : worker->panels;
    const ptrdiff_t hidden_stride = (ptrdiff_t)(kept ? stage->hidden_stride : ldar_row_stride(2 * width, element));
    ldar_cpu_multiply(fc1,
                      &(struct ldar_gemm_call){.c = apart ? hidden : worker->hidden,
                                               .a = worker->tile,
                                               .c_stride = apart ? hidden_stride : stride,
                                               .rows = rows,
                                               .panels = apart,
                                               .next = next},
                      worker);
    if (apart) {
        device->kernels->swiglu_panels(worker->hidden, hidden, rows, width, stride, hidden_stride);
        ldar_lap(worker, LDAR_CLOCK_OTHER);
    }
}

void ldar_cpu_swiglu(const struct ldar_device *device, const struct ldar_cpu_stage *stage,
                     const struct ldar_cpu_layer *layer, float *x, void *hidden, size_t rows,
                     const struct ldar_gemm_weight *next, struct ldar_worker *worker)
{
    const size_t element = device->kernels->element, stride = ldar_row_stride(stage->width, element);
    device->kernels->rms_norm(worker->tile, x, layer->own->norm2, rows, stage->width, 1e-5f, (ptrdiff_t)stride,
                              (ptrdiff_t)stage->x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    for (size_t block = 0, first = 0; block < layer->blocks; first += layer->fc2[block++].k) {
        const struct ldar_gemm_weight *fc1 = &layer->fc1[block], *fc2 = &layer->fc2[block];
        swiglu_first(device, stage, fc1, hidden ? ldar_element(device, hidden, 2 * first) : NULL, fc2->k, rows, fc2,
                     worker);
        ldar_cpu_multiply(fc2,
                          &(struct ldar_gemm_call){.c = x,
                                                   .a = worker->hidden,
                                                   .c_stride = (ptrdiff_t)stage->x_stride,
                                                   .rows = rows,
                                                   .mode = LDAR_GEMM_ADD,
                                                   .next = block + 1 < layer->blocks ? fc1 + 1 : next},
                          worker);
    }
}

/* ---- backward ---- */

/*
 * One pass over tiles: through fc2, the activation and fc1, block by block, and norm2, into the residual stream; then
 * the gradients of both matrices. A block of dhidden is all of its up first, then its gate.
 */
enum { BLOCKS = 16 };

struct swiglu_job {
    const struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_cpu_layer *layer;
    const struct ldar_cpu_record *record;
    struct ldar_cpu_transposed down;       /* fc2 */
    struct ldar_cpu_transposed (*half)[2]; /* (blocks): fc1's rows of up and of gate */
    float *dx;
    size_t rows, h_stride, u_stride;
};

/* Up and gate of a block, in the order of the panels: kept, or computed again. */
static const void *block_hidden(const struct swiglu_job *job, size_t block, size_t column, size_t first, size_t rows,
                                const void *u, size_t *stride, struct ldar_worker *worker)
{
    const struct ldar_device *device = job->device;
    const struct ldar_gemm_weight *fc1 = &job->layer->fc1[block];
    if (job->record->kept) {
        *stride = job->stage->hidden_stride;
        return ldar_element(device, job->record->own.hidden, first * *stride + 2 * column);
    }
    *stride = ldar_row_stride(fc1->n, device->kernels->element);
    ldar_cpu_multiply(
        fc1,
        &(struct ldar_gemm_call){
            .c = worker->panels, .a = u, .c_stride = (ptrdiff_t)*stride, .rows = rows, .panels = 1, .next = fc1},
        worker);
    return worker->panels;
}

static void swiglu_block(const struct swiglu_job *job, size_t block, size_t column, size_t first, size_t rows,
                         const void *u, struct ldar_worker *worker)
{
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t width = job->layer->fc2[block].k, wide = ldar_row_stride(width, sizeof(float));
    const size_t input = ldar_row_stride(stage->width, sizeof(float));
    const struct ldar_cpu_transposed *half = job->half[block];
    void *dhidden = ldar_element(device, training->dhidden, first * stage->hidden_stride + 2 * column);
    size_t stride;
    const void *hidden = block_hidden(job, block, column, first, rows, u, &stride, worker);
    ldar_cpu_back(&job->down, column, width, worker->wide, wide,
                  ldar_element(device, training->dout, first * job->u_stride), job->u_stride, rows, LDAR_GEMM_FLOATS,
                  &half[0], worker);
    device->kernels->swiglu_backward(ldar_element(device, training->mixed, first * job->h_stride + column), dhidden,
                                     worker->wide, hidden, rows, width, (ptrdiff_t)job->h_stride,
                                     (ptrdiff_t)stage->hidden_stride, (ptrdiff_t)wide, (ptrdiff_t)stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    ldar_cpu_back(&half[0], 0, stage->width, worker->tile, input, dhidden, stage->hidden_stride, rows,
                  block ? LDAR_GEMM_ADD : LDAR_GEMM_FLOATS, &half[1], worker);
    ldar_cpu_back(&half[1], 0, stage->width, worker->tile, input, ldar_element(device, dhidden, width),
                  stage->hidden_stride, rows, LDAR_GEMM_ADD, &job->down, worker);
}

static void swiglu_tile(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct swiglu_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile);
    const ptrdiff_t stride = (ptrdiff_t)job->u_stride, x_stride = (ptrdiff_t)stage->x_stride;
    const float *x = job->record->middle + first * stage->x_stride;
    float *dx = job->dx + first * stage->x_stride;
    void *u = ldar_element(device, device->training->input, first * job->u_stride);
    device->kernels->rms_norm(u, x, job->layer->own->norm2, rows, stage->width, 1e-5f, stride, x_stride);
    device->kernels->round_rows(ldar_element(device, device->training->dout, first * job->u_stride), dx, rows,
                                stage->width, stride, x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
    for (size_t block = 0, column = 0; block < job->layer->blocks; column += job->layer->fc2[block++].k)
        swiglu_block(job, block, column, first, rows, u, worker);
    device->floats->rms_norm_backward(dx, ldar_cpu_partial(device, tile, stage->width), worker->tile, x,
                                      job->layer->own->norm2, rows, stage->width, 1e-5f, x_stride,
                                      (ptrdiff_t)ldar_row_stride(stage->width, sizeof(float)), x_stride);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

/* fc2's gradient, and that of fc1 by blocks of its rows. */
static void swiglu_weights(struct ldar_device *device, const struct swiglu_job *job)
{
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_matrix *fc1 = &job->layer->own->swiglu.fc1, *fc2 = &job->layer->own->swiglu.fc2;
    const size_t stride = job->stage->hidden_stride;
    struct ldar_cpu_product product[1 + 2 * BLOCKS] = {{device->kernels, ldar_cpu_gradient(device, fc2->data),
                                                        training->dout, training->mixed, fc2->rows, fc2->columns,
                                                        job->u_stride, job->h_stride}};
    size_t count = 1;
    float *dw = ldar_cpu_gradient(device, fc1->data);
    for (size_t block = 0, column = 0; block < job->layer->blocks; column += job->layer->fc2[block++].k)
        for (size_t half = 0; half < 2; half++) {
            const size_t width = job->layer->fc2[block].k;
            product[count++] = (struct ldar_cpu_product){
                device->kernels,
                dw + (half * fc2->columns + column) * fc1->columns,
                ldar_element(device, training->dhidden, 2 * column + half * width),
                training->input,
                width,
                fc1->columns,
                stride,
                job->u_stride,
            };
        }
    ldar_cpu_weight_gradients(device, product, count, job->rows);
}

void ldar_cpu_swiglu_backward(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                              const struct ldar_cpu_layer *layer, const struct ldar_cpu_record *record, float *dx,
                              size_t rows)
{
    const struct ldar_matrix *fc1 = &layer->own->swiglu.fc1, *fc2 = &layer->own->swiglu.fc2;
    const size_t element = device->kernels->element;
    struct ldar_cpu_transposed half[BLOCKS][2];
    struct swiglu_job job = {.device = device,
                             .stage = stage,
                             .layer = layer,
                             .record = record,
                             .half = half,
                             .dx = dx,
                             .rows = rows,
                             .h_stride = ldar_row_stride(fc2->columns, element),
                             .u_stride = ldar_row_stride(stage->width, element)};
    char *packed = (char *)device->training->packed[1];
    ldar_cpu_transpose(device, device->kernels, device->rounded, fc2->data, fc2->rows, fc2->columns,
                       (char *)device->training->packed[0], &job.down);
    for (size_t block = 0, column = 0; block < layer->blocks; column += layer->fc2[block++].k)
        for (size_t i = 0; i < 2; i++)
            packed = ldar_cpu_transpose(device, device->kernels, device->rounded,
                                        (const float *)fc1->data + (i * fc2->columns + column) * fc1->columns,
                                        layer->fc2[block].k, fc1->columns, packed, &half[block][i]);
    ldar_parallel(&device->team, ldar_tiles(rows), swiglu_tile, &job);
    ldar_cpu_sum_partial(device, ldar_cpu_gradient(device, layer->own->norm2), 0, stage->width, ldar_tiles(rows));
    swiglu_weights(device, &job);
}
