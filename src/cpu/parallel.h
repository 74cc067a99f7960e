/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CPU_PARALLEL_H
#define LDAR_CPU_PARALLEL_H

#include <stddef.h>

#include "simd/kernels.h"

/*
 * How work is cut and shared. A job is a number of independent tasks, fixed by
 * the problem and never by the thread count; who runs a task, and when, changes
 * no bit of what it computes.
 */

enum ldar_clock { LDAR_CLOCK_OTHER, LDAR_CLOCK_GEMM, LDAR_CLOCK_SCAN, LDAR_CLOCK_ATTENTION, LDAR_CLOCKS };

/* What one thread has for itself. All scratch is 64-byte aligned and as large as the device's layers need. */
struct ldar_worker {
    int index;
    float *tile;    /* (T, widest input of a GEMM): its A operand, elements or floats */
    float *hidden;  /* (T, SwiGLU block) elements: what lies between fc1 and fc2 */
    float *product; /* (T, widest output of a GEMM), for GEMM providers that cannot finish in place */
    float *wide;    /* (T, widest of D, E and the SwiGLU block): the gradient of a GEMM's input; in training */
    float *panels;  /* (T, 2 SwiGLU blocks) elements: up and gate once more; in training */
    float *kernel;  /* scratch of the kernels */
    double seconds[LDAR_CLOCKS], waiting;
    double last;    /* when the current lap began */
    char apart[64]; /* keeps two workers off one cache line */
};

struct ldar_team {
    int threads;
    const struct ldar_kernels *kernels;
    struct ldar_worker *worker; /* (threads) */
};

typedef void (*ldar_task)(const void *job, size_t task, struct ldar_worker *worker);

/* Runs task 0 .. tasks - 1 of `job` on the team, denormals flushed, and returns when all are done. */
void ldar_parallel(struct ldar_team *team, size_t tasks, ldar_task run, const void *job);

/*
 * Binds each thread of a team that has all CPUs of this process to one of them, but for the caller's thread, which is
 * not ours: it finds the CPU that is left.
 */
void ldar_team_pin(const struct ldar_team *team);

/* Seconds of a steady clock. */
double ldar_seconds(void);

/* Books the time since the worker's last lap. */
static inline void ldar_lap(struct ldar_worker *worker, enum ldar_clock clock)
{
    double now = ldar_seconds();
    worker->seconds[clock] += now - worker->last;
    worker->last = now;
}

#endif
