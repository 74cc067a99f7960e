/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_SUITE_REPORT_H
#define LDAR_TOOLS_SUITE_REPORT_H

#include "metrics.h"
#include "published.h"

#include "formats/provenance.h"

/* What a model reached on a task: one set of metrics of the test set for each fold. */
struct suite_task {
    const char *name;                  /* in the tables; as its folder below that of the suite */
    const struct class_metrics *folds; /* (fold_count) */
    size_t fold_count;
};

struct suite_results {
    const char *title;                   /* of the suite */
    const char *model;                   /* what the rows are called: the model, and how it was trained */
    const struct published_suite *suite; /* what others reached; NULL: nothing is known of them */
    const struct provenance *provenance; /* what made the results */
    const struct suite_task *tasks;      /* (task_count) */
    size_t task_count;
};

/*
 * Writes the results into a folder: results.tsv (fractions, NA where something is not known), results.md and
 * report.html (times 100), and the drawing of the last, results.svg; all four have their names once all are whole.
 * Means are over folds, with 95 % intervals by Student's t. Tasks are compared by the metric that was published, else
 * by MCC.
 */
LDAR_MUST_USE enum ldar_status suite_report(const struct suite_results *results, const char *folder,
                                            struct ldar_error *error);

#endif
