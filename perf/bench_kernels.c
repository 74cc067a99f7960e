/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_kernels [ISA...]: every kernel of kernels.def on the shapes of the 110m model, one thread, on each instruction
 * set that runs here or on those named. A line per kernel: time per unit of work, rate, and the fraction of the
 * multiply-add peak that was measured beside it (median of 5).
 */
#include <ldar/context.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/isa.h"
#include "recurrence.h"

enum { REPEATS = 5, LENGTH = 1024, WIDTH = 512, INNER = 1024, STATE = 128, HEADS = 8, CHANNELS = INNER + 2 * STATE };
enum { PROJECTED = 2 * INNER + 2 * STATE + INNER / LDAR_HEAD };

static const double sample_seconds = 0.02;

/* What one call does: `units` of work named `unit`, `flops` FLOP. */
struct work {
    const char *unit;
    double units, flops;
};

/* Random numbers within +-1 on cache lines; all arrays of a run come from here and live until its end. */
static float *array(size_t count)
{
    float *a = aligned_alloc(64, (count * sizeof *a + 63) / 64 * 64);
    if (!a) {
        fprintf(stderr, "bench_kernels: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < count; i++)
        a[i] = (float)rand() / (float)(RAND_MAX / 2) - 1.0f;
    return a;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *in, *out, *other, *weight, *scratch, *packed;
static uint8_t *ids;
static uint32_t *rows;

#define BENCH(name) static struct work bench_##name(const struct ldar_kernels *k)

BENCH(rms_norm)
{
    k->rms_norm(out, in, weight, LENGTH, WIDTH, 1e-5f, WIDTH + 16, WIDTH);
    return (struct work){"token", LENGTH, 4.0 * LENGTH * WIDTH};
}

BENCH(gated_norm)
{
    k->gated_norm(&(struct ldar_gated_norm_args){.out = out,
                                                 .z = in,
                                                 .y = {other, other + 16},
                                                 .weight = {weight, weight},
                                                 .eps = 1e-5f,
                                                 .rows = LENGTH,
                                                 .width = INNER,
                                                 .out_stride = INNER + 16,
                                                 .z_stride = PROJECTED,
                                                 .y_stride = INNER + 16,
                                                 .scratch = scratch});
    return (struct work){"token", LENGTH, 12.0 * LENGTH * INNER};
}

BENCH(conv1d_silu)
{
    k->conv1d_silu(&(struct ldar_conv1d_args){.out = out,
                                              .x = in,
                                              .weight = weight,
                                              .bias = weight,
                                              .rows = LENGTH,
                                              .channels = CHANNELS,
                                              .out_stride = CHANNELS,
                                              .x_stride = PROJECTED,
                                              .weight_stride = CHANNELS});
    return (struct work){"token", LENGTH, 8.0 * LENGTH * CHANNELS};
}

/* Eight heads of an encoder layer without their convolution. */
static struct ldar_ssd_args scan_args(void)
{
    static const float rate[HEADS] = {-1, -2, -4, -6, -8, -10, -12, -16}, skip[HEADS] = {1, 1, 1, 1, 1, 1, 1, 1};
    static float step[LENGTH * HEADS];
    for (size_t i = 0; i < LENGTH * HEADS && step[0] == 0; i++)
        step[i] = 0.001f + 0.09f * fabsf(in[i]);
    return (struct ldar_ssd_args){.y = out,
                                  .x = in,
                                  .b = other,
                                  .c = other + STATE,
                                  .dt = step,
                                  .a = rate,
                                  .d = skip,
                                  .length = LENGTH,
                                  .heads = HEADS,
                                  .state = STATE,
                                  .y_stride = HEADS * LDAR_HEAD,
                                  .x_stride = PROJECTED,
                                  .bc_stride = PROJECTED,
                                  .dt_stride = HEADS,
                                  .scratch = scratch};
}

BENCH(ssd_scan)
{
    const struct ldar_ssd_args args = scan_args();
    const double q = LDAR_TILE, flops = 4.0 * STATE * LDAR_HEAD + (q + 1) * LDAR_HEAD + STATE * (q + 1) / HEADS;
    k->ssd_scan(&args);
    return (struct work){"token and head", LENGTH * HEADS, LENGTH * HEADS * flops};
}

/* Not a kernel: the scan's peer, token by token. */
BENCH(recurrence)
{
    const struct ldar_ssd_args args = scan_args();
#define ISA(name, NAME)                                                                                                \
    if (LDAR_BUILD_##NAME && k == &ldar_kernels_##name)                                                                \
        perf_recurrence_##name(&args);
#include "simd/isa.def"
#undef ISA
    return (struct work){"token and head", LENGTH * HEADS, 5.0 * LENGTH * HEADS * STATE * LDAR_HEAD};
}

BENCH(attention)
{
    k->attention(&(struct ldar_attention_args){.out = out,
                                               .q = in,
                                               .k = in + WIDTH,
                                               .v = in + 2 * WIDTH,
                                               .cosine = weight,
                                               .sine = other,
                                               .length = LENGTH,
                                               .queries = LENGTH,
                                               .width = 32,
                                               .rotary = 32,
                                               .window = -1,
                                               .stride = 3 * WIDTH,
                                               .out_stride = WIDTH,
                                               .scale = 0.17f,
                                               .scratch = scratch});
    return (struct work){"query", LENGTH, 4.0 * LENGTH * LENGTH * 32};
}

BENCH(gemm_pack)
{
    k->gemm_pack(packed, in, PROJECTED, WIDTH, WIDTH);
    return (struct work){"weight", (double)PROJECTED * WIDTH, 0};
}

BENCH(gemm)
{
    for (size_t row = 0; row < LENGTH; row += LDAR_TILE)
        k->gemm(&(struct ldar_gemm_args){.c = out + row * PROJECTED,
                                         .a = in + row * (WIDTH + 16),
                                         .packed = packed,
                                         .next = packed,
                                         .rows = LDAR_TILE,
                                         .n = PROJECTED,
                                         .k = WIDTH,
                                         .c_stride = PROJECTED,
                                         .a_stride = WIDTH + 16});
    return (struct work){"token", LENGTH, 2.0 * LENGTH * PROJECTED * WIDTH};
}

BENCH(swiglu)
{
    k->swiglu(out, in, in + INNER, LENGTH, INNER, INNER, 2 * INNER);
    return (struct work){"token", LENGTH, 0};
}

BENCH(route)
{
    k->route(out, in, in + WIDTH, LENGTH, WIDTH, 0, 2 * WIDTH);
    return (struct work){"token", LENGTH, 8.0 * LENGTH * WIDTH};
}

BENCH(ema)
{
    k->ema(out, in, weight, LENGTH, LDAR_TILE, 0, WIDTH, WIDTH);
    return (struct work){"row of 64", LENGTH, 5.0 * LENGTH * LDAR_TILE};
}

BENCH(expand)
{
    k->expand(out, in, weight, rows, LENGTH, WIDTH, WIDTH, WIDTH);
    return (struct work){"token", LENGTH, 0};
}

BENCH(embed)
{
    k->embed(out, in, ids, LENGTH, PROJECTED, PROJECTED, PROJECTED);
    return (struct work){"token", LENGTH, 0};
}

BENCH(head)
{
    k->head(out, in, weight, LENGTH, WIDTH, 7, WIDTH);
    return (struct work){"token", LENGTH, 14.0 * LENGTH * WIDTH};
}

#define ELEMENTWISE(name)                                                                                              \
    BENCH(name)                                                                                                        \
    {                                                                                                                  \
        k->name(out, in, LENGTH);                                                                                      \
        return (struct work){"number", LENGTH, 0};                                                                     \
    }
ELEMENTWISE(exp)
ELEMENTWISE(sigmoid)
ELEMENTWISE(silu)
ELEMENTWISE(softplus)

BENCH(fma_peak)
{
    k->fma_peak(out, 1000);
    return (struct work){"round", 1000, 2.0 * LDAR_PEAK_CHAINS * 1000 * (double)k->width};
}

BENCH(float_mode_enter)
{
    uint64_t mode;
    k->float_mode_enter(&mode);
    k->float_mode_leave(mode);
    return (struct work){"pair", 1, 0};
}

BENCH(float_mode_leave)
{
    return bench_float_mode_enter(k);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run(const struct ldar_kernels *k, enum ldar_isa isa, const char *name,
                struct work (*bench)(const struct ldar_kernels *))
{
    double time[REPEATS], fraction[REPEATS];
    struct work work = bench(k);
    for (int i = 0; i < REPEATS; i++) {
        double peak = 0, start = seconds(), end;
        size_t calls = 0;
        do {
            work = bench(k);
            calls++;
            end = seconds();
        } while (end - start < sample_seconds);
        time[i] = (end - start) / (double)calls;
        if (ldar_measure_peak(isa, 1, sample_seconds, &peak, NULL) != LDAR_OK)
            peak = NAN;
        fraction[i] = 1e-9 * work.flops / time[i] / peak;
    }
    qsort(time, REPEATS, sizeof *time, ascending);
    qsort(fraction, REPEATS, sizeof *fraction, ascending);
    double t = time[REPEATS / 2];
    printf("%-8s %-16s %12.3f ns per %-14s", k->name, name, 1e9 * t / work.units, work.unit);
    if (work.flops > 0)
        printf(" %8.1f GFLOP/s %6.3f of peak", 1e-9 * work.flops / t, fraction[REPEATS / 2]);
    printf("\n");
}

static int wanted(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return 1;
    return count == 0;
}

int main(int count, char **names)
{
    const size_t large = (size_t)LENGTH * (PROJECTED + 16);
    srand(1);
    in = array(large), other = array(large), out = array(large), weight = array(8 * CHANNELS * WIDTH);
    packed = array(ldar_gemm_packed(LDAR_TILE, PROJECTED, WIDTH));
    scratch = array(ldar_ssd_scratch(HEADS, STATE) + ldar_attention_scratch(32));
    ids = malloc(LENGTH);
    rows = malloc(LENGTH * sizeof *rows);
    for (size_t i = 0; ids && rows && i < LENGTH; i++) {
        ids[i] = (uint8_t)(i * 7 % LDAR_SYMBOLS);
        rows[i] = (uint32_t)(i / 4);
    }
    for (enum ldar_isa isa = LDAR_ISA_SCALAR; ldar_isa_name(isa); isa++) {
        if (!ldar_isa_runs(isa) || !wanted(ldar_isa_name(isa), names + 1, count - 1))
            continue;
        const struct ldar_kernels *k = ldar_isa_kernels(isa);
        uint64_t mode;
        k->float_mode_enter(&mode);
#define KERNEL(name, bound, arguments) run(k, isa, #name, bench_##name);
#include "simd/kernels.def"
#undef KERNEL
        run(k, isa, "(recurrence)", bench_recurrence);
        k->float_mode_leave(mode);
    }
    free(in), free(other), free(out), free(weight), free(packed), free(scratch), free(ids), free(rows);
    return 0;
}
