/* SPDX-License-Identifier: Apache-2.0 */
#ifndef METRICS_H
#define METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How good predictions are, as scikit-learn has it: the tests hold the two
 * together to 1e-12. What is not defined is NaN.
 */

enum metric { METRIC_ACCURACY, METRIC_F1, METRIC_MCC, METRIC_AUROC, METRICS };

struct class_metrics {
    double accuracy;
    double f1;  /* the F1 score of each class, weighted by its examples (average="weighted"); 0 for one without any */
    double mcc; /* matthews_corrcoef, of any number of classes; 0 where either side has a single class */
    double
        auroc; /* roc_auc_score: of class 1 where there are two; else one against the rest, weighted by the examples */
};

/*
 * `labels` and `predicted` (count) are below `classes`, count below 2^31; probabilities (count, classes), or NULL: no
 * AUROC. That is NaN, too, where a class has no example or all of them, and where a probability is NaN. All is NaN when
 * count is 0. False without memory.
 */
bool metrics_of_classes(const uint32_t *labels, const uint32_t *predicted, const double *probabilities, size_t count,
                        size_t classes, struct class_metrics *metrics);

/* "accuracy", "f1", "mcc", "auroc"; and the key of the published test_results.json, as "test_f1_score". */
const char *metric_name(enum metric metric);
const char *metric_key(enum metric metric);

/* The metric of that name; false when there is none. */
bool metric_parse(const char *name, enum metric *metric);

double metric_value(const struct class_metrics *metrics, enum metric metric);

struct value_metrics {
    double mse;      /* mean of the squared errors */
    double pearson;  /* correlation; NaN where either side is constant */
    double spearman; /* that of the ranks, equal values having their mean rank; NaN as above */
    double r2;       /* r2_score; NaN for fewer than two; of constant values 1 when all are met, else 0 */
};

/* values and predicted (count), finite. All is NaN when count is 0. False without memory. */
bool metrics_of_values(const double *values, const double *predicted, size_t count, struct value_metrics *metrics);

/* Scores (classes) to probabilities that sum to 1. */
void metrics_softmax(const float *scores, size_t classes, double *probabilities);

/* The first of the largest scores (classes). */
uint32_t metrics_largest(const float *scores, size_t classes);

/* mean +- half holds the true mean with 95 % confidence, if values are drawn from a normal distribution. */
struct interval {
    double mean;
    double half; /* NaN for fewer than two values */
};

struct interval metrics_interval(const double *values, size_t count);

/* The t that Student's |T| of `degrees` (at least 1) degrees of freedom stays below with the probability, of (0, 1). */
double metrics_student(double probability, size_t degrees);

#endif
