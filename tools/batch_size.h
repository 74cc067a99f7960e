/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_BATCH_SIZE_H
#define LDAR_TOOLS_BATCH_SIZE_H

#include <ldar/context.h>

/* What batches are for. */
struct batch_need {
    size_t window;    /* nucleotides of the longest sequence */
    size_t row;       /* bytes that the caller needs for each nucleotide of a batch */
    size_t other;     /* bytes that it needs beside them */
    size_t max_bytes; /* of all, those of the context too; 0: no limit */
};

/*
 * How many nucleotides to put through the model at once: as many as ldar_context_batch says or, where a window has
 * more, as many as that, and fewer when memory does not allow as many. LDAR_ERROR_MEMORY when it does not allow a
 * window: the message says what it would.
 */
LDAR_MUST_USE enum ldar_status batch_size(const ldar_context *context, const struct batch_need *need, size_t *batch,
                                          struct ldar_error *error);

#endif
