/* SPDX-License-Identifier: Apache-2.0 */
/* Properties of the network as a whole. */
#include "fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Swaps what the two directions of every layer have of their own, in the names of the file's tensors. */
static void swap_directions(char *file)
{
    uint64_t header;
    memcpy(&header, file, sizeof header);
    char *text = file + sizeof header, *end = text + header;
    static const char mixer[] = ".mixer.";
    for (char *at = text; at + sizeof mixer + 16 < end; at++) {
        char *side = at + sizeof mixer - 1;
        if (memcmp(at, mixer, sizeof mixer - 1) != 0 || !memcmp(side + 4, "in_proj", 7)
            || !memcmp(side + 4, "out_proj", 8)) {
            continue;
        }
        if (!memcmp(side, "fwd.", 4)) {
            memcpy(side, "bwd", 3);
        } else if (!memcmp(side, "bwd.", 4)) {
            memcpy(side, "fwd", 3);
        }
    }
}

static ldar_model *model_mirrored(const char *name)
{
    char path[256];
    size_t bytes;
    snprintf(path, sizeof path, "%s.safetensors", name);
    char *file = file_read(golden_path(path), &bytes);
    swap_directions(file);
    char *mirrored = file_write(file, bytes);
    ldar_model *model;
    struct ldar_error error;
    enum ldar_status status = ldar_model_load(mirrored, &model, &error);
    unlink(mirrored);
    assert_ok(status, &error);
    free(mirrored);
    free(file);
    return model;
}

/* What reads the mirrored sequence with its directions swapped sees the mirror image. Rotation, where there is any,
 * knows left from right: these encoders have none. */
static void check_mirror(const char *name, size_t length)
{
    struct random random = random_start(random_seed());
    ldar_model *model = model_load(name), *mirror = model_mirrored(name);
    struct input input = input_one(&random, length), reversed = input_part(&input.batch, 0, 0);
    for (size_t i = 0; i < length; i++) {
        reversed.memory[i] = input.batch.ids[length - 1 - i];
    }
    ldar_context *context = context_new(model, 2), *other = context_new(mirror, 2);
    struct result result = forward(context, model, &input.batch, NULL);
    struct result image = forward(other, mirror, &reversed.batch, NULL);
    const size_t width = result.width;
    double error = 0, norm = 0;
    for (size_t i = 0; i < length * width; i++) {
        double value = result.out.encoder[i], seen = image.out.encoder[(length - 1 - i / width) * width + i % width];
        error += (value - seen) * (value - seen);
        norm += value * value;
    }
    const double most = bounds().l2 / 2;
    if (!(sqrt(error / norm) <= most)) {
        fail_msg("%s: relative L2 %.2e (at most %g)", name, sqrt(error / norm), most);
    }
    result_free(&image);
    result_free(&result);
    ldar_context_destroy(other);
    ldar_context_destroy(context);
    input_free(&reversed);
    input_free(&input);
    ldar_model_destroy(mirror);
    ldar_model_destroy(model);
}

/* Of a part of a sequence: the mean of the hidden states of its rows. */
static void check_parts(ldar_context *context, const struct input *input, const struct result *result, size_t parts)
{
    const size_t width = result->width, sequences = input->batch.sequences;
    float *means = malloc(sequences * parts * width * sizeof *means);
    assert_non_null(means);
    const struct ldar_outputs outputs = {.size = sizeof outputs, .mean = means, .parts = parts};
    struct ldar_error error;
    assert_ok(ldar_forward(context, &input->batch, NULL, &outputs, &error), &error);
    for (size_t i = 0; i < sequences * parts * width; i++) {
        const size_t s = i / width / parts, part = i / width % parts, begin = input->offsets[s];
        const size_t length = input->offsets[s + 1] - begin, next = (part + 1) * length / parts;
        const size_t first = part * length / parts, end = next > first ? next : first + 1;
        double sum = 0, size = 0;
        for (size_t t = first; t < end && length > 0; t++) {
            sum += (double)result->out.hidden[(begin + t) * width + i % width];
            size += fabs((double)result->out.hidden[(begin + t) * width + i % width]);
        }
        const double rows = (double)(end - first), mean = (double)means[i];
        if (length == 0 ? !isnan(mean) : !(fabs(mean - sum / rows) <= 6e-8 * size / rows)) {
            fail_msg("sequence %zu, part %zu of %zu: %.9g, expected %.9g", s, part, parts, mean, sum / rows);
        }
    }
    const struct ldar_outputs too_many = {.size = sizeof outputs, .mean = means, .parts = LDAR_MAX_PARTS + 1};
    assert_int_equal(ldar_forward(context, &input->batch, NULL, &too_many, &error), LDAR_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "65537 parts"));
    free(means);
}

/* The mean of a sequence is that of its hidden states, not a number where it has none, and the same bits when nothing
 * else is asked for. */
static void test_mean(void **state)
{
    (void)state;
    enum { SEQUENCES = 73 };
    static const size_t parts_tested[] = {1, 2, 7, 70, 100};
    struct random random = random_start(random_seed());
    ldar_model *model = model_load("tiny");
    ldar_context *context = context_new(model, 2);
    size_t lengths[SEQUENCES] = {0, 0, 300};
    for (size_t s = 3; s < SEQUENCES; s++) {
        lengths[s] = s - 2; /* 1..70 */
    }
    struct input input = input_random(&random, lengths, SEQUENCES, 1);
    struct result result = forward(context, model, &input.batch, NULL);
    const size_t width = result.width;
    for (size_t s = 0; s < SEQUENCES; s++) {
        for (size_t c = 0; c < width; c++) {
            double sum = 0, size = 0;
            for (size_t t = input.offsets[s]; t < input.offsets[s + 1]; t++) {
                sum += (double)result.out.hidden[t * width + c];
                size += fabs((double)result.out.hidden[t * width + c]);
            }
            const double mean = (double)result.out.mean[s * width + c], length = (double)lengths[s];
            if (lengths[s] == 0 ? !isnan(mean) : !(fabs(mean - sum / length) <= 6e-8 * size / length)) {
                fail_msg("sequence %zu, column %zu: %.9g, expected %.9g", s, c, mean, sum / length);
            }
        }
    }
    float *alone = calloc(SEQUENCES * width, sizeof *alone);
    assert_non_null(alone);
    const struct ldar_outputs mean = {.size = sizeof mean, .mean = alone};
    struct ldar_error error;
    assert_ok(ldar_forward(context, &input.batch, NULL, &mean, &error), &error);
    assert_memory_equal(alone, result.out.mean, SEQUENCES * width * sizeof *alone);
    for (size_t i = 0; i < sizeof parts_tested / sizeof parts_tested[0]; i++) {
        check_parts(context, &input, &result, parts_tested[i]);
    }
    const struct ldar_batch empty = {NULL, input.offsets, 1};
    alone[0] = 0;
    assert_ok(ldar_forward(context, &empty, NULL, &mean, &error), &error);
    assert_true(isnan(alone[0]) && isnan(alone[width - 1]));
    free(alone);
    result_free(&result);
    input_free(&input);
    ldar_context_destroy(context);
    ldar_model_destroy(model);
}

static void test_mirror(void **state)
{
    (void)state;
    check_mirror("shapes/two-stages", 1000);
    check_mirror("shapes/deep-state", 333);
    check_mirror("shapes/equal-widths", 200);
}

/* One stage: `every` is `forced` with the same pattern; M = L for 1, and M = 1 for no more than the first. */
static void test_boundaries(void **state)
{
    (void)state;
    static const size_t every[] = {1, 2, 3, 4, 64, 129, 130, 1000, SIZE_MAX};
    struct random random = random_start(random_seed());
    ldar_model *model = model_load("tiny");
    ldar_context *context = context_new(model, 2);
    struct input input = input_random(&random, (const size_t[]){130, 0, 1, 70}, 4, 0);
    const size_t rows = input_rows(&input.batch);
    struct result learned = forward(context, model, &input.batch, NULL);
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++) {
        uint8_t *pattern = calloc(rows, 1);
        size_t chunks[5] = {0};
        for (size_t s = 0; s < 4; s++) {
            size_t length = input.offsets[s + 1] - input.offsets[s];
            for (size_t t = every[i]; t < length && t >= every[i]; t += every[i]) {
                pattern[input.offsets[s] + t] = 1; /* the first position is a boundary without being asked */
            }
            chunks[s + 1] = chunks[s] + length / every[i] + (length % every[i] != 0);
        }
        const struct ldar_boundaries by_number = {.size = sizeof by_number, .every = every[i]};
        const struct ldar_boundaries by_pattern = {.size = sizeof by_pattern, .forced = pattern};
        struct result regular = forward(context, model, &input.batch, &by_number);
        struct result forced = forward(context, model, &input.batch, &by_pattern);
        assert_same_result(&regular, &forced);
        assert_memory_equal(regular.out.chunk_offsets, chunks, sizeof chunks);
        assert_memory_equal(regular.out.prob, learned.out.prob, rows * sizeof(float));
        for (size_t s = 0; s < 4; s++) {
            for (size_t t = input.offsets[s]; t < input.offsets[s + 1]; t++) {
                assert_int_equal(regular.out.boundary[t], pattern[t] || t == input.offsets[s]);
            }
        }
        result_free(&forced);
        result_free(&regular);
        free(pattern);
    }
    struct ldar_boundaries same = {.size = sizeof same, .forced = learned.out.boundary};
    struct result again = forward(context, model, &input.batch, &same);
    assert_same_result(&again, &learned);
    result_free(&again);
    result_free(&learned);
    input_free(&input);
    ldar_context_destroy(context);
    ldar_model_destroy(model);
}

/* Attention over equal values gives that value: where all symbols are equal, the router sees equal positions. */
static void test_alike(void **state)
{
    (void)state;
    ldar_model *model = model_load("shapes/no-scan");
    ldar_context *context = context_new(model, 2);
    for (uint8_t symbol = 0; symbol < LDAR_SYMBOLS; symbol++) {
        struct random none = random_start(0);
        struct input input = input_one(&none, 100);
        memset(input.memory, symbol, 100);
        struct result result = forward(context, model, &input.batch, NULL);
        for (size_t t = 1; t < 100; t++) {
            const double first = result.out.prob[1], prob = result.out.prob[t], most = bounds().prob;
            assert_true(fabs(prob - first) <= most);
            assert_true(result.out.boundary[t] == result.out.boundary[1] || fabs(first - 0.5) <= most);
        }
        result_free(&result);
        input_free(&input);
    }
    ldar_context_destroy(context);
    ldar_model_destroy(model);
}

/* As many stages as there may be. */
static void test_depth(void **state)
{
    (void)state;
    struct ldar_config config = {.stages = LDAR_MAX_STAGES};
    for (size_t i = 0; i < LDAR_MAX_STAGES; i++) {
        config.stage[i] = (struct ldar_stage_config){.encoder = "m1T1",
                                                     .decoder = "t1",
                                                     .width = 32,
                                                     .intermediate = 1,
                                                     .attention_heads = 2,
                                                     .rotary = 8,
                                                     .window = 3,
                                                     .state = 16,
                                                     .conv = 4,
                                                     .expand = 2};
    }
    config.stage[LDAR_MAX_STAGES - 1].decoder[0] = 0;
    struct ldar_error error;
    ldar_model *model;
    assert_ok(ldar_model_create(&config, 5, &model, &error), &error);
    ldar_model *loaded = model_stored(model, LDAR_F32);

    struct random random = random_start(random_seed());
    struct input input = input_random(&random, (const size_t[]){1, 0, 200}, 3, 0);
    ldar_context *context = context_new(model, 2), *other = context_new(loaded, 2);
    struct result expected = forward(context, model, &input.batch, NULL);
    struct result result = forward(other, loaded, &input.batch, NULL);
    assert_same_result(&result, &expected);
    const struct ldar_boundaries each = {.size = sizeof each, .every = 2};
    struct result regular = forward(context, model, &input.batch, &each);
    assert_int_equal(regular.out.chunk_offsets[3], 101);
    for (size_t i = 0; i < regular.rows * regular.width; i++) {
        assert_true(isfinite(regular.out.hidden[i]));
    }
    result_free(&regular);
    result_free(&result);
    result_free(&expected);
    ldar_context_destroy(other);
    ldar_context_destroy(context);
    input_free(&input);
    ldar_model_destroy(loaded);
    ldar_model_destroy(model);
}

/* docs/perf.md derives the figures: MFLOP per nucleotide of the 110m model. */
static void test_flops(void **state)
{
    (void)state;
    static const struct {
        size_t length;
        double ratio, mflop;
    } known[] = {{4096, 4, 93.1}, {4096, 3, 110.7}, {4096, 5, 82.5},  {4096, 6, 75.4},
                 {512, 4, 90.5},  {32768, 4, 93.5}, {131072, 4, 93.6}};
    struct ldar_config config;
    struct ldar_error error;
    assert_ok(ldar_config_preset("110m", &config, &error), &error);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        double mflop = ldar_forward_flops(&config, known[i].length, known[i].ratio) / 1e6;
        if (!(fabs(mflop / known[i].mflop - 1) <= 0.01)) {
            fail_msg("length %zu, ratio %g: %.2f MFLOP, known %.1f", known[i].length, known[i].ratio, mflop,
                     known[i].mflop);
        }
    }
}

/* A weight that is no number is refused when the model is loaded, and the message names its tensor. */
static void test_not_finite(void **state)
{
    (void)state;
    static const char *const names[] = {"embeddings.weight", "backbone.encoder.layers.0.mixer.fwd.A_log",
                                        "backbone.main_network.main_network.layers.1.mlp.fc2.weight"};
    static const float values[] = {NAN, INFINITY, -INFINITY};
    size_t bytes;
    char *file = file_read(golden_path("tiny.safetensors"), &bytes);
    uint64_t header;
    memcpy(&header, file, sizeof header);
    for (size_t i = 0; i < 3; i++) {
        char key[128];
        snprintf(key, sizeof key, "\"%s\"", names[i]);
        const char *offsets = strstr(strstr(file + sizeof header, key), "\"data_offsets\"");
        size_t begin;
        assert_int_equal(sscanf(offsets, "\"data_offsets\": [%zu", &begin), 1);
        char *at = file + sizeof header + header + begin;
        float good;
        memcpy(&good, at, sizeof good);
        memcpy(at, &values[i], sizeof good);
        char *path = file_write(file, bytes);
        memcpy(at, &good, sizeof good);
        struct ldar_error error;
        ldar_model *model = (ldar_model *)(void *)file;
        assert_int_equal(ldar_model_load(path, &model, &error), LDAR_ERROR_TENSOR);
        assert_null(model);
        assert_non_null(strstr(error.message, names[i]));
        unlink(path);
        free(path);
    }
    free(file);
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mirror),     cmocka_unit_test(test_mean),  cmocka_unit_test(test_boundaries),
        cmocka_unit_test(test_alike),      cmocka_unit_test(test_depth), cmocka_unit_test(test_flops),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests_name("model.network", tests, NULL, NULL);
}
