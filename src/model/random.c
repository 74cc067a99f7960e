/* SPDX-License-Identifier: Apache-2.0 */
#include "model/random.h"

#include <math.h>

static const double ln2 = 0x1.62e42fefa39efp-1, quarter_pi = 0x1.921fb54442d18p-1;

void ldar_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4])
{
    enum { ROUNDS = 10 };
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53 * c0, p1 = (uint64_t)0xcd9e8d57 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9; /* golden ratio */
        k1 += 0xbb67ae85; /* sqrt(3) - 1 */
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

double ldar_uniform(uint32_t word)
{
    return (word + 0.5) * 0x1p-32;
}

double ldar_portable_log(double x)
{
    int exponent;
    double mantissa = frexp(x, &exponent);
    if (mantissa < 0x1.6a09e667f3bcdp-1) { /* sqrt(1/2): keeps |s| below 0.172 */
        mantissa *= 2;
        exponent--;
    }
    /* log m = 2 atanh(s), s = (m - 1) / (m + 1): s + s^3 / 3 + ...; the first term left out is below 2^-57. */
    double s = (mantissa - 1) / (mantissa + 1), square = s * s, sum = 0;
    for (int n = 21; n > 0; n -= 2) {
        sum = sum * square + 1.0 / n;
    }
    return exponent * ln2 + 2 * s * sum;
}

double ldar_portable_exp(double x)
{
    double exponent = floor(x / ln2 + 0.5), rest = x - exponent * ln2, sum = 1;
    for (int n = 15; n > 0; n--) { /* |rest| <= 0.35: the first term left out is below 2^-68 */
        sum = 1 + sum * rest / n;
    }
    return ldexp(sum, (int)exponent);
}

/* Sine and cosine of 2 pi times the word's place in (0, 1). */
static void circle(uint32_t word, double *sine, double *cosine)
{
    /* Octant, and angle within it; odd octants are mirrored at their end, so that the angle stays below pi / 4. */
    uint32_t octant = word >> 29;
    double angle = ((word & 0x1fffffff) + 0.5) * 0x1p-29 * quarter_pi;
    if (octant & 1) {
        angle = quarter_pi - angle;
    }
    double square = angle * angle, s = 1, c = 1;
    for (int n = 16; n > 0; n -= 2) { /* Taylor: (pi / 4)^18 / 18! is below 2^-58 */
        s = 1 - s * square / (n * (n + 1));
        c = 1 - c * square / (n * (n - 1));
    }
    s *= angle;
    int swap = (octant + 1) & 2; /* octants 1, 2, 5, 6 */
    *sine = (swap ? c : s) * (octant & 4 ? -1 : 1);
    *cosine = (swap ? s : c) * ((octant + 2) & 4 ? -1 : 1);
}

void ldar_normal_pair(uint32_t first, uint32_t second, double normal[2])
{
    double radius = sqrt(-2 * ldar_portable_log(ldar_uniform(first))), sine, cosine;
    circle(second, &sine, &cosine);
    normal[0] = radius * cosine;
    normal[1] = radius * sine;
}
