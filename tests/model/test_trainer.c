/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of a trainer one by one: what they say, what they refuse, and the arithmetic of the optimiser. */
#include "lesson.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 90 };

static ldar_model *model;
static struct lesson lesson;

static int set_up(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    model = model_load("tiny");
    lesson = lesson_random(&random, (const size_t[]){60, 1, 29}, 3, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lesson_free(&lesson);
    ldar_model_destroy(model);
    return 0;
}

/* ---- losses ---- */

/* Mean cross-entropy of the labelled positions, and how many of them the most likely symbol names. */
static double cross_entropy(const float *logits, const uint8_t *labels, size_t rows, size_t *labelled, size_t *correct)
{
    double sum = 0;
    *labelled = *correct = 0;
    for (size_t t = 0; t < rows; t++, logits += LDAR_SYMBOLS) {
        if (labels[t] == LDAR_UNLABELLED) {
            continue;
        }
        double total = 0;
        size_t best = 0;
        for (size_t s = 0; s < LDAR_SYMBOLS; s++) {
            total += exp((double)logits[s] - (double)logits[labels[t]]);
            best = logits[s] > logits[best] ? s : best;
        }
        sum += log(total);
        ++*labelled;
        *correct += best == labels[t];
    }
    return *labelled > 0 ? sum / (double)*labelled : 0;
}

/* ((1 - F)(1 - G) + (n - 1) F G) n / (n - 1) of a single router. */
static double ratio_loss(const struct result *result, double n)
{
    double f = (double)result->out.chunk_offsets[result->sequences] / (double)result->rows, g = 0;
    for (size_t t = 0; t < result->rows; t++) {
        g += (double)result->out.prob[t] / (double)result->rows;
    }
    return ((1 - f) * (1 - g) + (n - 1) * f * g) * n / (n - 1);
}

/*
 * What is said of a batch is what the forward pass gives, and evaluate says what add does: to the bit where what is
 * kept for the backward pass is not rounded.
 */
static void test_losses(void **state)
{
    (void)state;
    for (size_t every = 0; every <= 4; every += 4) {
        const struct ldar_boundaries boundaries = {.size = sizeof boundaries, .every = every};
        ldar_context *context = context_new(model, 2);
        struct result result = forward(context, model, &lesson.input.batch, &boundaries);
        size_t labelled, correct;
        const double mlm = cross_entropy(result.out.logits, lesson.labels, ROWS, &labelled, &correct);
        const double ratio = ratio_loss(&result, 4);

        ldar_trainer *trainer = trainer_new(model, 2);
        struct memory before = memory_of(trainer);
        struct ldar_loss found, evaluated;
        struct ldar_error error;
        assert_ok(ldar_trainer_evaluate(trainer, &lesson.input.batch, lesson.labels, &boundaries, &evaluated, &error),
                  &error);
        assert_memory(trainer, &before);
        learn(trainer, &lesson, 1, 1e-3, &boundaries, &found);
        if (test_dtype == LDAR_F32) {
            assert_memory_equal(&found, &evaluated, sizeof found);
        }
        assert_true(fabs(found.loss / evaluated.loss - 1) <= 1e-3);
        const double bound = test_dtype == LDAR_BF16 ? 2e-3 : 1e-6;
        assert_true(fabs(found.mlm / mlm - 1) <= bound);
        assert_true(fabs(found.ratio / ratio - 1) <= bound);
        assert_true(fabs(found.loss / (found.mlm + 0.03 * found.ratio) - 1) <= 1e-12);
        assert_int_equal(found.positions, ROWS);
        assert_int_equal(found.labelled, labelled);
        assert_int_equal(found.stages, 1);
        if (test_dtype == LDAR_F32) {
            assert_int_equal(found.correct, correct);
            assert_int_equal(found.chunks[0], result.out.chunk_offsets[result.sequences]);
        }
        memory_free(&before);
        ldar_trainer_destroy(trainer);
        result_free(&result);
        ldar_context_destroy(context);
    }
}

/* Without labels the ratio loss alone is learned from; without that, nothing. */
static void test_unlabelled(void **state)
{
    (void)state;
    struct lesson bare = lesson;
    bare.labels = malloc(ROWS);
    assert_non_null(bare.labels);
    memset(bare.labels, LDAR_UNLABELLED, ROWS);
    struct ldar_trainer_options options = trainer_options_new(2);
    for (int weighted = 1; weighted >= 0; weighted--) {
        options.ratio_weight = weighted ? 0 : -1;
        ldar_trainer *trainer = trainer_with(model, &options);
        struct ldar_loss loss;
        const struct ldar_step step = learn(trainer, &bare, 1, 1e-3, NULL, &loss);
        assert_int_equal(loss.labelled, 0);
        assert_true(loss.mlm == 0);
        assert_true(weighted ? step.gradient_norm > 0 : step.gradient_norm == 0);
        const struct ldar_trainer_tensor head = tensor_at(trainer, tensor_index(trainer, "lm_head.weight"));
        for (size_t i = 0; i < head.count; i++) {
            assert_true(head.gradient[i] == 0);
        }
        ldar_trainer_destroy(trainer);
    }
    free(bare.labels);
}

/* ---- the optimiser ---- */

static int decays(const char *name)
{
    static const char *const ends[] = {".bias", ".A_log", ".D", ".dt_bias"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const size_t length = strlen(name), end = strlen(ends[i]);
        if (length >= end && strcmp(name + length - end, ends[i]) == 0) {
            return 0;
        }
    }
    return strstr(name, "norm") == NULL;
}

struct adamw {
    double rate, outer, beta1, beta2, epsilon, decay, clip;
};

/* A step of AdamW by the book, from `before` and the trainer's gradients, against what the trainer made of it. */
static void check_adamw(const ldar_trainer *trainer, const struct memory *before, const struct adamw *a, double norm)
{
    const double scale = a->clip > 0 && norm > a->clip ? a->clip / (norm + 1e-6) : 1;
    const double t = (double)ldar_trainer_steps(trainer);
    const float *from = before->numbers;
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        const double rate = a->rate * (strstr(tensor.name, ".main_network.") ? 1 : a->outer);
        const float *weight = from, *m = from + tensor.count, *v = from + 2 * tensor.count;
        for (size_t k = 0; k < tensor.count; k++) {
            const double g = scale * (double)tensor.gradient[k];
            const double m1 = a->beta1 * (double)m[k] + (1 - a->beta1) * g;
            const double v1 = a->beta2 * (double)v[k] + (1 - a->beta2) * g * g;
            const double kept = (double)weight[k] * (1 - (decays(tensor.name) ? rate * a->decay : 0));
            const double step = rate / (1 - pow(a->beta1, t)) / (sqrt(v1 / (1 - pow(a->beta2, t))) + a->epsilon);
            /* Floats: of the moments, of the step, and of the weight, in which most of the step may be lost. */
            const double terms = fabs(a->beta1 * (double)m[k]) + fabs((1 - a->beta1) * g);
            const double slack = 2e-6 * step * terms + 2e-7 * fabs(kept);
            if (!(fabs((double)tensor.moment1[k] - m1) <= 1e-6 * terms + 1e-37
                  && fabs((double)tensor.moment2[k] - v1) <= 2e-6 * v1 + 1e-37
                  && fabs((double)tensor.weight[k] - (kept - step * m1)) <= slack)) {
                fail_msg("%s, element %zu: from %.9g, gradient %.9g: %.9g, expected %.9g; moments %.9g and %.9g, "
                         "expected %.9g and %.9g",
                         tensor.name, k, (double)weight[k], g, (double)tensor.weight[k], kept - step * m1,
                         (double)tensor.moment1[k], (double)tensor.moment2[k], m1, v1);
            }
        }
        from += 4 * tensor.count;
    }
}

static double global_norm(const ldar_trainer *trainer)
{
    double sum = 0;
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        for (size_t k = 0; k < tensor.count; k++) {
            sum += (double)tensor.gradient[k] * (double)tensor.gradient[k];
        }
    }
    return sqrt(sum);
}

/* Defaults, and each option changed. outer: what the options must come to. */
static void test_adamw(void **state)
{
    (void)state;
    static const struct {
        struct ldar_trainer_options options;
        struct adamw expected;
    } cases[] = {
        {{.clip = 0}, {1e-3, 4, 0.9, 0.95, 1e-8, 0.01, 1}},
        {{.beta1 = 0.5, .beta2 = 0.75}, {1e-3, 4, 0.5, 0.75, 1e-8, 0.01, 1}},
        {{.epsilon = 1e-3}, {1e-3, 4, 0.9, 0.95, 1e-3, 0.01, 1}},
        {{.decay = 10}, {1e-3, 4, 0.9, 0.95, 1e-8, 10, 1}},
        {{.decay = -1}, {1e-3, 4, 0.9, 0.95, 1e-8, 0, 1}},
        {{.clip = 1e-3, .epsilon = 1e-4}, {1e-3, 4, 0.9, 0.95, 1e-4, 0.01, 1e-3}},
        {{.clip = -1, .epsilon = 1e-4}, {1e-3, 4, 0.9, 0.95, 1e-4, 0.01, 0}},
        {{.outer_rate = 0.25}, {1e-3, 0.25, 0.9, 0.95, 1e-8, 0.01, 1}},
        {{.ratio = 9}, {1e-3, 6, 0.9, 0.95, 1e-8, 0.01, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ldar_trainer_options options = cases[i].options;
        options.size = sizeof options;
        options.context = options_new(2);
        ldar_trainer *trainer = trainer_with(model, &options);
        for (size_t t = 1; t <= 3; t++) {
            struct memory before = memory_of(trainer);
            const struct ldar_step step = learn(trainer, &lesson, 1, 1e-3, NULL, NULL);
            assert_false(step.skipped);
            assert_null(step.tensor);
            assert_int_equal(ldar_trainer_steps(trainer), t);
            assert_true(fabs(step.gradient_norm / global_norm(trainer) - 1) <= 1e-6);
            check_adamw(trainer, &before, &cases[i].expected, step.gradient_norm);
            memory_free(&before);
        }
        ldar_trainer_destroy(trainer);
    }
}

/* At the rate 0 nothing moves. */
static void test_standing(void **state)
{
    (void)state;
    ldar_trainer *trainer = trainer_new(model, 2);
    struct memory before = memory_of(trainer);
    const float *from = before.numbers;
    learn(trainer, &lesson, 1, 0, NULL, NULL);
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        assert_memory_equal(tensor.weight, from, tensor.count * sizeof(float));
        from += 4 * tensor.count;
    }
    memory_free(&before);
    ldar_trainer_destroy(trainer);
}

/* ---- gradients that are no numbers ---- */

/* Weights, moments and count stay, the tensor is named, and the next step goes on as if nothing had been. */
static void test_skipped(void **state)
{
    (void)state;
    static const char *const poisoned[] = {"lm_head.weight", "backbone.decoder.rmsnorm.weight",
                                           "backbone.main_network.main_network.layers.1.mixer.bwd.norm.weight"};
    static const float poison[] = {NAN, INFINITY, NAN};
    for (size_t p = 0; p < sizeof poisoned / sizeof poisoned[0]; p++) {
        ldar_trainer *trainer = trainer_new(model, 2), *sound = trainer_new(model, 2);
        learn(trainer, &lesson, 1, 1e-3, NULL, NULL);
        learn(sound, &lesson, 1, 1e-3, NULL, NULL);
        const struct ldar_trainer_tensor hurt = tensor_at(trainer, tensor_index(trainer, poisoned[p]));
        const float healthy = hurt.weight[3];
        hurt.weight[3] = poison[p];
        ldar_trainer_refresh(trainer);
        struct memory before = memory_of(trainer);
        const struct ldar_step step = learn(trainer, &lesson, 1, 1e-3, NULL, NULL);
        struct memory after = memory_of(trainer);
        assert_int_equal(step.skipped, 1);
        assert_false(isfinite(step.gradient_norm));
        assert_same_memory(trainer, &after, &before, 0);
        const char *first = NULL;
        for (size_t i = 0; i < ldar_trainer_tensors(trainer) && !first; i++) {
            const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
            for (size_t k = 0; k < tensor.count && !first; k++) {
                first = isfinite(tensor.gradient[k]) ? NULL : tensor.name;
            }
        }
        assert_non_null(first);
        assert_non_null(step.tensor);
        assert_string_equal(step.tensor, first);
        memory_free(&after);
        memory_free(&before);

        hurt.weight[3] = healthy;
        ldar_trainer_refresh(trainer);
        assert_false(learn(trainer, &lesson, 1, 1e-3, NULL, NULL).skipped);
        learn(sound, &lesson, 1, 1e-3, NULL, NULL);
        struct memory expected = memory_of(sound);
        assert_memory(trainer, &expected);
        memory_free(&expected);
        ldar_trainer_destroy(sound);
        ldar_trainer_destroy(trainer);
    }
}

/* ---- going on ---- */

/* A trainer with another's weights, moments and count does what that one does. */
static void test_resumed(void **state)
{
    (void)state;
    ldar_trainer *whole = trainer_new(model, 2), *second = trainer_new(model, 3);
    for (size_t i = 0; i < 3; i++) {
        learn(whole, &lesson, 1, 1e-3, NULL, NULL);
    }
    for (size_t i = 0; i < ldar_trainer_tensors(whole); i++) {
        const struct ldar_trainer_tensor from = tensor_at(whole, i), to = tensor_at(second, i);
        assert_string_equal(from.name, to.name);
        assert_int_equal(from.count, to.count);
        memcpy(to.weight, from.weight, from.count * sizeof(float));
        memcpy(to.moment1, from.moment1, from.count * sizeof(float));
        memcpy(to.moment2, from.moment2, from.count * sizeof(float));
    }
    ldar_trainer_set_steps(second, ldar_trainer_steps(whole));
    ldar_trainer_refresh(second);
    for (size_t i = 0; i < 2; i++) {
        learn(whole, &lesson, 1, 1e-3, NULL, NULL);
        learn(second, &lesson, 1, 1e-3, NULL, NULL);
    }
    struct memory expected = memory_of(whole);
    assert_memory(second, &expected);
    memory_free(&expected);
    ldar_trainer_destroy(second);
    ldar_trainer_destroy(whole);
}

static double loss_of(ldar_trainer *trainer)
{
    struct ldar_loss loss;
    struct ldar_error error;
    assert_ok(ldar_trainer_evaluate(trainer, &lesson.input.batch, lesson.labels, NULL, &loss, &error), &error);
    return loss.loss;
}

/* The model that comes out computes what the trainer does, and a trainer of it begins where that one stopped. */
static void test_model(void **state)
{
    (void)state;
    ldar_trainer *trainer = trainer_new(model, 2);
    for (size_t i = 0; i < 2; i++) {
        learn(trainer, &lesson, 1, 1e-3, NULL, NULL);
    }
    ldar_model *learned;
    struct ldar_error error;
    struct ldar_loss here, there;
    assert_ok(ldar_trainer_model(trainer, &learned, &error), &error);
    assert_ok(ldar_trainer_evaluate(trainer, &lesson.input.batch, lesson.labels, NULL, &here, &error), &error);
    ldar_trainer *next = trainer_new(learned, 2);
    assert_ok(ldar_trainer_evaluate(next, &lesson.input.batch, lesson.labels, NULL, &there, &error), &error);
    assert_memory_equal(&here, &there, sizeof here);
    assert_int_equal(ldar_trainer_tensors(next), ldar_trainer_tensors(trainer));
    for (size_t i = 0; i < ldar_trainer_tensors(next); i++) {
        const struct ldar_trainer_tensor a = tensor_at(trainer, i), b = tensor_at(next, i);
        assert_memory_equal(a.weight, b.weight, a.count * sizeof(float));
    }
    ldar_trainer_destroy(next);
    learn(trainer, &lesson, 1, 1e-3, NULL, NULL); /* which its own weights follow, and the copy does not */
    next = trainer_new(ldar_trainer_weights(trainer), 2);
    assert_ok(ldar_trainer_evaluate(trainer, &lesson.input.batch, lesson.labels, NULL, &there, &error), &error);
    assert_true(there.loss == loss_of(next));
    assert_true(there.loss != here.loss);
    ldar_trainer_destroy(next);
    ldar_trainer_destroy(trainer); /* the model outlives it */
    ldar_context *context = context_new(learned, 2);
    struct result result = forward(context, learned, &lesson.input.batch, NULL);
    size_t labelled, correct;
    const double mlm = cross_entropy(result.out.logits, lesson.labels, ROWS, &labelled, &correct);
    assert_true(fabs(mlm / here.mlm - 1) <= (test_dtype == LDAR_BF16 ? 2e-3 : 1e-6));
    result_free(&result);
    ldar_context_destroy(context);
    ldar_model_destroy(learned);
}

/* The names and shapes are those of the model's file, each once; moments and gradients begin as zeros. */
static void test_tensors(void **state)
{
    (void)state;
    ldar_tensors *file;
    struct ldar_error error;
    assert_ok(ldar_tensors_open(golden_path("tiny-train.safetensors"), 0, &file, &error), &error);
    ldar_trainer *trainer = trainer_new(model, 1);
    size_t gradients = 0;
    for (size_t i = 0; i < ldar_tensors_count(file); i++) {
        gradients += strncmp(ldar_tensors_at(file, i).name, "grad.", 5) == 0;
    }
    assert_int_equal(ldar_trainer_tensors(trainer), gradients);
    for (size_t i = 0; i < gradients; i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        char name[300];
        snprintf(name, sizeof name, "grad.%s", tensor.name);
        const size_t index = ldar_tensors_find(file, name);
        assert_true(index < ldar_tensors_count(file));
        const struct ldar_tensor known = ldar_tensors_at(file, index);
        assert_int_equal(tensor.count, known.count);
        assert_int_equal(tensor.rank, known.rank);
        assert_memory_equal(tensor.shape, known.shape, known.rank * sizeof known.shape[0]);
        assert_int_equal(tensor_index(trainer, tensor.name), i);
        for (size_t k = 0; k < tensor.count; k++) {
            assert_true(tensor.moment1[k] == 0 && tensor.moment2[k] == 0);
        }
    }
    ldar_trainer_destroy(trainer);
    ldar_tensors_close(file);
}

/* ---- callers who get it wrong ---- */

#define assert_status(expected, call)                                                                                  \
    do {                                                                                                               \
        struct ldar_error error = {0};                                                                                 \
        assert_int_equal(call, expected);                                                                              \
        assert_int_equal(error.status, expected);                                                                      \
        assert_true(strlen(error.message) > 0);                                                                        \
        assert_null(strpbrk(error.message, "\r\n"));                                                                   \
    } while (0)

#define assert_refused(call) assert_status(LDAR_ERROR_ARGUMENT, call)

static void test_pointers(void **state)
{
    (void)state;
    ldar_trainer *trainer = trainer_new(model, 1), *none = trainer;
    const struct ldar_batch *batch = &lesson.input.batch;
    struct ldar_loss loss;
    struct ldar_step step;
    ldar_model *no_model = model;
    ldar_trainer_destroy(NULL);
    assert_refused(ldar_trainer_create(NULL, NULL, &none, &error));
    assert_null(none);
    assert_refused(ldar_trainer_create(model, NULL, NULL, &error));
    assert_refused(ldar_trainer_begin(NULL, 1, NULL, NULL, &error));
    assert_refused(ldar_trainer_add(NULL, batch, lesson.labels, NULL, &loss, &error));
    assert_refused(ldar_trainer_step(NULL, 1e-3, &step, &error));
    assert_refused(ldar_trainer_evaluate(NULL, batch, lesson.labels, NULL, &loss, &error));
    assert_refused(ldar_trainer_evaluate(trainer, NULL, lesson.labels, NULL, &loss, &error));
    assert_refused(ldar_trainer_evaluate(trainer, batch, NULL, NULL, &loss, &error));
    assert_refused(ldar_trainer_evaluate(trainer, batch, lesson.labels, NULL, NULL, &error));
    assert_refused(ldar_trainer_model(NULL, &no_model, &error));
    assert_refused(ldar_trainer_model(trainer, NULL, &error));
    struct ldar_error error;
    assert_ok(ldar_trainer_begin(trainer, 1, NULL, NULL, &error), &error);
    assert_refused(ldar_trainer_add(trainer, NULL, lesson.labels, NULL, &loss, &error));
    assert_refused(ldar_trainer_add(trainer, batch, NULL, NULL, &loss, &error));
    assert_refused(ldar_trainer_add(trainer, batch, lesson.labels, NULL, NULL, &error));
    assert_int_equal(ldar_trainer_begin(NULL, 0, NULL, NULL, NULL), LDAR_ERROR_ARGUMENT);
    ldar_trainer_destroy(trainer);
}

static void test_options(void **state)
{
    (void)state;
    static const struct ldar_trainer_options wrong[] = {
        {.size = 3},
        {.size = sizeof wrong[0] + sizeof(size_t)},
        {.size = sizeof wrong[0], .ratio = 1},
        {.size = sizeof wrong[0], .ratio = 0.5},
        {.size = sizeof wrong[0], .ratio = -4},
        {.size = sizeof wrong[0], .ratio = NAN},
        {.size = sizeof wrong[0], .ratio = INFINITY},
        {.size = sizeof wrong[0], .ratio_weight = NAN},
        {.size = sizeof wrong[0], .beta1 = 1},
        {.size = sizeof wrong[0], .beta2 = 1.5},
        {.size = sizeof wrong[0], .beta2 = NAN},
        {.size = sizeof wrong[0], .epsilon = -1e-8},
        {.size = sizeof wrong[0], .epsilon = NAN},
        {.size = sizeof wrong[0], .decay = NAN},
        {.size = sizeof wrong[0], .clip = NAN},
        {.size = sizeof wrong[0], .outer_rate = NAN},
        {.size = sizeof wrong[0], .context = {.size = 3}},
        {.size = sizeof wrong[0], .context = {.size = sizeof wrong[0].context, .threads = -1}},
        {.size = sizeof wrong[0], .context = {.size = sizeof wrong[0].context, .isa = (enum ldar_isa)99}},
        {.size = sizeof wrong[0], .context = {.size = sizeof wrong[0].context, .dtype = (enum ldar_dtype)7}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ldar_trainer_options options = wrong[i];
        if (options.context.size == 0) {
            options.context = options_new(1);
        }
        ldar_trainer *none = (ldar_trainer *)(void *)&options;
        struct ldar_error error = {0};
        const enum ldar_status status = ldar_trainer_create(model, &options, &none, &error);
        if (status != LDAR_ERROR_ARGUMENT || none) {
            fail_msg("options %zu: %s", i, ldar_status_string(status));
        }
        assert_true(strlen(error.message) > 0);
    }
    for (enum ldar_gemm gemm = LDAR_GEMM_ONEDNN; gemm <= LDAR_GEMM_REFERENCE; gemm++) {
        struct ldar_trainer_options options = trainer_options_new(1);
        options.context.gemm = gemm;
        ldar_trainer *none = (ldar_trainer *)(void *)&options;
        struct ldar_error error = {0};
        assert_int_not_equal(ldar_trainer_create(model, &options, &none, &error), LDAR_OK);
        assert_null(none);
        assert_non_null(strstr(error.message, ldar_gemm_name(gemm)));
    }
    struct ldar_trainer_options options = trainer_options_new(1);
    ldar_trainer *none = (ldar_trainer *)(void *)&options;
    options.context.max_bytes = 1;
    assert_status(LDAR_ERROR_MEMORY, ldar_trainer_create(model, &options, &none, &error));
    assert_null(none);
}

/* begin, then add as often as was said, then step; all else is refused and changes nothing. */
static void test_order(void **state)
{
    (void)state;
    const struct ldar_batch *batch = &lesson.input.batch;
    ldar_trainer *trainer = trainer_new(model, 1), *sound = trainer_new(model, 1);
    struct ldar_error error;
    struct ldar_loss loss;
    struct ldar_step step;
    size_t first = 9, count = 9;
    assert_refused(ldar_trainer_add(trainer, batch, lesson.labels, NULL, &loss, &error));
    assert_refused(ldar_trainer_step(trainer, 1e-3, &step, &error));
    assert_refused(ldar_trainer_begin(trainer, 0, NULL, NULL, &error));
    assert_ok(ldar_trainer_begin(trainer, 2, &first, &count, &error), &error);
    assert_int_equal(first, 0);
    assert_int_equal(count, 2);
    assert_refused(ldar_trainer_begin(trainer, 2, NULL, NULL, &error));
    assert_refused(ldar_trainer_step(trainer, 1e-3, &step, &error));
    assert_refused(ldar_trainer_evaluate(trainer, batch, lesson.labels, NULL, &loss, &error));
    assert_ok(ldar_trainer_add(trainer, batch, lesson.labels, NULL, &loss, &error), &error);
    assert_refused(ldar_trainer_step(trainer, 1e-3, &step, &error));
    assert_ok(ldar_trainer_add(trainer, batch, lesson.labels, NULL, &loss, &error), &error);
    assert_refused(ldar_trainer_add(trainer, batch, lesson.labels, NULL, &loss, &error));
    assert_refused(ldar_trainer_step(trainer, NAN, &step, &error));
    assert_refused(ldar_trainer_step(trainer, -1e-3, &step, &error));
    assert_refused(ldar_trainer_step(trainer, 1e-3, NULL, &error));
    assert_int_equal(ldar_trainer_steps(trainer), 0);
    assert_ok(ldar_trainer_step(trainer, 1e-3, &step, &error), &error);
    assert_refused(ldar_trainer_step(trainer, 1e-3, &step, &error));
    assert_int_equal(ldar_trainer_steps(trainer), 1);
    const struct lesson twice[] = {lesson, lesson};
    learn(sound, twice, 2, 1e-3, NULL, NULL);
    struct memory expected = memory_of(sound);
    assert_memory(trainer, &expected);
    memory_free(&expected);
    ldar_trainer_destroy(sound);
    ldar_trainer_destroy(trainer);
}

/* What a batch or its labels cannot be is refused, and the step goes on without it. */
static void test_batches(void **state)
{
    (void)state;
    static const size_t none[] = {0, 0}, late[] = {1, 5}, descending[] = {0, 7, 5}, huge[] = {0, SIZE_MAX};
    uint8_t *ids = lesson.input.memory;
    const struct ldar_batch wrong[] = {{ids, none, 1}, {ids, none, 0},       {ids, late, 1},
                                       {ids, huge, 1}, {ids, descending, 2}, {NULL, lesson.input.offsets, 3},
                                       {ids, NULL, 1}};
    ldar_trainer *trainer = trainer_new(model, 1), *sound = trainer_new(model, 1);
    struct ldar_error error;
    struct ldar_loss loss;
    struct ldar_step step;
    assert_ok(ldar_trainer_begin(trainer, 1, NULL, NULL, &error), &error);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_refused(ldar_trainer_add(trainer, &wrong[i], lesson.labels, NULL, &loss, &error));
    }
    const struct ldar_batch *batch = &lesson.input.batch;
    const uint8_t symbol = ids[ROWS - 1], label = lesson.labels[ROWS - 1];
    ids[ROWS - 1] = LDAR_SYMBOLS;
    assert_refused(ldar_trainer_add(trainer, batch, lesson.labels, NULL, &loss, &error));
    ids[ROWS - 1] = symbol;
    static const uint8_t no_labels[] = {LDAR_N, LDAR_MASK, LDAR_SYMBOLS, LDAR_UNLABELLED - 1};
    for (size_t i = 0; i < sizeof no_labels; i++) {
        lesson.labels[ROWS - 1] = no_labels[i];
        assert_refused(ldar_trainer_add(trainer, batch, lesson.labels, NULL, &loss, &error));
    }
    lesson.labels[ROWS - 1] = label;
    assert_refused(
        ldar_trainer_add(trainer, batch, lesson.labels, &(struct ldar_boundaries){0, 4, NULL}, &loss, &error));
    assert_ok(ldar_trainer_add(trainer, batch, lesson.labels, NULL, &loss, &error), &error);
    assert_ok(ldar_trainer_step(trainer, 1e-3, &step, &error), &error);
    learn(sound, &lesson, 1, 1e-3, NULL, NULL);
    struct memory expected = memory_of(sound);
    assert_memory(trainer, &expected);
    memory_free(&expected);
    ldar_trainer_destroy(sound);
    ldar_trainer_destroy(trainer);
}

/* A batch that does not fit says so, and one that does still goes in. */
static void test_too_large(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    struct lesson large = lesson_random(&random, (const size_t[]){200000}, 1, 1);
    ldar_trainer *sound = trainer_new(model, 2);
    learn(sound, &lesson, 1, 1e-3, NULL, NULL);
    struct ldar_profile profile;
    ldar_trainer_profile(sound, &profile);
    struct ldar_trainer_options options = trainer_options_new(2);
    options.context.max_bytes = 2 * profile.peak_bytes;
    ldar_trainer *trainer = trainer_with(model, &options);
    struct ldar_error error;
    struct ldar_loss loss;
    struct ldar_step step;
    assert_ok(ldar_trainer_begin(trainer, 1, NULL, NULL, &error), &error);
    assert_status(LDAR_ERROR_MEMORY, ldar_trainer_add(trainer, &large.input.batch, large.labels, NULL, &loss, &error));
    assert_ok(ldar_trainer_add(trainer, &lesson.input.batch, lesson.labels, NULL, &loss, &error), &error);
    assert_ok(ldar_trainer_step(trainer, 1e-3, &step, &error), &error);
    struct memory expected = memory_of(sound);
    assert_memory(trainer, &expected);
    memory_free(&expected);
    ldar_trainer_destroy(trainer);
    ldar_trainer_destroy(sound);
    lesson_free(&large);
}

/* ---- figures ---- */

/* docs/perf.md derives the figures: MFLOP per nucleotide, forward and backward. */
static void test_flops(void **state)
{
    (void)state;
    static const struct {
        const char *preset;
        size_t length;
        double ratio, mflop;
    } known[] = {{"110m", 4096, 4, 287.4}, {"2m", 4096, 4, 11.22}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct ldar_config config;
        struct ldar_error error;
        assert_ok(ldar_config_preset(known[i].preset, &config, &error), &error);
        const double mflop = ldar_training_flops(&config, known[i].length, known[i].ratio) / 1e6;
        if (!(fabs(mflop - known[i].mflop) <= 1e-3 * known[i].mflop)) {
            fail_msg("%s: %.3f MFLOP, known %.1f", known[i].preset, mflop, known[i].mflop);
        }
    }
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses),    cmocka_unit_test(test_unlabelled), cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_standing),  cmocka_unit_test(test_skipped),    cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_model),     cmocka_unit_test(test_tensors),    cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_options),   cmocka_unit_test(test_order),      cmocka_unit_test(test_batches),
        cmocka_unit_test(test_too_large), cmocka_unit_test(test_flops),
    };
    return cmocka_run_group_tests_name("model.trainer", tests, set_up, tear_down);
}
