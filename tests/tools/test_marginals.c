/* SPDX-License-Identifier: Apache-2.0 */
/* Marginals against forward passes by hand; equal bits for any number of threads, any batch and any company. */
#include "model/fixture.h"

#include "marginals.h"

#include "formats/strands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 101 };

static ldar_model *model;

/* log p of the four letters at one base by a forward pass of its own, as the header says it. */
static void by_hand(ldar_context *context, const uint8_t *ids, size_t length, size_t at, double log_p[4])
{
    float *logits = malloc(length * LDAR_SYMBOLS * sizeof(float));
    const size_t offsets[] = {0, length};
    const struct ldar_batch batch = {ids, offsets, 1};
    const struct ldar_outputs outputs = {.size = sizeof outputs, .logits = logits};
    struct ldar_error error;
    double sum = 0;
    assert_ok(ldar_forward(context, &batch, NULL, &outputs, &error), &error);
    for (size_t a = 0; a < 4; a++)
        sum += exp((double)logits[at * LDAR_SYMBOLS + a]);
    for (size_t a = 0; a < 4; a++)
        log_p[a] = (double)logits[at * LDAR_SYMBOLS + a] - log(sum);
    free(logits);
}

/* What is hidden: nothing (step 0), or the bases at first, first + step, ... */
static void expect(ldar_context *context, const uint8_t *ids, size_t length, size_t at, size_t first, size_t step,
                   int both, double log_p[4])
{
    uint8_t *seen = malloc(length), *turned = malloc(length);
    double other[4], sum = 0;
    memcpy(seen, ids, length);
    for (size_t i = first; step > 0 && i < length; i += step)
        seen[i] = LDAR_MASK;
    by_hand(context, seen, length, at, log_p);
    for (size_t i = 0; i < length; i++)
        turned[length - 1 - i] = seen[i] < 4 ? 3 - seen[i] : seen[i];
    by_hand(context, turned, length, length - 1 - at, other);
    for (size_t a = 0; a < 4 && both; a++)
        log_p[a] = (log_p[a] + other[3 - a]) / 2;
    for (size_t a = 0; a < 4; a++)
        sum += exp(log_p[a]);
    for (size_t a = 0; a < 4; a++)
        log_p[a] -= log(sum);
    free(turned);
    free(seen);
}

static void assert_row(const float *row, const double *expected)
{
    for (size_t a = 0; a < 4; a++)
        assert_float_equal(row[a], expected[a], 1e-5);
}

static marginals *marginals_new(ldar_context *context, size_t batch)
{
    marginals *new;
    struct ldar_error error;
    assert_ok(marginals_create(context, batch, &new, &error), &error);
    return new;
}

static void compute(marginals *m, const struct ldar_batch *batch, const struct marginals_wish *wish)
{
    struct ldar_error error;
    assert_ok(marginals_of_all(m, batch, wish, &error), &error);
}

/* Three sequences, one of them empty, of all symbols. */
static struct input three(void)
{
    struct random random = random_start(random_seed());
    return input_random(&random, (const size_t[]){LENGTH, 0, 37}, 3, 0);
}

static const uint64_t starts[] = {13, 0, 800002};

static void test_interleaved(void **state)
{
    (void)state;
    ldar_context *context = context_new(model, 2);
    marginals *m = marginals_new(context, 1000);
    struct input input = three();
    float log_p[LENGTH + 37][4];
    for (int both = 0; both < 2; both++) {
        const struct marginals_wish wish = {
            .mode = MARGINALS_INTERLEAVED, .both_strands = both, .starts = starts, .log_p = log_p[0]};
        compute(m, &input.batch, &wish);
        for (size_t row = 0; row < LENGTH + 37; row += 7) {
            const size_t s = row < LENGTH ? 0 : 2, begin = input.offsets[s], at = row - begin;
            const size_t phase = (size_t)(starts[s] + at) % 8, first = (phase + 8 - starts[s] % 8) % 8;
            double expected[4];
            expect(context, input.batch.ids + begin, input.offsets[s + 1] - begin, at, first, 8, both, expected);
            assert_row(log_p[row], expected);
        }
    }
    input_free(&input);
    marginals_destroy(m);
    ldar_context_destroy(context);
}

static void test_passes(void **state)
{
    (void)state;
    ldar_context *context = context_new(model, 1);
    marginals *m = marginals_new(context, 1000);
    struct input input = three();
    const uint8_t passes[] = {1 << 2 | 1 << 7, 0xff, 0};
    float all[LENGTH + 37][4], some[LENGTH + 37][4];
    for (size_t row = 0; row < LENGTH + 37; row++)
        some[row][0] = 5;
    struct marginals_wish wish = {.mode = MARGINALS_INTERLEAVED, .both_strands = 1, .starts = starts, .log_p = all[0]};
    compute(m, &input.batch, &wish);
    wish.log_p = some[0];
    wish.passes = passes;
    compute(m, &input.batch, &wish);
    for (size_t row = 0; row < LENGTH + 37; row++) {
        const size_t phase = (starts[0] + row) % 8;
        if (row < LENGTH && (phase == 2 || phase == 7))
            assert_memory_equal(some[row], all[row], sizeof all[row]);
        else
            assert_float_equal(some[row][0], 5, 0);
    }
    input_free(&input);
    marginals_destroy(m);
    ldar_context_destroy(context);
}

static void test_exact(void **state)
{
    (void)state;
    ldar_context *context = context_new(model, 2);
    marginals *m = marginals_new(context, 700);
    struct input input = three();
    const struct marginal_site sites[] = {{0, 0}, {2, 36}, {0, LENGTH - 1}, {0, 64}, {2, 0}};
    enum { SITES = sizeof sites / sizeof sites[0] };
    float log_p[SITES][4], all[37][4];
    struct ldar_error error;
    for (int both = 0; both < 2; both++) {
        assert_ok(marginals_of_sites(m, &input.batch, sites, SITES, both, log_p[0], &error), &error);
        for (size_t i = 0; i < SITES; i++) {
            const size_t begin = input.offsets[sites[i].sequence],
                         length = input.offsets[sites[i].sequence + 1] - begin;
            double expected[4];
            expect(context, input.batch.ids + begin, length, sites[i].position, sites[i].position, length, both,
                   expected);
            assert_row(log_p[i], expected);
        }
    }
    const size_t offsets[] = {0, 37};
    const struct ldar_batch last = {input.batch.ids + LENGTH, offsets, 1};
    compute(m, &last, &(struct marginals_wish){.mode = MARGINALS_EXACT, .both_strands = 1, .log_p = all[0]});
    assert_memory_equal(all[36], log_p[1], sizeof all[36]);
    assert_memory_equal(all[0], log_p[4], sizeof all[0]);
    const struct marginal_site outside[] = {{0, 5}, {1, 0}};
    assert_int_equal(marginals_of_sites(m, &input.batch, outside, 2, 1, log_p[0], &error), LDAR_ERROR_ARGUMENT);
    assert_string_equal(error.message, "site 1 is not in the batch");
    input_free(&input);
    marginals_destroy(m);
    ldar_context_destroy(context);
}

/* Boundary probabilities are those of a forward pass in any mode. */
static void test_wt(void **state)
{
    (void)state;
    ldar_context *context = context_new(model, 2);
    marginals *m = marginals_new(context, 100);
    struct input input = three();
    struct result whole = forward(context, model, &input.batch, NULL);
    float log_p[LENGTH + 37][4], prob[LENGTH + 37];
    for (int both = 0; both < 2; both++) {
        const struct marginals_wish wish = {
            .mode = MARGINALS_WT, .both_strands = both, .log_p = log_p[0], .prob = prob};
        compute(m, &input.batch, &wish);
        assert_memory_equal(prob, whole.out.prob, sizeof prob);
        for (size_t at = 0; at < LENGTH; at += 11) {
            double expected[4];
            expect(context, input.batch.ids, LENGTH, at, 0, 0, both, expected);
            assert_row(log_p[at], expected);
        }
    }
    for (int mode = MARGINALS_EXACT; mode <= MARGINALS_WT; mode++) {
        memset(prob, 0, sizeof prob);
        compute(m, &input.batch, &(struct marginals_wish){.mode = (enum marginal_mode)mode, .prob = prob});
        assert_memory_equal(prob, whole.out.prob, sizeof prob);
    }
    result_free(&whole);
    input_free(&input);
    marginals_destroy(m);
    ldar_context_destroy(context);
}

/* One thread and passes that go alone, against more threads and passes that go together: the same bits. */
static void test_company(void **state)
{
    (void)state;
    struct input input = three();
    float log_p[2][LENGTH + 37][4], prob[2][LENGTH + 37];
    for (int mode = MARGINALS_EXACT; mode <= MARGINALS_WT; mode++) {
        for (int other = 0; other < 2; other++) {
            ldar_context *context = context_new(model, other ? 3 : 1);
            marginals *m = marginals_new(context, other ? 5000 : 1);
            const struct marginals_wish wish = {.mode = (enum marginal_mode)mode,
                                                .both_strands = 1,
                                                .starts = starts,
                                                .log_p = log_p[other][0],
                                                .prob = prob[other]};
            compute(m, &input.batch, &wish);
            marginals_destroy(m);
            ldar_context_destroy(context);
        }
        assert_memory_equal(log_p[0], log_p[1], sizeof log_p[0]);
        assert_memory_equal(prob[0], prob[1], sizeof prob[0]);
    }
    input_free(&input);
}

/* A mirrored sequence has mirrored marginals, in which order ever the strands were gone through. */
static void test_mirror(void **state)
{
    (void)state;
    ldar_context *context = context_new(model, 1);
    marginals *m = marginals_new(context, 1000);
    struct input input = three();
    uint8_t turned[LENGTH];
    float log_p[LENGTH][4], other[LENGTH][4];
    const size_t offsets[] = {0, LENGTH};
    const struct ldar_batch there = {input.batch.ids, offsets, 1}, back = {turned, offsets, 1};
    reverse_complement(input.batch.ids, LENGTH, turned);
    compute(m, &there, &(struct marginals_wish){.mode = MARGINALS_WT, .both_strands = 1, .log_p = log_p[0]});
    compute(m, &back, &(struct marginals_wish){.mode = MARGINALS_WT, .both_strands = 1, .log_p = other[0]});
    for (size_t i = 0; i < LENGTH; i++)
        for (size_t a = 0; a < 4; a++)
            assert_float_equal(log_p[i][a], other[LENGTH - 1 - i][3 - a], 1e-6);
    input_free(&input);
    marginals_destroy(m);
    ldar_context_destroy(context);
}

static void test_memory(void **state)
{
    (void)state;
    ldar_context *context = context_new(model, 2);
    struct ldar_error error;
    size_t batch;
    assert_ok(marginals_plan(context, 100, 0, 0, &batch, &error), &error);
    assert_int_equal(batch, ldar_context_batch(context));
    assert_ok(marginals_plan(context, 70000, 0, 0, &batch, &error), &error);
    assert_int_equal(batch, 70000);
    const size_t bytes = ldar_context_bytes(context, 500) + 500 * 33;
    assert_ok(marginals_plan(context, 500, bytes + 1000, 1000, &batch, &error), &error);
    assert_true(batch >= 500 && ldar_context_bytes(context, batch) + batch * 33 <= bytes);
    assert_int_equal(marginals_plan(context, batch + 1, bytes + 1000, 1000, &batch, &error), LDAR_ERROR_MEMORY);
    assert_non_null(strstr(error.message, "--window 5"));
    assert_int_equal(marginals_plan(context, 500, 1000, 1000, &batch, &error), LDAR_ERROR_MEMORY);
    ldar_context_destroy(context);
}

static int load(void **state)
{
    (void)state;
    model = model_load("tiny");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    ldar_model_destroy(model);
    return 0;
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interleaved), cmocka_unit_test(test_passes),  cmocka_unit_test(test_exact),
        cmocka_unit_test(test_wt),          cmocka_unit_test(test_company), cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("tools.marginals", tests, load, unload);
}
