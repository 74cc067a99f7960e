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
    struct scan_case s = {.plain = plain, .y = elements_new(test, length, heads * P, 0, true)};
    s.x = elements_filled(test, length, heads * P, history, true, FILL_NORMAL);
    s.b = elements_filled(test, length, state, history, true, FILL_NORMAL);
    s.c = elements_filled_like(test, s.b, state, FILL_NORMAL);
    scan_steps(test, &s, length, heads);
    scan_convolutions(test, &s, heads * P, state);
    return s;
}

/* The element `column` columns behind where a row begins. */
static void *element_at(struct matrix m, size_t row, size_t column)
{
    return (char *)matrix_elements(m, (ptrdiff_t)row) + column * m.element;
}

/* The tokens first .. first + length - 1 of the heads head .. head + heads - 1; no states. */
static struct ldar_ssd_args scan_args(const struct scan_case *s, size_t first, size_t length, size_t head, size_t heads)
{
    size_t history = s->x.history + first;
    struct ldar_ssd_args args = {
        .y = element_at(s->y, first, head * P),
        .x = element_at(s->x, first, head * P),
        .b = matrix_elements(s->b, (ptrdiff_t)first),
        .c = matrix_elements(s->c, (ptrdiff_t)first),
        .dt = matrix_row(s->dt, (ptrdiff_t)first) + head,
        .a = s->a.at + head,
        .d = s->d.at + head,
        .length = length,
        .heads = heads,
        .state = s->b.width,
        .width = P,
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

static struct tolerance scan_tolerance(const struct test *test, const struct scan_case *s)
{
    struct tolerance tolerance = tolerance_of(test);
    /* An output is a sum of N products over all tokens before: this is what it comes to without cancellation. */
    tolerance.floor = 0.03 * sqrt((double)s->b.width) * (s->plain ? 1 : 0.25);
    return tolerance;
}

static double *scan_reference(const struct scan_case *s)
{
    struct ldar_ssd_args args = whole(s);
    args.x = s->x.at, args.b = s->b.at, args.c = s->c.at;
    double *y = reference_new(args.length * args.heads * P);
    oracle_ssd_scan(y, &args);
    return y;
}

static void scan_check(const struct scan_case *s, struct tolerance tolerance)
{
    elements_take(s->y);
    check_close_to(s->y, scan_reference(s), tolerance);
}

static float *state_new(struct test *test, size_t heads, size_t state)
{
    return vector_new(test, heads * ldar_ssd_state(state)).at;
}

static void scan_size(struct test *test, size_t length, size_t heads, size_t state, bool plain)
{
    size_t history = length && test->placement != PLACE_FAR ? random_below(&test->random, 4) : 0;
    struct scan_case s = scan_case(test, length, heads, state, history, plain);
    struct ldar_ssd_args args = whole(&s);
    args.state_out = random_below(&test->random, 2) ? state_new(test, heads, state) : NULL;
    scan_run(test, args);
    scan_check(&s, scan_tolerance(test, &s));
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

static void check_same_y(struct scan_case *s, struct matrix expected)
{
    elements_take(s->y);
    check_same(s->y.at, s->y.stride, expected.at, expected.stride, expected.rows, expected.width);
}

static void scan_heads_alone(struct test *test)
{
    enum { LENGTH = 100, HEADS = LDAR_SSD_HEADS, N = 24 };
    struct scan_case s = scan_case(test, LENGTH, HEADS, N, 2, random_below(&test->random, 2)), alone = s;
    struct ldar_ssd_args args = whole(&s);
    args.state_out = state_new(test, HEADS, N);
    scan_run(test, args);
    elements_take(s.y);
    alone.y = elements_new(test, LENGTH, HEADS * P, 0, true);
    for (size_t head = 0, heads; head < HEADS; head += heads) {
        heads = 1 + random_below(&test->random, HEADS - head < 4 ? HEADS - head : 4);
        struct ldar_ssd_args few = scan_args(&alone, 0, LENGTH, head, heads);
        few.state_out = state_new(test, heads, N);
        scan_run(test, few);
        check_same(args.state_out + head * ldar_ssd_state(N), 0, few.state_out, 0, 1, heads * ldar_ssd_state(N));
    }
    check_same_y(&alone, s.y);
    case_end();
}

/* The first half of each head's columns, or the second, of tokens first .. first + length - 1. */
static struct ldar_ssd_args half_args(const struct scan_case *s, size_t first, size_t length, size_t head, size_t heads,
                                      size_t half)
{
    struct ldar_ssd_args args = scan_args(s, first, length, head, heads);
    const size_t column = half * P / 2;
    args.width = P / 2;
    args.y = element_at(s->y, first, head * P + column);
    args.x = element_at(s->x, first, head * P + column);
    if (!s->plain) {
        args.conv_weight_x += column, args.conv_bias_x += column;
    }
    return args;
}

/* Columns do not mix: the halves of all heads are the whole, and what one half hands on is its own. */
static void scan_halves(struct test *test, size_t length)
{
    enum { HEADS = 3, N = 20 };
    struct scan_case s = scan_case(test, length, HEADS, N, random_below(&test->random, 4),
                                   random_below(&test->random, 2)),
                     halves = s;
    scan_run(test, whole(&s));
    elements_take(s.y);
    halves.y = elements_new(test, length, HEADS * P, 0, true);
    const size_t cut = length / 2 / LDAR_TILE * LDAR_TILE;
    for (size_t half = 0; half < 2; half++) {
        float *state = state_new(test, HEADS, N);
        struct ldar_ssd_args args = half_args(&halves, 0, cut, 0, HEADS, half);
        args.state_out = state;
        scan_run(test, args);
        guard_seal(state);
        args = half_args(&halves, cut, length - cut, 0, HEADS, half);
        args.state_in = state;
        scan_run(test, args);
    }
    check_same_y(&halves, s.y);
    case_end();
}

/* y may take the place of x: the rows that the next tile's convolution looks back at are gone by then. */
static void scan_in_place(struct test *test, size_t length, bool plain)
{
    enum { HEADS = 3, N = 20 };
    struct scan_case s = scan_case(test, length, HEADS, N, 0, plain), same = s;
    scan_run(test, whole(&s));
    elements_take(s.y);
    const size_t halves = 1 + random_below(&test->random, 2);
    same.x = same.y = elements_like(test, s.x, HEADS * P);
    matrix_copy(same.x, s.x);
    elements_put(same.x);
    for (size_t half = 0; half < halves; half++) {
        scan_run(test, halves == 1 ? whole(&same) : half_args(&same, 0, length, 0, HEADS, half));
    }
    check_same_y(&same, s.y);
    case_end();
}

/* A sequence in stretches that hand the state on; each of `unit` tokens, or several times as many. */
static void scan_handed_on(struct test *test, const struct scan_case *s, size_t unit)
{
    const size_t rows = s->x.rows, heads = s->dt.width, state = s->b.width;
    const float *before = NULL;
    for (size_t t = 0, length; t < rows; t += length) {
        length = unit * (1 + random_below(&test->random, 140 / unit));
        length = length < rows - t ? length : rows - t;
        struct ldar_ssd_args args = scan_args(s, t, length, 0, heads);
        args.state_in = before;
        args.state_out = state_new(test, heads, state);
        scan_run(test, args);
        guard_seal(args.state_out);
        before = args.state_out;
    }
}

/* Cut between tiles it is one scan to the bit; cut elsewhere its tiles are others, and it is one to rounding. */
static void scan_cut(struct test *test)
{
    enum { LENGTH = 300, HEADS = 2, N = 20 };
    struct scan_case s = scan_case(test, LENGTH, HEADS, N, random_below(&test->random, 4),
                                   random_below(&test->random, 2)),
                     cut = s;
    scan_run(test, whole(&s));
    elements_take(s.y);
    cut.y = elements_new(test, LENGTH, HEADS * P, 0, true);
    scan_handed_on(test, &cut, LDAR_TILE);
    check_same_y(&cut, s.y);
    cut.y = elements_new(test, LENGTH, HEADS * P, 0, true);
    scan_handed_on(test, &cut, 1);
    scan_check(&cut, scan_tolerance(test, &s));
    case_end();
}

/* Nothing to scan: the state passes through. */
static void scan_empty(struct test *test)
{
    enum { HEADS = 3, N = 20 };
    struct scan_case s = scan_case(test, 9, HEADS, N, 0, true);
    struct ldar_ssd_args args = whole(&s);
    args.state_out = state_new(test, HEADS, N);
    scan_run(test, args);
    struct ldar_ssd_args empty = scan_args(&s, 9, 0, 0, HEADS);
    empty.state_in = args.state_out;
    empty.state_out = state_new(test, HEADS, N);
    scan_run(test, empty);
    check_same(args.state_out, 0, empty.state_out, 0, 1, HEADS * ldar_ssd_state(N));
    case_end();
}

/*
 * Without decay, with steps of 1 and few small integers everywhere, all that is computed is an integer, and where it is
 * an operand of bfloat16 (M, the state) one below 256: results have no excuse.
 */
static void scan_integers(struct test *test, size_t length, size_t heads, size_t state)
{
    struct scan_case s = scan_case(test, length, heads, state, 0, true);
    check_case("integers, length %zu heads %zu state %zu placement %d", length, heads, state, (int)test->placement);
    s.x = elements_filled(test, length, heads * P, 0, true, FILL_INTEGERS);
    s.b = elements_new(test, length, state, 0, true);
    s.c = elements_like(test, s.b, state);
    for (size_t i = 0; i < length * state; i++) {
        const ptrdiff_t row = (ptrdiff_t)(i / state);
        matrix_row(s.b, row)[i % state] = (float)((ptrdiff_t)random_below(&test->random, 9) / 4 - 1);
        matrix_row(s.c, row)[i % state] = (float)((ptrdiff_t)random_below(&test->random, 9) / 4 - 1);
    }
    elements_seal(s.b);
    elements_seal(s.c);
    s.dt = matrix_new(test, length, heads, 0, true);
    matrix_uniform(test, s.dt, 1, 1);
    matrix_seal(s.dt);
    s.a = vector_filled(test, heads, FILL_ZERO);
    s.d = vector_filled(test, heads, FILL_INTEGERS);
    scan_run(test, whole(&s));
    scan_check(&s, (struct tolerance){.zeros = true});
    s.y = elements_new(test, length, heads * P, 0, true);
    scan_handed_on(test, &s, 1);
    scan_check(&s, (struct tolerance){.zeros = true});
    case_end();
}

static void scan_exact(struct test *test)
{
    static const size_t states[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65};
    for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
        for (size_t length = 1; length <= 200; length += length < 70 ? 1 : 13) {
            scan_integers(test, length, 1 + length % 3, states[length % (sizeof states / sizeof *states)]);
        }
    }
    test->placement = PLACE_ANY;
}

static void scan_reversed(struct test *test)
{
    struct scan_case s = scan_case(test, 150, 2, 20, 3, random_below(&test->random, 2)), r = s;
    scan_run(test, whole(&s));
    elements_take(s.y);
    r.x = matrix_turned(test, s.x);
    r.b = matrix_turned(test, s.b);
    r.c = matrix_turned(test, s.c);
    r.dt = matrix_turned(test, s.dt);
    r.y = elements_new(test, 150, 2 * P, 0, true);
    scan_run(test, whole(&r));
    check_same_y(&r, s.y);
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
    struct matrix changed =
        where < 3 ? elements_like(test, *victim, victim->width) : matrix_like(test, *victim, victim->width);
    matrix_copy(changed, *victim);
    size_t row = random_below(&test->random, 150), column = random_below(&test->random, victim->width);
    matrix_row(changed, (ptrdiff_t)row)[column] = value;
    *victim = where < 3 ? elements_seal(changed) : matrix_seal(changed);
    check_case("%g in %s row %zu column %zu, %s", value, (const char *[]){"x", "B", "C", "dt"}[where], row, column,
               describe(s.plain));
    scan_run(test, whole(&s));
    elements_take(s.y);
    double *y = scan_reference(&s);
    excuse_tile(y, s.y, row);
    struct tolerance tolerance = scan_tolerance(test, &s);
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
    scan_run(test, whole(&s));
    struct tolerance tolerance = scan_tolerance(test, &s);
    tolerance.zeros = true;
    scan_check(&s, tolerance);
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
    const double l2 = fmax(2e-5, test->bound);
    scan_check(&s, (struct tolerance){.l2 = l2, .worst = elements_narrow(test) ? 10 * l2 : 5 * l2});
    case_end();
}

void test_ssd_scan(struct test *test)
{
    scan_exact(test);
    scan_sizes(test);
    for (int i = 0; i < 6; i++) {
        scan_heads_alone(test);
        scan_cut(test);
        scan_reversed(test);
        for (int where = 0; where < 4; where++) {
            scan_special(test, NAN, where);
            if (where < 3) {
                scan_special(test, INFINITY, where);
                scan_special(test, -INFINITY, where);
            }
        }
    }
    for (size_t length = 0; length <= 260; length += length < 4 ? 1 : 32) {
        scan_halves(test, length);
        scan_in_place(test, length, false);
        scan_in_place(test, length, true);
    }
    scan_empty(test);
    scan_extreme_steps(test, 15, 40, -16);
    scan_extreme_steps(test, 15, 40, -1e-3);
    scan_extreme_steps(test, -30, -10, -1);
    scan_slowest_decay(test, 2048);
    scan_slowest_decay(test, 65536);
}
