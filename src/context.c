/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/context.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "model/head.h"
#include "model/network.h"
#include "status.h"

/* The runtime: the one place that knows the backends and joins a model to one. */
struct ldar_context {
    size_t max_bytes; /* SIZE_MAX: no limit */
    struct ldar_network network;
};

enum ldar_status ldar_context_create(const ldar_model *model, const struct ldar_context_options *options,
                                     ldar_context **out, struct ldar_error *error)
{
    const struct ldar_context_options defaults = {.size = sizeof defaults};
    if (!out)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no place for the context");
    *out = NULL;
    if (!model)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no model");
    options = options ? options : &defaults;
    enum ldar_status status = ldar_context_options_check(options, error);
    if (status != LDAR_OK)
        return status;
    ldar_context *context = calloc(1, sizeof *context);
    if (!context)
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for a context");
    context->max_bytes = options->max_bytes ? options->max_bytes : SIZE_MAX;
    context->network.backend = &ldar_cpu_backend;
    context->network.config = ldar_model_config(model);
    status =
        context->network.backend->create(ldar_model_parameters(model), options, NULL, &context->network.device, error);
    ldar_model_release_pages(model);
    if (status == LDAR_OK && ldar_context_bytes(context, 1) > context->max_bytes)
        status = ldar_fail(error, LDAR_ERROR_MEMORY, "the model alone needs %zu MiB, more than the %zu MiB allowed",
                           (ldar_context_bytes(context, 1) + (1u << 20) - 1) >> 20, context->max_bytes >> 20);
    if (status == LDAR_OK)
        *out = context;
    else
        ldar_context_destroy(context);
    return status;
}

void ldar_context_destroy(ldar_context *context)
{
    if (!context)
        return;
    ldar_network_release(&context->network);
    context->network.backend->destroy(context->network.device);
    free(context);
}

enum ldar_isa ldar_context_isa(const ldar_context *context)
{
    return context->network.backend->isa(context->network.device);
}

enum ldar_dtype ldar_context_dtype(const ldar_context *context)
{
    return context->network.backend->dtype(context->network.device);
}

int ldar_context_threads(const ldar_context *context)
{
    return context->network.backend->threads(context->network.device);
}

size_t ldar_context_batch(const ldar_context *context)
{
    enum { OF_THREAD = 2048 }; /* 32 tiles of 64 rows */
    return OF_THREAD * (size_t)ldar_context_threads(context);
}

const char *ldar_context_gemm(const ldar_context *context)
{
    return context->network.backend->gemm(context->network.device);
}

size_t ldar_context_bytes(const ldar_context *context, size_t nucleotides)
{
    size_t rows[LDAR_MAX_STAGES];
    for (size_t s = 0; s < LDAR_MAX_STAGES; s++)
        rows[s] = nucleotides;
    size_t device = context->network.backend->bytes(context->network.device, rows);
    size_t host = ldar_network_bytes(context->network.config, nucleotides, nucleotides + 1);
    return device > SIZE_MAX - host ? SIZE_MAX : device + host;
}

void ldar_context_profile(const ldar_context *context, struct ldar_profile *profile)
{
    context->network.backend->profile(context->network.device, profile);
}

void ldar_context_reset_profile(ldar_context *context)
{
    context->network.backend->reset_profile(context->network.device);
}

/* The most nucleotides whose worst case fits the limit. */
static size_t fitting(const ldar_context *context)
{
    size_t low = 1, high = UINT32_MAX;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (ldar_context_bytes(context, middle) <= context->max_bytes)
            low = middle;
        else
            high = middle;
    }
    return low;
}

enum ldar_status ldar_forward(ldar_context *context, const struct ldar_batch *batch,
                              const struct ldar_boundaries *boundaries, const struct ldar_outputs *outputs,
                              struct ldar_error *error)
{
    const struct ldar_boundaries learned = {.size = sizeof learned};
    boundaries = boundaries ? boundaries : &learned;
    if (!context || !outputs)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no context or no outputs");
    if (outputs->size != sizeof *outputs || boundaries->size != sizeof *boundaries)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the size field of the outputs or boundaries is not set");
    if (outputs->parts > LDAR_MAX_PARTS)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "means of %zu parts of each sequence, more than %d",
                         outputs->parts, LDAR_MAX_PARTS);
    enum ldar_status status = ldar_batch_check(batch, error);
    if (status != LDAR_OK)
        return status;
    const size_t total = batch->offsets[batch->sequences];
    if (total == 0) {
        if (outputs->chunk_offsets)
            memset(outputs->chunk_offsets, 0, (batch->sequences + 1) * sizeof *outputs->chunk_offsets);
        const size_t means = batch->sequences * ldar_parts(outputs->parts);
        for (size_t i = 0; outputs->mean && i < means * context->network.config->stage[0].width; i++)
            outputs->mean[i] = NAN;
        return LDAR_OK;
    }
    if (ldar_context_bytes(context, total) > context->max_bytes)
        return ldar_fail(error, LDAR_ERROR_MEMORY,
                         "%zu nucleotides may need %zu MiB, more than the %zu MiB allowed; %zu nucleotides would fit",
                         total, ldar_context_bytes(context, total) >> 20, context->max_bytes >> 20, fitting(context));
    status = ldar_network_reserve(&context->network, total, batch->sequences, error);
    if (status == LDAR_OK)
        ldar_network_forward(&context->network, batch, boundaries, outputs);
    return status;
}
