/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

enum { REFERENCES = 16 };

static double *references[REFERENCES];
static size_t reference_count;

static enum guard_side draw_side(struct test *test)
{
    if (test->placement == PLACE_FRONT || test->placement == PLACE_REAR) {
        return test->placement == PLACE_FRONT ? GUARD_FRONT : GUARD_REAR;
    }
    return random_below(&test->random, 2) ? GUARD_FRONT : GUARD_REAR;
}

static size_t draw_offset(struct test *test)
{
    return test->placement == PLACE_ANY ? random_below(&test->random, 16) : 0;
}

/* Rows first to last in memory; what is left at the rear to have them aligned holds a canary. */
static void *place_rows(struct test *test, size_t rows, size_t width, size_t pitch, size_t element, size_t alignment)
{
    enum guard_side side = draw_side(test);
    size_t offset = draw_offset(test) * element;
    size_t span = side == GUARD_REAR && rows ? ((rows - 1) * pitch + width) * element : 0;
    offset += (alignment - (span + offset) % alignment) % alignment;
    return guard_rows(rows, width * element, pitch * element, side, offset);
}

static struct matrix place(struct test *test, size_t rows, size_t width, size_t history, ptrdiff_t stride,
                           size_t element, size_t alignment)
{
    size_t pitch = (size_t)(stride < 0 ? -stride : stride), total = rows + history;
    size_t first = !total ? 0 : stride < 0 ? (rows ? rows - 1 : 0) : history;
    struct matrix m = {.element = element, .rows = rows, .width = width, .history = history, .stride = stride};
    float *floats = place_rows(test, total, width, pitch, sizeof *floats, sizeof *floats);
    m.at = floats + first * pitch;
    m.elements = m.at;
    if (element < sizeof *floats) {
        uint16_t *halves = place_rows(test, total, width, pitch, element, alignment);
        m.elements = halves + first * pitch;
    }
    return m;
}

static struct matrix place_floats(struct test *test, size_t rows, size_t width, size_t history, ptrdiff_t stride)
{
    return place(test, rows, width, history, stride, sizeof(float), sizeof(float));
}

static struct matrix place_elements(struct test *test, size_t rows, size_t width, size_t history, ptrdiff_t stride)
{
    return place(test, rows, width, history, stride, test->kernels->element, test->kernels->element);
}

static ptrdiff_t draw_stride(struct test *test, size_t width, bool reversible)
{
    ptrdiff_t stride = (ptrdiff_t)width;
    if (test->placement == PLACE_FAR) {
        return stride + ((ptrdiff_t)1 << 32);
    }
    if (random_below(&test->random, 2)) {
        stride += (ptrdiff_t)random_below(&test->random, 20);
    }
    return reversible && test->placement == PLACE_ANY && random_below(&test->random, 2) ? -stride : stride;
}

struct matrix matrix_new(struct test *test, size_t rows, size_t width, size_t history, bool reversible)
{
    return place_floats(test, rows, width, rows ? history : 0, draw_stride(test, width, reversible && rows));
}

struct matrix matrix_like(struct test *test, struct matrix model, size_t width)
{
    return place_floats(test, model.rows, width, model.history, model.stride);
}

struct matrix vector_new(struct test *test, size_t width)
{
    return place_floats(test, 1, width, 0, (ptrdiff_t)width);
}

bool elements_narrow(const struct test *test)
{
    return test->kernels->element < sizeof(float);
}

struct matrix elements_new(struct test *test, size_t rows, size_t width, size_t history, bool reversible)
{
    return place_elements(test, rows, width, rows ? history : 0, draw_stride(test, width, reversible && rows));
}

struct matrix elements_like(struct test *test, struct matrix model, size_t width)
{
    return place_elements(test, model.rows, width, model.history, model.stride);
}

struct matrix operands_new(struct test *test, size_t rows, size_t width, bool reversible)
{
    const ptrdiff_t pair = (ptrdiff_t)(sizeof(float) / test->kernels->element);
    ptrdiff_t stride = draw_stride(test, width, reversible && rows);
    stride += stride % pair; /* away from zero */
    return place(test, rows, width, 0, stride, test->kernels->element, sizeof(float));
}

struct matrix matrix_filled(struct test *test, size_t rows, size_t width, size_t history, bool reversible,
                            enum fill fill)
{
    struct matrix m = matrix_new(test, rows, width, history, reversible);
    matrix_fill(test, m, fill);
    return matrix_seal(m);
}

struct matrix matrix_filled_like(struct test *test, struct matrix model, size_t width, enum fill fill)
{
    struct matrix m = matrix_like(test, model, width);
    matrix_fill(test, m, fill);
    return matrix_seal(m);
}

struct matrix vector_filled(struct test *test, size_t width, enum fill fill)
{
    struct matrix m = vector_new(test, width);
    matrix_fill(test, m, fill);
    return matrix_seal(m);
}

struct matrix elements_filled(struct test *test, size_t rows, size_t width, size_t history, bool reversible,
                              enum fill fill)
{
    struct matrix m = elements_new(test, rows, width, history, reversible);
    matrix_fill(test, m, fill);
    return elements_seal(m);
}

struct matrix elements_filled_like(struct test *test, struct matrix model, size_t width, enum fill fill)
{
    struct matrix m = elements_like(test, model, width);
    matrix_fill(test, m, fill);
    return elements_seal(m);
}

float *matrix_row(struct matrix m, ptrdiff_t row)
{
    return m.at + row * m.stride;
}

void *matrix_elements(struct matrix m, ptrdiff_t row)
{
    return (char *)m.elements + row * m.stride * (ptrdiff_t)m.element;
}

static bool narrow(struct matrix m)
{
    return m.element < sizeof(float);
}

void matrix_round(struct matrix m)
{
    for (ptrdiff_t i = -(ptrdiff_t)m.history; i < (ptrdiff_t)m.rows; i++) {
        for (size_t c = 0; c < m.width; c++) {
            matrix_row(m, i)[c] = bfloat16_round(matrix_row(m, i)[c]);
        }
    }
}

void elements_put(struct matrix m)
{
    if (!narrow(m)) {
        return;
    }
    matrix_round(m);
    for (ptrdiff_t i = -(ptrdiff_t)m.history; i < (ptrdiff_t)m.rows; i++) {
        uint16_t *row = matrix_elements(m, i);
        for (size_t c = 0; c < m.width; c++) {
            row[c] = bfloat16_of(matrix_row(m, i)[c]);
        }
    }
}

void elements_take(struct matrix m)
{
    for (ptrdiff_t i = -(ptrdiff_t)m.history; narrow(m) && i < (ptrdiff_t)m.rows; i++) {
        const uint16_t *row = matrix_elements(m, i);
        for (size_t c = 0; c < m.width; c++) {
            matrix_row(m, i)[c] = bfloat16_value(row[c]);
        }
    }
}

void matrix_fill(struct test *test, struct matrix m, enum fill fill)
{
    for (ptrdiff_t i = -(ptrdiff_t)m.history; i < (ptrdiff_t)m.rows; i++) {
        fill_floats(&test->random, matrix_row(m, i), m.width, fill);
    }
}

void matrix_uniform(struct test *test, struct matrix m, double low, double high)
{
    for (ptrdiff_t i = -(ptrdiff_t)m.history; i < (ptrdiff_t)m.rows; i++) {
        for (size_t c = 0; c < m.width; c++) {
            matrix_row(m, i)[c] = (float)random_uniform(&test->random, low, high);
        }
    }
}

void matrix_copy(struct matrix to, struct matrix from)
{
    for (ptrdiff_t i = -(ptrdiff_t)to.history; i < (ptrdiff_t)to.rows; i++) {
        memcpy(matrix_row(to, i), matrix_row(from, i), to.width * sizeof(float));
    }
}

struct matrix matrix_turned(struct test *test, struct matrix m)
{
    struct matrix turned = place(test, m.rows, m.width, m.history, -(ptrdiff_t)m.width, m.element, m.element);
    matrix_copy(turned, m);
    elements_put(turned);
    return turned;
}

/* The row that lies first in memory. */
static ptrdiff_t lowest(struct matrix m)
{
    return m.stride < 0 ? (ptrdiff_t)(m.rows ? m.rows - 1 : 0) : -(ptrdiff_t)m.history;
}

struct matrix matrix_seal(struct matrix m)
{
    guard_seal(matrix_row(m, lowest(m)));
    return m;
}

struct matrix elements_seal(struct matrix m)
{
    elements_put(m);
    if (narrow(m)) {
        guard_seal(matrix_elements(m, lowest(m)));
    }
    return matrix_seal(m);
}

float *scratch_new(size_t count)
{
    return guard_bytes(count * sizeof(float), GUARD_REAR, 0);
}

void *array_new(struct test *test, size_t count, size_t bytes)
{
    return guard_bytes(count * bytes, draw_side(test), draw_offset(test) * bytes);
}

double *reference_new(size_t count)
{
    double *memory = calloc(count + 1, sizeof *memory);
    if (!memory || reference_count == REFERENCES) {
        abort();
    }
    return references[reference_count++] = memory;
}

void case_end(void)
{
    guard_end();
    while (reference_count) {
        free(references[--reference_count]);
    }
}

/* ---- judgement ---- */

struct tolerance tolerance_of(const struct test *test)
{
    return (struct tolerance){.l2 = test->bound, .worst = 10 * test->bound};
}

/* Every element is the nearest to its reference, which is exact as a float. */
static void check_nearest(struct matrix got, const double *reference)
{
    for (size_t i = 0; i < got.rows * got.width; i++) {
        float found = matrix_row(got, (ptrdiff_t)(i / got.width))[i % got.width];
        if (found != bfloat16_round((float)reference[i])) {
            check_fail("row %zu column %zu: %.9g is not the nearest to %.9g", i / got.width, i % got.width, found,
                       reference[i]);
            return;
        }
    }
}

void check_close_to(struct matrix got, const double *reference, struct tolerance tolerance)
{
    size_t count = got.rows * got.width;
    if (!count) {
        return;
    }
    if (narrow(got) && tolerance.l2 == 0) {
        check_nearest(got, reference);
        return;
    }
    struct difference d = measure(reference, got.at, got.rows, got.width, got.stride, tolerance.floor, tolerance.rule,
                                  narrow(got) ? BFLOAT16_BITS : 0);
    size_t at = d.strays ? d.stray_at : d.worst_at, row = at / got.width, column = at % got.width;
    double expected = reference[at], found = matrix_row(got, (ptrdiff_t)row)[column];
    if (d.strays) {
        check_fail("%zu of %zu NaN or infinite on one side only, first at row %zu column %zu: %.9g, expected %.9g",
                   d.strays, count, row, column, found, expected);
    } else if (!(d.l2 <= tolerance.l2) || !(d.worst <= tolerance.worst)) {
        check_fail("rel L2 %.3g (bound %.3g), max/rms %.3g (bound %.3g), row %zu column %zu: %.9g, expected %.9g", d.l2,
                   tolerance.l2, d.worst, tolerance.worst, row, column, found, expected);
    }
    if (!tolerance.zeros && d.zeros * 10 > count * 3) {
        check_fail("mistrusted: %zu of %zu expected values are zero", d.zeros, count);
    }
}

void check_close(const struct test *test, struct matrix got, const double *reference, double floor)
{
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = floor;
    check_close_to(got, reference, tolerance);
}

uint64_t float_mode(void)
{
    fenv_t environment;
    fegetenv(&environment);
#if defined(__x86_64__)
    return environment.__mxcsr & ~0x3fu;
#elif defined(__aarch64__)
    return environment.__fpcr;
#else
    return (uint64_t)fegetround();
#endif
}

void check_same(const float *a, ptrdiff_t a_stride, const float *b, ptrdiff_t b_stride, size_t rows, size_t width)
{
    for (size_t i = 0; i < rows; i++) {
        const float *left = a + (ptrdiff_t)i * a_stride, *right = b + (ptrdiff_t)i * b_stride;
        for (size_t c = 0; c < width; c++) {
            if (memcmp(left + c, right + c, sizeof(float)) != 0) {
                check_fail("bits differ at row %zu column %zu: %.9g and %.9g", i, c, left[c], right[c]);
                return;
            }
        }
    }
}

/* ---- sweeps ---- */

static const size_t longest_sizes[] = {127, 128, 129, 130};

bool size_pair(size_t i, size_t *rows, size_t *width)
{
    static const size_t few_rows[] = {1, 3, 6}, few_widths[] = {1, 17, 64};
    enum { WIDTHS = 73, ROWS = 68 + sizeof longest_sizes / sizeof *longest_sizes, FEW = 3 };
    if (i < WIDTHS * FEW) {
        *width = i / FEW <= 70 ? i / FEW : i / FEW == 71 ? 96 : 192;
        *rows = few_rows[i % FEW];
        return true;
    }
    i -= WIDTHS * FEW;
    if (i < ROWS * FEW) {
        *rows = i / FEW <= 67 ? i / FEW : longest_sizes[i / FEW - 68];
        *width = few_widths[i % FEW];
        return true;
    }
    return false;
}

void sweep(struct test *test, void (*one)(struct test *test, size_t rows, size_t width))
{
    size_t rows, width;
    for (size_t i = 0; size_pair(i, &rows, &width); i++) {
        for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
            one(test, rows, width);
        }
    }
    test->placement = PLACE_FAR;
    one(test, 2, 5);
    test->placement = PLACE_ANY;
}
