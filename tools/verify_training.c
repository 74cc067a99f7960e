/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- bounds of arithmetic against the oracle in double precision ---- */

struct bounds {
    double loss;            /* relative */
    double gradient, angle; /* relative L2 error, and 1 - cosine */
    double change;          /* relative L2 error of what two steps change; 0: they are not compared */
    size_t least;           /* gradients of fewer numbers are shown, and not judged */
};

/*
 * By type. The first steps of AdamW follow the signs of gradients, and those of the smallest ones are for bfloat16 a
 * matter of luck: the weights are compared in float32 alone. A gradient of a few numbers, as those of two heads'
 * decays, is a few sums over all tokens, which may cancel: bfloat16's are shown and not judged.
 */
static const struct bounds bounds_of[] = {
    [LDAR_F32] = {1e-6, 5e-5, 1e-6, 2e-3, 1},
    [LDAR_BF16] = {2e-3, 3e-2, 1e-3, 0, 8},
};

static const double base_rate = 1e-3; /* of the steps in the file */
enum { NO_LABEL = -100 };             /* in the file */

/* ---- a golden file ---- */

struct golden {
    const char *path;
    const ldar_tensors *file;
    const struct bounds *bounds;
    uint8_t *ids, *labels, *boundary;
    size_t *offsets;
    struct ldar_batch batch;
    ldar_trainer *trainer;
    float *start; /* the weights before the first step, one tensor after the other */
    int widest;   /* letters of a name */
};

static void golden_free(struct golden *golden)
{
    free(golden->ids);
    free(golden->labels);
    free(golden->boundary);
    free(golden->offsets);
    free(golden->start);
    ldar_trainer_destroy(golden->trainer);
}

/* The numbers of "ids.SEQUENCE" or "labels.SEQUENCE". */
static enum ldar_status find_sequence(const struct golden *golden, const char *what, size_t sequence,
                                      struct ldar_tensor *tensor, struct ldar_error *error)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%zu", what, sequence);
    const size_t index = ldar_tensors_find(golden->file, name);
    if (index == ldar_tensors_count(golden->file))
        return fail(error, LDAR_ERROR_TENSOR, "%s: no golden file: tensor %s is missing", golden->path, name);
    *tensor = ldar_tensors_at(golden->file, index);
    if (tensor->type != LDAR_TENSOR_I64 || tensor->rank != 1)
        return fail(error, LDAR_ERROR_TENSOR, "%s: tensor %s is not a vector of I64", golden->path, name);
    return LDAR_OK;
}

/* Symbols, or labels: A, C, G, T or none. */
static enum ldar_status read_symbols(const struct golden *golden, const struct ldar_tensor *tensor, int labels,
                                     uint8_t *symbols, struct ldar_error *error)
{
    const int64_t limit = labels ? LDAR_N : LDAR_SYMBOLS;
    for (size_t i = 0; i < tensor->count; i++) {
        int64_t symbol;
        memcpy(&symbol, (const char *)tensor->data + i * sizeof symbol, sizeof symbol);
        const int none = labels && symbol == NO_LABEL;
        if (!none && (symbol < 0 || symbol >= limit))
            return fail(error, LDAR_ERROR_TENSOR, "%s: %s[%zu] is %lld, which is no %s", golden->path, tensor->name, i,
                        (long long)symbol, labels ? "label" : "symbol");
        symbols[i] = none ? LDAR_UNLABELLED : (uint8_t)symbol;
    }
    return LDAR_OK;
}

static enum ldar_status read_sequence(struct golden *golden, size_t sequence, struct ldar_error *error)
{
    struct ldar_tensor ids, labels;
    const size_t first = golden->offsets[sequence];
    enum ldar_status status = find_sequence(golden, "ids", sequence, &ids, error);
    if (status == LDAR_OK)
        status = find_sequence(golden, "labels", sequence, &labels, error);
    if (status != LDAR_OK)
        return status;
    if (labels.count != ids.count)
        return fail(error, LDAR_ERROR_TENSOR, "%s: %s has %zu elements, %s %zu", golden->path, labels.name,
                    labels.count, ids.name, ids.count);
    golden->offsets[sequence + 1] = first + ids.count;
    status = read_symbols(golden, &ids, 0, golden->ids + first, error);
    if (status == LDAR_OK)
        status = read_symbols(golden, &labels, 1, golden->labels + first, error);
    return status;
}

static enum ldar_status read_batch(struct golden *golden, struct ldar_error *error)
{
    size_t sequences = 0, rows = 0;
    for (char name[64] = "ids.0"; ldar_tensors_find(golden->file, name) < ldar_tensors_count(golden->file);) {
        rows += ldar_tensors_at(golden->file, ldar_tensors_find(golden->file, name)).count;
        snprintf(name, sizeof name, "ids.%zu", ++sequences);
    }
    golden->ids = malloc(rows + 1);
    golden->labels = malloc(rows + 1);
    golden->offsets = calloc(sequences + 1, sizeof *golden->offsets);
    if (!golden->ids || !golden->labels || !golden->offsets)
        return fail(error, LDAR_ERROR_MEMORY, "%s: no memory for %zu sequences", golden->path, sequences);
    golden->batch = (struct ldar_batch){golden->ids, golden->offsets, sequences};
    enum ldar_status status = LDAR_OK;
    for (size_t s = 0; s < sequences && status == LDAR_OK; s++)
        status = read_sequence(golden, s, error);
    return status;
}

/* ---- computing ---- */

static enum ldar_status start_trainer(struct golden *golden, const struct common *common, const ldar_model *model,
                                      struct ldar_error *error)
{
    struct ldar_trainer_options options = {.size = sizeof options, .context = context_options(common)};
    enum ldar_status status = ldar_trainer_create(model, &options, &golden->trainer, error);
    if (status != LDAR_OK)
        return status;
    struct ldar_trainer_tensor tensor;
    size_t count = 0, at = 0;
    for (size_t i = 0; i < ldar_trainer_tensors(golden->trainer); i++) {
        ldar_trainer_tensor(golden->trainer, i, &tensor);
        count += tensor.count;
    }
    golden->start = malloc(count * sizeof *golden->start);
    if (!golden->start)
        return fail(error, LDAR_ERROR_MEMORY, "%s: no memory for %zu weights", golden->path, count);
    for (size_t i = 0; i < ldar_trainer_tensors(golden->trainer); i++, at += tensor.count) {
        ldar_trainer_tensor(golden->trainer, i, &tensor);
        memcpy(golden->start + at, tensor.weight, tensor.count * sizeof *golden->start);
    }
    return LDAR_OK;
}

/* The boundaries that float32 finds, as the oracle does: one that falls otherwise makes another sequence of tokens. */
static enum ldar_status find_boundaries(struct golden *golden, const struct common *common, const ldar_model *model,
                                        struct ldar_error *error)
{
    struct ldar_context_options options = context_options(common);
    ldar_context *context;
    golden->boundary = malloc(golden->offsets[golden->batch.sequences] + 1);
    if (!golden->boundary)
        return fail(error, LDAR_ERROR_MEMORY, "%s: no memory for its boundaries", golden->path);
    options.dtype = LDAR_F32;
    enum ldar_status status = ldar_context_create(model, &options, &context, error);
    if (status != LDAR_OK)
        return status;
    const struct ldar_outputs outputs = {.size = sizeof outputs, .boundary = golden->boundary};
    status = ldar_forward(context, &golden->batch, NULL, &outputs, error);
    ldar_context_destroy(context);
    return status;
}

static enum ldar_status step(const struct golden *golden, struct ldar_loss *loss, struct ldar_error *error)
{
    const struct ldar_boundaries forced = {.size = sizeof forced, .forced = golden->boundary};
    struct ldar_step done;
    enum ldar_status status = ldar_trainer_begin(golden->trainer, 1, NULL, NULL, error);
    if (status == LDAR_OK)
        status = ldar_trainer_add(golden->trainer, &golden->batch, golden->labels, golden->boundary ? &forced : NULL,
                                  loss, error);
    if (status == LDAR_OK)
        status = ldar_trainer_step(golden->trainer, base_rate, &done, error);
    if (status == LDAR_OK && done.skipped)
        return fail(error, LDAR_ERROR_TENSOR, "%s: the gradient of %s is not finite", golden->path,
                    done.tensor ? done.tensor : "the model");
    return status;
}

/* ---- comparing ---- */

/* The trainer's tensor of that name, and where it begins in golden->start; 0 when there is none. */
static int find_parameter(const struct golden *golden, const char *name, struct ldar_trainer_tensor *tensor, size_t *at)
{
    *at = 0;
    for (size_t i = 0; i < ldar_trainer_tensors(golden->trainer); i++) {
        ldar_trainer_tensor(golden->trainer, i, tensor);
        if (strcmp(tensor->name, name) == 0)
            return 1;
        *at += tensor->count;
    }
    return 0;
}

static int same_shape(const struct ldar_tensor *reference, const struct ldar_trainer_tensor *tensor)
{
    return reference->type == LDAR_TENSOR_F32 && reference->rank == tensor->rank
           && memcmp(reference->shape, tensor->shape, tensor->rank * sizeof *tensor->shape) == 0;
}

static int check_gradient(const struct golden *golden, const struct ldar_tensor *reference,
                          const struct ldar_trainer_tensor *tensor)
{
    const struct difference d = verify_compare(tensor->gradient, reference->data, reference->count);
    if (tensor->count < golden->bounds->least) {
        printf("rel-L2 %8.1e (no bound: %zu numbers)", d.l2, tensor->count);
        return verify_verdict(isfinite(d.l2));
    }
    printf("rel-L2 %8.1e (bound %.0e)  1-cosine %8.1e (bound %.0e)", d.l2, golden->bounds->gradient, d.angle,
           golden->bounds->angle);
    return verify_verdict(d.l2 <= golden->bounds->gradient && d.angle <= golden->bounds->angle);
}

/* Differences of weights are compared in double precision: in float32 they would be those of roundings. */
static int check_change(const struct golden *golden, const struct ldar_tensor *reference,
                        const struct ldar_trainer_tensor *tensor, const float *start)
{
    double squares = 0, norm = 0;
    for (size_t i = 0; i < tensor->count; i++) {
        float expected;
        memcpy(&expected, (const char *)reference->data + i * sizeof expected, sizeof expected);
        const double error = (double)tensor->weight[i] - (double)expected;
        const double change = (double)expected - (double)start[i];
        squares += error * error;
        norm += change * change;
    }
    const double l2 = squares == 0 ? 0 : norm > 0 ? sqrt(squares / norm) : INFINITY;
    printf("rel-L2 %8.1e of the change (bound %.0e)", l2, golden->bounds->change);
    return verify_verdict(l2 <= golden->bounds->change);
}

/* Prints the lines of all tensors whose names begin with `prefix`; returns how many are out of bounds. */
static size_t check_tensors(const struct golden *golden, const char *prefix, int gradients)
{
    size_t outside = 0, at;
    for (size_t i = 0; i < ldar_tensors_count(golden->file); i++) {
        const struct ldar_tensor reference = ldar_tensors_at(golden->file, i);
        struct ldar_trainer_tensor tensor;
        if (strncmp(reference.name, prefix, strlen(prefix)) != 0)
            continue;
        printf("%s  %-*s  ", golden->path, golden->widest, reference.name);
        int within;
        if (!find_parameter(golden, reference.name + strlen(prefix), &tensor, &at)) {
            fputs("the model has no such parameter", stdout);
            within = verify_verdict(0);
        } else if (!same_shape(&reference, &tensor)) {
            fputs("its shape or type is not the parameter's", stdout);
            within = verify_verdict(0);
        } else {
            within = gradients ? check_gradient(golden, &reference, &tensor)
                               : check_change(golden, &reference, &tensor, golden->start + at);
        }
        outside += !within;
    }
    return outside;
}

static size_t check_losses(const struct golden *golden, const struct ldar_loss *loss)
{
    const char *const names[] = {"loss", "mlm", "ratio"};
    const double values[] = {loss->loss, loss->mlm, loss->ratio};
    size_t outside = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const size_t index = ldar_tensors_find(golden->file, names[i]);
        if (index == ldar_tensors_count(golden->file))
            continue;
        const struct ldar_tensor tensor = ldar_tensors_at(golden->file, index);
        printf("%s  %-*s  ", golden->path, golden->widest, names[i]);
        if (tensor.type != LDAR_TENSOR_F32 || tensor.count != 1) {
            fputs("it is not one F32", stdout);
            outside += !verify_verdict(0);
            continue;
        }
        float expected;
        memcpy(&expected, tensor.data, sizeof expected);
        const double error = fabs(values[i] - (double)expected) / fabs((double)expected);
        printf("relative %8.1e (bound %.0e)", error, golden->bounds->loss);
        outside += !verify_verdict(error <= golden->bounds->loss);
    }
    return outside;
}

/* Letters of the longest name in the table. */
static int widest_name(const ldar_tensors *file)
{
    size_t widest = 0;
    for (size_t i = 0; i < ldar_tensors_count(file); i++) {
        const size_t letters = strlen(ldar_tensors_at(file, i).name);
        widest = letters > widest ? letters : widest;
    }
    return (int)widest;
}

enum ldar_status verify_training(const char *path, const ldar_tensors *file, const struct common *common,
                                 const ldar_model *model, size_t *outside, struct ldar_error *error)
{
    struct golden golden = {
        .path = path, .file = file, .bounds = &bounds_of[common->dtype], .widest = widest_name(file)};
    struct ldar_loss loss;
    enum ldar_status status = read_batch(&golden, error);
    if (status == LDAR_OK)
        status = start_trainer(&golden, common, model, error);
    if (status == LDAR_OK && common->dtype == LDAR_BF16)
        status = find_boundaries(&golden, common, model, error);
    if (status == LDAR_OK)
        status = step(&golden, &loss, error);
    if (status == LDAR_OK)
        *outside += check_losses(&golden, &loss) + check_tensors(&golden, "grad.", 1);
    if (status == LDAR_OK && golden.bounds->change > 0) {
        status = step(&golden, &loss, error);
        if (status == LDAR_OK)
            *outside += check_tensors(&golden, "adamw2.", 0);
    }
    golden_free(&golden);
    return status;
}
