/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KERNELS_SSD_CASE_H
#define LDAR_TESTS_KERNELS_SSD_CASE_H

#include "harness.h"

/* A scan with all that a layer gives it: convolutions, biases, raw step sizes; or with none of it (plain). */
struct scan_case {
    struct matrix y, x, b, c, dt, conv_x, conv_b, conv_c, bias_x, bias_b, bias_c, dt_bias, a, d;
    bool plain;
};

/* Inputs drawn at random and sealed; y to be written. Begins a case of this description. */
struct scan_case scan_case(struct test *test, size_t length, size_t heads, size_t state, size_t history, bool plain);

/* Sealed: steps or raw steps, decays, all integers that keep the results of a scan without decay below 256. */
struct matrix uniform_vector(struct test *test, size_t width, double low, double high);
void scan_integer_case(struct test *test, struct scan_case *s);

/* The tokens first .. first + length - 1 of the heads head .. head + heads - 1. */
struct ldar_ssd_args scan_args(const struct scan_case *s, size_t first, size_t length, size_t head, size_t heads);
struct ldar_ssd_args scan_whole(const struct scan_case *s);

/* The same, and x, B and C as the oracle reads them. */
struct ldar_ssd_args scan_for_oracle(const struct scan_case *s);

/* The element `column` columns behind where a row begins. */
void *element_at(struct matrix m, size_t row, size_t column);

/* With scratch of its own. */
void scan_run(const struct test *test, struct ldar_ssd_args args);

const char *scan_describe(bool plain);

/* How many states a scan of so many tokens keeps of a head. */
size_t scan_borders(size_t length);

#endif
