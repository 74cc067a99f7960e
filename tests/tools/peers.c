/* SPDX-License-Identifier: Apache-2.0 */
/* What test_peers.py compares with scikit-learn and scipy: cases on standard input, a line of results for each. */
#include "folds.h"
#include "logistic.h"
#include "metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *get_memory(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (!memory) {
        exit(1);
    }
    return memory;
}

static size_t read_count(void)
{
    size_t count;
    if (scanf("%zu", &count) != 1) {
        exit(feof(stdin) ? 0 : 1);
    }
    return count;
}

static double read_number(void)
{
    double number;
    if (scanf("%lf", &number) != 1) {
        exit(1);
    }
    return number;
}

/* count classes, then for each example its label, what was predicted, and the probabilities. */
static void run_classes(void)
{
    const size_t count = read_count(), classes = read_count();
    uint32_t *labels = get_memory(count, sizeof *labels), *predicted = get_memory(count, sizeof *predicted);
    double *probabilities = get_memory(count * classes, sizeof *probabilities);
    struct class_metrics metrics;
    for (size_t i = 0; i < count; ++i) {
        labels[i] = (uint32_t)read_count();
        predicted[i] = (uint32_t)read_count();
        for (size_t j = 0; j < classes; ++j) {
            probabilities[i * classes + j] = read_number();
        }
    }
    if (!metrics_of_classes(labels, predicted, probabilities, count, classes, &metrics)) {
        exit(1);
    }
    printf("%.17g %.17g %.17g %.17g\n", metrics.accuracy, metrics.f1, metrics.mcc, metrics.auroc);
    free(labels);
    free(predicted);
    free(probabilities);
}

/* count, the values, then what was predicted. */
static void run_values(void)
{
    const size_t count = read_count();
    double *numbers = get_memory(2 * count, sizeof *numbers);
    struct value_metrics metrics;
    for (size_t i = 0; i < 2 * count; ++i) {
        numbers[i] = read_number();
    }
    if (!metrics_of_values(numbers, numbers + count, count, &metrics)) {
        exit(1);
    }
    const struct interval interval = metrics_interval(numbers, count);
    printf("%.17g %.17g %.17g %.17g %.17g %.17g\n", metrics.mse, metrics.pearson, metrics.spearman, metrics.r2,
           interval.mean, interval.half);
    free(numbers);
}

/* Degrees of freedom, and a probability. */
static void run_student(void)
{
    const size_t degrees = read_count();
    printf("%.17g\n", metrics_student(read_number(), degrees));
}

/* count folds seed */
static void run_folds(void)
{
    const size_t count = read_count(), folds = read_count(), seed = read_count();
    uint32_t *fold_of = get_memory(count, sizeof *fold_of);
    if (!folds_split(count, folds, (uint32_t)seed, fold_of)) {
        exit(1);
    }
    for (size_t i = 0; i < count; ++i) {
        printf("%" PRIu32 "%c", fold_of[i], i + 1 < count ? ' ' : '\n');
    }
    free(fold_of);
}

/* count width classes (0: values) penalty, then for each example its label or value, and the features; gives each
 * example's scores. */
static void run_logistic(void)
{
    struct logistic_problem problem = {0};
    problem.count = read_count();
    problem.width = read_count();
    problem.classes = read_count();
    const double penalty = read_number();
    uint32_t *labels = get_memory(problem.count, sizeof *labels);
    double *values = get_memory(problem.count, sizeof *values);
    float *features = get_memory(problem.count * problem.width, sizeof *features);
    struct logistic_fit fit;
    for (size_t i = 0; i < problem.count; ++i) {
        values[i] = read_number();
        labels[i] = (uint32_t)fmax(0, values[i]);
        for (size_t j = 0; j < problem.width; ++j) {
            features[i * problem.width + j] = (float)read_number();
        }
    }
    problem.features = features;
    problem.labels = problem.classes ? labels : NULL;
    problem.values = problem.classes ? NULL : values;
    if (logistic_minimise(&problem, penalty, &fit, NULL)) {
        exit(1);
    }
    for (size_t i = 0; i < problem.count; ++i) {
        for (size_t k = 0; k < fit.outputs; ++k) {
            double score = (double)fit.bias[k];
            for (size_t j = 0; j < fit.width; ++j) {
                score += (double)fit.weight[k * fit.width + j] * (double)features[i * fit.width + j];
            }
            printf("%.9g ", score);
        }
    }
    printf("\n");
    logistic_free(&fit);
    free(labels);
    free(values);
    free(features);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } kinds[] = {{"classes", run_classes},
                 {"values", run_values},
                 {"student", run_student},
                 {"folds", run_folds},
                 {"logistic", run_logistic}};
    for (size_t i = 0; argc == 2 && i < sizeof kinds / sizeof *kinds; ++i) {
        while (strcmp(argv[1], kinds[i].name) == 0) {
            kinds[i].run(); /* which ends the process behind the last case */
        }
    }
    return 2;
}
