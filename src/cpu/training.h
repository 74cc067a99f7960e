/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CPU_TRAINING_H
#define LDAR_CPU_TRAINING_H

#include "device.h"

/*
 * What a device that trains holds beside the forward pass.
 *
 * The forward pass leaves records on a tape: x before every layer always, and
 * what the layer's projections and mixer gave as far as the memory goes; the
 * backward pass computes again what is not there, by the same steps, so that
 * its bits do not depend on the memory. It goes through a layer in passes over
 * tiles (projections, norms), over (sequence, direction, heads) (scan,
 * attention), over strips of channels (convolution), and at last over blocks
 * of the weight matrices, each of which is one task's for all rows.
 *
 * Sums over rows are cut by tiles of LDAR_TILE rows or by sequences and added
 * up in their order: no number of threads changes a bit.
 */

/* What a layer's backward pass reads of the forward pass. */
struct ldar_cpu_record {
    float *x, *middle;               /* (rows, x_stride) before the mixer; before the SwiGLU */
    struct ldar_cpu_activations own; /* where `kept` */
    size_t kept;                     /* bytes of the tape, from own.z on; 0: computed again */
};

/* A weight matrix (n, k) that was packed so that dx (rows, k) = dc (rows, n) w. */
struct ldar_cpu_transposed {
    const struct ldar_kernels *kernels;
    size_t n, k;
    char *packed;
};

struct ldar_cpu_training {
    struct ldar_reach reach;                /* of the backward passes: nothing else is kept for them */
    const float *weights;                   /* all of the network's parameters */
    float *gradient;                        /* the same of their gradients, of the micro-batch at work */
    size_t limit;                           /* bytes that the device may take in all; SIZE_MAX: any number */
    void (*final)(void *own, size_t first); /* told when all gradients from `first` on are final */
    void *own;
    int keep;                     /* 1: the forward pass at work is followed by a backward pass */
    size_t rows[LDAR_MAX_STAGES]; /* of the batch at work, as far as known */
    size_t kept;                  /* bytes that layers have kept beyond their x */
    struct ldar_arena tape;

    float *dx[LDAR_MAX_STAGES];      /* (rows, x_stride): gradient of x */
    float *encoder[LDAR_MAX_STAGES]; /* (rows, x_stride): what the router saw */
    float *qk[LDAR_MAX_STAGES];      /* (rows, qk_stride) */
    float *average[LDAR_MAX_STAGES]; /* (chunks, average stride) */

    /* One layer's; strides as of the stage, or of rows of the array's own width. */
    float *states[2], *log_sum; /* of a layer that is computed again */
    float *dz;                  /* (rows, dz_stride) elements: of all that in_proj or Wqkv gave */
    float *dbc[2];              /* (groups, rows, 2N) elements: of B and C, of each direction's groups of heads */
    float *ddt[2];              /* (rows, dt_stride) */
    float *dout;                /* (rows, D) elements: of what the layer added to x */
    float *mixed;               /* (rows, E or F) elements: what out_proj or fc2 multiplied */
    float *input;               /* (rows, D) elements: what in_proj or fc1 multiplied */
    float *dhidden;             /* (rows, hidden_stride) elements: of up and gate, block after block */
    float *partial;             /* (tiles, partial_stride): sums of rows, tile by tile */
    float *sums;                /* (pieces, 2, H, 3): of dt_bias, a and d */
    float *packed[2];           /* transposed weights */
    size_t partial_stride;
};

/* Elements between two rows of dz, the gradient of all columns of in_proj or Wqkv. */
size_t ldar_cpu_dz_stride(const struct ldar_device *device, const struct ldar_cpu_stage *stage);

/* Groups of heads of the scan's backward pass: they shape the sums of dB and dC, and are the same on every machine. */
static inline size_t ldar_cpu_groups(const struct ldar_cpu_stage *stage)
{
    return (stage->heads + LDAR_CPU_HEADS - 1) / LDAR_CPU_HEADS;
}

/* Where the gradient of the weights at `weight` is summed: both arrays are in the same order. */
static inline float *ldar_cpu_gradient(const struct ldar_device *device, const void *weight)
{
    return device->training->gradient + ((const float *)weight - device->training->weights);
}

/* All gradients from that of the weights at `weight` on are final. */
static inline void ldar_cpu_final(const struct ldar_device *device, const void *weight)
{
    if (device->training->final)
        device->training->final(device->training->own, (size_t)((const float *)weight - device->training->weights));
}

/* ---- memory ---- */

/* The bytes of training's part of the arena, for `rows`; with `cut` set the arrays are cut from it. */
size_t ldar_cpu_training_room(struct ldar_device *device, const size_t *rows, struct ldar_arena *arena);
/* Address space for the tape of a batch of these rows, all layers kept. 0 where there is none. */
int ldar_cpu_tape_map(struct ldar_device *device, const size_t *rows);
/* Begins a forward pass over `rows` rows of stage 0 whose backward pass follows. */
void ldar_cpu_tape_begin(struct ldar_device *device, size_t rows);
/* The router of `stage` has chosen that many chunks: layers may have to give up what they kept. */
void ldar_cpu_tape_chunks(struct ldar_device *device, size_t stage, size_t chunks);
/* Ends it: the forward pass has kept all that it keeps, and the most that a pass has taken is known. */
void ldar_cpu_tape_end(struct ldar_device *device);
/* The next `floats` of the tape. */
float *ldar_cpu_tape_take(struct ldar_device *device, size_t floats);
/* Room for what a layer of `rows` rows leaves; whether all of it is kept depends on the memory. */
void ldar_cpu_record(struct ldar_device *device, const struct ldar_cpu_stage *stage, const struct ldar_cpu_layer *layer,
                     size_t rows, size_t spans, struct ldar_cpu_record *record);
/* Floats of kernel scratch that the backward passes of a stage need. */
size_t ldar_cpu_backward_scratch(const struct ldar_cpu_stage *stage, size_t head, size_t rows);
/* Bytes of the tape for stages of these rows when no layer keeps more than its x. */
size_t ldar_cpu_tape_least(const struct ldar_device *device, const size_t *rows);

/* ---- sums over rows ---- */

/* The partial sums of a tile, `count` zeros; and their sum over `tiles` tiles, added to out. */
float *ldar_cpu_partial(const struct ldar_device *device, size_t tile, size_t count);
void ldar_cpu_sum_partial(struct ldar_device *device, float *out, size_t column, size_t count, size_t tiles);

/* dw += dc^T a over all rows, for some matrices of a layer at once. */
struct ldar_cpu_product {
    const struct ldar_kernels *kernels;
    float *dw; /* (n, k) */
    const void *dc, *a;
    size_t n, k, dc_stride, a_stride;
};
void ldar_cpu_weight_gradients(struct ldar_device *device, const struct ldar_cpu_product *products, size_t count,
                               size_t rows);

/* Packs `n` rows of a float matrix for dx = dc w, at `packed`, and returns what lies behind it. */
char *ldar_cpu_transpose(struct ldar_device *device, const struct ldar_kernels *kernels, int rounded,
                         const float *weight, size_t n, size_t k, char *packed, struct ldar_cpu_transposed *transposed);

/* dx (rows, columns) = or += dc w for the columns first .. of w; dx is float. */
void ldar_cpu_back(const struct ldar_cpu_transposed *w, size_t first, size_t columns, float *dx, size_t dx_stride,
                   const void *dc, size_t dc_stride, size_t rows, enum ldar_gemm_mode mode,
                   const struct ldar_cpu_transposed *next, struct ldar_worker *worker);

/* ---- backward twins ---- */

void ldar_cpu_bimamba_backward(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                               const struct ldar_cpu_layer *layer, const struct ldar_cpu_activations *at,
                               const struct ldar_packed *packed);
void ldar_cpu_attention_backward(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                                 const struct ldar_cpu_activations *at, const struct ldar_packed *packed);
void ldar_cpu_swiglu_backward(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                              const struct ldar_cpu_layer *layer, const struct ldar_cpu_record *record, float *dx,
                              size_t rows);
/* symbols 1: the layer is the first of all, and its rows are those of the embedding. */
void ldar_cpu_layer_backward(struct ldar_device *device, struct ldar_cpu_stage *stage,
                             const struct ldar_cpu_layer *layer, const struct ldar_cpu_record *record, float *dx,
                             const struct ldar_packed *packed, int symbols);
void ldar_cpu_stack_backward(struct ldar_device *device, size_t stage, enum ldar_stack_part part,
                             const struct ldar_packed *packed);
void ldar_cpu_route_backward(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                             const float *dprob);
void ldar_cpu_chunk_backward(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                             const struct ldar_routing *routing);
void ldar_cpu_dechunk_backward(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                               const struct ldar_routing *routing, float *dprob);
void ldar_cpu_embed_backward(struct ldar_device *device, const struct ldar_packed *packed);
void ldar_cpu_classify(struct ldar_device *device, const struct ldar_packed *packed, const uint8_t *labels, float scale,
                       float *loss, uint8_t *correct);

void ldar_cpu_pool_backward(struct ldar_device *device, const struct ldar_packed *packed, size_t parts,
                            const float *dmean);

void ldar_cpu_optimize(struct ldar_device *device, const struct ldar_optimizer_part *parts, size_t count);
void ldar_cpu_sum_squares(struct ldar_device *device, const float *x, size_t count, double *sum);

#endif
