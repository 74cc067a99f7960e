/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_VERDICT_H
#define LDAR_TOOLS_VERDICT_H

#include "examples.h"
#include "metrics.h"

#include "formats/provenance.h"

#include <ldar/model.h>

/*
 * How well a classifier does on labelled sequences: its scores, and the published
 * metrics of them ("LDARNet", ICML 2026, evaluation).
 */

/* Whoever gives a batch its scores (sequences, outputs): a trainer, or a model. */
struct scorer {
    enum ldar_status (*scores)(void *own, const struct ldar_batch *batch, float *scores, struct ldar_error *error);
    void *own;
    size_t outputs;
    size_t batch;     /* nucleotides to give it at once; a sequence that is longer goes alone */
    int both_strands; /* 1: the mean of the scores of the sequence and of its reverse complement */
};

/*
 * scores (examples->count, outputs), each of the sequence alone. Between two batches `stop`, when not NULL, is asked
 * whether to go on: where it says 1 the scores are not all there, and *stopped is 1.
 */
LDAR_MUST_USE enum ldar_status scorer_run(const struct scorer *scorer, const struct examples *examples, float *scores,
                                          int (*stop)(void), int *stopped, struct ldar_error *error);

struct verdict {
    enum ldar_head_kind kind;
    size_t examples;
    double loss; /* mean cross-entropy in nats, or half the mean squared error */
    struct class_metrics classes;
    struct value_metrics values;
};

/* The metrics of scores (examples->count, outputs) against what the examples are to be. */
LDAR_MUST_USE enum ldar_status verdict_of(enum ldar_head_kind kind, size_t outputs, const float *scores,
                                          const struct examples *examples, struct verdict *verdict,
                                          struct ldar_error *error);

/* What a better model has more of: MCC, or R2. */
double verdict_merit(const struct verdict *verdict);

/*
 * The members of a JSON object, each name with `prefix` before it, as "test_": loss, and the published mcc, accuracy,
 * f1_score and auroc; or mse, pearson, spearman and r2. At most VERDICT_TEXT bytes.
 */
enum { VERDICT_TEXT = 512 };
void verdict_json(const struct verdict *verdict, const char *prefix, char text[VERDICT_TEXT]);

/* The same for a person, in one line. */
void verdict_text(const struct verdict *verdict, char text[VERDICT_TEXT]);

/*
 * test_results.json as published, with what made it: `test_...`, examples, and `more`, further members with a comma
 * before each, or "".
 */
LDAR_MUST_USE enum ldar_status verdict_write(const struct verdict *verdict, const char *path, const char *more,
                                             const struct provenance *provenance, struct ldar_error *error);

#endif
