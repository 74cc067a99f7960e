/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/model.h>

#include "files.h"
#include "model/model.h"
#include "model/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The known answers of the Random123 distribution. */
static void test_philox(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t words[4];
        ldar_philox(known[i].counter, known[i].key, words);
        assert_memory_equal(words, known[i].words, sizeof words);
    }
}

static void test_functions(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        double x = exp(-40 + i * 8e-4), y = -30 + i * 6e-4;
        assert_true(fabs(ldar_portable_log(x) - log(x)) <= 1e-15 * fabs(log(x)) + 1e-15);
        assert_true(fabs(ldar_portable_exp(y) - exp(y)) <= 2e-14 * exp(y));
        uint32_t first = (uint32_t)i * 42949u, second = (uint32_t)i * 2654435761u;
        double pair[2], radius = sqrt(-2 * log(ldar_uniform(first))), angle = 2 * acos(-1) * ldar_uniform(second);
        ldar_normal_pair(first, second, pair);
        assert_true(fabs(pair[0] - radius * cos(angle)) < 1e-13 && fabs(pair[1] - radius * sin(angle)) < 1e-13);
    }
    assert_true(ldar_uniform(0) > 0 && ldar_uniform(UINT32_MAX) < 1);
}

/* Moments of the values of all parameters whose name ends so. */
struct moments {
    size_t count;
    double mean, deviation, kurtosis, least, most;
};

static struct moments measure(const ldar_model *model, const char *part, const char *end)
{
    struct moments m = {0, 0, 0, 0, INFINITY, -INFINITY};
    double sums[5] = {0};
    for (size_t i = 0; i < model->table.count; i++) {
        const struct ldar_parameter *parameter = &model->table.entry[i];
        const size_t length = strlen(parameter->name), tail = strlen(end);
        enum ldar_dtype dtype;
        const float *data = ldar_parameter_data(parameter, &dtype);
        if (!strstr(parameter->name, part) || length < tail || strcmp(parameter->name + length - tail, end) != 0) {
            continue;
        }
        assert_int_equal(dtype, LDAR_F32);
        for (size_t k = 0; k < parameter->count; k++) {
            double x = data[k];
            m.least = fmin(m.least, x);
            m.most = fmax(m.most, x);
            for (int power = 0; power < 5; power++) {
                sums[power] += pow(x, power);
            }
        }
    }
    assert_true(sums[0] > 0);
    m.count = (size_t)sums[0];
    m.mean = sums[1] / sums[0];
    m.deviation = sqrt(sums[2] / sums[0] - m.mean * m.mean);
    m.kurtosis = sums[4] / sums[0] / pow(m.deviation, 4);
    return m;
}

/* Within 5 standard errors of N(0, deviation^2). */
static void check_normal(const ldar_model *model, const char *part, const char *end, double deviation)
{
    struct moments m = measure(model, part, end);
    double n = (double)m.count;
    if (fabs(m.mean) > 5 * deviation / sqrt(n) || fabs(m.deviation / deviation - 1) > 5 / sqrt(2 * n)
        || fabs(m.kurtosis - 3) > 5 * sqrt(24 / n)) {
        fail_msg("%s%s: %zu values, mean %g, deviation %g (not %g), kurtosis %g", part, end, m.count, m.mean,
                 m.deviation, deviation, m.kurtosis);
    }
}

static void check_uniform(const ldar_model *model, const char *part, const char *end, double bound)
{
    struct moments m = measure(model, part, end);
    double n = (double)m.count;
    assert_true(m.least >= -bound && m.most <= bound && m.most > 0.9 * bound && m.least < -0.9 * bound);
    assert_true(fabs(m.mean) < 5 * bound / sqrt(3 * n));
    assert_true(fabs(m.deviation / bound * sqrt(3) - 1) < 5 / sqrt(n));
}

static void check_constant(const ldar_model *model, const char *part, const char *end, double value)
{
    struct moments m = measure(model, part, end);
    assert_true(m.least == value && m.most == value);
}

static ldar_model *create(const char *preset, uint64_t seed)
{
    struct ldar_config config;
    struct ldar_error error;
    ldar_model *model;
    assert_int_equal(ldar_config_preset(preset, &config, &error), LDAR_OK);
    assert_int_equal(ldar_model_create(&config, seed, &model, &error), LDAR_OK);
    return model;
}

static void test_distributions(void **state)
{
    ldar_model *model = create("2m", 3);
    struct ldar_model_info info;
    (void)state;
    ldar_model_describe(model, &info);
    assert_int_equal(info.parameters, 2011288);
    assert_int_equal(info.dtype, LDAR_F32);
    assert_int_equal(strlen(info.sha256), 64);

    /* Additions to the residual stream: 4 + 3 outside, and M6 adds 12 inside. */
    const double outside = 0.02 / sqrt(7), inside = 0.02 / sqrt(19);
    check_normal(model, "", "embeddings.weight", 0.02);
    check_normal(model, "", "lm_head.weight", 0.02);
    check_normal(model, "", "in_proj.weight", 0.02);
    check_normal(model, "", "Wqkv.weight", 0.02);
    check_normal(model, "", "fc1.weight", 0.02);
    check_normal(model, "backbone.encoder", "out_proj.weight", outside);
    check_normal(model, "backbone.decoder", "out_proj.weight", outside);
    check_normal(model, "main_network.main_network", "out_proj.weight", inside);
    check_normal(model, "", "fc2.weight", inside);
    check_uniform(model, "", "conv1d.weight", 0.5);
    check_uniform(model, "", "conv1d.bias", 0.5);
    check_uniform(model, "", "residual_proj.bias", 0.125);
    check_constant(model, "", "norm1.weight", 1);
    check_constant(model, "", "norm2.weight", 1);
    check_constant(model, "", "rmsnorm.weight", 1);
    check_constant(model, "", "mixer.fwd.norm.weight", 1);
    check_constant(model, "", ".D", 1);
    check_constant(model, "", "residual_proj.weight", 0);
    check_constant(model, "", "pad_dimension", 0);

    struct moments a = measure(model, "", "A_log"), dt = measure(model, "", "dt_bias");
    assert_true(a.least >= 0 && a.most <= log(16) && a.most > 2.5);
    assert_true(log1p(exp(dt.least)) >= 0.000999 && log1p(exp(dt.most)) <= 0.1001);
    assert_true(log1p(exp(dt.most)) > 0.05 && log1p(exp(dt.least)) < 0.002);

    const struct ldar_matrix *router = &ldar_model_parameters(model)->stage[0].router_k;
    for (size_t i = 0; i < router->rows * router->columns; i++) {
        assert_true(((const float *)router->data)[i] == (i / router->columns == i % router->columns));
    }
    ldar_model_destroy(model);
}

/* The same bits from the same seed, everywhere: this hash was made with gcc on x86-64. */
static void test_reproducible(void **state)
{
    static const char expected[] = "eb93858c6c9804102f4abff18a952a608f607c0fd9bdfec613de28afaabf3c1f";
    struct ldar_error error;
    struct ldar_model_info info;
    (void)state;
    ldar_model *model = create("2m", 1), *other = create("2m", UINT64_C(1) << 32 | 1);
    assert_int_equal(ldar_model_save(model, LDAR_F32, scratch("a"), &error), LDAR_OK);
    assert_int_equal(ldar_model_peek(scratch("a"), &info, &error), LDAR_OK);
    assert_string_equal(info.sha256, expected);
    assert_int_equal(ldar_model_save(other, LDAR_F32, scratch("b"), &error), LDAR_OK);
    assert_int_equal(ldar_model_peek(scratch("b"), &info, &error), LDAR_OK);
    assert_string_not_equal(info.sha256, expected);
    ldar_model_destroy(model);
    ldar_model_destroy(other);
}

/* No two random parameters share their numbers. */
static void test_independent(void **state)
{
    ldar_model *model = create("2m", 1);
    (void)state;
    for (size_t i = 0; i < model->table.count; i++) {
        const struct ldar_parameter *x = &model->table.entry[i];
        enum ldar_dtype dtype;
        const float *a = ldar_parameter_data(x, &dtype);
        for (size_t k = 0; k < i; k++) {
            const struct ldar_parameter *y = &model->table.entry[k];
            const float *b = ldar_parameter_data(y, &dtype);
            if (x->start == y->start && x->start >= LDAR_START_NORMAL) {
                assert_false(a[0] / b[0] == a[1] / b[1]);
            }
        }
    }
    ldar_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox),       cmocka_unit_test(test_functions),   cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_reproducible), cmocka_unit_test(test_independent),
    };
    return cmocka_run_group_tests_name("io.init", tests, NULL, NULL);
}
