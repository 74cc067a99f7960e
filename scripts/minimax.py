#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the coefficients of src/simd/vec/vec_math.h and the largest relative error that they leave."""

from math import factorial, log

import numpy as np
from numpy.polynomial.polynomial import polyval


def minimax(f, weight, low, high, terms):
    """Floats c with the smallest largest |weight (sum c_k x^k - f)|: Lawson's reweighting, one coefficient rounded at a
    time and the rest fitted again."""
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(4000) + 0.5) / 4000)
    a, b, done = np.vander(x, terms, increasing=True) * weight(x)[:, None], f(x) * weight(x), []
    for k in range(terms):
        w = np.full(len(x), 1 / len(x))
        for _ in range(300):
            rest = b - a[:, :k] @ np.array(done)
            c = np.linalg.lstsq(a[:, k:] * np.sqrt(w)[:, None], rest * np.sqrt(w), rcond=None)[0]
            w *= abs(a[:, k:] @ c - rest)
            w /= w.sum()
        done.append(float(np.float32(c[0])))
    return np.array(done)


def report(name, low, high, terms, f, weight, approximation, truth):
    c, x = minimax(f, weight, low, high, terms), np.linspace(low, high, 20001)
    error = abs(approximation(x, c) / truth(x) - 1).max()
    print(f"{name}: {', '.join(v.hex() for v in c)}; error 2^{np.log2(error):.1f}")


def exponential_tail(x, start):
    return sum(x**k / factorial(k + start) for k in range(16))


def atanh_tail(z):
    return sum(z**k / (2 * k + 3) for k in range(60))


ln2 = log(2)
report("e^r = 1 + r + r^2 P(r)", -ln2 / 2, ln2 / 2, 5, lambda r: exponential_tail(r, 2), lambda r: r**2 * np.exp(-r),
       lambda r, c: 1 + r + r**2 * polyval(r, c), np.exp)
report("2^r = 1 + r P(r)", -0.5, 0.5, 6, lambda r: ln2 * exponential_tail(ln2 * r, 1), lambda r: r * 2**-r,
       lambda r, c: 1 + r * polyval(r, c), lambda r: 2**r)
report("atanh(s) = s (1 + z P(z)), z = s^2", 0, 1 / 9, 4, atanh_tail, lambda z: z / (1 + z * atanh_tail(z)),
       lambda z, c: 1 + z * polyval(z, c), lambda z: 1 + z * atanh_tail(z))
