/* SPDX-License-Identifier: Apache-2.0 */
#include "batch_size.h"

#include "formats/failure.h"

static size_t bytes_for(const ldar_context *context, const struct batch_need *need, size_t nucleotides)
{
    return ldar_context_bytes(context, nucleotides) + nucleotides * need->row + need->other;
}

/* The most nucleotides, up to `most`, that fit. */
static size_t fitting(const ldar_context *context, const struct batch_need *need, size_t most)
{
    size_t fits = 0, exceeds = most + 1;
    while (exceeds - fits > 1) {
        const size_t middle = fits + (exceeds - fits) / 2;
        if (bytes_for(context, need, middle) <= need->max_bytes)
            fits = middle;
        else
            exceeds = middle;
    }
    return fits;
}

enum ldar_status batch_size(const ldar_context *context, const struct batch_need *need, size_t *batch,
                            struct ldar_error *error)
{
    const size_t wished = ldar_context_batch(context);
    *batch = need->window > wished ? need->window : wished;
    if (need->max_bytes == 0)
        return LDAR_OK;
    *batch = fitting(context, need, *batch);
    if (*batch >= need->window)
        return LDAR_OK;
    const size_t mebibytes = (bytes_for(context, need, need->window) >> 20) + 1;
    if (*batch == 0)
        return fail(error, LDAR_ERROR_MEMORY,
                    "--max-memory: the model alone needs more; %zu MiB suffice for windows of %zu nucleotides",
                    mebibytes, need->window);
    return fail(error, LDAR_ERROR_MEMORY,
                "--max-memory: a window of %zu nucleotides needs %zu MiB and does not fit; --window %zu would",
                need->window, mebibytes, *batch);
}
