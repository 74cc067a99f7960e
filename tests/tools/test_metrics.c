/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NEAR 1e-12

static void assert_near(double got, double expected)
{
    if (isnan(expected) ? !isnan(got) : !(fabs(got - expected) <= NEAR * fmax(1, fabs(expected)))) {
        fail_msg("%.17g is not %.17g", got, expected);
    }
}

/* What scikit-learn 1.2 gives for these. */
struct golden {
    size_t count, classes;
    uint32_t labels[9], predicted[9];
    double probabilities[27];
    struct class_metrics metrics;
};

static const struct golden goldens[] = {
    {8,
     2,
     {0, 1, 1, 0, 1, 0, 1, 1},
     {0, 0, 1, 0, 1, 0, 0, 1},
     {0.75, 0.25, 0.5, 0.5, 0.25, 0.75, 0.5, 0.5, 0.375, 0.625, 0.875, 0.125, 0.5, 0.5, 0.125, 0.875},
     {0.75, 0.75, 0.6, 0.93333333333333335}},
    {9,
     3,
     {0, 0, 1, 2, 2, 1, 2, 0, 1},
     {0, 1, 1, 2, 0, 1, 2, 0, 0},
     {0.5,  0.25,  0.25,  0.25, 0.5, 0.25, 0.125, 0.75, 0.125, 0.25,  0.25,  0.5,  0.5,  0.25,
      0.25, 0.125, 0.625, 0.25, 0,   0.25, 0.75,  0.75, 0.125, 0.125, 0.375, 0.25, 0.375},
     {0.66666666666666663, 0.67936507936507939, 0.50952466536506813, 0.84259259259259256}},
    {4,
     3,
     {0, 0, 1, 1},
     {0, 1, 1, 2},
     {0.5, 0.25, 0.25, 0.25, 0.5, 0.25, 0.125, 0.75, 0.125, 0.25, 0.25, 0.5},
     {0.5, 0.58333333333333326, 0.22360679774997896, NAN}},
    {3, 2, {1, 1, 1}, {0, 1, 0}, {0.5, 0.5, 0.25, 0.75, 0.5, 0.5}, {0.33333333333333331, 0.5, 0, NAN}},
};

static void test_classes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; ++i) {
        const struct golden *golden = &goldens[i];
        struct class_metrics metrics;
        assert_true(metrics_of_classes(golden->labels, golden->predicted, golden->probabilities, golden->count,
                                       golden->classes, &metrics));
        assert_near(metrics.accuracy, golden->metrics.accuracy);
        assert_near(metrics.f1, golden->metrics.f1);
        assert_near(metrics.mcc, golden->metrics.mcc);
        assert_near(metrics.auroc, golden->metrics.auroc);
        assert_true(
            metrics_of_classes(golden->labels, golden->predicted, NULL, golden->count, golden->classes, &metrics));
        assert_near(metrics.mcc, golden->metrics.mcc);
        assert_near(metrics.auroc, NAN);
    }
}

static void test_undefined(void **state)
{
    (void)state;
    static const uint32_t labels[] = {0, 1, 1};
    static const double probabilities[] = {0.5, 0.5, 0.5, NAN, 0.5, 0.5};
    struct class_metrics classes;
    struct value_metrics values;
    assert_true(metrics_of_classes(labels, labels, probabilities, 3, 2, &classes));
    assert_near(classes.accuracy, 1);
    assert_near(classes.mcc, 1);
    assert_near(classes.auroc, NAN);
    assert_true(metrics_of_classes(NULL, NULL, NULL, 0, 2, &classes));
    assert_near(classes.accuracy, NAN);
    assert_near(classes.mcc, NAN);
    assert_true(metrics_of_values(NULL, NULL, 0, &values));
    assert_near(values.mse, NAN);
    static const double constant[] = {0.1, 0.1, 0.1}, rising[] = {1, 2, 3};
    assert_true(metrics_of_values(constant, rising, 3, &values));
    assert_near(values.pearson, NAN);
    assert_near(values.spearman, NAN);
    assert_near(values.r2, 0);
    assert_true(metrics_of_values(rising, constant, 3, &values));
    assert_near(values.pearson, NAN);
    assert_near(values.r2, 1 - (0.81 + 1.9 * 1.9 + 2.9 * 2.9) / 2);
    assert_true(metrics_of_values(constant, constant, 3, &values));
    assert_near(values.r2, 1);
    assert_true(metrics_of_values(rising, rising, 1, &values));
    assert_near(values.mse, 0);
    assert_near(values.r2, NAN);
}

static void test_values(void **state)
{
    (void)state;
    static const double values[] = {1, 2.5, -3, 4, 4, 0.5}, predicted[] = {1.5, 2, -2.5, 4, 3, 0.5};
    double shifted[6], shifted_predicted[6];
    struct value_metrics metrics;
    assert_true(metrics_of_values(values, predicted, 6, &metrics));
    assert_near(metrics.mse, 0.29166666666666669);
    assert_near(metrics.pearson, 0.98344716482452132);
    assert_near(metrics.spearman, 0.98561076060916242);
    assert_near(metrics.r2, 0.95);
    /* Far from zero nothing is lost but what the values themselves lose. */
    for (size_t i = 0; i < 6; ++i) {
        shifted[i] = values[i] + 0x1p40;
        shifted_predicted[i] = predicted[i] + 0x1p40;
    }
    assert_true(metrics_of_values(shifted, shifted_predicted, 6, &metrics));
    assert_near(metrics.pearson, 0.98344716482452132);
    assert_near(metrics.r2, 0.95);
}

static void test_softmax(void **state)
{
    (void)state;
    static const float scores[] = {1000, 1001, -1e30f, 1001};
    double probabilities[4];
    metrics_softmax(scores, 4, probabilities);
    assert_near(probabilities[0], 1 / (1 + 2 * exp(1)));
    assert_near(probabilities[1], exp(1) / (1 + 2 * exp(1)));
    assert_near(probabilities[2], 0);
    assert_int_equal(metrics_largest(scores, 4), 1);
    assert_int_equal(metrics_largest(scores, 1), 0);
}

/* One and two degrees of freedom have closed forms; for the others the inverse of scipy's incomplete beta function. */
static void test_student(void **state)
{
    (void)state;
    static const struct {
        size_t degrees;
        double t95, t99;
    } students[] = {{3, 3.1824463052837, 5.8409093097334},   {4, 2.7764451051978, 4.60409487135},
                    {9, 2.2621571627982, 3.2498355415921},   {10, 2.2281388519863, 3.169272672617},
                    {29, 2.0452296421327, 2.7563859036706},  {99, 1.9842169515864, 2.6264054572808},
                    {1000, 1.9623390808263, 2.5807546980659}};
    for (size_t i = 0; i < sizeof students / sizeof *students; ++i) {
        assert_near(metrics_student(0.95, students[i].degrees), students[i].t95);
        assert_near(metrics_student(0.99, students[i].degrees), students[i].t99);
    }
    for (double p = 0.05; p < 1; p += 0.05) {
        assert_near(metrics_student(p, 1), tan(acos(-1) / 2 * p));
        assert_near(metrics_student(p, 2), p * sqrt(2 / (1 - p * p)));
    }
}

static void test_interval(void **state)
{
    (void)state;
    static const double values[] = {0.817, 0.812, 0.825, 0.809, 0.82, 0.815, 0.811, 0.83, 0.819, 0.814};
    const struct interval interval = metrics_interval(values, 10);
    assert_near(interval.mean, 0.8172);
    assert_near(interval.half, 0.00467025741522385);
    assert_near(metrics_interval(values, 1).mean, 0.817);
    assert_near(metrics_interval(values, 1).half, NAN);
    assert_near(metrics_interval(values, 0).mean, NAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes), cmocka_unit_test(test_undefined), cmocka_unit_test(test_values),
        cmocka_unit_test(test_softmax), cmocka_unit_test(test_student),   cmocka_unit_test(test_interval),
    };
    return cmocka_run_group_tests_name("tools.metrics", tests, NULL, NULL);
}
