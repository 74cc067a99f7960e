/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_PARAMETERS_H
#define LDAR_MODEL_PARAMETERS_H

#include <ldar/model.h>

/*
 * The parameters of a network as the computation sees them: views into the
 * memory of a model (a mapped file or the heap), named as in the paper.
 */

/* A matrix (rows, columns), row-major and contiguous; data is float or bfloat16 (the upper half of a float). */
struct ldar_matrix {
    const void *data;
    enum ldar_dtype dtype;
    size_t rows, columns;
};

/* What one direction of a BiMamba-2 layer has of its own. */
struct ldar_mamba_direction {
    const float *conv_weight; /* (E + 2N, conv) */
    const float *conv_bias;   /* (E + 2N) */
    const float *dt_bias;     /* (H) */
    const float *a_log;       /* (H) */
    const float *d;           /* (H) */
    const float *norm;        /* (E) */
};

struct ldar_bimamba {
    struct ldar_matrix in_proj;               /* (2E + 2N + H, D): z, x, B, C, dt */
    struct ldar_matrix out_proj;              /* (D, E) */
    struct ldar_mamba_direction direction[2]; /* left to right, right to left */
};

struct ldar_attention {
    struct ldar_matrix wqkv;     /* (3D, D): q, k, v, each (heads, head width) */
    struct ldar_matrix out_proj; /* (D, D) */
};

struct ldar_swiglu {
    struct ldar_matrix fc1; /* (2F, D): up, then gate */
    struct ldar_matrix fc2; /* (D, F) */
};

/* The two stacks of a stage; the innermost stage's only stack is its LDAR_ENCODER. */
enum ldar_stack_part { LDAR_ENCODER, LDAR_DECODER, LDAR_STACK_PARTS };

/* A pre-norm block. */
struct ldar_layer {
    char kind;          /* 'm' 't' 'M' 'T' */
    const float *norm1; /* (D) */
    union {
        struct ldar_bimamba bimamba;     /* kinds m, M */
        struct ldar_attention attention; /* kinds t, T */
    };
    const float *norm2;        /* (D); kinds M, T */
    struct ldar_swiglu swiglu; /* kinds M, T */
};

struct ldar_stack {
    size_t layers;
    struct ldar_layer *layer;
    const float *norm; /* (D) */
};

/* A stage of the hierarchy; the innermost one has only `encoder` (and `pad`). */
struct ldar_stage {
    struct ldar_stack encoder, decoder;
    struct ldar_matrix router_q, router_k; /* (D, D) */
    struct ldar_matrix residual_proj;      /* (D, D) */
    const float *residual_bias;            /* (D) */
    const float *pad;                      /* (D - D of the stage outside), or NULL when the widths are equal */
};

struct ldar_parameters {
    struct ldar_config config;
    const float *embeddings; /* (7, D0) */
    const float *head;       /* (7, D0); the embeddings when they are tied */
    struct ldar_stage stage[LDAR_MAX_STAGES];
    struct ldar_head classifier; /* kind 0: none; of the model, which no device computes; parts: at least 1 */
    struct ldar_tensors *file;   /* the mapped file that some data is in, or NULL */
};

/* The parameters of a model, valid as long as it. */
const struct ldar_parameters *ldar_model_parameters(const ldar_model *model);

/* The weights have been packed and are not needed for now: lets go of their resident pages where they are a file's. */
void ldar_model_release_pages(const ldar_model *model);
/* The same for one matrix, so that while a model is packed neither copy is ever there whole. */
void ldar_matrix_release_pages(const struct ldar_parameters *parameters, const struct ldar_matrix *matrix);

/* F of the stage: intermediate rounded up to a multiple of 128. */
size_t ldar_swiglu_width(const struct ldar_stage_config *stage);

/*
 * 'm3t1' -> kinds "mmmt". Writes up to LDAR_MAX_LAYERS kinds and returns how many there are, or SIZE_MAX for a layout
 * that is no sequence of kind and count.
 */
size_t ldar_layout_kinds(const char *layout, char kinds[LDAR_MAX_LAYERS]);

#endif
