/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_TUNING_H
#define LDAR_TOOLS_TUNING_H

#include "run.h"
#include "trainer_state.h"
#include "verdict.h"

#include <ldar/train.h>

/*
 * Fine-tuning as published ("LDARNet", ICML 2026, evaluation): epochs over the
 * training examples, each validated; the rate is halved when validation has not
 * risen for a while, training ends when it has not for longer, and the best
 * epoch is kept. Or the rate falls over a given number of epochs.
 *
 * What an epoch takes in which order, on which strand, and what is hidden of it
 * depends on the seed and the epoch alone, so that a run that was broken off goes on to the same
 * bits.
 */
struct tuning_plan {
    uint64_t epochs;
    uint64_t batch;       /* examples of a step */
    uint64_t patience;    /* epochs without a better one after which training ends */
    uint64_t halve_after; /* the same after which the rate is halved */
    uint64_t warmup;      /* first steps, in which the rate rises linearly */
    int anneal;           /* the rate falls to nothing over all epochs, which are taken whatever validation says */
    double rate;
    uint64_t seed;
    int augment;               /* each example is read on either strand with probability 1/2 */
    double hide;               /* the probability that a nucleotide of an example is shown as [MASK] */
    int both_strands;          /* validation and the test take the mean of both */
    uint64_t checkpoint_every; /* steps; 0: as many as take ten minutes */
    int background;            /* checkpoints are written beside training: there is memory for a copy */
};

/* What a training has gone through, kept with each checkpoint. */
struct tuning_state {
    uint64_t step;  /* done */
    uint64_t epoch; /* validated */
    uint64_t best_epoch, since_best, since_halved;
    struct skips skips;
    double best, rate; /* of the best epoch, the merit of its verdict; of the plan's rate, what is left of it */
};

struct tuning {
    const struct tuning_plan *plan;
    struct run *run; /* its folder receives log.jsonl, checkpoints/ and model.safetensors, the best epoch's */
    ldar_trainer *trainer;
    struct examples train, valid;
    enum ldar_head_kind kind;
    double shift, scale; /* a value that the trainer learns is (value - shift) / scale */
    struct tuning_state state;
    double nucleotides; /* trained on by this process */
    int stopped;        /* by this signal */
};

/* A training that begins. Of values the scale is that of the training examples. */
void tuning_begin(struct tuning *tuning);

/* Goes on from the newest checkpoint that is whole, where there is one. */
LDAR_MUST_USE enum ldar_status tuning_restore(struct tuning *tuning, struct ldar_error *error);

/* Trains to the end, or to a signal, which leaves a checkpoint. The run's log is open. */
LDAR_MUST_USE enum ldar_status tuning_run(struct tuning *tuning, struct ldar_error *error);

/* Whether a training has come to its end. */
int tuning_ended(const struct tuning *tuning);

#endif
