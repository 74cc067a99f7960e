/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_pass.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

static const double masked = 0.15; /* of the positions, as published */

/* ---- making ---- */

/* Random A, C, G and T; of training, masked. */
static void fill_sequences(const struct shape *shape, uint64_t seed, struct pass *pass)
{
    const size_t count = shape->length * shape->batch;
    uint64_t state = seed;
    for (size_t i = 0; i < count; i++)
        pass->ids[i] = (uint8_t)(next_random(&state) >> 62);
    if (shape->what == BENCH_TRAIN)
        ldar_mask(pass->ids, pass->labels, count, masked, seed, 0, 0);
    for (size_t i = 0; i <= shape->batch; i++)
        pass->offsets[i] = i * shape->length;
    pass->batch = (struct ldar_batch){pass->ids, pass->offsets, shape->batch};
}

/* Where a forward pass puts what it finds. */
static void place_outputs(const struct shape *shape, struct pass *pass)
{
    float *values = (float *)(void *)pass->results;
    pass->outputs = (struct ldar_outputs){.size = sizeof pass->outputs};
    if (shape->what == BENCH_FORWARD) {
        pass->outputs.logits = values;
    } else if (shape->what == BENCH_BOUNDARIES) {
        pass->outputs.prob = values;
        pass->outputs.boundary = (uint8_t *)(values + shape->length * shape->batch);
    }
}

static size_t result_bytes(const struct shape *shape)
{
    const size_t count = shape->length * shape->batch;
    if (shape->what == BENCH_TRAIN)
        return 0;
    return count * (shape->what == BENCH_FORWARD ? LDAR_SYMBOLS * sizeof(float) : sizeof(float) + 1);
}

static enum ldar_status make_work(const struct shape *shape, uint64_t seed, struct pass *pass, struct ldar_error *error)
{
    const size_t count = shape->length * shape->batch;
    pass->result_bytes = result_bytes(shape);
    pass->ids = malloc(count);
    pass->labels = malloc(count);
    pass->offsets = malloc((shape->batch + 1) * sizeof *pass->offsets);
    pass->results = malloc(pass->result_bytes + 1);
    if (!pass->ids || !pass->labels || !pass->offsets || !pass->results)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for %zu sequences of %zu nucleotides", shape->batch,
                    shape->length);
    fill_sequences(shape, seed, pass);
    pass->boundaries = (struct ldar_boundaries){.size = sizeof pass->boundaries, .every = shape->ratio};
    place_outputs(shape, pass);
    return LDAR_OK;
}

enum ldar_status pass_open(const struct common *common, const ldar_model *model, const struct shape *shape,
                           struct pass *pass, struct ldar_error *error)
{
    struct ldar_trainer_options options = {.size = sizeof options, .context = context_options(common)};
    options.context.threads = shape->threads;
    options.context.dtype = shape->dtype;
    memset(pass, 0, sizeof *pass);
    enum ldar_status status = shape->what == BENCH_TRAIN
                                  ? ldar_trainer_create(model, &options, &pass->trainer, error)
                                  : ldar_context_create(model, &options.context, &pass->context, error);
    if (status == LDAR_OK)
        status = make_work(shape, common->seed, pass, error);
    if (status != LDAR_OK)
        pass_close(pass);
    return status;
}

void pass_close(struct pass *pass)
{
    free(pass->ids);
    free(pass->labels);
    free(pass->offsets);
    free(pass->results);
    ldar_context_destroy(pass->context);
    ldar_trainer_destroy(pass->trainer);
}

/* ---- running ---- */

static uint64_t gradient_sum(const ldar_trainer *trainer, const struct ldar_loss *loss)
{
    uint64_t sum = checksum(&loss->loss, sizeof loss->loss);
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        struct ldar_trainer_tensor tensor;
        ldar_trainer_tensor(trainer, i, &tensor);
        const uint64_t own = checksum(tensor.gradient, tensor.count * sizeof *tensor.gradient);
        sum = next_random(&(uint64_t){sum ^ own});
    }
    return sum;
}

static enum ldar_status run_training(struct pass *pass, double *seconds, uint64_t *sum, struct ldar_error *error)
{
    struct ldar_loss loss;
    struct ldar_step step;
    const double start = seconds_now();
    enum ldar_status status = ldar_trainer_begin(pass->trainer, 1, NULL, NULL, error);
    if (status == LDAR_OK)
        status = ldar_trainer_add(pass->trainer, &pass->batch, pass->labels, &pass->boundaries, &loss, error);
    if (status == LDAR_OK)
        status = ldar_trainer_step(pass->trainer, 0, &step, error);
    *seconds = seconds_now() - start;
    if (status != LDAR_OK)
        return status;
    if (step.skipped)
        return fail(error, LDAR_ERROR_TENSOR, "the gradient of %s is not finite: such a step takes no time to measure",
                    step.tensor ? step.tensor : "the model");
    *sum = gradient_sum(pass->trainer, &loss);
    return LDAR_OK;
}

enum ldar_status pass_run(struct pass *pass, double *seconds, uint64_t *sum, struct ldar_error *error)
{
    if (pass->trainer)
        return run_training(pass, seconds, sum, error);
    /* What an earlier pass left must not stand for what this one computes. */
    memset(pass->results, 0xff, pass->result_bytes);
    const double start = seconds_now();
    const enum ldar_status status = ldar_forward(pass->context, &pass->batch, &pass->boundaries, &pass->outputs, error);
    *seconds = seconds_now() - start;
    *sum = checksum(pass->results, pass->result_bytes);
    return status;
}

/* ---- what it is run with ---- */

enum ldar_isa pass_isa(const struct pass *pass)
{
    return pass->trainer ? ldar_trainer_isa(pass->trainer) : ldar_context_isa(pass->context);
}

enum ldar_dtype pass_dtype(const struct pass *pass)
{
    return pass->trainer ? ldar_trainer_dtype(pass->trainer) : ldar_context_dtype(pass->context);
}

const char *pass_gemm(const struct pass *pass)
{
    return pass->trainer ? ldar_trainer_gemm(pass->trainer) : ldar_context_gemm(pass->context);
}

void pass_profile(const struct pass *pass, struct ldar_profile *profile)
{
    if (pass->trainer)
        ldar_trainer_profile(pass->trainer, profile);
    else
        ldar_context_profile(pass->context, profile);
}

void pass_reset_profile(struct pass *pass)
{
    if (pass->trainer)
        ldar_trainer_reset_profile(pass->trainer);
    else
        ldar_context_reset_profile(pass->context);
}

double pass_flops(const ldar_model *model, const struct shape *shape)
{
    const struct ldar_config *config = ldar_model_config(model);
    switch (shape->what) {
    case BENCH_FORWARD:
        return ldar_forward_flops(config, shape->length, (double)shape->ratio);
    case BENCH_TRAIN:
        return ldar_training_flops(config, shape->length, (double)shape->ratio);
    default:
        return 0;
    }
}
