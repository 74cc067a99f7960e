/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { P = LDAR_HEAD };

/* A scan with all that a layer gives it: convolutions, biases, raw step sizes; or with none of it (plain). */
struct scan_case {
    struct matrix y, x, b, c, dt, conv_x, conv_b, conv_c, bias_x, bias_b, bias_c, dt_bias, a, d;
    bool plain;
};

static const char *describe(bool plain)
{
    return plain ? "plain" : "convolved";
}

static struct matrix uniform_vector(struct test *test, size_t width, double low, double high)
{
    struct matrix m = vector_new(test, width);
    matrix_uniform(test, m, low, high);
    return matrix_seal(m);
}

/* exp(dt a) over about 0.2 .. 0.999 per token, as in trained models. */
static void scan_steps(struct test *test, struct scan_case *s, size_t length, size_t heads)
{
    s->dt = matrix_new(test, length, heads, 0, true);
    matrix_uniform(test, s->dt, s->plain ? 0.001 : -2, s->plain ? 0.1 : 2);
    matrix_seal(s->dt);
    s->dt_bias = uniform_vector(test, heads, -6, -2);
    s->a = uniform_vector(test, heads, -16, -1);
    s->d = vector_filled(test, heads, FILL_NORMAL);
}

static void scan_convolutions(struct test *test, struct scan_case *s, size_t inner, size_t state)
{
    s->conv_x = matrix_new(test, LDAR_CONV_TAPS, inner, 0, false);
    s->conv_b = matrix_new(test, LDAR_CONV_TAPS, state, 0, false);
    if (s->conv_b.stride < s->conv_x.stride) {
        s->conv_b.stride = s->conv_x.stride; /* one stride serves all three */
        s->conv_b = matrix_like(test, s->conv_b, state);
    } else {
        s->conv_x.stride = s->conv_b.stride;
        s->conv_x = matrix_like(test, s->conv_x, inner);
    }
    s->conv_c = matrix_like(test, s->conv_b, state);
    matrix_uniform(test, s->conv_x, -1, 1);
    matrix_uniform(test, s->conv_b, -1, 1);
    matrix_uniform(test, s->conv_c, -1, 1);
    matrix_seal(s->conv_x);
    matrix_seal(s->conv_b);
    matrix_seal(s->conv_c);
    s->bias_x = vector_filled(test, inner, FILL_NORMAL);
    s->bias_b = vector_filled(test, state, FILL_NORMAL);
    s->bias_c = vector_filled(test, state, FILL_NORMAL);
}

static struct scan_case scan_case(struct test *test, size_t length, size_t heads, size_t state, size_t history,
                                  bool plain)
{
    check_case("length %zu heads %zu state %zu history %zu %s placement %d", length, heads, state, history,
               describe(plain), (int)test->placement);
    struct scan_case s = {.plain = plain, .y = matrix_new(test, length, heads * P, 0, true)};
    s.x = matrix_filled(test, length, heads * P, history, true, FILL_NORMAL);
    s.b = matrix_filled(test, length, state, history, true, FILL_NORMAL);
    s.c = matrix_filled_like(test, s.b, state, FILL_NORMAL);
    scan_steps(test, &s, length, heads);
    scan_convolutions(test, &s, heads * P, state);
    return s;
}

/* The tokens first .. first + length - 1 of the heads head .. head + heads - 1; no states. */
static struct ldar_ssd_args scan_args(const struct scan_case *s, size_t first, size_t length, size_t head, size_t heads)
{
    size_t history = s->x.history + first;
    struct ldar_ssd_args args = {
        .y = matrix_row(s->y, (ptrdiff_t)first) + head * P,
        .x = matrix_row(s->x, (ptrdiff_t)first) + head * P,
        .b = matrix_row(s->b, (ptrdiff_t)first),
        .c = matrix_row(s->c, (ptrdiff_t)first),
        .dt = matrix_row(s->dt, (ptrdiff_t)first) + head,
        .a = s->a.at + head,
        .d = s->d.at + head,
        .length = length,
        .heads = heads,
        .state = s->b.width,
        .history = history < 3 ? history : 3,
        .y_stride = s->y.stride,
        .x_stride = s->x.stride,
        .bc_stride = s->b.stride,
        .dt_stride = s->dt.stride,
        .conv_stride = s->conv_x.stride,
    };
    if (!s->plain) {
        args.conv_weight_x = s->conv_x.at + head * P, args.conv_bias_x = s->bias_x.at + head * P;
        args.conv_weight_b = s->conv_b.at, args.conv_bias_b = s->bias_b.at;
        args.conv_weight_c = s->conv_c.at, args.conv_bias_c = s->bias_c.at;
        args.dt_bias = s->dt_bias.at + head;
    }
    return args;
}

static void scan_run(const struct test *test, struct ldar_ssd_args args)
{
    args.scratch = scratch_new(ldar_ssd_scratch(args.heads, args.state));
    test->kernels->ssd_scan(&args);
}

static struct ldar_ssd_args whole(const struct scan_case *s)
{
    return scan_args(s, 0, s->x.rows, 0, s->dt.width);
}

/* A token's output is a sum of N products over all tokens before it: this is what it comes to without cancellation. */
static double scan_floor(const struct scan_case *s)
{
    return 0.03 * sqrt((double)s->b.width) * (s->plain ? 1 : 0.25);
}

static void check_decay(const float *got, const double *expected, size_t heads)
{
    for (size_t h = 0; h < heads; h++) {
        /* exp(s) is as exact as s, whose absolute error grows with its magnitude. */
        double bound = 1e-6 * (1 + fabs(log(fmax(expected[h], 1e-300)))) * expected[h] + 1e-37;
        if (!(fabs(got[h] - expected[h]) <= bound)) {
            check_fail("decay of head %zu: %.9g, expected %.9g", h, got[h], expected[h]);
        }
    }
}

static void scan_check(const struct scan_case *s, struct tolerance tolerance, const float *decay_out)
{
    struct ldar_ssd_args args = whole(s);
    double *y = reference_new(args.length * args.heads * P), *decay = reference_new(args.heads);
    oracle_ssd_scan(y, decay, &args);
    check_close_to(s->y, y, tolerance);
    if (decay_out) {
        check_decay(decay_out, decay, args.heads);
    }
}

static void scan_size(struct test *test, size_t length, size_t heads, size_t state, bool plain)
{
    size_t history = length && test->placement != PLACE_FAR ? random_below(&test->random, 4) : 0;
    struct scan_case s = scan_case(test, length, heads, state, history, plain);
    struct ldar_ssd_args args = whole(&s);
    args.decay_out = random_below(&test->random, 2) ? vector_new(test, heads).at : NULL;
    args.state_out = random_below(&test->random, 2) ? vector_new(test, heads * ldar_ssd_state(state)).at : NULL;
    scan_run(test, args);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = scan_floor(&s);
    scan_check(&s, tolerance, args.decay_out);
    case_end();
}

/* Every length up to a tile and around its multiples; every count of heads; states that are no multiple of a vector. */
static void scan_sizes(struct test *test)
{
    static const size_t lengths[] = {127, 128, 129, 130, 191, 192, 193, 260},
                        states[] = {1, 3, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 128, 130};
    for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
        for (size_t length = 0; length <= 67; length++) {
            scan_size(test, length, 1 + length % 2, 17, length % 3 == 0);
        }
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            scan_size(test, lengths[i], 2, 20, i % 2);
        }
        for (size_t heads = 0; heads <= LDAR_SSD_HEADS; heads++) {
            scan_size(test, 5, heads, 9, heads % 2);
        }
        for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
            scan_size(test, 3, 1, states[i], true);
            scan_size(test, 70, 2, states[i], i % 2);
        }
    }
    test->placement = PLACE_FAR;
    scan_size(test, 2, 1, 5, true);
    scan_size(test, 2, 1, 5, false);
    test->placement = PLACE_ANY;
}

static void scan_heads_alone(struct test *test)
{
    enum { LENGTH = 100, HEADS = LDAR_SSD_HEADS, N = 24 };
    struct scan_case s = scan_case(test, LENGTH, HEADS, N, 2, random_below(&test->random, 2));
    struct ldar_ssd_args args = whole(&s);
    args.state_out = vector_new(test, HEADS * ldar_ssd_state(N)).at;
    args.decay_out = vector_new(test, HEADS).at;
    scan_run(test, args);
    for (size_t head = 0, heads; head < HEADS; head += heads) {
        heads = 1 + random_below(&test->random, HEADS - head < 4 ? HEADS - head : 4);
        struct scan_case part = s;
        part.y = matrix_new(test, LENGTH, HEADS * P, 0, true);
        struct ldar_ssd_args few = scan_args(&part, 0, LENGTH, head, heads);
        few.state_out = vector_new(test, heads * ldar_ssd_state(N)).at;
        few.decay_out = vector_new(test, heads).at;
        scan_run(test, few);
        check_same(args.y + head * P, args.y_stride, few.y, few.y_stride, LENGTH, heads * P);
        check_same(args.state_out + head * ldar_ssd_state(N), 0, few.state_out, 0, 1, heads * ldar_ssd_state(N));
        check_same(args.decay_out + head, 0, few.decay_out, 0, 1, heads);
    }
    case_end();
}

/* Segments that hand the state on are one scan; a segment without y leaves the same state. */
static void scan_segments(struct test *test)
{
    enum { LENGTH = 300, HEADS = 2, N = 20 };
    struct scan_case s =
        scan_case(test, LENGTH, HEADS, N, random_below(&test->random, 4), random_below(&test->random, 2));
    size_t floats = HEADS * ldar_ssd_state(N);
    const float *state = NULL;
    double product[HEADS] = {1, 1};
    for (size_t t = 0, length; t < LENGTH; t += length) {
        length = 1 + random_below(&test->random, LENGTH - t < 140 ? LENGTH - t : 140);
        struct ldar_ssd_args args = scan_args(&s, t, length, 0, HEADS), silent = args;
        args.state_in = silent.state_in = state;
        args.state_out = vector_new(test, floats).at;
        args.decay_out = vector_new(test, HEADS).at;
        scan_run(test, args);
        silent.y = NULL;
        silent.state_out = vector_new(test, floats).at;
        scan_run(test, silent);
        check_same(args.state_out, 0, silent.state_out, 0, 1, floats);
        guard_seal(args.state_out);
        state = args.state_out;
        for (size_t h = 0; h < HEADS; h++) {
            product[h] *= args.decay_out[h];
        }
    }
    float decay[HEADS] = {(float)product[0], (float)product[1]};
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = scan_floor(&s);
    scan_check(&s, tolerance, decay);
    case_end();
}

/* Nothing to scan: the state passes through, and its decay is 1. */
static void scan_empty(struct test *test)
{
    enum { HEADS = 3, N = 20 };
    struct scan_case s = scan_case(test, 9, HEADS, N, 0, true);
    size_t floats = HEADS * ldar_ssd_state(N);
    struct ldar_ssd_args args = whole(&s);
    args.state_out = vector_new(test, floats).at;
    scan_run(test, args);
    struct ldar_ssd_args empty = scan_args(&s, 9, 0, 0, HEADS);
    empty.y = NULL;
    empty.state_in = args.state_out;
    empty.state_out = vector_new(test, floats).at;
    empty.decay_out = vector_new(test, HEADS).at;
    scan_run(test, empty);
    check_same(args.state_out, 0, empty.state_out, 0, 1, floats);
    CHECK(empty.decay_out[0] == 1 && empty.decay_out[HEADS - 1] == 1);
    case_end();
}

static void scan_reversed(struct test *test)
{
    struct scan_case s = scan_case(test, 150, 2, 20, 3, random_below(&test->random, 2)), r = s;
    scan_run(test, whole(&s));
    r.x = matrix_turned(test, s.x);
    r.b = matrix_turned(test, s.b);
    r.c = matrix_turned(test, s.c);
    r.dt = matrix_turned(test, s.dt);
    r.y = matrix_turned(test, s.y);
    struct matrix expected = matrix_new(test, 150, 2 * P, 0, false);
    matrix_copy(expected, s.y);
    scan_run(test, whole(&r));
    check_same(r.y.at, r.y.stride, expected.at, expected.stride, 150, 2 * P);
    case_end();
}

/* A NaN or infinity may reach back to the start of its tile: products with structural zeros are formed there. */
static void excuse_tile(double *y, struct matrix got, size_t row)
{
    for (size_t i = row / LDAR_TILE * LDAR_TILE; i < row; i++) {
        for (size_t c = 0; c < got.width; c++) {
            float g = matrix_row(got, (ptrdiff_t)i)[c];
            y[i * got.width + c] = isfinite(g) ? y[i * got.width + c] : NAN;
        }
    }
}

/* Before its tile a bad token spoils nothing, nor another head; from itself on it spoils what the textbook says. */
static void scan_special(struct test *test, float value, int where)
{
    struct scan_case s = scan_case(test, 150, 2, 20, 0, random_below(&test->random, 2));
    struct matrix *victims[] = {&s.x, &s.b, &s.c, &s.dt}, *victim = victims[where];
    struct matrix changed = matrix_like(test, *victim, victim->width);
    matrix_copy(changed, *victim);
    size_t row = random_below(&test->random, 150), column = random_below(&test->random, victim->width);
    matrix_row(changed, (ptrdiff_t)row)[column] = value;
    *victim = matrix_seal(changed);
    check_case("%g in %s row %zu column %zu, %s", value, (const char *[]){"x", "B", "C", "dt"}[where], row, column,
               describe(s.plain));
    struct ldar_ssd_args args = whole(&s);
    scan_run(test, args);
    double *y = reference_new(args.length * args.heads * P), *decay = reference_new(args.heads);
    oracle_ssd_scan(y, decay, &args);
    excuse_tile(y, s.y, row);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.rule = SPECIAL_ANY;
    check_close_to(s.y, y, tolerance);
    case_end();
}

/* Step sizes at their ends: softplus is linear above 20, and decays that underflow leave only the newest token. */
static void scan_extreme_steps(struct test *test, double low, double high, double a)
{
    struct scan_case s = scan_case(test, 200, 2, 20, 3, false);
    check_case("raw steps %g..%g, a %g", low, high, a);
    s.dt = matrix_new(test, 200, 2, 0, true);
    matrix_uniform(test, s.dt, low, high);
    matrix_seal(s.dt);
    s.dt_bias = vector_filled(test, 2, FILL_ZERO);
    s.a = uniform_vector(test, 2, a, a);
    struct ldar_ssd_args args = whole(&s);
    args.decay_out = vector_new(test, 2).at;
    scan_run(test, args);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.zeros = true;
    scan_check(&s, tolerance, args.decay_out);
    case_end();
}

/* A dt = -0.001: each output sums over thousands of tokens, and the error of the decay grows with them. */
static void scan_slowest_decay(struct test *test, size_t length)
{
    struct scan_case s = scan_case(test, length, 1, 4, 0, true);
    s.dt = matrix_new(test, length, 1, 0, false);
    matrix_uniform(test, s.dt, 0.001, 0.001);
    matrix_seal(s.dt);
    s.a = uniform_vector(test, 1, -1, -1);
    scan_run(test, whole(&s));
    scan_check(&s, (struct tolerance){.l2 = 2e-5, .worst = 1e-4}, NULL);
    case_end();
}

void test_ssd_scan(struct test *test)
{
    scan_sizes(test);
    for (int i = 0; i < 6; i++) {
        scan_heads_alone(test);
        scan_segments(test);
        scan_reversed(test);
        for (int where = 0; where < 4; where++) {
            scan_special(test, NAN, where);
            if (where < 3) {
                scan_special(test, INFINITY, where);
                scan_special(test, -INFINITY, where);
            }
        }
    }
    scan_empty(test);
    scan_extreme_steps(test, 15, 40, -16);
    scan_extreme_steps(test, 15, 40, -1e-3);
    scan_extreme_steps(test, -30, -10, -1);
    scan_slowest_decay(test, 2048);
    scan_slowest_decay(test, 65536);
}
