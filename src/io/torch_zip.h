/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_TORCH_ZIP_H
#define LDAR_IO_TORCH_ZIP_H

#include <ldar/tensors.h>

/*
 * Checkpoints of torch.save (a zip archive with a pickle and one entry per storage). What is read is the pickle, by a
 * restricted reader, and of the storages those that are asked for.
 */
struct ldar_torch;

/* 1 when the file begins like a zip archive or like torch.save's older form, 0 when not or when it cannot be read. */
int ldar_torch_looks_like(const char *path);

/* On failure *torch is NULL. */
enum ldar_status ldar_torch_open(const char *path, struct ldar_torch **torch, struct ldar_error *error);

/* Does nothing for NULL. */
void ldar_torch_close(struct ldar_torch *torch);

/*
 * The model's tensors, those of the dictionary "model" or of the file itself when it is a bare state_dict, in the order
 * of their place in the file. `data` of each is NULL: it must be read.
 */
size_t ldar_torch_count(const struct ldar_torch *torch);
struct ldar_tensor ldar_torch_at(const struct ldar_torch *torch, size_t index);

/* The dictionary "config" as JSON text, or NULL when there is none; valid as long as the file is open. */
const char *ldar_torch_config(const struct ldar_torch *torch);

/* 1 when both are the same view of the same storage. */
int ldar_torch_same(const struct ldar_torch *torch, size_t first, size_t second);

/*
 * All elements of a tensor, row-major, in its own type, into out (count). Cheapest in ascending order of index.
 */
enum ldar_status ldar_torch_read(struct ldar_torch *torch, size_t index, void *out, struct ldar_error *error);

#endif
