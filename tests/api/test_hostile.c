/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions in the hands of a caller who gets it wrong: an error, in words, and never a crash. */
#include <ldar/ldar.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LENGTH = 12, WIDTH = 64 };

#define assert_status(expected, call)                                                                                  \
    do {                                                                                                               \
        struct ldar_error error = {0};                                                                                 \
        assert_int_equal(call, expected);                                                                              \
        assert_int_equal(error.status, expected);                                                                      \
        assert_true(strlen(error.message) > 0);                                                                        \
        assert_null(strpbrk(error.message, "\r\n"));                                                                   \
    } while (0)

#define assert_refused(call) assert_status(LDAR_ERROR_ARGUMENT, call)

static ldar_model *model;
static ldar_context *context;
static uint8_t ids[LENGTH];
static float logits[LENGTH * LDAR_SYMBOLS], hidden[LENGTH * WIDTH];
static const size_t offsets[] = {0, 5, LENGTH};
static const struct ldar_batch batch = {ids, offsets, 2};
static const struct ldar_outputs outputs = {.size = sizeof outputs, .logits = logits, .hidden = hidden};

static int set_up(void **state)
{
    (void)state;
    struct ldar_config config;
    return ldar_config_preset("2m", &config, NULL) || ldar_model_create(&config, 1, &model, NULL)
           || ldar_context_create(model, NULL, &context, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    ldar_context_destroy(context);
    ldar_model_destroy(model);
    return 0;
}

/* After a refusal the context works as before. */
static void assert_works(void)
{
    static float before[LENGTH * WIDTH];
    static int known;
    assert_int_equal(ldar_forward(context, &batch, NULL, &outputs, NULL), LDAR_OK);
    if (known++) {
        assert_memory_equal(hidden, before, sizeof before);
    }
    memcpy(before, hidden, sizeof before);
}

static void test_pointers(void **state)
{
    (void)state;
    assert_works();
    assert_refused(ldar_forward(NULL, &batch, NULL, &outputs, &error));
    assert_refused(ldar_forward(context, NULL, NULL, &outputs, &error));
    assert_refused(ldar_forward(context, &batch, NULL, NULL, &error));
    assert_refused(ldar_forward(context, &(struct ldar_batch){NULL, offsets, 2}, NULL, &outputs, &error));
    assert_refused(ldar_forward(context, &(struct ldar_batch){ids, NULL, 2}, NULL, &outputs, &error));
    assert_int_equal(ldar_forward(NULL, NULL, NULL, NULL, NULL), LDAR_ERROR_ARGUMENT);
    ldar_context *none = context;
    assert_refused(ldar_context_create(NULL, NULL, &none, &error));
    assert_null(none);
    assert_refused(ldar_context_create(model, NULL, NULL, &error));
    ldar_context_destroy(NULL);
    ldar_model_destroy(NULL);
    assert_works();
}

static void test_offsets(void **state)
{
    (void)state;
    assert_works();
    static const size_t descending[] = {0, 7, 5, LENGTH}, late[] = {1, 5, LENGTH}, huge[] = {0, SIZE_MAX},
                        large[] = {0, SIZE_MAX / 1000, SIZE_MAX / 500};
    assert_refused(ldar_forward(context, &(struct ldar_batch){ids, descending, 3}, NULL, &outputs, &error));
    assert_refused(ldar_forward(context, &(struct ldar_batch){ids, late, 2}, NULL, &outputs, &error));
    assert_refused(ldar_forward(context, &(struct ldar_batch){ids, huge, 1}, NULL, &outputs, &error));
    assert_refused(ldar_forward(context, &(struct ldar_batch){ids, large, 2}, NULL, &outputs, &error));
    assert_int_equal(ldar_context_bytes(context, SIZE_MAX), SIZE_MAX);
    assert_works();
}

/* No sequence, and sequences without nucleotides, are legal and touch no output. */
static void test_nothing(void **state)
{
    (void)state;
    static const size_t none[4] = {0};
    size_t chunk_offsets[4] = {9, 9, 9, 9};
    const struct ldar_outputs all = {.size = sizeof all, .hidden = hidden, .chunk_offsets = chunk_offsets};
    memset(hidden, 0x5a, sizeof hidden);
    for (size_t sequences = 0; sequences < 4; sequences++) {
        assert_int_equal(ldar_forward(context, &(struct ldar_batch){ids, none, sequences}, NULL, &all, NULL), LDAR_OK);
        assert_int_equal(chunk_offsets[sequences], 0);
    }
    for (size_t i = 0; i < sizeof hidden; i++) {
        assert_int_equal(((const uint8_t *)hidden)[i], 0x5a);
    }
    assert_int_equal(ldar_forward(context, &(struct ldar_batch){NULL, none, 3}, NULL, &all, NULL), LDAR_OK);
}

static void test_symbols(void **state)
{
    (void)state;
    assert_works();
    for (unsigned symbol = LDAR_SYMBOLS; symbol < 256; symbol += 31) {
        ids[LENGTH - 1] = (uint8_t)symbol;
        assert_refused(ldar_forward(context, &batch, NULL, &outputs, &error));
        ids[LENGTH - 1] = 0;
    }
    assert_works();
}

static void test_sizes(void **state)
{
    (void)state;
    assert_works();
    struct ldar_outputs out = outputs;
    out.size = 0;
    assert_refused(ldar_forward(context, &batch, NULL, &out, &error));
    out.size = sizeof out + sizeof(size_t);
    assert_refused(ldar_forward(context, &batch, NULL, &out, &error));
    assert_refused(ldar_forward(context, &batch, &(struct ldar_boundaries){0, 4, NULL}, &outputs, &error));
    ldar_context *none = context;
    const struct ldar_context_options options = {.size = 3};
    assert_refused(ldar_context_create(model, &options, &none, &error));
    assert_null(none);
    assert_works();
}

static void test_options(void **state)
{
    (void)state;
    static const struct ldar_context_options wrong[] = {
        {.size = sizeof wrong[0], .threads = -1},
        {.size = sizeof wrong[0], .threads = INT32_MAX},
        {.size = sizeof wrong[0], .isa = (enum ldar_isa)99},
        {.size = sizeof wrong[0], .gemm = (enum ldar_gemm)99},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ldar_context *none = context;
        assert_refused(ldar_context_create(model, &wrong[i], &none, &error));
        assert_null(none);
    }
    const enum ldar_isa foreign = ldar_isa_runs(LDAR_ISA_NEON) ? LDAR_ISA_AVX2 : LDAR_ISA_NEON;
    ldar_context *none = context;
    const struct ldar_context_options other = {.size = sizeof other, .isa = foreign};
    assert_status(LDAR_ERROR_UNSUPPORTED, ldar_context_create(model, &other, &none, &error));
    assert_null(none);
}

/* LDAR_ISA caps what a context without an instruction set of its own gets, and is never silently replaced. */
static void test_environment(void **state)
{
    (void)state;
    enum ldar_isa isa;
    assert_int_equal(setenv("LDAR_ISA", "scalar", 1), 0);
    assert_int_equal(ldar_isa_choose(LDAR_ISA_AUTO, &isa, NULL), LDAR_OK);
    assert_int_equal(isa, LDAR_ISA_SCALAR);
    ldar_context *capped;
    assert_int_equal(ldar_context_create(model, NULL, &capped, NULL), LDAR_OK);
    assert_int_equal(ldar_context_isa(capped), LDAR_ISA_SCALAR);
    ldar_context_destroy(capped);
    assert_int_equal(setenv("LDAR_ISA", "AVX2", 1), 0);
    assert_refused(ldar_isa_choose(LDAR_ISA_AUTO, &isa, &error));
    assert_refused(ldar_context_create(model, NULL, &capped, &error));
    assert_int_equal(setenv("LDAR_ISA", ldar_isa_runs(LDAR_ISA_NEON) ? "avx2" : "neon", 1), 0);
    assert_status(LDAR_ERROR_UNSUPPORTED, ldar_isa_choose(LDAR_ISA_AUTO, &isa, &error));
    assert_int_equal(unsetenv("LDAR_ISA"), 0);
}

static void test_names(void **state)
{
    (void)state;
    enum ldar_isa isa;
    enum ldar_gemm gemm;
    struct ldar_config config;
    static const char *const wrong[] = {"", "AVX2", "avx2 ", "fma", "onednn2"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_refused(ldar_isa_parse(wrong[i], &isa, &error));
        assert_refused(ldar_gemm_parse(wrong[i], &gemm, &error));
        assert_refused(ldar_config_preset(wrong[i], &config, &error));
    }
    for (int i = 0; i <= LDAR_ISA_NEON; i++) {
        assert_int_equal(ldar_isa_parse(ldar_isa_name((enum ldar_isa)i), &isa, NULL), LDAR_OK);
        assert_int_equal(isa, i);
    }
    for (int i = 0; i <= LDAR_GEMM_REFERENCE; i++) {
        assert_int_equal(ldar_gemm_parse(ldar_gemm_name((enum ldar_gemm)i), &gemm, NULL), LDAR_OK);
        assert_int_equal(gemm, i);
    }
    assert_null(ldar_isa_name((enum ldar_isa)99));
    assert_null(ldar_gemm_name((enum ldar_gemm)99));
    assert_non_null(ldar_status_string((enum ldar_status)99));
    assert_true(ldar_gemm_built(LDAR_GEMM_PACKED) && ldar_gemm_built(LDAR_GEMM_REFERENCE));
    assert_false(ldar_gemm_built((enum ldar_gemm)99));
    assert_false(ldar_isa_runs((enum ldar_isa)99));
}

static void assert_config_refused(struct ldar_config config)
{
    ldar_model *none = model;
    assert_status(LDAR_ERROR_CONFIG, ldar_model_create(&config, 1, &none, &error));
    assert_null(none);
}

static void test_configurations(void **state)
{
    (void)state;
    struct ldar_config good;
    assert_int_equal(ldar_config_preset("2m", &good, NULL), LDAR_OK);
    static const struct {
        size_t offset; /* of a number of the outermost stage */
        uint32_t value;
    } wrong[] = {
        {offsetof(struct ldar_stage_config, width), 0},
        {offsetof(struct ldar_stage_config, width), UINT32_MAX},
        {offsetof(struct ldar_stage_config, width), 192}, /* wider than the stage inside */
        {offsetof(struct ldar_stage_config, intermediate), UINT32_MAX},
        {offsetof(struct ldar_stage_config, attention_heads), 0},
        {offsetof(struct ldar_stage_config, attention_heads), 3},
        {offsetof(struct ldar_stage_config, rotary), 3},
        {offsetof(struct ldar_stage_config, rotary), 34},
        {offsetof(struct ldar_stage_config, window), (uint32_t)-2},
        {offsetof(struct ldar_stage_config, state), 0},
        {offsetof(struct ldar_stage_config, state), 1025},
        {offsetof(struct ldar_stage_config, conv), 0},
        {offsetof(struct ldar_stage_config, conv), 5},
        {offsetof(struct ldar_stage_config, expand), 0},
        {offsetof(struct ldar_stage_config, expand), UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ldar_config bad = good;
        memcpy((char *)&bad.stage[0] + wrong[i].offset, &wrong[i].value, sizeof wrong[i].value);
        assert_config_refused(bad);
    }
    static const char *const layouts[] = {"", "m", "3m", "x1", "m257", "m200t57", "m3t1 ", "m99999999999999999999"};
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        struct ldar_config bad = good;
        strcpy(bad.stage[1].encoder, layouts[i]);
        assert_config_refused(bad);
    }
    struct ldar_config endless = good;
    memset(endless.stage[0].encoder, 'm', sizeof endless.stage[0].encoder); /* no NUL */
    assert_config_refused(endless);
    struct ldar_config shallow = good, deep = good;
    shallow.stages = 1;
    deep.stages = LDAR_MAX_STAGES + 1;
    assert_config_refused(shallow);
    assert_config_refused(deep);
    ldar_model *none = model;
    assert_refused(ldar_model_create(NULL, 1, &none, &error));
    assert_null(none);
}

/* Heads of 512 columns: more than the attention takes. Whoever notices says so. */
static void test_wide_heads(void **state)
{
    (void)state;
    struct ldar_config config;
    assert_int_equal(ldar_config_preset("2m", &config, NULL), LDAR_OK);
    config.stage[0].width = config.stage[1].width = 512;
    config.stage[0].attention_heads = 1;
    ldar_model *wide;
    ldar_context *none = NULL;
    struct ldar_error error = {0};
    enum ldar_status status = ldar_model_create(&config, 1, &wide, &error);
    if (!status) {
        status = ldar_context_create(wide, NULL, &none, &error);
    }
    ldar_context_destroy(none);
    ldar_model_destroy(wide);
    assert_true(status == LDAR_ERROR_CONFIG || status == LDAR_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "512"));
}

/* ---- heads and examples ---- */

static ldar_model *headed(enum ldar_head_kind kind, size_t count)
{
    static const char *const class_names[] = {"a", "b", "c"};
    const struct ldar_head head = {.kind = kind, .outputs = count, .names = class_names};
    ldar_model *out;
    assert_int_equal(ldar_model_with_head(model, &head, 1, &out, NULL), LDAR_OK);
    return out;
}

static ldar_trainer *example_trainer(const ldar_model *own)
{
    const struct ldar_trainer_options options = {.size = sizeof options, .examples = 1};
    ldar_trainer *trainer;
    assert_int_equal(ldar_trainer_create(own, &options, &trainer, NULL), LDAR_OK);
    return trainer;
}

static void test_example_options(void **state)
{
    (void)state;
    ldar_model *own = headed(LDAR_HEAD_CLASSES, 3);
    static const struct ldar_trainer_options wrong[] = {
        {.size = sizeof wrong[0], .examples = 2},
        {.size = sizeof wrong[0], .examples = -1},
        {.size = sizeof wrong[0], .last = 1},
        {.size = sizeof wrong[0], .examples = 1, .last = 14},
        {.size = sizeof wrong[0], .examples = 1, .last = SIZE_MAX},
        {.size = sizeof wrong[0], .examples = 1, .head_rate = -1},
        {.size = sizeof wrong[0], .examples = 1, .head_rate = INFINITY},
        {.size = sizeof wrong[0], .examples = 1, .head_rate = NAN},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ldar_trainer *none = (ldar_trainer *)(void *)own;
        assert_refused(ldar_trainer_create(own, &wrong[i], &none, &error));
        assert_null(none);
    }
    const struct ldar_trainer_options headless = {.size = sizeof headless, .examples = 1};
    ldar_trainer *none = (ldar_trainer *)(void *)own;
    assert_refused(ldar_trainer_create(model, &headless, &none, &error));
    assert_null(none);
    assert_int_equal(ldar_config_blocks(ldar_model_config(own)), 13);
    ldar_model_destroy(own);
}

/* Each is refused, says which sequence, and the step goes on as if it had not been. */
static void test_examples(void **state)
{
    (void)state;
    static const size_t hollow[] = {0, 5, 5, LENGTH}, none[] = {0, 0}, late[] = {1, 5};
    static const float classes[] = {0, 2, 1}, wrong[] = {3, -1, 0.5f, 1e10f, NAN, INFINITY};
    ldar_model *own = headed(LDAR_HEAD_CLASSES, 3), *single = headed(LDAR_HEAD_VALUE, 1);
    ldar_trainer *trainer = example_trainer(own), *value = example_trainer(single), *plain;
    struct ldar_example_loss loss;
    struct ldar_loss masked;
    struct ldar_step step;
    float scores[9];
    uint8_t labels[LENGTH] = {0};
    assert_refused(ldar_trainer_add_examples(trainer, &batch, classes, &loss, &error)); /* no step has begun */
    assert_int_equal(ldar_trainer_begin(trainer, 1, NULL, NULL, NULL), LDAR_OK);
    assert_int_equal(ldar_trainer_begin(value, 1, NULL, NULL, NULL), LDAR_OK);
    assert_refused(ldar_trainer_scores(trainer, &batch, scores, &error)); /* one has */
    assert_refused(ldar_trainer_add_examples(NULL, &batch, classes, &loss, &error));
    assert_refused(ldar_trainer_add_examples(trainer, NULL, classes, &loss, &error));
    assert_refused(ldar_trainer_add_examples(trainer, &batch, NULL, &loss, &error));
    assert_refused(ldar_trainer_add_examples(trainer, &batch, classes, NULL, &error));
    assert_refused(ldar_trainer_add(trainer, &batch, labels, NULL, &masked, &error));
    assert_refused(ldar_trainer_add_examples(trainer, &(struct ldar_batch){ids, none, 0}, classes, &loss, &error));
    assert_refused(ldar_trainer_add_examples(trainer, &(struct ldar_batch){ids, none, 1}, classes, &loss, &error));
    assert_refused(ldar_trainer_add_examples(trainer, &(struct ldar_batch){ids, late, 1}, classes, &loss, &error));
    struct ldar_error error;
    assert_int_equal(ldar_trainer_add_examples(trainer, &(struct ldar_batch){ids, hollow, 3}, classes, &loss, &error),
                     LDAR_ERROR_ARGUMENT);
    assert_string_equal(error.message, "sequence 1 of the batch is empty: it has no mean to score");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const float targets[] = {1, wrong[i]};
        assert_int_equal(ldar_trainer_add_examples(trainer, &batch, targets, &loss, &error), LDAR_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, "the target of sequence 1 of the batch is "));
        if (wrong[i] - wrong[i] != 0) { /* a value may be any finite number */
            assert_int_equal(ldar_trainer_add_examples(value, &batch, targets, &loss, &error), LDAR_ERROR_ARGUMENT);
            assert_non_null(strstr(error.message, "the target of sequence 1 of the batch is "));
        }
    }
    assert_int_equal(ldar_trainer_add_examples(value, &batch, (const float[]){-1e30f, 1e30f}, &loss, NULL), LDAR_OK);
    assert_int_equal(ldar_trainer_add_examples(trainer, &batch, classes, &loss, NULL), LDAR_OK);
    assert_refused(ldar_trainer_add_examples(trainer, &batch, classes, &loss, &error));
    assert_int_equal(ldar_trainer_step(trainer, 1e-3, &step, NULL), LDAR_OK);
    assert_false(step.skipped);
    assert_refused(ldar_trainer_scores(NULL, &batch, scores, &error));
    assert_refused(ldar_trainer_scores(trainer, NULL, scores, &error));
    assert_refused(ldar_trainer_scores(trainer, &batch, NULL, &error));
    assert_refused(ldar_trainer_scores(trainer, &(struct ldar_batch){ids, hollow, 3}, scores, &error));
    assert_int_equal(ldar_trainer_scores(trainer, &batch, scores, NULL), LDAR_OK);

    const struct ldar_trainer_options masking = {.size = sizeof masking};
    assert_int_equal(ldar_trainer_create(model, &masking, &plain, NULL), LDAR_OK);
    assert_refused(ldar_trainer_scores(plain, &batch, scores, &error)); /* no head */
    assert_int_equal(ldar_trainer_begin(plain, 1, NULL, NULL, NULL), LDAR_OK);
    assert_refused(ldar_trainer_add_examples(plain, &batch, classes, &loss, &error));
    ldar_trainer_destroy(plain);
    ldar_trainer_destroy(value);
    ldar_trainer_destroy(trainer);
    ldar_model_destroy(single);
    ldar_model_destroy(own);
}

/* More sequences than the memory has room for the means of: an error before anything is held. */
static void test_example_memory(void **state)
{
    (void)state;
    ldar_model *own = headed(LDAR_HEAD_CLASSES, 3);
    ldar_trainer *trainer = example_trainer(own);
    struct ldar_profile profile;
    struct ldar_example_loss loss;
    ldar_trainer_profile(trainer, &profile);
    ldar_trainer_destroy(trainer);
    const struct ldar_trainer_options options = {
        .size = sizeof options,
        .context = {.size = sizeof options.context, .threads = 1, .max_bytes = profile.peak_bytes + (128 << 20)},
        .examples = 1};
    enum { MANY = 1 << 18 };
    size_t *ends = malloc((MANY + 1) * sizeof *ends);
    uint8_t *many = calloc(MANY, 1);
    float *targets = calloc(MANY, sizeof *targets);
    assert_true(ends && many && targets);
    for (size_t i = 0; i <= MANY; i++) {
        ends[i] = i;
    }
    assert_int_equal(ldar_trainer_create(own, &options, &trainer, NULL), LDAR_OK);
    assert_int_equal(ldar_trainer_begin(trainer, 1, NULL, NULL, NULL), LDAR_OK);
    assert_status(LDAR_ERROR_MEMORY,
                  ldar_trainer_add_examples(trainer, &(struct ldar_batch){many, ends, MANY}, targets, &loss, &error));
    assert_int_equal(ldar_trainer_add_examples(trainer, &batch, targets, &loss, NULL), LDAR_OK);
    free(targets);
    free(many);
    free(ends);
    ldar_trainer_destroy(trainer);
    ldar_model_destroy(own);
}

static void test_letters(void **state)
{
    (void)state;
    static const char letters[] = "ACGTUacgtuNRYSWKMBDHVnryswkmbdhv-";
    uint8_t symbols[sizeof letters];
    size_t unknown = 5;
    assert_int_equal(ldar_encode(letters, sizeof letters - 1, symbols, &unknown), sizeof letters - 1);
    static const uint8_t known[] = {0, 1, 2, 3, 3, 0, 1, 2, 3, 3};
    assert_memory_equal(symbols, known, sizeof known);
    for (size_t i = sizeof known; i < sizeof letters - 1; i++) {
        assert_int_equal(symbols[i], LDAR_N);
    }
    assert_int_equal(unknown, 5 + sizeof letters - 1 - sizeof known);
    for (int byte = 0; byte < 256; byte++) {
        char text[2] = {'A', (char)byte};
        int legal = byte != 0 && strchr(letters, byte) != NULL;
        assert_int_equal(ldar_encode(text, 2, symbols, NULL), legal ? 2 : 1);
    }
    assert_int_equal(ldar_encode(NULL, 0, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointers),        cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_nothing),         cmocka_unit_test(test_symbols),
        cmocka_unit_test(test_sizes),           cmocka_unit_test(test_options),
        cmocka_unit_test(test_environment),     cmocka_unit_test(test_names),
        cmocka_unit_test(test_configurations),  cmocka_unit_test(test_wide_heads),
        cmocka_unit_test(test_example_options), cmocka_unit_test(test_examples),
        cmocka_unit_test(test_example_memory),  cmocka_unit_test(test_letters),
    };
    return cmocka_run_group_tests_name("api.hostile", tests, set_up, tear_down);
}
