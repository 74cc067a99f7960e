/* SPDX-License-Identifier: Apache-2.0 */
/* ldar/ops.h against the oracle, on an instruction set given as the argument. */
#include <ldar/ldar.h>

#include "kit/measure.h"
#include "kit/random.h"
#include "oracle/oracle.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SKIP = 77, ARRAYS = 8 };

static enum ldar_isa isa;

/* Buffers of a case; each begins one float behind what malloc aligned. */
struct arrays {
    float *memory[ARRAYS];
    size_t count;
};

static float *array(struct arrays *arrays, size_t count)
{
    float *memory = arrays->memory[arrays->count++] = calloc(count + 1, sizeof(float));
    assert_non_null(memory);
    return memory + 1;
}

static float *drawn(struct arrays *arrays, struct random *random, size_t count, double low, double high)
{
    float *values = array(arrays, count);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)random_uniform(random, low, high);
    }
    return values;
}

static void free_arrays(struct arrays *arrays)
{
    for (size_t i = 0; i < arrays->count; i++) {
        free(arrays->memory[i]);
    }
    arrays->count = 0;
}

static double *doubles(size_t count)
{
    double *values = calloc(count + 1, sizeof *values);
    assert_non_null(values);
    return values;
}

static void check(const char *what, const double *expected, const float *got, size_t rows, size_t width,
                  ptrdiff_t stride)
{
    struct difference difference = measure(expected, got, rows, width, stride, 0, SPECIAL_SAME, 0);
    if (!(difference.l2 <= 1e-6 && difference.worst <= 1e-5) || difference.strays > 0) {
        fail_msg("%s (%zu, %zu): relative L2 %.2e (at most 1e-6), max/rms %.2e (at most 1e-5), %zu not finite", what,
                 rows, width, difference.l2, difference.worst, difference.strays);
    }
}

static void check_scan(struct random *random, size_t length, size_t heads, size_t state, int reverse)
{
    struct arrays arrays = {0};
    const size_t width = heads * LDAR_HEAD;
    struct ldar_ssd ssd = {.y = array(&arrays, length * width),
                           .x = drawn(&arrays, random, length * width, -1, 1),
                           .dt = drawn(&arrays, random, length * heads, 0, 0.3),
                           .a = drawn(&arrays, random, heads, -4, -0.05),
                           .b = drawn(&arrays, random, length * state, -1, 1),
                           .c = drawn(&arrays, random, length * state, -1, 1),
                           .d = drawn(&arrays, random, heads, -1, 1),
                           .length = length,
                           .heads = heads,
                           .state = state,
                           .reverse = reverse};
    struct ldar_error error;
    if (ldar_ssd_scan(isa, &ssd, &error)) {
        fail_msg("%s", error.message);
    }
    const size_t first = reverse && length > 0 ? length - 1 : 0;
    const ptrdiff_t sign = reverse ? -1 : 1;
    const struct ldar_ssd_args args = {.x = ssd.x + first * width,
                                       .b = ssd.b + first * state,
                                       .c = ssd.c + first * state,
                                       .dt = ssd.dt + first * heads,
                                       .a = ssd.a,
                                       .d = ssd.d,
                                       .length = length,
                                       .heads = heads,
                                       .state = state,
                                       .x_stride = sign * (ptrdiff_t)width,
                                       .bc_stride = sign * (ptrdiff_t)state,
                                       .dt_stride = sign * (ptrdiff_t)heads};
    double *expected = doubles(length * width);
    oracle_ssd_scan(expected, &args);
    check(reverse ? "reverse scan" : "scan", expected, ssd.y + first * width, length, width,
          sign * (ptrdiff_t)width);
    free(expected);
    free_arrays(&arrays);
}

static void test_scan(void **state)
{
    (void)state;
    static const struct {
        size_t length, heads, state;
    } sizes[] = {{0, 1, 16},  {1, 1, 1},    {2, 3, 16},    {63, 2, 20},  {64, 16, 64}, {65, 17, 16},
                 {200, 2, 7}, {129, 24, 8}, {300, 1, 128}, {1000, 3, 16}};
    struct random random = random_start(random_seed());
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check_scan(&random, sizes[i].length, sizes[i].heads, sizes[i].state, 0);
        check_scan(&random, sizes[i].length, sizes[i].heads, sizes[i].state, 1);
    }
}

static void check_attention(struct random *random, struct ldar_window_attention sizes)
{
    struct arrays arrays = {0};
    const size_t row = sizes.heads * sizes.width, half = sizes.rotary / 2;
    struct ldar_window_attention attention = sizes;
    attention.out = array(&arrays, sizes.length * row);
    attention.q = drawn(&arrays, random, sizes.length * row, -2, 2);
    attention.k = drawn(&arrays, random, sizes.length * row, -2, 2);
    attention.v = drawn(&arrays, random, sizes.length * row, -1, 1);
    struct ldar_error error;
    if (ldar_attend(isa, &attention, &error)) {
        fail_msg("%s", error.message);
    }
    float *cosine = array(&arrays, sizes.length * half), *sine = array(&arrays, sizes.length * half);
    for (size_t i = 0; i < sizes.length * half; i++) {
        double angle = (double)(i / half) * pow(10000, -2.0 * (double)(i % half) / (double)sizes.rotary);
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
    double *expected = doubles(sizes.length * sizes.width);
    for (size_t h = 0; h < sizes.heads; h++) {
        const size_t at = h * sizes.width;
        const struct ldar_attention_args args = {.q = attention.q + at,
                                                 .k = attention.k + at,
                                                 .v = attention.v + at,
                                                 .cosine = cosine,
                                                 .sine = sine,
                                                 .length = sizes.length,
                                                 .queries = sizes.length,
                                                 .width = sizes.width,
                                                 .rotary = sizes.rotary,
                                                 .window = sizes.window,
                                                 .stride = (ptrdiff_t)row,
                                                 .scale = 1 / sqrtf((float)sizes.width)};
        oracle_attention(expected, &args);
        check("attention", expected, attention.out + at, sizes.length, sizes.width, (ptrdiff_t)row);
    }
    free(expected);
    free_arrays(&arrays);
}

static void test_attention(void **state)
{
    (void)state;
    static const struct ldar_window_attention sizes[] = {
        {.length = 0, .heads = 1, .width = 32, .rotary = 32, .window = -1},
        {.length = 1, .heads = 2, .width = 32, .rotary = 32, .window = -1},
        {.length = 66, .heads = 3, .width = 20, .rotary = 8, .window = 0},
        {.length = 130, .heads = 1, .width = 24, .rotary = 0, .window = 1},
        {.length = 300, .heads = 2, .width = 48, .rotary = 48, .window = 7},
        {.length = 500, .heads = 1, .width = 5, .rotary = 4, .window = -1},
        {.length = 1100, .heads = 1, .width = 32, .rotary = 16, .window = 200},
    };
    struct random random = random_start(random_seed());
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check_attention(&random, sizes[i]);
    }
}

/* A window that reaches everything is no window, to the bit. */
static void test_wide_window(void **state)
{
    (void)state;
    enum { LENGTH = 333, WIDTH = 32 };
    struct random random = random_start(random_seed());
    struct arrays arrays = {0};
    struct ldar_window_attention attention = {.out = array(&arrays, LENGTH * WIDTH),
                                              .q = drawn(&arrays, &random, LENGTH * WIDTH, -2, 2),
                                              .k = drawn(&arrays, &random, LENGTH * WIDTH, -2, 2),
                                              .v = drawn(&arrays, &random, LENGTH * WIDTH, -1, 1),
                                              .length = LENGTH,
                                              .heads = 1,
                                              .width = WIDTH,
                                              .rotary = WIDTH,
                                              .window = -1};
    assert_int_equal(ldar_attend(isa, &attention, NULL), LDAR_OK);
    float *unlimited = attention.out;
    static const ptrdiff_t windows[] = {LENGTH - 1, LENGTH, 1 << 20, PTRDIFF_MAX};
    for (size_t i = 0; i < 4; i++) {
        attention.out = i == 0 ? array(&arrays, LENGTH * WIDTH) : attention.out;
        attention.window = windows[i];
        assert_int_equal(ldar_attend(isa, &attention, NULL), LDAR_OK);
        assert_memory_equal(attention.out, unlimited, LENGTH * WIDTH * sizeof(float));
    }
    free_arrays(&arrays);
}

static void test_rms_norm(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (size_t width = 1; width < 200; width += 1 + width / 3) {
        for (size_t rows = 0; rows < 70; rows = 2 * rows + 1) {
            struct arrays arrays = {0};
            float *out = array(&arrays, rows * width), *x = drawn(&arrays, &random, rows * width, -3, 3);
            float *weight = drawn(&arrays, &random, width, -1, 1);
            double *expected = doubles(rows * width);
            struct ldar_error error;
            if (ldar_rms_norm(isa, out, x, weight, rows, width, &error)) {
                fail_msg("%s", error.message);
            }
            oracle_rms_norm(expected, x, weight, rows, width, 1e-5f, (ptrdiff_t)width);
            check("norm", expected, out, rows, width, (ptrdiff_t)width);
            free(expected);
            free_arrays(&arrays);
        }
    }
}

#define assert_refused(call)                                                                                           \
    do {                                                                                                               \
        struct ldar_error error = {0};                                                                                 \
        assert_int_equal(call, LDAR_ERROR_ARGUMENT);                                                                   \
        assert_int_equal(error.status, LDAR_ERROR_ARGUMENT);                                                           \
        assert_true(strlen(error.message) > 0);                                                                        \
    } while (0)

static void test_hostile_scan(void **state)
{
    (void)state;
    float value[64 * 4] = {0};
    const struct ldar_ssd good = {.y = value, .x = value + 64, .dt = value, .a = value, .b = value, .c = value,
                                  .d = value, .length = 1, .heads = 1, .state = 1};
    assert_refused(ldar_ssd_scan(isa, NULL, &error));
    struct ldar_ssd bad = good;
    bad.y = NULL;
    assert_refused(ldar_ssd_scan(isa, &bad, &error));
    bad = good;
    bad.a = NULL;
    assert_refused(ldar_ssd_scan(isa, &bad, &error));
    bad = good;
    bad.length = SIZE_MAX / 8;
    assert_refused(ldar_ssd_scan(isa, &bad, &error));
    bad = good;
    bad.heads = SIZE_MAX / 64;
    assert_refused(ldar_ssd_scan(isa, &bad, &error));
    bad = good;
    bad.state = SIZE_MAX;
    assert_refused(ldar_ssd_scan(isa, &bad, &error));
    assert_refused(ldar_ssd_scan((enum ldar_isa)99, &good, &error));
}

static void test_hostile_attention(void **state)
{
    (void)state;
    float value[4 * 32] = {0};
    const struct ldar_window_attention good = {.out = value, .q = value + 32, .k = value + 64, .v = value + 96,
                                               .length = 1, .heads = 1, .width = 32, .rotary = 0, .window = -1};
    assert_refused(ldar_attend(isa, NULL, &error));
    struct ldar_window_attention bad = good;
    bad.v = NULL;
    assert_refused(ldar_attend(isa, &bad, &error));
    bad = good;
    bad.rotary = 3;
    assert_refused(ldar_attend(isa, &bad, &error));
    bad = good;
    bad.rotary = 34;
    assert_refused(ldar_attend(isa, &bad, &error));
    bad = good;
    bad.width = 0;
    assert_refused(ldar_attend(isa, &bad, &error));
    bad = good;
    bad.length = SIZE_MAX / 16;
    assert_refused(ldar_attend(isa, &bad, &error));
    bad = good;
}

static void test_hostile_norm(void **state)
{
    (void)state;
    float value[8] = {0};
    assert_refused(ldar_rms_norm(isa, NULL, value, value, 1, 2, &error));
    assert_refused(ldar_rms_norm(isa, value, NULL, value, 1, 2, &error));
    assert_refused(ldar_rms_norm(isa, value, value + 2, NULL, 1, 2, &error));
    assert_refused(ldar_rms_norm(isa, value, value + 2, value + 4, SIZE_MAX / 2, SIZE_MAX / 2, &error));
    assert_refused(ldar_rms_norm((enum ldar_isa)-1, value, value + 2, value + 4, 1, 2, &error));
}

int main(int argc, char **argv)
{
    struct ldar_error error;
    if (argc != 2 || ldar_isa_parse(argv[1], &isa, &error)) {
        fprintf(stderr, "usage: %s ISA\n", argv[0]);
        return 2;
    }
    if (!ldar_isa_runs(isa)) {
        printf("SKIP %s: not in this build or not on this machine\n", argv[1]);
        return SKIP;
    }
    printf("%s, LDAR_TEST_SEED=%llu\n", argv[1], (unsigned long long)random_seed());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_wide_window),
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_hostile_scan),
        cmocka_unit_test(test_hostile_attention),
        cmocka_unit_test(test_hostile_norm),
    };
    return cmocka_run_group_tests_name("api.ops", tests, NULL, NULL);
}
