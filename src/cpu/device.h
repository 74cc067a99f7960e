/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CPU_DEVICE_H
#define LDAR_CPU_DEVICE_H

#include "arena.h"
#include "backend.h"
#include "gemm.h"
#include "parallel.h"

/*
 * The CPU device. Parameters are packed once; rows of all stages and what a
 * layer leaves for the next step lie in one arena.
 *
 * A layer works on tiles of LDAR_TILE tokens of the concatenated sequences
 * wherever tokens are independent (norms, projections, SwiGLU, head), and on
 * (sequence, direction, heads) where they are not (scan, attention).
 */

/* What one direction of a BiMamba-2 layer needs: the convolution by taps, decay rates, and views of the rest. */
struct ldar_cpu_direction {
    float *conv_weight; /* (4, E + 2N), zero taps in front of a shorter convolution */
    float *rate;        /* (H) a = -exp(A_log) */
    const struct ldar_mamba_direction *own;
};

struct ldar_cpu_layer {
    const struct ldar_layer *own;
    struct ldar_gemm_weight in, out; /* in_proj but for its last H rows, and out_proj; or Wqkv and out_proj */
    struct ldar_gemm_weight step;    /* the last H rows of in_proj, whose products are step sizes */
    struct ldar_cpu_direction direction[2];
    size_t blocks;                      /* SwiGLU in blocks of its width, so that what lies between stays in L2 */
    struct ldar_gemm_weight *fc1, *fc2; /* (blocks) */
};

/* What a layer leaves between its two projections. */
struct ldar_cpu_activations {
    float *z;     /* (rows, z_stride) elements: projected rows; floats: the router's q and k, the averages */
    float *dt;    /* (rows, dt_stride): step sizes before bias and softplus */
    float *y[2];  /* (rows, y_stride) elements: what each direction, or the attention, gives */
    int in_place; /* 1: the scan from right to left leaves its y where its x was, in z */
    /* For the backward pass; else NULL. */
    float *states[2]; /* (spans, H, state) of each direction */
    float *log_sum;   /* (attention heads, rows) */
    float *hidden;    /* (rows, hidden_stride) elements: up and gate of the SwiGLU, in the order of its panels */
};

struct ldar_cpu_stack {
    size_t layers;
    struct ldar_cpu_layer *layer;
    struct ldar_cpu_record *record; /* (layers), where the device trains; else NULL */
    float *last;                    /* (rows, x_stride): x before `norm`, where the pass is kept */
    const float *norm;
};

static inline int ldar_is_mamba(const struct ldar_cpu_layer *layer)
{
    return layer->own->kind == 'm' || layer->own->kind == 'M';
}

struct ldar_cpu_stage {
    const struct ldar_stage_config *config;
    size_t width, inner, heads;     /* D, E, H */
    size_t rotary;                  /* rotated columns of its attention heads; 0 where it has none */
    size_t x_stride;                /* of x */
    size_t z_stride, y_stride;      /* of the projected rows and of a mixer's outputs, for every layer of the stage */
    size_t dt_stride;               /* of the step sizes */
    size_t qk_stride;               /* of the router's q and k */
    size_t hidden_stride;           /* of a SwiGLU's up and gate, in training */
    struct ldar_cpu_stack stack[2]; /* by enum ldar_stack_part */
    struct ldar_gemm_weight router; /* (2D, D): q above k */
    struct ldar_gemm_weight residual;
    const struct ldar_stage *own;
    float *cosine, *sine; /* (rows, rotary / 2) in the arena; the first `positions` are filled */
    size_t positions;
};

/* A stretch of one sequence that is one task's. */
struct ldar_piece {
    size_t first, length; /* rows */
    size_t before, after; /* rows of the sequence on both sides */
    size_t span;          /* its first kept state, among those of all pieces */
};

/* The stretches of a piece before which a scan keeps its states: all but the first, before which they are zero. */
static inline size_t ldar_spans(size_t rows)
{
    return rows ? (rows - 1) / LDAR_SSD_SPAN : 0;
}

struct ldar_device {
    const struct ldar_parameters *parameters;
    const struct ldar_kernels *kernels; /* of the layers: their elements are the activations' */
    const struct ldar_kernels *floats;  /* of what is float32 in any case: residual stream, routing, dechunking, head */
    int rounded;                        /* 1: bfloat16 was asked for, and floats compute with weights rounded to it */
    const struct ldar_gemm_provider *gemm;
    char gemm_name[64];
    enum ldar_isa isa;
    struct ldar_team team;
    struct ldar_cpu_stage stage[LDAR_MAX_STAGES];
    void *table;         /* (7, z_stride of stage 0) elements: the first layer's projection of each symbol */
    float *dt_table;     /* (7, dt_stride of stage 0): and its step sizes */
    const uint8_t *ids;  /* the symbols that x[0] was made of */
    size_t weight_bytes; /* all that the device holds beside the arena */
    size_t peak_bytes;

    size_t rows[LDAR_MAX_STAGES]; /* that the arena has room for */
    struct ldar_arena arena;
    float *x[LDAR_MAX_STAGES];
    struct ldar_cpu_activations shared; /* of the layer at work, where it has no room of its own */
    struct ldar_piece *piece;           /* (pieces) of the rows at work; room for one per row */
    size_t pieces;
    const void **row;                   /* (tallest matrix) what is packed, row by row */
    struct ldar_cpu_training *training; /* NULL in a device that only computes forward */
};

/* Element `index` of an array of the device's elements. */
static inline void *ldar_element(const struct ldar_device *device, const void *array, size_t index)
{
    return (char *)(uintptr_t)array + index * device->kernels->element;
}

/* ---- how the steps are cut ---- */

static inline size_t ldar_tiles(size_t rows)
{
    return (rows + LDAR_TILE - 1) / LDAR_TILE;
}

static inline size_t ldar_tile_rows(size_t rows, size_t tile)
{
    size_t left = rows - tile * LDAR_TILE;
    return left < LDAR_TILE ? left : LDAR_TILE;
}

/* The sequence that row `row` belongs to. */
size_t ldar_sequence_of(const struct ldar_packed *packed, size_t row);

/* ---- mixers: between the input and the output projection, for all rows of a stage ---- */

void ldar_cpu_bimamba(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                      const struct ldar_cpu_layer *layer, struct ldar_cpu_activations *at,
                      const struct ldar_packed *packed);
void ldar_cpu_attention(struct ldar_device *device, struct ldar_cpu_stage *stage, const struct ldar_cpu_activations *at,
                        const struct ldar_packed *packed);

/* Bytes that the device holds, packed parameters included, when a stage has at most rows[stage] rows. */
size_t ldar_cpu_bytes(const struct ldar_device *device, const size_t rows[LDAR_MAX_STAGES]);

/* z to y: the layer's scan or attention. */
void ldar_cpu_mix(struct ldar_device *device, struct ldar_cpu_stage *stage, const struct ldar_cpu_layer *layer,
                  struct ldar_cpu_activations *at, const struct ldar_packed *packed);

/* Finds the pieces of the packed rows: sequences that are not empty, in stretches of `length` rows at most. */
void ldar_cpu_cut(struct ldar_device *device, const struct ldar_packed *packed, size_t length);
/* Columns of one task of the averages, and rows and columns of one of a weight's gradient. */
enum { LDAR_CPU_COLUMNS = 64, LDAR_CPU_BLOCK = 256 };
/* Most heads of one scan task: their states, 32 KiB each at N = 128, share L2 with the tile. */
enum { LDAR_CPU_HEADS = 8 };
/* Whether a scan may ever need room for the y of both directions. */
int ldar_cpu_two_outputs(const struct ldar_device *device);

/* ---- tiles ---- */

/* x += SwiGLU(norm2(x)) for `rows` rows of a tile; hidden: elements of (rows, hidden_stride) to keep, or NULL. */
void ldar_cpu_swiglu(const struct ldar_device *device, const struct ldar_cpu_stage *stage,
                     const struct ldar_cpu_layer *layer, float *x, void *hidden, size_t rows,
                     const struct ldar_gemm_weight *next, struct ldar_worker *worker);
/* z and dt of a tile: in_proj(norm1(x)). */
void ldar_cpu_project(const struct ldar_device *device, const struct ldar_cpu_stage *stage,
                      const struct ldar_cpu_layer *layer, const struct ldar_cpu_activations *at, const float *x,
                      size_t first, size_t rows, const struct ldar_gemm_weight *next, struct ldar_worker *worker);

/* worker->tile (rows, D) floats = x, for the router's and the residual's products. */
void ldar_cpu_operand(const struct ldar_cpu_stage *stage, const float *x, size_t rows, struct ldar_worker *worker);

static inline void ldar_cpu_multiply(const struct ldar_gemm_weight *weight, const struct ldar_gemm_call *call,
                                     struct ldar_worker *worker)
{
    weight->provider->multiply(weight, call, worker);
    ldar_lap(worker, LDAR_CLOCK_GEMM);
}

/* ---- steps of the backend ---- */

void ldar_cpu_embed(struct ldar_device *device, const uint8_t *ids, const struct ldar_packed *packed);
void ldar_cpu_head(struct ldar_device *device, const struct ldar_packed *packed, float *logits);
void ldar_cpu_pool(struct ldar_device *device, const struct ldar_packed *packed, size_t parts, float *mean);
void ldar_cpu_stack_run(struct ldar_device *device, size_t stage, enum ldar_stack_part part,
                        const struct ldar_packed *packed);
void ldar_cpu_route(struct ldar_device *device, size_t stage, const struct ldar_packed *packed, float *prob);
void ldar_cpu_chunk(struct ldar_device *device, size_t stage, const struct ldar_routing *routing);
void ldar_cpu_dechunk(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                      const struct ldar_routing *routing);

#endif
