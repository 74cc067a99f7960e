/* SPDX-License-Identifier: Apache-2.0 */
/* Training against the golden files; and that neither threads nor memory nor company change a bit of it. */
#include "lesson.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- golden files ---- */

/* Bounds by type: relative error of losses; relative L2 of gradients and 1 - cosine; of what two steps change. */
struct training_bounds {
    double loss, gradient, angle, change;
};

/*
 * The first steps of AdamW follow the signs of gradients, which bfloat16 cannot tell where they are least: changes are
 * compared in float32 alone. So are gradients of a single number, as those of a lone head: sums that may cancel.
 */
static struct training_bounds training_bounds(void)
{
    return test_dtype == LDAR_BF16 ? (struct training_bounds){2e-3, 3e-2, 1e-3, 0}
                                   : (struct training_bounds){1e-6, 5e-5, 1e-6, 2e-3};
}

struct golden {
    ldar_tensors *file;
    struct lesson lesson;
    size_t strays; /* tensors out of bounds, all of which are printed */
};

static struct ldar_tensor golden_tensor(const struct golden *golden, const char *prefix, const char *name)
{
    char key[300];
    snprintf(key, sizeof key, "%s%s", prefix, name);
    const size_t index = ldar_tensors_find(golden->file, key);
    if (index == ldar_tensors_count(golden->file)) {
        fail_msg("no tensor %s", key);
    }
    return ldar_tensors_at(golden->file, index);
}

static int golden_has(const struct golden *golden, const char *name)
{
    return ldar_tensors_find(golden->file, name) < ldar_tensors_count(golden->file);
}

static void golden_close(struct golden *golden)
{
    lesson_free(&golden->lesson);
    ldar_tensors_close(golden->file);
}

static struct golden golden_open(const char *path)
{
    struct golden golden = {.strays = 0};
    struct ldar_error error;
    assert_ok(ldar_tensors_open(path, 0, &golden.file, &error), &error);
    size_t sequences = 0, lengths[16];
    for (char name[16] = "0"; sequences < 16; snprintf(name, sizeof name, "%zu", sequences)) {
        char key[32];
        snprintf(key, sizeof key, "ids.%s", name);
        if (!golden_has(&golden, key)) {
            break;
        }
        lengths[sequences++] = golden_tensor(&golden, "ids.", name).count;
    }
    assert_true(sequences > 0);
    struct random none = random_start(0);
    golden.lesson = lesson_random(&none, lengths, sequences, 0);
    size_t row = 0;
    for (size_t s = 0; s < sequences; s++) {
        char name[24];
        snprintf(name, sizeof name, "%zu", s);
        const struct ldar_tensor ids = golden_tensor(&golden, "ids.", name);
        const struct ldar_tensor labels = golden_tensor(&golden, "labels.", name);
        assert_int_equal(labels.count, ids.count);
        for (size_t i = 0; i < ids.count; i++, row++) {
            int64_t id, label;
            memcpy(&id, (const char *)ids.data + i * sizeof id, sizeof id);
            memcpy(&label, (const char *)labels.data + i * sizeof label, sizeof label);
            golden.lesson.input.memory[row] = (uint8_t)id;
            golden.lesson.labels[row] = label < 0 ? LDAR_UNLABELLED : (uint8_t)label;
        }
    }
    return golden;
}

static void check_loss(struct golden *golden, const char *name, double got)
{
    const struct ldar_tensor tensor = golden_tensor(golden, "", name);
    float expected;
    assert_int_equal(tensor.bytes, sizeof expected);
    memcpy(&expected, tensor.data, sizeof expected);
    const double error = fabs(got / (double)expected - 1);
    if (!(error <= training_bounds().loss)) {
        print_message("  %s: %.9g, expected %.9g: relative error %.2e\n", name, got, (double)expected, error);
        golden->strays++;
    }
}

/* ||a - b|| / ||b||; where b is nothing, whether a is. */
struct product {
    double error, norm, own, inner;
};

static struct product product_of(const float *got, const float *from, const struct ldar_tensor *expected, size_t count)
{
    struct product p = {0};
    assert_int_equal(expected->bytes, count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        float reference;
        memcpy(&reference, (const char *)expected->data + i * sizeof reference, sizeof reference);
        const double a = (double)got[i] - (from ? (double)from[i] : 0);
        const double b = (double)reference - (from ? (double)from[i] : 0);
        p.error += (a - b) * (a - b);
        p.norm += b * b;
        p.own += a * a;
        p.inner += a * b;
    }
    return p;
}

static void check_gradients(struct golden *golden, const ldar_trainer *trainer)
{
    const struct training_bounds bounds = training_bounds();
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        const struct ldar_tensor expected = golden_tensor(golden, "grad.", tensor.name);
        const struct product p = product_of(tensor.gradient, NULL, &expected, tensor.count);
        const double l2 = sqrt(p.error / p.norm), angle = 1 - p.inner / sqrt(p.norm * p.own);
        const int judged = test_dtype == LDAR_F32 || tensor.count > 1;
        if (judged && !(l2 <= bounds.gradient && angle <= bounds.angle)) {
            print_message("  gradient of %s: relative L2 %.2e, 1 - cosine %.2e\n", tensor.name, l2, angle);
            golden->strays++;
        }
    }
}

static void check_changes(struct golden *golden, const ldar_trainer *trainer, const struct memory *before)
{
    const float *from = before->numbers;
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        const struct ldar_tensor expected = golden_tensor(golden, "adamw2.", tensor.name);
        const struct product p = product_of(tensor.weight, from, &expected, tensor.count);
        const double l2 = sqrt(p.error / p.norm);
        if (!(l2 <= training_bounds().change)) {
            print_message("  change of %s: relative L2 %.2e\n", tensor.name, l2);
            golden->strays++;
        }
        from += 4 * tensor.count;
    }
}

/* The boundaries that float32 finds: with bfloat16 one that falls otherwise makes another sequence of tokens. */
static uint8_t *find_boundaries(const ldar_model *model, const struct ldar_batch *batch)
{
    uint8_t *boundary = malloc(input_rows(batch));
    assert_non_null(boundary);
    struct ldar_context_options options = options_new(2);
    options.dtype = LDAR_F32;
    ldar_context *context = context_with(model, &options);
    const struct ldar_outputs outputs = {.size = sizeof outputs, .boundary = boundary};
    struct ldar_error error;
    assert_ok(ldar_forward(context, batch, NULL, &outputs, &error), &error);
    ldar_context_destroy(context);
    return boundary;
}

static void check_file(const char *path, const ldar_model *model)
{
    struct golden golden = golden_open(path);
    ldar_trainer *trainer = trainer_new(model, 2);
    struct memory before = memory_of(trainer);
    struct ldar_boundaries forced = {.size = sizeof forced};
    uint8_t *boundary = test_dtype == LDAR_BF16 ? find_boundaries(model, &golden.lesson.input.batch) : NULL;
    forced.forced = boundary;

    struct ldar_loss loss;
    learn(trainer, &golden.lesson, 1, 1e-3, boundary ? &forced : NULL, &loss);
    check_loss(&golden, "loss", loss.loss);
    check_loss(&golden, "mlm", loss.mlm);
    check_loss(&golden, "ratio", loss.ratio);
    check_gradients(&golden, trainer);
    if (training_bounds().change > 0 && golden_has(&golden, "adamw2.embeddings.weight")) {
        learn(trainer, &golden.lesson, 1, 1e-3, NULL, NULL);
        check_changes(&golden, trainer, &before);
    }
    if (golden.strays > 0) {
        fail_msg("%s: %zu are out of bounds", path, golden.strays);
    }
    free(boundary);
    memory_free(&before);
    ldar_trainer_destroy(trainer);
    golden_close(&golden);
}

static size_t check_folder(const char *pattern)
{
    glob_t files;
    assert_int_equal(glob(golden_path(pattern), 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i];
        char model_path[4096];
        snprintf(model_path, sizeof model_path, "%.*s.safetensors", (int)(strlen(path) - strlen("-train.safetensors")),
                 path);
        print_message("%s\n", strrchr(path, '/') + 1);
        ldar_model *model;
        struct ldar_error error;
        assert_ok(ldar_model_load(model_path, &model, &error), &error);
        check_file(path, model);
        ldar_model_destroy(model);
    }
    const size_t checked = files.gl_pathc;
    globfree(&files);
    return checked;
}

static void test_golden(void **state)
{
    (void)state;
    assert_true(check_folder("*-train.safetensors") > 0);
    assert_true(check_folder("shapes/*-train.safetensors") > 0);
}

/* ---- equal bits ---- */

static const char *const names[] = {"tiny", "shapes/two-stages", "shapes/no-scan", "shapes/tied"};
enum { NAMES = sizeof names / sizeof names[0], STEPS = 4, LESSONS = 3 };

static void make_lessons(struct lesson lessons[LESSONS])
{
    struct random random = random_start(random_seed());
    lessons[0] = lesson_random(&random, (const size_t[]){70, 1, 0, 33}, 4, 1);
    lessons[1] = lesson_random(&random, (const size_t[]){2, 130}, 2, 1);
    lessons[2] = lesson_random(&random, (const size_t[]){65}, 1, 0);
}

static void free_lessons(struct lesson lessons[LESSONS])
{
    for (size_t i = 0; i < LESSONS; i++) {
        lesson_free(&lessons[i]);
    }
}

/* What a trainer holds after some steps of several micro-batches, the second of them with fixed boundaries. */
static struct memory course(const ldar_model *model, const struct ldar_trainer_options *options, size_t *peak)
{
    struct lesson lessons[LESSONS];
    make_lessons(lessons);
    ldar_trainer *trainer = trainer_with(model, options);
    for (size_t i = 0; i < STEPS; i++) {
        const struct ldar_boundaries boundaries = {.size = sizeof boundaries, .every = i == 1 ? 3 : 0};
        const struct ldar_step step = learn(trainer, lessons, LESSONS, 1e-3, &boundaries, NULL);
        assert_false(step.skipped);
    }
    struct ldar_profile profile;
    ldar_trainer_profile(trainer, &profile);
    *peak = profile.peak_bytes;
    struct memory memory = memory_of(trainer);
    ldar_trainer_destroy(trainer);
    free_lessons(lessons);
    return memory;
}

/* With any number of threads the same weights, moments and gradients. */
static void test_threads(void **state)
{
    (void)state;
    static const int threads[] = {2, 3, 7};
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_load(names[n]);
        ldar_trainer *any = trainer_new(model, 1);
        struct ldar_trainer_options options = trainer_options_new(1);
        size_t peak;
        struct memory expected = course(model, &options, &peak);
        for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
            options.context.threads = threads[i];
            struct memory got = course(model, &options, &peak);
            assert_same_memory(any, &got, &expected, 1);
            memory_free(&got);
        }
        memory_free(&expected);
        ldar_trainer_destroy(any);
        ldar_model_destroy(model);
    }
}

/* Whether a step over the lesson fits. */
static int fits(const ldar_model *model, const struct ldar_trainer_options *options, const struct lesson *lesson)
{
    ldar_trainer *trainer = NULL;
    struct ldar_error error = {0};
    struct ldar_loss loss;
    enum ldar_status status = ldar_trainer_create(model, options, &trainer, &error);
    if (!status) {
        status = ldar_trainer_begin(trainer, 1, NULL, NULL, &error);
    }
    if (!status) {
        status = ldar_trainer_add(trainer, &lesson->input.batch, lesson->labels, NULL, &loss, &error);
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
    enum { LEVELS = 6 };
    struct random random = random_start(random_seed());
    struct lesson large = lesson_random(&random, (const size_t[]){400, 1, 90}, 3, 1);
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_load(names[n]);
        struct ldar_trainer_options options = trainer_options_new(2);
        ldar_trainer *trainer = trainer_with(model, &options);
        struct ldar_step step = learn(trainer, &large, 1, 1e-3, NULL, NULL);
        assert_false(step.skipped);
        struct memory expected = memory_of(trainer);
        struct ldar_profile profile;
        ldar_trainer_profile(trainer, &profile);
        const size_t most = profile.peak_bytes;
        ldar_trainer_destroy(trainer);

        size_t low = 0, high = most;
        while (high - low > most / 64) {
            const size_t middle = low + (high - low) / 2;
            options.context.max_bytes = middle;
            *(fits(model, &options, &large) ? &high : &low) = middle;
        }
        assert_true(high < most - most / 64); /* something can be computed again */
        size_t taken = SIZE_MAX;
        for (size_t level = 0; level < LEVELS; level++) {
            options.context.max_bytes = most - (most - high) / (LEVELS - 1) * level;
            trainer = trainer_with(model, &options);
            learn(trainer, &large, 1, 1e-3, NULL, NULL);
            assert_memory(trainer, &expected);
            ldar_trainer_profile(trainer, &profile);
            if (profile.peak_bytes > options.context.max_bytes || profile.peak_bytes > taken) {
                fail_msg("%s: took %zu bytes of %zu", names[n], profile.peak_bytes, options.context.max_bytes);
            }
            taken = profile.peak_bytes;
            ldar_trainer_destroy(trainer);
        }
        assert_true(taken < most);
        memory_free(&expected);
        ldar_model_destroy(model);
    }
    lesson_free(&large);
}

/* ---- micro-batches ---- */

/* The sum of parts 0 .. count - 1 along the tree: the left side is the largest power of two below count. */
static float tree_sum(const float *part, size_t count)
{
    size_t left = 1;
    if (count == 1) {
        return part[0];
    }
    while (2 * left < count) {
        left *= 2;
    }
    return tree_sum(part, left) + tree_sum(part + left, count - left);
}

/* The relative error of a tensor's gradient as the mean of its micro-batches' own. */
static double mean_error(const ldar_trainer *together, ldar_trainer *const *alone, size_t count, size_t index)
{
    const struct ldar_trainer_tensor sum = tensor_at(together, index);
    double error = 0, norm = 0;
    for (size_t k = 0; k < sum.count; k++) {
        float part[2 * LESSONS];
        for (size_t m = 0; m < count; m++) {
            part[m] = tensor_at(alone[m % LESSONS], index).gradient[k] / (float)count;
            norm += (double)part[m] * (double)part[m];
        }
        const double difference = (double)sum.gradient[k] - (double)tree_sum(part, count);
        error += difference * difference;
    }
    return error == 0 ? 0 : sqrt(error / norm);
}

/*
 * A step's gradient is the mean of its micro-batches' own, summed along the tree: to the bit where their number is a
 * power of two, by which a gradient is divided without rounding.
 */
static void test_accumulation(void **state)
{
    (void)state;
    struct lesson lessons[2 * LESSONS];
    make_lessons(lessons);
    memcpy(lessons + LESSONS, lessons, LESSONS * sizeof *lessons);
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_load(names[n]);
        ldar_trainer *alone[LESSONS];
        for (size_t m = 0; m < LESSONS; m++) {
            alone[m] = trainer_new(model, 2);
            learn(alone[m], &lessons[m], 1, 1e-3, NULL, NULL);
        }
        for (size_t count = 1; count <= 2 * LESSONS; count++) {
            ldar_trainer *together = trainer_new(model, 2);
            const int exact = (count & (count - 1)) == 0;
            const double bound = exact ? 0 : training_bounds().gradient;
            learn(together, lessons, count, 1e-3, NULL, NULL);
            for (size_t i = 0; i < ldar_trainer_tensors(together); i++) {
                const double error = mean_error(together, alone, count, i);
                const int judged = exact || test_dtype == LDAR_F32 || tensor_at(together, i).count > 1;
                if (judged && !(error <= bound)) {
                    fail_msg("%s, %zu micro-batches, %s: relative L2 %.2e", names[n], count,
                             tensor_at(together, i).name, error);
                }
            }
            ldar_trainer_destroy(together);
        }
        for (size_t m = 0; m < LESSONS; m++) {
            ldar_trainer_destroy(alone[m]);
        }
        ldar_model_destroy(model);
    }
    free_lessons(lessons);
}

/* An empty sequence in a batch adds nothing to it, nor does what was computed before. */
static void test_company(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    struct lesson bare = lesson_random(&random, (const size_t[]){50, 31}, 2, 1);
    struct lesson padded = lesson_random(&random, (const size_t[]){0, 50, 0, 0, 31, 0}, 6, 0);
    struct lesson other = lesson_random(&random, (const size_t[]){300}, 1, 1);
    memcpy(padded.input.memory, bare.input.memory, 81);
    memcpy(padded.labels, bare.labels, 81);
    for (size_t n = 0; n < NAMES; n++) {
        ldar_model *model = model_load(names[n]);
        ldar_trainer *trainer = trainer_new(model, 2), *used = trainer_new(model, 2);
        struct ldar_loss loss, again;
        learn(trainer, &bare, 1, 1e-3, NULL, &loss);
        struct memory expected = memory_of(trainer);
        struct ldar_error error;
        assert_ok(ldar_trainer_evaluate(used, &other.input.batch, other.labels, NULL, &again, &error), &error);
        learn(used, &padded, 1, 1e-3, NULL, &again);
        assert_memory(used, &expected);
        assert_memory_equal(&again, &loss, sizeof loss);
        memory_free(&expected);
        ldar_trainer_destroy(used);
        ldar_trainer_destroy(trainer);
        ldar_model_destroy(model);
    }
    lesson_free(&other);
    lesson_free(&padded);
    lesson_free(&bare);
}

/* ---- it learns ---- */

/* A sequence by heart: what is masked can be told from what stands around it. */
static void test_overfit(void **state)
{
    (void)state;
    enum { SEQUENCES = 2, LENGTH = 48, LIMIT = 400 };
    struct random random = random_start(random_seed());
    ldar_model *model = model_load("tiny");
    ldar_trainer *trainer = trainer_new(model, 2);
    struct lesson lesson = lesson_random(&random, (const size_t[]){LENGTH, LENGTH}, SEQUENCES, 0);
    for (size_t i = 0; i < SEQUENCES * LENGTH; i++) {
        lesson.input.memory[i] = (uint8_t)random_below(&random, 4);
    }
    ldar_mask(lesson.input.memory, lesson.labels, SEQUENCES * LENGTH, 0.15, random_seed(), 0, 0);
    struct ldar_loss loss = {.mlm = INFINITY};
    size_t steps = 0;
    for (; steps < LIMIT && !(loss.mlm < 0.05); steps++) {
        learn(trainer, &lesson, 1, 1e-3, NULL, &loss);
        if (steps == 0) {
            assert_true(loss.labelled > 4 && loss.mlm > 1);
        }
    }
    print_message("masked loss %.3f after %zu steps\n", loss.mlm, steps);
    assert_true(loss.mlm < 0.05);
    assert_int_equal(ldar_trainer_steps(trainer), steps);
    lesson_free(&lesson);
    ldar_trainer_destroy(trainer);
    ldar_model_destroy(model);
}

/* Bfloat16 learns what float32 does: the same loss within a hundredth along the way. */
static void test_bfloat16(void **state)
{
    (void)state;
    enum { LONG_STEPS = 30 };
    if (test_dtype != LDAR_BF16) {
        skip();
    }
    struct random random = random_start(random_seed());
    struct lesson lesson = lesson_random(&random, (const size_t[]){200, 100}, 2, 1);
    ldar_model *model = model_load("tiny");
    struct ldar_trainer_options options = trainer_options_new(2);
    ldar_trainer *half = trainer_with(model, &options);
    options.context.dtype = LDAR_F32;
    ldar_trainer *single = trainer_with(model, &options);
    assert_int_equal(ldar_trainer_dtype(single), LDAR_F32);
    const struct ldar_boundaries boundaries = {.size = sizeof boundaries, .every = 4};
    for (size_t i = 0; i < LONG_STEPS; i++) {
        struct ldar_loss a, b;
        learn(half, &lesson, 1, 3e-4, &boundaries, &a);
        learn(single, &lesson, 1, 3e-4, &boundaries, &b);
        if (!(fabs(a.loss / b.loss - 1) <= 1e-2)) {
            fail_msg("step %zu: loss %.6g, with float32 %.6g", i, a.loss, b.loss);
        }
    }
    ldar_trainer_destroy(single);
    ldar_trainer_destroy(half);
    ldar_model_destroy(model);
    lesson_free(&lesson);
}

int main(int argc, char **argv)
{
    fixture_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),       cmocka_unit_test(test_threads), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_accumulation), cmocka_unit_test(test_company), cmocka_unit_test(test_overfit),
        cmocka_unit_test(test_bfloat16),
    };
    return cmocka_run_group_tests_name("model.training", tests, NULL, NULL);
}
