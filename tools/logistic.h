/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOGISTIC_H
#define LOGISTIC_H

#include <ldar/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Linear heads on features that stay as they are: multinomial logistic
 * regression for classes, ridge regression for values, by L-BFGS (liblbfgs) in
 * double precision, on one thread. The same input gives the same bits.
 *
 * Features are standardised (mean 0, variance 1) first, and one whose deviation is below 1e-6 of its size, which is
 * float's rounding, counts as constant: its weight is 0. What is minimised, over W and b, is
 *
 *   mean over the examples of the loss + penalty / 2 |W|^2
 *
 * with the cross-entropy of softmax(W z + b), or (W z + b - y)^2 / 2 of the values y, which are standardised, too. So
 * scikit-learn's LogisticRegression has C = 1 / (penalty count), and its Ridge alpha = penalty count. The result is
 * given back for the features as they came.
 */
struct logistic_problem {
    const float *features;  /* (count, width), finite */
    const uint32_t *labels; /* (count) below `classes`; NULL: values */
    const double *values;   /* (count) finite; NULL: labels */
    size_t count;           /* at least 1 */
    size_t width;           /* at least 1 */
    size_t classes;         /* at least 2; with values not read */
};

struct logistic_fit {
    size_t outputs; /* `classes`, or 1 */
    size_t width;
    float *weight;   /* (outputs, width) scores of a feature vector x are weight x + bias */
    float *bias;     /* (outputs) */
    double loss;     /* what was reached */
    int evaluations; /* of the loss */
    bool converged;  /* else the limit of iterations, or of what double precision can tell, came first */
};

/* Minimises from zero. `penalty` is finite and not negative. On failure *fit is zeroed. */
LDAR_MUST_USE enum ldar_status logistic_minimise(const struct logistic_problem *problem, double penalty,
                                                 struct logistic_fit *fit, struct ldar_error *error);

/* Frees the arrays and zeroes the struct. */
void logistic_free(struct logistic_fit *fit);

typedef struct logistic_solver logistic_solver;

/* Standardises. The problem is borrowed. NULL without memory. */
logistic_solver *logistic_begin(const struct logistic_problem *problem, double penalty);

/* Does nothing for NULL. */
void logistic_end(logistic_solver *solver);

/*
 * What is minimised and its gradient, at variables (outputs width + outputs): W, then b, of standardised features. For
 * whoever wants to see that the two agree, or how long it takes. Returns the value.
 */
double logistic_objective(logistic_solver *solver, const double *variables, double *gradient);

#endif
