/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <math.h>
#include <string.h>

/* hidden (rows, 2 width) in panels; dhidden up first, then gate. */
struct swiglu_case {
    struct matrix hidden, dh, out, h, dhidden;
};

/* Whole halves of panels. */
static size_t whole_width(const struct test *test, size_t width)
{
    const size_t half = test->kernels->panel / 2;
    return (width + half - 1) / half * half;
}

static struct swiglu_case swiglu_case(struct test *test, size_t rows, size_t width, enum fill fill)
{
    check_case("rows %zu width %zu fill %s placement %d", rows, width, fill_name(fill), (int)test->placement);
    const size_t half = test->kernels->panel / 2;
    struct swiglu_case c = {.hidden = elements_new(test, rows, 2 * width, 0, true),
                            .dh = matrix_filled(test, rows, width, 0, true, FILL_NORMAL),
                            .out = elements_new(test, rows, width, 0, true),
                            .h = elements_new(test, rows, width, 0, true),
                            .dhidden = elements_new(test, rows, 2 * width, 0, true)};
    matrix_fill(test, c.hidden, fill);
    for (size_t i = 0; i < rows * 2 * width; i++) { /* gates stay gates: huge ones make a step of silu */
        if (i % (2 * width) / half % 2) {
            matrix_row(c.hidden, (ptrdiff_t)(i / (2 * width)))[i % (2 * width)] = (float)random_normal(&test->random);
        }
    }
    elements_seal(c.hidden);
    return c;
}

static void panels_rows(const struct test *test, const struct swiglu_case *c, size_t first, size_t rows)
{
    const ptrdiff_t at = (ptrdiff_t)first;
    test->kernels->swiglu_panels(matrix_elements(c->out, at), matrix_elements(c->hidden, at), rows, c->out.width,
                                 c->out.stride, c->hidden.stride);
    elements_take(c->out);
}

static void backward_rows(const struct test *test, const struct swiglu_case *c, size_t first, size_t rows)
{
    const ptrdiff_t at = (ptrdiff_t)first;
    test->kernels->swiglu_backward(matrix_elements(c->h, at), matrix_elements(c->dhidden, at), matrix_row(c->dh, at),
                                   matrix_elements(c->hidden, at), rows, c->out.width, c->h.stride, c->dhidden.stride,
                                   c->dh.stride, c->hidden.stride);
    elements_take(c->h);
    elements_take(c->dhidden);
}

static void panels_check(const struct test *test, const struct swiglu_case *c, struct tolerance tolerance)
{
    double *reference = reference_new(c->out.rows * c->out.width);
    oracle_swiglu_panels(reference, c->hidden.at, c->out.rows, c->out.width, test->kernels->panel, c->hidden.stride);
    check_close_to(c->out, reference, tolerance);
}

static void backward_check(const struct test *test, const struct swiglu_case *c, struct tolerance tolerance)
{
    double *reference = reference_new(c->dhidden.rows * c->dhidden.width);
    oracle_swiglu_backward(reference, c->dh.at, c->hidden.at, c->h.rows, c->h.width, test->kernels->panel, c->dh.stride,
                           c->hidden.stride);
    check_close_to(c->dhidden, reference, tolerance);
    panels_rows(test, c, 0, c->out.rows);
    check_same(c->h.at, c->h.stride, c->out.at, c->out.stride, c->h.rows, c->h.width);
}

static void panels_size(struct test *test, size_t rows, size_t width)
{
    struct swiglu_case c = swiglu_case(test, rows, whole_width(test, width), FILL_NORMAL);
    panels_rows(test, &c, 0, rows);
    panels_check(test, &c, tolerance_of(test));
    struct matrix whole = c.out;
    c.out = elements_new(test, rows, whole.width, 0, true);
    for (size_t i = 0; i < rows; i++) {
        panels_rows(test, &c, i, 1);
    }
    check_same(whole.at, whole.stride, c.out.at, c.out.stride, rows, whole.width);
    case_end();
}

static void backward_size(struct test *test, size_t rows, size_t width)
{
    struct swiglu_case c = swiglu_case(test, rows, whole_width(test, width), FILL_NORMAL);
    backward_rows(test, &c, 0, rows);
    backward_check(test, &c, tolerance_of(test));
    struct matrix whole = c.dhidden;
    c.dhidden = elements_new(test, rows, whole.width, 0, true);
    for (size_t i = 0; i < rows; i++) {
        backward_rows(test, &c, i, 1);
    }
    check_same(whole.at, whole.stride, c.dhidden.at, c.dhidden.stride, rows, whole.width);
    case_end();
}

/* What gemm stores without an activation and swiglu_panels then computes is what gemm computes with it: in float. */
static void panels_gemm(struct test *test, size_t k)
{
    const size_t rows = 9, width = 3 * (test->kernels->panel / 2), n = 2 * width;
    struct swiglu_case c = swiglu_case(test, rows, width, FILL_NORMAL);
    check_case("as in gemm, k %zu", k);
    struct matrix a = elements_filled(test, rows, k, 0, false, FILL_NORMAL);
    struct matrix weight = matrix_filled(test, n, k, 0, false, FILL_NORMAL);
    struct matrix hidden = elements_new(test, rows, n, 0, true);
    void *packed =
        array_new(test, ldar_gemm_packed(sizeof(float), test->kernels->panel, n, k) / sizeof(float), sizeof(float));
    test->kernels->gemm_pack(packed, weight.at, n, k, weight.stride);
    struct ldar_gemm_args args = {.c = hidden.elements,
                                  .a = a.elements,
                                  .packed = packed,
                                  .rows = rows,
                                  .n = n,
                                  .k = k,
                                  .c_stride = hidden.stride,
                                  .a_stride = a.stride,
                                  .mode = LDAR_GEMM_STORE};
    test->kernels->gemm(&args);
    c.hidden = hidden;
    panels_rows(test, &c, 0, rows);
    struct matrix direct = elements_like(test, c.out, width);
    args.c = direct.elements, args.c_stride = direct.stride, args.mode = LDAR_GEMM_SWIGLU;
    test->kernels->gemm(&args);
    check_same(c.out.at, c.out.stride, direct.at, direct.stride, rows, width);
    case_end();
}

static void swiglu_special(struct test *test, float value, bool in_gate, bool backward)
{
    const size_t half = test->kernels->panel / 2, width = 2 * half;
    struct swiglu_case c = swiglu_case(test, 3, width, FILL_NORMAL);
    check_case("one %g in %s", value, in_gate ? "the gate" : "up");
    struct matrix changed = elements_like(test, c.hidden, 2 * width);
    matrix_copy(changed, c.hidden);
    const size_t column = random_below(&test->random, half) + (in_gate ? half : 0);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, 3))[column] = value;
    c.hidden = elements_seal(changed);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.floor = isfinite(value) ? fabs(value) : 0; /* its gate's slope may be next to zero */
    if (backward) {
        backward_rows(test, &c, 0, 3);
        backward_check(test, &c, tolerance);
    } else {
        panels_rows(test, &c, 0, 3);
        panels_check(test, &c, tolerance_of(test));
    }
    case_end();
}

static void swiglu_fills(struct test *test, bool backward)
{
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct swiglu_case c = swiglu_case(test, 5, whole_width(test, 67), fill);
        struct tolerance tolerance = tolerance_of(test);
        tolerance.zeros = fill != FILL_NORMAL;
        if (backward) {
            backward_rows(test, &c, 0, 5);
            backward_check(test, &c, tolerance);
        } else {
            panels_rows(test, &c, 0, 5);
            panels_check(test, &c, tolerance);
        }
        case_end();
    }
    for (int i = 0; i < 10; i++) {
        swiglu_special(test, NAN, i % 2, backward);
        swiglu_special(test, INFINITY, i % 2, backward);
        swiglu_special(test, -INFINITY, i % 2, backward);
        swiglu_special(test, 3e38f, i % 2, backward);
        swiglu_special(test, -3e38f, i % 2, backward);
        swiglu_special(test, -88.5f, i % 2, backward);
    }
}

/* How far a slope may be off: the stated errors, and half a unit of a bfloat16. */
static double slope_bound(const struct test *test, double slope)
{
    return elements_narrow(test) ? 0x1p-8 * fabs(slope) + 0x1p-14 : 2.3e-7;
}

/* The gradients of one row at these gates, with up = dh = 1: dgate is the slope of silu alone, and h silu. */
static void slope_row(struct test *test, const struct swiglu_case *c, const float *gate)
{
    const size_t half = test->kernels->panel / 2, width = c->h.width;
    double *reference = reference_new(2 * width), *slope = reference + width;
    for (size_t i = 0; i < width; i++) {
        c->dh.at[i] = c->hidden.at[i / half * 2 * half + i % half] = 1;
        c->hidden.at[(i / half * 2 + 1) * half + i % half] = gate[i];
    }
    elements_put(c->hidden);
    backward_rows(test, c, 0, 1);
    oracle_swiglu_backward(reference, c->dh.at, c->hidden.at, 1, width, 2 * half, c->dh.stride, c->hidden.stride);
    for (size_t i = 0; i < width; i++) {
        const double got = c->dhidden.at[width + i];
        if (isfinite(got) ? !(fabs(got - slope[i]) <= slope_bound(test, slope[i])) : isfinite(slope[i])) {
            check_fail("slope at %.9g: %.9g, expected %.17g", gate[i], got, slope[i]);
            break;
        }
    }
}

/* Runs of neighbours, from starts spread evenly over all bit patterns, infinities and NaN among them. */
static void slope_dense(struct test *test)
{
    enum { RUNS = 512, HALVES = 4 };
    const size_t width = HALVES * (test->kernels->panel / 2);
    const uint32_t shift = (uint32_t)random_bits(&test->random), step = elements_narrow(test) ? 0x10000 : 1;
    for (uint32_t run = 0; run < RUNS; run++) {
        struct swiglu_case c = swiglu_case(test, 1, width, FILL_NORMAL);
        check_case("slopes, run %u", run);
        c.hidden = elements_like(test, c.hidden, 2 * width), c.dh = matrix_like(test, c.dh, width);
        struct matrix gate = vector_new(test, width), silu = vector_new(test, width);
        for (uint32_t i = 0; i < width; i++) {
            const uint32_t bits = shift + run * (UINT32_MAX / RUNS) + i * step;
            memcpy(&gate.at[i], &bits, sizeof bits);
        }
        slope_row(test, &c, gate.at);
        if (!elements_narrow(test)) {
            test->kernels->silu(silu.at, gate.at, width);
            check_same(c.h.at, 0, silu.at, 0, 1, width);
        }
        case_end();
    }
}

void test_swiglu_panels(struct test *test)
{
    sweep(test, panels_size);
    swiglu_fills(test, false);
    for (size_t k = 1; k < 40 && !elements_narrow(test); k += 6) {
        panels_gemm(test, k);
    }
}

void test_swiglu_backward(struct test *test)
{
    sweep(test, backward_size);
    swiglu_fills(test, true);
    slope_dense(test);
}
