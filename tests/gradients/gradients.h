/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_GRADIENTS_H
#define LDAR_TESTS_GRADIENTS_H

/*
 * Every backward kernel against central differences of its forward kernel, both in double precision. A family has a
 * file test_<family>.c here with void gradients_<family>(void); from that come its declaration and its test
 * gradients.<family>.
 *
 * A test fills arrays, runs the forward and the backward kernel of ldar_kernels_real with the output's gradient drawn
 * at random, and gives gradients_check each input with the gradient that the backward kernel found for it:
 *
 *     static double loss(void *of)     the forward kernel once more, from the arrays in *of, and
 *                                      gradients_dot(out, dout, count) of its outputs
 *
 * Below this header `float` reads as `double`.
 */
#include "kit/check.h"
#include "kit/random.h"

#include "real.h"

#define FAMILY(name) void gradients_##name(void);
#include "families.def"
#undef FAMILY

/* The stream that all tests of a program draw from. */
extern struct random gradients_random;

/* Arrays of doubles on 64-byte boundaries, until gradients_end(). */
double *gradients_zeros(size_t count);
double *gradients_normal(size_t count);
double *gradients_uniform(size_t count, double low, double high);

/* Ends a case: takes back its arrays. */
void gradients_end(void);

double gradients_dot(const double *a, const double *b, size_t count);

/*
 * Moves each of x[0..count - 1] by 1e-6 either way, computes loss(of), and compares the slope with gradient: equal to
 * 1e-7, or to 1e-5 of the slope. x is left as it was. `input` is its name in messages. Numbers between the rows of x
 * have no effect on the loss: their gradient stays the zero that it was.
 */
void gradients_check(const char *input, double *x, size_t count, const double *gradient, double (*loss)(void *of),
                     void *of);

/* The same for `samples` places drawn at random, where all of them would take too long. */
void gradients_check_some(const char *input, double *x, size_t count, const double *gradient, double (*loss)(void *of),
                          void *of, size_t samples);

#endif
