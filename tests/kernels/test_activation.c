/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include "elementwise.h"

#include <math.h>
#include <string.h>

/* ---- elementwise functions ---- */

static const float specials[] = {0.0f,       -0.0f,      1.0f,       -1.0f,     NAN,       INFINITY,   -INFINITY,
                                 1e-45f,     -1e-45f,    1e-38f,     -1e-38f,   3.4e38f,   -3.4e38f,   88.722839f,
                                 88.72284f,  89.0f,      -87.336f,   -87.3366f, -103.972f, -103.9721f, -104.0f,
                                 20.0f,      19.999998f, 20.000002f, 1e-7f,     -1e-7f,    0.693147f,  -0.693147f,
                                 16777216.f, -100.0f,    100.0f,     50.0f};

enum { SPECIALS = sizeof specials / sizeof *specials };

static void function_check(const struct elementwise *f, const float *x, const float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double error = elementwise_error(f, x[i], out[i]);
        if (!(error <= f->ulps)) {
            check_fail("%s(%.9g) = %.9g, expected %.17g: %.3g ULP (bound %g)", f->name, x[i], out[i],
                       f->reference(x[i]), error, f->ulps);
            return;
        }
    }
}

static void function_size(struct test *test, const struct elementwise *f, size_t n, double range)
{
    check_case("n %zu within %g placement %d", n, range, (int)test->placement);
    struct matrix x = vector_new(test, n), out = vector_new(test, n), in_place = vector_new(test, n);
    matrix_uniform(test, x, -range, range);
    if (n && random_below(&test->random, 2)) {
        x.at[random_below(&test->random, n)] = specials[random_below(&test->random, SPECIALS)];
    }
    matrix_seal(x);
    matrix_copy(in_place, x);
    f->kernel(test->kernels)(out.at, x.at, n);
    f->kernel(test->kernels)(in_place.at, in_place.at, n);
    function_check(f, x.at, out.at, n);
    check_same(out.at, 0, in_place.at, 0, 1, n);
    for (size_t i = 0; i < n; i++) { /* an element's place changes nothing */
        float alone;
        f->kernel(test->kernels)(&alone, x.at + i, 1);
        check_same(out.at + i, 0, &alone, 0, 1, 1);
    }
    case_end();
}

/* Runs of neighbouring floats, from starts spread evenly over all bit patterns; in each, the function's order holds. */
static void function_dense(struct test *test, const struct elementwise *f)
{
    enum { RUNS = 2048, RUN = 256 };
    struct matrix x = vector_new(test, RUN), out = vector_new(test, RUN);
    uint32_t shift = (uint32_t)random_bits(&test->random);
    for (uint32_t run = 0; run < RUNS; run++) {
        check_case("dense run %u", run);
        for (uint32_t i = 0; i < RUN; i++) {
            uint32_t bits = shift + run * (UINT32_MAX / RUNS) + i;
            memcpy(&x.at[i], &bits, sizeof bits);
        }
        f->kernel(test->kernels)(out.at, x.at, RUN);
        function_check(f, x.at, out.at, RUN);
        for (size_t i = 1; f->monotone && i < RUN; i++) {
            if ((x.at[i] >= x.at[i - 1] && out.at[i] < out.at[i - 1])
                || (x.at[i] <= x.at[i - 1] && out.at[i] > out.at[i - 1])) {
                check_fail("not monotone between %.9g and %.9g: %.9g, %.9g", x.at[i - 1], x.at[i], out.at[i - 1],
                           out.at[i]);
                break;
            }
        }
    }
    case_end();
}

static void function_specials(struct test *test, const struct elementwise *f)
{
    check_case("special values");
    struct matrix out = vector_new(test, SPECIALS);
    f->kernel(test->kernels)(out.at, specials, SPECIALS);
    function_check(f, specials, out.at, SPECIALS);
    case_end();
}

static void function_test(struct test *test, const char *name)
{
    const struct elementwise *f = elementwise_find(name);
    for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
        for (size_t n = 0; n <= 130; n++) {
            function_size(test, f, n, (const double[]){1e-3, 1, 25, 110}[n % 4]);
        }
    }
    for (int flush = 0; flush < 2; flush++) { /* the way users of the table run it, and the way strangers do */
        uint64_t mode = 0;
        if (flush) {
            test->kernels->float_mode_enter(&mode);
        }
        function_specials(test, f);
        function_dense(test, f);
        if (flush) {
            test->kernels->float_mode_leave(mode);
        }
    }
}

void test_exp(struct test *test)
{
    function_test(test, "exp");
}

void test_sigmoid(struct test *test)
{
    function_test(test, "sigmoid");
}

void test_silu(struct test *test)
{
    function_test(test, "silu");
}

void test_softplus(struct test *test)
{
    function_test(test, "softplus");
}

/* ---- swiglu ---- */

struct swiglu_case {
    struct matrix out, up, gate;
};

static struct swiglu_case swiglu_case(struct test *test, size_t rows, size_t width, enum fill fill)
{
    check_case("rows %zu width %zu fill %s placement %d", rows, width, fill_name(fill), (int)test->placement);
    struct swiglu_case c = {.out = matrix_new(test, rows, width, 0, true),
                            .up = matrix_filled(test, rows, width, 0, true, fill)};
    c.gate = matrix_filled_like(test, c.up, width, FILL_NORMAL);
    return c;
}

static void swiglu_check(const struct test *test, const struct swiglu_case *c, bool zeros)
{
    double *reference = reference_new(c->up.rows * c->up.width);
    oracle_swiglu(reference, c->up.at, c->gate.at, c->up.rows, c->up.width, c->up.stride);
    struct tolerance tolerance = tolerance_of(test);
    tolerance.zeros = zeros;
    check_close_to(c->out, reference, tolerance);
}

static void swiglu_rows(const struct test *test, const struct swiglu_case *c, size_t first, size_t rows)
{
    test->kernels->swiglu(matrix_row(c->out, (ptrdiff_t)first), matrix_row(c->up, (ptrdiff_t)first),
                          matrix_row(c->gate, (ptrdiff_t)first), rows, c->up.width, c->out.stride, c->up.stride);
}

static void swiglu_size(struct test *test, size_t rows, size_t width)
{
    struct swiglu_case c = swiglu_case(test, rows, width, FILL_NORMAL);
    swiglu_rows(test, &c, 0, rows);
    swiglu_check(test, &c, false);
    struct matrix in_place = matrix_like(test, c.up, width);
    matrix_copy(in_place, c.up);
    test->kernels->swiglu(in_place.at, in_place.at, c.gate.at, rows, width, in_place.stride, in_place.stride);
    check_same(c.out.at, c.out.stride, in_place.at, in_place.stride, rows, width);
    struct matrix whole = c.out;
    c.out = matrix_new(test, rows, width, 0, true);
    for (size_t i = 0; i < rows; i++) {
        swiglu_rows(test, &c, i, 1);
    }
    check_same(whole.at, whole.stride, c.out.at, c.out.stride, rows, width);
    case_end();
}

static void swiglu_special(struct test *test, float value, bool in_gate)
{
    struct swiglu_case c = swiglu_case(test, 3, 37, FILL_NORMAL);
    check_case("one %g in the %s", value, in_gate ? "gate" : "up");
    struct matrix *victim = in_gate ? &c.gate : &c.up, changed = matrix_like(test, *victim, 37);
    matrix_copy(changed, *victim);
    matrix_row(changed, (ptrdiff_t)random_below(&test->random, 3))[random_below(&test->random, 37)] = value;
    *victim = matrix_seal(changed);
    swiglu_rows(test, &c, 0, 3);
    swiglu_check(test, &c, false);
    case_end();
}

void test_swiglu(struct test *test)
{
    sweep(test, swiglu_size);
    for (enum fill fill = FILL_NORMAL; fill < FILL_KINDS; fill++) {
        struct swiglu_case c = swiglu_case(test, 5, 67, fill);
        swiglu_rows(test, &c, 0, 5);
        swiglu_check(test, &c, fill == FILL_INTEGERS || fill == FILL_ZERO || fill == FILL_DENORMAL);
        case_end();
    }
    for (int i = 0; i < 10; i++) {
        swiglu_special(test, NAN, i % 2);
        swiglu_special(test, INFINITY, i % 2);
        swiglu_special(test, -INFINITY, i % 2);
    }
}
