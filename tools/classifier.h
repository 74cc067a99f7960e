/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_CLASSIFIER_H
#define LDAR_TOOLS_CLASSIFIER_H

#include <ldar/context.h>

/*
 * Means of hidden states, one behind the other of each part of a sequence, and what a model's head makes of them.
 * Borrows context and head; zeroed but for the first four. One user at a time.
 */
struct classifier {
    ldar_context *context;
    const struct ldar_head *head; /* NULL where means alone are wanted */
    size_t width, parts;          /* parts: those of the head */
    float *means;                 /* (room, parts, width) */
    size_t room;
};

/* means (sequences, parts, width) of a batch. */
LDAR_MUST_USE enum ldar_status classifier_means(struct classifier *classifier, const struct ldar_batch *batch,
                                                float *means, struct ldar_error *error);

/* scores (sequences, head->outputs) of a batch; `own` is a struct classifier. */
LDAR_MUST_USE enum ldar_status classifier_scores(void *own, const struct ldar_batch *batch, float *scores,
                                                 struct ldar_error *error);

/* Frees what it has made for itself. */
void classifier_free(struct classifier *classifier);

#endif
