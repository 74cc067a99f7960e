/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_GRADIENT_TREE_H
#define LDAR_MODEL_GRADIENT_TREE_H

#include <ldar/status.h>

#include <stddef.h>

/*
 * The sum of the gradients of a step's micro-batches, along one fixed tree whatever the number of processes: a node
 * over n > 1 micro-batches is the sum of one over the first m, the largest power of two below n, and one over the
 * others. Rank r of R computes micro-batches r A / R .. (r + 1) A / R - 1 of A; a node belongs to the rank of its
 * first micro-batch, to which the other side's sum travels.
 */
struct ldar_gradient_tree;

/* How ranks exchange floats; NULL stands for a single process. */
struct ldar_peers;

/* `floats` numbers in a gradient. On failure *tree is NULL. */
enum ldar_status ldar_gradient_tree_create(size_t floats, struct ldar_peers *peers, struct ldar_gradient_tree **tree,
                                           struct ldar_error *error);
void ldar_gradient_tree_destroy(struct ldar_gradient_tree *tree);

/* Bytes of the gradients that this rank may hold at once. */
size_t ldar_gradient_tree_bytes(size_t floats, const struct ldar_peers *peers, size_t micro_batches);

/* Begins a step of that many micro-batches, in all ranks together; first and count say which of them are this rank's.
 */
enum ldar_status ldar_gradient_tree_begin(struct ldar_gradient_tree *tree, size_t micro_batches, size_t *first,
                                          size_t *count, struct ldar_error *error);

/* Zeros for the gradient of the next of this rank's micro-batches. NULL: no memory. */
float *ldar_gradient_tree_leaf(struct ldar_gradient_tree *tree);

/* Numbers first .. first + count - 1 of the current leaf are final and may travel. Every number is told once. */
void ldar_gradient_tree_ready(struct ldar_gradient_tree *tree, size_t first, size_t count);

/* Waits until the sum over all micro-batches of all ranks is in *sum, valid until the next begin. */
enum ldar_status ldar_gradient_tree_finish(struct ldar_gradient_tree *tree, float **sum, struct ldar_error *error);

#endif
