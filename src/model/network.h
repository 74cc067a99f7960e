/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_NETWORK_H
#define LDAR_MODEL_NETWORK_H

#include <ldar/train.h>

#include "backend.h"

/* The network on a device, and the host's side of its routing. One caller at a time. */
struct ldar_network {
    const struct ldar_backend *backend;
    struct ldar_device *device;
    const struct ldar_config *config;
    struct ldar_reach reach; /* of the device, where it trains */
    size_t rows, sequences;  /* that there is room for */
    size_t max_bytes;        /* that the pass at work may take on the device; SIZE_MAX: any number */
    size_t positions;        /* of the batch at work */
    /* What each router decided, (rows) or (sequences + 1) each. */
    struct ldar_decision {
        float *prob, *dprob, *chunk_prob; /* dprob in training */
        uint8_t *boundary;
        uint32_t *position, *chunk; /* position (rows + 1) */
        size_t *offsets;
        struct ldar_packed chunks;
    } decision[LDAR_MAX_STAGES - 1];
};

/* Bytes of the host's arrays for batches of that size; SIZE_MAX when that is no number. */
size_t ldar_network_bytes(const struct ldar_config *config, size_t rows, size_t sequences);

/* Makes room on host and device for batches of up to `rows` rows, every one of which may become a chunk. */
enum ldar_status ldar_network_reserve(struct ldar_network *network, size_t rows, size_t sequences,
                                      struct ldar_error *error);

/* The forward pass over checked arguments, for which there is room. `boundaries` is not NULL. */
void ldar_network_forward(struct ldar_network *network, const struct ldar_batch *batch,
                          const struct ldar_boundaries *boundaries, const struct ldar_outputs *outputs);

/* What a pass with labels is to weigh, and finds. */
struct ldar_objective {
    const uint8_t *labels;      /* (rows) */
    double ratio, ratio_weight; /* n and alpha */
    double scale;               /* of the gradient */
    float *loss;                /* (rows): room */
    uint8_t *correct;           /* (rows): room */
};

/*
 * The loss of a checked batch for which there is room; with a sink, `scale` times its gradient is added to it. The
 * device was created for training. LDAR_ERROR_MEMORY when a router chose so many chunks that the device would need more
 * than sink->max_bytes: *bytes of them.
 */
enum ldar_status ldar_network_learn(struct ldar_network *network, const struct ldar_batch *batch,
                                    const struct ldar_boundaries *boundaries, const struct ldar_objective *objective,
                                    const struct ldar_gradient_sink *sink, struct ldar_loss *loss, size_t *bytes);

/* What a pass over examples is to weigh. */
struct ldar_examples {
    const struct ldar_head *head; /* its numbers lie where sink->weights tells */
    const float *targets;         /* (sequences) */
    double ratio, ratio_weight;   /* n and alpha */
    double scale;                 /* of the gradient */
    float *mean, *dmean;          /* (sequences, parts, D): room */
    double *scores, *row;         /* (sequences, outputs), (parts, D): room */
};

/* As ldar_network_learn, of checked examples; sequences are not empty. There is a sink. */
enum ldar_status ldar_network_learn_examples(struct ldar_network *network, const struct ldar_batch *batch,
                                             const struct ldar_examples *examples,
                                             const struct ldar_gradient_sink *sink, struct ldar_example_loss *loss,
                                             size_t *bytes);

/* mean (sequences, parts, D) of the last hidden states, on a device that was created for training. */
void ldar_network_pool(struct ldar_network *network, const struct ldar_batch *batch, size_t parts, float *mean);

/* Releases the host's arrays; the device is the caller's. */
void ldar_network_release(struct ldar_network *network);

#endif
