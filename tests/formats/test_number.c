/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_number(uint64_t value)
{
    char expected[NUMBER_CHARACTERS], text[NUMBER_CHARACTERS];
    uint64_t back;
    snprintf(expected, sizeof expected, "%" PRIu64, value);
    const size_t length = (size_t)(put_number(text, value) - text);
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(text, expected, length);
    assert_int_equal(parse_number(text, length, &back), value <= INT64_MAX);
    assert_true(value > INT64_MAX || back == value);
}

static void test_numbers(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    uint64_t power = 1;
    for (int i = 0; i < 20; ++i, power *= 10) {
        check_number(power - 1);
        check_number(power);
        check_number(power + 1);
    }
    check_number(UINT64_MAX);
    check_number((uint64_t)INT64_MAX + 1);
    for (int i = 0; i < 100000; ++i) {
        check_number(random_bits(&random) >> random_below(&random, 64));
    }
}

static void check_float(float value)
{
    char expected[64], text[NUMBER_CHARACTERS + 1];
    snprintf(expected, sizeof expected, "%.9g", (double)value);
    *put_float_text(text, value) = '\0';
    assert_string_equal(text, expected);
}

/* What printf writes, for the probabilities that a track holds and for what none should. */
static void test_floats(void **state)
{
    (void)state;
    static const float odd[] = {0, -0.0f, 1, -1, 2, 0.5f, 0.25f, 1e-45f, 3e38f, INFINITY, -INFINITY, NAN, 123456.789f};
    struct random random = random_start(random_seed());
    for (size_t i = 0; i < sizeof odd / sizeof *odd; ++i) {
        check_float(odd[i]);
    }
    /* Around each power of ten and of two. */
    for (float power = 1; power > 1e-6f; power /= 10) {
        float up = power, down = power;
        for (int i = 0; i < 2000; ++i) {
            check_float(up = nextafterf(up, 2));
            check_float(down = nextafterf(down, -1));
        }
    }
    for (float power = 1; power > 1e-6f; power /= 2) {
        for (int i = -20; i < 20; ++i) {
            check_float(power * (1 + (float)i * 0x1p-23f));
        }
    }
    /* Halves of the ninth digit, which are rounded to even: few bits, many decimals. */
    for (int i = 1; i < 1 << 14; ++i) {
        check_float((float)i * 0x1p-14f);
        check_float((float)i * 0x1p-20f);
        check_float((float)i * 0x1p-27f);
    }
    for (int i = 0; i < 300000; ++i) {
        check_float((float)(random_bits(&random) >> 40) * 0x1p-24f);
        check_float(ldexpf((float)(random_bits(&random) >> 40) * 0x1p-24f, -(int)random_below(&random, 20)));
    }
}

static void check_decimal(double value, int decimals, const char *expected)
{
    char text[NUMBER_CHARACTERS + 1];
    *put_decimal(text, value, decimals) = '\0';
    assert_string_equal(text, expected);
}

static void test_decimals(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    check_decimal(0, 4, "0.0000");
    check_decimal(-0.00004, 4, "0.0000");
    check_decimal(-0.00006, 4, "-0.0001");
    check_decimal(0.125, 5, "0.12500");
    check_decimal(0.99999951, 5, "1.00000");
    check_decimal(-12.34567, 1, "-12.3");
    check_decimal(999999999.5, 9, "999999999.500000000");
    check_decimal(1e9, 4, ".");
    check_decimal((double)INFINITY, 4, ".");
    check_decimal((double)-INFINITY, 4, ".");
    check_decimal((double)NAN, 4, ".");
    for (int i = 0; i < 100000; ++i) {
        char text[NUMBER_CHARACTERS + 1], *end;
        const double value = random_uniform(&random, -20, 20);
        const int decimals = 1 + (int)random_below(&random, 9);
        *put_decimal(text, value, decimals) = '\0';
        assert_true(fabs(strtod(text, &end) - value) < 0.500001 * pow(10, -decimals));
        assert_int_equal(*end, '\0');
        assert_int_equal(strlen(strchr(text, '.') + 1), decimals);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers), cmocka_unit_test(test_floats),
                                       cmocka_unit_test(test_decimals)};
    return cmocka_run_group_tests_name("formats.number", tests, folder_make, folder_remove);
}
