/* SPDX-License-Identifier: Apache-2.0 */
#include "ssd_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { P = LDAR_HEAD };

static struct tolerance scan_tolerance(const struct test *test, const struct scan_case *s)
{
    struct tolerance tolerance = tolerance_of(test);
    /* The largest outputs are thirty times the rms, and err by their own units in the last place. */
    tolerance.worst *= 2;
    /* An output is a sum of N products over all tokens before: this is what it comes to without cancellation. */
    tolerance.floor = 0.03 * sqrt((double)s->b.width) * (s->plain ? 1 : 0.25);
    return tolerance;
}

static double *scan_reference(const struct scan_case *s)
{
    struct ldar_ssd_args args = scan_for_oracle(s);
    double *y = reference_new(args.length * args.heads * P);
    oracle_ssd_scan(y, &args);
    return y;
}

static void scan_check(const struct scan_case *s, struct tolerance tolerance)
{
    elements_take(s->y);
    check_close_to(s->y, scan_reference(s), tolerance);
}

/* Room for the states of `args`, between those of other heads. */
static struct matrix scan_keep(struct test *test, struct ldar_ssd_args *args)
{
    struct matrix states =
        matrix_new(test, scan_borders(args->length), args->heads * ldar_ssd_state(args->state), 0, true);
    args->states = states.at;
    args->states_stride = states.stride;
    return states;
}

static void scan_size(struct test *test, size_t length, size_t heads, size_t state, bool plain)
{
    size_t history = length && test->placement != PLACE_FAR ? random_below(&test->random, 4) : 0;
    struct scan_case s = scan_case(test, length, heads, state, history, plain);
    struct ldar_ssd_args args = scan_whole(&s);
    if (test->placement != PLACE_FAR && random_below(&test->random, 2)) {
        scan_keep(test, &args);
    }
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

static void scan_heads_alone(struct test *test, size_t length)
{
    enum { HEADS = LDAR_SSD_HEADS, N = 24 };
    const size_t size = ldar_ssd_state(N);
    struct scan_case s = scan_case(test, length, HEADS, N, 2, random_below(&test->random, 2)), alone = s;
    struct ldar_ssd_args args = scan_whole(&s);
    struct matrix states = scan_keep(test, &args);
    scan_run(test, args);
    elements_take(s.y);
    alone.y = elements_new(test, length, HEADS * P, 0, true);
    for (size_t head = 0, heads; head < HEADS; head += heads) {
        heads = 1 + random_below(&test->random, HEADS - head < 4 ? HEADS - head : 4);
        struct ldar_ssd_args few = scan_args(&alone, 0, length, head, heads);
        struct matrix own = scan_keep(test, &few);
        scan_run(test, few);
        check_same(states.at + head * size, states.stride, own.at, own.stride, own.rows, heads * size);
    }
    check_same_y(&alone, s.y);
    case_end();
}

/* The first half of each head's columns, or the second. */
static struct ldar_ssd_args half_args(const struct scan_case *s, size_t heads, size_t half)
{
    struct ldar_ssd_args args = scan_args(s, 0, s->x.rows, 0, heads);
    const size_t column = half * P / 2;
    args.width = P / 2;
    args.y = element_at(s->y, 0, column);
    args.x = element_at(s->x, 0, column);
    if (!s->plain) {
        args.conv_weight_x += column, args.conv_bias_x += column;
    }
    return args;
}

/* Columns do not mix: the halves of all heads are the whole. */
static void scan_halves(struct test *test, size_t length)
{
    enum { HEADS = 3, N = 20 };
    struct scan_case s = scan_case(test, length, HEADS, N, random_below(&test->random, 4),
                                   random_below(&test->random, 2)),
                     halves = s;
    scan_run(test, scan_whole(&s));
    elements_take(s.y);
    halves.y = elements_new(test, length, HEADS * P, 0, true);
    for (size_t half = 0; half < 2; half++) {
        scan_run(test, half_args(&halves, HEADS, half));
    }
    check_same_y(&halves, s.y);
    case_end();
}

/* y may take the place of x: the rows that the next tile's convolution looks back at are gone by then. */
static void scan_in_place(struct test *test, size_t length, bool plain)
{
    enum { HEADS = 3, N = 20 };
    struct scan_case s = scan_case(test, length, HEADS, N, 0, plain), same = s;
    scan_run(test, scan_whole(&s));
    elements_take(s.y);
    const size_t halves = 1 + random_below(&test->random, 2);
    same.x = same.y = elements_like(test, s.x, HEADS * P);
    matrix_copy(same.x, s.x);
    elements_put(same.x);
    for (size_t half = 0; half < halves; half++) {
        scan_run(test, halves == 1 ? scan_whole(&same) : half_args(&same, HEADS, half));
    }
    check_same_y(&same, s.y);
    case_end();
}

static int by_value(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* One head's state after `length` tokens, plain and without history, in ascending order. */
static double *sorted_state(const struct scan_case *s, size_t h, size_t length)
{
    const size_t n = s->b.width;
    double *state = reference_new(P * n);
    for (size_t t = 0; t < length; t++) {
        const ptrdiff_t row = (ptrdiff_t)t;
        const double dt = matrix_row(s->dt, row)[h], decay = exp(dt * s->a.at[h]);
        for (size_t i = 0; i < P * n; i++) {
            const double x = matrix_row(s->x, row)[h * P + i / n], b = matrix_row(s->b, row)[i % n];
            state[i] = decay * state[i] + dt * x * b;
        }
    }
    qsort(state, P * n, sizeof *state, by_value);
    return state;
}

/* The states that a scan keeps hold the right numbers; in which order, its backward twin must know. */
static void scan_kept(struct test *test)
{
    enum { HEADS = 2, N = 32, SIZE = P * N };
    struct scan_case s = scan_case(test, 2 * LDAR_SSD_SPAN + 1, HEADS, N, 0, true);
    struct ldar_ssd_args args = scan_whole(&s);
    struct matrix states = scan_keep(test, &args);
    scan_run(test, args);
    for (size_t i = 0; i < states.rows * HEADS; i++) {
        const size_t span = i / HEADS, h = i % HEADS;
        const double *expected = sorted_state(&s, h, (span + 1) * LDAR_SSD_SPAN);
        double *got = reference_new(SIZE);
        struct matrix sorted = vector_new(test, SIZE);
        for (size_t j = 0; j < SIZE; j++) {
            got[j] = matrix_row(states, (ptrdiff_t)span)[h * SIZE + j];
        }
        qsort(got, SIZE, sizeof *got, by_value);
        for (size_t j = 0; j < SIZE; j++) {
            sorted.at[j] = (float)got[j];
        }
        check_close_to(sorted, expected, tolerance_of(test));
    }
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
    scan_integer_case(test, &s);
    scan_run(test, scan_whole(&s));
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
    scan_run(test, scan_whole(&s));
    elements_take(s.y);
    r.x = matrix_turned(test, s.x);
    r.b = matrix_turned(test, s.b);
    r.c = matrix_turned(test, s.c);
    r.dt = matrix_turned(test, s.dt);
    r.y = elements_new(test, 150, 2 * P, 0, true);
    scan_run(test, scan_whole(&r));
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
               scan_describe(s.plain));
    scan_run(test, scan_whole(&s));
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
    scan_run(test, scan_whole(&s));
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
    scan_run(test, scan_whole(&s));
    const double l2 = fmax(2e-5, test->bound);
    scan_check(&s, (struct tolerance){.l2 = l2, .worst = elements_narrow(test) ? 10 * l2 : 5 * l2});
    case_end();
}

void test_ssd_scan(struct test *test)
{
    scan_exact(test);
    scan_sizes(test);
    for (int i = 0; i < 6; i++) {
        scan_heads_alone(test, 100);
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
    scan_heads_alone(test, LDAR_SSD_SPAN + 70);
    scan_kept(test);
    scan_extreme_steps(test, 15, 40, -16);
    scan_extreme_steps(test, 15, 40, -1e-3);
    scan_extreme_steps(test, -30, -10, -1);
    scan_slowest_decay(test, 2048);
    scan_slowest_decay(test, 65536);
}
