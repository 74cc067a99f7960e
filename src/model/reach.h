/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_REACH_H
#define LDAR_MODEL_REACH_H

#include "backend.h"
#include "model/table.h"

/*
 * The whole network (last 0), or as far as the last `last` blocks of the path to the last hidden states go: the
 * outermost decoder from its end, the inner network likewise, the outermost encoder.
 */
struct ldar_reach ldar_reach_make(const struct ldar_parameters *parameters, size_t last);

/* 1 for what stands in the layers that are reached, and for the norms behind them. */
int ldar_reach_holds(const struct ldar_reach *reach, const struct ldar_place *place);

#endif
