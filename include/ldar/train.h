/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TRAIN_H
#define LDAR_TRAIN_H

#include <ldar/context.h>
#include <ldar/peers.h>

LDAR_BEGIN_DECLS

/*
 * Training: masked language modelling with a learned tokenisation, as published
 * ("LDARNet", ICML 2026, pretraining). The loss of a micro-batch is
 *
 *   mlm + alpha * sum over stages of ((1 - F)(1 - G) + (n - 1) F G) n / (n - 1),
 *
 * mlm the mean cross-entropy over its labelled positions, F the rate of
 * boundaries and G the mean boundary probability over all of its positions.
 *
 * The head of a model that has one has no part in it and stays as it is.
 *
 * Or fine-tuning: the model's head learns from examples, sequences with a class
 * or a value each. The loss of a micro-batch is the mean over its sequences of
 * the cross-entropy of softmax(scores), or of half the squared error, plus alpha
 * times the ratio loss. lm_head, unless it is the embedding table, has no part
 * in it and stays as it is.
 *
 * A step has a number of micro-batches, whose gradients are averaged along a
 * fixed tree; then the global norm is clipped and AdamW (Loshchilov and Hutter
 * 2019) moves the weights. Weights, gradients and moments are float32.
 *
 * Same build, instruction set and type of numbers: the same bits for any number
 * of threads, any max_bytes, and any number of processes.
 *
 * A trainer serves one caller at a time.
 */
typedef struct ldar_trainer ldar_trainer;

struct ldar_trainer_options {
    size_t size; /* sizeof(struct ldar_trainer_options) */
    /*
     * Threads, instruction set, type of the layers' numbers, memory. max_bytes decides how many layers keep what their
     * backward pass needs; the others compute it again. gemm: LDAR_GEMM_AUTO or LDAR_GEMM_PACKED.
     */
    struct ldar_context_options context;
    double ratio;        /* n, what the ratio loss draws the compression to: > 1; 0: 4 */
    double ratio_weight; /* alpha; negative: none; 0: 0.03 */
    double beta1, beta2; /* 0: 0.9, 0.95 */
    double epsilon;      /* 0: 1e-8 */
    double decay;        /* of weights, but for biases, norms, A_log, D and dt_bias; negative: none; 0: 0.01 */
    double clip;         /* largest norm of the gradient; negative: no clipping; 0: 1 */
    double outer_rate;   /* factor of the rate of all in stage 0; 0: sqrt(n) D1 / D0, as published */
    double head_rate;    /* factor of the rate of the head; 0: 1 */
    int examples;        /* 1: fine-tuning, by ldar_trainer_add_examples; 0: masked language modelling, by _add */
    /*
     * With examples: how many blocks learn, the last ones of the path to the head, which is the outermost decoder from
     * its end, then the inner network from its end, at last the outermost encoder. Nothing else learns but the norms
     * behind the stacks that these are in, and the head; the backward pass goes no further, and what it would need is
     * not kept. More than ldar_config_blocks are an error. 0: everything learns.
     */
    size_t last;
    ldar_peers *peers; /* who trains along, all with the same model, for as long as the trainer lives; NULL: nobody */
};

/* The model is copied and may be destroyed. `options` may be NULL: all fields 0. On failure *trainer is NULL. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_trainer_create(const ldar_model *model,
                                                            const struct ldar_trainer_options *options,
                                                            ldar_trainer **trainer, struct ldar_error *error);

/* Does nothing for NULL. */
LDAR_API void ldar_trainer_destroy(ldar_trainer *trainer);

/* No label: the position has no part in the loss. */
enum { LDAR_UNLABELLED = 255 };

/* What a pass over a batch found. */
struct ldar_loss {
    double loss;                    /* mlm + alpha ratio */
    double mlm;                     /* mean cross-entropy of the labelled positions, in nats; 0 where there is none */
    double ratio;                   /* the ratio loss, summed over stages */
    size_t positions;               /* of the batch */
    size_t labelled;                /* of these */
    size_t correct;                 /* labelled ones whose most likely symbol is the label */
    size_t stages;                  /* that have a router */
    size_t chunks[LDAR_MAX_STAGES]; /* of each */
};

/*
 * Begins a step of `micro_batches` micro-batches of all peers together, in all of them at once. This process is to add
 * micro-batches *first .. *first + *count - 1; either may be NULL.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_trainer_begin(ldar_trainer *trainer, size_t micro_batches, size_t *first,
                                                           size_t *count, struct ldar_error *error);

/*
 * The next micro-batch: forward, loss and gradient. labels (T) are symbols A, C, G, T or LDAR_UNLABELLED. A batch
 * without nucleotides is an error. `boundaries` may be NULL: learned.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_trainer_add(ldar_trainer *trainer, const struct ldar_batch *batch,
                                                         const uint8_t *labels,
                                                         const struct ldar_boundaries *boundaries,
                                                         struct ldar_loss *loss, struct ldar_error *error);

/* What a pass over examples found. */
struct ldar_example_loss {
    double loss;      /* mean over the examples, in nats or as half the squared error; without the ratio loss */
    double ratio;     /* the ratio loss, summed over stages */
    size_t examples;  /* sequences of the batch */
    size_t correct;   /* of these, whose highest score, the first of equals, is that of their class; 0 for a value */
    size_t positions; /* of the batch */
    size_t stages;    /* that have a router */
    size_t chunks[LDAR_MAX_STAGES]; /* of each */
};

/*
 * The next micro-batch of a trainer of examples: forward, loss and gradient. targets (sequences): the index of a class,
 * or a value. No sequence, an empty one, a target that is no class or not finite: an error that names the sequence. The
 * micro-batches of a step weigh alike, whatever their numbers of sequences. Boundaries are learned.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_trainer_add_examples(ldar_trainer *trainer, const struct ldar_batch *batch,
                                                                  const float *targets, struct ldar_example_loss *loss,
                                                                  struct ldar_error *error);

/* What a step did. */
struct ldar_step {
    double gradient_norm; /* before clipping; NaN or infinite where the gradient is */
    int skipped;          /* 1: the gradient was not finite, and the weights and moments stay as they were */
    const char *tensor;   /* the first parameter whose gradient was not finite, or NULL */
};

/* Ends the step: all micro-batches were added. `rate` is the base rate, that of all stages but the outermost. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_trainer_step(ldar_trainer *trainer, double rate, struct ldar_step *step,
                                                          struct ldar_error *error);

/* The loss of a batch with the weights as they are; no gradient. Not between begin and step. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_trainer_evaluate(ldar_trainer *trainer, const struct ldar_batch *batch,
                                                              const uint8_t *labels,
                                                              const struct ldar_boundaries *boundaries,
                                                              struct ldar_loss *loss, struct ldar_error *error);

/*
 * scores (sequences, outputs) of a batch by the model's head, with the weights as they are; no gradient. Batches are
 * those of ldar_trainer_add_examples. Not between begin and step.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_trainer_scores(ldar_trainer *trainer, const struct ldar_batch *batch,
                                                            float *scores, struct ldar_error *error);

/* The steps that moved the weights. */
LDAR_API uint64_t ldar_trainer_steps(const ldar_trainer *trainer);
/* For a trainer that goes on from saved weights and moments. */
LDAR_API void ldar_trainer_set_steps(ldar_trainer *trainer, uint64_t steps);

/*
 * One parameter of the network: its published name and shape, and where its numbers lie, valid as long as the trainer.
 * The gradient is that of the last step's micro-batches, before clipping. Weights that are changed here take effect
 * after ldar_trainer_refresh.
 */
struct ldar_trainer_tensor {
    const char *name;
    size_t rank, shape[3], count;
    float *weight, *moment1, *moment2;
    const float *gradient;
};
LDAR_API size_t ldar_trainer_tensors(const ldar_trainer *trainer);
LDAR_API void ldar_trainer_tensor(const ldar_trainer *trainer, size_t index, struct ldar_trainer_tensor *tensor);
LDAR_API void ldar_trainer_refresh(ldar_trainer *trainer);

/*
 * The weights as a model: the trainer's own, to be saved or read between two calls. It changes with each step and ends
 * with the trainer.
 */
LDAR_API const ldar_model *ldar_trainer_weights(const ldar_trainer *trainer);
/* A copy of the weights as a model. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_trainer_model(const ldar_trainer *trainer, ldar_model **model,
                                                           struct ldar_error *error);

/* What the trainer settled on, as of a context; where its time went, and the most memory that it has taken. */
LDAR_API enum ldar_isa ldar_trainer_isa(const ldar_trainer *trainer);
LDAR_API enum ldar_dtype ldar_trainer_dtype(const ldar_trainer *trainer);
LDAR_API int ldar_trainer_threads(const ldar_trainer *trainer);
LDAR_API const char *ldar_trainer_gemm(const ldar_trainer *trainer);
LDAR_API void ldar_trainer_profile(const ldar_trainer *trainer, struct ldar_profile *profile);
LDAR_API void ldar_trainer_reset_profile(ldar_trainer *trainer);

/*
 * Warm-up, stable, decay: the published rate of step 0 .. steps - 1 as a factor of the base rate. The first `warmup`
 * steps rise linearly from 1 / warmup to 1; the last `decay` steps fall as 1 - s (1 - 1 / sqrt(t)), t = 1 .. decay, to
 * 0.05.
 */
LDAR_API double ldar_schedule(uint64_t step, uint64_t steps, uint64_t warmup, uint64_t decay);

/*
 * Masking as published. Of the A, C, G, T in ids (count), each becomes a labelled position with probability `rate`
 * (0.15); of those 80 % become [MASK], 10 % one of A, C, G, T at random, and 10 % stay. labels (count): the symbol that
 * was there, or LDAR_UNLABELLED. Position i's choice depends on (seed, step, sample, i) alone.
 */
LDAR_API void ldar_mask(uint8_t *ids, uint8_t *labels, size_t count, double rate, uint64_t seed, uint64_t step,
                        uint64_t sample);

/* The least arithmetic per nucleotide, in FLOP, of a forward and backward pass: as ldar_forward_flops. */
LDAR_API double ldar_training_flops(const struct ldar_config *config, size_t length, double ratio);

LDAR_END_DECLS

#endif
