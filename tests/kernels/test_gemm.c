/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- gemm_pack ---- */

static int compare_floats(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

/* `count` elements as floats. */
static void widen(const struct test *test, float *out, const void *elements, size_t count)
{
    const uint16_t *half = elements;
    if (!elements_narrow(test)) {
        memcpy(out, elements, count * sizeof *out);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = bfloat16_value(half[i]);
    }
}

/*
 * Every panel holds its own rows of the weights, each value once, as the nearest element, and zeros where rows are
 * missing and where the last of an odd number of columns has no partner. Where in the panel a value lies is the table's
 * own business, and test_gemm sees whether the product finds it.
 */
static void pack_check(const struct test *test, const void *packed, struct matrix weight)
{
    const size_t panel = test->kernels->panel, pair = elements_narrow(test) ? 2 : 1;
    const size_t k = (weight.width + pair - 1) / pair * pair, count = panel * k;
    float *expected = malloc((count + 1) * sizeof(float)), *got = malloc((count + 1) * sizeof(float));
    if (!expected || !got) {
        abort();
    }
    for (size_t first = 0; first < weight.rows; first += panel) {
        for (size_t j = 0; j < panel; j++) {
            for (size_t i = 0; i < k; i++) {
                bool there = first + j < weight.rows && i < weight.width;
                float value = there ? matrix_row(weight, (ptrdiff_t)(first + j))[i] : 0;
                expected[j * k + i] = elements_narrow(test) ? bfloat16_round(value) : value;
            }
        }
        widen(test, got, (const char *)packed + first * k * test->kernels->element, count);
        qsort(expected, count, sizeof(float), compare_floats);
        qsort(got, count, sizeof(float), compare_floats);
        if (memcmp(expected, got, count * sizeof(float)) != 0) {
            check_fail("the panel of column %zu does not hold its rows", first);
            break;
        }
    }
    free(expected);
    free(got);
}

static void *pack(struct test *test, struct matrix weight)
{
    const size_t bytes = ldar_gemm_packed(test->kernels->element, test->kernels->panel, weight.rows, weight.width);
    void *packed = array_new(test, bytes / sizeof(float), sizeof(float));
    test->kernels->gemm_pack(packed, weight.at, weight.rows, weight.width, weight.stride);
    guard_seal(packed);
    return packed;
}

static void pack_size(struct test *test, size_t n, size_t k)
{
    check_case("n %zu k %zu placement %d", n, k, (int)test->placement);
    struct matrix weight = matrix_new(test, n, k, 0, true);
    matrix_uniform(test, weight, 1, 2);
    matrix_seal(weight);
    pack_check(test, pack(test, weight), weight);
    case_end();
}

/* Packing panel by panel, in stretches of an even number of columns, gives the same bytes: so large ones are packed. */
static void pack_stretches(struct test *test, size_t n, size_t k, size_t stretch)
{
    check_case("n %zu k %zu in stretches of %zu columns", n, k, stretch);
    const size_t panel = test->kernels->panel, element = test->kernels->element, pair = sizeof(float) / element;
    const size_t depth = (k + pair - 1) / pair * pair, bytes = ldar_gemm_packed(element, panel, n, k);
    struct matrix weight = matrix_filled(test, n, k, 0, true, FILL_NORMAL);
    const char *whole = pack(test, weight);
    char *packed = array_new(test, bytes / sizeof(float), sizeof(float));
    for (size_t first = 0; first < n; first += panel) {
        for (size_t from = 0; from < k; from += stretch) {
            test->kernels->gemm_pack(packed + (first * depth + from * panel) * element,
                                     matrix_row(weight, (ptrdiff_t)first) + from, n - first < panel ? n - first : panel,
                                     k - from < stretch ? k - from : stretch, weight.stride);
        }
    }
    CHECK(memcmp(whole, packed, bytes) == 0);
    case_end();
}

void test_gemm_pack(struct test *test)
{
    for (size_t k = 1; k <= 70; k++) {
        pack_stretches(test, 2 * test->kernels->panel + k % 5, k, 2 + k % 4 * 16);
    }
    pack_stretches(test, 3, 777, 256);
    sweep(test, pack_size);
    for (size_t n = 1; n <= 4 * test->kernels->panel; n++) {
        pack_size(test, n, 1 + n % 37);
    }
}

/* ---- gemm ---- */

struct gemm_case {
    struct matrix c, a, weight;
    const void *packed;
    enum ldar_gemm_mode mode;
};

static const char *const mode_names[] = {"store", "floats", "add", "swiglu"};

static struct matrix result_new(struct test *test, size_t rows, size_t n, enum ldar_gemm_mode mode)
{
    if (mode == LDAR_GEMM_FLOATS || mode == LDAR_GEMM_ADD) {
        return matrix_new(test, rows, n, 0, true);
    }
    return elements_new(test, rows, mode == LDAR_GEMM_SWIGLU ? n / 2 : n, 0, true);
}

/* The oracle reads the weights that the packed ones were made from: rounded, where packing rounds. */
static void weight_seal(const struct test *test, struct matrix weight)
{
    if (elements_narrow(test)) {
        matrix_round(weight);
    }
    matrix_seal(weight);
}

static struct gemm_case gemm_case(struct test *test, size_t rows, size_t n, size_t k, enum ldar_gemm_mode mode,
                                  enum fill fill)
{
    check_case("rows %zu n %zu k %zu %s fill %s placement %d", rows, n, k, mode_names[mode], fill_name(fill),
               (int)test->placement);
    struct gemm_case g = {.c = result_new(test, rows, n, mode),
                          .a = operands_new(test, rows, k, true),
                          .weight = matrix_new(test, n, k, 0, true),
                          .mode = mode};
    matrix_fill(test, g.a, fill);
    elements_seal(g.a);
    matrix_fill(test, g.weight, fill);
    if (mode == LDAR_GEMM_SWIGLU) { /* gates of about 1, as behind a norm: larger ones make SiLU a step */
        for (size_t i = 0; i < n * k; i++) {
            matrix_row(g.weight, (ptrdiff_t)(i / k))[i % k] /= sqrtf((float)k);
        }
    }
    weight_seal(test, g.weight);
    g.packed = pack(test, g.weight);
    if (mode == LDAR_GEMM_ADD) {
        matrix_fill(test, g.c, fill);
    }
    return g;
}

static void gemm_rows(const struct test *test, const struct gemm_case *g, size_t first, size_t rows, const void *next)
{
    const struct ldar_gemm_args args = {.c = matrix_elements(g->c, (ptrdiff_t)first),
                                        .a = matrix_elements(g->a, (ptrdiff_t)first),
                                        .packed = g->packed,
                                        .next = next,
                                        .rows = rows,
                                        .n = g->weight.rows,
                                        .k = g->a.width,
                                        .c_stride = g->c.stride,
                                        .a_stride = g->a.stride,
                                        .mode = g->mode};
    test->kernels->gemm(&args);
    elements_take(g->c);
}

/* Call before the kernel: with LDAR_GEMM_ADD, C is an input. */
static double *gemm_reference(const struct gemm_case *g, size_t panel)
{
    size_t rows = g->a.rows, n = g->weight.rows, half = n / 2;
    double *product = reference_new(rows * n), *out = product;
    oracle_gemm(product, g->a.at, g->weight.at, rows, n, g->a.width, g->a.stride, g->weight.stride);
    if (g->mode == LDAR_GEMM_ADD) {
        for (size_t i = 0; i < rows * n; i++) {
            out[i] += matrix_row(g->c, (ptrdiff_t)(i / n))[i % n];
        }
    } else if (g->mode == LDAR_GEMM_SWIGLU) {
        out = reference_new(rows * half);
        for (size_t i = 0; i < rows * half; i++) {
            size_t column = i % half, up = column / (panel / 2) * panel + column % (panel / 2);
            const double *row = product + i / half * n;
            out[i] = row[up] * oracle_silu(row[up + panel / 2]);
        }
    }
    return out;
}

static void gemm_size(struct test *test, size_t rows, size_t n, size_t k, enum ldar_gemm_mode mode, enum fill fill)
{
    struct gemm_case g = gemm_case(test, rows, n, k, mode, fill);
    const double *reference = gemm_reference(&g, test->kernels->panel);
    gemm_rows(test, &g, 0, rows, NULL);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = 0.5 * sqrt((double)k);
    if (mode == LDAR_GEMM_SWIGLU) {
        const double silu = elements_narrow(test) ? 2.5e-4 : 0; /* see vec/element.h */
        tolerance.floor = 0.3;
        tolerance.l2 += silu;
        tolerance.worst = 30 * test->bound + 10 * silu; /* the error of one sum times the other, where that is large */
    }
    if (fill == FILL_INTEGERS) {
        tolerance = (struct tolerance){.zeros = true};
    }
    tolerance.zeros = tolerance.zeros || k == 0;
    check_close_to(g.c, reference, tolerance);
    case_end();
}

static void gemm_square(struct test *test, size_t rows, size_t n)
{
    size_t k = 1 + (rows + n) % 19;
    gemm_size(test, rows, n, k, LDAR_GEMM_STORE, FILL_INTEGERS);
    gemm_size(test, rows, n, k, LDAR_GEMM_FLOATS, FILL_INTEGERS);
    gemm_size(test, rows, n, k, LDAR_GEMM_ADD, FILL_INTEGERS);
}

static void gemm_depths(struct test *test)
{
    static const enum ldar_gemm_mode modes[] = {LDAR_GEMM_STORE, LDAR_GEMM_FLOATS, LDAR_GEMM_ADD};
    size_t panel = test->kernels->panel;
    for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
        for (size_t k = 0; k <= 130; k++) {
            size_t rows = 1 + k % 15, n = 1 + k * 7 % (2 * panel);
            gemm_size(test, rows, n, k, LDAR_GEMM_STORE, FILL_NORMAL);
            gemm_size(test, rows, n, k, LDAR_GEMM_FLOATS, FILL_INTEGERS);
            gemm_size(test, rows, n, k, LDAR_GEMM_ADD, k % 2 ? FILL_INTEGERS : FILL_NORMAL);
            gemm_size(test, rows, panel * (1 + k % 3), k, LDAR_GEMM_SWIGLU, FILL_NORMAL);
        }
        for (size_t rows = 0; rows <= 130; rows++) {
            gemm_size(test, rows, panel + 1, 5, modes[rows % 3], FILL_INTEGERS);
        }
        for (size_t n = 0; n <= 3 * panel; n++) {
            gemm_size(test, 7, n, 3, modes[n % 3], FILL_INTEGERS);
        }
    }
    test->placement = PLACE_ANY;
    /* One sum of 2560 normals is within a tenth of the bound on average: take enough of them to see the average. */
    gemm_size(test, 33, 200, 2560, LDAR_GEMM_STORE, FILL_NORMAL);
    gemm_size(test, 33, 200, 2560, LDAR_GEMM_FLOATS, FILL_NORMAL);
    gemm_size(test, 9, 70, 2560, LDAR_GEMM_STORE, FILL_INTEGERS);
    gemm_size(test, 9, 70, 5121, LDAR_GEMM_FLOATS, FILL_INTEGERS);
    gemm_size(test, 64, 200, 512, LDAR_GEMM_ADD, FILL_NORMAL);
    gemm_size(test, 64, 4 * panel, 768, LDAR_GEMM_SWIGLU, FILL_NORMAL);
}

/* Any cut of the rows gives the same bits, and so does bringing other weights near. */
static void gemm_cut(struct test *test, size_t rows, enum ldar_gemm_mode mode)
{
    size_t n = 2 * test->kernels->panel + (mode == LDAR_GEMM_SWIGLU ? 0 : 5);
    struct gemm_case g = gemm_case(test, rows, n, 33, mode, FILL_NORMAL);
    struct matrix other = matrix_filled(test, n, 33, 0, false, FILL_NORMAL), before = matrix_like(test, g.c, g.c.width);
    const void *next = pack(test, other);
    matrix_copy(before, g.c);
    gemm_rows(test, &g, 0, rows, NULL);
    struct matrix whole = g.c;
    for (size_t largest = 1; largest <= 20; largest += 19) {
        g.c = result_new(test, rows, n, mode);
        matrix_copy(g.c, before);
        for (size_t i = 0, count; i < rows; i += count) {
            count = 1 + random_below(&test->random, rows - i < largest ? rows - i : largest);
            gemm_rows(test, &g, i, count, next);
        }
        check_same(whole.at, whole.stride, g.c.at, g.c.stride, rows, whole.width);
    }
    case_end();
}

static void gemm_special(struct test *test, float value, bool in_weight)
{
    struct gemm_case g = gemm_case(test, 13, 37, 21, LDAR_GEMM_STORE, FILL_NORMAL);
    check_case("one %g in %s", value, in_weight ? "the weights" : "a");
    struct matrix *victim = in_weight ? &g.weight : &g.a;
    struct matrix changed = in_weight ? matrix_like(test, *victim, 21) : operands_new(test, 13, 21, true);
    matrix_copy(changed, *victim);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, 13))[random_below(&test->random, 21)] = value;
    *victim = in_weight ? matrix_seal(changed) : elements_seal(changed);
    g.packed = pack(test, g.weight);
    const double *reference = gemm_reference(&g, test->kernels->panel);
    gemm_rows(test, &g, 0, 13, NULL);
    check_close(test, g.c, reference, 0);
    case_end();
}

void test_gemm(struct test *test)
{
    sweep(test, gemm_square);
    gemm_depths(test);
    for (enum ldar_gemm_mode mode = LDAR_GEMM_STORE; mode <= LDAR_GEMM_SWIGLU; mode++) {
        for (size_t rows = 1; rows <= 130; rows += rows < 67 ? 1 : 9) {
            gemm_cut(test, rows, mode);
        }
    }
    for (int i = 0; i < 10; i++) {
        gemm_special(test, NAN, i % 2);
        gemm_special(test, INFINITY, i % 2);
        gemm_special(test, -INFINITY, i % 2);
    }
    for (enum ldar_gemm_mode mode = LDAR_GEMM_STORE; mode <= LDAR_GEMM_FLOATS; mode++) {
        gemm_size(test, 5, 33, 40, mode, FILL_WIDE);
        gemm_size(test, 5, 33, 40, mode, FILL_HUGE);
    }
}
