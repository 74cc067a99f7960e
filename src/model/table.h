/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_TABLE_H
#define LDAR_MODEL_TABLE_H

#include "model/parameters.h"

/*
 * The list of a network's parameters: the one place that knows their published names, shapes, storage and
 * initialisation. Loading, saving, creating and training walk it.
 */
enum { LDAR_PARAMETER_NAME = 192, LDAR_PARAMETER_RANK = 3 };

enum ldar_start {
    LDAR_START_ZERO,
    LDAR_START_ONE,
    LDAR_START_IDENTITY,
    LDAR_START_NORMAL,  /* standard deviation `scale` */
    LDAR_START_UNIFORM, /* within +-`scale` */
    LDAR_START_DT_BIAS, /* softplus^-1 of a step log-uniform in [0.001, 0.1] */
    LDAR_START_A_LOG    /* log of a decay uniform in [1, 16] */
};

/* Where a parameter stands in the network. */
struct ldar_place {
    int stacked; /* 1: in a stack, and there in a layer, or SIZE_MAX: behind them, as its norm */
    size_t stage, layer;
    enum ldar_stack_part part;
};

/* One distinct parameter. in_proj and out_proj of a BiMamba-2 layer are distinct once, named as "fwd". */
struct ldar_parameter {
    char name[LDAR_PARAMETER_NAME];
    size_t rank, shape[LDAR_PARAMETER_RANK], count;
    enum ldar_start start;
    double scale;
    int narrow; /* a bfloat16 file stores it as bfloat16; all others are float32 in every file */
    int shared; /* a published file may hold an equal copy under "bwd" */
    struct ldar_place place;

    /* Where the computation looks for it: one of the two is not NULL. Only a narrow matrix may be other than float. */
    struct ldar_matrix *matrix;
    const float **vector;
};

struct ldar_parameter_table {
    size_t count;
    struct ldar_parameter *entry; /* in the order of our files */
};

/*
 * Gives `parameters` the stacks of a checked configuration, with all data pointers NULL, and `table` the list of them;
 * with `head`, that of classifier as well, at the end. Both are released by the second function, which does nothing for
 * zeroed structs.
 */
enum ldar_status ldar_parameters_create(const struct ldar_config *config, const struct ldar_head *head,
                                        struct ldar_parameters *parameters, struct ldar_parameter_table *table,
                                        struct ldar_error *error);
void ldar_parameters_destroy(struct ldar_parameters *parameters, struct ldar_parameter_table *table);

/* Points the parameter's slot at `data`: `dtype` for a narrow matrix, float for all others. */
void ldar_parameter_attach(const struct ldar_parameter *parameter, const void *data, enum ldar_dtype dtype);

/* The last step of filling the slots: where they are tied, the head is the embeddings. */
void ldar_parameters_tie(struct ldar_parameters *parameters);

/* Where its slot points, and the type of what lies there. */
const void *ldar_parameter_data(const struct ldar_parameter *parameter, enum ldar_dtype *dtype);

/* "7,512", or what of it fits. */
void ldar_shape_text(const size_t *shape, size_t rank, char *text, size_t capacity);

/* Distinct numbers in all. */
uint64_t ldar_parameter_total(const struct ldar_parameter_table *table);

/* The initial values of parameter `index` of a model with this seed. */
void ldar_parameter_start(const struct ldar_parameter *parameter, uint64_t seed, size_t index, float *values);

#endif
