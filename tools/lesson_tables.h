/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_LESSON_TABLES_H
#define LDAR_TOOLS_LESSON_TABLES_H

#include "lesson.h"

/* The tables of a lesson, or of all folds of a task. Zeroed is empty. */
struct lesson_tables {
    const char *path; /* of the training table; borrowed */
    struct table train, valid, test;
    float *train_means, *valid_means, *test_means; /* (count, D) of a frozen model, once they are embedded */
    size_t *train_rows, *valid_rows, *test_rows;   /* of the last lesson that was cut */
};

/*
 * Reads them; `valid` and `test` may be NULL, and have the classes of `train`. Sequences longer than the settings allow
 * are an error. On failure nothing is to be freed.
 */
LDAR_MUST_USE enum ldar_status lesson_tables_read(struct lesson_tables *tables, const struct lesson_settings *settings,
                                                  enum table_kind kind, reference *genome, const char *train,
                                                  const char *valid, const char *test, struct ldar_error *error);

/* Embeds all of them with a model that stays as it is. */
LDAR_MUST_USE enum ldar_status lesson_tables_embed(struct lesson_tables *tables, const struct lesson_settings *settings,
                                                   const ldar_model *model, struct ldar_error *error);

/* Nucleotides of all of them. */
size_t lesson_tables_nucleotides(const struct lesson_tables *tables);

/*
 * Gives the lesson its classes, or its value, and its three parts. Where no table validates, fold `fold` of the
 * published ones of the training table does. What the lesson borrows is valid until the next cut.
 */
LDAR_MUST_USE enum ldar_status lesson_tables_cut(struct lesson_tables *tables, size_t fold, struct lesson *lesson,
                                                 struct ldar_error *error);

/* Frees what it owns and zeroes it. */
void lesson_tables_free(struct lesson_tables *tables);

#endif
