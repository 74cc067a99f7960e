/* SPDX-License-Identifier: Apache-2.0 */
/* What a context takes, and what happens when it does not get it. */
#include "allocator.h"
#include "fixture.h"

#include <string.h>

static const char *const names[] = {"tiny", "shapes/two-stages", "shapes/deep-state", "shapes/no-scan"};
enum { NAMES = sizeof names / sizeof names[0] };

/* Nothing is ever held beyond what ldar_context_bytes says, and the profile tells the truth. */
static void test_bound(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_load(names[n]);
        for (size_t length = 0; length <= 3000; length = 3 * length + 1) {
            struct input input = input_one(&random, length);
            struct result result = result_new(model, &input.batch, 0);
            const struct ldar_boundaries worst = {.size = sizeof worst, .every = 1};
            allocator_watch();
            const size_t before = allocator_bytes();
            struct ldar_context_options options = options_new(3);
            options.gemm = LDAR_GEMM_PACKED; /* others allocate out of sight */
            ldar_context *context = context_with(model, &options);
            const size_t stated = ldar_context_bytes(context, length);
            assert_int_equal(ldar_forward(context, &input.batch, &worst, &result.out, NULL), LDAR_OK);
            const size_t taken = allocator_peak() - before;
            struct ldar_profile profile;
            ldar_context_profile(context, &profile);
            if (taken > stated || profile.peak_bytes > stated) {
                fail_msg("%s, %zu nt: stated %zu bytes, taken %zu, own account %zu", names[n], length, stated, taken,
                         profile.peak_bytes);
            }
            ldar_context_destroy(context);
            result_free(&result);
            input_free(&input);
        }
        ldar_model_destroy(model);
    }
}

/* max_bytes refuses what does not fit, says what would, and leaves the context in order. */
static void test_limit(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    ldar_model *model = model_load("tiny");
    ldar_context *free_one = context_new(model, 2);
    const size_t limit = ldar_context_bytes(free_one, 500);
    struct ldar_context_options options = options_new(2);
    options.max_bytes = limit;
    ldar_context *context = context_with(model, &options);
    struct input small = input_one(&random, 500), large = input_one(&random, 50000);
    struct result refused = result_new(model, &large.batch, 0);
    struct ldar_error error = {0};
    assert_int_equal(ldar_forward(context, &large.batch, NULL, &refused.out, &error), LDAR_ERROR_MEMORY);
    assert_int_equal(error.status, LDAR_ERROR_MEMORY);
    assert_true(strpbrk(error.message, "0123456789") != NULL);
    struct result expected = forward(free_one, model, &small.batch, NULL);
    struct result result = forward(context, model, &small.batch, NULL);
    assert_same_result(&result, &expected);
    result_free(&result);
    result_free(&expected);
    result_free(&refused);
    input_free(&large);
    input_free(&small);
    ldar_context_destroy(context);
    ldar_context_destroy(free_one);

    context = (ldar_context *)(void *)&random;
    options.max_bytes = 1;
    assert_int_equal(ldar_context_create(model, &options, &context, &error), LDAR_ERROR_MEMORY);
    assert_null(context);
    ldar_model_destroy(model);
}

/* The n-th request for memory fails, n = 1, 2, ... until none does: each failure is told, and nothing is lost. */
static void check_create(const ldar_model *model, enum ldar_gemm gemm)
{
    struct ldar_context_options options = options_new(2);
    options.gemm = gemm;
    const size_t blocks = allocator_blocks();
    enum ldar_status status = LDAR_ERROR_MEMORY;
    for (size_t n = 1; status; n++) {
        ldar_context *context = (ldar_context *)(void *)&status;
        struct ldar_error error = {0};
        allocator_fail(n);
        status = ldar_context_create(model, &options, &context, &error);
        const int failed = allocator_failed();
        allocator_fail(0);
        assert_int_equal(status, failed ? LDAR_ERROR_MEMORY : LDAR_OK);
        assert_int_equal(error.status, status);
        assert_int_equal(context != NULL, !failed);
        ldar_context_destroy(context);
        assert_int_equal(allocator_blocks(), blocks);
    }
}

static void test_create_failures(void **state)
{
    (void)state;
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_load(names[n]);
        for (enum ldar_gemm gemm = LDAR_GEMM_AUTO; gemm <= LDAR_GEMM_REFERENCE; gemm++) {
            if (ldar_gemm_built(gemm) && (gemm <= LDAR_GEMM_PACKED || test_dtype == LDAR_F32)) {
                check_create(model, gemm);
            }
        }
        ldar_model_destroy(model);
    }
}

static void test_forward_failures(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (size_t i = 0; i < NAMES; i++) {
        ldar_model *model = model_load(names[i]);
        struct input input = input_random(&random, (const size_t[]){300, 0, 65}, 3, 0);
        ldar_context *context = context_new(model, 2);
        struct result expected = forward(context, model, &input.batch, NULL);
        ldar_context_destroy(context);
        enum ldar_status status = LDAR_ERROR_MEMORY;
        for (size_t n = 1; status; n++) {
            const size_t blocks = allocator_blocks();
            context = context_new(model, 2);
            struct result result = result_new(model, &input.batch, 0);
            struct ldar_error error = {0};
            allocator_fail(n);
            status = ldar_forward(context, &input.batch, NULL, &result.out, &error);
            const int failed = allocator_failed();
            allocator_fail(0);
            assert_int_equal(status, failed ? LDAR_ERROR_MEMORY : LDAR_OK);
            assert_int_equal(error.status, status);
            assert_ok(ldar_forward(context, &input.batch, NULL, &result.out, &error), &error);
            assert_same_result(&result, &expected);
            result_free(&result);
            ldar_context_destroy(context);
            assert_int_equal(allocator_blocks(), blocks);
        }
        result_free(&expected);
        input_free(&input);
        ldar_model_destroy(model);
    }
}

static void test_model_failures(void **state)
{
    (void)state;
    enum ldar_status status = LDAR_ERROR_MEMORY;
    for (size_t n = 1; status; n++) {
        const size_t blocks = allocator_blocks();
        ldar_model *model = (ldar_model *)(void *)&status;
        struct ldar_error error = {0};
        allocator_fail(n);
        status = ldar_model_load(golden_path("shapes/two-stages.safetensors"), &model, &error);
        const int failed = allocator_failed();
        allocator_fail(0);
        if (failed) {
            assert_true(status == LDAR_ERROR_MEMORY || status == LDAR_ERROR_IO); /* a file that cannot be mapped */
        } else {
            assert_int_equal(status, LDAR_OK);
        }
        assert_int_equal(error.status, status);
        assert_int_equal(model != NULL, !failed);
        ldar_model_destroy(model);
        assert_int_equal(allocator_blocks(), blocks);
    }
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_create_failures),
        cmocka_unit_test(test_forward_failures),
        cmocka_unit_test(test_model_failures),
    };
    return cmocka_run_group_tests_name("model.memory", tests, NULL, NULL);
}
