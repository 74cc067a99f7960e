/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PUBLISHED_H
#define LDAR_TOOLS_PUBLISHED_H

#include "metrics.h"

#include <ldar/status.h>

/*
 * What others published for the tasks of a suite: models/published.json, which
 * ships with the program (docs/formats.md). Numbers are fractions, not percent.
 */
typedef struct published published;

enum { PUBLISHED_MODELS_MAX = 7 };

struct published_result {
    double value;       /* NaN: nothing was published */
    double half;        /* value +- half is its 95 % interval; NaN: none was published */
    const char *source; /* for a person; NULL: nothing was published */
};

struct published_task {
    const char *name;                                      /* as its folder below that of the suite */
    enum metric metric;                                    /* that is compared */
    size_t test;                                           /* examples of its test set; 0: not known */
    double rate;                                           /* the published learning rate of LDARNet; 0: none */
    struct published_result results[PUBLISHED_MODELS_MAX]; /* of the suite's models */
};

struct published_suite {
    const char *name, *title;
    size_t model_count;
    const char *models[PUBLISHED_MODELS_MAX]; /* in the order in which the file names them first */
    size_t task_count;
    struct published_task *tasks;
};

/* Anything that the file's format does not allow is an error that names its place. On failure *published is NULL. */
LDAR_MUST_USE enum ldar_status published_read(const char *path, published **published, struct ldar_error *error);

/* NULL: there is none of that name. */
const struct published_suite *published_suite(const published *published, const char *name);

/* The task of that name, or the only one whose last part it is: "prom_300_tata" is "prom/prom_300_tata". NULL: none. */
const struct published_task *published_task(const struct published_suite *suite, const char *name);

/* Does nothing for NULL. */
void published_free(published *published);

#endif
