/* SPDX-License-Identifier: Apache-2.0 */
#include "attention_case.h"

#include <math.h>

/* Tables of the model: base 10000, positions from 0. */
static void attention_tables(struct test *test, struct attention_case *c, size_t length, size_t rotary)
{
    size_t half = rotary / 2;
    c->cosine = vector_new(test, length * half);
    c->sine = vector_new(test, length * half);
    for (size_t i = 0; i < length * half; i++) {
        double angle = (double)(i / half) * pow(10000, -(double)(i % half) / (double)half);
        c->cosine.at[i] = (float)cos(angle);
        c->sine.at[i] = (float)sin(angle);
    }
    matrix_seal(c->cosine);
    matrix_seal(c->sine);
}

struct attention_case attention_case(struct test *test, size_t length, size_t width, size_t rotary, ptrdiff_t window,
                                     enum fill fill)
{
    check_case("length %zu width %zu rotary %zu window %td fill %s placement %d", length, width, rotary, window,
               fill_name(fill), (int)test->placement);
    struct attention_case c = {.out = elements_new(test, length, width, 0, true),
                               .q = elements_filled(test, length, width, 0, true, fill),
                               .window = window,
                               .rotary = rotary};
    c.k = elements_filled_like(test, c.q, width, fill);
    c.v = elements_filled_like(test, c.q, width, fill);
    attention_tables(test, &c, length, rotary);
    return c;
}

struct ldar_attention_args attention_args(const struct attention_case *c, size_t first, size_t queries)
{
    return (struct ldar_attention_args){.out = c->out.elements,
                                        .q = c->q.elements,
                                        .k = c->k.elements,
                                        .v = c->v.elements,
                                        .cosine = c->cosine.at,
                                        .sine = c->sine.at,
                                        .length = c->q.rows,
                                        .first = first,
                                        .queries = queries,
                                        .width = c->q.width,
                                        .rotary = c->rotary,
                                        .window = c->window,
                                        .stride = c->q.stride,
                                        .out_stride = c->out.stride,
                                        .scale = (float)(1 / sqrt((double)c->q.width))};
}

static void attention_run(const struct test *test, const struct attention_case *c, size_t first, size_t queries)
{
    struct ldar_attention_args args = attention_args(c, first, queries);
    args.scratch = scratch_new(ldar_attention_scratch(args.width));
    test->kernels->attention(&args);
    elements_take(c->out);
}

static double *attention_reference(const struct attention_case *c, struct ldar_attention_args args)
{
    double *reference = reference_new(args.queries * args.width);
    args.q = c->q.at, args.k = c->k.at, args.v = c->v.at;
    oracle_attention(reference, &args);
    return reference;
}

static void attention_check(const struct attention_case *c, struct tolerance tolerance)
{
    const double *reference = attention_reference(c, attention_args(c, 0, c->q.rows));
    check_close_to(c->out, reference, tolerance);
}

/* A mean over many normal values is what cancellation left of them, but its rounding errors are theirs. */
static struct tolerance attention_tolerance(const struct test *test)
{
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = 0.3;
    return tolerance;
}

static void attention_size(struct test *test, size_t length, size_t width, size_t rotary, ptrdiff_t window)
{
    struct attention_case c = attention_case(test, length, width, rotary, window, FILL_NORMAL);
    attention_run(test, &c, 0, length);
    attention_check(&c, attention_tolerance(test));
    case_end();
}

/*
 * The sums of exponentials that the gradient wants. They are logarithms, whose absolute error is the relative one of
 * the sums, and that comes from the scores.
 */
static void attention_log_sum(struct test *test, size_t length, ptrdiff_t window, size_t first, size_t queries)
{
    const double bound = elements_narrow(test) ? 0.05 : 1e-5;
    struct attention_case c = attention_case(test, length, 24, 12, window, FILL_NORMAL);
    struct ldar_attention_args args = attention_args(&c, first, queries);
    struct matrix log_sum = vector_new(test, length);
    args.log_sum = log_sum.at;
    args.scratch = scratch_new(ldar_attention_scratch(args.width));
    test->kernels->attention(&args);
    double *reference = reference_new(queries);
    args.q = c.q.at, args.k = c.k.at, args.v = c.v.at;
    oracle_attention_log_sum(reference, &args);
    for (size_t i = 0; i < length; i++) {
        const bool asked = i >= first && i < first + queries;
        if (asked ? !(fabs(log_sum.at[i] - reference[i - first]) <= bound) : !isnan(log_sum.at[i])) {
            check_fail("log_sum[%zu] is %.9g, expected %.9g", i, log_sum.at[i], asked ? reference[i - first] : NAN);
            break;
        }
    }
    case_end();
}

static const ptrdiff_t windows[] = {0, 1, 7, 63, 1023, -1, (ptrdiff_t)1 << 40};

enum { WINDOWS = sizeof windows / sizeof *windows };

static void attention_sizes(struct test *test)
{
    static const size_t lengths[] = {127, 128, 129, 130, 191, 255, 256, 257, 300},
                        widths[] = {16, 24, 32, 40, 48, 56, 64, 96, 128, 192, 255, 256};
    for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
        for (size_t length = 0; length <= 67; length++) {
            attention_size(test, length, 12, length % 7 * 2, windows[length % WINDOWS]);
        }
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            attention_size(test, lengths[i], 24, 24, windows[(i + test->placement) % WINDOWS]);
            attention_size(test, lengths[i], 32, 0, windows[(i + test->placement + 3) % WINDOWS]);
        }
        for (size_t width = 1; width <= 70; width++) {
            attention_size(test, 9, width, width % 3 ? 0 : width / 2 * 2, windows[width % WINDOWS]);
        }
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            attention_size(test, 70, widths[i], 2 * (widths[i] / 2), 7);
            attention_size(test, 140, widths[i], 2 * (widths[i] / 4), -1);
        }
    }
    test->placement = PLACE_FAR;
    attention_size(test, 2, 5, 4, -1);
    test->placement = PLACE_ANY;
}

/*
 * Equal scores and integer values: a mean times the count is an integer, and one key too many or too few shows. Values
 * are the steps of a sequence within -6..6, none 0: sums of neighbours stay small, and their means exact enough.
 */
static void attention_mask_logic(struct test *test, size_t length, ptrdiff_t window, size_t first, size_t queries)
{
    enum { WIDTH = 8 };
    struct attention_case c = attention_case(test, length, WIDTH, 0, window, FILL_ZERO);
    c.v = elements_like(test, c.q, WIDTH);
    for (size_t column = 0; column < WIDTH; column++) {
        for (size_t j = 0, level = 6; j < length; j++) {
            size_t next = (level + 1 + random_below(&test->random, 12)) % 13;
            matrix_row(c.v, (ptrdiff_t)j)[column] = (float)next - (float)level;
            level = next;
        }
    }
    elements_seal(c.v);
    attention_run(test, &c, first, queries);
    for (size_t i = first; i < first + queries; i++) {
        size_t reach = window < 0 ? length : (size_t)window, from = i > reach ? i - reach : 0, to = i + reach + 1;
        to = to < length ? to : length;
        for (size_t column = 0; column < WIDTH; column++) {
            double sum = 0;
            for (size_t j = from; j < to; j++) {
                sum += matrix_row(c.v, (ptrdiff_t)j)[column];
            }
            double got = matrix_row(c.out, (ptrdiff_t)i)[column] * (double)(to - from);
            if (!(fabs(got - sum) < 0.1)) {
                check_fail("query %zu column %zu: its values sum to %.9g, expected %.9g", i, column, got, sum);
                case_end();
                return;
            }
        }
    }
    case_end();
}

/* The cuts that kernels.h allows, in calls of any length from there. */
static void attention_cut(struct test *test, size_t length, ptrdiff_t window)
{
    enum { Q = LDAR_ATTENTION_QUERIES, WIDTH = 8 };
    struct attention_case c = attention_case(test, length, WIDTH, 4, window, FILL_NORMAL);
    for (size_t first = 0; first < length; first += Q) {
        attention_run(test, &c, first, length - first < Q ? length - first : Q);
    }
    attention_check(&c, attention_tolerance(test));
    struct matrix whole = c.out;
    for (size_t first = 0; first < length; first += Q) {
        size_t most = length - first < Q ? length - first : Q;
        const size_t counts[] = {0, 1, 1 + random_below(&test->random, most), most - 1};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            c.out = elements_new(test, length, WIDTH, 0, true);
            attention_run(test, &c, first, counts[i]);
            check_same(matrix_row(whole, (ptrdiff_t)first), whole.stride, matrix_row(c.out, (ptrdiff_t)first),
                       c.out.stride, counts[i], WIDTH);
            /* rows of other queries keep their canary, which is a NaN */
            CHECK(first == 0 || isnan(matrix_row(c.out, (ptrdiff_t)first - 1)[0]));
            CHECK(first + counts[i] == length || isnan(matrix_row(c.out, (ptrdiff_t)(first + counts[i]))[0]));
        }
    }
    case_end();
}

/* A window that no query's neighbourhood leaves is no window. */
static void attention_wide_window(struct test *test)
{
    struct attention_case c = attention_case(test, 200, 24, 24, 199, FILL_NORMAL);
    attention_run(test, &c, 0, 200);
    struct matrix windowed = c.out;
    c.out = elements_new(test, 200, 24, 0, true);
    c.window = -1;
    attention_run(test, &c, 0, 200);
    check_same(windowed.at, windowed.stride, c.out.at, c.out.stride, 200, 24);
    case_end();
}

/*
 * Scores far apart: one key takes all, wherever it stands, and the running maximum rises and falls in every order. In
 * bfloat16 a score of 100 would be off by 0.2, so there the queries and keys are integers, and the scale, in powers of
 * two as the kernel takes them, is one: all scores are exact.
 */
static void attention_peaked(struct test *test, int power)
{
    const bool exact = elements_narrow(test);
    const double scale = ldexp(log(2), power);
    struct attention_case c = attention_case(test, 400, 16, 0, -1, exact ? FILL_INTEGERS : FILL_NORMAL);
    c.v = elements_filled_like(test, c.q, 16, FILL_NORMAL);
    check_case("scores of about %g", scale);
    struct ldar_attention_args args = attention_args(&c, 0, 400);
    args.scale = (float)scale;
    args.scratch = scratch_new(ldar_attention_scratch(16));
    test->kernels->attention(&args);
    elements_take(c.out);
    const double *reference = attention_reference(&c, args);
    struct tolerance tolerance = attention_tolerance(test);
    tolerance.l2 *= exact ? 1 : fmax(1, scale); /* exp(s) is as exact as s, whose error grows with its magnitude */
    tolerance.worst *= exact ? 1 : fmax(1, scale) * 10;
    check_close_to(c.out, reference, tolerance);
    case_end();
}

/*
 * A NaN or an infinity reaches all queries that see it, and no query farther away than a block of keys and a tile of
 * queries: within those, products with the zero weights of masked keys are formed.
 */
static void attention_special(struct test *test, float value, int where)
{
    enum { LENGTH = 700, WIDTH = 16, WINDOW = 30, NEAR = WINDOW + LDAR_ATTENTION_KEYS + LDAR_TILE };
    struct attention_case c = attention_case(test, LENGTH, WIDTH, 8, WINDOW, FILL_NORMAL);
    size_t at = random_below(&test->random, LENGTH), column = random_below(&test->random, WIDTH);
    check_case("%g in %s row %zu column %zu", value, where == 0 ? "q" : where == 1 ? "k" : "v", at, column);
    struct matrix *victim = where == 0 ? &c.q : where == 1 ? &c.k : &c.v, changed = elements_like(test, *victim, WIDTH);
    matrix_copy(changed, *victim);
    matrix_row(changed, (ptrdiff_t)at)[column] = value;
    *victim = elements_seal(changed);
    attention_run(test, &c, 0, LENGTH);
    double *reference = attention_reference(&c, attention_args(&c, 0, LENGTH));
    for (size_t i = 0; i < LENGTH * WIDTH && where > 0; i++) {
        size_t query = i / WIDTH, far = query > at ? query - at : at - query;
        if (far < NEAR && !isfinite(matrix_row(c.out, (ptrdiff_t)query)[i % WIDTH])) {
            reference[i] = NAN;
        }
    }
    struct tolerance tolerance = attention_tolerance(test);
    tolerance.rule = SPECIAL_ANY;
    check_close_to(c.out, reference, tolerance);
    case_end();
}

void test_attention(struct test *test)
{
    attention_sizes(test);
    for (ptrdiff_t window = -1; window <= 260; window++) { /* edges meet tiles and blocks in every way */
        attention_mask_logic(test, 333, window, 0, 333);
    }
    static const ptrdiff_t few[] = {0, 1, 7, 64, 200, 1023, -1};
    for (size_t i = 0; i < sizeof few / sizeof *few; i++) {
        attention_mask_logic(test, 1 + random_below(&test->random, 400), few[i], 0, 1);
        attention_mask_logic(test, 1200, few[i], 1024, 176);
    }
    attention_cut(test, 2100, 1023);
    attention_cut(test, 1025, 7);
    attention_cut(test, 1100, -1);
    attention_wide_window(test);
    for (size_t i = 0; i < WINDOWS; i++) {
        attention_log_sum(test, 1 + i * 70, windows[i], 0, 1 + i * 70);
        attention_log_sum(test, 1030 + i, windows[i], LDAR_ATTENTION_QUERIES, 5);
    }
    attention_peaked(test, 0);
    attention_peaked(test, 4);
    attention_peaked(test, 7);
    for (int i = 0; i < 3; i++) {
        for (int where = 0; where < 3; where++) {
            attention_special(test, NAN, where);
            attention_special(test, INFINITY, where);
            attention_special(test, -INFINITY, where);
        }
    }
}
