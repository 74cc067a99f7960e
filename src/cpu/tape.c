/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of training: the arrays of one layer's backward pass, and the tape of what the forward pass keeps. */
#include "training.h"

#include <string.h>

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* SIZE_MAX / 8 stands for a number that is none. */
static size_t product(size_t a, size_t b)
{
    size_t c;
    return __builtin_mul_overflow(a, b, &c) || c > SIZE_MAX / 8 ? SIZE_MAX / 8 : c;
}

/* Floats of `rows` rows of `stride` elements. */
static size_t elements(const struct ldar_device *device, size_t rows, size_t stride)
{
    return product(rows, stride) / (sizeof(float) / device->kernels->element) + 1;
}

static size_t columns(const struct ldar_cpu_stage *stage)
{
    return larger(2 * stage->inner + 2 * stage->config->state + stage->heads, 3 * stage->width);
}

size_t ldar_cpu_dz_stride(const struct ldar_device *device, const struct ldar_cpu_stage *stage)
{
    return ldar_row_stride(columns(stage), device->kernels->element);
}

/* The states of all heads that a scan keeps of one direction. */
static size_t states(const struct ldar_cpu_stage *stage, size_t spans)
{
    return product(product(spans, stage->heads), ldar_ssd_state(stage->config->state));
}

size_t ldar_cpu_backward_scratch(const struct ldar_cpu_stage *stage, size_t head, size_t rows)
{
    size_t floats = ldar_ssd_backward_scratch(LDAR_CPU_HEADS, stage->config->state);
    floats = larger(floats, ldar_attention_backward_scratch(rows, head));
    floats = larger(floats, ldar_gemm_gradient_scratch(LDAR_CPU_BLOCK, LDAR_CPU_BLOCK));
    floats = larger(floats, product(rows, LDAR_CPU_COLUMNS));
    return larger(floats, 6 * stage->inner);
}

/* Takes an array, or adds up its bytes. */
struct cut {
    struct ldar_arena *arena;
    size_t total;
};

static void take(struct cut *cut, float **array, size_t floats)
{
    const size_t bytes = ldar_arena_bytes(floats);
    cut->total = bytes > SIZE_MAX - cut->total ? SIZE_MAX : cut->total + bytes;
    if (cut->arena)
        *array = ldar_arena_take(cut->arena, floats);
}

/* The largest that any stage needs of each of a layer's arrays, in floats. */
struct needs {
    size_t states, log_sum, dz, dbc, ddt, dout, mixed, dhidden, partial, sums, packed[2];
};

static void need(const struct ldar_device *device, const struct ldar_cpu_stage *stage, size_t rows, struct needs *n)
{
    const size_t element = device->kernels->element, panel = device->kernels->panel, all = sizeof(float);
    const size_t width = stage->width, f = ldar_swiglu_width(stage->config), inner = stage->inner;
    n->states = larger(n->states, states(stage, ldar_spans(rows)));
    n->log_sum = larger(n->log_sum, product(rows, stage->config->attention_heads));
    n->dz = larger(n->dz, elements(device, rows, ldar_cpu_dz_stride(device, stage)));
    n->dbc = larger(n->dbc, elements(device, product(rows, ldar_cpu_groups(stage)), 2 * stage->config->state + 1));
    n->ddt = larger(n->ddt, product(rows, stage->dt_stride));
    n->dout = larger(n->dout, elements(device, rows, ldar_row_stride(width, element)));
    n->mixed = larger(n->mixed, elements(device, rows, ldar_row_stride(larger(larger(inner, width), f), element)));
    n->dhidden = larger(n->dhidden, elements(device, rows, stage->hidden_stride));
    n->dhidden = larger(n->dhidden, LDAR_SYMBOLS * columns(stage));
    n->partial = larger(n->partial, larger(2 * inner, larger(width, LDAR_SYMBOLS * width)));
    n->sums = larger(n->sums, product(rows, 6 * stage->heads));
    n->packed[0] = larger(n->packed[0], ldar_gemm_packed(element, panel, larger(inner, width), width) / all);
    n->packed[0] = larger(n->packed[0], ldar_gemm_packed(element, panel, f, width) / all);
    n->packed[0] = larger(n->packed[0], ldar_gemm_packed(all, device->floats->panel, width, width) / all);
    n->packed[1] = larger(n->packed[1], ldar_gemm_packed(element, panel, width, columns(stage) + 1) / all);
    n->packed[1] = larger(n->packed[1], ldar_gemm_packed(element, panel, width, 2 * f + 2) / all);
    n->packed[1] = larger(n->packed[1], ldar_gemm_packed(all, device->floats->panel, width, width) / all);
}

size_t ldar_cpu_training_room(struct ldar_device *device, const size_t *rows, struct ldar_arena *arena)
{
    struct ldar_cpu_training *t = device->training;
    struct cut cut = {arena, 0};
    struct needs n = {0};
    size_t most = LDAR_SYMBOLS;
    for (size_t s = 0; s < device->parameters->config.stages; s++) {
        const size_t here = larger(rows[s], LDAR_SYMBOLS);
        need(device, &device->stage[s], here, &n);
        take(&cut, &t->dx[s], product(here, device->stage[s].x_stride));
        most = larger(most, here);
    }
    t->partial_stride = ldar_row_stride(n.partial, sizeof(float));
    for (int d = 0; d < 2; d++) {
        take(&cut, &t->states[d], n.states);
        take(&cut, &t->dbc[d], n.dbc);
        take(&cut, &t->ddt[d], n.ddt);
        take(&cut, &t->packed[d], n.packed[d]);
    }
    take(&cut, &t->log_sum, n.log_sum);
    take(&cut, &t->dz, n.dz);
    take(&cut, &t->dout, n.dout);
    take(&cut, &t->input, n.dout);
    take(&cut, &t->mixed, n.mixed);
    take(&cut, &t->dhidden, n.dhidden);
    take(&cut, &t->partial, product(ldar_tiles(most), t->partial_stride));
    take(&cut, &t->sums, n.sums);
    return cut.total;
}

/* ---- the tape ---- */

/* All that a layer leaves beside x, taken or added up. */
static void activations(const struct ldar_device *device, const struct ldar_cpu_stage *stage,
                        const struct ldar_cpu_layer *layer, size_t rows, size_t spans, struct cut *cut,
                        struct ldar_cpu_activations *at)
{
    take(cut, &at->z, elements(device, rows, stage->z_stride));
    take(cut, &at->y[0], elements(device, rows, stage->y_stride));
    if (ldar_is_mamba(layer)) {
        take(cut, &at->y[1], elements(device, rows, stage->y_stride));
        take(cut, &at->dt, product(rows, stage->dt_stride));
        take(cut, &at->states[0], states(stage, spans));
        take(cut, &at->states[1], states(stage, spans));
    } else {
        take(cut, &at->log_sum, product(rows, stage->config->attention_heads));
    }
    if (layer->blocks)
        take(cut, &at->hidden, elements(device, rows, stage->hidden_stride));
}

/* Bytes of x before each layer of a stack from `first` on, and behind the last. */
static size_t least_of_stack(const struct ldar_cpu_stage *stage, const struct ldar_cpu_stack *stack, size_t first,
                             size_t rows)
{
    const size_t x = ldar_arena_bytes(product(rows, stage->x_stride));
    size_t total = first < SIZE_MAX ? x : 0;
    for (size_t i = first; i < stack->layers; i++)
        total += product(x, stack->layer[i].blocks ? 2 : 1);
    return total;
}

size_t ldar_cpu_tape_least(const struct ldar_device *device, const size_t *rows)
{
    const struct ldar_reach *reach = &device->training->reach;
    size_t total = 0;
    for (size_t s = 0; s < device->parameters->config.stages; s++) {
        const struct ldar_cpu_stage *stage = &device->stage[s];
        const size_t *first = reach->first[s];
        total += least_of_stack(stage, &stage->stack[LDAR_ENCODER], first[LDAR_ENCODER], rows[s]);
        if (s + 1 == device->parameters->config.stages)
            break;
        total += least_of_stack(stage, &stage->stack[LDAR_DECODER], first[LDAR_DECODER], rows[s]);
        if (first[LDAR_ENCODER] < SIZE_MAX)
            total += ldar_arena_bytes(product(rows[s], stage->x_stride + stage->qk_stride));
        if (reach->inside[s])
            total += ldar_arena_bytes(product(rows[s + 1], stage->x_stride));
    }
    return total;
}

static size_t full_stack(const struct ldar_device *device, const struct ldar_cpu_stage *stage,
                         const struct ldar_cpu_stack *stack, size_t first, size_t rows)
{
    struct cut cut = {NULL, 0};
    struct ldar_cpu_activations none;
    for (size_t i = first; i < stack->layers; i++)
        activations(device, stage, &stack->layer[i], rows, ldar_spans(rows), &cut, &none);
    return cut.total;
}

int ldar_cpu_tape_map(struct ldar_device *device, const size_t *rows)
{
    size_t total = ldar_cpu_tape_least(device, rows);
    for (size_t s = 0; s < device->parameters->config.stages; s++)
        for (int part = 0; part < 2; part++)
            total += full_stack(device, &device->stage[s], &device->stage[s].stack[part],
                                device->training->reach.first[s][part], rows[s]);
    ldar_arena_unmap(&device->training->tape);
    return ldar_arena_map(&device->training->tape, total + 4096);
}

/* Whether `bytes` more may be kept, when all that must be kept still finds its place. */
static int fits(const struct ldar_device *device, size_t bytes)
{
    const struct ldar_cpu_training *t = device->training;
    size_t rows[LDAR_MAX_STAGES];
    memcpy(rows, t->rows, sizeof rows);
    const size_t fixed = ldar_cpu_bytes(device, rows);
    return fixed <= t->limit && t->kept + bytes <= t->limit - fixed;
}

void ldar_cpu_tape_begin(struct ldar_device *device, size_t rows)
{
    struct ldar_cpu_training *t = device->training;
    t->tape.used = 0;
    t->kept = 0;
    for (size_t s = 0; s < device->parameters->config.stages; s++, rows = (rows + 1) / 2) {
        t->rows[s] = rows; /* inner stages: as long as nothing is known */
        for (int part = 0; part < 2; part++)
            for (size_t i = 0; i < device->stage[s].stack[part].layers; i++)
                device->stage[s].stack[part].record[i].kept = 0;
    }
}

/* Gives up what the layers of a stack have kept, the last first, until all that must be kept finds its place. */
static void forget(struct ldar_device *device, struct ldar_cpu_stack *stack)
{
    struct ldar_cpu_training *t = device->training;
    for (size_t i = stack->layers; i-- > 0 && !fits(device, 0);) {
        struct ldar_cpu_record *record = &stack->record[i];
        if (record->kept) {
            ldar_arena_release(record->own.z, record->kept);
            t->kept -= record->kept;
            record->kept = 0;
        }
    }
}

void ldar_cpu_tape_chunks(struct ldar_device *device, size_t stage, size_t chunks)
{
    struct ldar_cpu_training *t = device->training;
    for (size_t s = stage + 1; s < device->parameters->config.stages; s++, chunks = (chunks + 1) / 2)
        t->rows[s] = chunks;
    for (size_t s = stage + 1; s-- > 0;)
        forget(device, &device->stage[s].stack[LDAR_ENCODER]);
}

void ldar_cpu_tape_end(struct ldar_device *device)
{
    const size_t taken = ldar_cpu_bytes(device, device->training->rows) + device->training->kept;
    if (taken > device->peak_bytes)
        device->peak_bytes = taken;
}

float *ldar_cpu_tape_take(struct ldar_device *device, size_t floats)
{
    return ldar_arena_take(&device->training->tape, floats);
}

void ldar_cpu_record(struct ldar_device *device, const struct ldar_cpu_stage *stage, const struct ldar_cpu_layer *layer,
                     size_t rows, size_t spans, struct ldar_cpu_record *record)
{
    struct cut cut = {NULL, 0};
    struct ldar_cpu_activations none;
    *record = (struct ldar_cpu_record){.x = ldar_cpu_tape_take(device, rows * stage->x_stride)};
    if (layer->blocks)
        record->middle = ldar_cpu_tape_take(device, rows * stage->x_stride);
    activations(device, stage, layer, rows, spans, &cut, &none);
    if (!fits(device, cut.total))
        return;
    record->kept = cut.total;
    device->training->kept += cut.total;
    cut.arena = &device->training->tape;
    activations(device, stage, layer, rows, spans, &cut, &record->own);
}
