/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>

struct conv_case {
    size_t parts, rows, channels;
    struct matrix dx, dweight[2], dbias[2];
    struct matrix dweight_start[2], dbias_start[2];
    struct matrix dsum[2], x, weight[2]; /* dsum (parts rows, channels) */
};

static struct matrix copy_of(struct test *test, struct matrix m)
{
    struct matrix copy = matrix_like(test, m, m.width);
    matrix_copy(copy, m);
    return copy;
}

static void conv_parameters(struct test *test, struct conv_case *c, enum fill fill)
{
    c->weight[0] = matrix_filled(test, LDAR_CONV_TAPS, c->channels, 0, false, fill);
    c->weight[1] = matrix_filled_like(test, c->weight[0], c->channels, fill);
    c->dweight_start[0] = matrix_filled(test, LDAR_CONV_TAPS, c->channels, 0, false, FILL_INTEGERS);
    c->dweight_start[1] = matrix_filled_like(test, c->dweight_start[0], c->channels, FILL_INTEGERS);
    for (int j = 0; j < 2; j++) {
        c->dbias_start[j] = vector_filled(test, c->channels, FILL_INTEGERS);
        c->dweight[j] = copy_of(test, c->dweight_start[j]);
        c->dbias[j] = copy_of(test, c->dbias_start[j]);
    }
}

static struct conv_case conv_case(struct test *test, size_t rows, size_t channels, size_t parts, enum fill fill)
{
    check_case("rows %zu channels %zu parts %zu fill %s placement %d", rows, channels, parts, fill_name(fill),
               (int)test->placement);
    struct conv_case c = {.parts = parts, .rows = rows, .channels = channels};
    const enum fill others = fill == FILL_INTEGERS ? FILL_INTEGERS : FILL_NORMAL;
    c.dsum[0] = elements_filled(test, parts * rows, channels, 0, true, others);
    c.dsum[1] = elements_filled_like(test, c.dsum[0], channels, others);
    c.x = elements_filled(test, rows, channels, 0, true, fill);
    c.dx = elements_new(test, rows, channels, 0, true);
    conv_parameters(test, &c, others);
    return c;
}

static struct ldar_conv1d_backward_args conv_args(const struct conv_case *c, size_t first, size_t channels)
{
    struct ldar_conv1d_backward_args args = {.dx = (char *)c->dx.elements + first * c->dx.element,
                                             .x = (char *)c->x.elements + first * c->x.element,
                                             .parts = c->parts,
                                             .rows = c->rows,
                                             .channels = channels,
                                             .part_stride = (ptrdiff_t)c->rows * c->dsum[0].stride,
                                             .dx_stride = c->dx.stride,
                                             .dsum_stride = c->dsum[0].stride,
                                             .x_stride = c->x.stride,
                                             .weight_stride = c->weight[0].stride,
                                             .dweight_stride = c->dweight[0].stride};
    for (int j = 0; j < 2; j++) {
        args.dweight[j] = c->dweight[j].at + first;
        args.dbias[j] = c->dbias[j].at + first;
        args.dsum[j] = (char *)c->dsum[j].elements + first * c->dsum[j].element;
        args.weight[j] = c->weight[j].at + first;
    }
    return args;
}

static void conv_run(const struct test *test, const struct conv_case *c)
{
    struct ldar_conv1d_backward_args args = conv_args(c, 0, c->channels);
    test->kernels->conv1d_backward(&args);
    elements_take(c->dx);
}

static void conv_check(const struct conv_case *c, struct tolerance tolerance)
{
    double *dx = reference_new(c->rows * c->channels), *dweight[2], *dbias[2];
    struct ldar_conv1d_backward_args args = conv_args(c, 0, c->channels);
    args.x = c->x.at;
    for (int j = 0; j < 2; j++) {
        args.dsum[j] = c->dsum[j].at;
        dweight[j] = reference_new(LDAR_CONV_TAPS * c->channels), dbias[j] = reference_new(c->channels);
    }
    oracle_conv1d_backward(dx, dweight, dbias, &args);
    check_close_to(c->dx, dx, tolerance);
    tolerance.zeros = true;
    tolerance.floor *= sqrt((double)(c->rows * c->parts)); /* and sums of many of them more */
    for (int j = 0; j < 2; j++) {
        for (size_t i = 0; i < LDAR_CONV_TAPS * c->channels; i++) {
            dweight[j][i] += matrix_row(c->dweight_start[j], (ptrdiff_t)(i / c->channels))[i % c->channels];
        }
        for (size_t i = 0; i < c->channels; i++) {
            dbias[j][i] += c->dbias_start[j].at[i];
        }
        check_close_to(c->dweight[j], dweight[j], tolerance);
        check_close_to(c->dbias[j], dbias[j], tolerance);
    }
}

static void conv_size_parts(struct test *test, size_t rows, size_t channels, size_t parts)
{
    struct conv_case c = conv_case(test, rows, channels, parts, FILL_NORMAL);
    conv_run(test, &c);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = 1; /* eight products of normals may cancel */
    conv_check(&c, tolerance);
    case_end();
}

static void conv_size(struct test *test, size_t rows, size_t channels)
{
    conv_size_parts(test, rows, channels, test->placement == PLACE_FAR ? 1 : 1 + random_below(&test->random, 3));
}

/* Sums of products of small integers have no excuse, over stretches neither. */
static void conv_integers(struct test *test, size_t rows)
{
    struct conv_case c = conv_case(test, rows, 21, 1 + rows % 3, FILL_INTEGERS);
    conv_run(test, &c);
    conv_check(&c, (struct tolerance){.zeros = true});
    case_end();
}

/* A channel's result does not depend on which others share its call. */
static void conv_strips(struct test *test)
{
    struct conv_case c = conv_case(test, 150, 75, 2, FILL_NORMAL);
    conv_run(test, &c);
    struct conv_case cut = c;
    cut.dx = elements_new(test, 150, 75, 0, true);
    for (int j = 0; j < 2; j++) {
        cut.dweight[j] = copy_of(test, c.dweight_start[j]), cut.dbias[j] = copy_of(test, c.dbias_start[j]);
    }
    for (size_t i = 0, channels; i < 75; i += channels) {
        channels = 1 + random_below(&test->random, 75 - i < 40 ? 75 - i : 40);
        struct ldar_conv1d_backward_args args = conv_args(&cut, i, channels);
        test->kernels->conv1d_backward(&args);
    }
    elements_take(cut.dx);
    check_same(c.dx.at, c.dx.stride, cut.dx.at, cut.dx.stride, 150, 75);
    for (int j = 0; j < 2; j++) {
        check_same(c.dweight[j].at, c.dweight[j].stride, cut.dweight[j].at, cut.dweight[j].stride, LDAR_CONV_TAPS, 75);
        check_same(c.dbias[j].at, 0, cut.dbias[j].at, 0, 1, 75);
    }
    case_end();
}

static void conv_special(struct test *test, float value, int where)
{
    struct conv_case c = conv_case(test, 12, 35, 1, FILL_NORMAL);
    check_case("one %g in %s", value, where == 2 ? "x" : where ? "dsum[1]" : "dsum[0]");
    struct matrix *m = where == 2 ? &c.x : &c.dsum[where], changed = elements_like(test, *m, 35);
    matrix_copy(changed, *m);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, 12))[random_below(&test->random, 35)] = value;
    *m = elements_seal(changed);
    conv_run(test, &c);
    conv_check(&c, tolerance_of(test));
    case_end();
}

void test_conv1d_backward(struct test *test)
{
    sweep(test, conv_size);
    for (size_t rows = 1; rows < 20; rows++) {
        conv_integers(test, rows);
        conv_integers(test, 64 * (1 + rows % 3) - 9 + rows);
    }
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct conv_case c = conv_case(test, 7, 35, 2, fill);
        conv_run(test, &c);
        struct tolerance tolerance = tolerance_of(test);
        tolerance.zeros = true;
        conv_check(&c, tolerance);
        case_end();
    }
    conv_size_parts(test, 65536, 3, 2);
    for (int i = 0; i < 10; i++) {
        conv_strips(test);
        for (int where = 0; where < 3; where++) {
            conv_special(test, NAN, where);
            conv_special(test, INFINITY, where);
            conv_special(test, -INFINITY, where);
        }
    }
}
