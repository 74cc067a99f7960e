/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/train.h>

#include <math.h>

static const double final_rate = 0.05;

/* The last `decay` steps, t = 1 .. decay: s makes the last one end at final_rate. */
static double falling(uint64_t t, uint64_t decay)
{
    if (t == decay)
        return final_rate;
    const double s = (1 - final_rate) / (1 - 1 / sqrt((double)decay));
    return 1 - s * (1 - 1 / sqrt((double)t));
}

double ldar_schedule(uint64_t step, uint64_t steps, uint64_t warmup, uint64_t decay)
{
    const uint64_t left = step < steps ? steps - step : 1;
    const double risen = step < warmup ? (double)(step + 1) / (double)warmup : 1;
    const double fallen = left <= decay ? falling(decay - left + 1, decay) : 1;
    /* Where a short run's warm-up reaches into its decay, the lower of the two. */
    return risen < fallen ? risen : fallen;
}
