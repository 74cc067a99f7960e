/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static const char *const names[METRICS][2] = {
    [METRIC_ACCURACY] = {"accuracy", "test_accuracy"},
    [METRIC_F1] = {"f1", "test_f1_score"},
    [METRIC_MCC] = {"mcc", "test_mcc"},
    [METRIC_AUROC] = {"auroc", "test_auroc"},
};

const char *metric_name(enum metric metric)
{
    return names[metric][0];
}

const char *metric_key(enum metric metric)
{
    return names[metric][1];
}

bool metric_parse(const char *name, enum metric *metric)
{
    for (int i = 0; i < METRICS; ++i) {
        if (strcmp(name, names[i][0]) == 0) {
            *metric = (enum metric)i;
            return true;
        }
    }
    return false;
}

double metric_value(const struct class_metrics *metrics, enum metric metric)
{
    const double values[METRICS] = {metrics->accuracy, metrics->f1, metrics->mcc, metrics->auroc};
    return values[metric];
}

/* ---- sums ---- */

/* Neumaier's: what each addition rounds away is summed beside. */
struct sum {
    double total, lost;
};

static void add(struct sum *sum, double value)
{
    const double total = sum->total + value;
    sum->lost += fabs(sum->total) >= fabs(value) ? (sum->total - total) + value : (value - total) + sum->total;
    sum->total = total;
}

static double sum_of(const struct sum *sum)
{
    return sum->total + sum->lost;
}

static double mean_of(const double *values, size_t count)
{
    struct sum sum = {0};
    for (size_t i = 0; i < count; ++i) {
        add(&sum, values[i]);
    }
    return sum_of(&sum) / (double)count;
}

/* ---- classes ---- */

/* How often each class occurs, and is met. */
struct counts {
    uint64_t truly, predicted, met;
};

static double weighted_f1(const struct counts *counts, size_t classes, size_t count)
{
    struct sum sum = {0};
    for (size_t i = 0; i < classes; ++i) {
        const double both = (double)(counts[i].truly + counts[i].predicted);
        if (both > 0) {
            add(&sum, 2 * (double)counts[i].met / both * (double)counts[i].truly);
        }
    }
    return sum_of(&sum) / (double)count;
}

/* Covariances times count^2 are integers below 2^62, exact until the last step. */
static double matthews(const struct counts *counts, size_t classes, uint64_t count)
{
    uint64_t met = 0, cross = 0, truly = 0, predicted = 0;
    for (size_t i = 0; i < classes; ++i) {
        met += counts[i].met;
        cross += counts[i].truly * counts[i].predicted;
        truly += counts[i].truly * counts[i].truly;
        predicted += counts[i].predicted * counts[i].predicted;
    }
    const uint64_t spread_truly = count * count - truly, spread_predicted = count * count - predicted;
    if (spread_truly == 0 || spread_predicted == 0) {
        return 0;
    }
    return (double)((int64_t)(met * count) - (int64_t)cross)
           / (sqrt((double)spread_truly) * sqrt((double)spread_predicted));
}

/* An example as one class against the rest sees it. */
struct scored {
    double score;
    bool positive;
};

static int compare_scores(const void *left, const void *right)
{
    const double a = ((const struct scored *)left)->score, b = ((const struct scored *)right)->score;
    return (a > b) - (a < b);
}

/* The share of pairs, one of each side, that the scores put in order; equal scores count half. */
static double area(struct scored *scored, size_t count)
{
    uint64_t halves = 0, negatives = 0, positives = 0;
    qsort(scored, count, sizeof *scored, compare_scores);
    for (size_t i = 0, end; i < count; i = end) {
        uint64_t tied[2] = {0, 0};
        for (end = i; end < count && scored[end].score == scored[i].score; ++end) {
            ++tied[scored[end].positive];
        }
        halves += tied[1] * (2 * negatives + tied[0]);
        negatives += tied[0];
        positives += tied[1];
    }
    return negatives && positives ? (double)halves / (2 * (double)negatives * (double)positives) : NAN;
}

static double area_of_class(const uint32_t *labels, const double *probabilities, size_t count, size_t classes,
                            size_t class, struct scored *scored)
{
    for (size_t i = 0; i < count; ++i) {
        scored[i] = (struct scored){probabilities[i * classes + class], labels[i] == class};
        if (isnan(scored[i].score)) {
            return NAN;
        }
    }
    return area(scored, count);
}

static double auroc(const uint32_t *labels, const double *probabilities, const struct counts *counts, size_t count,
                    size_t classes, struct scored *scored)
{
    struct sum sum = {0};
    if (classes == 2) {
        return area_of_class(labels, probabilities, count, classes, 1, scored);
    }
    for (size_t i = 0; i < classes; ++i) {
        add(&sum, (double)counts[i].truly * area_of_class(labels, probabilities, count, classes, i, scored));
    }
    return sum_of(&sum) / (double)count;
}

bool metrics_of_classes(const uint32_t *labels, const uint32_t *predicted, const double *probabilities, size_t count,
                        size_t classes, struct class_metrics *metrics)
{
    *metrics = (struct class_metrics){NAN, NAN, NAN, NAN};
    struct counts *counts = calloc(classes + 1, sizeof *counts);
    struct scored *scored = calloc(count + 1, sizeof *scored);
    if (!counts || !scored) {
        free(counts);
        free(scored);
        return false;
    }
    uint64_t met = 0;
    for (size_t i = 0; i < count; ++i) {
        ++counts[labels[i]].truly;
        ++counts[predicted[i]].predicted;
        counts[labels[i]].met += labels[i] == predicted[i];
        met += labels[i] == predicted[i];
    }
    if (count > 0) {
        metrics->accuracy = (double)met / (double)count;
        metrics->f1 = weighted_f1(counts, classes, count);
        metrics->mcc = matthews(counts, classes, count);
        metrics->auroc = probabilities ? auroc(labels, probabilities, counts, count, classes, scored) : NAN;
    }
    free(counts);
    free(scored);
    return true;
}

void metrics_softmax(const float *scores, size_t classes, double *probabilities)
{
    const double largest = (double)scores[metrics_largest(scores, classes)];
    double sum = 0;
    for (size_t i = 0; i < classes; ++i) {
        probabilities[i] = exp((double)scores[i] - largest);
        sum += probabilities[i];
    }
    for (size_t i = 0; i < classes; ++i) {
        probabilities[i] /= sum;
    }
}

uint32_t metrics_largest(const float *scores, size_t classes)
{
    uint32_t largest = 0;
    for (uint32_t i = 1; i < classes; ++i) {
        largest = scores[i] > scores[largest] ? i : largest;
    }
    return largest;
}

/* ---- values ---- */

static bool varies(const double *values, size_t count)
{
    for (size_t i = 1; i < count; ++i) {
        if (values[i] != values[0]) {
            return true;
        }
    }
    return false;
}

/* Sum of (x - mean of x)(y - mean of y). The means are rounded; what that leaves is taken off at the end. */
static double comoment(const double *x, const double *y, size_t count)
{
    const double mean_x = mean_of(x, count), mean_y = mean_of(y, count);
    struct sum products = {0}, left_x = {0}, left_y = {0};
    for (size_t i = 0; i < count; ++i) {
        add(&products, (x[i] - mean_x) * (y[i] - mean_y));
        add(&left_x, x[i] - mean_x);
        add(&left_y, y[i] - mean_y);
    }
    return sum_of(&products) - sum_of(&left_x) * sum_of(&left_y) / (double)count;
}

static double correlation(const double *x, const double *y, size_t count)
{
    if (!varies(x, count) || !varies(y, count)) {
        return NAN;
    }
    return fmax(-1, fmin(1, comoment(x, y, count) / (sqrt(comoment(x, x, count)) * sqrt(comoment(y, y, count)))));
}

static double squared_errors(const double *values, const double *predicted, size_t count)
{
    struct sum errors = {0};
    for (size_t i = 0; i < count; ++i) {
        add(&errors, (values[i] - predicted[i]) * (values[i] - predicted[i]));
    }
    return sum_of(&errors);
}

static double determination(const double *values, const double *predicted, size_t count)
{
    const double errors = squared_errors(values, predicted, count);
    if (count < 2) {
        return NAN;
    }
    return varies(values, count) ? 1 - errors / comoment(values, values, count) : errors == 0;
}

static int compare_values(const void *left, const void *right)
{
    const double a = **(const double *const *)left, b = **(const double *const *)right;
    return (a > b) - (a < b);
}

/* ranks (count) of the values, from 1; order (count) is scratch. */
static void rank(const double *values, size_t count, const double **order, double *ranks)
{
    for (size_t i = 0; i < count; ++i) {
        order[i] = values + i;
    }
    qsort(order, count, sizeof *order, compare_values);
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i; end < count && *order[end] == *order[i]; ++end) {
        }
        for (size_t j = i; j < end; ++j) {
            ranks[order[j] - values] = (double)(i + 1 + end) / 2;
        }
    }
}

bool metrics_of_values(const double *values, const double *predicted, size_t count, struct value_metrics *metrics)
{
    *metrics = (struct value_metrics){NAN, NAN, NAN, NAN};
    double *ranks = calloc(2 * count + 1, sizeof *ranks);
    const double **order = calloc(count + 1, sizeof *order);
    const bool done = ranks && order;
    if (done && count > 0) {
        metrics->mse = squared_errors(values, predicted, count) / (double)count;
        metrics->pearson = correlation(values, predicted, count);
        rank(values, count, order, ranks);
        rank(predicted, count, order, ranks + count);
        metrics->spearman = correlation(ranks, ranks + count, count);
        metrics->r2 = determination(values, predicted, count);
    }
    free(ranks);
    free(order);
    return done;
}

/* ---- Student's t ---- */

/*
 * P(|T| < sqrt(degrees) tan(angle)), a finite series for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and
 * 26.7.4) whose terms are all positive.
 */
static double within(double angle, size_t degrees)
{
    const double sine = sin(angle), cosine = cos(angle);
    double term = degrees % 2 ? cosine : 1, series = 0;
    for (size_t i = degrees % 2 + 1; i < degrees; i += 2) {
        series += term;
        term *= cosine * cosine * (double)i / (double)(i + 1);
    }
    return degrees % 2 ? (angle + sine * series) * 2 / acos(-1) : sine * series;
}

double metrics_student(double probability, size_t degrees)
{
    double low = 0, high = acos(-1) / 2;
    for (int i = 0; i < 64; ++i) {
        const double middle = low + (high - low) / 2;
        if (within(middle, degrees) < probability) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return sqrt((double)degrees) * tan(high);
}

struct interval metrics_interval(const double *values, size_t count)
{
    struct interval interval = {count > 0 ? mean_of(values, count) : NAN, NAN};
    if (count >= 2) {
        const double variance = comoment(values, values, count) / (double)(count - 1);
        interval.half = metrics_student(0.95, count - 1) * sqrt(variance / (double)count);
    }
    return interval;
}
