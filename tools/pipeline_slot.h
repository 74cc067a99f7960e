/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PIPELINE_SLOT_H
#define LDAR_TOOLS_PIPELINE_SLOT_H

#include "window_result.h"

/* Room for the results of a batch, which grows with the batches. */
struct room {
    struct ldar_outputs outputs;
    float *log_p;
    size_t nucleotides, sequences; /* that fit */
    size_t width;                  /* D */
    unsigned wishes;
};

/* Bytes for a nucleotide of a batch. */
size_t room_row(const struct room *room);
void room_free(struct room *room);

/* Windows as the options wish them, and batches of them that fit; or an error that says what would fit. */
LDAR_MUST_USE enum ldar_status room_plan(const struct room *room, const struct input *input,
                                         const struct session *session, struct window_plan *plan,
                                         struct ldar_error *error);

/* A batch on its way through the pipeline. */
struct slot {
    struct window_batch batch; /* no sequences: not cut yet, or none left */
    struct room room;
};

/* Puts the batch through the model, or through what the consumer has in its place. */
LDAR_MUST_USE enum ldar_status slot_compute(struct slot *slot, const struct session *session,
                                            const struct consumer *consumer, struct ldar_error *error);

/* What a window of the batch came to; `sum` (shape->parts, shape->sum_width) is room for its sums. */
struct window_result slot_result(const struct slot *slot, size_t index, const struct window_shape *shape, double *sum);

#endif
