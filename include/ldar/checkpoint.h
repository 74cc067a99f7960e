/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CHECKPOINT_H
#define LDAR_CHECKPOINT_H

#include <ldar/tensors.h>

#include <stdint.h>

LDAR_BEGIN_DECLS

/*
 * Checkpoints: the state of a training run, kept so that a process that is
 * killed, a machine that loses its power or a disk that is full costs the steps
 * since the last one and nothing more.
 *
 * A folder holds the last three generations, checkpoint-<step>.safetensors, and
 * a small manifest.json. Each is written under a temporary name, hashed on the
 * way, synced, read back, renamed, and its folder synced. An older generation
 * is removed only after a newer one is durable.
 *
 * One caller at a time uses the object. One process at a time writes to a
 * folder; any number read.
 */
typedef struct ldar_checkpoints ldar_checkpoints;

/* An array of a checkpoint, float32. Its name in the file is GROUP.NAME: weight.NAME, moment1.NAME, moment2.NAME. */
struct ldar_checkpoint_tensor {
    const char *group, *name; /* together with the point at most 256 bytes */
    size_t rank, shape[LDAR_MAX_RANK];
    float *data; /* (the product of shape); a save only reads it */
};

/* What a load found. The texts belong to the object, valid until its next call. */
struct ldar_checkpoint {
    uint64_t generation; /* counts the saves of the folder from 1; 0: there is no checkpoint yet */
    uint64_t step;
    const char *config; /* as they were saved; empty where there is no checkpoint */
    const char *state;
    const char *skipped; /* what was passed over and why, a line each; empty as a rule */
};

/*
 * A writer makes the folder where it is missing (its parent must exist), locks it until it is closed, and removes the
 * temporary files of writers that died. A second writer is an error that names the process that holds the lock. On
 * failure *checkpoints is NULL.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_checkpoints_open(const char *folder, int writer,
                                                              ldar_checkpoints **checkpoints, struct ldar_error *error);

/* Waits for a write in the background, whose error is lost: ldar_checkpoints_wait tells it. Does nothing for NULL. */
LDAR_API void ldar_checkpoints_close(ldar_checkpoints *checkpoints);

/*
 * Saves a generation. `config` and `state` are JSON texts of the caller's, given back as they are by a load. A tensor
 * that is not finite is an error that names it, and nothing is saved. The same step saved again replaces itself.
 *
 * In the foreground (`background` 0), LDAR_OK says that the generation is durable.
 *
 * In the background, the call returns once the tensors are copied, and a thread writes the copy; where there is no
 * memory for the copy or no thread, the call writes itself. It waits for the write before. The error of a write comes
 * out of the next call in the background or of ldar_checkpoints_wait; such a call has all the same begun its own write.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_checkpoints_save(ldar_checkpoints *checkpoints, uint64_t step,
                                                              const char *config, const char *state,
                                                              const struct ldar_checkpoint_tensor *tensors,
                                                              size_t count, int background, struct ldar_error *error);

/* Until nothing is being written; the result of the last write in the background, told once. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_checkpoints_wait(ldar_checkpoints *checkpoints, struct ldar_error *error);

/* The newest generation known to be durable, as of the last call that waited, and its step; 0: none. */
LDAR_API uint64_t ldar_checkpoints_durable(const ldar_checkpoints *checkpoints, uint64_t *step);

/*
 * Fills the tensors with the newest generation that is whole: length and hashes are as written. Those that are not are
 * passed over and told of. An error where all are damaged, where the tensors are not the checkpoint's (names, shapes;
 * order does not matter), or where a checkpoint was written by a newer ldar in a form that this one does not know. On
 * failure the contents of the tensors are undefined. `tensors` NULL: all is checked and nothing filled.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_checkpoints_load(ldar_checkpoints *checkpoints,
                                                              const struct ldar_checkpoint_tensor *tensors,
                                                              size_t count, struct ldar_checkpoint *checkpoint,
                                                              struct ldar_error *error);

LDAR_END_DECLS

#endif
