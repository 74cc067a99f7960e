/* SPDX-License-Identifier: Apache-2.0 */
#include "model/table.h"

#include "model/head.h"
#include "status.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_WIDTH = 64 };

/* Most parameters that one layer (M: 2 norms, 2 + 2 x 6, 2), one stage without its layers, and the rest have. */
enum { PER_LAYER = 18, PER_STAGE = 8, PER_NETWORK = 4 };

static const double deviation = 0.02;

/* Where the next parameters go and what their names begin with: at most 134 characters, 8 stages deep. */
struct builder {
    struct ldar_parameter_table *table;
    char prefix[144];
    struct ldar_place place; /* of what comes next */
};

static struct ldar_parameter *add(struct builder *builder, const char *name, enum ldar_start start, double scale,
                                  size_t rank, size_t first, size_t second, size_t third)
{
    struct ldar_parameter *parameter = &builder->table->entry[builder->table->count++];
    snprintf(parameter->name, sizeof parameter->name, "%s%s", builder->prefix, name);
    parameter->rank = rank;
    parameter->shape[0] = first;
    parameter->shape[1] = second;
    parameter->shape[2] = third;
    parameter->count = first * second * third;
    parameter->start = start;
    parameter->scale = scale;
    parameter->place = builder->place;
    return parameter;
}

static struct ldar_parameter *add_vector(struct builder *builder, const char *name, const float **slot,
                                         enum ldar_start start, double scale, size_t count)
{
    struct ldar_parameter *parameter = add(builder, name, start, scale, 1, count, 1, 1);
    parameter->vector = slot;
    return parameter;
}

static struct ldar_parameter *add_matrix(struct builder *builder, const char *name, struct ldar_matrix *slot,
                                         enum ldar_start start, double scale, size_t rows, size_t columns)
{
    struct ldar_parameter *parameter = add(builder, name, start, scale, 2, rows, columns, 1);
    parameter->matrix = slot;
    slot->rows = rows;
    slot->columns = columns;
    return parameter;
}

/* A matrix of the bulk: drawn from N(0, scale^2), bfloat16 in bfloat16 files. */
static struct ldar_parameter *add_bulk(struct builder *builder, const char *name, struct ldar_matrix *slot,
                                       double scale, size_t rows, size_t columns)
{
    struct ldar_parameter *parameter = add_matrix(builder, name, slot, LDAR_START_NORMAL, scale, rows, columns);
    parameter->narrow = 1;
    return parameter;
}

/* The symbols' rows (7, D): float in memory, since one row is all that is ever read of them at a time. */
static void add_symbols(struct builder *builder, const char *name, const float **slot, size_t width)
{
    struct ldar_parameter *parameter = add(builder, name, LDAR_START_NORMAL, deviation, 2, LDAR_SYMBOLS, width, 1);
    parameter->vector = slot;
    parameter->narrow = 1;
}

static void add_direction(struct builder *builder, const char *side, struct ldar_mamba_direction *direction,
                          const struct ldar_stage_config *stage)
{
    const size_t inner = (size_t)stage->width * stage->expand, heads = inner / HEAD_WIDTH;
    const size_t channels = inner + 2 * (size_t)stage->state;
    const double bound = 1 / sqrt(stage->conv);
    const size_t length = strlen(builder->prefix);
    snprintf(builder->prefix + length, sizeof builder->prefix - length, "%s", side);
    add_vector(builder, "dt_bias", &direction->dt_bias, LDAR_START_DT_BIAS, 0, heads);
    add_vector(builder, "A_log", &direction->a_log, LDAR_START_A_LOG, 0, heads);
    add_vector(builder, "D", &direction->d, LDAR_START_ONE, 0, heads);
    add(builder, "conv1d.weight", LDAR_START_UNIFORM, bound, 3, channels, 1, stage->conv)->vector =
        &direction->conv_weight;
    add_vector(builder, "conv1d.bias", &direction->conv_bias, LDAR_START_UNIFORM, bound, channels);
    add_vector(builder, "norm.weight", &direction->norm, LDAR_START_ONE, 0, inner);
    builder->prefix[length] = '\0';
}

static void add_bimamba(struct builder *builder, struct ldar_bimamba *bimamba, const struct ldar_stage_config *stage,
                        double out_deviation)
{
    const size_t inner = (size_t)stage->width * stage->expand, heads = inner / HEAD_WIDTH;
    add_bulk(builder, "mixer.fwd.in_proj.weight", &bimamba->in_proj, deviation,
             2 * inner + 2 * (size_t)stage->state + heads, stage->width)
        ->shared = 1;
    add_direction(builder, "mixer.fwd.", &bimamba->direction[0], stage);
    add_direction(builder, "mixer.bwd.", &bimamba->direction[1], stage);
    add_bulk(builder, "mixer.fwd.out_proj.weight", &bimamba->out_proj, out_deviation, stage->width, inner)->shared = 1;
}

static void add_layer(struct builder *builder, struct ldar_layer *layer, const struct ldar_stage_config *stage,
                      double out_deviation)
{
    const size_t width = stage->width;
    add_vector(builder, "norm1.weight", &layer->norm1, LDAR_START_ONE, 0, width);
    if (layer->kind == 'm' || layer->kind == 'M') {
        add_bimamba(builder, &layer->bimamba, stage, out_deviation);
    } else {
        add_bulk(builder, "mixer.Wqkv.weight", &layer->attention.wqkv, deviation, 3 * width, width);
        add_bulk(builder, "mixer.out_proj.weight", &layer->attention.out_proj, out_deviation, width, width);
    }
    if (isupper((unsigned char)layer->kind)) {
        const size_t middle = ldar_swiglu_width(stage);
        add_vector(builder, "norm2.weight", &layer->norm2, LDAR_START_ONE, 0, width);
        add_bulk(builder, "mlp.fc1.weight", &layer->swiglu.fc1, deviation, 2 * middle, width);
        add_bulk(builder, "mlp.fc2.weight", &layer->swiglu.fc2, out_deviation, width, middle);
    }
}

/* `residuals` additions lie on the residual path to this stack's end, as the published initialisation counts them. */
static void add_stack(struct builder *builder, const char *name, struct ldar_parameters *parameters, size_t index,
                      enum ldar_stack_part part, size_t residuals)
{
    const struct ldar_stage_config *stage = &parameters->config.stage[index];
    struct ldar_stack *stack =
        part == LDAR_ENCODER ? &parameters->stage[index].encoder : &parameters->stage[index].decoder;
    const double out_deviation = deviation / sqrt((double)residuals);
    const size_t length = strlen(builder->prefix);
    builder->place = (struct ldar_place){.stacked = 1, .stage = index, .part = part};
    for (size_t i = 0; i < stack->layers; i++) {
        builder->place.layer = i;
        snprintf(builder->prefix + length, sizeof builder->prefix - length, "%s.layers.%zu.", name, i);
        add_layer(builder, &stack->layer[i], stage, out_deviation);
    }
    snprintf(builder->prefix + length, sizeof builder->prefix - length, "%s.", name);
    builder->place.layer = SIZE_MAX;
    add_vector(builder, "rmsnorm.weight", &stack->norm, LDAR_START_ONE, 0, stage->width);
    builder->prefix[length] = '\0';
    builder->place = (struct ldar_place){0};
}

/* Additions to the residual stream in a stack: a SwiGLU is one more. */
static size_t stack_residuals(const struct ldar_stack *stack)
{
    size_t residuals = stack->layers;
    for (size_t i = 0; i < stack->layers; i++) {
        residuals += isupper((unsigned char)stack->layer[i].kind) != 0;
    }
    return residuals;
}

static void add_stage(struct builder *builder, struct ldar_parameters *parameters, uint32_t s, size_t residuals)
{
    const struct ldar_stage_config *config = &parameters->config.stage[s];
    struct ldar_stage *stage = &parameters->stage[s];
    const size_t width = config->width, outer = s > 0 ? config[-1].width : width;
    if (width > outer) {
        add_vector(builder, "pad_dimension", &stage->pad, LDAR_START_ZERO, 0, width - outer);
    }
    residuals += stack_residuals(&stage->encoder) + stack_residuals(&stage->decoder);
    if (s + 1 == parameters->config.stages) {
        add_stack(builder, "main_network", parameters, s, LDAR_ENCODER, residuals);
        return;
    }
    add_stack(builder, "encoder", parameters, s, LDAR_ENCODER, residuals);
    add_matrix(builder, "routing_module.q_proj_layer.weight", &stage->router_q, LDAR_START_IDENTITY, 0, width, width);
    add_matrix(builder, "routing_module.k_proj_layer.weight", &stage->router_k, LDAR_START_IDENTITY, 0, width, width);
    add_matrix(builder, "residual_proj.weight", &stage->residual_proj, LDAR_START_ZERO, 0, width, width);
    add_vector(builder, "residual_proj.bias", &stage->residual_bias, LDAR_START_UNIFORM, 1 / sqrt((double)width),
               width);
    const size_t length = strlen(builder->prefix);
    snprintf(builder->prefix + length, sizeof builder->prefix - length, "main_network.");
    add_stage(builder, parameters, s + 1, residuals);
    builder->prefix[length] = '\0';
    add_stack(builder, "decoder", parameters, s, LDAR_DECODER, residuals);
}

/* Of mean hidden states; float32 in every file, since it is small and what all of them end in. */
static void add_head(struct builder *builder, struct ldar_head *head, size_t width)
{
    add(builder, "classifier.weight", LDAR_START_NORMAL, deviation / sqrt((double)head->parts), 2, head->outputs,
        ldar_head_columns(head, width), 1)
        ->vector = &head->weight;
    add_vector(builder, "classifier.bias", &head->bias, LDAR_START_ZERO, 0, head->outputs);
}

/* Takes the layers of a layout from *layer, which moves on. */
static void take_layers(struct ldar_stack *stack, const char *layout, struct ldar_layer **layer)
{
    char kinds[LDAR_MAX_LAYERS];
    stack->layers = ldar_layout_kinds(layout, kinds);
    stack->layer = *layer;
    *layer += stack->layers;
    for (size_t i = 0; i < stack->layers; i++) {
        stack->layer[i].kind = kinds[i];
    }
}

static size_t count_layers(const struct ldar_config *config)
{
    char kinds[LDAR_MAX_LAYERS];
    size_t layers = 0;
    for (uint32_t s = 0; s < config->stages; s++) {
        layers += ldar_layout_kinds(config->stage[s].encoder, kinds);
        layers += ldar_layout_kinds(config->stage[s].decoder, kinds);
    }
    return layers;
}

enum ldar_status ldar_parameters_create(const struct ldar_config *config, const struct ldar_head *head,
                                        struct ldar_parameters *parameters, struct ldar_parameter_table *table,
                                        struct ldar_error *error)
{
    const size_t layers = count_layers(config);
    const size_t most = layers * PER_LAYER + config->stages * (size_t)PER_STAGE + PER_NETWORK;
    *parameters = (struct ldar_parameters){.config = *config};
    struct ldar_layer *layer = calloc(layers, sizeof *layer);
    *table = (struct ldar_parameter_table){.entry = calloc(most, sizeof *table->entry)};
    if (!layer || !table->entry) {
        free(layer);
        free(table->entry);
        *table = (struct ldar_parameter_table){0};
        return ldar_fail_memory(error, most * sizeof *table->entry, "the list of parameters");
    }
    for (uint32_t s = 0; s < config->stages; s++) {
        take_layers(&parameters->stage[s].encoder, config->stage[s].encoder, &layer);
        take_layers(&parameters->stage[s].decoder, config->stage[s].decoder, &layer);
    }
    struct builder builder = {.table = table};
    add_symbols(&builder, "embeddings.weight", &parameters->embeddings, config->stage[0].width);
    snprintf(builder.prefix, sizeof builder.prefix, "backbone.");
    add_stage(&builder, parameters, 0, 0);
    builder.prefix[0] = '\0';
    if (!config->tie_embeddings) {
        add_symbols(&builder, "lm_head.weight", &parameters->head, config->stage[0].width);
    }
    if (head) {
        parameters->classifier = (struct ldar_head){
            .kind = head->kind, .outputs = head->outputs, .names = head->names, .parts = ldar_parts(head->parts)};
        add_head(&builder, &parameters->classifier, config->stage[0].width);
    }
    return LDAR_OK;
}

void ldar_parameters_destroy(struct ldar_parameters *parameters, struct ldar_parameter_table *table)
{
    free(parameters->stage[0].encoder.layer); /* one block holds the layers of all stacks, these first */
    free(table->entry);
}

void ldar_parameter_attach(const struct ldar_parameter *parameter, const void *data, enum ldar_dtype dtype)
{
    if (parameter->matrix) {
        parameter->matrix->data = data;
        parameter->matrix->dtype = dtype;
    } else {
        *parameter->vector = data;
    }
}

void ldar_parameters_tie(struct ldar_parameters *parameters)
{
    if (parameters->config.tie_embeddings) {
        parameters->head = parameters->embeddings;
    }
}

const void *ldar_parameter_data(const struct ldar_parameter *parameter, enum ldar_dtype *dtype)
{
    if (parameter->matrix) {
        *dtype = parameter->matrix->dtype;
        return parameter->matrix->data;
    }
    *dtype = LDAR_F32;
    return *parameter->vector;
}

void ldar_shape_text(const size_t *shape, size_t rank, char *text, size_t capacity)
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < rank && length < capacity; i++) {
        length += (size_t)snprintf(text + length, capacity - length, i > 0 ? ",%zu" : "%zu", shape[i]);
    }
}

uint64_t ldar_parameter_total(const struct ldar_parameter_table *table)
{
    uint64_t total = 0;
    for (size_t i = 0; i < table->count; i++) {
        total += table->entry[i].count;
    }
    return total;
}
