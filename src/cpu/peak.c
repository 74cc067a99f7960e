/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/context.h>

#include <stdlib.h>
#include <string.h>

#include "isa.h"
#include "parallel.h"
#include "status.h"

enum { PEAK_ROUNDS = 100000, PEAK_VECTOR = 64 };

struct peak_job {
    const struct ldar_kernels *kernels;
    double seconds;
    double *rate; /* (threads) best rate seen, GFLOP/s */
};

static void peak_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct peak_job *job = argument;
    const double flops =
        2.0 * LDAR_PEAK_CHAINS * (double)job->kernels->width * PEAK_ROUNDS * 4 / (double)job->kernels->element;
    float sink[PEAK_VECTOR];
    (void)worker;
    for (double start = ldar_seconds(), end = start; end - start < job->seconds;) {
        double before = ldar_seconds();
        job->kernels->fma_peak(sink, PEAK_ROUNDS);
        end = ldar_seconds();
        double rate = 1e-9 * flops / (end - before);
        if (rate > job->rate[task])
            job->rate[task] = rate;
    }
}

enum ldar_status ldar_measure_peak(enum ldar_isa isa, enum ldar_dtype dtype, int threads, double seconds,
                                   double *gflops, struct ldar_error *error)
{
    enum ldar_isa chosen;
    if (threads < 1 || threads > 4096 || !gflops || !(seconds >= 0) || seconds > 3600)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the peak is measured on 1 to 4096 threads for 0 to 3600 seconds");
    enum ldar_status status = ldar_isa_choose(isa, &chosen, error);
    if (status != LDAR_OK)
        return status;
    if (!ldar_isa_kernels(chosen, dtype))
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED, "the instruction set %s multiplies no %s",
                         ldar_isa_name(chosen), ldar_dtype_name(dtype));
    struct peak_job job = {ldar_isa_kernels(chosen, dtype), seconds, calloc((size_t)threads, sizeof *job.rate)};
    struct ldar_team team = {threads, job.kernels, calloc((size_t)threads, sizeof *team.worker)};
    if (job.rate && team.worker) {
        ldar_parallel(&team, (size_t)threads, peak_task, &job);
        *gflops = 0;
        for (int i = 0; i < threads; i++)
            *gflops += job.rate[i];
    } else {
        status = ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for %d threads", threads);
    }
    free(job.rate);
    free(team.worker);
    return status;
}
