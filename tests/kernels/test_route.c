/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>

struct route_case {
    struct matrix prob, q, k;
};

/* Row -1 is there when `before`. */
static struct route_case route_case(struct test *test, size_t rows, size_t width, size_t before, enum fill fill)
{
    check_case("rows %zu width %zu before %zu fill %s placement %d", rows, width, before, fill_name(fill),
               (int)test->placement);
    struct route_case c = {.prob = vector_new(test, rows), .q = matrix_filled(test, rows, width, before, true, fill)};
    c.k = matrix_filled_like(test, c.q, width, fill);
    return c;
}

static void route_run(const struct test *test, const struct route_case *c, size_t first, size_t rows, size_t before)
{
    test->kernels->route(c->prob.at + first, matrix_row(c->q, (ptrdiff_t)first), matrix_row(c->k, (ptrdiff_t)first),
                         rows, c->q.width, before, c->q.stride);
}

/* A probability is what a difference of numbers about 1 leaves: its error is absolute. */
static void route_check(const struct test *test, const struct route_case *c, size_t before)
{
    double *reference = reference_new(c->q.rows);
    oracle_route(reference, c->q.at, c->k.at, c->q.rows, c->q.width, before, c->q.stride);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = 0.5;
    tolerance.zeros = true;
    check_close_to(c->prob, reference, tolerance);
    for (size_t i = 0; i < c->q.rows; i++) {
        CHECK(!(c->prob.at[i] < 0) && !(c->prob.at[i] > 1));
    }
}

static void route_size(struct test *test, size_t rows, size_t width)
{
    for (size_t before = 0; before < 2; before++) {
        struct route_case c = route_case(test, rows, width, rows ? before : 0, FILL_NORMAL);
        route_run(test, &c, 0, rows, before);
        route_check(test, &c, before);
        case_end();
    }
}

static void route_cut(struct test *test, size_t rows)
{
    struct route_case c = route_case(test, rows, 45, 0, FILL_NORMAL);
    route_run(test, &c, 0, rows, 0);
    struct matrix whole = c.prob;
    for (size_t largest = 1; largest <= 9; largest += 8) {
        c.prob = vector_new(test, rows);
        for (size_t i = 0, count; i < rows; i += count) {
            count = 1 + random_below(&test->random, rows - i < largest ? rows - i : largest);
            route_run(test, &c, i, count, i > 0);
        }
        check_same(whole.at, 0, c.prob.at, 0, 1, rows);
    }
    case_end();
}

/* Rows along one line: k = q everywhere gives p = 0, and a turn of the sign gives p = 1. */
static void route_lines(struct test *test)
{
    enum { ROWS = 40, WIDTH = 50 };
    struct route_case c = {.prob = vector_new(test, ROWS), .q = matrix_new(test, ROWS, WIDTH, 0, true)};
    check_case("parallel rows");
    for (ptrdiff_t i = 0; i < ROWS; i++) {
        double sign = i / 4 % 2 ? -1 : 1, length = exp(random_uniform(&test->random, -5, 5));
        for (size_t j = 0; j < WIDTH; j++) {
            matrix_row(c.q, i)[j] = (float)(sign * length * (1 + (double)(j * j % 7)));
        }
    }
    c.k = matrix_like(test, c.q, WIDTH);
    matrix_copy(c.k, c.q);
    route_run(test, &c, 0, ROWS, 0);
    route_check(test, &c, 0);
    for (size_t i = 0; i < ROWS; i++) {
        CHECK(fabs(c.prob.at[i] - (i % 4 == 0)) < 1e-6);
    }
    case_end();
}

/* Norms about the floor of 1e-12, below which a row counts as shorter than 1. */
static void route_near_floor(struct test *test, double norm)
{
    enum { ROWS = 12, WIDTH = 16 };
    check_case("norms of about %g", norm);
    struct route_case c = {.prob = vector_new(test, ROWS), .q = matrix_new(test, ROWS, WIDTH, 0, true)};
    c.k = matrix_like(test, c.q, WIDTH);
    matrix_uniform(test, c.q, -norm / 4, norm / 2);
    matrix_uniform(test, c.k, -norm / 4, norm / 2);
    route_run(test, &c, 0, ROWS, 0);
    route_check(test, &c, 0);
    case_end();
}

static void route_special(struct test *test, float value, bool in_k)
{
    struct route_case c = route_case(test, 20, 37, 0, FILL_NORMAL);
    check_case("one %g in %s", value, in_k ? "k" : "q");
    struct matrix *victim = in_k ? &c.k : &c.q, changed = matrix_like(test, *victim, 37);
    matrix_copy(changed, *victim);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, 20))[random_below(&test->random, 37)] = value;
    *victim = matrix_seal(changed);
    route_run(test, &c, 0, 20, 0);
    route_check(test, &c, 0);
    case_end();
}

void test_route(struct test *test)
{
    sweep(test, route_size);
    for (size_t rows = 1; rows <= 130; rows++) {
        route_cut(test, rows);
    }
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct route_case c = route_case(test, 30, 45, 1, fill);
        route_run(test, &c, 0, 30, 1);
        route_check(test, &c, 1);
        case_end();
    }
    for (double norm = 1e-13; norm < 1e-10; norm *= 2) {
        route_near_floor(test, norm);
    }
    for (int i = 0; i < 10; i++) {
        route_lines(test);
        route_special(test, NAN, i % 2);
        route_special(test, INFINITY, i % 2);
        route_special(test, -INFINITY, i % 2);
    }
}

/* ---- ema ---- */

struct ema_case {
    struct matrix out, x, prob;
    int reverse;
};

static struct ema_case ema_case(struct test *test, size_t rows, size_t width, int reverse, double low, double high)
{
    check_case("rows %zu width %zu reverse %d p %g..%g placement %d", rows, width, reverse, low, high,
               (int)test->placement);
    struct ema_case c = {.out = matrix_new(test, rows, width, 0, true),
                         .x = matrix_filled(test, rows, width, 0, true, FILL_NORMAL),
                         .prob = vector_new(test, rows),
                         .reverse = reverse};
    matrix_uniform(test, c.prob, low, high);
    matrix_seal(c.prob);
    if (reverse) {
        matrix_fill(test, c.out, FILL_NORMAL);
    }
    return c;
}

static void ema_run(const struct test *test, const struct ema_case *c, double floor)
{
    double *reference = reference_new(c->x.rows * c->x.width);
    for (size_t i = 0; c->reverse && i < c->x.rows * c->x.width; i++) {
        reference[i] = matrix_row(c->out, (ptrdiff_t)(i / c->x.width))[i % c->x.width];
    }
    oracle_ema(reference, c->x.at, c->prob.at, c->x.rows, c->x.width, c->reverse, c->x.stride);
    test->kernels->ema(c->out.at, c->x.at, c->prob.at, c->x.rows, c->x.width, c->reverse, c->out.stride, c->x.stride);
    check_close(test, c->out, reference, floor);
}

static void ema_size(struct test *test, size_t rows, size_t width)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        struct ema_case c = ema_case(test, rows, width, reverse, 0.5, 1);
        ema_run(test, &c, 0.1);
        case_end();
    }
}

/* At the lower clamp an error lives for ten thousand chunks, and 1 - p holds p to three digits only. */
static void ema_long(struct test *test, double low, double high)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        struct ema_case c = ema_case(test, 131072, 3, reverse, low, high);
        ema_run(test, &c, 0);
        case_end();
    }
}

/* Descending rows are ascending rows of the data turned round: the same bits. */
static void ema_reversed(struct test *test)
{
    enum { ROWS = 77, WIDTH = 21 };
    struct ema_case forward = ema_case(test, ROWS, WIDTH, 0, 0, 1), backward = forward;
    ema_run(test, &forward, 0.1);
    backward.reverse = 1;
    backward.prob = vector_new(test, ROWS);
    backward.out = matrix_new(test, ROWS, WIDTH, 0, true);
    for (size_t i = 0; i < ROWS; i++) {
        backward.prob.at[i] = forward.prob.at[ROWS - 1 - i];
        fill_floats(&test->random, matrix_row(backward.out, (ptrdiff_t)i), WIDTH, FILL_ZERO);
    }
    test->kernels->ema(backward.out.at, matrix_row(forward.x, ROWS - 1), backward.prob.at, ROWS, WIDTH, 1,
                       backward.out.stride, -forward.x.stride);
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t c = 0; c < WIDTH; c++) { /* -0 + 0 is +0, so compared as numbers */
            CHECK(matrix_row(forward.out, (ptrdiff_t)i)[c] == matrix_row(backward.out, (ptrdiff_t)(ROWS - 1 - i))[c]);
        }
    }
    case_end();
}

static void ema_special(struct test *test, float value, bool in_prob)
{
    int reverse = (int)random_below(&test->random, 2);
    struct ema_case c = ema_case(test, 40, 19, reverse, 0.2, 1);
    check_case("one %g in %s reverse %d", value, in_prob ? "p" : "x", reverse);
    struct matrix *victim = in_prob ? &c.prob : &c.x, changed = matrix_like(test, *victim, victim->width);
    matrix_copy(changed, *victim);
    size_t row = in_prob ? 0 : random_below(&test->random, 40);
    matrix_row(changed, (ptrdiff_t)row)[random_below(&test->random, victim->width)] = value;
    *victim = matrix_seal(changed);
    ema_run(test, &c, 0.1);
    case_end();
}

void test_ema(struct test *test)
{
    sweep(test, ema_size);
    ema_long(test, 0, 0);
    ema_long(test, 1, 1);
    ema_long(test, 1e-4, 1e-3);
    ema_long(test, 0, 1);
    for (int i = 0; i < 10; i++) {
        ema_reversed(test);
        ema_special(test, NAN, false);
        ema_special(test, NAN, true);
        ema_special(test, INFINITY, false);
        ema_special(test, -INFINITY, false);
        ema_special(test, INFINITY, true);
        ema_special(test, -INFINITY, true);
    }
}
