/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_TRAINER_STATE_H
#define LDAR_TOOLS_TRAINER_STATE_H

#include <ldar/checkpoint.h>
#include <ldar/train.h>

/* A trainer's weights and moments as a checkpoint of a run. */

/* Steps whose gradient was not finite, and which have left the weights alone. */
struct skips {
    uint64_t all, in_a_row;
};

/* Takes note of step `number`, and warns of one that was skipped; too many in a row are an error. */
LDAR_MUST_USE enum ldar_status skips_note(struct skips *skips, uint64_t number, const struct ldar_step *step,
                                          const char *folder, struct ldar_error *error);

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

/* How the state's "data" has the hash of what is trained on; and an error that says `what` has changed unless it is. */
struct data_hash {
    char text[17];
};
struct data_hash trainer_state_hash(uint64_t hash);
LDAR_MUST_USE enum ldar_status trainer_state_check_data(const char *state, uint64_t hash, const char *folder,
                                                        const char *what, struct ldar_error *error);

/* Warns when the state's "isa" is not the trainer's: the last bits of its numbers will be other ones. */
void trainer_state_compare_isa(const ldar_trainer *trainer, const char *state);

#endif
