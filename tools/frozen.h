/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_FROZEN_H
#define LDAR_TOOLS_FROZEN_H

#include "lesson.h"

/*
 * How often the objective is computed when no strength is left out, about: 1,818 to 1,944 times on four tasks of GUE,
 * with a head over the mean.
 */
enum { FROZEN_EVALUATIONS = 1900 };

/*
 * A head over a model that stays as it is: logistic.h for several strengths of the penalty, of which the one that
 * validates best is kept. Leaves RUN/model.safetensors, and in RUN/log.jsonl a line for each strength.
 */
LDAR_MUST_USE enum ldar_status frozen_train(struct lesson *lesson, struct ldar_error *error);

#endif
