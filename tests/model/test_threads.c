/* SPDX-License-Identifier: Apache-2.0 */
/* The number of threads, and other threads at work, change no bit. */
#include "fixture.h"

#include <pthread.h>
#include <stddef.h>

static const char *const names[] = {"tiny", "shapes/two-stages", "shapes/equal-widths", "shapes/no-scan"};
enum { NAMES = sizeof names / sizeof names[0] };

static void check_counts(const size_t *lengths, size_t sequences)
{
    static const int threads[] = {2, 3, 5, 7, 16};
    struct random random = random_start(random_seed());
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_load(names[n]);
        struct input input = input_random(&random, lengths, sequences, 0);
        ldar_context *alone = context_new(model, 1);
        struct result expected = forward(alone, model, &input.batch, NULL);
        for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
            ldar_context *context = context_new(model, threads[i]);
            assert_int_equal(ldar_context_threads(context), threads[i]);
            assert_int_equal(ldar_context_batch(context), (size_t)threads[i] * ldar_context_batch(alone));
            struct result result = forward(context, model, &input.batch, NULL);
            assert_same_result(&result, &expected);
            result_free(&result);
            ldar_context_destroy(context);
        }
        result_free(&expected);
        ldar_context_destroy(alone);
        input_free(&input);
        ldar_model_destroy(model);
    }
}

static void test_counts(void **state)
{
    (void)state;
    check_counts((const size_t[]){700, 0, 65, 1, 1500}, 5);
}

/* With more threads than a lone sequence has heads its directions are scanned apart, and heads are halved. */
static void test_lone_sequence(void **state)
{
    (void)state;
    check_counts((const size_t[]){400}, 1);
}

/* A context, its work and what it must give. */
struct caller {
    ldar_context *context;
    const ldar_model *model;
    struct input input;
    struct result expected, result;
    enum ldar_status status;
};

static void *call(void *argument)
{
    struct caller *caller = argument;
    enum { ROUNDS = 4 };
    for (int i = 0; i < ROUNDS && !caller->status; i++) {
        caller->status = ldar_forward(caller->context, &caller->input.batch, NULL, &caller->result.out, NULL);
    }
    return NULL;
}

/* Two contexts share a model, each used by a thread of its own; the second one's instruction set and type are given. */
static void check_two_callers(enum ldar_isa other, enum ldar_dtype dtype)
{
    struct random random = random_start(random_seed());
    ldar_model *model = model_load("tiny");
    struct ldar_context_options options[] = {options_new(2), options_new(2)};
    options[1].isa = other;
    options[1].dtype = dtype;
    struct caller caller[2];
    for (size_t i = 0; i < 2; i++) {
        caller[i] = (struct caller){
            .context = context_with(model, &options[i]), .model = model, .input = input_one(&random, 900 + i)};
        assert_int_equal(ldar_context_isa(caller[i].context), options[i].isa);
        caller[i].expected = forward(caller[i].context, model, &caller[i].input.batch, NULL);
        caller[i].result = result_new(model, &caller[i].input.batch, 0);
    }
    pthread_t thread[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, call, &caller[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(caller[i].status, LDAR_OK);
        assert_same_result(&caller[i].result, &caller[i].expected);
        result_free(&caller[i].result);
        result_free(&caller[i].expected);
        input_free(&caller[i].input);
        ldar_context_destroy(caller[i].context);
    }
    ldar_model_destroy(model);
}

static void test_shared_model(void **state)
{
    (void)state;
    check_two_callers(test_isa, test_dtype);
}

static void test_two_types(void **state)
{
    (void)state;
    check_two_callers(test_isa, test_dtype == LDAR_BF16 ? LDAR_F32 : LDAR_BF16);
}

static void test_two_instruction_sets(void **state)
{
    (void)state;
    check_two_callers(LDAR_ISA_SCALAR, LDAR_F32);
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_lone_sequence),
        cmocka_unit_test(test_shared_model),
        cmocka_unit_test(test_two_types),
        cmocka_unit_test(test_two_instruction_sets),
    };
    return cmocka_run_group_tests_name("model.threads", tests, NULL, NULL);
}
