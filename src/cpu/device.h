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
    struct ldar_gemm_weight in, out; /* in_proj and out_proj, or Wqkv and out_proj */
    struct ldar_cpu_direction direction[2];
    size_t blocks;                      /* SwiGLU in blocks of its width, so that what lies between stays in L2 */
    struct ldar_gemm_weight *fc1, *fc2; /* (blocks) */
};

struct ldar_cpu_stack {
    size_t layers;
    struct ldar_cpu_layer *layer;
    const float *norm;
};

struct ldar_cpu_stage {
    const struct ldar_stage_config *config;
    size_t width, inner, heads;     /* D, E, H */
    size_t rotary;                  /* rotated columns of its attention heads; 0 where it has none */
    size_t x_stride;                /* of x */
    size_t z_stride, y_stride;      /* of the projected rows and of a mixer's outputs, for every layer of the stage */
    struct ldar_cpu_stack stack[2]; /* by enum ldar_stack_part */
    struct ldar_gemm_weight router; /* (2D, D): q above k */
    struct ldar_gemm_weight residual;
    const struct ldar_stage *own;
    float *cosine, *sine; /* (rows, rotary / 2) in the arena; the first `positions` are filled */
    size_t positions;
};

/* A stretch of one sequence that is one task's: the sequence, or a segment of a long one. */
struct ldar_piece {
    size_t first, length; /* rows */
    size_t before, after; /* rows of the sequence on both sides */
    size_t segment;       /* index among the segments of all cut sequences, or SIZE_MAX */
};

struct ldar_device {
    const struct ldar_parameters *parameters;
    const struct ldar_kernels *kernels;
    const struct ldar_gemm_provider *gemm;
    char gemm_name[64];
    enum ldar_isa isa;
    struct ldar_team team;
    struct ldar_cpu_stage stage[LDAR_MAX_STAGES];
    float *table;        /* (7, z_stride of stage 0): the first layer's projection of each symbol */
    const uint8_t *ids;  /* the symbols in x[0], until its encoder has run */
    size_t weight_bytes; /* all that the device holds beside the arena */
    size_t peak_bytes;

    size_t rows[LDAR_MAX_STAGES]; /* that the arena has room for */
    struct ldar_arena arena;
    float *x[LDAR_MAX_STAGES];
    float *z;    /* (rows, z_stride): projected rows; the router's q and k; the chunks' averages */
    float *y[2]; /* (rows, y_stride): what each direction, or the attention, gives */
    float *state_end, *state_begin, *segment_decay; /* (segments, 2, H, state), twice, and (segments, 2, H) */
    struct ldar_piece *piece;                       /* (pieces) of the rows at work; room for one per row */
    size_t pieces;
};

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
                      const struct ldar_cpu_layer *layer, const struct ldar_packed *packed);
void ldar_cpu_attention(struct ldar_device *device, struct ldar_cpu_stage *stage, const struct ldar_packed *packed);

/*
 * Finds the pieces of the packed rows: sequences that are not empty, those of at least `longest` rows in segments of
 * `length`. Never more pieces than rows.
 */
void ldar_cpu_cut(struct ldar_device *device, const struct ldar_packed *packed, size_t length, size_t longest);
/* Most segments whose states a scan over `rows` rows of a stage keeps. */
size_t ldar_cpu_segments(const struct ldar_cpu_stage *stage, size_t rows);
/* Most heads of one scan task: their states, 32 KiB each at N = 128, share L2 with the tile. */
enum { LDAR_CPU_HEADS = 8 };

/* ---- tiles ---- */

/* x += SwiGLU(norm2(x)) for `rows` rows of a tile. */
void ldar_cpu_swiglu(const struct ldar_device *device, const struct ldar_cpu_stage *stage,
                     const struct ldar_cpu_layer *layer, float *x, size_t rows, const struct ldar_gemm_weight *next,
                     struct ldar_worker *worker);

/* worker->tile (rows, D) = x, as an operand. */
void ldar_cpu_operand(const struct ldar_cpu_stage *stage, const float *x, size_t rows, struct ldar_worker *worker);

static inline void ldar_cpu_multiply(const struct ldar_device *device, const struct ldar_gemm_weight *weight,
                                     const struct ldar_gemm_call *call, struct ldar_worker *worker)
{
    device->gemm->multiply(device->kernels, weight, call, worker);
    ldar_lap(worker, LDAR_CLOCK_GEMM);
}

/* ---- steps of the backend ---- */

void ldar_cpu_stack_run(struct ldar_device *device, size_t stage, enum ldar_stack_part part,
                        const struct ldar_packed *packed);
void ldar_cpu_route(struct ldar_device *device, size_t stage, const struct ldar_packed *packed, float *prob);
void ldar_cpu_chunk(struct ldar_device *device, size_t stage, const struct ldar_routing *routing);
void ldar_cpu_dechunk(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                      const struct ldar_routing *routing);

#endif
