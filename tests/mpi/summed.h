/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_MPI_SUMMED_H
#define LDAR_TESTS_MPI_SUMMED_H

#include "kit/random.h"
#include "model/gradient_tree.h"

/*
 * One rank's part of a sum whose terms are known: its micro-batches are told of in pieces of random length and order,
 * with pauses in between.
 */
struct summed {
    size_t floats, micro_batches;
    unsigned pause; /* microseconds that a piece may take at most */
};

/* What went wrong, in a static text of this thread; NULL: nothing, and the bits are those of the tree. */
const char *summed_step(struct ldar_gradient_tree *tree, const struct summed *summed, struct random *random);

#endif
