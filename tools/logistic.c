/* SPDX-License-Identifier: Apache-2.0 */
#include "logistic.h"

#include "formats/failure.h"

#include <lbfgs.h>

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CORRECTIONS = 10,    /* pairs by which L-BFGS knows the curvature */
    ITERATIONS_MAX = 500 /* the most that a fit takes; well-conditioned ones take some fifty */
};

/* |gradient| against |variables|: probabilities are then within 1e-5 of the optimum's. */
static const double epsilon = 1e-7;

/* A deviation below this part of the mean is the rounding of floats. */
static const double constant = 1e-6;

struct logistic_solver {
    const struct logistic_problem *problem;
    double penalty;
    size_t outputs, width;
    double *mean, *inverse; /* (width) of each feature; 1 / deviation, 0 where it is constant */
    double value_mean, value_deviation;
    double *row;    /* (width) an example's standardised features */
    double *scores; /* (outputs) */
    int evaluations;
};

/* ---- standardising ---- */

static void standardise(logistic_solver *solver)
{
    const struct logistic_problem *problem = solver->problem;
    const size_t width = problem->width;
    for (size_t i = 0; i < problem->count; ++i) {
        for (size_t j = 0; j < width; ++j) {
            solver->mean[j] += (double)problem->features[i * width + j];
        }
    }
    for (size_t j = 0; j < width; ++j) {
        solver->mean[j] /= (double)problem->count;
    }
    for (size_t i = 0; i < problem->count; ++i) {
        for (size_t j = 0; j < width; ++j) {
            const double distance = (double)problem->features[i * width + j] - solver->mean[j];
            solver->inverse[j] += distance * distance;
        }
    }
    for (size_t j = 0; j < width; ++j) {
        const double deviation = sqrt(solver->inverse[j] / (double)problem->count);
        solver->inverse[j] = deviation > constant * fabs(solver->mean[j]) ? 1 / deviation : 0;
    }
}

static void standardise_values(logistic_solver *solver)
{
    const struct logistic_problem *problem = solver->problem;
    double sum = 0;
    for (size_t i = 0; i < problem->count; ++i) {
        solver->value_mean += problem->values[i] / (double)problem->count;
    }
    for (size_t i = 0; i < problem->count; ++i) {
        sum += (problem->values[i] - solver->value_mean) * (problem->values[i] - solver->value_mean);
    }
    const double deviation = sqrt(sum / (double)problem->count);
    solver->value_deviation = deviation > 0 ? deviation : 1;
}

void logistic_end(logistic_solver *solver)
{
    if (!solver) {
        return;
    }
    free(solver->mean);
    free(solver->inverse);
    free(solver->row);
    free(solver->scores);
    free(solver);
}

logistic_solver *logistic_begin(const struct logistic_problem *problem, double penalty)
{
    const size_t outputs = problem->labels ? problem->classes : 1, width = problem->width;
    logistic_solver *solver = calloc(1, sizeof *solver);
    if (!solver) {
        return NULL;
    }
    *solver = (logistic_solver){.problem = problem, .penalty = penalty, .outputs = outputs, .width = width};
    solver->mean = calloc(width, sizeof *solver->mean);
    solver->inverse = calloc(width, sizeof *solver->inverse);
    solver->row = calloc(width, sizeof *solver->row);
    solver->scores = calloc(outputs, sizeof *solver->scores);
    if (!solver->mean || !solver->inverse || !solver->row || !solver->scores) {
        logistic_end(solver);
        return NULL;
    }
    standardise(solver);
    if (!problem->labels) {
        standardise_values(solver);
    }
    return solver;
}

/* ---- the loss ---- */

/* Eight sums, which a compiler keeps in vectors; their order is the same everywhere. */
static double dot(const double *x, const double *y, size_t count)
{
    double part[8] = {0};
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        for (size_t j = 0; j < 8; ++j) {
            part[j] += x[i + j] * y[i + j];
        }
    }
    for (; i < count; ++i) {
        part[i % 8] += x[i] * y[i];
    }
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

/* Scores to the gradient of the example's cross-entropy by them; returns that. */
static double cross_entropy(double *scores, size_t classes, uint32_t label)
{
    double largest = scores[0], sum = 0;
    for (size_t i = 1; i < classes; ++i) {
        largest = fmax(largest, scores[i]);
    }
    const double own = scores[label] - largest;
    for (size_t i = 0; i < classes; ++i) {
        scores[i] = exp(scores[i] - largest);
        sum += scores[i];
    }
    for (size_t i = 0; i < classes; ++i) {
        scores[i] /= sum;
    }
    scores[label] -= 1;
    return log(sum) - own;
}

/* The loss of example i; its gradient by the variables is added to `gradient`. */
static double add_example(logistic_solver *solver, size_t i, const double *variables, double *gradient)
{
    const struct logistic_problem *problem = solver->problem;
    const size_t width = solver->width, outputs = solver->outputs;
    const float *features = problem->features + i * width;
    double *scores = solver->scores, loss;
    for (size_t j = 0; j < width; ++j) {
        solver->row[j] = ((double)features[j] - solver->mean[j]) * solver->inverse[j];
    }
    for (size_t k = 0; k < outputs; ++k) {
        scores[k] = dot(variables + k * width, solver->row, width) + variables[outputs * width + k];
    }
    if (problem->labels) {
        loss = cross_entropy(scores, outputs, problem->labels[i]);
    } else {
        scores[0] -= (problem->values[i] - solver->value_mean) / solver->value_deviation;
        loss = scores[0] * scores[0] / 2;
    }
    for (size_t k = 0; k < outputs; ++k) {
        for (size_t j = 0; j < width; ++j) {
            gradient[k * width + j] += scores[k] * solver->row[j];
        }
        gradient[outputs * width + k] += scores[k];
    }
    return loss;
}

double logistic_objective(logistic_solver *solver, const double *variables, double *gradient)
{
    const size_t weights = solver->outputs * solver->width, all = weights + solver->outputs;
    const double examples = (double)solver->problem->count;
    double loss = 0;
    ++solver->evaluations;
    memset(gradient, 0, all * sizeof *gradient);
    for (size_t i = 0; i < solver->problem->count; ++i) {
        loss += add_example(solver, i, variables, gradient);
    }
    for (size_t i = 0; i < all; ++i) {
        gradient[i] = gradient[i] / examples + (i < weights ? solver->penalty * variables[i] : 0);
    }
    return loss / examples + solver->penalty / 2 * dot(variables, variables, weights);
}

/* What lbfgs calls. `count` may be larger than the variables are many: liblbfgs rounds it up for its vectors. */
static lbfgsfloatval_t evaluate(void *user, const lbfgsfloatval_t *variables, lbfgsfloatval_t *gradient, int count,
                                lbfgsfloatval_t step)
{
    (void)step;
    const logistic_solver *solver = user;
    const size_t all = solver->outputs * (solver->width + 1);
    memset(gradient + all, 0, ((size_t)count - all) * sizeof *gradient);
    return logistic_objective(user, variables, gradient);
}

/* ---- the fit ---- */

static enum ldar_status check(const struct logistic_problem *problem, double penalty, struct ldar_error *error)
{
    const size_t outputs = problem->labels ? problem->classes : 1;
    if (!isfinite(penalty) || penalty < 0) {
        return fail(error, LDAR_ERROR_ARGUMENT, "the penalty %g of a linear head is no finite number, or negative",
                    penalty);
    }
    if (problem->width >= INT_MAX / 2 / outputs) {
        return fail(error, LDAR_ERROR_ARGUMENT, "a linear head of %zu classes and %zu features is too large", outputs,
                    problem->width);
    }
    for (size_t i = 0; i < problem->count; ++i) {
        for (size_t j = 0; j < problem->width; ++j) {
            if (!isfinite(problem->features[i * problem->width + j])) {
                return fail(error, LDAR_ERROR_ARGUMENT, "feature %zu of example %zu is no finite number", j + 1, i + 1);
            }
        }
    }
    return LDAR_OK;
}

/* From standardised features to those that came: W z + b = (W / deviation) x + (b - sum of W mean / deviation). */
static bool unfold(const logistic_solver *solver, const double *variables, struct logistic_fit *fit)
{
    const size_t width = solver->width, outputs = solver->outputs;
    fit->weight = calloc(outputs * width, sizeof *fit->weight);
    fit->bias = calloc(outputs, sizeof *fit->bias);
    if (!fit->weight || !fit->bias) {
        return false;
    }
    const bool values = !solver->problem->labels;
    const double scale = values ? solver->value_deviation : 1, shift = values ? solver->value_mean : 0;
    for (size_t k = 0; k < outputs; ++k) {
        double bias = variables[outputs * width + k];
        for (size_t j = 0; j < width; ++j) {
            const double weight = variables[k * width + j] * solver->inverse[j];
            fit->weight[k * width + j] = (float)(scale * weight);
            bias -= weight * solver->mean[j];
        }
        fit->bias[k] = (float)(scale * bias + shift);
    }
    fit->outputs = outputs;
    fit->width = width;
    return true;
}

/* Where L-BFGS stops because it can tell no better, the variables are the best that it has seen. */
static bool is_end(int result)
{
    static const int ends[] = {LBFGSERR_MAXIMUMITERATION, LBFGSERR_ROUNDING_ERROR,    LBFGSERR_MINIMUMSTEP,
                               LBFGSERR_MAXIMUMSTEP,      LBFGSERR_MAXIMUMLINESEARCH, LBFGSERR_WIDTHTOOSMALL,
                               LBFGSERR_OUTOFINTERVAL,    LBFGSERR_INCORRECT_TMINMAX, LBFGSERR_INCREASEGRADIENT};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; ++i) {
        if (result == ends[i]) {
            return true;
        }
    }
    return result >= 0;
}

/* liblbfgs may go back to the best variables and tell the loss of others. */
static bool reached(logistic_solver *solver, const double *variables, int count, double *loss)
{
    double *gradient = malloc((size_t)count * sizeof *gradient);
    if (gradient) {
        *loss = logistic_objective(solver, variables, gradient);
    }
    const bool done = gradient != NULL;
    free(gradient);
    return done;
}

static enum ldar_status minimise(logistic_solver *solver, struct logistic_fit *fit, struct ldar_error *error)
{
    const int count = (int)(solver->outputs * (solver->width + 1));
    lbfgs_parameter_t parameter;
    lbfgs_parameter_init(&parameter);
    parameter.m = CORRECTIONS;
    parameter.epsilon = epsilon;
    parameter.max_iterations = ITERATIONS_MAX;
    lbfgsfloatval_t *variables = lbfgs_malloc(count); /* zeroed */
    if (!variables) {
        return fail_memory(error, "fit", "a linear head");
    }
    enum ldar_status status = LDAR_OK;
    const int result = lbfgs(count, variables, NULL, evaluate, NULL, solver, &parameter);
    if (result == LBFGSERR_OUTOFMEMORY) {
        status = fail_memory(error, "fit", "a linear head");
    } else if (!is_end(result)) {
        status = fail(error, LDAR_ERROR_INTERNAL, "the fit of a linear head ended with %d of liblbfgs", result);
    } else if (!unfold(solver, variables, fit) || !reached(solver, variables, count, &fit->loss)) {
        status = fail_memory(error, "fit", "a linear head");
    }
    fit->converged = result >= 0;
    fit->evaluations = solver->evaluations;
    lbfgs_free(variables);
    return status;
}

enum ldar_status logistic_minimise(const struct logistic_problem *problem, double penalty, struct logistic_fit *fit,
                                   struct ldar_error *error)
{
    *fit = (struct logistic_fit){0};
    enum ldar_status status = check(problem, penalty, error);
    if (status) {
        return status;
    }
    logistic_solver *solver = logistic_begin(problem, penalty);
    status = solver ? minimise(solver, fit, error) : fail_memory(error, "fit", "a linear head");
    logistic_end(solver);
    if (status) {
        logistic_free(fit);
    }
    return status;
}

void logistic_free(struct logistic_fit *fit)
{
    free(fit->weight);
    free(fit->bias);
    *fit = (struct logistic_fit){0};
}
