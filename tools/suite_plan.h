/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_SUITE_PLAN_H
#define LDAR_TOOLS_SUITE_PLAN_H

#include "formats/tasks.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A benchmark suite at work is a list of units, a fold of a task each, in the
 * order of the tasks. The folder of the run holds
 *
 *   suite.json                      the list
 *   TASK/fold_K/test_results.json   what a unit came to; where it is, the unit is done
 *
 * so that units are resumed, split over machines and brought together again one
 * by one.
 *
 * A task without validation table is learned in the published ten folds of its
 * training table, of which the K-th validates; one with, in repeats that differ
 * in their seeds.
 */
enum { SUITE_PATH = 4096, SUITE_FOLDS_MAX = 100 };

struct suite_plan_task {
    char *name;
    size_t folds;
};

struct suite_plan {
    char *name;                   /* "gue", "nt", "gb" */
    struct suite_plan_task *task; /* (tasks) */
    size_t tasks, units;
};

/*
 * Names and numbers of folds; 0 of them: as published, ten folds, or `repeats`. More than ten folds of a training table
 * are an error. On failure *plan is zeroed.
 */
LDAR_MUST_USE enum ldar_status suite_plan_make(const char *name, const struct tasks *tasks, size_t folds,
                                               size_t repeats, struct suite_plan *plan, struct ldar_error *error);

/* The task of a unit, 0 .. units - 1, and in *fold its fold from 0. */
size_t suite_plan_task_of(const struct suite_plan *plan, size_t unit, size_t *fold);

/* "TASK/fold_K", K from 1, below the run's folder. */
void suite_plan_unit_name(const struct suite_plan *plan, size_t unit, char name[SUITE_PATH]);

/* Whether FOLDER/TASK/fold_K/test_results.json is there. */
bool suite_plan_done(const struct suite_plan *plan, const char *folder, size_t unit);

/* Writes and reads suite.json. */
LDAR_MUST_USE enum ldar_status suite_plan_save(const struct suite_plan *plan, const char *folder,
                                               struct ldar_error *error);
LDAR_MUST_USE enum ldar_status suite_plan_load(const char *folder, struct suite_plan *plan, struct ldar_error *error);

/* Whether both list the same units. */
bool suite_plan_equal(const struct suite_plan *a, const struct suite_plan *b);

/*
 * All units are done: the tables of what is in the folder (suite_report.h). What they say of the command and the model
 * is what the units say of themselves; of several commands, each with its tasks.
 */
LDAR_MUST_USE enum ldar_status suite_plan_report(const struct suite_plan *plan, const char *folder,
                                                 struct ldar_error *error);

/*
 * ldar merge of folders: every unit must be in one of the parts, and all of them have the same list, model and kind of
 * training. A task may have been learned with options of its own, in all of its folds. `folder`, which must not be
 * there or be empty, gets what stands in their TASK/fold_K, and the tables.
 */
LDAR_MUST_USE enum ldar_status suite_plan_merge(char *const *parts, size_t count, const char *folder,
                                                struct ldar_error *error);

void suite_plan_free(struct suite_plan *plan);

#endif
