/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_kernels [--json] [--kernel NAME] [ISA...]: every kernel of kernels.def on the shapes of the 110m model, one
 * thread, on each instruction set that runs here or on those named. For each its time per unit of work and the fraction
 * of its own limit (limits.h), which is measured beside it; medians of 5. perf/roofline.py draws what --json prints.
 */
#include <ldar/cpu.h>
#include <ldar/model.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/isa.h"
#include "limits.h"
#include "recurrence.h"

enum { REPEATS = 5, LENGTH = 1024, WIDTH = 512, INNER = 1024, STATE = 128, HEADS = 8, CHANNELS = INNER + 2 * STATE };
enum { PROJECTED = 2 * INNER + 2 * STATE + INNER / LDAR_HEAD, QUERY = 32, CHUNK = 4, PARAMETERS = 1 << 19 };

static const double sample_seconds = 0.02, stretch_seconds = 2e-4, limit_seconds = 0.005;

/* What one call does: `units` of work named `unit`, and what counts of it. */
struct work {
    const char *unit;
    double units;
    struct perf_work counted;
    int unlimited; /* there is nothing to count */
};

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Random numbers: elements, of the table that is measured, and floats. */
static void *in, *other;
static float *numbers, *weight;
static void *out, *gradient, *packed;
static float *scratch, *trained;
static uint8_t *ids;
static uint32_t *rows, *position; /* of LENGTH / CHUNK chunks: of each token, and where each begins */

/* Element i behind p. */
static void *at(const struct ldar_kernels *k, void *p, size_t i)
{
    return (char *)p + i * k->element;
}

/*
 * Multiply-adds and multiplications of one number, from vec_math.h: two steps of the reduction, the polynomial, and
 * 2^n as one multiplication. The last step of exp adds 1 and counts as an addition.
 */
enum { EXP_ADDS = 7, EXP_MULTIPLICATIONS = 3, EXP2_ADDS = 6, EXP2_SHORT_ADDS = 3, EXP2_MULTIPLICATIONS = 1 };
enum { SOFTPLUS_ADDS = EXP_ADDS + 4, SOFTPLUS_MULTIPLICATIONS = EXP_MULTIPLICATIONS + 2 };

#define BENCH(name) static struct work bench_##name(const struct ldar_kernels *k)

BENCH(rms_norm)
{
    const double n = LENGTH * WIDTH, size = (double)k->element;
    k->rms_norm(out, numbers, weight, LENGTH, WIDTH, 1e-5f, WIDTH + 16, WIDTH);
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = n, .multiplications = 2 * n, .read = 4 * n, .written = size * n}};
}

/* x^2 and x w dy are summed; s dy is formed, times x and times w, and what lies along x is taken off. */
BENCH(rms_norm_backward)
{
    const double n = LENGTH * WIDTH;
    k->rms_norm_backward(out, scratch, numbers, numbers + (size_t)LENGTH * WIDTH, weight, LENGTH, WIDTH, 1e-5f, WIDTH,
                         WIDTH, WIDTH);
    return (struct work){
        .unit = "token",
        .units = LENGTH,
        .counted = {.multiply_adds = 4 * n, .multiplications = 3 * n, .read = 3 * 4 * n, .written = 4 * n}};
}

/* One silu; two products with it; their squares; two scales and two weights, one product of which is added. */
BENCH(gated_norm)
{
    const double n = LENGTH * INNER, size = (double)k->element;
    k->gated_norm(&(struct ldar_gated_norm_args){.out = out,
                                                 .z = in,
                                                 .y = {other, at(k, other, (size_t)LENGTH * (INNER + 16))},
                                                 .weight = {weight, weight},
                                                 .eps = 1e-5f,
                                                 .rows = LENGTH,
                                                 .width = INNER,
                                                 .out_stride = INNER + 16,
                                                 .z_stride = PROJECTED,
                                                 .y_stride = {INNER + 16, INNER + 16},
                                                 .scratch = scratch});
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = (EXP_ADDS + 3) * n,
                                     .multiplications = (EXP_MULTIPLICATIONS + 5) * n,
                                     .divisions = n,
                                     .read = 3 * size * n,
                                     .written = size * n}};
}

/*
 * Beside one silu and its slope: v, its square and v w dout; h dout, times v and times w, and what lies along v is
 * taken off; dy, and what the gate and then z get; twice, but for the last. And the forward's result.
 */
BENCH(gated_norm_backward)
{
    const double n = LENGTH * INNER, size = (double)k->element;
    float *const sums = scratch + (size_t)2 * INNER;
    k->gated_norm_backward(
        &(struct ldar_gated_norm_backward_args){.out = out,
                                                .dz = at(k, out, (size_t)LENGTH * (INNER + 16)),
                                                .dy = {gradient, at(k, gradient, (size_t)LENGTH * (INNER + 16))},
                                                .dweight = {sums, sums + INNER},
                                                .dout = numbers,
                                                .z = in,
                                                .y = {other, at(k, other, (size_t)LENGTH * (INNER + 16))},
                                                .weight = {weight, weight},
                                                .eps = 1e-5f,
                                                .rows = LENGTH,
                                                .width = INNER,
                                                .out_stride = INNER + 16,
                                                .dz_stride = INNER + 16,
                                                .dout_stride = INNER + 16,
                                                .z_stride = PROJECTED,
                                                .y_stride = {INNER + 16, INNER + 16},
                                                .scratch = scratch});
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = (EXP_ADDS + 1 + 2 * 5 + 1) * n,
                                     .multiplications = (EXP_MULTIPLICATIONS + 2 + 2 * 5 + 1 + 3) * n,
                                     .divisions = n,
                                     .read = (3 * size + 4) * n,
                                     .written = 4 * size * n}};
}

BENCH(conv1d_silu)
{
    const double n = LENGTH * CHANNELS, size = (double)k->element;
    k->conv1d_silu(&(struct ldar_conv1d_args){.out = out,
                                              .x = in,
                                              .weight = weight,
                                              .bias = weight,
                                              .rows = LENGTH,
                                              .channels = CHANNELS,
                                              .out_stride = CHANNELS,
                                              .x_stride = PROJECTED,
                                              .weight_stride = CHANNELS});
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = (EXP_ADDS + LDAR_CONV_TAPS) * n,
                                     .multiplications = EXP_MULTIPLICATIONS * n,
                                     .divisions = n,
                                     .read = size * n,
                                     .written = 4 * n}};
}

BENCH(conv1d_backward)
{
    const double n = LENGTH * CHANNELS, size = (double)k->element;
    float *const sums = scratch + (size_t)2 * LDAR_CONV_TAPS * CHANNELS;
    k->conv1d_backward(
        &(struct ldar_conv1d_backward_args){.dx = out,
                                            .dweight = {scratch, scratch + (size_t)LDAR_CONV_TAPS * CHANNELS},
                                            .dbias = {sums, sums + CHANNELS},
                                            .dsum = {other, gradient},
                                            .x = in,
                                            .weight = {weight, weight + (size_t)LDAR_CONV_TAPS * CHANNELS},
                                            .parts = 1,
                                            .rows = LENGTH,
                                            .channels = CHANNELS,
                                            .dx_stride = PROJECTED,
                                            .dsum_stride = CHANNELS,
                                            .x_stride = PROJECTED,
                                            .weight_stride = CHANNELS,
                                            .dweight_stride = CHANNELS});
    return (struct work){
        .unit = "token",
        .units = LENGTH,
        .counted = {.multiply_adds = 4 * LDAR_CONV_TAPS * n, .read = 3 * size * n, .written = size * n}};
}

/* Eight heads of an encoder layer without their convolution. */
static struct ldar_ssd_args scan_args(const struct ldar_kernels *k)
{
    static const float rate[HEADS] = {-1, -2, -4, -6, -8, -10, -12, -16}, skip[HEADS] = {1, 1, 1, 1, 1, 1, 1, 1};
    static float step[LENGTH * HEADS];
    for (size_t i = 0; i < LENGTH * HEADS && step[0] == 0; i++)
        step[i] = 0.001f + 0.09f * fabsf(numbers[i]);
    return (struct ldar_ssd_args){.y = out,
                                  .x = in,
                                  .b = other,
                                  .c = at(k, other, STATE),
                                  .dt = step,
                                  .a = rate,
                                  .d = skip,
                                  .length = LENGTH,
                                  .heads = HEADS,
                                  .state = STATE,
                                  .width = LDAR_HEAD,
                                  .y_stride = HEADS * LDAR_HEAD,
                                  .x_stride = PROJECTED,
                                  .bc_stride = PROJECTED,
                                  .dt_stride = HEADS,
                                  .scratch = scratch};
}

/*
 * A token of a head: (Q + 1) / 2 P products within its tile of Q, C B^T shared by the heads, and N P each into and out
 * of the state, which is zero before the first tile and not asked for after the last. Beside them the decays are
 * multiplied into the tile's triangle, into x, y and, once a tile, the state.
 */
BENCH(ssd_scan)
{
    const struct ldar_ssd_args args = scan_args(k);
    const double size = (double)k->element, n = LENGTH * HEADS, q = LDAR_TILE, p = LDAR_HEAD, pairs = (q + 1) / 2;
    const double carried = 1 - q / LENGTH, products = carried * 2 * STATE * p + pairs * p + pairs * STATE / HEADS;
    k->ssd_scan(&args);
    return (struct work){.unit = "token and head",
                         .units = n,
                         .counted = {.products = n * products,
                                     .multiplications = n * (2 * pairs + p + carried * (p + STATE * p / q)),
                                     .read = n * (size * p + 4) + LENGTH * size * 2 * STATE,
                                     .written = n * size * p}};
}

/*
 * The states of 15 of 16 tiles rebuilt, and what is multiplied with the state or its gradient behind each tile but the
 * last, or before each but the first: dH, B dH, U and V. Two products in the triangle for each head, two more and C B^T
 * for all of them together; beside them the triangle's decays, in M, W and the two sums, and dY and dX once each.
 */
BENCH(ssd_backward)
{
    const struct ldar_ssd_args scan = scan_args(k);
    static float states[HEADS * STATE * LDAR_HEAD], ddt[LENGTH * HEADS], sums[2 * HEADS];
    const double size = (double)k->element, n = LENGTH * HEADS, q = LDAR_TILE, p = LDAR_HEAD, pairs = (q + 1) / 2;
    const double carried = 1 - q / LENGTH,
                 products = carried * 5 * STATE * p + 2 * pairs * p + 3 * pairs * STATE / HEADS;
    k->ssd_backward(&(struct ldar_ssd_backward_args){.dx = out,
                                                     .db = at(k, out, (size_t)LENGTH * INNER),
                                                     .dc = at(k, out, (size_t)LENGTH * INNER + STATE),
                                                     .ddt = ddt,
                                                     .da = sums,
                                                     .dd = sums + HEADS,
                                                     .dy = at(k, other, (size_t)LENGTH * PROJECTED / 2),
                                                     .x = scan.x,
                                                     .b = scan.b,
                                                     .c = scan.c,
                                                     .dt = scan.dt,
                                                     .a = scan.a,
                                                     .d = scan.d,
                                                     .states = states,
                                                     .length = LENGTH,
                                                     .heads = HEADS,
                                                     .state = STATE,
                                                     .dbc_stride = 2 * STATE,
                                                     .ddt_stride = HEADS,
                                                     .dy_stride = HEADS * LDAR_HEAD,
                                                     .x_stride = scan.x_stride,
                                                     .bc_stride = scan.bc_stride,
                                                     .dt_stride = scan.dt_stride,
                                                     .states_stride = HEADS * STATE * LDAR_HEAD,
                                                     .scratch = scratch});
    return (struct work){.unit = "token and head",
                         .units = n,
                         .counted = {.products = n * products,
                                     .multiplications = n * (6 * pairs + 3 * p + carried * (p + 2 * STATE * p / q)),
                                     .read = n * (2 * size * p + 8) + LENGTH * size * 2 * STATE,
                                     .written = n * (size * p + 4) + LENGTH * size * 2 * STATE}};
}

/* Not a kernel: the scan's peer, token by token. */
BENCH(recurrence)
{
    const struct ldar_ssd_args args = scan_args(k);
    const double n = LENGTH * HEADS, elements = STATE * LDAR_HEAD;
#define ISA(name, NAME, FLOATS)                                                                                        \
    if (LDAR_BUILD_##NAME && k == &ldar_kernels_##name)                                                                \
        perf_recurrence_##name(&args);
#include "simd/isa.def"
#undef ISA
    return (struct work){.unit = "token and head",
                         .units = n,
                         .counted = {.multiply_adds = 2 * n * elements, .multiplications = n * elements}};
}

/* A pair of query and key: two products of the head's width and one power of two, short where it is rounded anyway. */
BENCH(attention)
{
    const double pairs = (double)LENGTH * LENGTH, n = LENGTH * QUERY, size = (double)k->element;
    k->attention(&(struct ldar_attention_args){.out = out,
                                               .q = in,
                                               .k = at(k, in, WIDTH),
                                               .v = at(k, in, (size_t)2 * WIDTH),
                                               .cosine = weight,
                                               .sine = numbers,
                                               .length = LENGTH,
                                               .queries = LENGTH,
                                               .width = QUERY,
                                               .rotary = QUERY,
                                               .window = -1,
                                               .stride = 3 * WIDTH,
                                               .out_stride = WIDTH,
                                               .scale = 0.17f,
                                               .scratch = scratch});
    return (struct work){.unit = "query",
                         .units = LENGTH,
                         .counted = {.products = 2 * pairs * QUERY,
                                     .multiply_adds = (size < 4 ? EXP2_SHORT_ADDS : EXP2_ADDS) * pairs,
                                     .multiplications = EXP2_MULTIPLICATIONS * pairs,
                                     .read = (3 * size + 4) * n,
                                     .written = size * n}};
}

/* A pair of query and key: five products and one power of two. The scores of random queries are about 0. */
BENCH(attention_backward)
{
    const double pairs = (double)LENGTH * LENGTH, n = LENGTH * QUERY, size = (double)k->element;
    static float log_sum[LENGTH];
    for (size_t i = 0; i < LENGTH; i++)
        log_sum[i] = 10; /* 1024 keys */
    k->attention_backward(&(struct ldar_attention_backward_args){.dq = out,
                                                                 .dk = at(k, out, WIDTH),
                                                                 .dv = at(k, out, (size_t)2 * WIDTH),
                                                                 .dout = other,
                                                                 .q = in,
                                                                 .k = at(k, in, WIDTH),
                                                                 .v = at(k, in, (size_t)2 * WIDTH),
                                                                 .out = at(k, other, WIDTH),
                                                                 .log_sum = log_sum,
                                                                 .cosine = weight,
                                                                 .sine = numbers,
                                                                 .length = LENGTH,
                                                                 .width = QUERY,
                                                                 .rotary = QUERY,
                                                                 .window = -1,
                                                                 .stride = 3 * WIDTH,
                                                                 .out_stride = 2 * WIDTH,
                                                                 .dout_stride = 2 * WIDTH,
                                                                 .gradient_stride = 3 * WIDTH,
                                                                 .scale = 0.17f,
                                                                 .scratch = scratch});
    return (struct work){.unit = "query",
                         .units = LENGTH,
                         .counted = {.products = 5 * pairs * QUERY,
                                     .multiply_adds = (size < 4 ? EXP2_SHORT_ADDS : EXP2_ADDS) * pairs,
                                     .multiplications = (EXP2_MULTIPLICATIONS + 1) * pairs,
                                     .read = (5 * size + 4) * n,
                                     .written = 3 * size * n}};
}

BENCH(gemm_pack)
{
    const double n = (double)PROJECTED * WIDTH;
    k->gemm_pack(packed, numbers, PROJECTED, WIDTH, WIDTH);
    return (struct work){.unit = "weight", .units = n, .counted = {.read = 4 * n, .written = (double)k->element * n}};
}

/* Each tile of tokens reads all weights again. */
BENCH(gemm)
{
    enum { TILES = 4 };
    const double products = (double)LDAR_TILE * PROJECTED * WIDTH, size = (double)k->element;
    for (size_t row = 0; row < TILES * LDAR_TILE; row += LDAR_TILE)
        k->gemm(&(struct ldar_gemm_args){.c = at(k, out, row * PROJECTED),
                                         .a = at(k, in, row * (WIDTH + 16)),
                                         .packed = packed,
                                         .next = packed,
                                         .rows = LDAR_TILE,
                                         .n = PROJECTED,
                                         .k = WIDTH,
                                         .c_stride = PROJECTED,
                                         .a_stride = WIDTH + 16,
                                         .mode = LDAR_GEMM_STORE});
    return (struct work){.unit = "token",
                         .units = TILES * LDAR_TILE,
                         .counted = {.products = TILES * products,
                                     .read = size * WIDTH * (PROJECTED + LDAR_TILE),
                                     .written = size * LDAR_TILE * PROJECTED,
                                     .passes = TILES}};
}

BENCH(gemm_pack_transposed)
{
    const double n = (double)PROJECTED * WIDTH;
    k->gemm_pack_transposed(packed, numbers, PROJECTED, WIDTH, WIDTH);
    return (struct work){.unit = "weight", .units = n, .counted = {.read = 4 * n, .written = (double)k->element * n}};
}

/* As many columns of both operands as one task has. */
BENCH(gemm_gradient)
{
    enum { PART = LDAR_GRADIENT_COLUMNS };
    const double size = (double)k->element, numbers_out = (double)PART * PART;
    k->gemm_gradient(&(struct ldar_gemm_gradient_args){.dw = out,
                                                       .dc = in,
                                                       .a = other,
                                                       .rows = LENGTH,
                                                       .n = PART,
                                                       .k = PART,
                                                       .dw_stride = WIDTH,
                                                       .dc_stride = PROJECTED,
                                                       .a_stride = WIDTH + 16,
                                                       .scratch = scratch});
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.products = LENGTH * numbers_out,
                                     .read = 2 * size * LENGTH * PART,
                                     .written = 4 * numbers_out}};
}

BENCH(swiglu)
{
    const double n = LENGTH * INNER;
    k->swiglu(out, numbers, numbers + INNER, LENGTH, INNER, INNER, 2 * INNER);
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = EXP_ADDS * n,
                                     .multiplications = (EXP_MULTIPLICATIONS + 1) * n,
                                     .divisions = n,
                                     .read = 2 * 4 * n,
                                     .written = 4 * n}};
}

BENCH(swiglu_panels)
{
    const double n = LENGTH * INNER, size = (double)k->element;
    k->swiglu_panels(out, in, LENGTH, INNER, INNER, 2 * INNER);
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = EXP_ADDS * n,
                                     .multiplications = (EXP_MULTIPLICATIONS + 1) * n,
                                     .divisions = n,
                                     .read = 2 * size * n,
                                     .written = size * n}};
}

/* One silu and its slope; h, dup, and dgate in two steps. */
BENCH(swiglu_backward)
{
    const double n = LENGTH * INNER, size = (double)k->element;
    k->swiglu_backward(out, gradient, numbers, in, LENGTH, INNER, INNER, 2 * INNER, INNER, 2 * INNER);
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = (EXP_ADDS + 1) * n,
                                     .multiplications = (EXP_MULTIPLICATIONS + 2 + 4) * n,
                                     .divisions = n,
                                     .read = (2 * size + 4) * n,
                                     .written = 3 * size * n}};
}

BENCH(route)
{
    const double n = LENGTH * WIDTH;
    k->route(out, numbers, numbers + WIDTH, LENGTH, WIDTH, 0, 2 * WIDTH);
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = 4 * n, .read = 2 * 4 * n, .written = 4 * LENGTH}};
}

/* The products of route once more, and two rows of three. */
BENCH(route_backward)
{
    const double n = LENGTH * WIDTH;
    k->route_backward(&(struct ldar_route_backward_args){.dq = out,
                                                         .dk = (float *)out + WIDTH,
                                                         .dprob = weight,
                                                         .q = numbers,
                                                         .k = numbers + WIDTH,
                                                         .rows = LENGTH,
                                                         .width = WIDTH,
                                                         .gradient_stride = 2 * WIDTH,
                                                         .stride = 2 * WIDTH});
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = (4 + 2 * 2) * n,
                                     .multiplications = 2 * n,
                                     .read = 2 * 4 * n,
                                     .written = 2 * 4 * n}};
}

/* With the rounding errors that dechunk.inl carries along: without them the result is wrong. */
BENCH(ema)
{
    const double n = LENGTH * LDAR_TILE;
    k->ema(out, numbers, weight, LENGTH, LDAR_TILE, 0, WIDTH, WIDTH);
    return (struct work){
        .unit = "row of 64",
        .units = LENGTH,
        .counted = {.multiply_adds = 5 * n, .multiplications = 2 * n, .read = 4 * n, .written = 4 * n}};
}

/* Four averages, and two products for dprob. */
BENCH(ema_backward)
{
    const double n = LENGTH * LDAR_TILE;
    k->ema_backward(&(struct ldar_ema_backward_args){.dx = out,
                                                     .dprob = packed,
                                                     .dout = numbers + WIDTH,
                                                     .x = numbers,
                                                     .prob = weight,
                                                     .rows = LENGTH,
                                                     .width = LDAR_TILE,
                                                     .dx_stride = WIDTH,
                                                     .dout_stride = 2 * WIDTH,
                                                     .x_stride = 2 * WIDTH,
                                                     .scratch = scratch});
    return (struct work){.unit = "row of 64",
                         .units = LENGTH,
                         .counted = {.multiply_adds = (4 * 5 + 2) * n,
                                     .multiplications = (4 + 1) * n,
                                     .read = 2 * 4 * n,
                                     .written = 4 * n}};
}

BENCH(expand)
{
    const double n = LENGTH * WIDTH;
    k->expand(out, numbers, weight, rows, LENGTH, WIDTH, WIDTH, WIDTH);
    return (struct work){.unit = "token", .units = LENGTH, .counted = {.read = n, .written = 4 * n}};
}

BENCH(expand_backward)
{
    const double n = LENGTH * WIDTH;
    k->expand_backward(out, scratch, numbers, numbers, position, LENGTH / CHUNK, WIDTH, WIDTH, WIDTH, WIDTH);
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = n, .read = 4 * n, .written = 4 * n / CHUNK + 4 * LENGTH}};
}

BENCH(embed)
{
    const double n = LENGTH * PROJECTED, size = (double)k->element;
    k->embed(out, in, ids, LENGTH, PROJECTED, PROJECTED, PROJECTED);
    return (struct work){
        .unit = "token", .units = LENGTH, .counted = {.read = size * LDAR_SYMBOLS * PROJECTED, .written = size * n}};
}

BENCH(embed_backward)
{
    const double n = LENGTH * PROJECTED, size = (double)k->element;
    k->embed_backward(out, in, ids, LENGTH, PROJECTED, PROJECTED, PROJECTED);
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.read = size * n, .written = 4 * LDAR_SYMBOLS * PROJECTED}};
}

BENCH(sum_rows)
{
    const double n = LENGTH * WIDTH;
    k->sum_rows(out, numbers, LENGTH, WIDTH, WIDTH);
    return (struct work){.unit = "token", .units = LENGTH, .counted = {.read = 4 * n, .written = 4 * WIDTH}};
}

BENCH(round_rows)
{
    const double n = LENGTH * WIDTH;
    k->round_rows(out, numbers, LENGTH, WIDTH, WIDTH, WIDTH);
    return (struct work){
        .unit = "token", .units = LENGTH, .counted = {.read = 4 * n, .written = (double)k->element * n}};
}

BENCH(head)
{
    const double n = LENGTH * WIDTH;
    k->head(out, numbers, weight, LENGTH, WIDTH, LDAR_SYMBOLS, WIDTH);
    return (struct work){
        .unit = "token",
        .units = LENGTH,
        .counted = {.multiply_adds = LDAR_SYMBOLS * n, .read = 4 * n, .written = 4.0 * LENGTH * LDAR_SYMBOLS}};
}

/* Every row has a gradient. */
BENCH(head_backward)
{
    const double n = LENGTH * WIDTH;
    k->head_backward(out, packed, numbers, numbers, weight, LENGTH, WIDTH, LDAR_SYMBOLS, WIDTH, WIDTH);
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = 2 * LDAR_SYMBOLS * n, .read = 4 * n, .written = 4 * n}};
}

/* The logarithm is the C library's and not counted. */
BENCH(cross_entropy)
{
    const double n = LENGTH * LDAR_SYMBOLS;
    k->cross_entropy(out, scratch, numbers, ids, LENGTH, LDAR_SYMBOLS, 1.0f);
    return (struct work){.unit = "token",
                         .units = LENGTH,
                         .counted = {.multiply_adds = EXP_ADDS * n,
                                     .multiplications = (EXP_MULTIPLICATIONS + 1) * n,
                                     .divisions = LENGTH,
                                     .read = 4 * n,
                                     .written = 4 * n + 4 * LENGTH}};
}

static struct work elementwise(double adds, double multiplied, double divided)
{
    const double n = LENGTH;
    return (struct work){.unit = "number",
                         .units = n,
                         .counted = {.multiply_adds = adds * n,
                                     .multiplications = multiplied * n,
                                     .divisions = divided * n,
                                     .read = 4 * n,
                                     .written = 4 * n}};
}

#define ELEMENTWISE(name, ...)                                                                                         \
    BENCH(name)                                                                                                        \
    {                                                                                                                  \
        k->name(out, numbers, LENGTH);                                                                                 \
        return elementwise(__VA_ARGS__);                                                                               \
    }
ELEMENTWISE(exp, EXP_ADDS, EXP_MULTIPLICATIONS, 0)
ELEMENTWISE(sigmoid, EXP_ADDS, EXP_MULTIPLICATIONS, 1)
ELEMENTWISE(silu, EXP_ADDS, EXP_MULTIPLICATIONS, 1)
ELEMENTWISE(softplus, SOFTPLUS_ADDS, SOFTPLUS_MULTIPLICATIONS, 1)

/* What is updated in place comes and goes once, as what is written does. */
BENCH(adamw)
{
    const double n = PARAMETERS;
    k->adamw(&(struct ldar_adamw_args){.weight = trained,
                                       .moment1 = trained + PARAMETERS,
                                       .moment2 = trained + 2 * PARAMETERS,
                                       .gradient = numbers,
                                       .count = PARAMETERS,
                                       .scale = 1,
                                       .rate = 1e-6f,
                                       .beta1 = 0.9f,
                                       .beta2 = 0.95f,
                                       .correction1 = 1,
                                       .correction2 = 1,
                                       .epsilon = 1e-8f,
                                       .decay = 0.1f});
    return (struct work){.unit = "parameter",
                         .units = n,
                         .counted = {.multiply_adds = 4 * n,
                                     .multiplications = 5 * n,
                                     .divisions = n,
                                     .read = 4 * n,
                                     .written = 3 * 4 * n}};
}

BENCH(sum_squares)
{
    const double n = PARAMETERS;
    double sum;
    k->sum_squares(&sum, numbers, PARAMETERS);
    return (struct work){.unit = "number", .units = n, .counted = {.multiply_adds = n, .read = 4 * n}};
}

BENCH(add)
{
    const double n = PARAMETERS;
    k->add(trained, numbers, PARAMETERS);
    return (struct work){.unit = "number", .units = n, .counted = {.read = 4 * n, .written = 4 * n}};
}

BENCH(fma_peak)
{
    const double products = LDAR_PEAK_CHAINS * 1000 * (double)(k->width * sizeof(float) / k->element);
    k->fma_peak(out, 1000);
    return (struct work){.unit = "round", .units = 1000, .counted = {.products = products}};
}

/* Nothing limits these two but the instructions that they are: no limit. */
BENCH(float_mode_enter)
{
    uint64_t mode;
    k->float_mode_enter(&mode);
    k->float_mode_leave(mode);
    return (struct work){.unit = "pair", .units = 1, .unlimited = 1};
}

BENCH(float_mode_leave)
{
    return bench_float_mode_enter(k);
}

/* ---- timing ---- */

struct result {
    const char *isa, *kernel;
    struct work work;
    struct perf_limit limit;                    /* of the repeat with the median fraction */
    double seconds[REPEATS], fraction[REPEATS]; /* ascending */
};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double time_stretch(const struct ldar_kernels *k, struct work (*bench)(const struct ldar_kernels *),
                           size_t calls)
{
    const double start = seconds_now();
    for (size_t i = 0; i < calls; i++)
        bench(k);
    return seconds_now() - start;
}

/*
 * Seconds of one call: the best stretch of calls in a sample, as a limit is the best of its runs, so that what else the
 * machine does takes from neither. A stretch is long beside the clock's own time, which a call need not be.
 */
static double time_calls(const struct ldar_kernels *k, struct work (*bench)(const struct ldar_kernels *))
{
    size_t calls = 1;
    double best = time_stretch(k, bench, calls);
    for (double start = seconds_now(); seconds_now() - start < sample_seconds;) {
        while (best * (double)calls < stretch_seconds)
            calls *= 2;
        double one = time_stretch(k, bench, calls) / (double)calls;
        best = one < best ? one : best;
    }
    return best;
}

/* The limit is measured before and after each sample; the stricter one counts. */
static void time_kernel(struct result *result, const struct perf_machine *machine, const struct ldar_kernels *k,
                        struct work (*bench)(const struct ldar_kernels *))
{
    struct perf_limit limit[REPEATS + 1];
    double fraction[REPEATS];
    result->work = bench(k);
    limit[0] = perf_measure_limit(machine, k, &result->work.counted, limit_seconds);
    if ((limit[0].seconds > 0) == result->work.unlimited) {
        fprintf(stderr, "bench_kernels: what bounds %s is not stated\n", result->kernel);
        exit(1);
    }
    for (int i = 0; i < REPEATS; i++) {
        result->seconds[i] = time_calls(k, bench);
        limit[i + 1] = perf_measure_limit(machine, k, &result->work.counted, limit_seconds);
        if (limit[i + 1].seconds < limit[i].seconds)
            limit[i] = limit[i + 1];
        fraction[i] = result->fraction[i] = limit[i].seconds / result->seconds[i];
    }
    qsort(result->seconds, REPEATS, sizeof *result->seconds, ascending);
    qsort(result->fraction, REPEATS, sizeof *result->fraction, ascending);
    for (int i = 0; i < REPEATS; i++)
        if (fraction[i] == result->fraction[REPEATS / 2])
            result->limit = limit[i];
}

/* ---- printing ---- */

static void print_text(const struct result *r)
{
    const double t = r->seconds[REPEATS / 2];
    printf("%-10s %-16s %12.3f ns per %-14s", r->isa, r->kernel, 1e9 * t / r->work.units, r->work.unit);
    if (r->limit.seconds > 0)
        printf(" %6.3f of its limit: %s", r->fraction[REPEATS / 2], r->limit.bound);
    if (r->work.counted.products > 0)
        printf(" (%.1f GFLOP/s)", 2e-9 * r->work.counted.products / t);
    printf("\n");
}

static void print_json(const struct result *r)
{
    const double scale = 1e9 / r->work.units;
    printf(",\n {\"what\": \"kernel\", \"kernel\": \"%s\", \"isa\": \"%s\", \"threads\": 1, \"repeats\": %d, "
           "\"unit\": \"%s\", \"ns_per_unit\": %.6g, \"ns_per_unit_min\": %.6g, \"ns_per_unit_max\": %.6g",
           r->kernel, r->isa, REPEATS, r->work.unit, scale * r->seconds[REPEATS / 2], scale * r->seconds[0],
           scale * r->seconds[REPEATS - 1]);
    if (r->work.counted.products > 0)
        printf(", \"gflops\": %.6g", 2e-9 * r->work.counted.products / r->seconds[REPEATS / 2]);
    if (r->limit.seconds > 0)
        printf(", \"bound\": \"%s\", \"limit_ns_per_unit\": %.6g, \"fraction\": %.4g, \"fraction_min\": %.4g, "
               "\"fraction_max\": %.4g",
               r->limit.bound, scale * r->limit.seconds, r->fraction[REPEATS / 2], r->fraction[0],
               r->fraction[REPEATS - 1]);
    printf("}");
}

static void print_machine(const struct perf_machine *machine, int json)
{
    printf(json ? "[{\"what\": \"machine\", \"cpu\": \"%s\", \"levels\": [" : "%s; one core reads, GB/s:",
           machine->cpu);
    for (int i = 0; i < PERF_LEVELS; i++) {
        const struct perf_level *level = &machine->level[i];
        if (json)
            printf("%s{\"name\": \"%s\", \"bytes\": %zu, \"read_gb_per_s\": %.4g}", i ? ", " : "", level->name,
                   level->size, level->read);
        else
            printf(" %s %.0f", level->name, level->read);
    }
    printf(json ? "]}" : "\n");
}

static void print_rates(const struct ldar_kernels *k, int json)
{
    const struct perf_rates rates = perf_measure_rates(k, 5 * limit_seconds);
    printf(json ? ",\n {\"what\": \"rates\", \"isa\": \"%s\", \"peak_gflops\": %.5g, \"multiply_adds_g_per_s\": %.5g, "
                  "\"multiplications_g_per_s\": %.5g, \"divisions_g_per_s\": %.5g}"
                : "%-10s peak %.1f GFLOP/s; G/s: multiply-adds %.1f, multiplications %.1f, divisions %.1f\n",
           k->name, 2 * rates.products, rates.multiply_adds, rates.multiplications, rates.divisions);
}

/* ---- arrays ---- */

enum { LARGE = LENGTH * (PROJECTED + 16), WEIGHTS = 8 * CHANNELS * WIDTH };

/* Five large arrays, the weights, and less than two more for packed weights and scratch. */
enum { POOL = (7 * LARGE + WEIGHTS) * (int)sizeof(float) };
static char *pool;
static size_t pool_used;

/* Arrays do not begin at the same place of their pages, or a load would wait for the stores that look like its own. */
static void *take(size_t bytes)
{
    enum { PAGE = 4096, APART = 13 * 64 };
    char *p = pool + pool_used;
    pool_used += (bytes + PAGE - 1) / PAGE * PAGE + APART;
    if (pool_used > POOL) {
        fprintf(stderr, "bench_kernels: the pool of arrays is too small\n");
        exit(1);
    }
    return p;
}

/* Random numbers within +-1. */
static float *random_numbers(size_t count)
{
    float *a = take(count * sizeof *a);
    for (size_t i = 0; i < count; i++)
        a[i] = (float)rand() / (float)(RAND_MAX / 2) - 1.0f;
    return a;
}

static void make_arrays(void)
{
    pool = perf_allocate(POOL);
    srand(1);
    numbers = random_numbers(LARGE), weight = random_numbers(WEIGHTS);
    in = take(LARGE * sizeof(float)), other = take(LARGE * sizeof(float)), out = take(LARGE * sizeof(float));
    gradient = take(LARGE * sizeof(float));
    packed = take(ldar_gemm_packed(sizeof(float), LDAR_TILE, PROJECTED, WIDTH));
    scratch = take((ldar_ssd_backward_scratch(HEADS, STATE) + ldar_attention_scratch(QUERY)) * sizeof(float));
    trained = take(3 * PARAMETERS * sizeof *trained);
    rows = take(LENGTH * sizeof *rows), ids = take(LENGTH);
    position = take((LENGTH / CHUNK + 1) * sizeof *position);
    for (size_t i = 0; i < LENGTH; i++) {
        ids[i] = (uint8_t)(i * 7 % LDAR_SYMBOLS);
        rows[i] = (uint32_t)(i / CHUNK);
    }
    for (size_t i = 0; i <= LENGTH / CHUNK; i++)
        position[i] = (uint32_t)(i * CHUNK);
}

/* The upper half of a float is a bfloat16, here by cutting off. */
static void fill_elements(const struct ldar_kernels *k)
{
    for (size_t i = 0; i < LARGE; i++) {
        uint32_t bits;
        memcpy(&bits, numbers + i, sizeof bits);
        uint16_t upper = (uint16_t)(bits >> 16);
        memcpy(at(k, in, i), k->element == sizeof upper ? (void *)&upper : (void *)&bits, k->element);
        memcpy(at(k, other, LARGE - 1 - i), at(k, in, i), k->element);
    }
    k->gemm_pack(packed, numbers, PROJECTED, WIDTH, WIDTH);
}

/* ---- the program ---- */

struct options {
    int json;
    const char *kernel;
    char **isas;
    int isa_count;
};

static void bench_isa(const struct perf_machine *machine, const struct ldar_kernels *k, const struct options *options)
{
    uint64_t mode;
    k->float_mode_enter(&mode);
    fill_elements(k);
    print_rates(k, options->json);
#define RUN(text, function)                                                                                            \
    if (!options->kernel || !strcmp(options->kernel, text)) {                                                          \
        struct result result = {.isa = k->name, .kernel = text};                                                       \
        time_kernel(&result, machine, k, function);                                                                    \
        (options->json ? print_json : print_text)(&result);                                                            \
    }
#define KERNEL(name, bound, bound_bf16, arguments) RUN(#name, bench_##name)
#include "simd/kernels.def"
#undef KERNEL
    if (k->element == sizeof(float))
        RUN("(recurrence)", bench_recurrence)
#undef RUN
    fflush(stdout);
    k->float_mode_leave(mode);
}

static int is_kernel(const char *name)
{
#define KERNEL(kernel, bound, bound_bf16, arguments)                                                                   \
    if (!strcmp(name, #kernel))                                                                                        \
        return 1;
#include "simd/kernels.def"
#undef KERNEL
    return !strcmp(name, "(recurrence)");
}

/* Fails for what is neither an option nor a name: a typing error must not look like an empty result. */
static int read_options(struct options *options, int count, char **words)
{
    *options = (struct options){.isas = words};
    for (int i = 0; i < count; i++) {
        enum ldar_isa isa;
        struct ldar_error error;
        if (!strcmp(words[i], "--json")) {
            options->json = 1;
        } else if (!strcmp(words[i], "--kernel") && i + 1 < count && is_kernel(words[i + 1])) {
            options->kernel = words[++i];
        } else if (ldar_isa_parse(words[i], &isa, &error) == LDAR_OK && ldar_isa_runs(isa)) {
            options->isas[options->isa_count++] = words[i];
        } else {
            fprintf(stderr,
                    "bench_kernels: '%s' is no option, no kernel, or no instruction set that runs here\n"
                    "usage: bench_kernels [--json] [--kernel NAME] [ISA...]\n",
                    words[i]);
            return 0;
        }
    }
    return 1;
}

static int wanted(const struct options *options, const char *isa)
{
    for (int i = 0; i < options->isa_count; i++)
        if (!strcmp(options->isas[i], isa))
            return 1;
    return options->isa_count == 0;
}

/* The bundle's own table: a bundle that stores bfloat16 also stands for its floats, which belong to another. */
static const struct ldar_kernels *table(enum ldar_isa isa)
{
    const struct ldar_kernels *narrow = ldar_isa_kernels(isa, LDAR_BF16);
    return narrow ? narrow : ldar_isa_kernels(isa, LDAR_F32);
}

int main(int count, char **words)
{
    struct options options;
    struct perf_machine machine;
    const struct ldar_kernels *best = NULL;
    if (!read_options(&options, count - 1, words + 1))
        return 2;
    for (enum ldar_isa isa = LDAR_ISA_SCALAR; ldar_isa_name(isa); isa++)
        if (ldar_isa_runs(isa))
            best = table(isa);
    perf_machine_open(&machine, best);
    print_machine(&machine, options.json);
    make_arrays();
    for (enum ldar_isa isa = LDAR_ISA_SCALAR; ldar_isa_name(isa); isa++)
        if (ldar_isa_runs(isa) && wanted(&options, ldar_isa_name(isa)))
            bench_isa(&machine, table(isa), &options);
    if (options.json)
        printf("]\n");
    free(pool);
    perf_machine_close();
    return 0;
}
