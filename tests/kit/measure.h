/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KIT_MEASURE_H
#define LDAR_TESTS_KIT_MEASURE_H

#include <stddef.h>

/* How far float results lie from a reference in double precision. Elements are counted row by row. */
struct difference {
    double l2;       /* ||got - reference|| / ||reference|| over the finite elements */
    double worst;    /* max |got - reference| / rms(reference); of rounded results / max(rms, |reference|) */
    size_t worst_at; /* element of `worst` */
    size_t zeros;    /* elements of the reference that are 0 */
    size_t strays;   /* elements that are NaN or infinite on one side alone, or not the same of these on both */
    size_t stray_at; /* the first of them */
};

enum special_rule {
    SPECIAL_SAME, /* NaN where the reference has NaN, the same infinity where it has one */
    SPECIAL_ANY   /* not finite where the reference is not finite: sums in another order turn infinities to NaN */
};

/*
 * reference (rows, width) dense, got (rows, width) with `stride`. `floor` is a magnitude below which the rms of the
 * reference is not believed, because the results are what cancellation left of larger terms. `bits`, when not 0, says
 * that the results were rounded at last to so many significant bits: half a unit in the last of them is no error, and
 * what goes beyond is an error made before.
 */
struct difference measure(const double *reference, const float *got, size_t rows, size_t width, ptrdiff_t stride,
                          double floor, enum special_rule rule, int bits);

/* Error of `got` in units in the last place of the reference; infinite where exactly one of them is NaN or infinite. */
double ulp_error(float got, double reference);

#endif
