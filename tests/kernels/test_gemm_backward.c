/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>
#include <string.h>

/* ---- gemm_pack_transposed ---- */

/* Equal to what gemm_pack makes of the transposed weights, whole or packed apart, so that gemm finds all of it. */
static void pack_transposed(struct test *test, size_t n, size_t k)
{
    const struct ldar_kernels *kernels = test->kernels;
    const size_t panel = kernels->panel, bytes = ldar_gemm_packed(kernels->element, panel, k, n);
    const size_t stretch = panel * (1 + random_below(&test->random, 3));
    check_case("n %zu k %zu in stretches of %zu columns, placement %d", n, k, stretch, (int)test->placement);
    struct matrix weight = matrix_filled(test, n, k, 0, true, FILL_NORMAL), turned = matrix_new(test, k, n, 0, true);
    for (size_t i = 0; i < n * k; i++) {
        matrix_row(turned, (ptrdiff_t)(i % k))[i / k] = matrix_row(weight, (ptrdiff_t)(i / k))[i % k];
    }
    char *expected = array_new(test, bytes / sizeof(float), sizeof(float));
    char *whole = array_new(test, bytes / sizeof(float), sizeof(float));
    char *apart = array_new(test, bytes / sizeof(float), sizeof(float));
    kernels->gemm_pack(expected, turned.at, k, n, turned.stride);
    kernels->gemm_pack_transposed(whole, weight.at, n, k, weight.stride);
    CHECK(memcmp(expected, whole, bytes) == 0);
    for (size_t first = 0, count; first < k; first += count) {
        count = k - first < stretch ? k - first : stretch;
        kernels->gemm_pack_transposed(apart + ldar_gemm_packed(kernels->element, panel, first, n), weight.at + first, n,
                                      count, weight.stride);
    }
    CHECK(memcmp(expected, apart, bytes) == 0);
    case_end();
}

void test_gemm_pack_transposed(struct test *test)
{
    sweep(test, pack_transposed);
    for (size_t k = 1; k <= 4 * test->kernels->panel; k++) {
        pack_transposed(test, 1 + k % 37, k);
    }
    pack_transposed(test, 777, 100);
}

/* ---- gemm_gradient ---- */

struct gradient_case {
    struct matrix dw, dc, a;
};

static struct gradient_case gradient_case(struct test *test, size_t rows, size_t n, size_t k, enum fill fill)
{
    check_case("rows %zu n %zu k %zu fill %s placement %d", rows, n, k, fill_name(fill), (int)test->placement);
    struct gradient_case c = {.dw = matrix_new(test, n, k, 0, true),
                              .dc = elements_filled(test, rows, n, 0, true, fill),
                              .a = elements_filled(test, rows, k, 0, true, fill)};
    matrix_fill(test, c.dw, fill);
    return c;
}

static struct ldar_gemm_gradient_args gradient_args(const struct gradient_case *c)
{
    return (struct ldar_gemm_gradient_args){.dw = c->dw.at,
                                            .dc = c->dc.elements,
                                            .a = c->a.elements,
                                            .rows = c->dc.rows,
                                            .n = c->dc.width,
                                            .k = c->a.width,
                                            .dw_stride = c->dw.stride,
                                            .dc_stride = c->dc.stride,
                                            .a_stride = c->a.stride};
}

/* Of `rows` rows from `row` on, `n` rows of dw from `i` on and `k` columns from `j` on. */
static void gradient_run(const struct test *test, const struct gradient_case *c, size_t row, size_t rows, size_t i,
                         size_t n, size_t j, size_t k)
{
    const size_t element = test->kernels->element;
    struct ldar_gemm_gradient_args args = gradient_args(c);
    args.dw = matrix_row(c->dw, (ptrdiff_t)i) + j;
    args.dc = (const char *)matrix_elements(c->dc, (ptrdiff_t)row) + i * element;
    args.a = (const char *)matrix_elements(c->a, (ptrdiff_t)row) + j * element;
    args.rows = rows, args.n = n, args.k = k;
    args.scratch = scratch_new(ldar_gemm_gradient_scratch(n, k));
    test->kernels->gemm_gradient(&args);
}

static double *gradient_reference(const struct gradient_case *c)
{
    struct ldar_gemm_gradient_args args = gradient_args(c);
    double *reference = reference_new(args.n * args.k);
    args.dc = c->dc.at, args.a = c->a.at;
    oracle_gemm_gradient(reference, &args);
    return reference;
}

static void gradient_size(struct test *test, size_t rows, size_t n, size_t k, enum fill fill)
{
    struct gradient_case c = gradient_case(test, rows, n, k, fill);
    const double *reference = gradient_reference(&c);
    struct tolerance tolerance = tolerance_of(test);
    if (fill == FILL_INTEGERS) { /* all sums are exact */
        tolerance.l2 = tolerance.worst = 0;
        tolerance.zeros = true;
    }
    gradient_run(test, &c, 0, rows, 0, n, 0, k);
    check_close_to(c.dw, reference, tolerance);
    case_end();
}

static void gradient_wide(struct test *test, size_t rows, size_t width)
{
    gradient_size(test, rows, width, 1 + width * 7 % 71, FILL_NORMAL);
}

static void gradient_deep(struct test *test, size_t rows, size_t width)
{
    gradient_size(test, width, 1 + rows * 5 % 69, rows, FILL_NORMAL);
}

/* Cut between rows of dw, between its columns, and between blocks of rows: the same bits. */
static void gradient_cut(struct test *test, size_t rows, size_t n, size_t k)
{
    struct gradient_case c = gradient_case(test, rows, n, k, FILL_NORMAL);
    struct matrix whole = c.dw;
    c.dw = matrix_new(test, n, k, 0, true);
    matrix_copy(c.dw, whole);
    const size_t step = LDAR_GRADIENT_ROWS * (1 + random_below(&test->random, 2));
    for (size_t row = 0; row < rows; row += step) {
        for (size_t i = 0, down; i < n; i += down) {
            down = 1 + random_below(&test->random, n - i);
            for (size_t j = 0, right; j < k; j += right) {
                right = 1 + random_below(&test->random, k - j);
                gradient_run(test, &c, row, rows - row < step ? rows - row : step, i, down, j, right);
            }
        }
    }
    struct matrix parts = c.dw;
    c.dw = whole;
    gradient_run(test, &c, 0, rows, 0, n, 0, k);
    check_same(whole.at, whole.stride, parts.at, parts.stride, n, k);
    case_end();
}

/* No rows: nothing is added. */
static void gradient_of_nothing(struct test *test)
{
    struct gradient_case c = gradient_case(test, 0, 20, 40, FILL_NORMAL);
    struct matrix before = matrix_new(test, 20, 40, 0, true);
    matrix_copy(before, c.dw);
    gradient_run(test, &c, 0, 0, 0, 20, 0, 40);
    check_same(before.at, before.stride, c.dw.at, c.dw.stride, 20, 40);
    case_end();
}

/* Whatever is not finite reaches its own row or column of dw and no other. */
static void gradient_special(struct test *test, float value, bool in_dc)
{
    struct gradient_case c = gradient_case(test, 291, 37, 45, FILL_NORMAL);
    check_case("one %g in %s", value, in_dc ? "dc" : "a");
    struct matrix *victim = in_dc ? &c.dc : &c.a, changed = elements_like(test, *victim, victim->width);
    matrix_copy(changed, *victim);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, 291))[random_below(&test->random, 37)] = value;
    *victim = elements_seal(changed);
    const double *reference = gradient_reference(&c);
    gradient_run(test, &c, 0, 291, 0, 37, 0, 45);
    check_close(test, c.dw, reference, 0);
    case_end();
}

void test_gemm_gradient(struct test *test)
{
    static const size_t rows[] = {255, 256, 257, 511, 512, 700};
    sweep(test, gradient_wide);
    sweep(test, gradient_deep);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gradient_size(test, rows[i], 40 + i, 70 - i, FILL_NORMAL);
        gradient_size(test, rows[i], 33 * i, 47 * i, FILL_INTEGERS);
        gradient_cut(test, rows[i], 1 + 31 * i, 1 + 23 * i);
    }
    gradient_size(test, 300, 257, 300, FILL_NORMAL);
    gradient_cut(test, 300, 300, 257);
    gradient_size(test, 5000, 20, 40, FILL_NORMAL);
    gradient_size(test, 5, 33, 40, FILL_WIDE);
    gradient_size(test, 5, 33, 40, FILL_HUGE);
    gradient_of_nothing(test);
    for (int i = 0; i < 6; i++) {
        gradient_special(test, NAN, i % 2);
        gradient_special(test, INFINITY, i % 2);
        gradient_special(test, -INFINITY, i % 2);
    }
}
