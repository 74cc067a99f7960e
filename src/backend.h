/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_BACKEND_H
#define LDAR_BACKEND_H

#include <ldar/context.h>

#include "model/parameters.h"

/*
 * What a backend is: the steps of the paper over packed sequences. The model
 * knows a device by this table alone.
 *
 * A device holds, for each stage, one array of rows x[stage] (rows, D of the
 * stage) in its own memory; the steps transform these in place, and what else
 * they need (tiles, packed weights, streams) is their own business. Arrays in
 * the arguments are the host's. A device serves one caller at a time.
 */

/* Rows of concatenated sequences: sequence s is rows offsets[s] .. offsets[s + 1). */
struct ldar_packed {
    size_t rows, sequences;
    const size_t *offsets; /* (sequences + 1) */
};

struct ldar_device; /* a backend's own */

/* What a router decided: how the rows of a stage become those of the next. */
struct ldar_routing {
    const float *chunk_prob;   /* (chunks) boundary probability of the row that opens each chunk */
    const uint32_t *position;  /* (chunks + 1) the row that opens each chunk, ascending; then the number of rows */
    const uint32_t *chunk;     /* (rows) the chunk that each row belongs to */
    struct ldar_packed chunks; /* the chunks as sequences */
};

/* How far a backward pass goes, in its order: outermost decoder, inner network, outermost encoder, embedding. */
struct ldar_reach {
    size_t first[LDAR_MAX_STAGES][LDAR_STACK_PARTS]; /* of each stack, the first layer that it goes through; SIZE_MAX:
                                                        it ends before the stack */
    int inside[LDAR_MAX_STAGES];                     /* 1: it goes through the dechunking of the stage */
    int embedding;                                   /* 1: it goes all the way */
};

/* Where the gradients of a pass go. `weights` is the array that all parameters lie in. */
struct ldar_gradient_sink {
    const float *weights;
    float *gradient;                        /* as weights */
    void (*final)(void *own, size_t first); /* told when all gradients from `first` on are final; or NULL */
    void *own;
    size_t max_bytes; /* that the device may take in this pass, as `bytes` counts them; SIZE_MAX: any number */
};

/* Some numbers that AdamW moves alike. */
struct ldar_optimizer_part {
    float *weight, *moment1, *moment2;
    const float *gradient;
    size_t count;
    float scale, rate, beta1, beta2, correction1, correction2, epsilon, decay;
};

struct ldar_backend {
    const char *name;

    /*
     * Packs the parameters for the device. `train` is not NULL: for training, the backward passes of which go as far as
     * it says, and parameters are floats. On failure *device is NULL.
     */
    enum ldar_status (*create)(const struct ldar_parameters *parameters, const struct ldar_context_options *options,
                               const struct ldar_reach *train, struct ldar_device **device, struct ldar_error *error);
    void (*destroy)(struct ldar_device *device);

    /* Bytes that the device holds, packed parameters included, when a stage has at most rows[stage] rows. */
    size_t (*bytes)(const struct ldar_device *device, const size_t rows[LDAR_MAX_STAGES]);

    /* Makes room for stages of up to rows[stage] rows; what was in the device's rows is lost. */
    enum ldar_status (*reserve)(struct ldar_device *device, const size_t rows[LDAR_MAX_STAGES],
                                struct ldar_error *error);

    /* x[0] = rows of the embedding table. ids must stay valid until the outermost encoder, or its twin, has run. */
    void (*embed)(struct ldar_device *device, const uint8_t *ids, const struct ldar_packed *packed);

    /* x[stage] = stack(x[stage]). */
    void (*stack)(struct ldar_device *device, size_t stage, enum ldar_stack_part part,
                  const struct ldar_packed *packed);

    /* Boundary probability of each row of x[stage]; 1 for the first of a sequence. */
    void (*route)(struct ldar_device *device, size_t stage, const struct ldar_packed *packed, float *prob);

    /* x[stage + 1] = the rows of x[stage] that open a chunk, with the learned columns appended. */
    void (*chunk)(struct ldar_device *device, size_t stage, const struct ldar_routing *routing);

    /* x[stage] = dechunk(x[stage + 1]) + residual_proj(x[stage]). */
    void (*dechunk)(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                    const struct ldar_routing *routing);

    /* logits (rows, 7) of x[0]. */
    void (*head)(struct ldar_device *device, const struct ldar_packed *packed, float *logits);

    /* mean (sequences, parts, D) of the rows of x[0] of each part of each sequence (ldar_head_part), summed in double
     * and in their order; NaN where the sequence has none. */
    void (*pool)(struct ldar_device *device, const struct ldar_packed *packed, size_t parts, float *mean);

    /* The first `width` columns of x[stage], (rows, width). */
    void (*read)(struct ldar_device *device, size_t stage, const struct ldar_packed *packed, float *out, size_t width);

    /*
     * ---- training, of a device that was created for it ----
     *
     * A pass is begin, then the steps above and their twins in reverse, as far as the device's reach. dx[stage], the
     * gradient of the loss by x[stage], lies on the device as x does; each twin turns that of its step's result into
     * that of its input, and adds up the gradients of its parameters.
     */

    /* The parameters' numbers have changed. */
    void (*refresh)(struct ldar_device *device);

    /*
     * Begins the pass of a batch of `rows` nucleotides whose gradients are added to sink->gradient. NULL: a pass
     * without a backward one.
     */
    void (*begin)(struct ldar_device *device, size_t rows, const struct ldar_gradient_sink *sink);

    /*
     * Behind the outermost decoder: the cross-entropy of each labelled row and whether its label is the most likely
     * symbol; 0 where labels[row] is none. dx[0] = that of `scale` times the sum of all.
     */
    void (*classify)(struct ldar_device *device, const struct ldar_packed *packed, const uint8_t *labels, float scale,
                     float *loss, uint8_t *correct);
    /* In its place: each row of dx[0] = the sum of dmean (sequences, parts, D) of the parts that it is in, each by that
     * part's length. No sequence is empty. */
    void (*pool_backward)(struct ldar_device *device, const struct ldar_packed *packed, size_t parts,
                          const float *dmean);
    void (*stack_backward)(struct ldar_device *device, size_t stage, enum ldar_stack_part part,
                           const struct ldar_packed *packed);
    /* dx[stage + 1]; prob's share by the averages and the straight-through estimate, (rows); and, where the reach is to
     * the stage's encoder, dx[stage] as far as residual_proj goes. */
    void (*dechunk_backward)(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                             const struct ldar_routing *routing, float *dprob);
    /* dx[stage] += */
    void (*chunk_backward)(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                           const struct ldar_routing *routing);
    /* dx[stage] += what dprob (rows) comes to. */
    void (*route_backward)(struct ldar_device *device, size_t stage, const struct ldar_packed *packed,
                           const float *dprob);
    void (*embed_backward)(struct ldar_device *device, const struct ldar_packed *packed);

    /* One step of AdamW, or a sum of squares, over parts of arrays in the parameters' order. */
    void (*optimize)(struct ldar_device *device, const struct ldar_optimizer_part *parts, size_t count);
    void (*sum_squares)(struct ldar_device *device, const float *x, size_t count, double *sum);

    void (*profile)(const struct ldar_device *device, struct ldar_profile *profile);
    void (*reset_profile)(struct ldar_device *device);
    enum ldar_isa (*isa)(const struct ldar_device *device);
    enum ldar_dtype (*dtype)(const struct ldar_device *device);
    int (*threads)(const struct ldar_device *device);
    const char *(*gemm)(const struct ldar_device *device);
};

extern const struct ldar_backend ldar_cpu_backend;

#endif
