/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SKIP = 77 };

enum ldar_isa test_isa;
enum ldar_dtype test_dtype;

void fixture_start(int argc, char **argv)
{
    struct ldar_error error;
    if (argc != 2 || ldar_isa_parse(argv[1], &test_isa, &error)) {
        fprintf(stderr, "usage: %s ISA\n", argv[0]);
        exit(2);
    }
    if (!ldar_isa_runs(test_isa)) {
        printf("SKIP %s: not in this build or not on this machine\n", argv[1]);
        exit(SKIP);
    }
    test_dtype = test_isa == LDAR_ISA_AVX512BF16 || test_isa == LDAR_ISA_NEONBF16 ? LDAR_BF16 : LDAR_F32;
    printf("%s, LDAR_TEST_SEED=%llu\n", argv[1], (unsigned long long)random_seed());
}

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count + 1, bytes);
    assert_non_null(memory);
    return memory;
}

const char *golden_path(const char *name)
{
    static char path[4096];
    const char *source = getenv("LDAR_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/golden/%s", source ? source : ".", name);
    return path;
}

ldar_model *model_stored(const ldar_model *model, enum ldar_dtype dtype)
{
    ldar_model *loaded;
    struct ldar_error error;
    char *path = file_write("", 0);
    assert_ok(ldar_model_save(model, dtype, path, &error), &error);
    enum ldar_status status = ldar_model_load(path, &loaded, &error);
    unlink(path);
    free(path);
    assert_ok(status, &error);
    return loaded;
}

void assert_ok(enum ldar_status status, const struct ldar_error *error)
{
    if (status) {
        fail_msg("%s: %s", ldar_status_string(status), error->message);
    }
}

ldar_model *model_load(const char *name)
{
    char file[256];
    snprintf(file, sizeof file, "%s.safetensors", name);
    ldar_model *model;
    struct ldar_error error;
    assert_ok(ldar_model_load(golden_path(file), &model, &error), &error);
    return model;
}

ldar_context *context_with(const ldar_model *model, const struct ldar_context_options *options)
{
    ldar_context *context;
    struct ldar_error error;
    assert_ok(ldar_context_create(model, options, &context, &error), &error);
    return context;
}

struct ldar_context_options options_new(int threads)
{
    return (struct ldar_context_options){
        .size = sizeof(struct ldar_context_options), .threads = threads, .isa = test_isa, .dtype = test_dtype};
}

ldar_context *context_new(const ldar_model *model, int threads)
{
    const struct ldar_context_options options = options_new(threads);
    ldar_context *context = context_with(model, &options);
    assert_int_equal(ldar_context_isa(context), test_isa);
    assert_int_equal(ldar_context_dtype(context), test_dtype);
    return context;
}

static struct input input_new(size_t rows, size_t sequences, size_t shift)
{
    struct input input = {.memory = allocate(rows + shift, 1), .offsets = allocate(sequences + 1, sizeof(size_t))};
    input.batch = (struct ldar_batch){input.memory + shift, input.offsets, sequences};
    return input;
}

struct input input_random(struct random *random, const size_t *lengths, size_t sequences, size_t shift)
{
    size_t rows = 0;
    for (size_t s = 0; s < sequences; s++) {
        rows += lengths[s];
    }
    struct input input = input_new(rows, sequences, shift);
    for (size_t s = 0; s < sequences; s++) {
        input.offsets[s + 1] = input.offsets[s] + lengths[s];
    }
    for (size_t i = 0; i < rows; i++) {
        input.memory[shift + i] = (uint8_t)random_below(random, LDAR_SYMBOLS);
    }
    return input;
}

struct input input_one(struct random *random, size_t length)
{
    return input_random(random, &length, 1, 0);
}

struct input input_part(const struct ldar_batch *batch, size_t index, size_t shift)
{
    size_t first = batch->offsets[index], rows = batch->offsets[index + 1] - first;
    struct input input = input_new(rows, 1, shift);
    input.offsets[1] = rows;
    memcpy(input.memory + shift, batch->ids + first, rows);
    return input;
}

void input_free(struct input *input)
{
    free(input->memory);
    free(input->offsets);
}

size_t input_rows(const struct ldar_batch *batch)
{
    return batch->offsets[batch->sequences];
}

static float *floats_new(struct result *result, size_t slot, size_t count, size_t shift)
{
    float *memory = result->memory[slot] = allocate(count + shift, sizeof(float));
    for (size_t i = 0; i < count + shift; i++) {
        memory[i] = NAN;
    }
    return memory + shift;
}

struct result result_new(const ldar_model *model, const struct ldar_batch *batch, size_t shift)
{
    size_t rows = input_rows(batch), width = ldar_model_config(model)->stage[0].width;
    struct result result = {.out.size = sizeof result.out, .rows = rows, .sequences = batch->sequences, .width = width};
    result.out.logits = floats_new(&result, 0, rows * LDAR_SYMBOLS, shift);
    result.out.hidden = floats_new(&result, 1, rows * width, shift);
    result.out.encoder = floats_new(&result, 2, rows * width, shift);
    result.out.prob = floats_new(&result, 3, rows, shift);
    result.out.chunks = floats_new(&result, 4, rows * width, shift);
    result.out.mean = floats_new(&result, 7, batch->sequences * width, shift);
    result.memory[5] = allocate(rows + shift, 1);
    result.out.boundary = (uint8_t *)result.memory[5] + shift;
    result.out.chunk_offsets = result.memory[6] = allocate(batch->sequences + 1, sizeof(size_t));
    return result;
}

void result_free(struct result *result)
{
    for (size_t i = 0; i < 8; i++) {
        free(result->memory[i]);
    }
}

struct result forward(ldar_context *context, const ldar_model *model, const struct ldar_batch *batch,
                      const struct ldar_boundaries *boundaries)
{
    struct result result = result_new(model, batch, 0);
    struct ldar_error error;
    assert_ok(ldar_forward(context, batch, boundaries, &result.out, &error), &error);
    return result;
}

static void assert_same_floats(const char *what, const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(a + i, b + i, sizeof *a) != 0) {
            fail_msg("%s differ from element %zu of %zu: %.9g, %.9g", what, i, count, (double)a[i], (double)b[i]);
        }
    }
}

/* Rows first_a.. of a and first_b.. of b; chunks likewise. */
static void assert_same_rows(const struct result *a, size_t first_a, size_t chunk_a, const struct result *b,
                             size_t first_b, size_t chunk_b, size_t rows, size_t chunks)
{
    const size_t width = a->width;
    assert_same_floats("encoder", a->out.encoder + first_a * width, b->out.encoder + first_b * width, rows * width);
    assert_same_floats("prob", a->out.prob + first_a, b->out.prob + first_b, rows);
    assert_memory_equal(a->out.boundary + first_a, b->out.boundary + first_b, rows);
    assert_same_floats("chunks", a->out.chunks + chunk_a * width, b->out.chunks + chunk_b * width, chunks * width);
    assert_same_floats("hidden", a->out.hidden + first_a * width, b->out.hidden + first_b * width, rows * width);
    assert_same_floats("logits", a->out.logits + first_a * LDAR_SYMBOLS, b->out.logits + first_b * LDAR_SYMBOLS,
                       rows * LDAR_SYMBOLS);
}

void assert_same_result(const struct result *a, const struct result *b)
{
    assert_int_equal(a->rows, b->rows);
    assert_memory_equal(a->out.chunk_offsets, b->out.chunk_offsets, (a->sequences + 1) * sizeof(size_t));
    assert_same_rows(a, 0, 0, b, 0, 0, a->rows, a->out.chunk_offsets[a->sequences]);
    assert_same_floats("mean", a->out.mean, b->out.mean, a->sequences * a->width);
}

void assert_same_sequence(const struct result *a, const struct ldar_batch *in_a, size_t index_a,
                          const struct result *b, const struct ldar_batch *in_b, size_t index_b)
{
    const size_t *rows_a = in_a->offsets + index_a, *rows_b = in_b->offsets + index_b;
    const size_t *chunks_a = a->out.chunk_offsets + index_a, *chunks_b = b->out.chunk_offsets + index_b;
    assert_int_equal(rows_a[1] - rows_a[0], rows_b[1] - rows_b[0]);
    assert_int_equal(chunks_a[1] - chunks_a[0], chunks_b[1] - chunks_b[0]);
    assert_same_rows(a, rows_a[0], chunks_a[0], b, rows_b[0], chunks_b[0], rows_a[1] - rows_a[0],
                     chunks_a[1] - chunks_a[0]);
    assert_same_floats("mean", a->out.mean + index_a * a->width, b->out.mean + index_b * a->width, a->width);
}

/* bfloat16 keeps 1.7e-3 of a number on average; a dozen roundings in a row on the way through a model add to 6e-3. */
struct bounds bounds(void)
{
    return test_dtype == LDAR_BF16 ? (struct bounds){2e-2, 0.5, 2e-2} : (struct bounds){2e-5, 1e-3, 1e-5};
}

void assert_close_floats(const char *what, const float *got, const float *expected, size_t count)
{
    assert_close_within(what, got, expected, count, bounds());
}

void assert_close_within(const char *what, const float *got, const float *expected, size_t count, struct bounds bounds)
{
    double error = 0, norm = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)got[i] - expected[i]);
        error += difference * difference;
        norm += (double)expected[i] * expected[i];
        worst = fmax(worst, difference);
    }
    double l2 = sqrt(error / norm), peak = worst / sqrt(norm / (double)count);
    if (count > 0 && !(l2 <= bounds.l2 && peak <= bounds.peak)) {
        fail_msg("%s: relative L2 %.2e (at most %g), max/rms %.2e (at most %g)", what, l2, bounds.l2, peak,
                 bounds.peak);
    }
}

void assert_close_prob(const float *got, const float *expected, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabs((double)got[i] - expected[i]) <= bounds().prob)) {
            fail_msg("prob %zu: %.9g, expected %.9g", i, (double)got[i], (double)expected[i]);
        }
    }
}

char *file_read(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) {
        fail_msg("cannot read %s", path);
    }
    *bytes = (size_t)ftell(file);
    rewind(file);
    char *content = allocate(*bytes, 1);
    assert_int_equal(fread(content, 1, *bytes, file), *bytes);
    fclose(file);
    return content;
}

char *file_write(const char *bytes, size_t count)
{
    char *name = strdup("ldar-test-XXXXXX");
    assert_non_null(name);
    int descriptor = mkstemp(name);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return name;
}
