/* SPDX-License-Identifier: Apache-2.0 */
/* A sequence's bits are its own, whatever shares its batch, wherever it lies, whatever ran before or is asked for. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 136 };

static const char *const names[] = {"tiny", "shapes/three-stages", "shapes/deep-state", "shapes/odd-state",
                                    "shapes/no-scan"};
enum { NAMES = sizeof names / sizeof names[0] };

/* Lengths 1..130, three of 0 and three long ones, in random order. */
static void draw_lengths(struct random *random, size_t lengths[SEQUENCES])
{
    static const size_t special[] = {0, 0, 0, 255, 513, 1100};
    for (size_t i = 0; i < SEQUENCES; i++) {
        lengths[i] = i < 130 ? i + 1 : special[i - 130];
    }
    for (size_t i = SEQUENCES; i > 1; i--) {
        size_t j = random_below(random, i), length = lengths[j];
        lengths[j] = lengths[i - 1];
        lengths[i - 1] = length;
    }
}

static void test_alone(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_load(names[n]);
        ldar_context *team = context_new(model, 2), *single = context_new(model, 1);
        size_t lengths[SEQUENCES];
        draw_lengths(&random, lengths);
        struct input all = input_random(&random, lengths, SEQUENCES, 3);
        struct result together = forward(team, model, &all.batch, NULL);
        for (size_t s = 0; s < SEQUENCES; s++) {
            struct input one = input_part(&all.batch, s, random_below(&random, 8));
            struct result alone = forward(single, model, &one.batch, NULL);
            assert_same_sequence(&together, &all.batch, s, &alone, &one.batch, 0);
            result_free(&alone);
            input_free(&one);
        }
        result_free(&together);
        input_free(&all);
        ldar_context_destroy(single);
        ldar_context_destroy(team);
        ldar_model_destroy(model);
    }
}

/* The batch with its sequences in the order given. */
static struct input reordered(const struct ldar_batch *batch, const size_t *order)
{
    size_t lengths[SEQUENCES];
    for (size_t s = 0; s < batch->sequences; s++) {
        lengths[s] = batch->offsets[order[s] + 1] - batch->offsets[order[s]];
    }
    struct random none = random_start(0);
    struct input input = input_random(&none, lengths, batch->sequences, 1);
    for (size_t s = 0; s < batch->sequences; s++) {
        memcpy(input.memory + 1 + input.offsets[s], batch->ids + batch->offsets[order[s]], lengths[s]);
    }
    return input;
}

static void test_order(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (size_t n = 0; n < 2; n++) {
        ldar_model *model = model_load(names[n]);
        ldar_context *context = context_new(model, 3);
        size_t lengths[SEQUENCES], order[SEQUENCES];
        draw_lengths(&random, lengths);
        struct input first = input_random(&random, lengths, SEQUENCES, 0);
        struct result expected = forward(context, model, &first.batch, NULL);
        size_t turn = 1 + random_below(&random, SEQUENCES - 1);
        for (size_t s = 0; s < SEQUENCES; s++) {
            order[s] = SEQUENCES - 1 - (s + turn) % SEQUENCES;
        }
        struct input second = reordered(&first.batch, order);
        struct result result = forward(context, model, &second.batch, NULL);
        for (size_t s = 0; s < SEQUENCES; s++) {
            assert_same_sequence(&result, &second.batch, s, &expected, &first.batch, order[s]);
        }
        result_free(&result);
        input_free(&second);
        result_free(&expected);
        input_free(&first);
        ldar_context_destroy(context);
        ldar_model_destroy(model);
    }
}

static void test_alignment(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    ldar_model *model = model_load("tiny");
    ldar_context *context = context_new(model, 2);
    const size_t lengths[] = {70, 129};
    struct input input = input_random(&random, lengths, 2, 0);
    struct result expected = forward(context, model, &input.batch, NULL);
    for (size_t shift = 1; shift < 17; shift++) {
        struct input moved = input_random(&random, lengths, 2, shift);
        memcpy(moved.memory + shift, input.batch.ids, input_rows(&input.batch));
        struct result result = result_new(model, &moved.batch, shift);
        struct ldar_error error;
        assert_ok(ldar_forward(context, &moved.batch, NULL, &result.out, &error), &error);
        assert_same_result(&result, &expected);
        result_free(&result);
        input_free(&moved);
    }
    result_free(&expected);
    input_free(&input);
    ldar_context_destroy(context);
    ldar_model_destroy(model);
}

/* What an earlier batch left behind in the context is seen by none: large, small, large again. */
static void test_history(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    ldar_model *model = model_load("shapes/two-stages");
    ldar_context *used = context_new(model, 2);
    static const size_t lengths[] = {900, 3, 130, 1, 0, 1300, 64};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct input input = input_one(&random, lengths[i]);
        ldar_context *fresh = context_new(model, 2);
        struct result expected = forward(fresh, model, &input.batch, NULL);
        struct result result = forward(used, model, &input.batch, NULL);
        assert_same_result(&result, &expected);
        result_free(&result);
        result_free(&expected);
        ldar_context_destroy(fresh);
        input_free(&input);
    }
    ldar_context_destroy(used);
    ldar_model_destroy(model);
}

/* For each output that `mask` leaves out: takes the expected one in its place, so that only the others are compared. */
static void stand_in(struct ldar_outputs *out, const struct ldar_outputs *expected, unsigned mask)
{
    out->logits = mask & 1 ? out->logits : expected->logits;
    out->hidden = mask & 2 ? out->hidden : expected->hidden;
    out->encoder = mask & 4 ? out->encoder : expected->encoder;
    out->prob = mask & 8 ? out->prob : expected->prob;
    out->boundary = mask & 16 ? out->boundary : expected->boundary;
    out->chunks = mask & 32 ? out->chunks : expected->chunks;
    out->chunk_offsets = mask & 64 ? out->chunk_offsets : expected->chunk_offsets;
    out->mean = mask & 128 ? out->mean : expected->mean;
}

static struct ldar_outputs request(const struct ldar_outputs *all, unsigned mask)
{
    return (struct ldar_outputs){.size = sizeof(struct ldar_outputs),
                                 .logits = mask & 1 ? all->logits : NULL,
                                 .hidden = mask & 2 ? all->hidden : NULL,
                                 .encoder = mask & 4 ? all->encoder : NULL,
                                 .prob = mask & 8 ? all->prob : NULL,
                                 .boundary = mask & 16 ? all->boundary : NULL,
                                 .chunks = mask & 32 ? all->chunks : NULL,
                                 .chunk_offsets = mask & 64 ? all->chunk_offsets : NULL,
                                 .mean = mask & 128 ? all->mean : NULL};
}

static void test_requests(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    ldar_model *model = model_load("shapes/two-stages");
    ldar_context *context = context_new(model, 2);
    struct input input = input_random(&random, (const size_t[]){65, 0, 130}, 3, 0);
    struct result expected = forward(context, model, &input.batch, NULL);
    for (unsigned mask = 1; mask < 256; mask++) {
        struct result result = result_new(model, &input.batch, 0);
        struct ldar_outputs asked = request(&result.out, mask);
        struct ldar_error error;
        assert_ok(ldar_forward(context, &input.batch, NULL, &asked, &error), &error);
        stand_in(&result.out, &expected.out, mask);
        assert_same_result(&result, &expected);
        result_free(&result);
    }
    result_free(&expected);
    input_free(&input);
    ldar_context_destroy(context);
    ldar_model_destroy(model);
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),   cmocka_unit_test(test_order),    cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_history), cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests_name("model.company", tests, NULL, NULL);
}
