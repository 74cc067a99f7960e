/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_MODEL_H
#define LDAR_MODEL_MODEL_H

#include <ldar/tensors.h>

#include "model/table.h"

struct ldar_model {
    struct ldar_parameters parameters;
    struct ldar_parameter_table table;
    void *block; /* what the slots point into that do not point into parameters.file, or NULL */
    void *names; /* of the head's outputs, or NULL */
    char sha256[65];
};

/* A model whose slots are still empty, with a head of that kind and those outputs unless it is NULL. On failure *model
 * is NULL. */
enum ldar_status ldar_model_allocate(const struct ldar_config *config, const struct ldar_head *head, ldar_model **model,
                                     struct ldar_error *error);

/* Room for `bytes` of parameters, 64-byte aligned, at model->block. */
enum ldar_status ldar_model_reserve(ldar_model *model, size_t bytes, struct ldar_error *error);

/*
 * The numbers of a model as floats in one block, in the order of its table, each parameter on a cache line of its own,
 * zeros between them: *bytes in all. `head` is the model's own, another, whose numbers are then copied, or NULL.
 */
enum ldar_status ldar_model_copy(const ldar_model *from, const struct ldar_head *head, ldar_model **out, size_t *bytes,
                                 struct ldar_error *error);

/* Bytes of the room that `count` values take: whole cache lines, so that each parameter starts on one. */
size_t ldar_model_room(size_t count, enum ldar_dtype dtype);

/* bfloat16 when any matrix is. */
enum ldar_dtype ldar_model_dtype(const ldar_model *model);

#endif
