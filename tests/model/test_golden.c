/* SPDX-License-Identifier: Apache-2.0 */
/* Every forward golden file, with every provider of GEMM. */
#include "fixture.h"

#include <glob.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A golden file: a safetensors file of ours, read without the library's help. */
struct golden {
    char *file;
    const char *data; /* after the header */
};

static struct golden golden_read(const char *path)
{
    size_t bytes;
    struct golden golden = {.file = file_read(path, &bytes)};
    uint64_t header;
    memcpy(&header, golden.file, sizeof header);
    assert_in_range(header, 2, bytes - sizeof header);
    golden.data = golden.file + sizeof header + header;
    return golden;
}

/* A copy of the tensor's bytes, or NULL when there is none. The search ends at the zero bytes of the first ids. */
static void *tensor_copy(const struct golden *golden, const char *name, size_t *bytes)
{
    char key[64];
    snprintf(key, sizeof key, "\"%s\": {", name);
    const char *entry = strstr(golden->file + sizeof(uint64_t), key);
    size_t begin, end;
    if (!entry || sscanf(strstr(entry, "\"data_offsets\""), "\"data_offsets\": [%zu, %zu]", &begin, &end) != 2) {
        return NULL;
    }
    *bytes = end - begin;
    void *copy = malloc(*bytes + 1);
    assert_non_null(copy);
    return memcpy(copy, golden->data + begin, *bytes);
}

static void check_floats(const struct golden *golden, const char *name, const float *got, size_t count)
{
    size_t bytes;
    float *expected = tensor_copy(golden, name, &bytes);
    if (expected) {
        assert_int_equal(bytes, count * sizeof(float));
        assert_close_floats(name, got, expected, count);
    }
    free(expected);
}

static struct input golden_input(const struct golden *golden)
{
    size_t bytes;
    int64_t *symbols = tensor_copy(golden, "ids", &bytes);
    assert_non_null(symbols);
    struct random none = random_start(0);
    struct input input = input_one(&none, bytes / sizeof *symbols);
    for (size_t i = 0; i < bytes / sizeof *symbols; i++) {
        input.memory[i] = (uint8_t)symbols[i];
    }
    free(symbols);
    return input;
}

/* Decisions of all files together: a short one is a single close call from failing alone. */
struct tally {
    size_t rows, boundaries, symbols; /* all; and those that agree */
};

/* A boundary that the type cannot tell from none may be one or not. */
static void check_boundaries(const struct result *result, const uint8_t *boundary, const float *prob,
                             struct tally *tally)
{
    for (size_t t = 0; t < result->rows; t++) {
        const int same = result->out.boundary[t] == boundary[t];
        tally->rows++;
        tally->boundaries += (size_t)same;
        if (!same && (test_dtype == LDAR_F32 || !(fabs(prob[t] - 0.5) <= bounds().prob))) {
            fail_msg("boundary %zu of %zu is %d where the probability is %.9g", t, result->rows,
                     result->out.boundary[t], (double)prob[t]);
        }
    }
}

static size_t likeliest(const float *logits)
{
    size_t best = 0;
    for (size_t symbol = 1; symbol < LDAR_SYMBOLS; symbol++) {
        best = logits[symbol] > logits[best] ? symbol : best;
    }
    return best;
}

static void check_symbols(const struct golden *golden, const struct result *result, struct tally *tally)
{
    size_t bytes;
    float *logits = tensor_copy(golden, "logits", &bytes);
    assert_int_equal(bytes, result->rows * LDAR_SYMBOLS * sizeof(float));
    for (size_t t = 0; t < result->rows; t++) {
        tally->symbols += likeliest(result->out.logits + t * LDAR_SYMBOLS) == likeliest(logits + t * LDAR_SYMBOLS);
    }
    free(logits);
}

/*
 * With bfloat16 the values are compared on the file's own boundaries: one that falls otherwise makes another sequence.
 * Those of further stages are learned in any case.
 */
static void check_file(const char *path, ldar_context *context, const ldar_model *model, struct tally *tally)
{
    struct golden golden = golden_read(path);
    struct input input = golden_input(&golden);
    struct result result = forward(context, model, &input.batch, NULL);
    const size_t rows = result.rows;

    size_t bytes;
    float *prob = tensor_copy(&golden, "prob", &bytes);
    assert_int_equal(bytes, rows * sizeof(float));
    assert_close_prob(result.out.prob, prob, rows);
    uint8_t *boundary = tensor_copy(&golden, "boundary", &bytes);
    assert_int_equal(bytes, rows);
    check_boundaries(&result, boundary, prob, tally);
    if (test_dtype == LDAR_BF16) {
        const struct ldar_boundaries same = {.size = sizeof same, .forced = boundary};
        result_free(&result);
        result = forward(context, model, &input.batch, &same);
    }
    const size_t chunks = result.out.chunk_offsets[1];
    check_symbols(&golden, &result, tally);
    check_floats(&golden, "encoder", result.out.encoder, rows * result.width);
    check_floats(&golden, "chunks", result.out.chunks, chunks * result.width);
    check_floats(&golden, "hidden", result.out.hidden, rows * result.width);
    check_floats(&golden, "logits", result.out.logits, rows * LDAR_SYMBOLS);

    free(prob);
    free(boundary);
    result_free(&result);
    input_free(&input);
    free(golden.file);
}

/* Checks all golden files of the model at `path` and returns their number. */
static size_t check_model(const char *path, enum ldar_gemm gemm, struct tally *tally)
{
    ldar_model *model;
    struct ldar_error error;
    assert_ok(ldar_model_load(path, &model, &error), &error);
    struct ldar_context_options options = options_new(2);
    options.gemm = gemm;
    ldar_context *context = context_with(model, &options);
    assert_int_equal(ldar_context_isa(context), test_isa);
    assert_int_equal(ldar_context_dtype(context), test_dtype);

    char pattern[4096];
    int stem = (int)(strlen(path) - strlen(".safetensors"));
    snprintf(pattern, sizeof pattern, "%.*s-forward-L*.safetensors", stem, path);
    glob_t files;
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    size_t count = files.gl_pathc;
    for (size_t i = 0; i < count; i++) {
        print_message("%s %s\n", ldar_gemm_name(gemm), strrchr(files.gl_pathv[i], '/') + 1);
        check_file(files.gl_pathv[i], context, model, tally);
    }
    globfree(&files);
    ldar_context_destroy(context);
    ldar_model_destroy(model);
    return count;
}

static void check_models(const char *pattern, enum ldar_gemm gemm, struct tally *tally)
{
    glob_t files;
    assert_int_equal(glob(golden_path(pattern), 0, NULL, &files), 0);
    size_t checked = 0;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        if (!strstr(files.gl_pathv[i], "-forward-L") && !strstr(files.gl_pathv[i], "-train.")) {
            checked += check_model(files.gl_pathv[i], gemm, tally);
        }
    }
    assert_true(checked > 0);
    globfree(&files);
}

/* Whether that is the provider which auto takes here, so that test_auto has been through it. */
static bool auto_takes(enum ldar_gemm gemm)
{
    ldar_model *model = model_load("tiny");
    struct ldar_context_options options = options_new(1);
    ldar_context *chosen = context_with(model, &options);
    options.gemm = gemm;
    ldar_context *named = context_with(model, &options);
    const bool same = strcmp(ldar_context_gemm(chosen), ldar_context_gemm(named)) == 0;
    ldar_context_destroy(named);
    ldar_context_destroy(chosen);
    ldar_model_destroy(model);
    return same;
}

static void check_provider(enum ldar_gemm gemm)
{
    if (!ldar_gemm_built(gemm) || (gemm > LDAR_GEMM_PACKED && test_dtype == LDAR_BF16)
        || (gemm != LDAR_GEMM_AUTO && auto_takes(gemm))) {
        skip();
    }
    struct tally tally = {0};
    check_models("*.safetensors", gemm, &tally);
    check_models("shapes/*.safetensors", gemm, &tally);
    print_message("of %zu positions %zu boundaries and %zu symbols agree\n", tally.rows, tally.boundaries,
                  tally.symbols);
    assert_true((double)tally.boundaries >= 0.995 * (double)tally.rows);
    assert_true((double)tally.symbols >= 0.995 * (double)tally.rows);
}

static void test_auto(void **state)
{
    (void)state;
    check_provider(LDAR_GEMM_AUTO);
}

static void test_packed(void **state)
{
    (void)state;
    check_provider(LDAR_GEMM_PACKED);
}

static void test_onednn(void **state)
{
    (void)state;
    check_provider(LDAR_GEMM_ONEDNN);
}

static void test_cblas(void **state)
{
    (void)state;
    check_provider(LDAR_GEMM_CBLAS);
}

static void test_reference(void **state)
{
    (void)state;
    check_provider(LDAR_GEMM_REFERENCE);
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto),  cmocka_unit_test(test_packed),    cmocka_unit_test(test_onednn),
        cmocka_unit_test(test_cblas), cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests_name("model.golden", tests, NULL, NULL);
}
