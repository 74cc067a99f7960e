/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_GRADIENT_EXCHANGE_H
#define LDAR_MODEL_GRADIENT_EXCHANGE_H

#include "model/gradient_plan.h"
#include "peers.h"

/*
 * The part of the sum of gradient_tree.h that travels. A gradient is cut into chunks, the same in all ranks, and every
 * chunk goes its way alone: as soon as the backward pass has told of all its numbers, whatever has become of the
 * others. What a rank receives it adds on the thread of the peers; the total of a chunk is passed on from the root
 * along the tree of ldar_peers_family, ranks being counted from the root, into the place of what the rank had sent.
 */
struct ldar_exchange;

/* Chunk c is numbers c * ldar_exchange_chunk(floats) up to the next, or the end. */
size_t ldar_exchange_chunk(size_t floats);

size_t ldar_exchange_bytes(size_t floats, const struct ldar_peers *peers, const struct ldar_plan *plan);

/* On failure *exchange is NULL. */
enum ldar_status ldar_exchange_create(size_t floats, struct ldar_peers *peers, struct ldar_exchange **exchange,
                                      struct ldar_error *error);
void ldar_exchange_destroy(struct ldar_exchange *exchange); /* does nothing for NULL */

/* Whether a sum was begun and is not finished: its plan and its gradients are in use. */
int ldar_exchange_busy(const struct ldar_exchange *exchange);

/* Begins a sum along that plan, which stays the caller's, as do all gradients. None is busy. */
enum ldar_status ldar_exchange_begin(struct ldar_exchange *exchange, const struct ldar_plan *plan,
                                     const struct ldar_plan_step *steps, struct ldar_error *error);

/*
 * Numbers first .. first + count - 1 of the sum on top of the stack (depth) are as final as this rank alone can make
 * them, and step `at` of the plan, no LEAF, comes next. Every number is told once for each such `at`.
 */
void ldar_exchange_tell(struct ldar_exchange *exchange, size_t at, float **stack, size_t depth, size_t first,
                        size_t count);

/* A gradient that was told of whole for the SEND at `at`, which a LEAF follows, becomes the exchange's. */
void ldar_exchange_give(struct ldar_exchange *exchange, size_t at, float *gradient);

/* One of those that has left, and is the caller's again. NULL: there is none. */
float *ldar_exchange_take_back(struct ldar_exchange *exchange);

/* Waits until `sum`, in which the last gradient that was told of lies, is the total in every rank. */
enum ldar_status ldar_exchange_finish(struct ldar_exchange *exchange, float *sum, struct ldar_error *error);

#endif
