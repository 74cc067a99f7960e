/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_VEC_MATH_H
#define LDAR_VEC_MATH_H

/*
 * Elementary functions of one vector, written once over the names of the vec headers.
 *
 * The stated ULP is the largest error over all floats whose result is at least 2^-120 in size, with its input; smaller
 * results are off by less than 2^-120. NaN gives NaN. Coefficients: scripts/minimax.py.
 *
 * Road not taken: SLEEF. Debian's 3.5.1 has no inline form, and its expf takes 0.160 ns an element against 0.098 here
 * with AVX-512, 0.34 against 0.26 with AVX2 (Zen 5, arrays in L1).
 */

/*
 * e^(sign x) for a constant sign, 1 or -1, which vanishes into the constants. Told for 1: e^x = 2^n e^r with n =
 * round(x / ln 2) and r = x - n ln 2, ln 2 in two parts. The first part's step is exact: x and n ln 2 are multiples
 * of 2^-25, the difference is less than 1/2, and the product is not rounded. Beyond the clamp the result is 0 or
 * infinite. The relative error of the polynomial is 2^-28; r is added to the rest late, since 1 + r (1 + r P) turns
 * back here and there by a unit where x is small.
 */
static inline vec vec_exp_signed(vec x, const float sign)
{
    const float low = sign > 0 ? -104.5f : -89.0f, high = sign > 0 ? 89.0f : 104.5f;
    x = vec_max(vec_set1(low), vec_min(vec_set1(high), x));
    vec n = vec_round(vec_mul(x, vec_set1(sign * 0x1.715476p+0f)));
    vec r = vec_fnma(n, vec_set1(sign * 0x1.62e430p-1f), x);
    r = vec_fnma(n, vec_set1(sign * -0x1.05c610p-29f), r);
    vec p = vec_set1(sign * 0x1.6a3d04p-10f);
    p = vec_fma(p, r, vec_set1(0x1.123856p-7f));
    p = vec_fma(p, r, vec_set1(sign * 0x1.5558bep-5f));
    p = vec_fma(p, r, vec_set1(0x1.555494p-3f));
    p = vec_fma(p, r, vec_set1(sign * 0x1.fffffcp-2f));
    p = vec_fma(vec_mul(r, r), p, r);
    p = vec_fma(p, vec_set1(sign), vec_set1(1.0f));
    return vec_scale2(p, n);
}

/* 1.02 ULP at 0x1.da72c4p+5; monotone. */
static inline vec vec_exp(vec x)
{
    return vec_exp_signed(x, 1.0f);
}

/*
 * 2^x = 2^n 2^r for x <= 127; r = x - n is exact. The relative error of the polynomial is 2^-28. 0.80 ULP, of one float
 * in three.
 */
static inline vec vec_exp2(vec x)
{
    x = vec_max(vec_set1(-151.0f), x);
    vec n = vec_round(x);
    vec r = vec_sub(x, n);
    vec p = vec_set1(0x1.416b52p-13f);
    p = vec_fma(p, r, vec_set1(0x1.5f082ep-10f));
    p = vec_fma(p, r, vec_set1(0x1.3b2de0p-7f));
    p = vec_fma(p, r, vec_set1(0x1.c6af7cp-5f));
    p = vec_fma(p, r, vec_set1(0x1.ebfbdcp-3f));
    p = vec_fma(p, r, vec_set1(0x1.62e430p-1f));
    p = vec_fma(p, r, vec_set1(1.0f));
    return vec_scale2(p, n);
}

/*
 * A true division: it is right where e^-x is infinite or its reciprocal denormal, and costs less than an estimate with
 * a Newton step (silu with AVX-512 on Zen 5: 0.13 against 0.17 ns an element).
 */
static inline vec vec_logistic(vec numerator, vec x)
{
    return vec_div(numerator, vec_add(vec_set1(1.0f), vec_exp_signed(x, -1.0f)));
}

/* 1 / (1 + e^-x). 2.49 ULP at -0x1.0a2bd8p+4; monotone, never above 1. */
static inline vec vec_sigmoid(vec x)
{
    return vec_logistic(vec_set1(1.0f), x);
}

/* x / (1 + e^-x). 2.45 ULP at -0x1.0ad862p+4; NaN at minus infinity. */
static inline vec vec_silu(vec x)
{
    return vec_logistic(x, x);
}

/*
 * vec_silu to the bit, and its derivative s + x s (1 - s) with s = 1 / (1 + e^-x). 1 - s is taken as e^-x s, which does
 * not cancel; where e^-x is infinite s is 0, and their product would be NaN. The slope is off by 2.3e-7 at most, at
 * 0x1.aec614p+1, and by 2^-21 of itself but between -2 and -1, where it passes through zero.
 *
 * Road not taken: x s for x / (1 + e^-x) saves one of the divisions and 3 % of the time (Zen 5, AVX-512), but then what
 * is recomputed for a gradient would not have the bits of what was kept.
 */
static inline vec vec_silu_slope(vec x, vec *slope)
{
    vec power = vec_exp_signed(x, -1.0f);
    vec divisor = vec_add(vec_set1(1.0f), power);
    vec s = vec_div(vec_set1(1.0f), divisor);
    vec rest = vec_mul(vec_min(vec_set1(0x1.fffffep+127f), power), s);
    *slope = vec_mul(s, vec_fma(x, rest, vec_set1(1.0f)));
    return vec_div(x, divisor);
}

/*
 * log(1 + e^x) = max(x, 0) + log(1 + t), t = e^-|x|, log(1 + t) = 2 atanh(s), s = t / (2 + t) <= 1/3. The relative
 * error of the polynomial is 2^-27.7. Above 20 it is x itself, because log(1 + t) is then less than half a unit.
 * 2.87 ULP at -0x1.5f4e3ap+1.
 */
static inline vec vec_softplus(vec x)
{
    vec t = vec_exp_signed(vec_abs(x), -1.0f);
    vec s = vec_div(t, vec_add(vec_set1(2.0f), t));
    vec z = vec_mul(s, s);
    vec p = vec_set1(0x1.1eca06p-3f);
    p = vec_fma(p, z, vec_set1(0x1.1ec042p-3f));
    p = vec_fma(p, z, vec_set1(0x1.99d1ccp-3f));
    p = vec_fma(p, z, vec_set1(0x1.555502p-2f));
    vec twice = vec_add(s, s);
    return vec_add(vec_max(x, vec_zero()), vec_fma(vec_mul(twice, z), p, twice));
}

#endif
