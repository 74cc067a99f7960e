/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PIPELINE_FORECAST_H
#define LDAR_TOOLS_PIPELINE_FORECAST_H

#include "pipeline_slot.h"
#include "survey.h"

/* What a run has open before its first batch. */
struct rehearsal {
    const struct input *input;
    const struct session *session;
    struct pipeline *pipeline;
    const struct consumer *consumer;
    const struct window_plan *plan;
    window_cutter *cutter; /* of which nothing is cut yet */
    struct slot *slot;
    const struct window_shape *shape;
    double *sum; /* (shape->parts, shape->sum_width) */
    struct survey survey;
};

/*
 * Prints what the run would take (forecast.h). A few batches from all over the input are put through what the run would
 * put them through; some of their rows go to an output in a temporary folder, whose size tells that of the whole.
 */
LDAR_MUST_USE enum ldar_status pipeline_forecast(struct rehearsal *rehearsal, struct ldar_error *error);

#endif
