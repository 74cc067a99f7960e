/* SPDX-License-Identifier: Apache-2.0 */
#include "logistic.h"

#include "kit/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 60, WIDTH = 11, CLASSES = 3 };

struct data {
    float features[COUNT * WIDTH];
    uint32_t labels[COUNT];
    double values[COUNT];
};

/* Features of different sizes, one of which is constant; labels and values that they tell in part. */
static void draw(struct data *data)
{
    struct random random = random_start(random_seed());
    for (size_t i = 0; i < COUNT; ++i) {
        float *row = data->features + i * WIDTH;
        for (size_t j = 0; j < WIDTH; ++j) {
            row[j] = j == 4 ? 7.3f : (float)(random_normal(&random) * pow(10, (double)j - 5) + (j == 2 ? 1 : 0));
        }
        data->labels[i] = row[5] + random_normal(&random) > 0 ? 1 + (row[6] > 0) : 0;
        data->values[i] = 100 + 3 * (double)row[5] + random_normal(&random);
    }
}

static struct logistic_problem problem_of(const struct data *data, bool values)
{
    return (struct logistic_problem){
        data->features, values ? NULL : data->labels, values ? data->values : NULL, COUNT, WIDTH, CLASSES};
}

static void fit_ok(const struct logistic_problem *problem, double penalty, struct logistic_fit *fit)
{
    struct ldar_error error;
    if (logistic_minimise(problem, penalty, fit, &error)) {
        fail_msg("%s", error.message);
    }
}

static double score(const struct logistic_fit *fit, const float *features, size_t output)
{
    double sum = (double)fit->bias[output];
    for (size_t j = 0; j < fit->width; ++j) {
        sum += (double)fit->weight[output * fit->width + j] * (double)features[j];
    }
    return sum;
}

static double probability(const struct logistic_fit *fit, const float *features, size_t output)
{
    double sum = 0;
    for (size_t k = 0; k < fit->outputs; ++k) {
        sum += exp(score(fit, features, k) - score(fit, features, output));
    }
    return 1 / sum;
}

static void assert_close(double got, double expected, double bound)
{
    if (!(fabs(got - expected) <= bound)) {
        fail_msg("%.17g is not %.17g", got, expected);
    }
}

/* ---- the loss ---- */

static void check_gradient(const struct logistic_problem *problem, size_t variables)
{
    struct random random = random_start(random_seed());
    double at[CLASSES * (WIDTH + 1)], gradient[CLASSES * (WIDTH + 1)], unused[CLASSES * (WIDTH + 1)];
    const double step = 1e-5;
    logistic_solver *solver = logistic_begin(problem, 0.3);
    assert_non_null(solver);
    for (size_t i = 0; i < variables; ++i) {
        at[i] = random_normal(&random);
    }
    (void)logistic_objective(solver, at, gradient);
    for (size_t i = 0; i < variables; ++i) {
        const double here = at[i];
        at[i] = here + step;
        const double more = logistic_objective(solver, at, unused);
        at[i] = here - step;
        const double less = logistic_objective(solver, at, unused);
        at[i] = here;
        assert_close((more - less) / (2 * step), gradient[i], 1e-8 * fmax(1, fabs(gradient[i])));
    }
    logistic_end(solver);
}

static void test_gradient(void **state)
{
    (void)state;
    struct data data;
    draw(&data);
    const struct logistic_problem classes = problem_of(&data, false), values = problem_of(&data, true);
    check_gradient(&classes, CLASSES * (WIDTH + 1));
    check_gradient(&values, WIDTH + 1);
}

/* ---- closed forms ---- */

/* Without a penalty, a feature of two values tells each class as often as it goes with either. */
static void test_saturated(void **state)
{
    (void)state;
    static const float features[] = {-2, -2, -2, -2, -2, 5, 5, 5, 5, 5, 5, 5, 5};
    static const uint32_t labels[] = {0, 0, 1, 2, 2, 0, 1, 1, 1, 1, 1, 2, 2};
    static const double expected[2][3] = {{2. / 5, 1. / 5, 2. / 5}, {1. / 8, 5. / 8, 2. / 8}};
    const struct logistic_problem problem = {features, labels, NULL, 13, 1, 3};
    struct logistic_fit fit;
    fit_ok(&problem, 0, &fit);
    assert_true(fit.converged);
    for (size_t k = 0; k < 3; ++k) {
        assert_close(probability(&fit, features, k), expected[0][k], 1e-5);
        assert_close(probability(&fit, features + 12, k), expected[1][k], 1e-5);
    }
    logistic_free(&fit);
}

/* Features that say nothing leave how often each class occurs. */
static void test_constant(void **state)
{
    (void)state;
    static const float features[] = {3, 0, 3, 0, 3, 0, 3, 0};
    static const uint32_t labels[] = {1, 1, 0, 1};
    const struct logistic_problem problem = {features, labels, NULL, 4, 2, 2};
    struct logistic_fit fit;
    fit_ok(&problem, 1, &fit);
    for (size_t i = 0; i < 4; ++i) {
        assert_true(fit.weight[i] == 0);
    }
    assert_close(probability(&fit, features, 1), 0.75, 1e-6);
    assert_close(fit.loss, -(log(0.25) + 3 * log(0.75)) / 4, 1e-9);
    logistic_free(&fit);
}

/* One feature: weight = cov / (var (1 + penalty)) of what is standardised. */
static void test_ridge(void **state)
{
    (void)state;
    static const float features[] = {1000, 1001, 1003, 1004};
    static const double values[] = {-5, -1, 3, 11};
    const struct logistic_problem problem = {features, NULL, values, 4, 1, 0};
    struct logistic_fit fit;
    fit_ok(&problem, 0.5, &fit);
    const double variance = 2.5, covariance = (2 * 7 + 1 * 3 + 1 * 1 + 2 * 9) / 4.;
    assert_int_equal(fit.outputs, 1);
    assert_close((double)fit.weight[0], covariance / variance / 1.5, 1e-5);
    assert_close(score(&fit, features, 0), 2 - 2 * covariance / variance / 1.5, 1e-3); /* rounded to float at 4800 */
    logistic_free(&fit);
    static const double same[] = {4, 4, 4, 4};
    const struct logistic_problem flat = {features, NULL, same, 4, 1, 0};
    fit_ok(&flat, 0.5, &fit);
    assert_close(score(&fit, features, 0), 4, 1e-6);
    logistic_free(&fit);
}

/* ---- other cases ---- */

/* Classes that a plane tells apart, where the weights would grow for ever without a penalty. */
static void test_separable(void **state)
{
    (void)state;
    static const double penalties[] = {0, 1e-6, 1e-2};
    struct data data;
    draw(&data);
    for (size_t i = 0; i < COUNT; ++i) {
        data.labels[i] = data.features[i * WIDTH + 5] > 0;
    }
    struct logistic_problem problem = problem_of(&data, false);
    problem.classes = 2;
    for (size_t p = 0; p < sizeof penalties / sizeof *penalties; ++p) {
        struct logistic_fit fit;
        fit_ok(&problem, penalties[p], &fit);
        for (size_t i = 0; i < COUNT; ++i) {
            const float *row = data.features + i * WIDTH;
            assert_true(isfinite(score(&fit, row, 0)));
            assert_true(p == 2 || (score(&fit, row, 1) > score(&fit, row, 0)) == (data.labels[i] == 1));
        }
        assert_true(fit.loss < (p == 2 ? 0.4 : 0.01));
        logistic_free(&fit);
    }
}

/* The optimum, whatever the features' sizes: there the gradient of what is minimised is zero. */
static void test_optimum(void **state)
{
    (void)state;
    struct data data;
    draw(&data);
    for (int values = 0; values < 2; ++values) {
        const struct logistic_problem problem = problem_of(&data, values);
        struct logistic_fit fit, again;
        fit_ok(&problem, 0.01, &fit);
        assert_true(fit.converged);
        assert_true(fit.weight[4] == 0);
        fit_ok(&problem, 0.01, &again);
        assert_memory_equal(fit.weight, again.weight, fit.outputs * WIDTH * sizeof *fit.weight);
        assert_memory_equal(fit.bias, again.bias, fit.outputs * sizeof *fit.bias);
        for (size_t k = 0; k < fit.outputs; ++k) {
            double slope = 0; /* by the bias, which has no penalty */
            for (size_t i = 0; i < COUNT; ++i) {
                const float *row = data.features + i * WIDTH;
                slope +=
                    values ? score(&fit, row, 0) - data.values[i] : probability(&fit, row, k) - (data.labels[i] == k);
            }
            assert_close(slope / COUNT, 0, values ? 1e-4 : 1e-5);
        }
        logistic_free(&fit);
        logistic_free(&again);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct data data;
    struct logistic_fit fit;
    struct ldar_error error;
    draw(&data);
    const struct logistic_problem problem = problem_of(&data, false);
    assert_int_equal(logistic_minimise(&problem, -1, &fit, &error), LDAR_ERROR_ARGUMENT);
    assert_int_equal(logistic_minimise(&problem, NAN, &fit, &error), LDAR_ERROR_ARGUMENT);
    data.features[2 * WIDTH + 3] = NAN;
    assert_int_equal(logistic_minimise(&problem, 1, &fit, &error), LDAR_ERROR_ARGUMENT);
    assert_string_equal(error.message, "feature 4 of example 3 is no finite number");
    assert_null(fit.weight);
    logistic_free(&fit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient), cmocka_unit_test(test_saturated), cmocka_unit_test(test_constant),
        cmocka_unit_test(test_ridge),    cmocka_unit_test(test_separable), cmocka_unit_test(test_optimum),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("tools.logistic", tests, NULL, NULL);
}
