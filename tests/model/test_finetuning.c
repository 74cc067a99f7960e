/* SPDX-License-Identifier: Apache-2.0 */
/* Learning from examples: against the oracle and against differences; equal bits; how far a pass goes; what stays. */
#include "lesson.h"

#include "model/head.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A micro-batch of examples. */
struct examples {
    struct input input;
    float *targets; /* (sequences) */
};

static void examples_free(struct examples *examples)
{
    input_free(&examples->input);
    free(examples->targets);
}

static struct examples examples_random(struct random *random, const size_t *lengths, size_t sequences, size_t classes)
{
    struct examples examples = {input_random(random, lengths, sequences, 0), malloc(sequences * sizeof(float))};
    assert_non_null(examples.targets);
    for (size_t s = 0; s < sequences; s++) {
        examples.targets[s] = (float)random_below(random, classes);
    }
    return examples;
}

static ldar_model *model_headed(const char *name, enum ldar_head_kind kind, size_t outputs, size_t parts)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    ldar_model *model = model_load(name), *headed;
    struct ldar_error error;
    const struct ldar_head head = {.kind = kind, .outputs = outputs, .names = names, .parts = parts};
    assert_ok(ldar_model_with_head(model, &head, 3, &headed, &error), &error);
    ldar_model_destroy(model);
    return headed;
}

static struct ldar_trainer_options example_options(int threads)
{
    struct ldar_trainer_options options = trainer_options_new(threads);
    options.examples = 1;
    return options;
}

static struct ldar_step study(ldar_trainer *trainer, const struct examples *batches, size_t count, double rate,
                              struct ldar_example_loss *loss)
{
    struct ldar_error error;
    struct ldar_example_loss own;
    struct ldar_step step;
    assert_ok(ldar_trainer_begin(trainer, count, NULL, NULL, &error), &error);
    for (size_t i = 0; i < count; i++) {
        assert_ok(ldar_trainer_add_examples(trainer, &batches[i].input.batch, batches[i].targets,
                                            loss ? &loss[i] : &own, &error),
                  &error);
    }
    assert_ok(ldar_trainer_step(trainer, rate, &step, &error), &error);
    return step;
}

/* ---- golden files ---- */

struct golden {
    ldar_tensors *file;
    size_t strays; /* tensors out of bounds, all of which are printed */
};

static int golden_find(const struct golden *golden, const char *prefix, const char *name, struct ldar_tensor *tensor)
{
    char key[300];
    snprintf(key, sizeof key, "%s%s", prefix, name);
    const size_t index = ldar_tensors_find(golden->file, key);
    if (index == ldar_tensors_count(golden->file)) {
        return 0;
    }
    *tensor = ldar_tensors_at(golden->file, index);
    return 1;
}

static float *golden_floats(const struct golden *golden, const char *prefix, const char *name, size_t count)
{
    struct ldar_tensor tensor = {0};
    float *numbers = malloc(count * sizeof *numbers);
    assert_non_null(numbers);
    if (!golden_find(golden, prefix, name, &tensor) || tensor.bytes != count * sizeof *numbers) {
        fail_msg("no tensor %s%s of %zu numbers", prefix, name, count);
    }
    memcpy(numbers, tensor.data, tensor.bytes);
    return numbers;
}

static struct examples golden_examples(const struct golden *golden, const char *prefix)
{
    size_t sequences = 0, lengths[16];
    struct ldar_tensor ids[16];
    for (char name[16] = "0"; sequences < 16; snprintf(name, sizeof name, "%zu", sequences)) {
        if (!golden_find(golden, "ids.", name, &ids[sequences])) {
            break;
        }
        lengths[sequences] = ids[sequences].count;
        sequences++;
    }
    assert_true(sequences > 0);
    struct random none = random_start(0);
    struct examples examples = examples_random(&none, lengths, sequences, 1);
    size_t row = 0;
    for (size_t s = 0; s < sequences; s++) {
        for (size_t i = 0; i < ids[s].count; i++, row++) {
            int64_t id;
            memcpy(&id, (const char *)ids[s].data + i * sizeof id, sizeof id);
            examples.input.memory[row] = (uint8_t)id;
        }
    }
    free(examples.targets);
    examples.targets = golden_floats(golden, prefix, "targets", sequences);
    return examples;
}

/* Relative L2 of got - from against the golden tensor, or its difference from `from`. */
static void check_tensor(struct golden *golden, const char *prefix, const char *name, const float *got,
                         const float *from, size_t count, double bound)
{
    struct ldar_tensor there;
    if (!golden_find(golden, prefix, name, &there)) {
        return;
    }
    float *expected = golden_floats(golden, prefix, name, count);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        const double base = from ? (double)from[i] : 0, b = (double)expected[i] - base;
        const double d = (double)got[i] - base - b;
        difference += d * d;
        norm += b * b;
    }
    if (!(norm > 0 ? sqrt(difference / norm) <= bound : difference == 0)) {
        print_message("  %s%s: relative L2 %.2e\n", prefix, name, sqrt(difference / norm));
        golden->strays++;
    }
    free(expected);
}

/* Losses 1e-6, gradients 5e-5, what two steps change 2e-3, as of the other golden files of training. */
static void check_head(struct golden *golden, const ldar_model *model, const char *kind, double ratio_weight)
{
    char prefix[16], gradient[32], changed[32];
    snprintf(prefix, sizeof prefix, "%s.", kind);
    snprintf(gradient, sizeof gradient, "%s.grad.", kind);
    snprintf(changed, sizeof changed, "%s.adamw2.", kind);
    struct examples examples = golden_examples(golden, prefix);
    const size_t sequences = examples.input.batch.sequences, outputs = ldar_model_head(model)->outputs;
    struct ldar_trainer_options options = example_options(2);
    options.ratio_weight = ratio_weight;
    ldar_trainer *trainer = trainer_with(model, &options);
    struct memory before = memory_of(trainer);

    float *scores = malloc(sequences * outputs * sizeof *scores);
    assert_non_null(scores);
    struct ldar_error error;
    assert_ok(ldar_trainer_scores(trainer, &examples.input.batch, scores, &error), &error);
    check_tensor(golden, prefix, "scores", scores, NULL, sequences * outputs, 2e-5);
    size_t correct = 0;
    for (size_t s = 0; s < sequences && outputs > 1; s++) {
        size_t best = 0;
        for (size_t c = 1; c < outputs; c++) {
            best = scores[s * outputs + c] > scores[s * outputs + best] ? c : best;
        }
        correct += best == (size_t)examples.targets[s];
    }

    struct ldar_example_loss loss;
    study(trainer, &examples, 1, 1e-3, &loss);
    const float found[2] = {(float)loss.loss, (float)loss.ratio};
    struct ldar_tensor there;
    assert_true(golden_find(golden, prefix, "loss", &there) && golden_find(golden, prefix, "scores", &there));
    assert_true(golden_find(golden, gradient, "classifier.weight", &there));
    check_tensor(golden, prefix, "loss", &found[0], NULL, 1, 1e-6);
    check_tensor(golden, prefix, "ratio", &found[1], NULL, 1, 1e-6);
    assert_int_equal(loss.examples, sequences);
    assert_int_equal(loss.correct, correct);
    assert_int_equal(loss.positions, input_rows(&examples.input.batch));
    assert_int_equal(loss.stages, 1);
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        check_tensor(golden, gradient, tensor.name, tensor.gradient, NULL, tensor.count, 5e-5);
    }
    study(trainer, &examples, 1, 1e-3, &loss);
    const float *from = before.numbers;
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        check_tensor(golden, changed, tensor.name, tensor.weight, from, tensor.count, 2e-3);
        from += 4 * tensor.count;
    }
    free(scores);
    memory_free(&before);
    ldar_trainer_destroy(trainer);
    examples_free(&examples);
}

static void test_golden(void **state)
{
    (void)state;
    if (test_dtype != LDAR_F32) {
        skip(); /* a boundary that falls otherwise makes another sequence of tokens */
    }
    struct golden golden = {.strays = 0};
    struct ldar_error error;
    assert_ok(ldar_tensors_open(golden_path("heads/three-examples.safetensors"), 0, &golden.file, &error), &error);
    ldar_model *model = model_load("heads/three"), *other;
    const struct ldar_head *head = ldar_model_head(model);
    assert_non_null(head);
    assert_int_equal(head->outputs, 3);
    assert_string_equal(head->names[2], "non-TATA");
    check_head(&golden, model, "class", 0.03);

    const size_t width = ldar_model_config(model)->stage[0].width;
    float *weight = golden_floats(&golden, "value.", "weight", width),
          *bias = golden_floats(&golden, "value.", "bias", 1);
    const char *const name = "activity";
    const struct ldar_head value = {LDAR_HEAD_VALUE, 1, &name, weight, bias, 1};
    assert_ok(ldar_model_with_head(model, &value, 0, &other, &error), &error);
    check_head(&golden, other, "value", -1);
    free(bias);
    free(weight);
    ldar_model_destroy(other);
    ldar_model_destroy(model);
    ldar_tensors_close(golden.file);
    if (golden.strays > 0) {
        fail_msg("%zu are out of bounds", golden.strays);
    }
}

/* ---- differences ---- */

enum { RAGGED = 70 };

/* Sequences of 1 .. 70 nucleotides. */
static struct examples examples_ragged(struct random *random, size_t classes)
{
    size_t lengths[RAGGED];
    for (size_t s = 0; s < RAGGED; s++) {
        lengths[s] = s + 1;
    }
    return examples_random(random, lengths, RAGGED, classes);
}

static double value_loss(ldar_trainer *trainer, const struct examples *examples)
{
    float scores[RAGGED];
    double sum = 0;
    struct ldar_error error;
    assert_ok(ldar_trainer_scores(trainer, &examples->input.batch, scores, &error), &error);
    for (size_t s = 0; s < RAGGED; s++) {
        const double d = (double)scores[s] - (double)examples->targets[s];
        sum += d * d / 2 / RAGGED;
    }
    return sum;
}

static void check_pool(size_t parts)
{
    struct random random = random_start(random_seed());
    struct examples examples = examples_ragged(&random, 5);
    ldar_model *model = model_headed("tiny", LDAR_HEAD_VALUE, 1, parts);
    const struct ldar_trainer_options options = example_options(3);
    ldar_trainer *trainer = trainer_with(model, &options);
    struct ldar_trainer_tensor head = tensor_at(trainer, tensor_index(trainer, "classifier.weight"));
    for (size_t i = 0; i < head.count; i++) {
        head.weight[i] = (float)random_normal(&random);
    }
    study(trainer, &examples, 1, 0, NULL);
    const struct ldar_trainer_tensor norm =
        tensor_at(trainer, tensor_index(trainer, "backbone.decoder.rmsnorm.weight"));
    double difference = 0, size = 0;
    for (size_t i = 0; i < norm.count; i += 21) { /* some columns, the last one among them */
        const float weight = norm.weight[i], step = 0.5f;
        norm.weight[i] = weight + step;
        ldar_trainer_refresh(trainer);
        const double above = value_loss(trainer, &examples), h = (double)norm.weight[i];
        norm.weight[i] = weight - step;
        ldar_trainer_refresh(trainer);
        const double below = value_loss(trainer, &examples), slope = (above - below) / (h - (double)norm.weight[i]);
        norm.weight[i] = weight;
        difference += (slope - (double)norm.gradient[i]) * (slope - (double)norm.gradient[i]);
        size += slope * slope;
    }
    const double bound = test_dtype == LDAR_BF16 ? 3e-2 : 2e-5;
    if (!(sqrt(difference / size) <= bound)) {
        fail_msg("%zu parts: relative L2 %.2e", parts, sqrt(difference / size));
    }
    ldar_trainer_destroy(trainer);
    ldar_model_destroy(model);
    examples_free(&examples);
}

/*
 * Half the squared error of a value is a quadratic in the weight of the last norm, whose means over the parts of each
 * sequence the head sees: central differences are exact, but for roundings. Many sequences
 * have fewer than 40 nucleotides.
 */
static void test_pool(void **state)
{
    (void)state;
    static const size_t parts[] = {1, 3, 40};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        check_pool(parts[i]);
    }
}

enum { OUTPUTS = 4, WIDTH = 5, PARTS = 2, COLUMNS = PARTS * WIDTH, SEQUENCES = 3 };

struct linear {
    float weight[OUTPUTS * COLUMNS], bias[OUTPUTS], mean[SEQUENCES * COLUMNS];
};

static double linear_loss(const struct linear *at, const float *targets)
{
    const struct ldar_head head = {LDAR_HEAD_CLASSES, OUTPUTS, NULL, at->weight, at->bias, PARTS};
    double scores[SEQUENCES * OUTPUTS];
    size_t correct;
    ldar_head_apply(&head, WIDTH, at->mean, SEQUENCES, scores);
    return ldar_head_loss(&head, targets, SEQUENCES, 1, scores, &correct);
}

/* Of cross-entropy by each weight, bias and mean; steps that floats hold exactly. */
static void test_head(void **state)
{
    (void)state;
    enum { NUMBERS = sizeof(struct linear) / sizeof(float) };
    static const float targets[SEQUENCES] = {2, 0, 2}, step = 0x1p-10f;
    struct random random = random_start(random_seed());
    struct linear at, slope = {.weight = {0}};
    for (size_t i = 0; i < NUMBERS; i++) {
        ((float *)&at)[i] = (float)(random_below(&random, 2048)) / 1024 - 1;
    }
    const struct ldar_head head = {LDAR_HEAD_CLASSES, OUTPUTS, NULL, at.weight, at.bias, PARTS};
    double scores[SEQUENCES * OUTPUTS], row[COLUMNS];
    size_t correct;
    ldar_head_apply(&head, WIDTH, at.mean, SEQUENCES, scores);
    ldar_head_loss(&head, targets, SEQUENCES, 1, scores, &correct);
    ldar_head_backward(&head, WIDTH, at.mean, scores, SEQUENCES, slope.weight, slope.bias, slope.mean, row);
    for (size_t i = 0; i < NUMBERS; i++) {
        struct linear above = at, below = at;
        ((float *)&above)[i] += step;
        ((float *)&below)[i] -= step;
        const double known = (linear_loss(&above, targets) - linear_loss(&below, targets)) / (2 * (double)step);
        const double found = (double)((float *)&slope)[i];
        if (!(fabs(found - known) <= 2e-6)) {
            fail_msg("number %zu: %.9g, by differences %.9g", i, found, known);
        }
    }
    /* Of equal scores the first is the one that counts; scores of any size have a loss. */
    static const float first[] = {0, 1};
    double equal[] = {7, 7, 7, 7, 1e300, 0, 0, 0};
    assert_true(fabs(ldar_head_loss(&head, first, 1, 1, equal, &correct) - log(4)) <= 1e-15);
    assert_int_equal(correct, 1);
    assert_true(ldar_head_loss(&head, first + 1, 1, 1, equal + 4, &correct) == 1e300);
    assert_int_equal(correct, 0);
}

/* ---- equal bits ---- */

static const char *const names[] = {"tiny", "shapes/three-stages", "shapes/no-scan", "shapes/tied"};
enum { NAMES = sizeof names / sizeof names[0], BATCHES = 3 };

static void make_batches(struct examples batches[BATCHES], size_t classes)
{
    struct random random = random_start(random_seed());
    batches[0] = examples_random(&random, (const size_t[]){70, 1, 33, 2}, 4, classes);
    batches[1] = examples_random(&random, (const size_t[]){2, 130}, 2, classes);
    batches[2] = examples_random(&random, (const size_t[]){1, 64, 3}, 3, classes);
}

static void free_batches(struct examples batches[BATCHES])
{
    for (size_t i = 0; i < BATCHES; i++) {
        examples_free(&batches[i]);
    }
}

/* What a trainer holds after some steps of several micro-batches. */
static struct memory course(const ldar_model *model, const struct ldar_trainer_options *options)
{
    struct examples batches[BATCHES];
    make_batches(batches, 3);
    ldar_trainer *trainer = trainer_with(model, options);
    for (size_t i = 0; i < 2; i++) {
        assert_false(study(trainer, batches, BATCHES, 1e-3, NULL).skipped);
    }
    struct memory memory = memory_of(trainer);
    ldar_trainer_destroy(trainer);
    free_batches(batches);
    return memory;
}

/* With any number of threads the same weights, moments and gradients. */
static void test_threads(void **state)
{
    (void)state;
    static const int threads[] = {2, 3, 7};
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_headed(names[n], LDAR_HEAD_CLASSES, 3, 1 + 4 * (n % 2));
        for (size_t last = 0; last <= 2; last += 2) {
            struct ldar_trainer_options options = example_options(1);
            options.last = last;
            ldar_trainer *any = trainer_with(model, &options);
            struct memory expected = course(model, &options);
            for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
                options.context.threads = threads[i];
                struct memory got = course(model, &options);
                assert_same_memory(any, &got, &expected, 1);
                memory_free(&got);
            }
            memory_free(&expected);
            ldar_trainer_destroy(any);
        }
        ldar_model_destroy(model);
    }
}

/* Whether a step fits that many bytes; if so, what it takes, and that it comes to what is expected. */
static int fits(const ldar_model *model, struct ldar_trainer_options options, size_t max_bytes,
                const struct examples *batch, const struct memory *expected, size_t *peak)
{
    ldar_trainer *trainer;
    struct ldar_error error = {0};
    struct ldar_example_loss loss;
    struct ldar_step step;
    options.context.max_bytes = max_bytes;
    enum ldar_status status = ldar_trainer_create(model, &options, &trainer, &error);
    if (!status) {
        status = ldar_trainer_begin(trainer, 1, NULL, NULL, &error);
    }
    if (!status) {
        status = ldar_trainer_add_examples(trainer, &batch->input.batch, batch->targets, &loss, &error);
    }
    if (!status) {
        struct ldar_profile profile;
        assert_ok(ldar_trainer_step(trainer, 1e-3, &step, &error), &error);
        ldar_trainer_profile(trainer, &profile);
        *peak = profile.peak_bytes;
        assert_true(*peak <= max_bytes);
        assert_memory(trainer, expected);
    }
    ldar_trainer_destroy(trainer);
    assert_true(status == LDAR_OK || status == LDAR_ERROR_MEMORY);
    assert_int_equal(error.status, status);
    return !status;
}

/* Less memory means that more is computed again, and the same bits; in the end that it does not fit. */
static void test_memory(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    struct examples batch = examples_random(&random, (const size_t[]){400, 1, 90}, 3, 3);
    for (size_t n = 0; n < 2; n++) {
        ldar_model *model = model_headed(names[n], LDAR_HEAD_CLASSES, 3, 1);
        for (size_t last = 0; last <= 2; last += 2) {
            struct ldar_trainer_options options = example_options(2);
            options.last = last;
            ldar_trainer *trainer = trainer_with(model, &options);
            study(trainer, &batch, 1, 1e-3, NULL);
            struct memory expected = memory_of(trainer);
            struct ldar_profile profile;
            ldar_trainer_profile(trainer, &profile);
            size_t low = 0, high = profile.peak_bytes, least = high, peak;
            ldar_trainer_destroy(trainer);
            assert_true(fits(model, options, high, &batch, &expected, &peak));
            while (high - low > profile.peak_bytes / 64) {
                const size_t middle = low + (high - low) / 2;
                if (fits(model, options, middle, &batch, &expected, &peak)) {
                    assert_true(peak <= least);
                    high = middle;
                    least = peak;
                } else {
                    low = middle;
                }
            }
            assert_true(least < profile.peak_bytes); /* something can be computed again */
            memory_free(&expected);
        }
        ldar_model_destroy(model);
    }
    examples_free(&batch);
}

/* A step's gradient is the mean of its micro-batches' own: to the bit where their number is a power of two. */
static void test_accumulation(void **state)
{
    (void)state;
    struct examples batches[BATCHES];
    make_batches(batches, 3);
    ldar_model *model = model_headed("tiny", LDAR_HEAD_CLASSES, 3, 1);
    const struct ldar_trainer_options options = example_options(2);
    ldar_trainer *both = trainer_with(model, &options), *one[2];
    for (size_t m = 0; m < 2; m++) {
        one[m] = trainer_with(model, &options);
        study(one[m], &batches[m], 1, 1e-3, NULL);
    }
    study(both, batches, 2, 1e-3, NULL);
    for (size_t i = 0; i < ldar_trainer_tensors(both); i++) {
        const struct ldar_trainer_tensor sum = tensor_at(both, i);
        const float *a = tensor_at(one[0], i).gradient, *b = tensor_at(one[1], i).gradient;
        for (size_t k = 0; k < sum.count; k++) {
            if (sum.gradient[k] != a[k] / 2 + b[k] / 2) {
                fail_msg("%s, element %zu: %.9g, of %.9g and %.9g", sum.name, k, (double)sum.gradient[k], (double)a[k],
                         (double)b[k]);
            }
        }
    }
    ldar_trainer_destroy(one[1]);
    ldar_trainer_destroy(one[0]);
    ldar_trainer_destroy(both);
    ldar_model_destroy(model);
    free_batches(batches);
}

/* ---- what learns ---- */

/* The blocks of two models from their end, and the norm of the stack that each is in. */
struct block {
    const char *layer, *norm;
};

#define INNER "backbone.main_network."
static const struct block tiny[] = {
    {"backbone.decoder.layers.0.", "backbone.decoder.rmsnorm."},
    {INNER "main_network.layers.1.", INNER "main_network.rmsnorm."},
    {INNER "main_network.layers.0.", INNER "main_network.rmsnorm."},
    {"backbone.encoder.layers.1.", "backbone.encoder.rmsnorm."},
    {"backbone.encoder.layers.0.", "backbone.encoder.rmsnorm."},
};
static const struct block deep[] = {
    {"backbone.decoder.layers.0.", "backbone.decoder.rmsnorm."},
    {INNER "decoder.layers.0.", INNER "decoder.rmsnorm."},
    {INNER "main_network.main_network.layers.0.", INNER "main_network.main_network.rmsnorm."},
    {INNER "encoder.layers.0.", INNER "encoder.rmsnorm."},
    {"backbone.encoder.layers.0.", "backbone.encoder.rmsnorm."},
};

static int starts(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static int expected_to_learn(const char *name, const struct block *blocks, size_t last)
{
    int learns = starts(name, "classifier.");
    for (size_t i = 0; i < last; i++) {
        learns |= starts(name, blocks[i].layer) || starts(name, blocks[i].norm);
    }
    return learns;
}

static int differs(const float *a, const float *b, size_t count)
{
    return memcmp(a, b, count * sizeof *a) != 0;
}

static void expect_zeros(const char *name, const float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] != 0) {
            fail_msg("%s: %.9g in element %zu", name, (double)numbers[i], i);
        }
    }
}

/* With the last K blocks: exactly their tensors move, by the gradients of a pass that goes all the way. */
static size_t check_last(const ldar_model *model, const struct block *blocks, size_t last, const ldar_trainer *whole,
                         const struct examples *batches)
{
    struct ldar_trainer_options options = example_options(2);
    options.last = last;
    ldar_trainer *trainer = trainer_with(model, &options);
    struct memory before = memory_of(trainer);
    const struct ldar_step step = study(trainer, batches, 2, 1e-3, NULL);
    const float *from = before.numbers;
    double squares = 0;
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        const int learns = expected_to_learn(tensor.name, blocks, last);
        if (differs(tensor.weight, from, tensor.count) != learns) {
            fail_msg("the last %zu blocks: %s %s", last, tensor.name, learns ? "does not move" : "moves");
        }
        if (!learns) {
            expect_zeros(tensor.name, tensor.gradient, tensor.count);
            expect_zeros(tensor.name, tensor.moment1, tensor.count);
            expect_zeros(tensor.name, tensor.moment2, tensor.count);
        } else if (differs(tensor.gradient, tensor_at(whole, i).gradient, tensor.count)) {
            fail_msg("the last %zu blocks: the gradient of %s is another", last, tensor.name);
        }
        for (size_t k = 0; k < tensor.count; k++) {
            squares += (double)tensor.gradient[k] * (double)tensor.gradient[k];
        }
        from += 4 * tensor.count;
    }
    assert_true(fabs(step.gradient_norm / sqrt(squares) - 1) <= 1e-6);
    struct ldar_profile profile;
    ldar_trainer_profile(trainer, &profile);
    memory_free(&before);
    ldar_trainer_destroy(trainer);
    return profile.peak_bytes;
}

static void test_last(void **state)
{
    (void)state;
    struct examples batches[BATCHES];
    make_batches(batches, 3);
    static const struct {
        const char *name;
        const struct block *blocks;
        size_t count;
    } cases[] = {{"tiny", tiny, sizeof tiny / sizeof *tiny}, {"shapes/two-stages", deep, sizeof deep / sizeof *deep}};
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        ldar_model *model = model_headed(cases[n].name, LDAR_HEAD_CLASSES, 3, 1);
        struct ldar_trainer_options options = example_options(2);
        ldar_trainer *whole = trainer_with(model, &options), *none = whole;
        study(whole, batches, 2, 1e-3, NULL);
        struct ldar_profile profile;
        ldar_trainer_profile(whole, &profile);
        size_t smaller = 0;
        for (size_t last = 1; last <= cases[n].count; last++) {
            const size_t peak = check_last(model, cases[n].blocks, last, whole, batches);
            assert_true(peak >= smaller && peak <= profile.peak_bytes);
            smaller = peak;
        }
        assert_int_equal(ldar_config_blocks(ldar_model_config(model)), 5);
        options.last = 6;
        struct ldar_error error;
        assert_int_equal(ldar_trainer_create(model, &options, &none, &error), LDAR_ERROR_ARGUMENT);
        assert_null(none);
        assert_string_equal(error.message, "the last 6 blocks of a model that has 5");
        ldar_trainer_destroy(whole);
        ldar_model_destroy(model);
    }
    free_batches(batches);
}

/* The head of pretraining has no part in it and keeps its bits, unless it is the embedding. */
static void test_other_head(void **state)
{
    (void)state;
    struct examples batches[BATCHES];
    make_batches(batches, 3);
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_headed(names[n], LDAR_HEAD_CLASSES, 3, 1);
        const struct ldar_trainer_options options = example_options(2);
        ldar_trainer *trainer = trainer_with(model, &options);
        struct memory before = memory_of(trainer);
        study(trainer, batches, 1, 1e-3, NULL);
        const float *from = before.numbers;
        for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
            const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
            if (strcmp(tensor.name, "lm_head.weight") == 0) {
                expect_zeros(tensor.name, tensor.gradient, tensor.count);
                assert_false(differs(tensor.weight, from, tensor.count));
            } else if (strcmp(tensor.name, "embeddings.weight") == 0 || starts(tensor.name, "classifier.")) {
                assert_true(differs(tensor.weight, from, tensor.count));
            }
            from += 4 * tensor.count;
        }
        memory_free(&before);
        ldar_trainer_destroy(trainer);
        ldar_model_destroy(model);
    }
    free_batches(batches);
}

/* Masked language modelling does what it does without a head, which it leaves to the bit. */
static void test_masked(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    struct lesson lesson = lesson_random(&random, (const size_t[]){60, 1, 29}, 3, 1);
    ldar_model *bare = model_load("tiny"), *headed = model_headed("tiny", LDAR_HEAD_CLASSES, 3, 1);
    ldar_trainer *without = trainer_new(bare, 2), *with = trainer_new(headed, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct ldar_step a = learn(without, &lesson, 1, 1e-3, NULL, NULL);
        const struct ldar_step b = learn(with, &lesson, 1, 1e-3, NULL, NULL);
        assert_true(fabs(a.gradient_norm / b.gradient_norm - 1) <= 1e-12);
    }
    const size_t tensors = ldar_trainer_tensors(without);
    assert_int_equal(ldar_trainer_tensors(with), tensors + 2);
    for (size_t i = 0; i < tensors; i++) {
        const struct ldar_trainer_tensor a = tensor_at(without, i), b = tensor_at(with, i);
        assert_false(differs(a.weight, b.weight, a.count));
    }
    const struct ldar_head *head = ldar_model_head(headed), *kept = ldar_model_head(ldar_trainer_weights(with));
    assert_false(differs(head->weight, kept->weight, head->outputs * 64));
    assert_false(differs(head->bias, kept->bias, head->outputs));
    ldar_trainer_destroy(with);
    ldar_trainer_destroy(without);
    ldar_model_destroy(headed);
    ldar_model_destroy(bare);
    lesson_free(&lesson);
}

/* The head's rate is the base rate times head_rate, and nobody else's. */
static void test_rate(void **state)
{
    (void)state;
    struct examples batches[BATCHES];
    make_batches(batches, 3);
    ldar_model *model = model_headed("tiny", LDAR_HEAD_CLASSES, 3, 1);
    struct ldar_trainer_options options = example_options(2);
    options.decay = -1;
    ldar_trainer *slow = trainer_with(model, &options);
    options.head_rate = 8;
    ldar_trainer *fast = trainer_with(model, &options);
    struct memory before = memory_of(slow);
    study(slow, batches, 1, 0x1p-10, NULL);
    study(fast, batches, 1, 0x1p-10, NULL);
    const float *from = before.numbers;
    for (size_t i = 0; i < ldar_trainer_tensors(slow); i++) {
        const struct ldar_trainer_tensor a = tensor_at(slow, i), b = tensor_at(fast, i);
        const int head = starts(a.name, "classifier.");
        assert_int_equal(differs(a.weight, b.weight, a.count), head);
        for (size_t k = 0; k < a.count && head; k++) {
            const double small = (double)a.weight[k] - (double)from[k], large = (double)b.weight[k] - (double)from[k];
            assert_true(fabs(large - 8 * small) <= 1e-3 * fabs(large) + 1e-6);
            assert_true(fabs(fabs(small) / 0x1p-10 - 1) <= 1e-2); /* a first step is one of the rate */
        }
        from += 4 * a.count;
    }
    memory_free(&before);
    ldar_trainer_destroy(fast);
    ldar_trainer_destroy(slow);
    ldar_model_destroy(model);
    free_batches(batches);
}

/* A gradient that is not finite moves nothing and is named, also where the pass ends early. */
static void test_skipped(void **state)
{
    (void)state;
    struct examples batches[BATCHES];
    make_batches(batches, 3);
    ldar_model *model = model_headed("tiny", LDAR_HEAD_CLASSES, 3, 1);
    for (size_t last = 0; last <= 1; last++) {
        struct ldar_trainer_options options = example_options(2);
        options.last = last;
        ldar_trainer *trainer = trainer_with(model, &options);
        tensor_at(trainer, tensor_index(trainer, "classifier.bias")).weight[1] = NAN;
        struct memory before = memory_of(trainer);
        const struct ldar_step step = study(trainer, batches, 1, 1e-3, NULL);
        struct memory after = memory_of(trainer);
        assert_true(step.skipped && step.tensor);
        assert_same_memory(trainer, &after, &before, 0);
        memory_free(&after);
        memory_free(&before);
        ldar_trainer_destroy(trainer);
    }
    ldar_model_destroy(model);
    free_batches(batches);
}

/* ---- what comes out ---- */

/* Eight sequences by heart; the model that comes out scores as the trainer does, and knows its classes. */
static void test_by_heart(void **state)
{
    (void)state;
    enum { SEQUENCES_KNOWN = 8, LIMIT = 60 };
    struct random random = random_start(random_seed());
    struct examples examples =
        examples_random(&random, (const size_t[]){40, 41, 42, 60, 33, 20, 50, 70}, SEQUENCES_KNOWN, 3);
    for (size_t s = 0; s < SEQUENCES_KNOWN; s++) {
        examples.targets[s] = (float)(s % 3);
    }
    ldar_model *model = model_headed("tiny", LDAR_HEAD_CLASSES, 3, 1), *learned;
    const struct ldar_trainer_options options = example_options(2);
    ldar_trainer *trainer = trainer_with(model, &options);
    struct ldar_example_loss loss = {.loss = INFINITY};
    size_t steps = 0;
    for (; steps < LIMIT && !(loss.loss < 0.05); steps++) {
        study(trainer, &examples, 1, 1e-3, &loss);
        if (steps == 0) {
            assert_true(loss.loss > 0.5);
        }
    }
    print_message("loss %.3f after %zu steps\n", loss.loss, steps);
    assert_true(loss.loss < 0.05);
    assert_int_equal(loss.correct, SEQUENCES_KNOWN);

    struct ldar_error error;
    float scores[SEQUENCES_KNOWN * 3], again[SEQUENCES_KNOWN * 3], mean[SEQUENCES_KNOWN * 64];
    assert_ok(ldar_trainer_scores(trainer, &examples.input.batch, scores, &error), &error);
    assert_ok(ldar_trainer_model(trainer, &learned, &error), &error);
    ldar_trainer_destroy(trainer);
    ldar_context *context = context_new(learned, 2);
    const struct ldar_outputs outputs = {.size = sizeof outputs, .mean = mean};
    assert_ok(ldar_forward(context, &examples.input.batch, NULL, &outputs, &error), &error);
    const struct ldar_head *head = ldar_model_head(learned);
    assert_string_equal(head->names[2], "c");
    ldar_head_scores(head, 64, mean, SEQUENCES_KNOWN, again);
    assert_close_floats("scores", again, scores, SEQUENCES_KNOWN * 3);
    ldar_context_destroy(context);
    ldar_model_destroy(learned);
    ldar_model_destroy(model);
    examples_free(&examples);
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),     cmocka_unit_test(test_pool),         cmocka_unit_test(test_head),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_memory),       cmocka_unit_test(test_last),
        cmocka_unit_test(test_other_head), cmocka_unit_test(test_accumulation), cmocka_unit_test(test_rate),
        cmocka_unit_test(test_masked),     cmocka_unit_test(test_skipped),      cmocka_unit_test(test_by_heart),
    };
    return cmocka_run_group_tests_name("model.finetuning", tests, NULL, NULL);
}
