/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KERNELS_HARNESS_H
#define LDAR_TESTS_KERNELS_HARNESS_H

#include "kit/bfloat16.h"
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
    PLACE_ANY,   /* either, 0..15 numbers away from it, rows ascending or descending in memory */
    PLACES,
    PLACE_FAR = PLACES /* rows 2^32 numbers apart; for cases of two or three rows */
};

/* What a test of one kernel of one table works with. */
struct test {
    const struct ldar_kernels *kernels;
    double bound; /* of kernels.def, for the table's elements */
    struct random random;
    enum placement placement;
    enum fill fill;
};

/* The test of each kernel. A kernel without one does not link. */
#define KERNEL(name, bound, bound_bf16, arguments) void test_##name(struct test *test);
#include "simd/kernels.def"
#undef KERNEL

/*
 * A guarded matrix: row i at `at + i * stride`; `history` more rows stand before the first. A matrix of one row is a
 * vector. Its memory lasts until the case ends.
 *
 * Where the table's elements are bfloat16, a matrix of elements has two halves: the floats that the oracle reads and
 * the checks look at, and guarded memory of the same shape, strides included, that the kernel works on. elements_seal
 * and elements_put make them agree from the floats, elements_take from the kernel's. Of all other matrices, and of all
 * tables of floats, both are the same memory.
 */
struct matrix {
    float *at;
    void *elements; /* of row 0 */
    size_t element; /* bytes of one */
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

/* Whether the table's elements are bfloat16. */
bool elements_narrow(const struct test *test);

/* The same of elements. In *_filled the floats are rounded to elements, and both halves sealed. */
struct matrix elements_new(struct test *test, size_t rows, size_t width, size_t history, bool reversible);
struct matrix elements_like(struct test *test, struct matrix model, size_t width);
struct matrix elements_filled(struct test *test, size_t rows, size_t width, size_t history, bool reversible,
                              enum fill fill);
struct matrix elements_filled_like(struct test *test, struct matrix model, size_t width, enum fill fill);

/* With rows that begin at whole operands, as a product reads them: at multiples of four bytes. */
struct matrix operands_new(struct test *test, size_t rows, size_t width, bool reversible);

/* For the kernel: row `row` of its half. */
void *matrix_elements(struct matrix m, ptrdiff_t row);

void matrix_round(struct matrix m);           /* the floats, to bfloat16 */
void elements_put(struct matrix m);           /* from the floats, which are rounded to elements */
struct matrix elements_seal(struct matrix m); /* the same, and neither half may be written from then on */
void elements_take(struct matrix m);          /* to the floats, what a kernel wrote */

/* Filling covers the history as well; matrix_seal returns m, which from then on must not be written. */
float *matrix_row(struct matrix m, ptrdiff_t row);
void matrix_fill(struct test *test, struct matrix m, enum fill fill);
void matrix_uniform(struct test *test, struct matrix m, double low, double high);
void matrix_copy(struct matrix to, struct matrix from);

/* A dense copy, of elements where m is one, whose rows, history and all, lie in memory in descending order. */
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

/*
 * How strictly check_close_to judges; check_close uses the kernel's bound, and ten times it for the largest error.
 * Results that are bfloat16 are off by half a unit in their last place, and judged by what is beyond it; where l2 is 0
 * they must be the nearest to the reference.
 */
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
