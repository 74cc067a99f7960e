/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_PERF_LIMITS_H
#define LDAR_PERF_LIMITS_H

#include "simd/kernels.h"

/*
 * What bounds the time of a kernel from below, measured on the core it runs on: its roofline.
 *
 * A kernel's work is counted from its formula, not from its code, so that a wasteful kernel does not raise its own
 * limit. Counted is what no core can do elsewhere: multiplications, alone or with an addition, which go through the
 * multiply units; divisions; and the bytes that must come and go once, whatever is read again from nearer caches.
 * Additions, comparisons and conversions have units of their own on some machines and share the multiply units on
 * others; leaving them out keeps the limit true on all of them.
 */
struct perf_work {
    /* Lanes, not vectors. A product is a multiply-add of the table's elements, as fma_peak does them. */
    double products, multiply_adds, multiplications, divisions;
    double read, written; /* different bytes of one pass over the data */
    double passes;        /* 0 counts as 1 */
};

/* Caches, nearest first, and memory; the size is 0 for memory, and where the system does not tell. */
enum { PERF_LEVELS = 4 };

struct perf_level {
    const char *name;
    size_t size;
    double read; /* GB/s of one core over a range that lies there */
};

struct perf_machine {
    char cpu[128]; /* what the processor calls itself; empty where the system does not tell */
    struct perf_level level[PERF_LEVELS];
};

/* Billions per second on one core. */
struct perf_rates {
    double products, multiply_adds, multiplications, divisions;
};

struct perf_limit {
    double seconds;    /* that the work takes at least */
    const char *bound; /* "multiply", "divide" or the name of the level that the bytes lie in */
};

/* Zeroed memory, on huge pages where the system gives them; without memory the program ends. */
void *perf_allocate(size_t bytes);

/* Measures the levels, with the kernels of the widest instruction set; takes a fifth of a second. */
void perf_machine_open(struct perf_machine *machine, const struct ldar_kernels *best);
void perf_machine_close(void);

struct perf_rates perf_measure_rates(const struct ldar_kernels *kernels, double seconds);

/*
 * The limit of the work with these kernels, measured now. Bytes are limited by a loop that does nothing but read and
 * write as many, on the widest vectors of this machine: a cache or a memory is no slower for narrow instruction sets.
 */
struct perf_limit perf_measure_limit(const struct perf_machine *machine, const struct ldar_kernels *kernels,
                                     const struct perf_work *work, double seconds);

#endif
