/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>

static const float eps = 1e-5f;

/* What `+=` ends with: what was there before and the gradient. */
static void add_start(double *reference, struct matrix start)
{
    for (size_t i = 0; i < start.rows * start.width; i++) {
        reference[i] += matrix_row(start, (ptrdiff_t)(i / start.width))[i % start.width];
    }
}

static struct matrix copy_of(struct test *test, struct matrix m)
{
    struct matrix copy = matrix_like(test, m, m.width);
    matrix_copy(copy, m);
    return copy;
}

/*
 * Along a row the gradient of a norm is blind, so what is left of it may be far less than the terms it is made of: in
 * rows of one number nearly nothing. `scale` and more of their factors say how large those are.
 */
static double row_scale(const float *x, const float *z, size_t width)
{
    double sum = 0;
    for (size_t c = 0; c < width; c++) {
        double v = z ? x[c] * oracle_silu(z[c]) : x[c];
        sum += v * v;
    }
    return 1 / sqrt(sum / (double)width + eps);
}

/* ---- rms_norm_backward ---- */

struct norm_case {
    struct matrix dx_start, dweight_start, dx, dweight, dy, x, weight;
};

static struct norm_case norm_case(struct test *test, size_t rows, size_t width, enum fill fill)
{
    check_case("rows %zu width %zu fill %s placement %d", rows, width, fill_name(fill), (int)test->placement);
    struct norm_case c = {.dx_start = matrix_filled(test, rows, width, 0, true, FILL_INTEGERS),
                          .dweight_start = vector_filled(test, width, FILL_INTEGERS),
                          .dy = matrix_filled(test, rows, width, 0, true, FILL_NORMAL),
                          .x = matrix_filled(test, rows, width, 0, true, fill),
                          .weight = vector_filled(test, width, FILL_NORMAL)};
    c.dx = copy_of(test, c.dx_start), c.dweight = copy_of(test, c.dweight_start);
    return c;
}

static void norm_rows(const struct test *test, const struct norm_case *c, size_t first, size_t rows)
{
    const ptrdiff_t at = (ptrdiff_t)first;
    test->kernels->rms_norm_backward(matrix_row(c->dx, at), c->dweight.at, matrix_row(c->dy, at), matrix_row(c->x, at),
                                     c->weight.at, rows, c->x.width, eps, c->dx.stride, c->dy.stride, c->x.stride);
}

static double norm_terms(const struct norm_case *c)
{
    const size_t rows = c->x.rows, width = c->x.width;
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        double scale = row_scale(matrix_row(c->x, (ptrdiff_t)i), NULL, width);
        for (size_t j = 0; j < width; j++) {
            double term = scale * c->weight.at[j] * matrix_row(c->dy, (ptrdiff_t)i)[j];
            sum += isfinite(term) ? term * term : 0;
        }
    }
    return sqrt(sum / fmax(1, (double)(rows * width)));
}

static void norm_check(const struct test *test, const struct norm_case *c, bool zeros)
{
    const size_t rows = c->x.rows, width = c->x.width;
    double *dx = reference_new(rows * width), *dweight = reference_new(width);
    oracle_rms_norm_backward(dx, dweight, c->dy.at, c->x.at, c->weight.at, rows, width, eps, c->dy.stride, c->x.stride);
    add_start(dx, c->dx_start);
    add_start(dweight, c->dweight_start);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.zeros = zeros;
    tolerance.floor = fmax(1, norm_terms(c));
    check_close_to(c->dx, dx, tolerance);
    tolerance.floor = sqrt((double)rows + 1); /* sums of so many terms, with what was there before, may cancel */
    check_close_to(c->dweight, dweight, tolerance);
}

static void norm_size(struct test *test, size_t rows, size_t width)
{
    struct norm_case c = norm_case(test, rows, width, FILL_NORMAL);
    norm_rows(test, &c, 0, rows);
    norm_check(test, &c, rows == 0); /* then all that is there are the integers */
    case_end();
}

/* Of rows of +-1 the root is one, and its gradient an integer or half of one: nothing may be rounded. */
static void norm_exact(struct test *test, size_t rows)
{
    enum { WIDTH = 64 };
    struct norm_case c = norm_case(test, rows, WIDTH, FILL_INTEGERS);
    struct matrix x = matrix_like(test, c.x, WIDTH), dy = matrix_like(test, c.dy, WIDTH),
                  weight = vector_new(test, WIDTH);
    matrix_fill(test, dy, FILL_INTEGERS);
    matrix_fill(test, weight, FILL_INTEGERS);
    for (size_t i = 0; i < rows * WIDTH; i++) {
        matrix_row(x, (ptrdiff_t)(i / WIDTH))[i % WIDTH] = random_below(&test->random, 2) ? 1.0f : -1.0f;
    }
    c.x = matrix_seal(x), c.dy = matrix_seal(dy), c.weight = matrix_seal(weight);
    test->kernels->rms_norm_backward(c.dx.at, c.dweight.at, c.dy.at, c.x.at, c.weight.at, rows, WIDTH, 0, c.dx.stride,
                                     c.dy.stride, c.x.stride);
    double *dx = reference_new(rows * WIDTH), *dweight = reference_new(WIDTH);
    oracle_rms_norm_backward(dx, dweight, c.dy.at, c.x.at, c.weight.at, rows, WIDTH, 0, c.dy.stride, c.x.stride);
    add_start(dx, c.dx_start);
    add_start(dweight, c.dweight_start);
    const struct tolerance exact = {.zeros = true};
    check_close_to(c.dx, dx, exact);
    check_close_to(c.dweight, dweight, exact);
    case_end();
}

static void norm_cut(struct test *test)
{
    struct norm_case c = norm_case(test, 67, 45, FILL_NORMAL);
    norm_rows(test, &c, 0, 67);
    struct norm_case cut = c;
    cut.dx = copy_of(test, c.dx_start), cut.dweight = copy_of(test, c.dweight_start);
    for (size_t i = 0, rows; i < 67; i += rows) {
        rows = 1 + random_below(&test->random, 67 - i < 9 ? 67 - i : 9);
        norm_rows(test, &cut, i, rows);
    }
    check_same(c.dx.at, c.dx.stride, cut.dx.at, cut.dx.stride, 67, 45);
    check_same(c.dweight.at, 0, cut.dweight.at, 0, 1, 45);
    case_end();
}

static void norm_special(struct test *test, float value, bool in_dy)
{
    struct norm_case c = norm_case(test, 6, 37, FILL_NORMAL);
    check_case("one %g in %s", value, in_dy ? "dy" : "x");
    struct matrix *victim = in_dy ? &c.dy : &c.x, changed = copy_of(test, *victim);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, 6))[random_below(&test->random, 37)] = value;
    *victim = matrix_seal(changed);
    norm_rows(test, &c, 0, 6);
    norm_check(test, &c, false);
    case_end();
}

void test_rms_norm_backward(struct test *test)
{
    sweep(test, norm_size);
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct norm_case c = norm_case(test, 5, 67, fill);
        norm_rows(test, &c, 0, 5);
        norm_check(test, &c, fill != FILL_NORMAL);
        case_end();
    }
    norm_size(test, 4096, 21);
    for (size_t rows = 1; rows < 20; rows++) {
        norm_exact(test, rows);
        norm_cut(test);
        norm_special(test, NAN, rows % 2);
        norm_special(test, INFINITY, rows % 2);
        norm_special(test, -INFINITY, rows % 2);
    }
}

/* ---- gated_norm_backward ---- */

struct gated_case {
    struct matrix out, dz, dy[2], dweight[2], dweight_start[2];
    struct matrix dout, z, y[2], weight[2];
};

/* The outputs anew. */
static void gated_outputs(struct test *test, struct gated_case *c)
{
    c->out = elements_new(test, c->z.rows, c->z.width, 0, true);
    c->dz = elements_new(test, c->z.rows, c->z.width, 0, true);
    for (int j = 0; j < 2; j++) {
        c->dy[j] = elements_like(test, c->y[j], c->z.width);
        c->dweight[j] = copy_of(test, c->dweight_start[j]);
    }
}

static struct gated_case gated_case(struct test *test, size_t rows, size_t width, enum fill fill)
{
    check_case("rows %zu width %zu fill %s placement %d", rows, width, fill_name(fill), (int)test->placement);
    struct gated_case c = {.dout = matrix_filled(test, rows, width, 0, true, FILL_NORMAL),
                           .z = elements_filled(test, rows, width, 0, true, FILL_NORMAL)};
    for (int j = 0; j < 2; j++) {
        c.y[j] = elements_filled(test, rows, width, 0, true, fill);
        c.weight[j] = vector_filled(test, width, FILL_NORMAL);
        c.dweight_start[j] = vector_filled(test, width, FILL_INTEGERS);
    }
    gated_outputs(test, &c);
    return c;
}

static struct ldar_gated_norm_backward_args gated_args(const struct gated_case *c, size_t first, size_t rows)
{
    const ptrdiff_t at = (ptrdiff_t)first;
    struct ldar_gated_norm_backward_args args = {.out = matrix_elements(c->out, at),
                                                 .dz = matrix_elements(c->dz, at),
                                                 .dout = matrix_row(c->dout, at),
                                                 .z = matrix_elements(c->z, at),
                                                 .eps = eps,
                                                 .rows = rows,
                                                 .width = c->z.width,
                                                 .out_stride = c->out.stride,
                                                 .dz_stride = c->dz.stride,
                                                 .dout_stride = c->dout.stride,
                                                 .z_stride = c->z.stride};
    for (int j = 0; j < 2; j++) {
        args.dy[j] = matrix_elements(c->dy[j], at);
        args.dweight[j] = c->dweight[j].at;
        args.y[j] = matrix_elements(c->y[j], at);
        args.weight[j] = c->weight[j].at;
        args.y_stride[j] = c->y[j].stride;
    }
    return args;
}

static void gated_take(const struct gated_case *c)
{
    elements_take(c->out);
    elements_take(c->dz);
    elements_take(c->dy[0]);
    elements_take(c->dy[1]);
}

static void gated_rows(struct test *test, const struct gated_case *c, size_t first, size_t rows)
{
    struct ldar_gated_norm_backward_args args = gated_args(c, first, rows);
    args.scratch = vector_new(test, 2 * args.width).at;
    test->kernels->gated_norm_backward(&args);
    gated_take(c);
}

struct gated_terms {
    double dy[2], dz;
};

static struct gated_terms gated_terms(const struct gated_case *c)
{
    const size_t rows = c->z.rows, width = c->z.width;
    struct gated_terms sum = {0};
    for (size_t i = 0; i < rows; i++) {
        const float *z = matrix_row(c->z, (ptrdiff_t)i), *dout = matrix_row(c->dout, (ptrdiff_t)i);
        for (int j = 0; j < 2; j++) {
            const float *y = matrix_row(c->y[j], (ptrdiff_t)i);
            double scale = row_scale(y, z, width);
            for (size_t k = 0; k < width; k++) {
                double dv = 0.5 * scale * c->weight[j].at[k] * dout[k], dy = dv * oracle_silu(z[k]), dz = dv * y[k];
                sum.dy[j] += isfinite(dy) ? dy * dy : 0;
                sum.dz += isfinite(dz) ? dz * dz : 0;
            }
        }
    }
    const double count = fmax(1, (double)(rows * width));
    return (struct gated_terms){{sqrt(sum.dy[0] / count), sqrt(sum.dy[1] / count)}, sqrt(sum.dz / count)};
}

static void gated_check(const struct gated_case *c, struct tolerance tolerance)
{
    const size_t rows = c->z.rows, width = c->z.width;
    double *dz = reference_new(rows * width), *dy[2], *dweight[2];
    struct ldar_gated_norm_backward_args args = gated_args(c, 0, rows);
    args.z = c->z.at;
    for (int j = 0; j < 2; j++) {
        args.y[j] = c->y[j].at;
        dy[j] = reference_new(rows * width), dweight[j] = reference_new(width);
    }
    oracle_gated_norm_backward(dz, dy, dweight, &args);
    const struct gated_terms terms = gated_terms(c);
    tolerance.floor = terms.dz;
    check_close_to(c->dz, dz, tolerance);
    for (int j = 0; j < 2; j++) {
        tolerance.floor = terms.dy[j];
        check_close_to(c->dy[j], dy[j], tolerance);
        add_start(dweight[j], c->dweight_start[j]);
        struct tolerance sums = tolerance;
        sums.floor = 0.5 * sqrt((double)rows + 1), sums.zeros = true;
        check_close_to(c->dweight[j], dweight[j], sums);
    }
}

/* `out` is gated_norm's to the bit. */
static void gated_check_out(struct test *test, const struct gated_case *c)
{
    struct matrix out = elements_like(test, c->out, c->out.width);
    test->kernels->gated_norm(&(struct ldar_gated_norm_args){.out = out.elements,
                                                             .z = c->z.elements,
                                                             .y = {c->y[0].elements, c->y[1].elements},
                                                             .weight = {c->weight[0].at, c->weight[1].at},
                                                             .eps = eps,
                                                             .rows = out.rows,
                                                             .width = out.width,
                                                             .out_stride = out.stride,
                                                             .z_stride = c->z.stride,
                                                             .y_stride = {c->y[0].stride, c->y[1].stride},
                                                             .scratch = vector_new(test, 2 * out.width).at});
    elements_take(out);
    check_same(c->out.at, c->out.stride, out.at, out.stride, out.rows, out.width);
}

static void gated_size(struct test *test, size_t rows, size_t width)
{
    struct gated_case c = gated_case(test, rows, width, FILL_NORMAL);
    gated_rows(test, &c, 0, rows);
    gated_check(&c, tolerance_of(test));
    gated_check_out(test, &c);
    case_end();
}

static void gated_check_equal(const struct gated_case *a, const struct gated_case *b)
{
    const size_t rows = a->z.rows, width = a->z.width;
    check_same(a->out.at, a->out.stride, b->out.at, b->out.stride, rows, width);
    check_same(a->dz.at, a->dz.stride, b->dz.at, b->dz.stride, rows, width);
    for (int j = 0; j < 2; j++) {
        check_same(a->dy[j].at, a->dy[j].stride, b->dy[j].at, b->dy[j].stride, rows, width);
        check_same(a->dweight[j].at, 0, b->dweight[j].at, 0, 1, width);
    }
}

static void gated_cut(struct test *test)
{
    struct gated_case c = gated_case(test, 40, 83, FILL_NORMAL);
    gated_rows(test, &c, 0, 40);
    struct gated_case cut = c;
    gated_outputs(test, &cut);
    for (size_t i = 0, rows; i < 40; i += rows) {
        rows = 1 + random_below(&test->random, 40 - i < 7 ? 40 - i : 7);
        gated_rows(test, &cut, i, rows);
    }
    gated_check_equal(&c, &cut);
    case_end();
}

/* dy in the place of y. */
static void gated_in_place(struct test *test)
{
    struct gated_case c = gated_case(test, 11, 45, FILL_NORMAL);
    gated_rows(test, &c, 0, 11);
    struct gated_case same = c;
    gated_outputs(test, &same);
    for (int j = 0; j < 2; j++) {
        same.y[j] = same.dy[j];
        matrix_copy(same.y[j], c.y[j]);
        elements_put(same.y[j]);
    }
    gated_rows(test, &same, 0, 11);
    gated_check_equal(&c, &same);
    case_end();
}

static void gated_special(struct test *test, float value, int where)
{
    static const char *const names[] = {"y[0]", "y[1]", "z", "dout"};
    struct gated_case c = gated_case(test, 5, 37, FILL_NORMAL);
    check_case("one %g in %s", value, names[where]);
    struct matrix *const victims[] = {&c.y[0], &c.y[1], &c.z, &c.dout}, *m = victims[where], changed;
    changed = where == 3 ? matrix_like(test, *m, 37) : elements_like(test, *m, 37);
    matrix_copy(changed, *m);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, 5))[random_below(&test->random, 37)] = value;
    *m = where == 3 ? matrix_seal(changed) : elements_seal(changed);
    gated_rows(test, &c, 0, 5);
    gated_check(&c, tolerance_of(test));
    case_end();
}

void test_gated_norm_backward(struct test *test)
{
    sweep(test, gated_size);
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct gated_case c = gated_case(test, 5, 67, fill);
        gated_rows(test, &c, 0, 5);
        struct tolerance tolerance = tolerance_of(test);
        tolerance.zeros = fill != FILL_NORMAL;
        gated_check(&c, tolerance);
        case_end();
    }
    gated_size(test, 2048, 21);
    for (int i = 0; i < 10; i++) {
        gated_cut(test);
        gated_in_place(test);
        for (int where = 0; where < 4; where++) {
            gated_special(test, NAN, where);
            gated_special(test, INFINITY, where);
            gated_special(test, -INFINITY, where);
        }
    }
}
