/* SPDX-License-Identifier: Apache-2.0 */
#include "arguments.h"

#include "status.h"

enum { MAX_THREADS = 4096 };

enum ldar_status ldar_context_options_check(const struct ldar_context_options *options, struct ldar_error *error)
{
    if (options->size != sizeof *options)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "ldar_context_options.size is %zu, not %zu", options->size,
                         sizeof *options);
    if (options->threads < 0 || options->threads > MAX_THREADS)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "%d threads are not between 0 and %d", options->threads,
                         MAX_THREADS);
    if (options->pin != 0 && options->pin != 1)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "pin is %d, neither 0 nor 1", options->pin);
    if (!ldar_dtype_name(options->dtype))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no type has the number %d", (int)options->dtype);
    if (!ldar_gemm_name(options->gemm))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no GEMM has the number %d", (int)options->gemm);
    return LDAR_OK;
}

enum ldar_status ldar_batch_check(const struct ldar_batch *batch, struct ldar_error *error)
{
    if (!batch || !batch->offsets || batch->offsets[0] != 0)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "a batch needs offsets, the first of which is 0");
    for (size_t s = 0; s < batch->sequences; s++)
        if (batch->offsets[s + 1] < batch->offsets[s])
            return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the offsets of sequence %zu of the batch descend", s);
    size_t total = batch->offsets[batch->sequences];
    if (total >= UINT32_MAX)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "%zu nucleotides are too many for one batch (at most 2^32 - 2)",
                         total);
    if (total && !batch->ids)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the batch has no ids");
    for (size_t i = 0; i < total; i++)
        if (batch->ids[i] >= LDAR_SYMBOLS)
            return ldar_fail(error, LDAR_ERROR_ARGUMENT, "id %u at nucleotide %zu of the batch is no symbol (0 to 6)",
                             batch->ids[i], i);
    return LDAR_OK;
}
