/* SPDX-License-Identifier: Apache-2.0 */
#include "lesson.h"

#include <stdlib.h>
#include <string.h>

struct lesson lesson_random(struct random *random, const size_t *lengths, size_t sequences, int labelled)
{
    struct lesson lesson = {.input = input_random(random, lengths, sequences, 0)};
    const size_t rows = input_rows(&lesson.input.batch);
    lesson.labels = malloc(rows + 1);
    assert_non_null(lesson.labels);
    for (size_t i = 0; i < rows; i++) {
        lesson.labels[i] =
            labelled && random_below(random, 4) == 0 ? (uint8_t)random_below(random, 4) : LDAR_UNLABELLED;
    }
    return lesson;
}

void lesson_free(struct lesson *lesson)
{
    input_free(&lesson->input);
    free(lesson->labels);
}

struct ldar_trainer_options trainer_options_new(int threads)
{
    return (struct ldar_trainer_options){.size = sizeof(struct ldar_trainer_options), .context = options_new(threads)};
}

ldar_trainer *trainer_with(const ldar_model *model, const struct ldar_trainer_options *options)
{
    ldar_trainer *trainer;
    struct ldar_error error;
    assert_ok(ldar_trainer_create(model, options, &trainer, &error), &error);
    return trainer;
}

ldar_trainer *trainer_new(const ldar_model *model, int threads)
{
    const struct ldar_trainer_options options = trainer_options_new(threads);
    ldar_trainer *trainer = trainer_with(model, &options);
    assert_int_equal(ldar_trainer_isa(trainer), test_isa);
    assert_int_equal(ldar_trainer_dtype(trainer), test_dtype);
    assert_int_equal(ldar_trainer_threads(trainer), threads);
    return trainer;
}

struct ldar_step learn(ldar_trainer *trainer, const struct lesson *lessons, size_t count, double rate,
                       const struct ldar_boundaries *boundaries, struct ldar_loss *loss)
{
    struct ldar_error error;
    struct ldar_loss own;
    struct ldar_step step;
    assert_ok(ldar_trainer_begin(trainer, count, NULL, NULL, &error), &error);
    for (size_t i = 0; i < count; i++) {
        assert_ok(ldar_trainer_add(trainer, &lessons[i].input.batch, lessons[i].labels, boundaries,
                                   loss ? &loss[i] : &own, &error),
                  &error);
    }
    assert_ok(ldar_trainer_step(trainer, rate, &step, &error), &error);
    return step;
}

struct ldar_trainer_tensor tensor_at(const ldar_trainer *trainer, size_t index)
{
    struct ldar_trainer_tensor tensor;
    ldar_trainer_tensor(trainer, index, &tensor);
    return tensor;
}

size_t tensor_index(const ldar_trainer *trainer, const char *name)
{
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        if (strcmp(tensor_at(trainer, i).name, name) == 0) {
            return i;
        }
    }
    fail_msg("no parameter %s", name);
    return 0;
}

enum { PARTS = 4 };

struct memory memory_of(const ldar_trainer *trainer)
{
    struct memory memory = {.steps = ldar_trainer_steps(trainer)};
    const size_t tensors = ldar_trainer_tensors(trainer);
    for (size_t i = 0; i < tensors; i++) {
        memory.count += PARTS * tensor_at(trainer, i).count;
    }
    float *to = memory.numbers = malloc(memory.count * sizeof(float));
    assert_non_null(to);
    for (size_t i = 0; i < tensors; i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        const float *parts[PARTS] = {tensor.weight, tensor.moment1, tensor.moment2, tensor.gradient};
        for (size_t part = 0; part < PARTS; part++, to += tensor.count) {
            if (parts[part]) {
                memcpy(to, parts[part], tensor.count * sizeof(float));
            } else {
                memset(to, 0, tensor.count * sizeof(float)); /* no step, no gradient */
            }
        }
    }
    return memory;
}

void memory_free(struct memory *memory)
{
    free(memory->numbers);
}

void assert_same_memory(const ldar_trainer *trainer, const struct memory *a, const struct memory *b, int gradients)
{
    static const char *const names[PARTS] = {"weight", "first moment", "second moment", "gradient"};
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->steps, b->steps);
    const float *at_a = a->numbers, *at_b = b->numbers;
    for (size_t i = 0; i < ldar_trainer_tensors(trainer); i++) {
        const struct ldar_trainer_tensor tensor = tensor_at(trainer, i);
        for (size_t part = 0; part < PARTS; part++, at_a += tensor.count, at_b += tensor.count) {
            if ((gradients || part < PARTS - 1) && memcmp(at_a, at_b, tensor.count * sizeof(float)) != 0) {
                fail_msg("%s of %s differs", names[part], tensor.name);
            }
        }
    }
}

void assert_memory(const ldar_trainer *trainer, const struct memory *expected)
{
    struct memory memory = memory_of(trainer);
    assert_same_memory(trainer, &memory, expected, 1);
    memory_free(&memory);
}
