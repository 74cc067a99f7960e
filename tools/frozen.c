/* SPDX-License-Identifier: Apache-2.0 */
#include "frozen.h"
#include "logistic.h"
#include "message.h"

#include "formats/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Per example and standardised feature: from a fit that is held near nothing to one that is hardly held back, which
 * takes the longest. */
static const double penalties[] = {10, 1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5};
enum { PENALTIES = sizeof penalties / sizeof *penalties, WORSE_AT_MOST = 2 };

/* The features of some examples and what they are to be, in the examples' order. */
struct sheet {
    float *features; /* (count, columns) */
    uint32_t *labels;
    double *values;
};

static void sheet_free(struct sheet *sheet)
{
    free(sheet->features);
    free(sheet->labels);
    free(sheet->values);
}

static enum ldar_status sheet_make(const struct lesson_part *part, size_t columns, struct sheet *sheet,
                                   struct ldar_error *error)
{
    const struct examples *examples = &part->examples;
    const size_t count = examples->count;
    *sheet = (struct sheet){.features = malloc(count * columns * sizeof(float)),
                            .labels = malloc(count * sizeof(uint32_t)),
                            .values = malloc(count * sizeof(double))};
    if (!sheet->features || !sheet->labels || !sheet->values) {
        sheet_free(sheet);
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the embeddings of %zu sequences", count);
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(sheet->features + i * columns, part->means + examples->row[i] * columns, columns * sizeof(float));
        sheet->values[i] = examples_target(examples, i);
        sheet->labels[i] = examples->table->kind == TABLE_CLASSES ? (uint32_t)sheet->values[i] : 0;
    }
    return LDAR_OK;
}

/* How a head does on the sheet of the examples. */
static enum ldar_status judge(const struct lesson *lesson, const struct ldar_head *head, const struct lesson_part *part,
                              const struct sheet *sheet, struct verdict *verdict, struct ldar_error *error)
{
    const size_t count = part->examples.count, width = ldar_model_config(lesson->model)->stage[0].width;
    float *scores = malloc(count * lesson->outputs * sizeof *scores);
    if (!scores)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the scores of %zu sequences", count);
    ldar_head_scores(head, width, sheet->features, count, scores);
    const enum ldar_status status = verdict_of(lesson->kind, lesson->outputs, scores, &part->examples, verdict, error);
    free(scores);
    return status;
}

static enum ldar_status save(const struct lesson *lesson, const struct ldar_head *head, struct ldar_error *error)
{
    char path[RUN_PATH];
    ldar_model *model;
    enum ldar_status status = ldar_model_with_head(lesson->model, head, 0, &model, error);
    if (status != LDAR_OK)
        return status;
    status = ldar_model_save(model, LDAR_F32, run_path(lesson->run, "model.safetensors", path), error);
    ldar_model_destroy(model);
    return status;
}

static enum ldar_status log_strength(const struct lesson *lesson, size_t strength, const struct logistic_fit *fit,
                                     const struct verdict *verdict, struct ldar_error *error)
{
    char members[VERDICT_TEXT];
    verdict_json(verdict, "validation_", members);
    return run_log(lesson->run, error,
                   "{\"step\": %zu, \"penalty\": %g, \"objective\": %s, \"evaluations\": %d, \"converged\": %s, %s}",
                   strength + 1, penalties[strength], json_number(fit->loss).text, fit->evaluations,
                   fit->converged ? "true" : "false", members);
}

/* Fits with each strength, until some validate worse than the best; keeps the first of the best, and its model. */
static enum ldar_status search(const struct lesson *lesson, const struct sheet *train, const struct sheet *valid,
                               struct ldar_error *error)
{
    const int classes = lesson->kind == LDAR_HEAD_CLASSES;
    const struct logistic_problem problem = {.features = train->features,
                                             .labels = classes ? train->labels : NULL,
                                             .values = classes ? NULL : train->values,
                                             .count = lesson->train.examples.count,
                                             .width = lesson_features(lesson->settings, lesson->model),
                                             .classes = lesson->outputs};
    double best = NAN;
    size_t chosen = 0, worse = 0;
    enum ldar_status status = LDAR_OK;
    for (size_t p = 0; p < PENALTIES && worse < WORSE_AT_MOST && status == LDAR_OK; p++) {
        struct logistic_fit fit;
        struct verdict verdict;
        status = logistic_minimise(&problem, penalties[p], &fit, error);
        if (status != LDAR_OK)
            return status;
        const struct ldar_head head = {.kind = lesson->kind,
                                       .outputs = lesson->outputs,
                                       .names = lesson->names,
                                       .weight = fit.weight,
                                       .bias = fit.bias,
                                       .parts = (size_t)lesson->settings->parts};
        status = judge(lesson, &head, &lesson->valid, valid, &verdict, error);
        if (status == LDAR_OK)
            status = log_strength(lesson, p, &fit, &verdict, error);
        if (status == LDAR_OK && (p == 0 || verdict_merit(&verdict) > best)) {
            best = verdict_merit(&verdict);
            chosen = p;
            worse = 0;
            status = save(lesson, &head, error);
        } else if (status == LDAR_OK && verdict_merit(&verdict) < best) {
            worse++;
        }
        logistic_free(&fit);
    }
    if (status == LDAR_OK)
        say_detail("penalty %g validates best", penalties[chosen]);
    return status;
}

enum ldar_status frozen_train(struct lesson *lesson, struct ldar_error *error)
{
    const size_t columns = lesson_features(lesson->settings, lesson->model);
    struct sheet train, valid;
    enum ldar_status status = run_log_begin(lesson->run, 0, error);
    if (status == LDAR_OK)
        status = sheet_make(&lesson->train, columns, &train, error);
    if (status != LDAR_OK)
        return status;
    status = sheet_make(&lesson->valid, columns, &valid, error);
    if (status == LDAR_OK) {
        status = search(lesson, &train, &valid, error);
        sheet_free(&valid);
    }
    sheet_free(&train);
    return status;
}
