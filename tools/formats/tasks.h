/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_TASKS_H
#define FORMATS_TASKS_H

#include <ldar/status.h>

#include <stddef.h>

/*
 * The tasks of a benchmark suite as folders: a task is a folder that holds the
 * tables `train` and `test`, and perhaps `dev` (or `valid`, `validation`): a
 * file of that name with any extension, as train.csv.gz, or a folder, as a table
 * of table.h may be. Its name is its path below the suite's folder, as "tf/0".
 */
struct task {
    char *name;
    char *train, *valid, *test; /* paths; valid NULL: there is none */
};

struct tasks {
    struct task *task; /* (count) by name, numbers in names by their value */
    size_t count;
};

/*
 * All tasks below `folder`, at most TASKS_DEPTH folders deep. Errors: a folder that cannot be read, two tables for one
 * part of a task, no task at all. On failure *tasks is zeroed.
 */
enum { TASKS_DEPTH = 8 };
LDAR_MUST_USE enum ldar_status tasks_find(const char *folder, struct tasks *tasks, struct ldar_error *error);

/*
 * Keeps those of the tasks that `names` (count) name: a task's name, or that of a folder that tasks lie in. Each must
 * name one at least; an error lists what there is.
 */
LDAR_MUST_USE enum ldar_status tasks_choose(struct tasks *tasks, const char *folder, const char *const *names,
                                            size_t count, struct ldar_error *error);

/* Frees what it owns and zeroes it. */
void tasks_free(struct tasks *tasks);

#endif
