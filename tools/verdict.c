/* SPDX-License-Identifier: Apache-2.0 */
#include "verdict.h"

#include "formats/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- scores ---- */

/* Where a run of a scorer is: what it packs, and the scores of the other strand. */
struct scoring {
    const struct scorer *scorer;
    const struct examples *examples;
    struct pack pack;
    float *reverse; /* (room, outputs) */
    size_t room;
};

/* From example `first` on, as many as a batch takes; their number, 0 without memory. */
static size_t fill(struct scoring *scoring, size_t first, enum strand strand)
{
    const size_t *row = scoring->examples->row, *offsets = scoring->examples->table->offsets;
    size_t count = 0, nucleotides = 0;
    pack_clear(&scoring->pack);
    while (first + count < scoring->examples->count) {
        const size_t length = offsets[row[first + count] + 1] - offsets[row[first + count]];
        if (count > 0 && nucleotides + length > scoring->scorer->batch)
            break;
        if (!pack_add(&scoring->pack, scoring->examples, first + count, strand))
            return 0;
        nucleotides += length;
        count++;
    }
    return count;
}

static bool reserve_reverse(struct scoring *scoring, size_t count)
{
    if (count <= scoring->room)
        return true;
    free(scoring->reverse);
    scoring->reverse = malloc(count * scoring->scorer->outputs * sizeof *scoring->reverse);
    scoring->room = scoring->reverse ? count : 0;
    return scoring->reverse != NULL;
}

/* The scores of the examples from `first` on; *count is how many of them there are. */
static enum ldar_status score_some(struct scoring *scoring, size_t first, float *scores, size_t *count,
                                   struct ldar_error *error)
{
    const struct scorer *scorer = scoring->scorer;
    *count = fill(scoring, first, STRAND_GIVEN);
    if (*count == 0)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for a batch of sequences");
    enum ldar_status status = scorer->scores(scorer->own, &scoring->pack.batch, scores, error);
    if (status != LDAR_OK || !scorer->both_strands)
        return status;
    if (!reserve_reverse(scoring, *count) || fill(scoring, first, STRAND_REVERSE) == 0)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for a batch of sequences");
    status = scorer->scores(scorer->own, &scoring->pack.batch, scoring->reverse, error);
    for (size_t i = 0; status == LDAR_OK && i < *count * scorer->outputs; i++)
        scores[i] = (scores[i] + scoring->reverse[i]) / 2;
    return status;
}

enum ldar_status scorer_run(const struct scorer *scorer, const struct examples *examples, float *scores,
                            int (*stop)(void), int *stopped, struct ldar_error *error)
{
    struct scoring scoring = {.scorer = scorer, .examples = examples};
    enum ldar_status status = LDAR_OK;
    for (size_t first = 0, count; first < examples->count && status == LDAR_OK; first += count) {
        if (stop && (*stopped = stop()))
            break;
        status = score_some(&scoring, first, scores + first * scorer->outputs, &count, error);
    }
    pack_free(&scoring.pack);
    free(scoring.reverse);
    return status;
}

/* ---- metrics ---- */

/* -log of the probability that logits give to class `target`. */
static double cross_entropy(const float *logits, size_t classes, size_t target)
{
    const double most = (double)logits[metrics_largest(logits, classes)];
    double sum = 0;
    for (size_t c = 0; c < classes; c++)
        sum += exp((double)logits[c] - most);
    return most + log(sum) - (double)logits[target];
}

static bool judge_classes(const float *scores, size_t classes, const struct examples *examples, struct verdict *verdict)
{
    const size_t count = examples->count;
    uint32_t *labels = malloc(count * sizeof *labels), *predicted = malloc(count * sizeof *predicted);
    double *p = malloc(count * classes * sizeof *p);
    bool done = labels && predicted && p;
    for (size_t i = 0; done && i < count; i++) {
        const float *own = scores + i * classes;
        labels[i] = (uint32_t)examples_target(examples, i);
        predicted[i] = metrics_largest(own, classes);
        metrics_softmax(own, classes, p + i * classes);
        verdict->loss += cross_entropy(own, classes, labels[i]) / (double)count;
    }
    done = done && metrics_of_classes(labels, predicted, p, count, classes, &verdict->classes);
    free(labels);
    free(predicted);
    free(p);
    return done;
}

static bool judge_values(const float *scores, const struct examples *examples, struct verdict *verdict)
{
    const size_t count = examples->count;
    double *values = malloc(count * sizeof *values), *predicted = malloc(count * sizeof *predicted);
    bool done = values && predicted;
    for (size_t i = 0; done && i < count; i++) {
        values[i] = examples_target(examples, i);
        predicted[i] = (double)scores[i];
    }
    done = done && metrics_of_values(values, predicted, count, &verdict->values);
    verdict->loss = verdict->values.mse / 2;
    free(values);
    free(predicted);
    return done;
}

enum ldar_status verdict_of(enum ldar_head_kind kind, size_t outputs, const float *scores,
                            const struct examples *examples, struct verdict *verdict, struct ldar_error *error)
{
    *verdict = (struct verdict){.kind = kind, .examples = examples->count};
    const bool done = kind == LDAR_HEAD_CLASSES ? judge_classes(scores, outputs, examples, verdict)
                                                : judge_values(scores, examples, verdict);
    return done ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "no memory to judge %zu sequences", examples->count);
}

double verdict_merit(const struct verdict *verdict)
{
    return verdict->kind == LDAR_HEAD_CLASSES ? verdict->classes.mcc : verdict->values.r2;
}

/* ---- for others to read ---- */

/* The figures of a verdict, the published names first. */
struct figure {
    const char *key, *name;
    double value;
};

enum { FIGURES = 5 };

static void figures_of(const struct verdict *verdict, struct figure figures[FIGURES])
{
    const struct class_metrics *classes = &verdict->classes;
    const struct value_metrics *values = &verdict->values;
    const struct figure of_classes[FIGURES] = {{"mcc", "MCC", classes->mcc},
                                               {"accuracy", "accuracy", classes->accuracy},
                                               {"f1_score", "F1", classes->f1},
                                               {"auroc", "AUROC", classes->auroc},
                                               {"loss", "loss", verdict->loss}};
    const struct figure of_values[FIGURES] = {{"r2", "R2", values->r2},
                                              {"pearson", "Pearson", values->pearson},
                                              {"spearman", "Spearman", values->spearman},
                                              {"mse", "mean squared error", values->mse},
                                              {"loss", "loss", verdict->loss}};
    memcpy(figures, verdict->kind == LDAR_HEAD_CLASSES ? of_classes : of_values, sizeof of_classes);
}

void verdict_json(const struct verdict *verdict, const char *prefix, char text[VERDICT_TEXT])
{
    struct figure figures[FIGURES];
    size_t length = 0;
    figures_of(verdict, figures);
    for (size_t i = 0; i < FIGURES; i++)
        length += (size_t)snprintf(text + length, VERDICT_TEXT - length, "%s\"%s%s\": %s", i > 0 ? ", " : "", prefix,
                                   figures[i].key, json_number(figures[i].value).text);
}

void verdict_text(const struct verdict *verdict, char text[VERDICT_TEXT])
{
    struct figure figures[FIGURES];
    size_t length = 0;
    figures_of(verdict, figures);
    for (size_t i = 0; i < FIGURES; i++)
        length += (size_t)snprintf(text + length, VERDICT_TEXT - length, "%s%s %.4f", i > 0 ? ", " : "",
                                   figures[i].name, figures[i].value);
}

enum ldar_status verdict_write(const struct verdict *verdict, const char *path, const char *more,
                               const struct provenance *provenance, struct ldar_error *error)
{
    char members[VERDICT_TEXT];
    output *out;
    char *made_by = provenance_json(provenance);
    if (!made_by)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    enum ldar_status status = output_create(path, &out, error);
    if (status == LDAR_OK) {
        const char *const parts[] = {"{", members, more, ", ", made_by, "}\n"};
        verdict_json(verdict, "test_", members);
        for (size_t i = 0; i < sizeof parts / sizeof *parts && status == LDAR_OK; i++) {
            status = output_write(out, parts[i], strlen(parts[i]), error);
            if (i == 1 && status == LDAR_OK)
                status = output_print(out, error, ", \"examples\": %zu", verdict->examples);
        }
        if (status == LDAR_OK)
            status = output_commit(out, error);
        else
            output_abandon(out);
    }
    free(made_by);
    return status;
}
