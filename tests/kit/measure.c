/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <float.h>
#include <math.h>

/* Flushed denormals are errors of up to FLT_MIN; below this magnitude they would pass for relative ones of 1e-8. */
static const double smallest_rms = 1e-30;

static int special_equal(double reference, float got, enum special_rule rule)
{
    if (isfinite(reference) || isfinite(got)) {
        return isfinite(reference) && isfinite(got);
    }
    if (rule == SPECIAL_ANY) {
        return 1;
    }
    return isnan(reference) ? isnan(got) : (double)got == reference;
}

/* What is beyond the largest float is infinite. */
static double as_float(double reference)
{
    return fabs(reference) > FLT_MAX ? copysign(INFINITY, reference) : reference;
}

/* Half a unit in the last of `bits` significant ones, of the larger of two numbers. */
static double half_unit(double a, double b, int bits)
{
    int exponent = 0;
    frexp(fmax(fabs(a), fabs(b)), &exponent);
    return ldexp(0.5, exponent - bits);
}

struct difference measure(const double *reference, const float *got, size_t rows, size_t width, ptrdiff_t stride,
                          double floor, enum special_rule rule, int bits)
{
    struct difference result = {0};
    double error = 0, norm = 0;
    size_t finite = 0;
    for (size_t i = 0; i < rows * width; i++) {
        double r = as_float(reference[i]);
        float g = got[(ptrdiff_t)(i / width) * stride + (ptrdiff_t)(i % width)];
        if (!special_equal(r, g, rule)) {
            result.stray_at = result.strays++ ? result.stray_at : i;
        }
        if (isfinite(r) && isfinite(g)) {
            finite++;
            norm += r * r;
            result.zeros += r == 0;
        }
    }
    if (!finite) {
        return result;
    }
    const double rms = fmax(sqrt(norm / (double)finite), fmax(floor, smallest_rms));
    for (size_t i = 0; i < rows * width; i++) {
        double r = as_float(reference[i]);
        float g = got[(ptrdiff_t)(i / width) * stride + (ptrdiff_t)(i % width)];
        if (!isfinite(r) || !isfinite(g)) {
            continue;
        }
        double d = fabs((double)g - r), scale = bits ? fmax(rms, fabs(r)) : rms;
        d = bits ? fmax(0, d - half_unit(r, g, bits)) : d;
        error += d * d;
        if (d / scale > result.worst) {
            result.worst = d / scale;
            result.worst_at = i;
        }
    }
    result.l2 = sqrt(error / (double)finite) / rms;
    return result;
}

double ulp_error(float got, double reference)
{
    const double limit = ldexp(1, FLT_MAX_EXP);
    if (isnan(reference) || isnan(got)) {
        return isnan(reference) && isnan(got) ? 0 : INFINITY;
    }
    if (fabs(reference) >= limit || (isinf(got) && fabs(reference) < FLT_MAX / 2)) {
        return isinf(got) && signbit(got) == signbit(reference) && fabs(reference) >= limit ? 0 : INFINITY;
    }
    double value = isinf(got) ? copysign(limit, got) : (double)got; /* the number that rounding would have gone to */
    int exponent = 0;
    frexp(reference, &exponent);
    exponent = reference == 0 || exponent < FLT_MIN_EXP ? FLT_MIN_EXP : exponent;
    return fabs(value - reference) / ldexp(1, exponent - FLT_MANT_DIG);
}
