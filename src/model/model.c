/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include "io/convert.h"
#include "io/hash.h"
#include "io/safetensors.h"
#include "model/config.h"
#include "model/head.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 64 };

/* Of the head, at the end of the table: its weight, its bias. */
enum { HEAD_PARAMETERS = 2 };

const char *ldar_dtype_name(enum ldar_dtype dtype)
{
    return dtype == LDAR_F32 ? "f32" : dtype == LDAR_BF16 ? "bf16" : NULL;
}

enum ldar_status ldar_model_allocate(const struct ldar_config *config, const struct ldar_head *head, ldar_model **out,
                                     struct ldar_error *error)
{
    *out = NULL;
    struct ldar_model *model = calloc(1, sizeof *model);
    if (!model) {
        return ldar_fail_memory(error, sizeof *model, "a model");
    }
    enum ldar_status status = ldar_parameters_create(config, head, &model->parameters, &model->table, error);
    if (!status && head) {
        status = ldar_head_copy_names(&model->parameters.classifier, &model->names, error);
    }
    if (status) {
        ldar_model_destroy(model);
        return status;
    }
    *out = model;
    return LDAR_OK;
}

size_t ldar_model_room(size_t count, enum ldar_dtype dtype)
{
    size_t bytes = count * (dtype == LDAR_BF16 ? sizeof(uint16_t) : sizeof(float));
    return (bytes + LINE - 1) / LINE * LINE;
}

enum ldar_status ldar_model_reserve(ldar_model *model, size_t bytes, struct ldar_error *error)
{
    model->block = aligned_alloc(LINE, bytes > 0 ? bytes : LINE);
    return model->block ? LDAR_OK : ldar_fail_memory(error, bytes, "the parameters of a model");
}

/* Points every slot into a block of floats, zeros for now. */
static enum ldar_status reserve_floats(ldar_model *model, size_t *bytes, struct ldar_error *error)
{
    *bytes = 0;
    for (size_t i = 0; i < model->table.count; i++) {
        *bytes += ldar_model_room(model->table.entry[i].count, LDAR_F32);
    }
    enum ldar_status status = ldar_model_reserve(model, *bytes, error);
    if (status) {
        return status;
    }
    char *room = memset(model->block, 0, *bytes);
    for (size_t i = 0; i < model->table.count; i++) {
        ldar_parameter_attach(&model->table.entry[i], room, LDAR_F32);
        room += ldar_model_room(model->table.entry[i].count, LDAR_F32);
    }
    ldar_parameters_tie(&model->parameters);
    return LDAR_OK;
}

/* Where a parameter of such a model lies, to be written. */
static float *numbers_of(const struct ldar_parameter *parameter)
{
    enum ldar_dtype dtype;
    return (float *)(uintptr_t)ldar_parameter_data(parameter, &dtype);
}

void ldar_model_release_pages(const ldar_model *model)
{
    if (model->parameters.file) {
        ldar_tensors_release_pages(model->parameters.file);
    }
}

void ldar_matrix_release_pages(const struct ldar_parameters *parameters, const struct ldar_matrix *matrix)
{
    if (parameters->file) {
        const size_t size = matrix->dtype == LDAR_BF16 ? sizeof(uint16_t) : sizeof(float);
        ldar_tensors_release_range(parameters->file, matrix->data, matrix->rows * matrix->columns * size);
    }
}

enum ldar_status ldar_model_create(const struct ldar_config *config, uint64_t seed, ldar_model **out,
                                   struct ldar_error *error)
{
    struct ldar_model *model;
    if (!out) {
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no place for the model");
    }
    *out = NULL;
    if (!config) {
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no configuration");
    }
    enum ldar_status status = ldar_config_check(config, "configuration", error);
    if (!status) {
        status = ldar_model_allocate(config, NULL, &model, error);
    }
    if (status) {
        return status;
    }
    size_t bytes;
    status = reserve_floats(model, &bytes, error);
    if (status) {
        ldar_model_destroy(model);
        return status;
    }
    for (size_t i = 0; i < model->table.count; i++) {
        ldar_parameter_start(&model->table.entry[i], seed, i, numbers_of(&model->table.entry[i]));
    }
    *out = model;
    return LDAR_OK;
}

enum ldar_status ldar_model_copy(const ldar_model *from, const struct ldar_head *head, ldar_model **out, size_t *bytes,
                                 struct ldar_error *error)
{
    ldar_model *model;
    *out = NULL;
    enum ldar_status status = ldar_model_allocate(&from->parameters.config, head, &model, error);
    if (status) {
        return status;
    }
    status = reserve_floats(model, bytes, error);
    if (status) {
        ldar_model_destroy(model);
        return status;
    }
    const size_t network = model->table.count - (head ? HEAD_PARAMETERS : 0);
    for (size_t i = 0; i < network; i++) {
        enum ldar_dtype dtype;
        const void *data = ldar_parameter_data(&from->table.entry[i], &dtype);
        ldar_convert_to_f32(numbers_of(&model->table.entry[i]), data,
                            dtype == LDAR_BF16 ? LDAR_TENSOR_BF16 : LDAR_TENSOR_F32, from->table.entry[i].count);
    }
    if (head && head->weight) {
        memcpy(numbers_of(&model->table.entry[network]), head->weight,
               model->table.entry[network].count * sizeof(float));
    }
    if (head && head->bias) {
        memcpy(numbers_of(&model->table.entry[network + 1]), head->bias, head->outputs * sizeof(float));
    }
    *out = model;
    return LDAR_OK;
}

const struct ldar_head *ldar_model_head(const ldar_model *model)
{
    return model->parameters.classifier.kind ? &model->parameters.classifier : NULL;
}

enum ldar_status ldar_model_with_head(const ldar_model *model, const struct ldar_head *head, uint64_t seed,
                                      ldar_model **out, struct ldar_error *error)
{
    if (!out) {
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no place for the model");
    }
    *out = NULL;
    if (!model || !head) {
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no model, or no head for it");
    }
    enum ldar_status status = ldar_head_check("head", LDAR_ERROR_ARGUMENT, head, error);
    if (status) {
        return status;
    }
    const size_t columns = ldar_head_columns(head, model->parameters.config.stage[0].width);
    if ((head->weight && !ldar_all_finite(head->weight, LDAR_F32, head->outputs * columns))
        || (head->bias && !ldar_all_finite(head->bias, LDAR_F32, head->outputs))) {
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "head: its weight or bias holds an infinity or NaN");
    }
    size_t bytes;
    status = ldar_model_copy(model, head, out, &bytes, error);
    if (!status && !head->weight) {
        const size_t index = (*out)->table.count - HEAD_PARAMETERS;
        ldar_parameter_start(&(*out)->table.entry[index], seed, index, numbers_of(&(*out)->table.entry[index]));
    }
    return status;
}

void ldar_model_destroy(ldar_model *model)
{
    if (!model) {
        return;
    }
    ldar_tensors_close(model->parameters.file);
    ldar_parameters_destroy(&model->parameters, &model->table);
    free(model->block);
    free(model->names);
    free(model);
}

const struct ldar_config *ldar_model_config(const ldar_model *model)
{
    return &model->parameters.config;
}

const struct ldar_parameters *ldar_model_parameters(const ldar_model *model)
{
    return &model->parameters;
}

enum ldar_dtype ldar_model_dtype(const ldar_model *model)
{
    for (size_t i = 0; i < model->table.count; i++) {
        const struct ldar_matrix *matrix = model->table.entry[i].matrix;
        if (matrix && matrix->dtype == LDAR_BF16) {
            return LDAR_BF16;
        }
    }
    return LDAR_F32;
}

/* Of the parameters in the order and storage of our files, as ldar_model_save would hash them. */
static void hash_parameters(const ldar_model *model, char sha256[65])
{
    struct ldar_sha256 hash;
    ldar_sha256_begin(&hash);
    for (size_t i = 0; i < model->table.count; i++) {
        enum ldar_dtype dtype;
        const void *data = ldar_parameter_data(&model->table.entry[i], &dtype);
        ldar_sha256_add(&hash, data, model->table.entry[i].count * (dtype == LDAR_BF16 ? 2 : 4));
    }
    ldar_sha256_end(&hash, sha256);
}

void ldar_model_describe(const ldar_model *model, struct ldar_model_info *info)
{
    info->config = model->parameters.config;
    info->parameters = ldar_parameter_total(&model->table);
    info->dtype = ldar_model_dtype(model);
    info->head = model->parameters.classifier.kind;
    info->outputs = model->parameters.classifier.outputs;
    info->parts = model->parameters.classifier.parts;
    memcpy(info->sha256, model->sha256, sizeof info->sha256);
    if (!info->sha256[0]) {
        hash_parameters(model, info->sha256);
    }
}
