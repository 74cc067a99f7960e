/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_MODEL_LESSON_H
#define LDAR_TESTS_MODEL_LESSON_H

#include "fixture.h"

#include <ldar/train.h>

/*
 * What the tests of training share. Every function fails the running test when it cannot do what it says.
 */

/* A micro-batch with its labels. */
struct lesson {
    struct input input;
    uint8_t *labels;
};

/* Random symbols; about one position in four is labelled, but none where `labelled` is 0. */
struct lesson lesson_random(struct random *random, const size_t *lengths, size_t sequences, int labelled);
void lesson_free(struct lesson *lesson);

/* test_isa, test_dtype and so many threads, all else as published; and a trainer of these. */
struct ldar_trainer_options trainer_options_new(int threads);
ldar_trainer *trainer_with(const ldar_model *model, const struct ldar_trainer_options *options);
ldar_trainer *trainer_new(const ldar_model *model, int threads);

/* A whole step over the micro-batches; `loss` may be NULL, or takes one per micro-batch. */
struct ldar_step learn(ldar_trainer *trainer, const struct lesson *lessons, size_t count, double rate,
                       const struct ldar_boundaries *boundaries, struct ldar_loss *loss);

/* What a trainer holds: weights, moments and gradients of all tensors, and its steps. */
struct memory {
    size_t count;
    float *numbers; /* of each tensor weights, moments and gradient, count floats each */
    uint64_t steps;
};

struct memory memory_of(const ldar_trainer *trainer);
void memory_free(struct memory *memory);
/* Equal bits; `gradients` 0: but for the gradients. */
void assert_same_memory(const ldar_trainer *trainer, const struct memory *a, const struct memory *b, int gradients);

/* What the trainer holds now. */
void assert_memory(const ldar_trainer *trainer, const struct memory *expected);

/* The index of the parameter of that name; it is a failure when there is none. */
size_t tensor_index(const ldar_trainer *trainer, const char *name);
struct ldar_trainer_tensor tensor_at(const ldar_trainer *trainer, size_t index);

#endif
