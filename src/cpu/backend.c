/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU backend: packing the parameters, cutting the arena, and the steps that are a kernel on each tile. */
#include "training.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "isa.h"
#include "status.h"

enum { SWIGLU_BLOCK = 1280 }; /* widest block of a SwiGLU: (T, block) floats take a third of a 1 MiB L2 */

/* ---- packing ---- */

/* Zeroed memory of the device's own, counted in weight_bytes; NULL when there is none. */
static void *device_room(struct ldar_device *device, size_t count, size_t size)
{
    void *room = calloc(count, size);
    device->weight_bytes += room ? count * size : 0;
    return room;
}

/* Rows first .. first + count - 1 of a matrix, columns from `column` on. */
static void matrix_rows(const void **row, const struct ldar_matrix *matrix, size_t first, size_t count, size_t column)
{
    const size_t size = matrix->dtype == LDAR_BF16 ? 2 : 4;
    for (size_t i = 0; i < count; i++)
        row[i] = (const char *)matrix->data + ((first + i) * matrix->columns + column) * size;
}

/* `rows` as a weight that multiplies elements of `kernels`. */
static enum ldar_status pack_rows(struct ldar_device *device, const struct ldar_kernels *kernels,
                                  struct ldar_gemm_weight *weight, const struct ldar_gemm_rows *rows,
                                  struct ldar_error *error)
{
    const size_t before = weight->bytes;
    weight->provider = device->gemm;
    weight->kernels = kernels;
    weight->n = rows->n;
    weight->k = rows->k;
    weight->swiglu = rows->swiglu;
    enum ldar_status status = device->gemm->prepare(&device->team, rows, weight, error);
    device->weight_bytes += weight->bytes - before;
    return status;
}

/* Rows first .. first + count - 1 of a layer's matrix. */
static enum ldar_status pack_matrix(struct ldar_device *device, struct ldar_gemm_weight *weight, const void **row,
                                    const struct ldar_matrix *matrix, size_t first, size_t count,
                                    struct ldar_error *error)
{
    const struct ldar_gemm_rows rows = {row, count, matrix->columns, matrix->dtype, device->rounded, 0};
    matrix_rows(row, matrix, first, count, 0);
    return pack_rows(device, device->kernels, weight, &rows, error);
}

/* One or two matrices of the same shape, one above the other, that multiply floats unrounded. */
static enum ldar_status pack_floats(struct ldar_device *device, struct ldar_gemm_weight *weight, const void **row,
                                    const struct ldar_matrix *upper, const struct ldar_matrix *lower,
                                    struct ldar_error *error)
{
    const size_t n = upper->rows + (lower ? lower->rows : 0);
    const struct ldar_gemm_rows rows = {row, n, upper->columns, upper->dtype, 0, 0};
    matrix_rows(row, upper, 0, upper->rows, 0);
    if (lower)
        matrix_rows(row + upper->rows, lower, 0, lower->rows, 0);
    return pack_rows(device, device->floats, weight, &rows, error);
}

static enum ldar_status pack_direction(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                                       struct ldar_cpu_direction *direction, const struct ldar_mamba_direction *own,
                                       struct ldar_error *error)
{
    const size_t taps = stage->config->conv, channels = stage->inner + 2 * stage->config->state;
    direction->own = own;
    if (!direction->conv_weight)
        direction->conv_weight = device_room(device, LDAR_CONV_TAPS * channels, sizeof(float));
    if (!direction->rate)
        direction->rate = device_room(device, stage->heads, sizeof(float));
    if (!direction->conv_weight || !direction->rate)
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for a layer's convolution");
    for (size_t k = 0; k < taps; k++)
        for (size_t c = 0; c < channels; c++)
            direction->conv_weight[(LDAR_CONV_TAPS - taps + k) * channels + c] = own->conv_weight[c * taps + k];
    for (size_t h = 0; h < stage->heads; h++)
        direction->rate[h] = (float)-exp((double)own->a_log[h]);
    return LDAR_OK;
}

/* fc1 and fc2 in blocks of the width between them. */
static enum ldar_status pack_swiglu(struct ldar_device *device, struct ldar_cpu_layer *layer, const void **row,
                                    struct ldar_error *error)
{
    const struct ldar_matrix *fc1 = &layer->own->swiglu.fc1, *fc2 = &layer->own->swiglu.fc2;
    const size_t width = fc2->columns, blocks = (width + SWIGLU_BLOCK - 1) / SWIGLU_BLOCK;
    if (!layer->fc1)
        layer->fc1 = device_room(device, 2 * blocks, sizeof *layer->fc1);
    if (!layer->fc1)
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for a layer's SwiGLU");
    layer->fc2 = layer->fc1 + blocks;
    layer->blocks = blocks;
    enum ldar_status status = LDAR_OK;
    for (size_t b = 0; b < blocks && status == LDAR_OK; b++) {
        size_t first = b * SWIGLU_BLOCK, size = width - first < SWIGLU_BLOCK ? width - first : SWIGLU_BLOCK;
        matrix_rows(row, fc1, first, size, 0);
        matrix_rows(row + size, fc1, width + first, size, 0);
        const struct ldar_gemm_rows up_gate = {row, 2 * size, fc1->columns, fc1->dtype, device->rounded, 1};
        status = pack_rows(device, device->kernels, &layer->fc1[b], &up_gate, error);
        if (status != LDAR_OK)
            break;
        matrix_rows(row, fc2, 0, fc2->rows, first);
        const struct ldar_gemm_rows down = {row, fc2->rows, size, fc2->dtype, device->rounded, 0};
        status = pack_rows(device, device->kernels, &layer->fc2[b], &down, error);
    }
    ldar_matrix_release_pages(device->parameters, fc1);
    ldar_matrix_release_pages(device->parameters, fc2);
    return status;
}

static enum ldar_status pack_layer(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                                   struct ldar_cpu_layer *layer, const void **row, struct ldar_error *error)
{
    const struct ldar_layer *own = layer->own;
    const int mamba = own->kind == 'm' || own->kind == 'M';
    const struct ldar_matrix *in = mamba ? &own->bimamba.in_proj : &own->attention.wqkv;
    const struct ldar_matrix *out = mamba ? &own->bimamba.out_proj : &own->attention.out_proj;
    const size_t steps = mamba ? stage->heads : 0;
    enum ldar_status status = pack_matrix(device, &layer->in, row, in, 0, in->rows - steps, error);
    if (status == LDAR_OK && mamba)
        status = pack_matrix(device, &layer->step, row, in, in->rows - steps, steps, error);
    ldar_matrix_release_pages(device->parameters, in);
    if (status == LDAR_OK)
        status = pack_matrix(device, &layer->out, row, out, 0, out->rows, error);
    ldar_matrix_release_pages(device->parameters, out);
    for (int d = 0; mamba && d < 2 && status == LDAR_OK; d++)
        status = pack_direction(device, stage, &layer->direction[d], &own->bimamba.direction[d], error);
    if (status == LDAR_OK && (own->kind == 'M' || own->kind == 'T'))
        status = pack_swiglu(device, layer, row, error);
    return status;
}

static enum ldar_status pack_stack(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                                   struct ldar_cpu_stack *stack, const struct ldar_stack *own, const void **row,
                                   struct ldar_error *error)
{
    stack->norm = own->norm;
    if (own->layers == 0)
        return LDAR_OK;
    if (!stack->layer)
        stack->layer = device_room(device, own->layers, sizeof *stack->layer);
    if (device->training && !stack->record)
        stack->record = device_room(device, own->layers, sizeof *stack->record);
    if (!stack->layer || (device->training && !stack->record))
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for a stack of %zu layers", own->layers);
    stack->layers = own->layers;
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < own->layers && status == LDAR_OK; i++) {
        stack->layer[i].own = &own->layer[i];
        status = pack_layer(device, stage, &stack->layer[i], row, error);
    }
    return status;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int has_swiglu(const struct ldar_stage_config *config)
{
    return strpbrk(config->encoder, "MT") || strpbrk(config->decoder, "MT");
}

static void measure_stage(struct ldar_cpu_stage *stage, const struct ldar_stage_config *config, size_t element)
{
    stage->config = config;
    stage->width = config->width;
    stage->inner = (size_t)config->expand * config->width;
    stage->heads = stage->inner / LDAR_HEAD;
    stage->rotary = strpbrk(config->encoder, "tT") || strpbrk(config->decoder, "tT") ? config->rotary : 0;
    stage->x_stride = ldar_row_stride(stage->width, sizeof(float));
    stage->z_stride = ldar_row_stride(larger(2 * stage->inner + 2 * config->state, 3 * stage->width), element);
    stage->y_stride = ldar_row_stride(larger(stage->inner, stage->width), element);
    stage->dt_stride = ldar_row_stride(stage->heads, sizeof(float));
    stage->qk_stride = ldar_row_stride(2 * stage->width, sizeof(float));
    stage->hidden_stride = has_swiglu(config) ? ldar_row_stride(2 * ldar_swiglu_width(config), element) : 0;
}

static enum ldar_status pack_stage(struct ldar_device *device, size_t index, const void **row, struct ldar_error *error)
{
    struct ldar_cpu_stage *stage = &device->stage[index];
    const int routed = index + 1 < device->parameters->config.stages;
    stage->own = &device->parameters->stage[index];
    measure_stage(stage, &device->parameters->config.stage[index], device->kernels->element);
    enum ldar_status status = pack_stack(device, stage, &stage->stack[LDAR_ENCODER], &stage->own->encoder, row, error);
    if (!routed || status != LDAR_OK)
        return status;
    status = pack_floats(device, &stage->router, row, &stage->own->router_q, &stage->own->router_k, error);
    if (status == LDAR_OK)
        status = pack_floats(device, &stage->residual, row, &stage->own->residual_proj, NULL, error);
    if (status == LDAR_OK)
        status = pack_stack(device, stage, &stage->stack[LDAR_DECODER], &stage->own->decoder, row, error);
    return status;
}

/* Rows of the tallest weight matrix. */
static size_t tallest(const struct ldar_parameters *parameters)
{
    size_t rows = 0;
    for (size_t s = 0; s < parameters->config.stages; s++) {
        const struct ldar_stage_config *c = &parameters->config.stage[s];
        size_t inner = (size_t)c->expand * c->width;
        rows = larger(rows, 2 * inner + 2 * (size_t)c->state + inner / LDAR_HEAD);
        rows = larger(rows, 3 * (size_t)c->width);
        rows = larger(rows, larger(2 * SWIGLU_BLOCK, 2 * ldar_swiglu_width(c)));
    }
    return rows;
}

/* ---- the arena ---- */

static size_t kernel_scratch(const struct ldar_device *device, const size_t *rows)
{
    size_t count = 0;
    for (size_t s = 0; s < device->parameters->config.stages; s++) {
        const struct ldar_cpu_stage *stage = &device->stage[s];
        const size_t head = stage->width / stage->config->attention_heads;
        count = larger(count, ldar_ssd_scratch(LDAR_CPU_HEADS, stage->config->state));
        count = larger(count, ldar_attention_scratch(head));
        count = larger(count, 2 * stage->inner);
        if (device->training)
            count = larger(count, ldar_cpu_backward_scratch(stage, head, rows[s]));
    }
    return count;
}

static size_t take(struct ldar_arena *arena, size_t *total, size_t count, float **array)
{
    size_t bytes = ldar_arena_bytes(count);
    *total = bytes > SIZE_MAX - *total ? SIZE_MAX : *total + bytes;
    if (arena)
        *array = ldar_arena_take(arena, count);
    return *total;
}

/* Floats that `rows` rows of `stride` elements take: SIZE_MAX / 8 stands for a number that is none. */
static size_t product(size_t rows, size_t stride, size_t element)
{
    size_t bytes;
    return __builtin_mul_overflow(rows, stride * element, &bytes) ? SIZE_MAX / 8 : (bytes + 3) / sizeof(float);
}

/*
 * The one description of the arena: adds up its bytes for stages of rows[stage] rows, and with `cut` set cuts the
 * mapped arena into the device's arrays.
 */
static size_t lay_out(struct ldar_device *device, const size_t *rows, int cut)
{
    struct ldar_arena *arena = cut ? &device->arena : NULL;
    const size_t element = device->kernels->element, all = sizeof(float);
    size_t total = 0, z = 0, y = 0, dt = 0, pieces = 0, tile = 0, wide = 0, widest = 0;
    float *piece = NULL;
    for (size_t s = 0; s < device->parameters->config.stages; s++) {
        struct ldar_cpu_stage *stage = &device->stage[s];
        take(arena, &total, product(rows[s], stage->x_stride, all), &device->x[s]);
        take(arena, &total, product(rows[s], stage->rotary / 2, all), &stage->cosine);
        take(arena, &total, product(rows[s], stage->rotary / 2, all), &stage->sine);
        stage->positions = cut ? 0 : stage->positions;
        z = larger(z, larger(product(rows[s], stage->z_stride, element), product(rows[s], stage->qk_stride, all)));
        y = larger(y, product(rows[s], stage->y_stride, element));
        dt = larger(dt, product(rows[s], stage->dt_stride, all));
        pieces = larger(pieces, product(rows[s], 1, sizeof *device->piece));
        tile = larger(tile, LDAR_TILE * larger(ldar_row_stride(stage->width, all), ldar_row_stride(stage->inner, all)));
        widest = larger(widest, ldar_row_stride(larger(larger(stage->inner, stage->width), SWIGLU_BLOCK), all));
        wide = larger(wide, larger(stage->z_stride, larger(stage->qk_stride, 2 * SWIGLU_BLOCK)));
    }
    take(arena, &total, z, &device->shared.z);
    take(arena, &total, y, &device->shared.y[0]);
    take(arena, &total, device->training || ldar_cpu_two_outputs(device) ? y : 0, &device->shared.y[1]);
    take(arena, &total, dt, &device->shared.dt);
    take(arena, &total, pieces, &piece);
    if (cut)
        device->piece = (struct ldar_piece *)(void *)piece;
    for (int i = 0; i < device->team.threads; i++) {
        struct ldar_worker *worker = &device->team.worker[i];
        take(arena, &total, tile, &worker->tile);
        take(arena, &total, LDAR_TILE * ldar_row_stride(SWIGLU_BLOCK, all), &worker->hidden);
        take(arena, &total, device->gemm->in_place ? 0 : LDAR_TILE * wide, &worker->product);
        take(arena, &total, device->training ? LDAR_TILE * widest : 0, &worker->wide);
        take(arena, &total, device->training ? LDAR_TILE * ldar_row_stride(2 * SWIGLU_BLOCK, all) : 0, &worker->panels);
        take(arena, &total, kernel_scratch(device, rows), &worker->kernel);
    }
    if (!device->training)
        return total;
    const size_t training = ldar_cpu_training_room(device, rows, arena);
    return training > SIZE_MAX - total ? SIZE_MAX : total + training;
}

size_t ldar_cpu_bytes(const struct ldar_device *device, const size_t rows[LDAR_MAX_STAGES])
{
    size_t most[LDAR_MAX_STAGES];
    memcpy(most, rows, sizeof most);
    most[0] = larger(rows[0], LDAR_SYMBOLS); /* make_table has been there */
    const size_t arena = lay_out((struct ldar_device *)(uintptr_t)device, most, 0);
    const size_t held = device->weight_bytes + (device->training ? ldar_cpu_tape_least(device, most) : 0);
    return arena > SIZE_MAX - held ? SIZE_MAX : arena + held;
}

static enum ldar_status cpu_reserve(struct ldar_device *device, const size_t rows[LDAR_MAX_STAGES],
                                    struct ldar_error *error)
{
    int enough = device->arena.base != NULL;
    for (size_t s = 0; s < device->parameters->config.stages; s++)
        enough &= rows[s] <= device->rows[s];
    if (enough)
        return LDAR_OK;
    size_t bytes = lay_out(device, rows, 0);
    ldar_arena_unmap(&device->arena);
    memset(device->rows, 0, sizeof device->rows);
    if (bytes == SIZE_MAX || !ldar_arena_map(&device->arena, bytes)
        || (device->training && !ldar_cpu_tape_map(device, rows)))
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no address space for %zu bytes of intermediate values", bytes);
    lay_out(device, rows, 1);
    memcpy(device->rows, rows, sizeof device->rows);
    if (!device->training && bytes + device->weight_bytes > device->peak_bytes)
        device->peak_bytes = bytes + device->weight_bytes;
    return LDAR_OK;
}

/* ---- creation ---- */

static void release_stack(struct ldar_device *device, struct ldar_cpu_stack *stack)
{
    for (size_t i = 0; i < stack->layers; i++) {
        struct ldar_cpu_layer *layer = &stack->layer[i];
        device->gemm->release(&layer->in);
        device->gemm->release(&layer->step);
        device->gemm->release(&layer->out);
        for (int d = 0; d < 2; d++) {
            free(layer->direction[d].conv_weight);
            free(layer->direction[d].rate);
        }
        for (size_t b = 0; b < 2 * layer->blocks; b++)
            device->gemm->release(&layer->fc1[b]);
        free(layer->fc1);
    }
    free(stack->layer);
    free(stack->record);
}

static void cpu_destroy(struct ldar_device *device)
{
    if (!device)
        return;
    for (size_t s = 0; s < LDAR_MAX_STAGES && device->gemm; s++) {
        release_stack(device, &device->stage[s].stack[LDAR_ENCODER]);
        release_stack(device, &device->stage[s].stack[LDAR_DECODER]);
        device->gemm->release(&device->stage[s].router);
        device->gemm->release(&device->stage[s].residual);
    }
    ldar_arena_unmap(&device->arena);
    if (device->training)
        ldar_arena_unmap(&device->training->tape);
    free(device->training);
    free(device->row);
    free(device->table);
    free(device->dt_table);
    free(device->team.worker);
    free(device);
}

/* The first layer sees seven different rows: their projections, by the same products as everywhere, once for all. */
static enum ldar_status make_table(struct ldar_device *device, struct ldar_error *error)
{
    const struct ldar_cpu_stage *stage = &device->stage[0];
    const struct ldar_cpu_layer *layer = &stage->stack[LDAR_ENCODER].layer[0];
    struct ldar_worker *worker = &device->team.worker[0];
    size_t rows[LDAR_MAX_STAGES] = {LDAR_SYMBOLS};
    if (!device->table)
        device->table = device_room(device, LDAR_SYMBOLS * stage->z_stride, device->kernels->element);
    if (!device->dt_table)
        device->dt_table = device_room(device, LDAR_SYMBOLS * stage->dt_stride, sizeof *device->dt_table);
    if (!device->table || !device->dt_table)
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for the first layer's table");
    enum ldar_status status = cpu_reserve(device, rows, error);
    if (status != LDAR_OK)
        return status;
    uint64_t mode;
    device->kernels->float_mode_enter(&mode);
    device->kernels->rms_norm(worker->tile, device->parameters->embeddings, layer->own->norm1, LDAR_SYMBOLS,
                              stage->width, 1e-5f, (ptrdiff_t)ldar_row_stride(stage->width, device->kernels->element),
                              (ptrdiff_t)stage->width);
    struct ldar_gemm_call call = {
        .c = device->table, .a = worker->tile, .c_stride = (ptrdiff_t)stage->z_stride, .rows = LDAR_SYMBOLS};
    device->gemm->multiply(&layer->in, &call, worker);
    call.c = device->dt_table;
    call.c_stride = (ptrdiff_t)stage->dt_stride;
    call.mode = LDAR_GEMM_FLOATS;
    if (layer->step.n)
        device->gemm->multiply(&layer->step, &call, worker);
    device->kernels->float_mode_leave(mode);
    return LDAR_OK;
}

static enum ldar_dtype cpu_dtype(const struct ldar_device *device)
{
    return device->kernels->element == sizeof(float) ? LDAR_F32 : LDAR_BF16;
}

/* bfloat16 where the instruction set multiplies it, else floats with weights that are rounded to it. */
static void choose_kernels(struct ldar_device *device, enum ldar_dtype dtype)
{
    device->floats = ldar_isa_kernels(device->isa, LDAR_F32);
    device->kernels = ldar_isa_kernels(device->isa, dtype);
    device->rounded = !device->kernels;
    if (!device->kernels)
        device->kernels = device->floats;
}

static enum ldar_status choose(struct ldar_device *device, const struct ldar_context_options *options,
                               struct ldar_error *error)
{
    enum ldar_status status = ldar_isa_choose(options->isa, &device->isa, error);
    if (status != LDAR_OK)
        return status;
    choose_kernels(device, options->dtype);
    device->gemm = ldar_gemm_find(options->gemm, device->kernels);
    if (!device->gemm)
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED, "the GEMM \"%s\" is not in this build",
                         ldar_gemm_name(options->gemm));
    if (cpu_dtype(device) == LDAR_BF16 && device->gemm->kind != LDAR_GEMM_PACKED)
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED,
                         "the GEMM \"%s\" multiplies float32 only: choose auto or packed for bfloat16",
                         ldar_gemm_name(options->gemm));
    status = device->gemm->open(device->kernels, device->team.threads, device->gemm_name, error);
    if (status != LDAR_OK && options->gemm == LDAR_GEMM_AUTO) {
        device->gemm = &ldar_gemm_provider_packed;
        status = device->gemm->open(device->kernels, device->team.threads, device->gemm_name, error);
    }
    return status;
}

/* Packs all parameters, at first or anew. */
static enum ldar_status pack(struct ldar_device *device, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t s = 0; status == LDAR_OK && s < device->parameters->config.stages; s++)
        status = pack_stage(device, s, device->row, error);
    if (status == LDAR_OK && device->stage[0].stack[LDAR_ENCODER].layers)
        status = make_table(device, error);
    return status;
}

static enum ldar_status fill(struct ldar_device *device, const struct ldar_context_options *options,
                             struct ldar_error *error)
{
    const int threads = options->threads ? options->threads : ldar_cpu_count();
    device->team.threads = threads;
    enum ldar_status status = choose(device, options, error);
    if (status != LDAR_OK)
        return status;
    device->team.kernels = device->kernels;
    device->team.worker = device_room(device, (size_t)threads, sizeof *device->team.worker);
    device->row = device_room(device, tallest(device->parameters), sizeof *device->row);
    if (!device->team.worker || !device->row)
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for %d threads", threads);
    for (int i = 0; i < threads; i++)
        device->team.worker[i].index = i;
    if (options->pin)
        ldar_team_pin(&device->team);
    return pack(device, error);
}

static enum ldar_status cpu_create(const struct ldar_parameters *parameters, const struct ldar_context_options *options,
                                   const struct ldar_reach *train, struct ldar_device **out, struct ldar_error *error)
{
    struct ldar_device *device = calloc(1, sizeof *device);
    *out = NULL;
    if (device && train)
        device->training = calloc(1, sizeof *device->training);
    if (!device || (train && !device->training)) {
        free(device);
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for a context");
    }
    if (train)
        device->training->reach = *train;
    device->parameters = parameters;
    device->weight_bytes = sizeof *device;
    enum ldar_status status = fill(device, options, error);
    if (status == LDAR_OK)
        *out = device;
    else
        cpu_destroy(device);
    return status;
}

/* Every room is there already, so nothing can fail. */
static void cpu_refresh(struct ldar_device *device)
{
    enum ldar_status status = pack(device, NULL);
    assert(status == LDAR_OK);
    (void)status;
}

static void cpu_begin(struct ldar_device *device, size_t rows, const struct ldar_gradient_sink *sink)
{
    struct ldar_cpu_training *training = device->training;
    training->keep = sink != NULL;
    if (!sink)
        return;
    training->weights = sink->weights;
    training->gradient = sink->gradient;
    training->final = sink->final;
    training->own = sink->own;
    training->limit = sink->max_bytes;
    ldar_cpu_tape_begin(device, rows);
}

/* ---- reading ---- */

struct rows_job {
    const struct ldar_device *device;
    float *out;
    size_t rows, stage, width;
};

static void read_task(const void *argument, size_t tile, struct ldar_worker *worker)
{
    const struct rows_job *job = argument;
    const size_t first = tile * LDAR_TILE, rows = ldar_tile_rows(job->rows, tile);
    const size_t stride = job->device->stage[job->stage].x_stride;
    (void)worker;
    for (size_t i = first; i < first + rows; i++)
        memcpy(job->out + i * job->width, job->device->x[job->stage] + i * stride, job->width * sizeof *job->out);
}

static void cpu_read(struct ldar_device *device, size_t stage, const struct ldar_packed *packed, float *out,
                     size_t width)
{
    const struct rows_job job = {device, out, packed->rows, stage, width};
    ldar_parallel(&device->team, ldar_tiles(packed->rows), read_task, &job);
}

/* ---- what it tells ---- */

static void cpu_profile(const struct ldar_device *device, struct ldar_profile *profile)
{
    *profile = (struct ldar_profile){.peak_bytes = device->peak_bytes};
    for (int i = 0; i < device->team.threads; i++) {
        const struct ldar_worker *worker = &device->team.worker[i];
        profile->gemm += worker->seconds[LDAR_CLOCK_GEMM];
        profile->scan += worker->seconds[LDAR_CLOCK_SCAN];
        profile->attention += worker->seconds[LDAR_CLOCK_ATTENTION];
        profile->other += worker->seconds[LDAR_CLOCK_OTHER];
        profile->waiting += worker->waiting;
    }
}

static void cpu_reset_profile(struct ldar_device *device)
{
    for (int i = 0; i < device->team.threads; i++) {
        memset(device->team.worker[i].seconds, 0, sizeof device->team.worker[i].seconds);
        device->team.worker[i].waiting = 0;
    }
}

static enum ldar_isa cpu_isa(const struct ldar_device *device)
{
    return device->isa;
}

static int cpu_threads(const struct ldar_device *device)
{
    return device->team.threads;
}

static const char *cpu_gemm(const struct ldar_device *device)
{
    return device->gemm_name;
}

const struct ldar_backend ldar_cpu_backend = {
    .name = "cpu",
    .create = cpu_create,
    .destroy = cpu_destroy,
    .bytes = ldar_cpu_bytes,
    .reserve = cpu_reserve,
    .embed = ldar_cpu_embed,
    .stack = ldar_cpu_stack_run,
    .route = ldar_cpu_route,
    .chunk = ldar_cpu_chunk,
    .dechunk = ldar_cpu_dechunk,
    .head = ldar_cpu_head,
    .pool = ldar_cpu_pool,
    .read = cpu_read,
    .refresh = cpu_refresh,
    .begin = cpu_begin,
    .classify = ldar_cpu_classify,
    .pool_backward = ldar_cpu_pool_backward,
    .stack_backward = ldar_cpu_stack_backward,
    .dechunk_backward = ldar_cpu_dechunk_backward,
    .chunk_backward = ldar_cpu_chunk_backward,
    .route_backward = ldar_cpu_route_backward,
    .embed_backward = ldar_cpu_embed_backward,
    .optimize = ldar_cpu_optimize,
    .sum_squares = ldar_cpu_sum_squares,
    .profile = cpu_profile,
    .reset_profile = cpu_reset_profile,
    .isa = cpu_isa,
    .dtype = cpu_dtype,
    .threads = cpu_threads,
    .gemm = cpu_gemm,
};
