/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_MODEL_FIXTURE_H
#define LDAR_TESTS_MODEL_FIXTURE_H

#include <ldar/ldar.h>

#include "kit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * What the tests of whole models share. Every function fails the running test when it cannot do what it says.
 */

/* The instruction set under test: the program's argument. One that multiplies bfloat16 is tested with it. */
extern enum ldar_isa test_isa;
extern enum ldar_dtype test_dtype;

/* Reads the program's only argument, the name of an instruction set; ends the process with 77 where it does not run. */
void fixture_start(int argc, char **argv);

/* "SOURCE/tests/golden/NAME", valid until the next call. */
const char *golden_path(const char *name);

/* The model of tests/golden/NAME.safetensors. */
ldar_model *model_load(const char *name);

/* The file of the model written with matrices of `dtype`, and loaded again. */
ldar_model *model_stored(const ldar_model *model, enum ldar_dtype dtype);

/* test_isa, test_dtype and so many threads; and a context of these. */
struct ldar_context_options options_new(int threads);
ldar_context *context_new(const ldar_model *model, int threads);
ldar_context *context_with(const ldar_model *model, const struct ldar_context_options *options);

/* Fails the test with the error's message unless `status` is LDAR_OK. */
void assert_ok(enum ldar_status status, const struct ldar_error *error);

/* A batch that owns its arrays; `shift` bytes stand before the ids, which are drawn from all symbols. */
struct input {
    struct ldar_batch batch;
    uint8_t *memory;
    size_t *offsets;
};

struct input input_random(struct random *random, const size_t *lengths, size_t sequences, size_t shift);
struct input input_one(struct random *random, size_t length);
/* Sequence `index` of another batch, alone. */
struct input input_part(const struct ldar_batch *batch, size_t index, size_t shift);
void input_free(struct input *input);
size_t input_rows(const struct ldar_batch *batch);

/* Room for all outputs of a batch, NaN until written; `shift` floats stand before each array. */
struct result {
    struct ldar_outputs out;
    size_t rows, sequences, width;
    void *memory[8];
};

struct result result_new(const ldar_model *model, const struct ldar_batch *batch, size_t shift);
void result_free(struct result *result);

/* The forward pass with all outputs. */
struct result forward(ldar_context *context, const ldar_model *model, const struct ldar_batch *batch,
                      const struct ldar_boundaries *boundaries);

/* Equal bits of all outputs: of whole batches, and of a sequence in two batches. */
void assert_same_result(const struct result *a, const struct result *b);
void assert_same_sequence(const struct result *a, const struct ldar_batch *in_a, size_t index_a,
                          const struct result *b, const struct ldar_batch *in_b, size_t index_b);

/* Bounds of the forward pass in test_dtype: relative L2, largest difference over the reference's rms, probability. */
struct bounds {
    double l2, peak, prob;
};

struct bounds bounds(void);
void assert_close_floats(const char *what, const float *got, const float *expected, size_t count);
void assert_close_within(const char *what, const float *got, const float *expected, size_t count,
                         struct bounds bounds);
void assert_close_prob(const float *got, const float *expected, size_t count);

/* A file's bytes, and a new file of bytes in the working directory, whose name is returned. free() both. */
char *file_read(const char *path, size_t *bytes);
char *file_write(const char *bytes, size_t count);

#endif
