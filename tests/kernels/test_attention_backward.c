/* SPDX-License-Identifier: Apache-2.0 */
#include "attention_case.h"

#include <math.h>

/* A case of the forward kernel, what it gave, and the gradients. */
struct backward_case {
    struct attention_case forward;
    struct matrix dout, log_sum, dq, dk, dv;
    float scale;
};

static void backward_forward(struct test *test, struct backward_case *c)
{
    for (size_t first = 0; first < c->dout.rows; first += LDAR_ATTENTION_QUERIES) {
        const size_t left = c->dout.rows - first;
        struct ldar_attention_args args =
            attention_args(&c->forward, first, left < LDAR_ATTENTION_QUERIES ? left : LDAR_ATTENTION_QUERIES);
        args.scale = c->scale;
        args.log_sum = c->log_sum.at;
        args.scratch = scratch_new(ldar_attention_scratch(args.width));
        test->kernels->attention(&args);
    }
    elements_take(c->forward.out);
    elements_seal(c->forward.out);
    matrix_seal(c->log_sum);
}

static struct backward_case backward_of(struct test *test, struct attention_case forward, float scale)
{
    const size_t length = forward.q.rows, width = forward.q.width;
    struct backward_case c = {.forward = forward,
                              .dout = elements_filled(test, length, width, 0, true, FILL_NORMAL),
                              .log_sum = vector_new(test, length),
                              .dq = elements_new(test, length, width, 0, true),
                              .scale = scale};
    c.dk = elements_like(test, c.dq, width);
    c.dv = elements_like(test, c.dq, width);
    backward_forward(test, &c);
    return c;
}

static struct backward_case backward_case(struct test *test, size_t length, size_t width, size_t rotary,
                                          ptrdiff_t window)
{
    return backward_of(test, attention_case(test, length, width, rotary, window, FILL_NORMAL),
                       (float)(1 / sqrt((double)width)));
}

static struct ldar_attention_backward_args backward_args(const struct backward_case *c)
{
    return (struct ldar_attention_backward_args){.dq = c->dq.elements,
                                                 .dk = c->dk.elements,
                                                 .dv = c->dv.elements,
                                                 .dout = c->dout.elements,
                                                 .q = c->forward.q.elements,
                                                 .k = c->forward.k.elements,
                                                 .v = c->forward.v.elements,
                                                 .out = c->forward.out.elements,
                                                 .log_sum = c->log_sum.at,
                                                 .cosine = c->forward.cosine.at,
                                                 .sine = c->forward.sine.at,
                                                 .length = c->dout.rows,
                                                 .width = c->dout.width,
                                                 .rotary = c->forward.rotary,
                                                 .window = c->forward.window,
                                                 .stride = c->forward.q.stride,
                                                 .out_stride = c->forward.out.stride,
                                                 .dout_stride = c->dout.stride,
                                                 .gradient_stride = c->dq.stride,
                                                 .scale = c->scale};
}

static void backward_run(const struct test *test, const struct backward_case *c)
{
    struct ldar_attention_backward_args args = backward_args(c);
    args.scratch = scratch_new(ldar_attention_backward_scratch(args.length, args.width));
    test->kernels->attention_backward(&args);
    elements_take(c->dq);
    elements_take(c->dk);
    elements_take(c->dv);
}

struct gradients {
    double *dq, *dk, *dv;
};

static struct gradients backward_reference(const struct backward_case *c)
{
    struct ldar_attention_backward_args args = backward_args(c);
    const size_t count = args.length * args.width;
    struct gradients g = {reference_new(count), reference_new(count), reference_new(count)};
    args.q = c->forward.q.at, args.k = c->forward.k.at, args.v = c->forward.v.at, args.dout = c->dout.at;
    oracle_attention_backward(g.dq, g.dk, g.dv, &args);
    return g;
}

/*
 * A query that sees one key, or few, has hardly a gradient: what is left of two numbers of about the size of dout is
 * judged by their size.
 */
static void backward_check(const struct backward_case *c, struct gradients expected, struct tolerance tolerance)
{
    check_close_to(c->dv, expected.dv, tolerance);
    check_close_to(c->dq, expected.dq, tolerance);
    check_close_to(c->dk, expected.dk, tolerance);
}

static struct tolerance backward_tolerance(const struct test *test, const struct backward_case *c)
{
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = c->forward.window >= 0 && c->forward.window < 8 ? 1 : 0.3;
    tolerance.zeros = true; /* of a single key */
    if (elements_narrow(test) && c->dout.rows * c->dout.width < 64) {
        tolerance.l2 *= 2; /* the bound is a mean, about which that of a few numbers scatters */
    }
    return tolerance;
}

static void backward_size(struct test *test, size_t length, size_t width, size_t rotary, ptrdiff_t window)
{
    struct backward_case c = backward_case(test, length, width, rotary, window);
    backward_run(test, &c);
    backward_check(&c, backward_reference(&c), backward_tolerance(test, &c));
    case_end();
}

static const ptrdiff_t windows[] = {0, 1, 7, 63, 1023, -1, (ptrdiff_t)1 << 40};

enum { WINDOWS = sizeof windows / sizeof *windows };

static void backward_sizes(struct test *test)
{
    static const size_t lengths[] = {95, 96, 97, 143, 144, 145, 191, 192, 193, 300},
                        widths[] = {16, 24, 32, 40, 48, 64, 96, 128, 255, 256};
    for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
        for (size_t length = 0; length <= 67; length++) {
            backward_size(test, length, 12, length % 7 * 2, windows[length % WINDOWS]);
        }
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            backward_size(test, lengths[i], 24, 24, windows[(i + test->placement) % WINDOWS]);
            backward_size(test, lengths[i], 32, 0, windows[(i + test->placement + 3) % WINDOWS]);
        }
        for (size_t width = 1; width <= 70; width++) {
            backward_size(test, 9, width, width % 3 ? 0 : width / 2 * 2, windows[width % WINDOWS]);
        }
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            backward_size(test, 70, widths[i], 2 * (widths[i] / 2), 7);
            backward_size(test, 140, widths[i], 2 * (widths[i] / 4), -1);
        }
    }
    test->placement = PLACE_FAR;
    backward_size(test, 2, 5, 4, -1);
    test->placement = PLACE_ANY;
}

/* Edges of the window meet blocks and groups in every way. */
static void backward_windows(struct test *test)
{
    for (ptrdiff_t window = 0; window <= 210; window += window < 100 ? 3 : 7) {
        backward_size(test, 250, 4, 2, window);
    }
    backward_size(test, 1300, 8, 8, 1023);
    backward_size(test, 1300, 8, 8, 150);
}

/* The same bits, wherever the arrays lie, and with a window that no query leaves. */
static void backward_same(struct test *test, size_t length, ptrdiff_t window)
{
    struct backward_case c = backward_case(test, length, 24, 8, window), other = c;
    backward_run(test, &c);
    other.forward.q = matrix_turned(test, c.forward.q);
    other.forward.k = matrix_turned(test, c.forward.k);
    other.forward.v = matrix_turned(test, c.forward.v);
    other.dq = elements_new(test, length, 24, 0, true);
    other.dk = elements_like(test, other.dq, 24);
    other.dv = elements_like(test, other.dq, 24);
    other.forward.window = window < 0 ? (ptrdiff_t)length - 1 : window;
    backward_run(test, &other);
    check_same(c.dq.at, c.dq.stride, other.dq.at, other.dq.stride, length, 24);
    check_same(c.dk.at, c.dk.stride, other.dk.at, other.dk.stride, length, 24);
    check_same(c.dv.at, c.dv.stride, other.dv.at, other.dv.stride, length, 24);
    case_end();
}

/* Scores far apart: hardly more than one key has a weight, and exponentials of masked keys may be out of range. */
static void backward_peaked(struct test *test, ptrdiff_t window)
{
    const double scale = 8 * log(2);
    struct attention_case forward = attention_case(test, 250, 16, 0, window, FILL_INTEGERS);
    forward.v = elements_filled_like(test, forward.q, 16, FILL_NORMAL);
    check_case("scores of about %g, window %td", 30 * scale, window);
    struct backward_case c = backward_of(test, forward, (float)scale);
    backward_run(test, &c);
    struct tolerance tolerance = backward_tolerance(test, &c);
    tolerance.floor = 16; /* scale times q or k */
    tolerance.l2 *=
        elements_narrow(test) ? 1 : 5; /* a probability is as exact as its score, which is in the hundreds */
    tolerance.worst *= 10;
    backward_check(&c, backward_reference(&c), tolerance);
    case_end();
}

/* What is not finite reaches all that depends on it, and nothing farther away than a block and a group. */
static void backward_special(struct test *test, float value, int where)
{
    enum { LENGTH = 700, WIDTH = 16, WINDOW = 30 };
    enum { NEAR = 2 * WINDOW + LDAR_ATTENTION_KEYS + LDAR_ATTENTION_BACKWARD_KEYS + LDAR_ATTENTION_BACKWARD_QUERIES };
    struct attention_case forward = attention_case(test, LENGTH, WIDTH, 8, WINDOW, FILL_NORMAL);
    struct matrix *const victims[] = {&forward.q, &forward.k, &forward.v};
    const size_t at = random_below(&test->random, LENGTH), column = random_below(&test->random, WIDTH);
    check_case("%g in %c row %zu column %zu", value, "qkv"[where], at, column);
    struct matrix changed = elements_like(test, *victims[where], WIDTH);
    matrix_copy(changed, *victims[where]);
    matrix_row(changed, (ptrdiff_t)at)[column] = value;
    *victims[where] = elements_seal(changed);
    struct backward_case c = backward_of(test, forward, 0.25f);
    backward_run(test, &c);
    const struct matrix got[] = {c.dq, c.dk, c.dv};
    size_t here = 0;
    for (size_t i = 0; i < LENGTH * WIDTH; i++) {
        const size_t row = i / WIDTH, far = row > at ? row - at : at - row;
        here += far == 0 && !isfinite(matrix_row(c.dq, (ptrdiff_t)row)[i % WIDTH]);
        for (int g = 0; g < 3 && far > NEAR; g++) {
            CHECK(isfinite(matrix_row(got[g], (ptrdiff_t)row)[i % WIDTH]));
        }
    }
    CHECK(here > 0);
    case_end();
}

void test_attention_backward(struct test *test)
{
    backward_sizes(test);
    backward_windows(test);
    backward_same(test, 1, -1);
    backward_same(test, 200, -1);
    backward_same(test, 333, 50);
    backward_peaked(test, -1);
    backward_peaked(test, 20);
    for (int where = 0; where < 3; where++) {
        backward_special(test, NAN, where);
        backward_special(test, INFINITY, where);
        backward_special(test, -INFINITY, where);
    }
}
