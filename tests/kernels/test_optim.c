/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>
#include <string.h>

/* ---- adamw ---- */

struct adamw_case {
    struct matrix weight, moment1, moment2, gradient;
    struct ldar_adamw_args args;
};

/* The published settings, at a step late enough that both corrections are near one, or at the first. */
static struct adamw_case adamw_case(struct test *test, size_t count, bool first, enum fill weight, enum fill gradient)
{
    check_case("count %zu, %s step, weights %s, gradient %s, placement %d", count, first ? "first" : "later",
               fill_name(weight), fill_name(gradient), (int)test->placement);
    struct adamw_case c = {.weight = vector_new(test, count),
                           .moment1 = vector_new(test, count),
                           .moment2 = vector_new(test, count),
                           .gradient = vector_filled(test, count, gradient)};
    matrix_fill(test, c.weight, weight);
    matrix_fill(test, c.moment1, first ? FILL_ZERO : FILL_NORMAL);
    matrix_uniform(test, c.moment2, first ? 0 : 0.2, first ? 0 : 2);
    c.args = (struct ldar_adamw_args){.weight = c.weight.at,
                                      .moment1 = c.moment1.at,
                                      .moment2 = c.moment2.at,
                                      .gradient = c.gradient.at,
                                      .count = count,
                                      .scale = 0.7f,
                                      .rate = 5e-4f,
                                      .beta1 = 0.9f,
                                      .beta2 = 0.95f,
                                      .correction1 = first ? 10.0f : 1.01f,
                                      .correction2 = first ? 20.0f : 1.3f,
                                      .epsilon = 1e-8f,
                                      .decay = 0.1f};
    return c;
}

static void adamw_check(struct test *test, struct adamw_case c)
{
    double *weight = reference_new(c.args.count), *moment1 = reference_new(c.args.count);
    double *moment2 = reference_new(c.args.count);
    oracle_adamw(weight, moment1, moment2, &c.args);
    test->kernels->adamw(&c.args);
    check_close(test, c.weight, weight, 0);
    check_close(test, c.moment1, moment1, 0);
    check_close(test, c.moment2, moment2, 0);
    case_end();
}

static void adamw_size(struct test *test, size_t rows, size_t width)
{
    const size_t count = rows * width;
    adamw_check(test, adamw_case(test, count, false, FILL_NORMAL, FILL_NORMAL));
    adamw_check(test, adamw_case(test, count, true, FILL_ZERO, FILL_NORMAL)); /* nothing hides the step */
}

/* A gradient of zero moves nothing, but the decay goes on. */
static void adamw_rest(struct test *test)
{
    struct adamw_case c = adamw_case(test, 50, true, FILL_NORMAL, FILL_ZERO);
    struct matrix before = matrix_like(test, c.weight, 50);
    matrix_copy(before, c.weight);
    c.args.decay = 0;
    test->kernels->adamw(&c.args);
    check_same(before.at, before.stride, c.weight.at, c.weight.stride, 1, 50);
    c.args.decay = 0.5f, c.args.rate = 0.5f;
    test->kernels->adamw(&c.args);
    for (size_t i = 0; i < 50; i++) {
        CHECK(c.weight.at[i] == 0.75f * before.at[i]);
    }
    case_end();
}

/* Cut anywhere: the same bits. */
static void adamw_cut(struct test *test, size_t count)
{
    struct adamw_case c = adamw_case(test, count, false, FILL_NORMAL, FILL_NORMAL), parts = c;
    struct matrix *whole[] = {&c.weight, &c.moment1, &c.moment2};
    struct matrix *part[] = {&parts.weight, &parts.moment1, &parts.moment2};
    for (int i = 0; i < 3; i++) {
        *part[i] = vector_new(test, count);
        matrix_copy(*part[i], *whole[i]);
    }
    test->kernels->adamw(&c.args);
    for (size_t i = 0, here; i < count; i += here) {
        here = 1 + random_below(&test->random, count - i);
        parts.args.weight = parts.weight.at + i;
        parts.args.moment1 = parts.moment1.at + i;
        parts.args.moment2 = parts.moment2.at + i;
        parts.args.gradient = parts.gradient.at + i;
        parts.args.count = here;
        test->kernels->adamw(&parts.args);
    }
    for (int i = 0; i < 3; i++) {
        check_same(whole[i]->at, whole[i]->stride, part[i]->at, part[i]->stride, 1, count);
    }
    case_end();
}

static void adamw_special(struct test *test, float value)
{
    struct adamw_case c = adamw_case(test, 40, false, FILL_NORMAL, FILL_NORMAL);
    check_case("one %g in the gradient", value);
    struct matrix changed = vector_new(test, 40);
    matrix_copy(changed, c.gradient);
    changed.at[random_below(&test->random, 40)] = value;
    c.gradient = matrix_seal(changed);
    c.args.gradient = c.gradient.at;
    adamw_check(test, c);
}

void test_adamw(struct test *test)
{
    sweep(test, adamw_size);
    for (size_t count = 1; count < 200; count += 9) {
        adamw_cut(test, count);
    }
    adamw_rest(test);
    adamw_special(test, NAN);
    adamw_special(test, INFINITY);
    adamw_special(test, -INFINITY);
}

/* ---- sum_squares ---- */

static void sum_squares_fill(struct test *test, size_t count, enum fill fill)
{
    check_case("count %zu fill %s placement %d", count, fill_name(fill), (int)test->placement);
    struct matrix x = vector_filled(test, count, fill), moved = vector_new(test, count);
    matrix_copy(moved, x);
    const double expected = oracle_sum_squares(x.at, count);
    double sum = NAN, again = NAN;
    test->kernels->sum_squares(&sum, x.at, count);
    test->kernels->sum_squares(&again, moved.at, count);
    CHECK(memcmp(&sum, &again, sizeof sum) == 0);
    if (!(fabs(sum - expected) <= test->bound * expected)) {
        check_fail("%.17g, expected %.17g", sum, expected);
    }
    case_end();
}

static void sum_squares_size(struct test *test, size_t rows, size_t width)
{
    sum_squares_fill(test, rows * width, FILL_NORMAL);
    sum_squares_fill(test, rows + width, FILL_WIDE);
}

/* Squares that no float holds. */
static void sum_squares_range(struct test *test)
{
    struct matrix x = vector_new(test, 100);
    for (size_t i = 0; i < 100; i++) {
        x.at[i] = i % 2 ? 1e30f : -1e-30f;
    }
    double sum;
    check_case("squares beyond the range of floats");
    test->kernels->sum_squares(&sum, x.at, 100);
    CHECK(fabs(sum / 5e61 - 1) < 1e-6);
    x.at[13] = NAN;
    test->kernels->sum_squares(&sum, x.at, 100);
    CHECK(isnan(sum));
    x.at[13] = -INFINITY;
    test->kernels->sum_squares(&sum, x.at, 100);
    CHECK(isinf(sum));
    case_end();
}

void test_sum_squares(struct test *test)
{
    sweep(test, sum_squares_size);
    for (size_t count = 0; count < 140; count++) {
        sum_squares_fill(test, count, FILL_HUGE);
    }
    sum_squares_fill(test, 100000, FILL_NORMAL);
    sum_squares_range(test);
}

/* ---- add ---- */

static void add_fill(struct test *test, size_t count, enum fill fill)
{
    check_case("count %zu fill %s placement %d", count, fill_name(fill), (int)test->placement);
    struct matrix out = vector_new(test, count), x = vector_filled(test, count, fill);
    matrix_fill(test, out, fill);
    struct matrix expected = vector_new(test, count);
    for (size_t i = 0; i < count; i++) {
        expected.at[i] = out.at[i] + x.at[i];
    }
    test->kernels->add(out.at, x.at, count);
    check_same(expected.at, expected.stride, out.at, out.stride, 1, count);
    case_end();
}

static void add_size(struct test *test, size_t rows, size_t width)
{
    add_fill(test, rows * width, FILL_NORMAL);
    add_fill(test, rows + width, FILL_WIDE);
}

void test_add(struct test *test)
{
    sweep(test, add_size);
    add_fill(test, 77, FILL_HUGE);
}
