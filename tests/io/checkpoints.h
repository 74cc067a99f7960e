/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_IO_CHECKPOINTS_H
#define LDAR_TESTS_IO_CHECKPOINTS_H

#include <ldar/checkpoint.h>

#include <stddef.h>
#include <stdint.h>

/* A run in miniature: its tensors and its state are a function of one number, so that any mixture is seen. */
enum { TOY_TENSORS = 7 };
struct toy {
    struct ldar_checkpoint_tensor tensor[TOY_TENSORS];
    float *numbers; /* of all tensors, one after the other */
    size_t count;
    char state[128];
};

/* The largest tensor has scale^2 numbers; others are empty, a scalar, or of a few. */
void toy_begin(struct toy *toy, size_t scale);
void toy_end(struct toy *toy);
void toy_set(struct toy *toy, uint64_t value);
extern const char toy_config[];

/* The value whose numbers and state these are, or UINT64_MAX: of none, or of several. */
uint64_t toy_value(const struct toy *toy, const char *state);

/* Saves the value as that step; fails the test unless it works. */
void toy_save(struct toy *toy, ldar_checkpoints *checkpoints, uint64_t step, uint64_t value);

/*
 * What a reader of the folder finds: the value, 0 for no checkpoint, UINT64_MAX for an error or a mixture. *found and
 * skipped (capacity) may be NULL.
 */
uint64_t toy_look(struct toy *toy, const char *folder, struct ldar_checkpoint *found, char *skipped, size_t capacity);

/*
 * "<a new folder>/<name>", which does not exist yet; its parent is removed at exit with all that it holds. Static
 * storage, valid for the next 32 calls.
 */
const char *new_folder(const char *name);
void remove_tree(const char *path);

/* Opens for writing; fails the test unless it works. */
ldar_checkpoints *open_writer(const char *folder);

/* Files in the folder whose name holds `part`. */
size_t count_named(const char *folder, const char *part);

/* The path of the step's file; static storage, valid for the next 8 calls. */
const char *step_path(const char *folder, uint64_t step);

#endif
