/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_GRADIENT_PLAN_H
#define LDAR_MODEL_GRADIENT_PLAN_H

#include <stddef.h>

/* What one rank does towards the sum of gradient_tree.h: the program of a machine whose stack holds gradients. */
enum ldar_plan_kind {
    LDAR_PLAN_LEAF,    /* pushes the gradient of the rank's next micro-batch */
    LDAR_PLAN_ADD,     /* pops the top and adds it to the one below */
    LDAR_PLAN_SEND,    /* pops the top, which goes to `rank` */
    LDAR_PLAN_RECEIVE, /* adds what `rank` sends to the top */
};

struct ldar_plan_step {
    enum ldar_plan_kind kind;
    size_t rank;
};

/*
 * What a rank receives stands for micro-batches after its own, so every RECEIVE comes after every LEAF; a SEND is
 * followed by a LEAF or by nothing. At the end the stack is empty, but in rank `root` it holds the sum over all
 * micro-batches.
 */
struct ldar_plan {
    size_t first, leaves; /* the rank's micro-batches are first .. first + leaves - 1 */
    size_t root; /* the rank of micro-batch 0: where there are fewer micro-batches than ranks, it may not be 0 */
    size_t steps, departures; /* SENDs that a LEAF follows */
    size_t held; /* the most gradients that live at once if what is sent leaves only at the end; at least 1 */
};

/* Writes the steps where `steps` is not NULL. micro_batches * ranks must not wrap. */
struct ldar_plan ldar_plan_make(size_t micro_batches, size_t rank, size_t ranks, struct ldar_plan_step *steps);

#endif
