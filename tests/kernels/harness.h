/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KERNELS_HARNESS_H
#define LDAR_TESTS_KERNELS_HARNESS_H

#include "kit/check.h"
#include "kit/guard.h"
#include "kit/measure.h"
#include "kit/random.h"
#include "oracle/oracle.h"
#include "simd/kernels.h"

#include <stdbool.h>
#include <stddef.h>

/* Where the buffers of a case lie. */
enum placement {
    PLACE_FRONT, /* each begins at its front guard page */
    PLACE_REAR,  /* each ends at its rear guard page */
    PLACE_ANY,   /* either, 0..15 floats away from it, rows ascending or descending in memory */
    PLACES,
    PLACE_FAR = PLACES /* rows 2^32 floats apart; for cases of two or three rows */
};

/* What a test of one kernel of one table works with. */
struct test {
    const struct ldar_kernels *kernels;
    double bound; /* of kernels.def */
    struct random random;
    enum placement placement;
    enum fill fill;
};

/* The test of each kernel. A kernel without one does not link. */
#define KERNEL(name, bound, arguments) void test_##name(struct test *test);
#include "simd/kernels.def"
#undef KERNEL

/*
 * A guarded matrix: row i at `at + i * stride`; `history` more rows stand before the first. A matrix of one row is a
 * vector. Its memory lasts until the case ends.
 */
struct matrix {
    float *at;
    size_t rows, width, history;
    ptrdiff_t stride;
};

/* The stride is drawn, >= width, and negative only in PLACE_ANY and where `reversible`; NaN everywhere at first. */
struct matrix matrix_new(struct test *test, size_t rows, size_t width, size_t history, bool reversible);
struct matrix matrix_like(struct test *test, struct matrix model, size_t width); /* rows, history, stride of model */
struct matrix vector_new(struct test *test, size_t width);

/* New ones that are filled and sealed. */
struct matrix matrix_filled(struct test *test, size_t rows, size_t width, size_t history, bool reversible,
                            enum fill fill);
struct matrix matrix_filled_like(struct test *test, struct matrix model, size_t width, enum fill fill);
struct matrix vector_filled(struct test *test, size_t width, enum fill fill);

/* Filling covers the history as well; matrix_seal returns m, which from then on must not be written. */
float *matrix_row(struct matrix m, ptrdiff_t row);
void matrix_fill(struct test *test, struct matrix m, enum fill fill);
void matrix_uniform(struct test *test, struct matrix m, double low, double high);
void matrix_copy(struct matrix to, struct matrix from);

/* A dense copy whose rows, history and all, lie in memory in descending order. */
struct matrix matrix_turned(struct test *test, struct matrix m);
struct matrix matrix_seal(struct matrix m);

/* Scratch of exactly `count` floats, 64-byte aligned and ending at a guard page; count a multiple of 16. */
float *scratch_new(size_t count);

/* An array of another type: `count` elements of `bytes` bytes. */
void *array_new(struct test *test, size_t count, size_t bytes);

/* Doubles for a reference, zeroed, until the case ends. */
double *reference_new(size_t count);

/* Ends a case: checks all canaries, takes back all memory. */
void case_end(void);

/* How strictly check_close_to judges; check_close uses the kernel's bound, and ten times it for the largest error. */
struct tolerance {
    double l2, worst;
    double floor; /* see measure() */
    enum special_rule rule;
    bool zeros; /* many zeros in the reference are in order */
};

struct tolerance tolerance_of(const struct test *test);
void check_close_to(struct matrix got, const double *reference, struct tolerance tolerance);
void check_close(const struct test *test, struct matrix got, const double *reference, double floor);

/* Rounding, flushing and traps of this thread as one number, without the sticky flags. */
uint64_t float_mode(void);

/* Equal to the bit. */
void check_same(const float *a, ptrdiff_t a_stride, const float *b, ptrdiff_t b_stride, size_t rows, size_t width);

/*
 * The sizes of a sweep: pairs of a number of rows (0..67 and around 128) and a width (0..70, 96, 192), such that every
 * one of either meets several of the other. False after the last.
 */
bool size_pair(size_t i, size_t *rows, size_t *width);

/* Runs `one` on all pairs of sizes in the three placements, and on two rows far apart. */
void sweep(struct test *test, void (*one)(struct test *test, size_t rows, size_t width));

#endif
