/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

/* Shapes of the published 110m model: its encoder's scan and attention, and its backbone's scan. */
enum { HEAD = 64, STATE = 128, ATTENTION_HEADS = 16, ATTENTION_WIDTH = 32, WINDOW = 1023, NORM_WIDTH = 512 };

/* A timed sample is as many calls as last this long, in seconds. */
static const double sample_seconds = 0.1;

/* What is timed: `call` does `units` of work that take `flops` FLOP or move `bytes` bytes, whichever is not 0. */
struct subject {
    const char *kernel, *unit;
    double units, flops, bytes;
    size_t length, heads;
    enum ldar_isa isa;
    const char *instructions;
    enum ldar_status (*call)(const struct subject *subject, struct ldar_error *error);
    const void *arguments;
};

static enum ldar_status time_calls(const struct subject *subject, double *seconds, struct ldar_error *error)
{
    double start = seconds_now(), elapsed;
    size_t calls = 0;
    do {
        enum ldar_status status = subject->call(subject, error);
        if (status != LDAR_OK)
            return status;
        elapsed = seconds_now() - start;
        calls++;
    } while (elapsed < sample_seconds);
    *seconds = elapsed / (double)calls;
    return LDAR_OK;
}

/* GB/s, read and written, of copying `bytes` / 2 bytes. */
static enum ldar_status measure_copy(double bytes, double *rate, struct ldar_error *error)
{
    size_t half = (size_t)bytes / 2, calls = 0;
    char *from = malloc(half), *to = malloc(half);
    enum ldar_status status = LDAR_OK;
    if (from && to) {
        memset(from, 1, half);
        memset(to, 2, half);
        double start = seconds_now(), elapsed;
        do {
            memcpy(calls % 2 ? from : to, calls % 2 ? to : from, half);
            elapsed = seconds_now() - start;
            calls++;
        } while (elapsed < BENCH_PEAK_SECONDS);
        *rate = 2e-9 * (double)half * (double)calls / elapsed;
    } else {
        status = fail(error, LDAR_ERROR_MEMORY, "no memory for %zu bytes", half);
    }
    free(from);
    free(to);
    return status;
}

static enum ldar_status measure_limit(const struct subject *subject, double *rate, struct ldar_error *error)
{
    if (subject->flops > 0)
        return ldar_measure_peak(subject->isa, LDAR_F32, 1, BENCH_PEAK_SECONDS, rate, error);
    return measure_copy(subject->bytes, rate, error);
}

static void report_subject(struct report *report, const struct subject *subject, size_t repeats, double *times,
                           double *fractions)
{
    double seconds = median(times, repeats), fraction = median(fractions, repeats);
    double rate = (subject->flops + subject->bytes) * 1e-9 / seconds, scale = 1e9 / subject->units;
    report_text(report, "what", "kernels");
    report_text(report, "kernel", subject->kernel);
    report_text(report, "dtype", ldar_dtype_name(LDAR_F32));
    report_text(report, "isa", subject->instructions);
    report_text(report, "device", "cpu");
    report_count(report, "threads", 1);
    report_count(report, "length", subject->length);
    report_count(report, "heads", subject->heads);
    report_count(report, "repeats", repeats);
    report_text(report, "unit", subject->unit);
    report_value(report, "ns_per_unit", seconds * scale);
    report_value(report, "ns_per_unit_min", times[0] * scale);
    report_value(report, "ns_per_unit_max", times[repeats - 1] * scale);
    report_text(report, "rate_unit", subject->flops > 0 ? "GFLOP/s" : "GB/s");
    report_value(report, "rate", rate);
    report_value(report, "peak", rate / fraction);
    report_value(report, "fraction", fraction);
    report_row(report);
}

static enum ldar_status bench_subject(const struct subject *subject, size_t repeats, struct report *report,
                                      struct ldar_error *error)
{
    double *times = malloc(2 * repeats * sizeof *times), *fractions = times + repeats, before, after, warm;
    if (!times)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    enum ldar_status status = time_calls(subject, &warm, error);
    for (size_t i = 0; i < repeats && status == LDAR_OK; i++) {
        status = measure_limit(subject, &before, error);
        if (status == LDAR_OK)
            status = time_calls(subject, &times[i], error);
        if (status == LDAR_OK)
            status = measure_limit(subject, &after, error);
        if (status == LDAR_OK)
            fractions[i] = (subject->flops + subject->bytes) * 1e-9 / times[i] / ((before + after) / 2);
    }
    if (status == LDAR_OK)
        report_subject(report, subject, repeats, times, fractions);
    free(times);
    return status;
}

/* ---- scan ---- */

static enum ldar_status call_scan(const struct subject *subject, struct ldar_error *error)
{
    return ldar_ssd_scan(subject->isa, subject->arguments, error);
}

/*
 * FLOP per token and head of the chunked scan with chunks of Q = 64 tokens: state and output N P multiply-adds each,
 * within the chunk (Q + 1) / 2 P, and C B^T (Q + 1) / 2 N once for all heads.
 */
static double scan_flops(double heads)
{
    const double pairs = (64 + 1) / 2.0;
    return 2 * (2.0 * STATE * HEAD + pairs * HEAD + pairs * STATE / heads);
}

static enum ldar_status bench_scans(const struct ldar_ssd *ssd, enum ldar_isa isa, size_t repeats,
                                    struct report *report, struct ldar_error *error)
{
    struct ldar_ssd reversed = *ssd;
    reversed.reverse = 1;
    double units = (double)ssd->length * (double)ssd->heads;
    struct subject subject = {.unit = "token and head",
                              .units = units,
                              .flops = units * scan_flops((double)ssd->heads),
                              .length = ssd->length,
                              .heads = ssd->heads,
                              .isa = isa,
                              .instructions = ldar_isa_name(isa),
                              .call = call_scan};
    subject.kernel = "ssd_scan left to right";
    subject.arguments = ssd;
    enum ldar_status status = bench_subject(&subject, repeats, report, error);
    subject.kernel = "ssd_scan right to left";
    subject.arguments = &reversed;
    if (status == LDAR_OK)
        status = bench_subject(&subject, repeats, report, error);
    return status;
}

/* One allocation of `floats` random numbers of -1..1, which the caller frees. */
static float *random_floats(size_t floats, uint64_t *seed)
{
    float *numbers = malloc(floats * sizeof *numbers);
    if (numbers)
        fill_random(numbers, floats, -1, 1, seed);
    return numbers;
}

static enum ldar_status bench_scan(size_t length, size_t heads, enum ldar_isa isa, const struct bench *bench,
                                   struct report *report, struct ldar_error *error)
{
    uint64_t seed = bench->common.seed;
    size_t wide = length * heads * HEAD, narrow = length * heads, bc = length * STATE;
    float *arena = random_floats(2 * wide + narrow + 2 * bc + 2 * heads, &seed);
    if (!arena)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for a scan of %zu tokens", length);
    float *x = arena + wide, *dt = x + wide, *b = dt + narrow, *c = b + bc, *a = c + bc, *d = a + heads;
    fill_random(dt, narrow, 0.001f, 0.1f, &seed);
    fill_random(a, heads, -16, -1, &seed);
    struct ldar_ssd ssd = {.y = arena, .x = x, .dt = dt, .a = a, .b = b, .c = c, .d = d};
    ssd.length = length;
    ssd.heads = heads;
    ssd.state = STATE;
    enum ldar_status status = bench_scans(&ssd, isa, (size_t)bench->repeats, report, error);
    free(arena);
    return status;
}

/* ---- attention ---- */

static enum ldar_status call_attention(const struct subject *subject, struct ldar_error *error)
{
    return ldar_attend(subject->isa, subject->arguments, error);
}

/* Pairs of a query and a key that it sees. */
static double seen_pairs(size_t length)
{
    double n = (double)length, w = length - 1 < WINDOW ? n - 1 : WINDOW;
    return n * (2 * w + 1) - w * (w + 1);
}

static enum ldar_status bench_attention(size_t length, enum ldar_isa isa, const struct bench *bench,
                                        struct report *report, struct ldar_error *error)
{
    uint64_t seed = bench->common.seed;
    size_t floats = length * ATTENTION_HEADS * ATTENTION_WIDTH;
    float *arena = random_floats(4 * floats, &seed);
    if (!arena)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for attention of %zu tokens", length);
    struct ldar_window_attention attention = {.out = arena,
                                              .q = arena + floats,
                                              .k = arena + 2 * floats,
                                              .v = arena + 3 * floats,
                                              .length = length,
                                              .heads = ATTENTION_HEADS,
                                              .width = ATTENTION_WIDTH,
                                              .rotary = ATTENTION_WIDTH,
                                              .window = WINDOW};
    struct subject subject = {.kernel = "attention",
                              .unit = "token and head",
                              .units = (double)length * ATTENTION_HEADS,
                              .flops = 4.0 * ATTENTION_WIDTH * ATTENTION_HEADS * seen_pairs(length),
                              .length = length,
                              .heads = ATTENTION_HEADS,
                              .isa = isa,
                              .instructions = ldar_isa_name(isa),
                              .call = call_attention,
                              .arguments = &attention};
    enum ldar_status status = bench_subject(&subject, (size_t)bench->repeats, report, error);
    free(arena);
    return status;
}

/* ---- norm ---- */

struct norm {
    float *out;
    const float *x, *weight;
    size_t rows;
};

static enum ldar_status call_norm(const struct subject *subject, struct ldar_error *error)
{
    const struct norm *norm = subject->arguments;
    return ldar_rms_norm(subject->isa, norm->out, norm->x, norm->weight, norm->rows, NORM_WIDTH, error);
}

static enum ldar_status bench_norm(size_t rows, enum ldar_isa isa, const struct bench *bench, struct report *report,
                                   struct ldar_error *error)
{
    uint64_t seed = bench->common.seed;
    size_t floats = rows * NORM_WIDTH;
    float *arena = random_floats(2 * floats + NORM_WIDTH, &seed);
    if (!arena)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for %zu rows", rows);
    struct norm norm = {arena, arena + floats, arena + 2 * floats, rows};
    struct subject subject = {.kernel = "rms_norm",
                              .unit = "row of 512",
                              .units = (double)rows,
                              .bytes = 2.0 * (double)floats * sizeof(float),
                              .length = rows,
                              .heads = 1,
                              .isa = isa,
                              .instructions = ldar_isa_name(isa),
                              .call = call_norm,
                              .arguments = &norm};
    enum ldar_status status = bench_subject(&subject, (size_t)bench->repeats, report, error);
    free(arena);
    return status;
}

enum ldar_status bench_kernels(const struct bench *bench, struct report *report, struct ldar_error *error)
{
    static const size_t scan_heads[] = {16, 24}; /* of the 110m's encoder and backbone */
    enum ldar_isa isa;
    enum ldar_status status = ldar_isa_choose(LDAR_ISA_AUTO, &isa, error);
    for (size_t i = 0; i < bench->lengths.count && status == LDAR_OK; i++) {
        size_t length = (size_t)bench->lengths.item[i];
        for (size_t h = 0; h < 2 && status == LDAR_OK; h++)
            status = bench_scan(length, scan_heads[h], isa, bench, report, error);
        if (status == LDAR_OK)
            status = bench_attention(length, isa, bench, report, error);
        if (status == LDAR_OK)
            status = bench_norm(length, isa, bench, report, error);
    }
    return status;
}
