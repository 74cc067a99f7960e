/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_EVALUATE_H
#define LDAR_TOOLS_EVALUATE_H

#include "lesson.h"

/* The two things that evaluate does: guessing what is masked, and a suite of classification tasks. */
struct evaluate {
    struct lesson_settings lesson; /* of --mlm its input: -r, -R, --window */
    /* --mlm */
    const char *mlm, *windows;
    const char *boundaries;
    double mask;
    int mask_all;
    int part;
    /* --suite */
    int suite; /* index into SUITE_NAMES */
    const char *data;
    struct texts tasks;
    uint64_t folds; /* 0: as published */
    int keep_models;
};

enum evaluate_part { EVALUATE_ALL };

#define SUITE_NAMES "gue|nt|gb"

/* -o is the form of what is printed, "text" or "json". */
enum exit_status evaluate_masked(const struct evaluate *settings);

/* -o is the folder of the run. */
enum exit_status evaluate_suite(const struct evaluate *settings);

#endif
