/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_WINDOW_RESULT_H
#define LDAR_TOOLS_WINDOW_RESULT_H

#include "pipeline.h"

/* What a window came to: what a consumer is handed, as a blob of results too. */
struct window_result {
    struct record record;
    bool first, last; /* of its record; the record's length counts when `last` is set */
    struct pipeline_rows rows;
};

/* What of a window is kept: the wishes, the model's width, and that of a sum and how many sums there are. */
struct window_shape {
    unsigned wishes;
    size_t width, sum_width, parts;
};

LDAR_MUST_USE enum ldar_status window_result_hand_over(const struct window_result *result,
                                                       const struct consumer *consumer, struct ldar_error *error);

/* Bytes that grow; zeroed is empty. */
struct blob {
    unsigned char *bytes;
    size_t length, capacity;
};

/* The result in `blob`, in place of what it held; numbers and floats as they lie in memory. */
LDAR_MUST_USE enum ldar_status window_result_write(const struct window_result *result, const struct window_shape *shape,
                                                   struct blob *blob, struct ldar_error *error);

/* The result that a blob holds; it points into the blob, which must be aligned as by malloc. */
LDAR_MUST_USE enum ldar_status window_result_read(const void *blob, size_t bytes, const struct window_shape *shape,
                                                  struct window_result *result, struct ldar_error *error);

/* Names and lengths of sequences, likewise. */
LDAR_MUST_USE enum ldar_status contigs_write(const struct contigs *contigs, struct blob *blob,
                                             struct ldar_error *error);
LDAR_MUST_USE enum ldar_status contigs_read(const void *blob, size_t bytes, struct contigs *contigs,
                                            struct ldar_error *error);

#endif
