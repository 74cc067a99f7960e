/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_MODEL_H
#define LDAR_MODEL_MODEL_H

#include <ldar/tensors.h>

#include "model/table.h"

struct ldar_model {
    struct ldar_parameters parameters;
    struct ldar_parameter_table table;
    void *block; /* what the slots point into that do not point into parameters.file, or NULL */
    char sha256[65];
};

/* A model whose slots are still empty. On failure *model is NULL. */
enum ldar_status ldar_model_allocate(const struct ldar_config *config, ldar_model **model, struct ldar_error *error);

/* Room for `bytes` of parameters, 64-byte aligned, at model->block. */
enum ldar_status ldar_model_reserve(ldar_model *model, size_t bytes, struct ldar_error *error);

/* Bytes of the room that `count` values take: whole cache lines, so that each parameter starts on one. */
size_t ldar_model_room(size_t count, enum ldar_dtype dtype);

/* bfloat16 when any matrix is. */
enum ldar_dtype ldar_model_dtype(const ldar_model *model);

#endif
