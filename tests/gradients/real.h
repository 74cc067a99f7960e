/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_GRADIENTS_REAL_H
#define LDAR_TESTS_GRADIENTS_REAL_H

/*
 * The kernels' interface in double precision. A derivative taken as a difference of two results has half their digits,
 * which of a float are too few to tell a wrong formula from a rounding; so the word itself is changed, in the structs,
 * in the table and in the bodies. What the standard library says of floats is read before, what others say of them must
 * be: a file includes this after all other headers.
 */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wkeyword-macro"
#endif
#define float double
#if defined(__clang__)
#pragma clang diagnostic pop
#endif

#define sqrtf sqrt
#define expf exp
#define exp2f exp2
#define logf log
#define log2f log2
#define log1pf log1p
#define powf pow
#define fabsf fabs
#define fminf fmin
#define fmaxf fmax
#define copysignf copysign

#include "simd/kernels.h"

extern const struct ldar_kernels ldar_kernels_real;

#endif
