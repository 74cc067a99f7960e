/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_TRAINER_STATE_H
#define LDAR_TOOLS_TRAINER_STATE_H

#include <ldar/checkpoint.h>
#include <ldar/train.h>

/* A trainer's weights and moments as a checkpoint of a run. */

/*
 * Saves them as a generation of `step`, with the network's configuration and `state`, a JSON text of the caller's. In
 * the background where that is wished, as of ldar_checkpoints_save.
 */
LDAR_MUST_USE enum ldar_status trainer_state_save(ldar_checkpoints *checkpoints, const ldar_trainer *trainer,
                                                  uint64_t step, const char *state, int background,
                                                  struct ldar_error *error);

/* Fills the trainer with the newest checkpoint that is whole; found->generation is 0 when there is none. */
LDAR_MUST_USE enum ldar_status trainer_state_load(ldar_checkpoints *checkpoints, ldar_trainer *trainer,
                                                  struct ldar_checkpoint *found, struct ldar_error *error);

/* A whole number of such a state; 0 where it holds none of that name. */
uint64_t trainer_state_count(const char *state, const char *key);

/* Warns when the state's "isa" is not the trainer's: the last bits of its numbers will be other ones. */
void trainer_state_compare_isa(const ldar_trainer *trainer, const char *state);

#endif
