/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/train.h>

#include "arguments.h"
#include "model/gradient_tree.h"
#include "model/head.h"
#include "model/model.h"
#include "model/network.h"
#include "model/reach.h"
#include "status.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The runtime of training: a copy of a model's parameters in one array, its moments beside it, a device that computes
 * with them, and the tree that sums up gradients. Everything that counts parameters here counts places in that array.
 */
enum stage_of_step { IDLE, ADDING };

struct ldar_trainer {
    struct ldar_trainer_options options; /* with every default filled in */
    ldar_model *model;
    struct ldar_network network;
    struct ldar_gradient_tree *tree;
    struct ldar_optimizer_part *part; /* (parameters) */
    float *weights, *moment1, *moment2;
    float *sum; /* of the last step's gradients */
    size_t floats;
    size_t max_bytes, host_bytes; /* in all; what is held here, but for gradients */
    uint64_t steps;

    enum stage_of_step state;
    size_t micro_batches, first, count, added;
    float *leaf;
    size_t final; /* the leaf's numbers from here on are */

    float *loss; /* (room) */
    uint8_t *correct;
    size_t room;

    float *mean, *dmean; /* of examples: (example_room, parts, D), */
    double *scores;      /* (example_room, outputs) */
    double *row;         /* and (D) */
    size_t example_room, example_bytes;
};

/* What an option of 0 stands for, and where a negative one means none. NaN stays, to be refused. */
static double or_default(double value, double otherwise)
{
    return value == 0 ? otherwise : value;
}

static double or_none(double value, double otherwise)
{
    return value < 0 ? 0 : or_default(value, otherwise);
}

static enum ldar_status fill_options(ldar_trainer *trainer, const struct ldar_trainer_options *options,
                                     const struct ldar_config *config, struct ldar_error *error)
{
    struct ldar_trainer_options *o = &trainer->options;
    const struct ldar_trainer_options none = {.size = sizeof none, .context = {.size = sizeof none.context}};
    *o = options ? *options : none;
    if (o->size != sizeof *o)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "ldar_trainer_options.size is %zu, not %zu", o->size, sizeof *o);
    if (!o->context.size)
        o->context.size = sizeof o->context;
    enum ldar_status status = ldar_context_options_check(&o->context, error);
    if (status != LDAR_OK)
        return status;
    if (o->context.gemm != LDAR_GEMM_AUTO && o->context.gemm != LDAR_GEMM_PACKED)
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED, "the GEMM \"%s\" does not train: choose auto or packed",
                         ldar_gemm_name(o->context.gemm));
    o->context.gemm = LDAR_GEMM_PACKED;
    o->ratio = or_default(o->ratio, 4);
    o->ratio_weight = or_none(o->ratio_weight, 0.03);
    o->beta1 = or_default(o->beta1, 0.9);
    o->beta2 = or_default(o->beta2, 0.95);
    o->epsilon = or_default(o->epsilon, 1e-8);
    o->decay = or_none(o->decay, 0.01);
    o->clip = o->clip < 0 ? INFINITY : or_default(o->clip, 1);
    o->outer_rate = or_default(o->outer_rate, sqrt(o->ratio) * config->stage[1].width / config->stage[0].width);
    o->head_rate = or_default(o->head_rate, 1);
    if (!(o->ratio > 1) || !isfinite(o->ratio))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "a ratio of %g is not above 1", o->ratio);
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "beta1 and beta2, %g and %g, are not between 0 and 1", o->beta1,
                         o->beta2);
    if (!(o->epsilon > 0 && o->outer_rate >= 0 && o->head_rate >= 0)
        || !isfinite(o->epsilon + o->outer_rate + o->head_rate + o->ratio_weight + o->decay) || isnan(o->clip))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT,
                         "epsilon, outer_rate, head_rate, ratio_weight, decay or clip is negative or not finite");
    return LDAR_OK;
}

static enum ldar_status check_examples_options(const struct ldar_trainer_options *options, const ldar_model *model,
                                               struct ldar_error *error)
{
    const size_t blocks = ldar_config_blocks(ldar_model_config(model));
    if (options->examples != 0 && options->examples != 1)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "examples is %d, neither 0 nor 1", options->examples);
    if (options->examples && !ldar_model_head(model))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT,
                         "the model has no head to learn from examples: give it one (ldar_model_with_head)");
    if (options->last && !options->examples)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the last %zu blocks alone learn from examples only",
                         options->last);
    if (options->last > blocks)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the last %zu blocks of a model that has %zu", options->last,
                         blocks);
    return LDAR_OK;
}

/* ---- creation ---- */

static float *numbers_new(size_t count)
{
    float *numbers = aligned_alloc(64, count * sizeof *numbers);
    if (numbers)
        memset(numbers, 0, count * sizeof *numbers);
    return numbers;
}

static const float *place_of(const struct ldar_parameter *parameter)
{
    enum ldar_dtype dtype;
    return ldar_parameter_data(parameter, &dtype);
}

/* As published: biases, norms and the scan's own parameters do not decay. */
static int decays(const char *name)
{
    static const char *const ends[] = {".bias", ".A_log", ".D", ".dt_bias"};
    const size_t length = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (length >= strlen(ends[i]) && !strcmp(name + length - strlen(ends[i]), ends[i]))
            return 0;
    return !strstr(name, "norm");
}

static int is_head(const struct ldar_parameter *parameter)
{
    return strncmp(parameter->name, "classifier.", strlen("classifier.")) == 0;
}

/* What has no part in the loss, or lies beyond the reach, does not move at all: not by decay either. */
static int learns(const ldar_trainer *trainer, const struct ldar_parameter *parameter)
{
    if (is_head(parameter) || !trainer->options.examples)
        return is_head(parameter) == trainer->options.examples;
    return trainer->options.last ? ldar_reach_holds(&trainer->network.reach, &parameter->place)
                                 : strcmp(parameter->name, "lm_head.weight") != 0;
}

/* What does not learn is a part of no numbers. */
static void make_parts(ldar_trainer *trainer)
{
    for (size_t i = 0; i < trainer->model->table.count; i++) {
        const struct ldar_parameter *parameter = &trainer->model->table.entry[i];
        const size_t at = (size_t)(place_of(parameter) - trainer->weights);
        trainer->part[i] = (struct ldar_optimizer_part){
            .weight = trainer->weights + at,
            .moment1 = trainer->moment1 + at,
            .moment2 = trainer->moment2 + at,
            .count = learns(trainer, parameter) ? parameter->count : 0,
            .beta1 = (float)trainer->options.beta1,
            .beta2 = (float)trainer->options.beta2,
            .epsilon = (float)trainer->options.epsilon,
            .decay = decays(parameter->name) ? (float)trainer->options.decay : 0,
        };
    }
}

/* What is held here: weights, moments, means and scores, and the gradients of the step at work. */
static size_t held_bytes(const ldar_trainer *trainer)
{
    const size_t micro_batches = trainer->micro_batches ? trainer->micro_batches : 1;
    return trainer->host_bytes + trainer->example_bytes
           + ldar_gradient_tree_bytes(trainer->floats, trainer->options.peers, micro_batches);
}

/* What the device may take: all that the caller allows but what lies here. */
static size_t device_limit(const ldar_trainer *trainer)
{
    const size_t held = held_bytes(trainer);
    return trainer->max_bytes == SIZE_MAX ? SIZE_MAX : held < trainer->max_bytes ? trainer->max_bytes - held : 0;
}

/* Ranks whose weights or arithmetic differ would part at the first step. */
static enum ldar_status agree(const ldar_trainer *trainer, struct ldar_error *error)
{
    struct ldar_model_info info;
    char text[128] = {0};
    if (!trainer->options.peers)
        return LDAR_OK;
    ldar_model_describe(trainer->model, &info);
    snprintf(text, sizeof text, "%s %s %s %d %zu", info.sha256, ldar_isa_name(ldar_trainer_isa(trainer)),
             ldar_dtype_name(ldar_trainer_dtype(trainer)), trainer->options.examples, trainer->options.last);
    return ldar_peers_agree(trainer->options.peers, "model, instruction set, type of numbers or what learns", text,
                            sizeof text, error);
}

static enum ldar_status make(ldar_trainer *trainer, const ldar_model *model, struct ldar_error *error)
{
    static const size_t none[LDAR_MAX_STAGES];
    size_t bytes;
    enum ldar_status status = ldar_model_copy(model, ldar_model_head(model), &trainer->model, &bytes, error);
    if (status != LDAR_OK)
        return status;
    trainer->floats = bytes / sizeof(float);
    trainer->weights = trainer->model->block;
    trainer->moment1 = numbers_new(trainer->floats);
    trainer->moment2 = numbers_new(trainer->floats);
    trainer->part = calloc(trainer->model->table.count, sizeof *trainer->part);
    if (!trainer->moment1 || !trainer->moment2 || !trainer->part)
        return ldar_fail_memory(error, 2 * trainer->floats * sizeof(float), "the moments of the optimiser");
    trainer->host_bytes = 3 * trainer->floats * sizeof(float);
    trainer->network.reach = ldar_reach_make(ldar_model_parameters(trainer->model), trainer->options.last);
    make_parts(trainer);
    status = ldar_gradient_tree_create(trainer->floats, trainer->options.peers, &trainer->tree, error);
    if (status != LDAR_OK)
        return status;
    trainer->max_bytes = trainer->options.context.max_bytes ? trainer->options.context.max_bytes : SIZE_MAX;
    trainer->network.backend = &ldar_cpu_backend;
    trainer->network.config = ldar_model_config(trainer->model);
    status = trainer->network.backend->create(ldar_model_parameters(trainer->model), &trainer->options.context,
                                              &trainer->network.reach, &trainer->network.device, error);
    if (status == LDAR_OK && trainer->network.backend->bytes(trainer->network.device, none) > device_limit(trainer))
        status = ldar_fail(error, LDAR_ERROR_MEMORY, "the model alone needs more than the %zu MiB allowed",
                           trainer->max_bytes >> 20);
    return status == LDAR_OK ? agree(trainer, error) : status;
}

enum ldar_status ldar_trainer_create(const ldar_model *model, const struct ldar_trainer_options *options,
                                     ldar_trainer **out, struct ldar_error *error)
{
    if (!out)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no place for the trainer");
    *out = NULL;
    if (!model)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no model");
    ldar_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer)
        return ldar_fail_memory(error, sizeof *trainer, "a trainer");
    enum ldar_status status = fill_options(trainer, options, ldar_model_config(model), error);
    if (status == LDAR_OK)
        status = check_examples_options(&trainer->options, model, error);
    if (status == LDAR_OK)
        status = make(trainer, model, error);
    if (status == LDAR_OK)
        *out = trainer;
    else
        ldar_trainer_destroy(trainer);
    return status;
}

static void release_examples(ldar_trainer *trainer)
{
    free(trainer->mean);
    free(trainer->dmean);
    free(trainer->scores);
    free(trainer->row);
    trainer->mean = trainer->dmean = NULL;
    trainer->scores = trainer->row = NULL;
    trainer->example_room = trainer->example_bytes = 0;
}

void ldar_trainer_destroy(ldar_trainer *trainer)
{
    if (!trainer)
        return;
    if (trainer->network.backend) {
        ldar_network_release(&trainer->network);
        trainer->network.backend->destroy(trainer->network.device);
    }
    ldar_gradient_tree_destroy(trainer->tree);
    ldar_model_destroy(trainer->model);
    free(trainer->moment1);
    free(trainer->moment2);
    free(trainer->part);
    free(trainer->loss);
    free(trainer->correct);
    release_examples(trainer);
    free(trainer);
}

/* ---- batches ---- */

static enum ldar_status check(const ldar_trainer *trainer, const struct ldar_batch *batch, const uint8_t *labels,
                              const struct ldar_boundaries *boundaries, const struct ldar_loss *loss,
                              struct ldar_error *error)
{
    if (!trainer || !loss || !labels)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no trainer, no labels, or no place for the loss");
    if (boundaries->size != sizeof *boundaries)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the size field of the boundaries is not set");
    enum ldar_status status = ldar_batch_check(batch, error);
    if (status != LDAR_OK)
        return status;
    const size_t total = batch->offsets[batch->sequences];
    if (total == 0)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "a batch without nucleotides has no loss");
    for (size_t i = 0; i < total; i++)
        if (labels[i] > LDAR_T && labels[i] != LDAR_UNLABELLED)
            return ldar_fail(error, LDAR_ERROR_ARGUMENT, "label %u at nucleotide %zu of the batch is no base (0 to 3)",
                             labels[i], i);
    return LDAR_OK;
}

static enum ldar_status too_large(const ldar_trainer *trainer, size_t nucleotides, size_t device_bytes,
                                  struct ldar_error *error)
{
    return ldar_fail(
        error, LDAR_ERROR_MEMORY,
        "training on %zu nucleotides at once needs %zu MiB, more than the %zu MiB allowed: choose a shorter "
        "window or fewer sequences",
        nucleotides, (device_bytes + held_bytes(trainer) + (1u << 20) - 1) >> 20, trainer->max_bytes >> 20);
}

static enum ldar_status check_examples(const ldar_trainer *trainer, const struct ldar_batch *batch,
                                       struct ldar_error *error)
{
    if (!ldar_model_head(trainer->model))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the model has no head");
    enum ldar_status status = ldar_batch_check(batch, error);
    if (status != LDAR_OK)
        return status;
    if (batch->sequences == 0)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "a batch without sequences");
    for (size_t s = 0; s < batch->sequences; s++)
        if (batch->offsets[s] == batch->offsets[s + 1])
            return ldar_fail(error, LDAR_ERROR_ARGUMENT, "sequence %zu of the batch is empty: it has no mean to score",
                             s);
    return LDAR_OK;
}

static enum ldar_status check_targets(const struct ldar_head *head, const float *targets, size_t sequences,
                                      struct ldar_error *error)
{
    for (size_t s = 0; s < sequences; s++) {
        const double target = (double)targets[s];
        if (head->kind == LDAR_HEAD_VALUE && !isfinite(target))
            return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the target of sequence %zu of the batch is %g, not finite", s,
                             target);
        if (head->kind == LDAR_HEAD_CLASSES
            && !(target >= 0 && target < (double)head->outputs && target == floor(target)))
            return ldar_fail(error, LDAR_ERROR_ARGUMENT,
                             "the target of sequence %zu of the batch is %g, which is none of the classes 0 to %zu", s,
                             target, head->outputs - 1);
    }
    return LDAR_OK;
}

/* Room on the host for the means and scores of that many sequences, within what is allowed. */
static enum ldar_status reserve_examples(ldar_trainer *trainer, size_t sequences, struct ldar_error *error)
{
    const struct ldar_head *head = ldar_model_head(trainer->model);
    const size_t columns = ldar_head_columns(head, ldar_model_config(trainer->model)->stage[0].width);
    const size_t outputs = head->outputs;
    size_t bytes;
    if (sequences <= trainer->example_room)
        return LDAR_OK;
    release_examples(trainer);
    if (__builtin_mul_overflow(sequences, 2 * columns * sizeof(float) + outputs * sizeof(double), &bytes)
        || __builtin_add_overflow(bytes, columns * sizeof(double), &bytes) || bytes > device_limit(trainer))
        return ldar_fail(error, LDAR_ERROR_MEMORY,
                         "the means and scores of %zu sequences do not fit the %zu MiB allowed: choose fewer",
                         sequences, trainer->max_bytes >> 20);
    trainer->mean = malloc(sequences * columns * sizeof *trainer->mean);
    trainer->dmean = malloc(sequences * columns * sizeof *trainer->dmean);
    trainer->scores = malloc(sequences * outputs * sizeof *trainer->scores);
    trainer->row = malloc(columns * sizeof *trainer->row);
    if (!trainer->mean || !trainer->dmean || !trainer->scores || !trainer->row) {
        release_examples(trainer);
        return ldar_fail_memory(error, bytes, "the means and scores of a batch");
    }
    trainer->example_room = sequences;
    trainer->example_bytes = bytes;
    return LDAR_OK;
}

/* Room on host and device. With a chunk a sequence, and no layer keeping more than its x, it must fit. */
static enum ldar_status reserve(ldar_trainer *trainer, const struct ldar_batch *batch, struct ldar_error *error)
{
    const size_t total = batch->offsets[batch->sequences];
    size_t rows[LDAR_MAX_STAGES] = {total};
    for (size_t s = 1; s < LDAR_MAX_STAGES; s++)
        rows[s] = batch->sequences;
    const size_t least = trainer->network.backend->bytes(trainer->network.device, rows);
    if (least > device_limit(trainer))
        return too_large(trainer, total, least, error);
    if (total > trainer->room) {
        free(trainer->loss);
        free(trainer->correct);
        trainer->loss = malloc(total * sizeof *trainer->loss);
        trainer->correct = malloc(total);
        trainer->room = trainer->loss && trainer->correct ? total : 0;
        if (!trainer->room)
            return ldar_fail_memory(error, 5 * total, "the losses of a batch");
    }
    return ldar_network_reserve(&trainer->network, total, batch->sequences, error);
}

static struct ldar_objective objective_of(const ldar_trainer *trainer, const uint8_t *labels, double scale)
{
    return (struct ldar_objective){
        .labels = labels,
        .ratio = trainer->options.ratio,
        .ratio_weight = trainer->options.ratio_weight,
        .scale = scale,
        .loss = trainer->loss,
        .correct = trainer->correct,
    };
}

enum ldar_status ldar_trainer_evaluate(ldar_trainer *trainer, const struct ldar_batch *batch, const uint8_t *labels,
                                       const struct ldar_boundaries *boundaries, struct ldar_loss *loss,
                                       struct ldar_error *error)
{
    const struct ldar_boundaries learned = {.size = sizeof learned};
    boundaries = boundaries ? boundaries : &learned;
    enum ldar_status status = check(trainer, batch, labels, boundaries, loss, error);
    if (status == LDAR_OK && trainer->state != IDLE)
        status = ldar_fail(error, LDAR_ERROR_ARGUMENT, "a step has begun: end it before evaluating");
    if (status == LDAR_OK)
        status = reserve(trainer, batch, error);
    if (status != LDAR_OK)
        return status;
    const struct ldar_objective objective = objective_of(trainer, labels, 1);
    size_t bytes;
    return ldar_network_learn(&trainer->network, batch, boundaries, &objective, NULL, loss, &bytes);
}

enum ldar_status ldar_trainer_scores(ldar_trainer *trainer, const struct ldar_batch *batch, float *scores,
                                     struct ldar_error *error)
{
    if (!trainer || !scores)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no trainer, or no place for the scores");
    enum ldar_status status = check_examples(trainer, batch, error);
    if (status == LDAR_OK && trainer->state != IDLE)
        status = ldar_fail(error, LDAR_ERROR_ARGUMENT, "a step has begun: end it before scoring");
    if (status == LDAR_OK)
        status = reserve_examples(trainer, batch->sequences, error);
    if (status == LDAR_OK)
        status = reserve(trainer, batch, error);
    if (status != LDAR_OK)
        return status;
    const struct ldar_head *head = ldar_model_head(trainer->model);
    ldar_network_pool(&trainer->network, batch, ldar_parts(head->parts), trainer->mean);
    ldar_head_scores(head, trainer->network.config->stage[0].width, trainer->mean, batch->sequences, scores);
    return LDAR_OK;
}

/* ---- a step ---- */

enum ldar_status ldar_trainer_begin(ldar_trainer *trainer, size_t micro_batches, size_t *first, size_t *count,
                                    struct ldar_error *error)
{
    if (!trainer || micro_batches == 0)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no trainer, or a step without micro-batches");
    if (trainer->state != IDLE)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "a step has begun already");
    enum ldar_status status =
        ldar_gradient_tree_begin(trainer->tree, micro_batches, &trainer->first, &trainer->count, error);
    if (status != LDAR_OK)
        return status;
    trainer->state = ADDING;
    trainer->micro_batches = micro_batches;
    trainer->added = 0;
    if (first)
        *first = trainer->first;
    if (count)
        *count = trainer->count;
    return LDAR_OK;
}

/* On the way to what learns a pass comes by the gradients of some that do not. */
static void clear_others(const ldar_trainer *trainer, size_t first, size_t end)
{
    for (size_t i = 0; i < trainer->model->table.count; i++) {
        const size_t at = (size_t)(trainer->part[i].weight - trainer->weights);
        if (at >= first && at < end && trainer->part[i].count == 0)
            memset(trainer->leaf + at, 0, trainer->model->table.entry[i].count * sizeof *trainer->leaf);
    }
}

/* Gradients become final from the end of the array to its beginning, always from that of some parameter on. */
static void told_final(void *own, size_t first)
{
    ldar_trainer *trainer = own;
    if (trainer->options.last)
        clear_others(trainer, first, trainer->final);
    if (first < trainer->final)
        ldar_gradient_tree_ready(trainer->tree, first, trainer->final - first);
    trainer->final = first < trainer->final ? first : trainer->final;
}

/* Whether a micro-batch of this kind may come now. */
static enum ldar_status check_order(const ldar_trainer *trainer, int examples, struct ldar_error *error)
{
    if (trainer->options.examples != examples)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "this trainer learns %s",
                         examples ? "masked language modelling: for examples create it with examples = 1"
                                  : "from examples, not masked language modelling");
    if (trainer->state != ADDING || trainer->added == trainer->count)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no step has begun that lacks another micro-batch");
    return LDAR_OK;
}

static enum ldar_status begin_leaf(ldar_trainer *trainer, struct ldar_gradient_sink *sink, struct ldar_error *error)
{
    trainer->leaf = ldar_gradient_tree_leaf(trainer->tree);
    if (!trainer->leaf)
        return ldar_fail_memory(error, trainer->floats * sizeof(float), "the gradient of a micro-batch");
    trainer->final = trainer->floats;
    *sink = (struct ldar_gradient_sink){trainer->weights, trainer->leaf, told_final, trainer, device_limit(trainer)};
    return LDAR_OK;
}

/* LDAR_ERROR_MEMORY: a router chose more chunks than there is room for, and the step is lost. */
static enum ldar_status end_leaf(ldar_trainer *trainer, const struct ldar_batch *batch, enum ldar_status learned,
                                 size_t bytes, struct ldar_error *error)
{
    if (learned == LDAR_ERROR_MEMORY) {
        trainer->state = IDLE;
        return too_large(trainer, batch->offsets[batch->sequences], bytes, error);
    }
    trainer->added++;
    return LDAR_OK;
}

enum ldar_status ldar_trainer_add(ldar_trainer *trainer, const struct ldar_batch *batch, const uint8_t *labels,
                                  const struct ldar_boundaries *boundaries, struct ldar_loss *loss,
                                  struct ldar_error *error)
{
    const struct ldar_boundaries learned = {.size = sizeof learned};
    struct ldar_gradient_sink sink;
    boundaries = boundaries ? boundaries : &learned;
    enum ldar_status status = check(trainer, batch, labels, boundaries, loss, error);
    if (status == LDAR_OK)
        status = check_order(trainer, 0, error);
    if (status == LDAR_OK)
        status = reserve(trainer, batch, error);
    if (status == LDAR_OK)
        status = begin_leaf(trainer, &sink, error);
    if (status != LDAR_OK)
        return status;
    const struct ldar_objective objective = objective_of(trainer, labels, 1 / (double)trainer->micro_batches);
    size_t bytes = 0;
    status = ldar_network_learn(&trainer->network, batch, boundaries, &objective, &sink, loss, &bytes);
    return end_leaf(trainer, batch, status, bytes, error);
}

enum ldar_status ldar_trainer_add_examples(ldar_trainer *trainer, const struct ldar_batch *batch, const float *targets,
                                           struct ldar_example_loss *loss, struct ldar_error *error)
{
    struct ldar_gradient_sink sink;
    if (!trainer || !targets || !loss)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no trainer, no targets, or no place for the loss");
    enum ldar_status status = check_order(trainer, 1, error);
    if (status == LDAR_OK)
        status = check_examples(trainer, batch, error);
    if (status == LDAR_OK)
        status = check_targets(ldar_model_head(trainer->model), targets, batch->sequences, error);
    if (status == LDAR_OK)
        status = reserve_examples(trainer, batch->sequences, error);
    if (status == LDAR_OK)
        status = reserve(trainer, batch, error);
    if (status == LDAR_OK)
        status = begin_leaf(trainer, &sink, error);
    if (status != LDAR_OK)
        return status;
    const struct ldar_examples examples = {
        .head = ldar_model_head(trainer->model),
        .targets = targets,
        .ratio = trainer->options.ratio,
        .ratio_weight = trainer->options.ratio_weight,
        .scale = 1 / (double)trainer->micro_batches,
        .mean = trainer->mean,
        .dmean = trainer->dmean,
        .scores = trainer->scores,
        .row = trainer->row,
    };
    size_t bytes = 0;
    status = ldar_network_learn_examples(&trainer->network, batch, &examples, &sink, loss, &bytes);
    return end_leaf(trainer, batch, status, bytes, error);
}

/* The first parameter whose gradient is not finite; NULL: none. */
static const char *first_broken(ldar_trainer *trainer)
{
    for (size_t i = 0; i < trainer->model->table.count; i++) {
        double squares;
        trainer->network.backend->sum_squares(trainer->network.device, trainer->part[i].gradient,
                                              trainer->part[i].count, &squares);
        if (!isfinite(squares))
            return trainer->model->table.entry[i].name;
    }
    return NULL;
}

static void update(ldar_trainer *trainer, double rate, double norm)
{
    const struct ldar_trainer_options *o = &trainer->options;
    const double shrink = o->clip / (norm + 1e-6), t = (double)++trainer->steps;
    for (size_t i = 0; i < trainer->model->table.count; i++) {
        struct ldar_optimizer_part *part = &trainer->part[i];
        const struct ldar_parameter *parameter = &trainer->model->table.entry[i];
        const int inner = strstr(parameter->name, ".main_network.") != NULL;
        part->scale = shrink < 1 ? (float)shrink : 1;
        part->rate = (float)(is_head(parameter) ? rate * o->head_rate : inner ? rate : rate * o->outer_rate);
        part->correction1 = (float)(1 / (1 - pow((double)part->beta1, t)));
        part->correction2 = (float)(1 / (1 - pow((double)part->beta2, t)));
    }
    trainer->network.backend->optimize(trainer->network.device, trainer->part, trainer->model->table.count);
    trainer->network.backend->refresh(trainer->network.device);
}

enum ldar_status ldar_trainer_step(ldar_trainer *trainer, double rate, struct ldar_step *step, struct ldar_error *error)
{
    if (!trainer || !step)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no trainer, or no place for what the step did");
    if (trainer->state != ADDING || trainer->added < trainer->count)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the step lacks %zu micro-batches",
                         trainer->state == ADDING ? trainer->count - trainer->added : 1);
    if (!(rate >= 0) || !isfinite(rate))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "a rate of %g", rate);
    enum ldar_status status = ldar_gradient_tree_finish(trainer->tree, &trainer->sum, error);
    trainer->state = IDLE;
    if (status != LDAR_OK)
        return status;
    double squares;
    trainer->network.backend->sum_squares(trainer->network.device, trainer->sum, trainer->floats, &squares);
    for (size_t i = 0; i < trainer->model->table.count; i++)
        trainer->part[i].gradient = trainer->sum + (trainer->part[i].weight - trainer->weights);
    *step = (struct ldar_step){.gradient_norm = sqrt(squares)};
    step->skipped = !isfinite(squares);
    if (step->skipped)
        step->tensor = first_broken(trainer);
    else
        update(trainer, rate, step->gradient_norm);
    return LDAR_OK;
}

/* ---- what it holds ---- */

uint64_t ldar_trainer_steps(const ldar_trainer *trainer)
{
    return trainer->steps;
}

void ldar_trainer_set_steps(ldar_trainer *trainer, uint64_t steps)
{
    trainer->steps = steps;
}

size_t ldar_trainer_tensors(const ldar_trainer *trainer)
{
    return trainer->model->table.count;
}

void ldar_trainer_tensor(const ldar_trainer *trainer, size_t index, struct ldar_trainer_tensor *tensor)
{
    const struct ldar_parameter *parameter = &trainer->model->table.entry[index];
    const struct ldar_optimizer_part *part = &trainer->part[index];
    *tensor = (struct ldar_trainer_tensor){
        .name = parameter->name,
        .rank = parameter->rank,
        .shape = {parameter->shape[0], parameter->shape[1], parameter->shape[2]},
        .count = parameter->count,
        .weight = part->weight,
        .moment1 = part->moment1,
        .moment2 = part->moment2,
        .gradient = part->gradient,
    };
}

void ldar_trainer_refresh(ldar_trainer *trainer)
{
    trainer->network.backend->refresh(trainer->network.device);
}

const ldar_model *ldar_trainer_weights(const ldar_trainer *trainer)
{
    return trainer->model;
}

enum ldar_status ldar_trainer_model(const ldar_trainer *trainer, ldar_model **model, struct ldar_error *error)
{
    size_t bytes;
    if (!trainer || !model)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no trainer, or no place for the model");
    return ldar_model_copy(trainer->model, ldar_model_head(trainer->model), model, &bytes, error);
}

enum ldar_isa ldar_trainer_isa(const ldar_trainer *trainer)
{
    return trainer->network.backend->isa(trainer->network.device);
}

enum ldar_dtype ldar_trainer_dtype(const ldar_trainer *trainer)
{
    return trainer->network.backend->dtype(trainer->network.device);
}

int ldar_trainer_threads(const ldar_trainer *trainer)
{
    return trainer->network.backend->threads(trainer->network.device);
}

const char *ldar_trainer_gemm(const ldar_trainer *trainer)
{
    return trainer->network.backend->gemm(trainer->network.device);
}

void ldar_trainer_profile(const ldar_trainer *trainer, struct ldar_profile *profile)
{
    trainer->network.backend->profile(trainer->network.device, profile);
    profile->peak_bytes += held_bytes(trainer);
}

void ldar_trainer_reset_profile(ldar_trainer *trainer)
{
    trainer->network.backend->reset_profile(trainer->network.device);
}
