/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>

struct conv_case {
    struct matrix out, x, weight, bias;
};

static struct conv_case conv_case(struct test *test, size_t rows, size_t channels, size_t history, enum fill fill)
{
    check_case("rows %zu channels %zu history %zu fill %s placement %d", rows, channels, history, fill_name(fill),
               (int)test->placement);
    return (struct conv_case){.out = matrix_new(test, rows, channels, 0, true),
                              .x = elements_filled(test, rows, channels, history, true, fill),
                              .weight = matrix_filled(test, LDAR_CONV_TAPS, channels, 0, false, FILL_NORMAL),
                              .bias = vector_filled(test, channels, FILL_NORMAL)};
}

static struct ldar_conv1d_args conv_args(const struct conv_case *c, size_t first, size_t rows)
{
    size_t history = c->x.history + first;
    return (struct ldar_conv1d_args){.out = matrix_row(c->out, (ptrdiff_t)first),
                                     .x = matrix_elements(c->x, (ptrdiff_t)first),
                                     .weight = c->weight.at,
                                     .bias = c->bias.at,
                                     .rows = rows,
                                     .channels = c->x.width,
                                     .history = history < 3 ? history : 3,
                                     .out_stride = c->out.stride,
                                     .x_stride = c->x.stride,
                                     .weight_stride = c->weight.stride};
}

static void conv_run(const struct test *test, const struct conv_case *c, size_t first, size_t rows)
{
    struct ldar_conv1d_args args = conv_args(c, first, rows);
    test->kernels->conv1d_silu(&args);
}

static const double *conv_reference(const struct conv_case *c)
{
    struct ldar_conv1d_args args = conv_args(c, 0, c->x.rows);
    args.x = c->x.at;
    double *reference = reference_new(args.rows * args.channels);
    oracle_conv1d_silu(reference, &args);
    return reference;
}

static void conv_check(const struct conv_case *c, struct tolerance tolerance)
{
    const double *reference = conv_reference(c);
    check_close_to(c->out, reference, tolerance);
}

static void conv_size(struct test *test, size_t rows, size_t channels)
{
    for (size_t history = 0; history <= 3; history++) {
        if (test->placement == PLACE_FAR && history > 1) {
            break;
        }
        struct conv_case c = conv_case(test, rows, channels, rows ? history : 0, FILL_NORMAL);
        conv_run(test, &c, 0, rows);
        struct tolerance tolerance = tolerance_of(test);
        tolerance.floor = 0.5; /* four products of normals may cancel */
        conv_check(&c, tolerance);
        case_end();
    }
}

/* Sums above 100 pass the SiLU unchanged: integers come out as integers, and a wrong tap as a wrong one. */
static void conv_integers(struct test *test, size_t rows, size_t history)
{
    enum { CHANNELS = 21, BASE = 512 };
    struct conv_case c = conv_case(test, rows, CHANNELS, history, FILL_INTEGERS);
    c.weight = matrix_filled(test, LDAR_CONV_TAPS, CHANNELS, 0, false, FILL_INTEGERS);
    c.bias = vector_new(test, CHANNELS);
    for (size_t i = 0; i < CHANNELS; i++) {
        c.bias.at[i] = (float)(BASE + i);
    }
    conv_run(test, &c, 0, rows);
    const double *reference = conv_reference(&c);
    for (size_t i = 0; i < rows * CHANNELS; i++) {
        float got = matrix_row(c.out, (ptrdiff_t)(i / CHANNELS))[i % CHANNELS];
        if (rint(got) != reference[i]) {
            check_fail("row %zu channel %zu: %.9g, expected %.9g", i / CHANNELS, i % CHANNELS, got, reference[i]);
            break;
        }
    }
    case_end();
}

static void conv_cut(struct test *test, size_t history)
{
    struct conv_case c = conv_case(test, 70, 39, history, FILL_NORMAL);
    conv_run(test, &c, 0, 70);
    struct matrix whole = c.out;
    c.out = matrix_new(test, 70, 39, 0, true);
    for (size_t i = 0, rows; i < 70; i += rows) {
        rows = 1 + random_below(&test->random, 70 - i < 7 ? 70 - i : 7);
        conv_run(test, &c, i, rows);
    }
    check_same(whole.at, whole.stride, c.out.at, c.out.stride, 70, 39);
    case_end();
}

static void conv_reversed(struct test *test)
{
    struct conv_case c = conv_case(test, 33, 20, 2, FILL_NORMAL);
    conv_run(test, &c, 0, 33);
    struct conv_case r = {matrix_new(test, 33, 20, 0, true), matrix_turned(test, c.x), c.weight, c.bias};
    conv_run(test, &r, 0, 33);
    check_same(c.out.at, c.out.stride, r.out.at, r.out.stride, 33, 20);
    case_end();
}

static void conv_special(struct test *test, float value)
{
    struct conv_case c = conv_case(test, 12, 35, 3, FILL_NORMAL);
    check_case("one %g", value);
    struct matrix x = elements_like(test, c.x, 35);
    matrix_copy(x, c.x);
    matrix_row(x, (ptrdiff_t)random_below(&test->random, 15) - 3)[random_below(&test->random, 35)] = value;
    c.x = elements_seal(x);
    conv_run(test, &c, 0, 12);
    struct tolerance tolerance = tolerance_of(test);
    conv_check(&c, tolerance);
    case_end();
}

void test_conv1d_silu(struct test *test)
{
    sweep(test, conv_size);
    for (size_t history = 0; history <= 3; history++) {
        for (size_t rows = 1; rows < 10; rows++) {
            conv_integers(test, rows, history);
        }
        conv_cut(test, history);
    }
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct conv_case c = conv_case(test, 7, 35, 3, fill);
        conv_run(test, &c, 0, 7);
        struct tolerance tolerance = tolerance_of(test);
        tolerance.zeros = fill != FILL_NORMAL;
        conv_check(&c, tolerance);
        case_end();
    }
    for (int i = 0; i < 10; i++) {
        conv_reversed(test);
        conv_special(test, NAN);
        conv_special(test, INFINITY);
        conv_special(test, -INFINITY);
    }
}
