/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* sched_getaffinity */

#include "parallel.h"

#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__)
#define LDAR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LDAR_TSAN 1
#endif
#endif

/*
 * ThreadSanitizer cannot see the synchronisation inside an OpenMP runtime that
 * was built without it; these two calls tell it where a team forks and joins.
 */
#ifdef LDAR_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#else
#define __tsan_acquire(address) ((void)(address))
#define __tsan_release(address) ((void)(address))
#endif

double ldar_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void ldar_parallel(struct ldar_team *team, size_t tasks, ldar_task run, const void *job)
{
    atomic_size_t next = 0;
    char fork = 0, join = 0; /* addresses for ThreadSanitizer */
    const double start = ldar_seconds();
    if (tasks == 0)
        return;
    __tsan_release(&fork);
    /* One task wakes nobody. Other sizes than these two would make the OpenMP runtime end threads and start others. */
#pragma omp parallel num_threads(tasks == 1 ? 1 : team->threads)
    {
        __tsan_acquire(&fork);
        omp_set_num_threads(1); /* a library that a task calls stays on its thread, also in a team of one */
        struct ldar_worker *worker = &team->worker[omp_get_thread_num()];
        uint64_t mode;
        team->kernels->float_mode_enter(&mode);
        worker->last = ldar_seconds();
        worker->waiting += worker->last - start;
        for (size_t task; (task = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed)) < tasks;)
            run(job, task, worker);
        ldar_lap(worker, LDAR_CLOCK_OTHER);
        team->kernels->float_mode_leave(mode);
        __tsan_release(&join);
    }
    __tsan_acquire(&join);
    const double end = ldar_seconds();
    for (int i = 0; i < team->threads; i++)
        team->worker[i].waiting += end - (tasks == 1 && i ? start : team->worker[i].last);
}

void ldar_team_pin(const struct ldar_team *team)
{
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) != team->threads || team->threads == 1)
        return;
#pragma omp parallel num_threads(team->threads)
    {
        cpu_set_t one;
        int cpu = 0;
        CPU_ZERO(&one);
        for (int nth = omp_get_thread_num(); nth > 0 || !CPU_ISSET(cpu, &all); cpu++)
            nth -= CPU_ISSET(cpu, &all);
        CPU_SET(cpu, &one);
        if (omp_get_thread_num() > 0)
            sched_setaffinity(0, sizeof one, &one); /* a hint: where it fails the thread roams as before */
    }
}
