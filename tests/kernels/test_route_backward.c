/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>

/* ---- route ---- */

struct route_case {
    struct matrix dq, dk, q, k, dprob;
    size_t rows, before, after;
    enum fill fill;
};

/* Rows -1 and `rows` are there when `before` and `after`. */
static struct route_case route_case(struct test *test, size_t rows, size_t width, int sides, enum fill fill)
{
    struct route_case c = {.rows = rows, .before = rows && sides & 1, .after = rows && sides & 2, .fill = fill};
    check_case("rows %zu width %zu before %zu after %zu fill %s placement %d", rows, width, c.before, c.after,
               fill_name(fill), (int)test->placement);
    c.q = matrix_filled(test, rows + c.after, width, c.before, true, fill);
    c.k = matrix_filled_like(test, c.q, width, fill);
    c.dprob = vector_filled(test, rows + c.after, FILL_NORMAL);
    c.dq = matrix_new(test, rows, width, 0, true);
    c.dk = matrix_like(test, c.dq, width);
    return c;
}

/* The rows first .. first + rows - 1. */
static struct ldar_route_backward_args route_args(const struct route_case *c, size_t first, size_t rows)
{
    return (struct ldar_route_backward_args){.dq = matrix_row(c->dq, (ptrdiff_t)first),
                                             .dk = matrix_row(c->dk, (ptrdiff_t)first),
                                             .dprob = c->dprob.at + first,
                                             .q = matrix_row(c->q, (ptrdiff_t)first),
                                             .k = matrix_row(c->k, (ptrdiff_t)first),
                                             .rows = rows,
                                             .width = c->q.width,
                                             .before = first > 0 || c->before,
                                             .after = first + rows < c->rows || c->after,
                                             .gradient_stride = c->dq.stride,
                                             .stride = c->q.stride};
}

/* Root mean square of the gradients before they are projected; what is parallel to its row has nothing but errors. */
static double unprojected(const struct route_case *c, struct matrix x)
{
    double sum = 0;
    for (size_t i = 0; i < c->rows; i++) {
        double squares = 0;
        for (size_t j = 0; j < x.width; j++) {
            squares += pow(matrix_row(x, (ptrdiff_t)i)[j], 2);
        }
        const bool above = i > 0 || c->before, below = i + 1 < c->rows || c->after;
        const double slopes = (above ? pow(c->dprob.at[i], 2) : 0) + (below ? pow(c->dprob.at[i + 1], 2) : 0);
        sum += slopes / 16 / fmax(squares, 1e-24);
    }
    return sqrt(sum / (double)(c->rows * x.width));
}

static void route_check(const struct test *test, const struct route_case *c)
{
    const struct ldar_route_backward_args args = route_args(c, 0, c->rows);
    double *dq = reference_new(c->rows * args.width), *dk = reference_new(c->rows * args.width);
    oracle_route_backward(dq, dk, &args);
    test->kernels->route_backward(&args);
    const bool usual = c->fill == FILL_NORMAL && args.width;
    struct tolerance tolerance = tolerance_of(test);
    tolerance.zeros = true;
    tolerance.floor = usual ? unprojected(c, c->q) : 0;
    check_close_to(c->dq, dq, tolerance);
    tolerance.floor = usual ? unprojected(c, c->k) : 0;
    check_close_to(c->dk, dk, tolerance);
}

static void route_size(struct test *test, size_t rows, size_t width)
{
    for (int sides = 0; sides < 4; sides++) {
        struct route_case c = route_case(test, rows, width, sides, FILL_NORMAL);
        route_check(test, &c);
        case_end();
    }
}

static void route_cut(struct test *test, size_t rows)
{
    struct route_case c = route_case(test, rows, 45, (int)rows, FILL_NORMAL);
    route_check(test, &c);
    struct route_case whole = c;
    for (size_t largest = 1; largest <= 9; largest += 8) {
        c.dq = matrix_like(test, whole.dq, 45);
        c.dk = matrix_like(test, whole.dq, 45);
        for (size_t i = 0, count; i < rows; i += count) {
            count = 1 + random_below(&test->random, rows - i < largest ? rows - i : largest);
            const struct ldar_route_backward_args args = route_args(&c, i, count);
            test->kernels->route_backward(&args);
        }
        check_same(whole.dq.at, whole.dq.stride, c.dq.at, c.dq.stride, rows, 45);
        check_same(whole.dk.at, whole.dk.stride, c.dk.at, c.dk.stride, rows, 45);
    }
    case_end();
}

/* Norms about the floor of 1e-12, below which they are constants. */
static void route_near_floor(struct test *test, double norm)
{
    enum { ROWS = 12, WIDTH = 16 };
    struct route_case c = route_case(test, ROWS, WIDTH, 0, FILL_TINY);
    check_case("norms of about %g", norm);
    struct matrix *both[] = {&c.q, &c.k};
    for (int i = 0; i < 2; i++) {
        *both[i] = matrix_like(test, c.q, WIDTH);
        matrix_uniform(test, *both[i], -norm / 4, norm / 2);
        matrix_seal(*both[i]);
    }
    route_check(test, &c);
    case_end();
}

/* A sequence's first row has a probability of its own accord. */
static void route_first(struct test *test)
{
    struct route_case c = route_case(test, 5, 20, 0, FILL_NORMAL);
    check_case("no gradient for the first");
    struct matrix dprob = vector_new(test, 5);
    matrix_copy(dprob, c.dprob);
    dprob.at[0] = NAN;
    c.dprob = matrix_seal(dprob);
    route_check(test, &c);
    case_end();
}

static void route_special(struct test *test, float value, bool in_k)
{
    struct route_case c = route_case(test, 20, 37, 3, FILL_NORMAL);
    check_case("one %g in %s", value, in_k ? "k" : "q");
    struct matrix *victim = in_k ? &c.k : &c.q, changed = matrix_like(test, *victim, 37);
    matrix_copy(changed, *victim);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, 20))[random_below(&test->random, 37)] = value;
    *victim = matrix_seal(changed);
    route_check(test, &c);
    case_end();
}

void test_route_backward(struct test *test)
{
    sweep(test, route_size);
    for (size_t rows = 1; rows <= 130; rows++) {
        route_cut(test, rows);
    }
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct route_case c = route_case(test, 30, 45, 3, fill);
        route_check(test, &c);
        case_end();
    }
    for (double norm = 1e-13; norm < 1e-10; norm *= 2) {
        route_near_floor(test, norm);
    }
    for (int i = 0; i < 10; i++) {
        route_first(test);
        route_special(test, NAN, i % 2);
        route_special(test, INFINITY, i % 2);
        route_special(test, -INFINITY, i % 2);
    }
}

/* ---- ema ---- */

struct ema_case {
    struct matrix dx, dprob, dout, x, prob;
};

static struct ema_case ema_case(struct test *test, size_t rows, size_t width, double low, double high)
{
    check_case("rows %zu width %zu p %g..%g placement %d", rows, width, low, high, (int)test->placement);
    struct ema_case c = {.dx = matrix_new(test, rows, width, 0, true),
                         .dprob = vector_new(test, rows),
                         .dout = matrix_filled(test, rows, width, 0, true, FILL_NORMAL),
                         .x = matrix_filled(test, rows, width, 0, true, FILL_NORMAL),
                         .prob = vector_new(test, rows)};
    matrix_uniform(test, c.prob, low, high);
    matrix_seal(c.prob);
    return c;
}

/* The columns first .. first + width - 1. */
static struct ldar_ema_backward_args ema_args(const struct ema_case *c, size_t first, size_t width)
{
    return (struct ldar_ema_backward_args){.dx = c->dx.at + first,
                                           .dprob = c->dprob.at,
                                           .dout = c->dout.at + first,
                                           .x = c->x.at + first,
                                           .prob = c->prob.at,
                                           .rows = c->x.rows,
                                           .width = width,
                                           .dx_stride = c->dx.stride,
                                           .dout_stride = c->dout.stride,
                                           .x_stride = c->x.stride,
                                           .scratch = scratch_new(c->x.rows * ((width + 15) / 16 * 16))};
}

static void ema_run(const struct test *test, const struct ema_case *c)
{
    const struct ldar_ema_backward_args args = ema_args(c, 0, c->x.width);
    double *dx = reference_new(args.rows * args.width), *dprob = reference_new(args.rows);
    oracle_ema_backward(dx, dprob, &args);
    test->kernels->ema_backward(&args);
    struct tolerance tolerance = tolerance_of(test);
    check_close_to(c->dx, dx, tolerance);
    tolerance.zeros = true;
    tolerance.floor = 0.5 * sqrt((double)args.width); /* a sum of as many terms about 1 */
    check_close_to(c->dprob, dprob, tolerance);
}

static void ema_size(struct test *test, size_t rows, size_t width)
{
    struct ema_case c = ema_case(test, rows, width, 0.1, 1);
    ema_run(test, &c);
    case_end();
}

/* At the lower clamp an error lives for ten thousand chunks, and 1 - p holds p to three digits only. */
static void ema_long(struct test *test, double low, double high)
{
    struct ema_case c = ema_case(test, 131072, 3, low, high);
    ema_run(test, &c);
    case_end();
}

/* Sums that grow and grow: their roundings do not cancel. */
static void ema_steady(struct test *test)
{
    struct ema_case c = ema_case(test, 32768, 3, 2e-4, 2e-4);
    check_case("the same in all rows");
    struct matrix *both[] = {&c.dout, &c.x};
    for (int i = 0; i < 2; i++) {
        struct matrix model = *both[i];
        *both[i] = matrix_like(test, model, 3);
        for (size_t row = 0; row < model.rows; row++) {
            for (size_t j = 0; j < 3; j++) {
                matrix_row(*both[i], (ptrdiff_t)row)[j] = 0.1f + (float)j / 3;
            }
        }
        matrix_seal(*both[i]);
    }
    ema_run(test, &c);
    case_end();
}

/* Columns do not know each other. */
static void ema_columns(struct test *test)
{
    enum { ROWS = 40, WIDTH = 150 };
    struct ema_case c = ema_case(test, ROWS, WIDTH, 0, 1);
    check_case("columns apart");
    ema_run(test, &c);
    const struct matrix whole = c.dx;
    c.dx = matrix_like(test, whole, WIDTH);
    c.dprob = vector_new(test, ROWS);
    for (size_t i = 0, count; i < WIDTH; i += count) {
        count = 1 + random_below(&test->random, WIDTH - i < 40 ? WIDTH - i : 40);
        const struct ldar_ema_backward_args args = ema_args(&c, i, count);
        test->kernels->ema_backward(&args);
    }
    check_same(whole.at, whole.stride, c.dx.at, c.dx.stride, ROWS, WIDTH);
    case_end();
}

static void ema_special(struct test *test, float value, int where)
{
    static const char *const names[] = {"x", "p", "dout"};
    struct ema_case c = ema_case(test, 40, 19, 0.2, 1);
    check_case("one %g in %s", value, names[where]);
    struct matrix *victim = where == 0 ? &c.x : where == 1 ? &c.prob : &c.dout;
    struct matrix changed = matrix_like(test, *victim, victim->width);
    matrix_copy(changed, *victim);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random,
                                                victim->rows))[random_below(&test->random, victim->width)] = value;
    *victim = matrix_seal(changed);
    ema_run(test, &c);
    case_end();
}

void test_ema_backward(struct test *test)
{
    sweep(test, ema_size);
    ema_long(test, 0, 0);
    ema_long(test, 1, 1);
    ema_long(test, 1.1e-4, 1e-3);
    ema_long(test, 0, 1);
    ema_steady(test);
    for (int i = 0; i < 10; i++) {
        ema_columns(test);
        for (int where = 0; where < 3; where++) {
            ema_special(test, NAN, where);
            ema_special(test, INFINITY, where);
            ema_special(test, -INFINITY, where);
        }
    }
}
