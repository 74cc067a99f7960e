/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences of many tiles and blocks of queries. */
#include "fixture.h"

#include "model/parameters.h"
#include "oracle/oracle.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The scalar kernels stand for the truth here, and are tested where they are fast enough. */
static size_t length_for(size_t vector, size_t scalar)
{
    return test_isa == LDAR_ISA_SCALAR ? scalar : vector;
}

static void check_threads(const char *name, size_t length)
{
    static const int threads[] = {2, 3, 7};
    struct random random = random_start(random_seed());
    ldar_model *model = model_load(name);
    /* The neighbours put the long one's first token at no round place. */
    struct input input = input_random(&random, (const size_t[]){37, length, 5}, 3, 0);
    ldar_context *context = context_new(model, 1);
    struct result expected = forward(context, model, &input.batch, NULL);
    ldar_context_destroy(context);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        context = context_new(model, threads[i]);
        struct result result = forward(context, model, &input.batch, NULL);
        assert_same_result(&result, &expected);
        result_free(&result);
        ldar_context_destroy(context);
    }
    context = context_new(model, 2);
    struct input part = input_part(&input.batch, 1, 0);
    struct result alone = forward(context, model, &part.batch, NULL);
    assert_same_sequence(&alone, &part.batch, 0, &expected, &input.batch, 1);
    result_free(&alone);
    input_free(&part);
    ldar_context_destroy(context);
    result_free(&expected);
    input_free(&input);
    ldar_model_destroy(model);
}

static void test_scan_threads(void **state)
{
    (void)state;
    check_threads("tiny", 17000);
}

static void test_attention_threads(void **state)
{
    (void)state;
    check_threads("shapes/long-window", length_for(5000, 2500));
}

/* Against the scalar kernels and three loops for every matrix product, on the same boundaries. */
static void check_reference(const char *name, size_t length)
{
    struct random random = random_start(random_seed());
    ldar_model *model = model_load(name);
    struct input input = input_one(&random, length);
    ldar_context *plain = context_with(
        model, &(struct ldar_context_options){.size = sizeof(struct ldar_context_options), .threads = 2,
                                              .isa = LDAR_ISA_SCALAR, .gemm = LDAR_GEMM_REFERENCE});
    struct result expected = forward(plain, model, &input.batch, NULL);
    ldar_context_destroy(plain);

    ldar_context *context = context_new(model, 2);
    const struct ldar_boundaries same = {.size = sizeof same, .forced = expected.out.boundary};
    struct result result = forward(context, model, &input.batch, &same);
    const size_t chunks = expected.out.chunk_offsets[1];
    assert_int_equal(result.out.chunk_offsets[1], chunks);
    assert_close_prob(result.out.prob, expected.out.prob, result.rows);
    assert_close_floats("encoder", result.out.encoder, expected.out.encoder, result.rows * result.width);
    assert_close_floats("chunks", result.out.chunks, expected.out.chunks, chunks * result.width);
    assert_close_floats("hidden", result.out.hidden, expected.out.hidden, result.rows * result.width);
    assert_close_floats("logits", result.out.logits, expected.out.logits, result.rows * LDAR_SYMBOLS);
    result_free(&result);
    ldar_context_destroy(context);
    result_free(&expected);
    input_free(&input);
    ldar_model_destroy(model);
}

static void test_scan_reference(void **state)
{
    (void)state;
    check_reference("tiny", length_for(12000, 4000));
}

static void test_attention_reference(void **state)
{
    (void)state;
    check_reference("shapes/long-window", length_for(3000, 1500));
}

/* ---- a long memory ---- */

/*
 * What one tile of the scan hands to the next must not fade before it is looked at. A model of one scanning layer is
 * given the decay exp(A_log) = 0.0009, at which a token is remembered for 10,000 others and more, and compared with the
 * textbook's layer, which knows no tiles.
 */
static ldar_model *model_with_memory(const char *name)
{
    size_t bytes;
    char *file = file_read(golden_path(name), &bytes);
    uint64_t header;
    memcpy(&header, file, sizeof header);
    static const char *const sides[] = {"fwd", "bwd"};
    for (size_t i = 0; i < 2; i++) {
        char key[64];
        size_t begin, end;
        snprintf(key, sizeof key, "\"backbone.encoder.layers.0.mixer.%s.A_log\"", sides[i]);
        const char *offsets = strstr(strstr(file + sizeof header, key), "\"data_offsets\"");
        assert_int_equal(sscanf(offsets, "\"data_offsets\": [%zu, %zu]", &begin, &end), 2);
        const float slow = -7;
        for (size_t at = begin; at < end; at += sizeof slow) {
            memcpy(file + sizeof header + header + at, &slow, sizeof slow);
        }
    }
    char *path = file_write(file, bytes);
    ldar_model *model;
    struct ldar_error error;
    enum ldar_status status = ldar_model_load(path, &model, &error);
    unlink(path);
    assert_ok(status, &error);
    free(path);
    free(file);
    return model;
}

static double *doubles(size_t count)
{
    double *values = calloc(count, sizeof *values);
    assert_non_null(values);
    return values;
}

/* The values as floats; frees the doubles. */
static float *rounded(double *values, size_t count)
{
    float *floats = calloc(count, sizeof *floats);
    assert_non_null(floats);
    for (size_t i = 0; i < count; i++) {
        floats[i] = (float)values[i];
    }
    free(values);
    return floats;
}

/* y (length, E) of one direction in the order of the sequence, from the rows [z, x, B, C, dt] of in_proj. */
static float *scanned(const struct ldar_stage_config *config, const struct ldar_mamba_direction *own, const float *row,
                      size_t length, int reverse)
{
    const size_t inner = (size_t)config->expand * config->width, state = config->state, heads = inner / LDAR_HEAD;
    const size_t channels = inner + 2 * state, width = inner + channels + heads, taps = config->conv;
    float *weight = calloc(LDAR_CONV_TAPS * channels, sizeof *weight), *rate = calloc(heads, sizeof *rate);
    for (size_t i = 0; i < taps * channels; i++) {
        weight[(LDAR_CONV_TAPS - taps + i % taps) * channels + i / taps] = own->conv_weight[i];
    }
    for (size_t h = 0; h < heads; h++) {
        rate[h] = -expf(own->a_log[h]);
    }
    const float *first = row + (reverse ? (length - 1) * width : 0) + inner;
    const ptrdiff_t stride = reverse ? -(ptrdiff_t)width : (ptrdiff_t)width;
    const struct ldar_ssd_args args = {
        .x = first, .b = first + inner, .c = first + inner + state, .dt = first + channels,
        .conv_weight_x = weight, .conv_weight_b = weight + inner, .conv_weight_c = weight + inner + state,
        .conv_bias_x = own->conv_bias, .conv_bias_b = own->conv_bias + inner,
        .conv_bias_c = own->conv_bias + inner + state,
        .dt_bias = own->dt_bias, .a = rate, .d = own->d, .length = length, .heads = heads, .state = state,
        .x_stride = stride, .bc_stride = stride, .dt_stride = stride, .conv_stride = (ptrdiff_t)channels};
    double *y = doubles(length * inner);
    oracle_ssd_scan(y, &args);
    for (size_t i = 0; reverse && i < length / 2; i++) {
        for (size_t c = 0; c < inner; c++) {
            double value = y[i * inner + c];
            y[i * inner + c] = y[(length - 1 - i) * inner + c];
            y[(length - 1 - i) * inner + c] = value;
        }
    }
    free(rate);
    free(weight);
    return rounded(y, length * inner);
}

/* The output (length, D) of an encoder of one BiMamba-2 layer. */
static float *encoded(const struct ldar_parameters *parameters, const uint8_t *ids, size_t length)
{
    const struct ldar_stage_config *config = &parameters->config.stage[0];
    const struct ldar_stack *stack = &parameters->stage[0].encoder;
    const struct ldar_bimamba *mixer = &stack->layer[0].bimamba;
    const size_t width = config->width, inner = (size_t)config->expand * width, rows = mixer->in_proj.rows;
    double *embedded = doubles(length * width), *normed = doubles(length * width), *projected = doubles(length * rows);
    oracle_embed(embedded, parameters->embeddings, ids, length, width, (ptrdiff_t)width);
    float *x = rounded(embedded, length * width);
    oracle_rms_norm(normed, x, stack->layer[0].norm1, length, width, 1e-5f, (ptrdiff_t)width);
    float *u = rounded(normed, length * width);
    oracle_gemm(projected, u, mixer->in_proj.data, length, rows, width, (ptrdiff_t)width, (ptrdiff_t)width);
    float *row = rounded(projected, length * rows);
    float *y[2] = {scanned(config, &mixer->direction[0], row, length, 0),
                   scanned(config, &mixer->direction[1], row, length, 1)};
    const struct ldar_gated_norm_args gate = {
        .z = row, .y = {y[0], y[1]}, .weight = {mixer->direction[0].norm, mixer->direction[1].norm}, .eps = 1e-5f,
        .rows = length, .width = inner, .z_stride = (ptrdiff_t)rows, .y_stride = {(ptrdiff_t)inner, (ptrdiff_t)inner}};
    double *gated = doubles(length * inner), *mixed = doubles(length * width), *out = doubles(length * width);
    oracle_gated_norm(gated, &gate);
    float *v = rounded(gated, length * inner);
    oracle_gemm(mixed, v, mixer->out_proj.data, length, width, inner, (ptrdiff_t)inner, (ptrdiff_t)inner);
    for (size_t i = 0; i < length * width; i++) {
        mixed[i] += x[i];
    }
    float *residual = rounded(mixed, length * width);
    oracle_rms_norm(out, residual, stack->norm, length, width, 1e-5f, (ptrdiff_t)width);
    float *arrays[] = {x, u, row, y[0], y[1], v, residual};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        free(arrays[i]);
    }
    return rounded(out, length * width);
}

static void test_memory(void **state)
{
    (void)state;
    static const size_t lengths[] = {1000, 16385, 33000};
    struct random random = random_start(random_seed());
    ldar_model *model = model_with_memory("shapes/two-stages.safetensors");
    ldar_context *context = context_new(model, 3);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct input input = input_one(&random, lengths[i]);
        struct result result = result_new(model, &input.batch, 0);
        const struct ldar_outputs encoder = {.size = sizeof encoder, .encoder = result.out.encoder};
        struct ldar_error error;
        assert_ok(ldar_forward(context, &input.batch, NULL, &encoder, &error), &error);
        float *expected = encoded(ldar_model_parameters(model), input.batch.ids, lengths[i]);
        assert_close_floats("encoder", result.out.encoder, expected, lengths[i] * result.width);
        free(expected);
        result_free(&result);
        input_free(&input);
    }
    ldar_context_destroy(context);
    ldar_model_destroy(model);
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_threads),
        cmocka_unit_test(test_attention_threads),
        cmocka_unit_test(test_scan_reference),
        cmocka_unit_test(test_attention_reference),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("model.long", tests, NULL, NULL);
}
