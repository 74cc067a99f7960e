/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_LESSON_H
#define LDAR_TOOLS_LESSON_H

#include "forecast.h"
#include "pipeline.h"
#include "tuning.h"

/*
 * A lesson: a model learns to tell labelled sequences apart, or to guess their
 * values, and is then tested once. What finetune does, and evaluate --suite does
 * for each fold.
 */

/* The settings of a command that gives lessons begin with these. */
struct lesson_settings {
    struct input input; /* -f, and as --window the longest sequence that is taken */
    struct tuning_plan plan;
    double decay, head_rate, ratio_weight;
    uint64_t last, parts;
    int freeze;
};

extern const struct option option_lesson_reference, option_lesson_window, option_lesson_freeze, option_lesson_last,
    option_lesson_parts, option_lesson_epochs, option_lesson_batch, option_lesson_rate, option_lesson_head_rate,
    option_lesson_decay, option_lesson_warmup, option_lesson_ratio_weight, option_lesson_patience,
    option_lesson_halve_after, option_lesson_anneal, option_lesson_augment, option_lesson_hide,
    option_lesson_both_strands, option_lesson_checkpoint;

/* All but the window and the rate, which evaluate has meanings of its own for. */
#define OPTIONS_LESSON                                                                                                 \
    &option_lesson_reference, &option_lesson_freeze, &option_lesson_last, &option_lesson_parts, &option_lesson_epochs, \
        &option_lesson_batch, &option_lesson_head_rate, &option_lesson_decay, &option_lesson_warmup,                   \
        &option_lesson_ratio_weight, &option_lesson_patience, &option_lesson_halve_after, &option_lesson_anneal,       \
        &option_lesson_augment, &option_lesson_hide, &option_lesson_both_strands, &option_lesson_checkpoint

/* Usage errors of these options. */
enum exit_status lesson_check(const struct lesson_settings *settings);

/* Examples, and for a frozen model the means of their table's rows, (table->count, parts, D). */
struct lesson_part {
    struct examples examples;
    const float *means;
};

struct lesson {
    const struct lesson_settings *settings;
    double rate;
    uint64_t seed;
    const ldar_model *model; /* to begin with; its head, if it has one, is not used */
    struct run *run;         /* open for writing */
    enum ldar_head_kind kind;
    const char *const *names; /* of the head's outputs */
    size_t outputs;
    struct lesson_part train, valid, test; /* test without examples: no test */
    int begun;                             /* the run may hold a checkpoint to go on from */
    const char *more; /* further members of test_results.json, as in verdict_write; at most 256 bytes */
    /* What came of it. */
    struct verdict result; /* of the test */
    int stopped;           /* by this signal, before the end */
    uint64_t steps;        /* taken so far */
};

/*
 * The whole lesson: RUN/model.safetensors, RUN/log.jsonl, and where there is a test RUN/test_results.json. A signal
 * ends it with a checkpoint, from which it goes on when it is begun again.
 */
LDAR_MUST_USE enum ldar_status lesson_give(struct lesson *lesson, struct ldar_error *error);

/*
 * Of a frozen model: the means of the rows of a table, (count, parts, D), of both strands where the settings wish it.
 * The caller frees *means.
 */
LDAR_MUST_USE enum ldar_status lesson_means(const struct lesson_settings *settings, const ldar_model *model,
                                            const struct table *table, float **means, struct ldar_error *error);

/* What the head is given of a sequence: D numbers of each part. */
size_t lesson_features(const struct lesson_settings *settings, const ldar_model *model);

/* How fast a lesson would go, measured on its own first examples. */
struct lesson_pace {
    double training; /* nucleotides a second of forward and backward passes and steps; of a frozen model 0 */
    double scoring;  /* the same of forward passes */
    double fitting;  /* of a frozen model: seconds that its head takes for an example, when no strength is left out */
};
LDAR_MUST_USE enum ldar_status lesson_measure(const struct lesson *lesson, struct lesson_pace *pace,
                                              struct ldar_error *error);

/*
 * Adds to a forecast what the lesson takes at this pace: at most, since training may end before its last epoch, and the
 * search of a frozen model's head before its last strength.
 * `embedded`: nucleotides of tables that a frozen model goes through for it.
 */
void lesson_foretell(const struct lesson *lesson, const struct lesson_pace *pace, size_t embedded,
                     struct forecast *forecast);

/* An error that names the row where a sequence of a table is longer than the settings allow. */
LDAR_MUST_USE enum ldar_status lesson_check_lengths(const struct lesson_settings *settings, const char *path,
                                                    const struct table *table, struct ldar_error *error);

#endif
