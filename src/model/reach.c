/* SPDX-License-Identifier: Apache-2.0 */
#include "model/reach.h"

#include <stdint.h>

/* Goes back into a stack by at most `blocks` layers; returns how many are left for the stacks before it. */
static size_t enter(size_t *first, const struct ldar_stack *stack, size_t blocks)
{
    if (blocks == 0) {
        return 0;
    }
    *first = stack->layers > blocks ? stack->layers - blocks : 0;
    return blocks - (stack->layers - *first);
}

struct ldar_reach ldar_reach_make(const struct ldar_parameters *parameters, size_t last)
{
    const size_t stages = parameters->config.stages;
    struct ldar_reach reach = {.embedding = last == 0};
    size_t left = last ? last : SIZE_MAX;
    for (size_t s = 0; s < LDAR_MAX_STAGES; s++) {
        reach.first[s][LDAR_ENCODER] = reach.first[s][LDAR_DECODER] = SIZE_MAX;
    }
    for (size_t s = 0; s + 1 < stages; s++) {
        left = enter(&reach.first[s][LDAR_DECODER], &parameters->stage[s].decoder, left);
        reach.inside[s] = left > 0;
    }
    for (size_t s = stages; s-- > 0;) {
        left = enter(&reach.first[s][LDAR_ENCODER], &parameters->stage[s].encoder, left);
    }
    return reach;
}

int ldar_reach_holds(const struct ldar_reach *reach, const struct ldar_place *place)
{
    return place->stacked && reach->first[place->stage][place->part] < SIZE_MAX
           && place->layer >= reach->first[place->stage][place->part];
}
