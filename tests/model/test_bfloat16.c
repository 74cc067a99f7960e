/* SPDX-License-Identifier: Apache-2.0 */
/* What a context makes of a wish for bfloat16: its own arithmetic where the processor has it, else rounded weights. */
#include "fixture.h"

#include "kit/bfloat16.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"tiny", "shapes/three-stages", "shapes/tied", "shapes/no-scan"};
enum { NAMES = sizeof names / sizeof names[0] };

static int multiplies(void)
{
    return test_dtype == LDAR_BF16;
}

static struct input some_input(void)
{
    struct random random = random_start(random_seed());
    return input_random(&random, (const size_t[]){300, 0, 65, 1}, 4, 0);
}

/* What a context of these options makes of the input; it must settle on `settled`. */
static struct result result_with(const ldar_model *model, const struct ldar_context_options *options,
                                 enum ldar_dtype settled, const struct input *input)
{
    ldar_context *context = context_with(model, options);
    assert_int_equal(ldar_context_dtype(context), settled);
    struct result result = forward(context, model, &input->batch, NULL);
    ldar_context_destroy(context);
    return result;
}

static void check_same_result(const ldar_model *a, const struct ldar_context_options *options_a, enum ldar_dtype type_a,
                              const ldar_model *b, const struct ldar_context_options *options_b, enum ldar_dtype type_b)
{
    struct input input = some_input();
    struct result first = result_with(a, options_a, type_a, &input);
    struct result second = result_with(b, options_b, type_b, &input);
    assert_same_result(&first, &second);
    result_free(&second);
    result_free(&first);
    input_free(&input);
}

/* Rounds the floats of a tensor of the file, where it has one of that name. */
static void round_tensor(char *file, const char *name)
{
    char key[64];
    uint64_t header;
    memcpy(&header, file, sizeof header);
    snprintf(key, sizeof key, "\"%s\": {\"dtype\": \"F32\"", name);
    const char *entry = strstr(file + sizeof header, key);
    size_t begin, end;
    if (!entry) {
        return;
    }
    assert_int_equal(sscanf(strstr(entry, "\"data_offsets\""), "\"data_offsets\": [%zu, %zu]", &begin, &end), 2);
    for (char *at = file + sizeof header + header + begin; begin < end; begin += sizeof(float), at += sizeof(float)) {
        float value;
        memcpy(&value, at, sizeof value);
        value = bfloat16_round(value);
        memcpy(at, &value, sizeof value);
    }
}

/* The model of that name, with the floats of two of its tensors rounded. */
static ldar_model *model_with_rounded(const char *name, const char *first, const char *second)
{
    char path[256];
    size_t bytes;
    snprintf(path, sizeof path, "%s.safetensors", name);
    char *file = file_read(golden_path(path), &bytes);
    round_tensor(file, first);
    round_tensor(file, second);
    char *written = file_write(file, bytes);
    ldar_model *model;
    struct ldar_error error;
    enum ldar_status status = ldar_model_load(written, &model, &error);
    unlink(written);
    assert_ok(status, &error);
    free(written);
    free(file);
    return model;
}

/*
 * Matrices are rounded to bfloat16 once: when a file is written, or when a context is made. But for two: a file rounds
 * the embeddings and the head, a context does not, for they are of the residual stream, which is float32 in any case.
 */
static void test_rounded_weights(void **state)
{
    (void)state;
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_with_rounded(names[n], "embeddings.weight", "lm_head.weight");
        ldar_model *stored = model_stored(model, LDAR_BF16);
        for (enum ldar_gemm gemm = LDAR_GEMM_AUTO; gemm <= LDAR_GEMM_REFERENCE; gemm++) {
            if (!ldar_gemm_built(gemm) || (multiplies() && gemm > LDAR_GEMM_PACKED)) {
                continue;
            }
            struct ldar_context_options wish = options_new(2), plain = options_new(2);
            wish.gemm = plain.gemm = gemm;
            wish.dtype = LDAR_BF16;
            plain.dtype = test_dtype;
            check_same_result(model, &wish, test_dtype, stored, &plain, test_dtype);
        }
        ldar_model_destroy(stored);
        ldar_model_destroy(model);
    }
}

/* Rounding changes the results: what the test before compares is not equal for lack of effect. */
static void test_rounding_matters(void **state)
{
    (void)state;
    ldar_model *model = model_load("tiny");
    struct input input = some_input();
    struct ldar_context_options wish = options_new(2), plain = options_new(2);
    wish.dtype = LDAR_BF16;
    plain.dtype = LDAR_F32;
    struct result rounded = result_with(model, &wish, test_dtype, &input);
    struct result exact = result_with(model, &plain, LDAR_F32, &input);
    assert_memory_not_equal(rounded.out.encoder, exact.out.encoder, exact.rows * exact.width * sizeof(float));
    result_free(&exact);
    result_free(&rounded);
    input_free(&input);
    ldar_model_destroy(model);
}

/* Whether a model with rounded tensors has another probability, or another hidden state, in a context of bfloat16. */
static void check_counts(const char *first, const char *second, int in_prob)
{
    ldar_model *model = model_load("tiny"), *rounded = model_with_rounded("tiny", first, second);
    struct ldar_context_options wish = options_new(2);
    wish.dtype = LDAR_BF16;
    struct input input = some_input();
    struct result a = result_with(model, &wish, test_dtype, &input);
    struct result b = result_with(rounded, &wish, test_dtype, &input);
    assert_memory_equal(a.out.encoder, b.out.encoder, a.rows * a.width * sizeof(float));
    if (in_prob) {
        assert_memory_not_equal(a.out.prob, b.out.prob, a.rows * sizeof(float));
    } else {
        assert_memory_equal(a.out.prob, b.out.prob, a.rows * sizeof(float));
        assert_memory_not_equal(a.out.hidden, b.out.hidden, a.rows * a.width * sizeof(float));
    }
    result_free(&b);
    result_free(&a);
    input_free(&input);
    ldar_model_destroy(rounded);
    ldar_model_destroy(model);
}

/* The router and the residual projection keep all bits of their weights. */
static void test_routing_in_floats(void **state)
{
    (void)state;
    check_counts("backbone.routing_module.q_proj_layer.weight", "backbone.routing_module.k_proj_layer.weight", 1);
    check_counts("backbone.residual_proj.weight", "", 0);
}

/* Asked for float32, a bundle with bfloat16 gives the bits of the one without. */
static void test_floats(void **state)
{
    (void)state;
    const enum ldar_isa floats = test_isa == LDAR_ISA_AVX512BF16 ? LDAR_ISA_AVX512 : LDAR_ISA_NEON;
    if (!multiplies()) {
        skip();
    }
    assert_true(ldar_isa_runs(floats));
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_load(names[n]);
        struct ldar_context_options here = options_new(2), there = options_new(2);
        here.dtype = there.dtype = LDAR_F32;
        there.isa = floats;
        check_same_result(model, &here, LDAR_F32, model, &there, LDAR_F32);
        ldar_model_destroy(model);
    }
}

/* The cap from the environment decides as one from the options does. */
static void test_environment(void **state)
{
    (void)state;
    ldar_model *model = model_load("tiny");
    const char *cap = getenv("LDAR_ISA");
    char *before = cap ? strdup(cap) : NULL;
    struct ldar_context_options named = options_new(2), capped = options_new(2);
    named.dtype = capped.dtype = LDAR_BF16;
    capped.isa = LDAR_ISA_AUTO;
    assert_int_equal(setenv("LDAR_ISA", ldar_isa_name(test_isa), 1), 0);
    check_same_result(model, &named, test_dtype, model, &capped, test_dtype);
    assert_int_equal(before ? setenv("LDAR_ISA", before, 1) : unsetenv("LDAR_ISA"), 0);
    free(before);
    ldar_model_destroy(model);
}

/* A provider that knows float32 alone says so, and is not replaced in silence. */
static void test_providers(void **state)
{
    (void)state;
    ldar_model *model = model_load("tiny");
    for (enum ldar_gemm gemm = LDAR_GEMM_ONEDNN; gemm <= LDAR_GEMM_REFERENCE; gemm++) {
        struct ldar_context_options options = options_new(1);
        options.dtype = LDAR_BF16;
        options.gemm = gemm;
        struct ldar_error error = {0};
        ldar_context *context = (ldar_context *)(void *)&options;
        enum ldar_status status = ldar_context_create(model, &options, &context, &error);
        if (!ldar_gemm_built(gemm) || multiplies()) {
            assert_int_equal(status, LDAR_ERROR_UNSUPPORTED);
            assert_null(context);
            assert_non_null(strstr(error.message, ldar_gemm_name(gemm)));
        } else {
            assert_ok(status, &error);
            assert_int_equal(ldar_context_dtype(context), LDAR_F32);
        }
        if (ldar_gemm_built(gemm) && multiplies()) {
            assert_non_null(strstr(error.message, "bfloat16"));
        }
        ldar_context_destroy(context);
    }
    ldar_model_destroy(model);
}

static void test_unknown_type(void **state)
{
    (void)state;
    ldar_model *model = model_load("tiny");
    struct ldar_context_options options = options_new(1);
    options.dtype = (enum ldar_dtype)7;
    struct ldar_error error = {0};
    ldar_context *context = (ldar_context *)(void *)&options;
    assert_int_equal(ldar_context_create(model, &options, &context, &error), LDAR_ERROR_ARGUMENT);
    assert_null(context);
    ldar_model_destroy(model);
}

/* Only what multiplies bfloat16 has a rate of it. */
static void test_peak(void **state)
{
    (void)state;
    struct ldar_error error = {0};
    double gflops = -1;
    enum ldar_status status = ldar_measure_peak(test_isa, LDAR_BF16, 1, 0.01, &gflops, &error);
    assert_int_equal(status, multiplies() ? LDAR_OK : LDAR_ERROR_UNSUPPORTED);
    assert_true(multiplies() == (gflops > 0));
    assert_ok(ldar_measure_peak(test_isa, LDAR_F32, 1, 0.01, &gflops, &error), &error);
    assert_true(gflops > 0);
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounded_weights),
        cmocka_unit_test(test_rounding_matters),
        cmocka_unit_test(test_routing_in_floats),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_providers),
        cmocka_unit_test(test_unknown_type),
        cmocka_unit_test(test_peak),
    };
    return cmocka_run_group_tests_name("model.bfloat16", tests, NULL, NULL);
}
