/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>

static const float eps = 1e-5f;

/* ---- rms_norm ---- */

struct norm_case {
    struct matrix out, x, weight;
};

static struct norm_case norm_case(struct test *test, size_t rows, size_t width, enum fill fill)
{
    check_case("rows %zu width %zu fill %s placement %d", rows, width, fill_name(fill), (int)test->placement);
    return (struct norm_case){.x = matrix_filled(test, rows, width, 0, true, fill),
                              .weight = vector_filled(test, width, FILL_NORMAL),
                              .out = elements_new(test, rows, width, 0, true)};
}

static void norm_rows(const struct test *test, const struct norm_case *c, size_t first, size_t rows)
{
    test->kernels->rms_norm(matrix_elements(c->out, (ptrdiff_t)first), matrix_row(c->x, (ptrdiff_t)first), c->weight.at,
                            rows, c->out.width, eps, c->out.stride, c->x.stride);
    elements_take(c->out);
}

static void norm_check(const struct test *test, const struct norm_case *c, bool zeros)
{
    double *reference = reference_new(c->out.rows * c->out.width);
    oracle_rms_norm(reference, c->x.at, c->weight.at, c->x.rows, c->x.width, eps, c->x.stride);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.zeros = zeros;
    check_close_to(c->out, reference, tolerance);
}

static void norm_size(struct test *test, size_t rows, size_t width)
{
    struct norm_case c = norm_case(test, rows, width, FILL_NORMAL);
    norm_rows(test, &c, 0, rows);
    norm_check(test, &c, false);
    case_end();
}

static void norm_in_place(struct test *test)
{
    struct norm_case c = norm_case(test, 9, 45, FILL_NORMAL);
    c.out = matrix_like(test, c.x, c.x.width);
    matrix_copy(c.out, c.x);
    test->kernels->rms_norm(c.out.at, c.out.at, c.weight.at, 9, 45, eps, c.out.stride, c.out.stride);
    norm_check(test, &c, false);
    case_end();
}

static void norm_cut(struct test *test)
{
    struct norm_case c = norm_case(test, 67, 45, FILL_NORMAL);
    norm_rows(test, &c, 0, 67);
    struct matrix whole = c.out;
    c.out = elements_new(test, 67, 45, 0, true);
    for (size_t i = 0, rows; i < 67; i += rows) {
        rows = 1 + random_below(&test->random, 67 - i < 5 ? 67 - i : 5);
        norm_rows(test, &c, i, rows);
    }
    check_same(whole.at, whole.stride, c.out.at, c.out.stride, 67, 45);
    case_end();
}

static void norm_special(struct test *test, float value)
{
    check_case("one %g", value);
    struct matrix x = matrix_new(test, 4, 37, 0, false), weight = vector_filled(test, 37, FILL_NORMAL);
    matrix_fill(test, x, FILL_NORMAL);
    matrix_row(x, 2)[random_below(&test->random, 37)] = value;
    struct norm_case c = {elements_new(test, 4, 37, 0, false), matrix_seal(x), weight};
    norm_rows(test, &c, 0, 4);
    norm_check(test, &c, false);
    case_end();
}

void test_rms_norm(struct test *test)
{
    sweep(test, norm_size);
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct norm_case c = norm_case(test, 5, 67, fill);
        norm_rows(test, &c, 0, 5);
        norm_check(test, &c, fill == FILL_INTEGERS || fill == FILL_ZERO || fill == FILL_DENORMAL);
        case_end();
    }
    for (int i = 0; i < 20; i++) {
        if (!elements_narrow(test)) {
            norm_in_place(test);
        }
        norm_cut(test);
        norm_special(test, NAN);
        norm_special(test, INFINITY);
        norm_special(test, -INFINITY);
        norm_special(test, -0.0f);
    }
}

/* ---- gated_norm ---- */

struct gated_case {
    struct matrix out, z, y[2], weight[2];
};

static struct gated_case gated_case(struct test *test, size_t rows, size_t width, enum fill fill)
{
    check_case("rows %zu width %zu fill %s placement %d", rows, width, fill_name(fill), (int)test->placement);
    struct gated_case c = {
        .out = elements_new(test, rows, width, 0, true),
        .z = elements_filled(test, rows, width, 0, true, FILL_NORMAL),
        .y = {elements_filled(test, rows, width, 0, true, fill), elements_filled(test, rows, width, 0, true, fill)}};
    for (int direction = 0; direction < 2; direction++) {
        c.weight[direction] = vector_filled(test, width, FILL_NORMAL);
    }
    return c;
}

static struct ldar_gated_norm_args gated_args(const struct gated_case *c, size_t first, size_t rows)
{
    return (struct ldar_gated_norm_args){
        .out = matrix_elements(c->out, (ptrdiff_t)first),
        .z = matrix_elements(c->z, (ptrdiff_t)first),
        .y = {matrix_elements(c->y[0], (ptrdiff_t)first), matrix_elements(c->y[1], (ptrdiff_t)first)},
        .weight = {c->weight[0].at, c->weight[1].at},
        .eps = eps,
        .rows = rows,
        .width = c->out.width,
        .out_stride = c->out.stride,
        .z_stride = c->z.stride,
        .y_stride = {c->y[0].stride, c->y[1].stride},
    };
}

static void gated_rows(struct test *test, const struct gated_case *c, size_t first, size_t rows)
{
    struct ldar_gated_norm_args args = gated_args(c, first, rows);
    args.scratch = vector_new(test, 2 * args.width).at;
    test->kernels->gated_norm(&args);
    elements_take(c->out);
}

static double *gated_reference(const struct gated_case *c)
{
    struct ldar_gated_norm_args args = gated_args(c, 0, c->out.rows);
    args.z = c->z.at, args.y[0] = c->y[0].at, args.y[1] = c->y[1].at;
    double *reference = reference_new(args.rows * args.width);
    oracle_gated_norm(reference, &args);
    return reference;
}

static void gated_check(const struct test *test, const struct gated_case *c, double floor, bool zeros)
{
    const double *reference = gated_reference(c);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.zeros = zeros;
    tolerance.floor = floor;
    check_close_to(c->out, reference, tolerance);
}

static void gated_size(struct test *test, size_t rows, size_t width)
{
    struct gated_case c = gated_case(test, rows, width, FILL_NORMAL);
    gated_rows(test, &c, 0, rows);
    gated_check(test, &c, 0.5, false); /* the halves may cancel */
    case_end();
}

static void gated_cut(struct test *test)
{
    struct gated_case c = gated_case(test, 40, 83, FILL_NORMAL);
    gated_rows(test, &c, 0, 40);
    struct matrix whole = c.out;
    c.out = elements_new(test, 40, 83, 0, true);
    for (size_t i = 0, rows; i < 40; i += rows) {
        rows = 1 + random_below(&test->random, 40 - i < 5 ? 40 - i : 5);
        gated_rows(test, &c, i, rows);
    }
    check_same(whole.at, whole.stride, c.out.at, c.out.stride, 40, 83);
    case_end();
}

static void gated_special(struct test *test, float value, int where)
{
    struct gated_case c = gated_case(test, 4, 37, FILL_NORMAL);
    check_case("one %g in %s", value, where == 2 ? "z" : where ? "y[1]" : "y[0]");
    struct matrix *m = where == 2 ? &c.z : &c.y[where], changed = elements_like(test, *m, 37);
    const size_t column = random_below(&test->random, 37);
    matrix_copy(changed, *m);
    matrix_row(changed, 2)[column] = value;
    *m = elements_seal(changed);
    gated_rows(test, &c, 0, 4);
    check_close(test, c.out, gated_reference(&c), 0);
    case_end();
}

void test_gated_norm(struct test *test)
{
    sweep(test, gated_size);
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct gated_case c = gated_case(test, 5, 67, fill);
        gated_rows(test, &c, 0, 5);
        gated_check(test, &c, 0, fill == FILL_INTEGERS || fill == FILL_ZERO || fill == FILL_DENORMAL);
        case_end();
    }
    for (int i = 0; i < 10; i++) {
        gated_cut(test);
        for (int where = 0; where < 3; where++) {
            gated_special(test, NAN, where);
            gated_special(test, INFINITY, where);
            gated_special(test, -INFINITY, where);
        }
    }
}
