/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PRETRAIN_H
#define LDAR_TOOLS_PRETRAIN_H

#include "ranks.h"
#include "run.h"
#include "session.h"
#include "trainer_state.h"

#include "formats/corpus.h"

#include <ldar/train.h>

/* The settings of pretrain. */
struct pretrain {
    struct common common;
    int preset;
    const char *config, *resume;
    const char *windows;
    struct texts held_out;
    uint64_t steps, batch, accumulate, window;
    double rate, ratio, warmup, decay, mask;
    const char *boundaries; /* "learned" or "every:R" */
    uint64_t validate_every, validation_windows, checkpoint_every;
    /* What `warmup`, `decay` and `boundaries` stand for. */
    uint64_t warmup_steps, decay_steps;
    size_t every;
};

/* What a run has gone through, kept with each checkpoint. */
struct pretrain_state {
    uint64_t step;    /* done */
    uint64_t updates; /* of them, those that moved the weights */
    struct skips skips;
    uint64_t collapsed; /* steps in a row whose compression is out of all reason */
    uint64_t validated; /* the last step that was validated */
};

/* All that a run has open. Ranks other than the first have no log, and only read checkpoints. */
struct pretraining {
    const struct pretrain *settings;
    struct run *run;
    corpus *corpus;
    ldar_trainer *trainer;
    ldar_peers *peers; /* NULL: this process is alone */
    int stopped;       /* by this signal */
    int agreed;        /* all processes have failed, and for the same reason */
    struct ldar_boundaries boundaries;
    struct pretrain_state state;
};

/* Trains from state.step to the end, or to a signal. EXIT_FAILED after a line on stderr. */
enum exit_status pretrain_run(struct pretraining *training);

/*
 * Prints what a run would take (forecast.h). A few steps are taken for it, after which the trainer is of no more use.
 * This process is alone.
 */
LDAR_MUST_USE enum ldar_status pretrain_foretell(struct pretraining *training, struct ldar_error *error);

/* Fills the trainer and the state with the newest checkpoint that is whole; with nothing when there is none. */
LDAR_MUST_USE enum ldar_status pretrain_restore(struct pretraining *training, struct ldar_error *error);

#endif
