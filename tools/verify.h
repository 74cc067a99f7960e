/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_VERIFY_H
#define LDAR_TOOLS_VERIFY_H

#include "session.h"

#include <ldar/tensors.h>
#include <ldar/train.h>

/* What the two kinds of golden files share: of the forward pass (cmd_verify.c) and of training (verify_training.c). */

struct difference {
    double l2;      /* relative to the reference's norm */
    double angle;   /* 1 - cosine of the angle between both */
    double largest; /* of all elements */
    double rms;     /* of the reference */
};

struct difference verify_compare(const float *computed, const void *reference, size_t count);

/* Ends a line of the table; returns `within`. */
int verify_verdict(int within);

/*
 * Two steps of training on the file's batch; prints a line for each loss, gradient and weight that the file holds.
 * *outside grows by the number that are out of bounds.
 */
LDAR_MUST_USE enum ldar_status verify_training(const char *path, const ldar_tensors *file, const struct common *common,
                                               const ldar_model *model, size_t *outside, struct ldar_error *error);

#endif
