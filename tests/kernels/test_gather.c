/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>

/* ---- expand ---- */

static void expand_case(struct test *test, size_t rows, size_t width, enum fill fill)
{
    check_case("rows %zu width %zu fill %s placement %d", rows, width, fill_name(fill), (int)test->placement);
    size_t sources = test->placement == PLACE_FAR ? 2 : 1 + random_below(&test->random, 9);
    struct matrix out = matrix_new(test, rows, width, 0, true), x = matrix_filled(test, sources, width, 0, true, fill),
                  bias = vector_filled(test, width, fill);
    uint32_t *index = array_new(test, rows, sizeof *index);
    for (size_t i = 0; i < rows; i++) {
        index[i] = (uint32_t)(i + 1 == rows ? sources - 1 : random_below(&test->random, sources));
    }
    guard_seal(index);
    double *reference = reference_new(rows * width);
    oracle_expand(reference, x.at, bias.at, index, rows, width, x.stride);
    for (size_t i = 0; i < rows * width; i++) {
        reference[i] = (float)reference[i]; /* one addition, rounded once */
    }
    test->kernels->expand(out.at, x.at, bias.at, index, rows, width, out.stride, x.stride);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.zeros = fill != FILL_NORMAL;
    check_close_to(out, reference, tolerance);
    case_end();
}

static void expand_size(struct test *test, size_t rows, size_t width)
{
    expand_case(test, rows, width, FILL_NORMAL);
}

void test_expand(struct test *test)
{
    sweep(test, expand_size);
    expand_case(test, 30, 45, FILL_INTEGERS);
    expand_case(test, 30, 45, FILL_WIDE);
    expand_case(test, 30, 45, FILL_ZERO);
}

/* ---- embed ---- */

/* A table with bit patterns that no arithmetic would leave alone: a gather copies. */
static void embed_size(struct test *test, size_t rows, size_t width)
{
    enum { SYMBOLS = 7 };
    check_case("rows %zu width %zu placement %d", rows, width, (int)test->placement);
    size_t symbols = test->placement == PLACE_FAR ? 2 : SYMBOLS;
    struct matrix out = elements_new(test, rows, width, 0, true), table = elements_new(test, symbols, width, 0, true);
    matrix_fill(test, table, FILL_NORMAL);
    for (size_t i = 0; i < symbols && width; i++) {
        const float odd[] = {NAN, -0.0f, INFINITY, 1e-45f, -INFINITY};
        matrix_row(table, (ptrdiff_t)i)[random_below(&test->random, width)] = odd[random_below(&test->random, 5)];
    }
    elements_seal(table);
    uint8_t *ids = array_new(test, rows, sizeof *ids);
    for (size_t i = 0; i < rows; i++) {
        ids[i] = (uint8_t)(i + 1 == rows ? symbols - 1 : random_below(&test->random, symbols));
    }
    guard_seal(ids);
    test->kernels->embed(out.elements, table.elements, ids, rows, width, out.stride, table.stride);
    elements_take(out);
    for (size_t i = 0; i < rows; i++) {
        check_same(matrix_row(out, (ptrdiff_t)i), 0, matrix_row(table, ids[i]), 0, 1, width);
    }
    case_end();
}

static void embed_oracle(struct test *test)
{
    check_case("against the oracle");
    struct matrix out = elements_new(test, 100, 33, 0, true),
                  table = elements_filled(test, 256, 33, 0, true, FILL_NORMAL);
    uint8_t *ids = array_new(test, 100, sizeof *ids);
    for (size_t i = 0; i < 100; i++) {
        ids[i] = (uint8_t)(255 - i * i % 256);
    }
    double *reference = reference_new(100 * 33);
    oracle_embed(reference, table.at, ids, 100, 33, table.stride);
    test->kernels->embed(out.elements, table.elements, ids, 100, 33, out.stride, table.stride);
    elements_take(out);
    check_close(test, out, reference, 0);
    case_end();
}

void test_embed(struct test *test)
{
    sweep(test, embed_size);
    embed_oracle(test);
}

/* ---- head ---- */

struct head_case {
    struct matrix out, x, weight;
};

/* out and weight are dense. */
static struct matrix head_dense(struct test *test, size_t rows, size_t width)
{
    return (struct matrix){.at = array_new(test, rows * width, sizeof(float)),
                           .element = sizeof(float),
                           .rows = rows,
                           .width = width,
                           .stride = (ptrdiff_t)width};
}

static struct head_case head_case(struct test *test, size_t rows, size_t width, size_t symbols, enum fill fill)
{
    check_case("rows %zu width %zu symbols %zu fill %s placement %d", rows, width, symbols, fill_name(fill),
               (int)test->placement);
    struct head_case c = {.x = matrix_filled(test, rows, width, 0, true, fill),
                          .weight = head_dense(test, symbols, width),
                          .out = head_dense(test, rows, symbols)};
    matrix_fill(test, c.weight, fill);
    guard_seal(c.weight.at);
    return c;
}

static void head_rows(const struct test *test, const struct head_case *c, size_t first, size_t rows)
{
    test->kernels->head(matrix_row(c->out, (ptrdiff_t)first), matrix_row(c->x, (ptrdiff_t)first), c->weight.at, rows,
                        c->x.width, c->weight.rows, c->x.stride);
}

static void head_check(const struct head_case *c, struct tolerance tolerance)
{
    double *reference = reference_new(c->out.rows * c->out.width);
    oracle_gemm(reference, c->x.at, c->weight.at, c->x.rows, c->weight.rows, c->x.width, c->x.stride, c->weight.stride);
    check_close_to(c->out, reference, tolerance);
}

static void head_size(struct test *test, size_t rows, size_t width)
{
    for (size_t symbols = 0; symbols <= 9; symbols += symbols < 7 ? 7 : 1) {
        struct head_case c = head_case(test, rows, width, symbols, FILL_INTEGERS);
        head_rows(test, &c, 0, rows);
        head_check(&c, (struct tolerance){.zeros = true});
        case_end();
    }
    struct head_case c = head_case(test, rows, width, 7, FILL_NORMAL);
    head_rows(test, &c, 0, rows);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = 0.5 * sqrt((double)width);
    tolerance.zeros = width == 0;
    head_check(&c, tolerance);
    struct matrix whole = c.out;
    c.out.at = array_new(test, rows * 7, sizeof(float));
    for (size_t i = 0; i < rows; i++) {
        head_rows(test, &c, i, 1);
    }
    check_same(whole.at, whole.stride, c.out.at, c.out.stride, rows, 7);
    case_end();
}

static void head_special(struct test *test, float value)
{
    struct head_case c = head_case(test, 9, 37, 7, FILL_NORMAL);
    check_case("one %g", value);
    struct matrix x = matrix_like(test, c.x, 37);
    matrix_copy(x, c.x);
    matrix_row(x, (ptrdiff_t)random_below(&test->random, 9))[random_below(&test->random, 37)] = value;
    c.x = matrix_seal(x);
    head_rows(test, &c, 0, 9);
    head_check(&c, tolerance_of(test));
    case_end();
}

void test_head(struct test *test)
{
    sweep(test, head_size);
    for (int i = 0; i < 10; i++) {
        head_special(test, NAN);
        head_special(test, INFINITY);
        head_special(test, -INFINITY);
    }
}
