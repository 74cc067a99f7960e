/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_BENCH_H
#define LDAR_TOOLS_BENCH_H

#include "session.h"

/* The settings of bench. */
struct bench {
    struct common common; /* threads and dtype are lists here */
    int what, format, preset;
    struct counts threads, dtypes, lengths, batches, ratios;
    uint64_t repeats;
};

enum bench_format { BENCH_MD, BENCH_JSON };

/* ---- reports: an array of JSON objects, or a Markdown table, on the standard output ---- */

enum { BENCH_CELLS = 32 };

struct report {
    enum bench_format format;
    size_t rows, cells;
    struct cell {
        const char *name;
        char text[96];
        int quoted;
    } cell[BENCH_CELLS];
};

/* Each cell of a row, then report_row. */
void report_text(struct report *report, const char *name, const char *text);
void report_count(struct report *report, const char *name, uint64_t value);
void report_value(struct report *report, const char *name, double value);
void report_row(struct report *report);
void report_end(struct report *report);

/* ---- samples ---- */

/* `count` is at least 1; the samples are sorted in place. */
double median(double *samples, size_t count);

/* Fills n numbers of low..high from a generator with state *seed (SplitMix64). */
uint64_t next_random(uint64_t *seed);
void fill_random(float *out, size_t n, float low, float high, uint64_t *seed);

/* A hash of bytes that any change of one 8-byte word changes. */
uint64_t checksum(const void *data, size_t bytes);

/* How long one measurement of the machine's peak lasts, in seconds. */
#define BENCH_PEAK_SECONDS 0.1

/* Measures the kernels of ldar/ops.h, one thread each. */
LDAR_MUST_USE enum ldar_status bench_kernels(const struct bench *bench, struct report *report,
                                             struct ldar_error *error);

#endif
