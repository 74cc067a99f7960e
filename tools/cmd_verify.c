/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "message.h"
#include "verify.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum quantity { LOGITS, HIDDEN, ENCODER, CHUNKS, PROB, BOUNDARY, QUANTITIES };

static const char *const names[QUANTITIES] = {"logits", "hidden", "encoder", "chunks", "prob", "boundary"};

/* ---- bounds of arithmetic against the oracle in double precision ---- */

struct bounds {
    double l2, max;  /* of logits, hidden, encoder and chunks: relative L2 error, and the largest in units of the rms */
    double prob;     /* the largest error of prob */
    size_t boundary; /* one boundary in so many may differ, rounded up; 0: none */
};

/* By type. Rounding the weights to bfloat16 moves the results as much as computing in it. */
static const struct bounds bounds_of[] = {
    [LDAR_F32] = {2e-5, 1e-3, 1e-5, 0},
    [LDAR_BF16] = {2e-2, 0.2, 2e-2, 200},
};

/* ---- a golden file ---- */

struct golden {
    const char *path;
    const struct bounds *bounds;
    const ldar_tensors *file;
    uint8_t *ids;
    size_t length, chunks; /* chunks: as computed, once it is */
    size_t width;          /* D */
    int present[QUANTITIES];
    struct ldar_tensor tensor[QUANTITIES];
    struct ldar_outputs computed;
    size_t chunk_offsets[2];
};

static enum ldar_status read_ids(struct golden *golden, struct ldar_error *error)
{
    size_t index = ldar_tensors_find(golden->file, "ids");
    if (index == ldar_tensors_count(golden->file))
        return fail(error, LDAR_ERROR_TENSOR, "%s: no golden file: tensor ids is missing", golden->path);
    struct ldar_tensor ids = ldar_tensors_at(golden->file, index);
    if (ids.type != LDAR_TENSOR_I64 || ids.rank != 1)
        return fail(error, LDAR_ERROR_TENSOR, "%s: tensor ids is not a vector of I64", golden->path);
    golden->length = ids.count;
    golden->ids = malloc(ids.count + 1);
    if (!golden->ids)
        return fail(error, LDAR_ERROR_MEMORY, "%s: no memory for %zu ids", golden->path, ids.count);
    for (size_t i = 0; i < ids.count; i++) {
        int64_t id;
        memcpy(&id, (const char *)ids.data + i * sizeof id, sizeof id);
        if (id < 0 || id >= LDAR_SYMBOLS)
            return fail(error, LDAR_ERROR_TENSOR, "%s: ids[%zu] is %lld, which is no symbol", golden->path, i,
                        (long long)id);
        golden->ids[i] = (uint8_t)id;
    }
    return LDAR_OK;
}

/* Finds what the file has to compare with; types only, as the rows of chunks depend on what is computed. */
static enum ldar_status find_tensors(struct golden *golden, struct ldar_error *error)
{
    int found = 0;
    for (size_t q = 0; q < QUANTITIES; q++) {
        size_t index = ldar_tensors_find(golden->file, names[q]);
        golden->present[q] = index < ldar_tensors_count(golden->file);
        if (!golden->present[q])
            continue;
        found = 1;
        golden->tensor[q] = ldar_tensors_at(golden->file, index);
        if (golden->tensor[q].type != (q == BOUNDARY ? LDAR_TENSOR_U8 : LDAR_TENSOR_F32))
            return fail(error, LDAR_ERROR_TENSOR, "%s: tensor %s is not %s", golden->path, names[q],
                        q == BOUNDARY ? "U8" : "F32");
    }
    if (!found)
        return fail(error, LDAR_ERROR_TENSOR, "%s: no golden file: it has ids but nothing to compare", golden->path);
    return LDAR_OK;
}

static void golden_free(struct golden *golden)
{
    struct ldar_outputs *o = &golden->computed;
    void *arrays[] = {o->logits, o->hidden, o->encoder, o->chunks, o->prob, o->boundary, golden->ids};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
}

/*
 * Where boundaries may differ, what follows from them is compared with those of the file: one token more or less moves
 * everything behind it.
 */
static enum ldar_status compute_rows(struct golden *golden, const struct ldar_batch *batch, ldar_context *context,
                                     struct ldar_error *error)
{
    struct ldar_boundaries forced = {.size = sizeof forced};
    struct ldar_outputs rows = golden->computed;
    rows.prob = NULL;
    rows.boundary = NULL;
    if (!golden->bounds->boundary || !golden->present[BOUNDARY] || golden->tensor[BOUNDARY].count != golden->length)
        return LDAR_OK;
    forced.forced = golden->tensor[BOUNDARY].data;
    return ldar_forward(context, batch, &forced, &rows, error);
}

static enum ldar_status compute(struct golden *golden, ldar_context *context, struct ldar_error *error)
{
    struct ldar_outputs *o = &golden->computed;
    size_t length = golden->length, row = golden->width * sizeof(float), offsets[2] = {0, length};
    struct ldar_batch batch = {golden->ids, offsets, 1};
    if (length > SIZE_MAX / (row * 8))
        return fail(error, LDAR_ERROR_MEMORY, "%s: too long", golden->path);
    o->logits = malloc((length + 1) * LDAR_SYMBOLS * sizeof(float));
    o->hidden = malloc((length + 1) * row);
    o->encoder = malloc((length + 1) * row);
    o->chunks = malloc((length + 1) * row);
    o->prob = malloc((length + 1) * sizeof(float));
    o->boundary = malloc(length + 1);
    o->chunk_offsets = golden->chunk_offsets;
    if (!o->logits || !o->hidden || !o->encoder || !o->chunks || !o->prob || !o->boundary)
        return fail(error, LDAR_ERROR_MEMORY, "%s: no memory for the results of %zu nucleotides", golden->path, length);
    enum ldar_status status = ldar_forward(context, &batch, NULL, o, error);
    if (status == LDAR_OK)
        status = compute_rows(golden, &batch, context, error);
    golden->chunks = golden->chunk_offsets[1];
    return status;
}

/* ---- comparing ---- */

/* `reference` is little-endian float32 of any alignment. One NaN makes the whole difference NaN or infinite. */
struct difference verify_compare(const float *computed, const void *reference, size_t count)
{
    double squares = 0, norm = 0, own = 0, product = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        float expected;
        memcpy(&expected, (const char *)reference + i * sizeof expected, sizeof expected);
        const double value = computed[i], error = fabs(value - (double)expected);
        squares += error * error;
        norm += (double)expected * (double)expected;
        own += value * value;
        product += value * (double)expected;
        if (!(error <= largest) && !isnan(largest))
            largest = error;
    }
    return (struct difference){
        .l2 = squares == 0 ? 0
              : norm > 0   ? sqrt(squares / norm)
                           : INFINITY,
        .angle = squares == 0 ? 0 : 1 - product / sqrt(norm * own),
        .largest = largest,
        .rms = count > 0 ? sqrt(norm / (double)count) : 0,
    };
}

/* 1 when the reference is (rows, columns), or (rows) for columns 0. */
static int has_shape(const struct ldar_tensor *tensor, size_t rows, size_t columns)
{
    if (columns == 0)
        return tensor->rank == 1 && tensor->shape[0] == rows;
    return tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns;
}

int verify_verdict(int within)
{
    puts(within ? "  ok" : "  OUT OF BOUNDS");
    return within;
}

static int check_rows(const struct golden *golden, enum quantity q, const float *computed)
{
    struct difference d = verify_compare(computed, golden->tensor[q].data, golden->tensor[q].count);
    const struct bounds *bounds = golden->bounds;
    double relative = d.largest == 0 ? 0 : d.largest / d.rms;
    printf("rel-L2 %8.1e (bound %.0e)  max/rms %8.1e (bound %.1g)", d.l2, bounds->l2, relative, bounds->max);
    return verify_verdict(d.l2 <= bounds->l2 && relative <= bounds->max);
}

static int check_prob(const struct golden *golden)
{
    struct difference d = verify_compare(golden->computed.prob, golden->tensor[PROB].data, golden->length);
    printf("max    %8.1e (bound %.0e)", d.largest, golden->bounds->prob);
    return verify_verdict(d.largest <= golden->bounds->prob);
}

static int check_boundary(const struct golden *golden)
{
    const uint8_t *expected = golden->tensor[BOUNDARY].data;
    const size_t every = golden->bounds->boundary, bound = every ? (golden->length + every - 1) / every : 0;
    size_t different = 0;
    double farthest = 0; /* of a probability that decided otherwise, from the threshold */
    for (size_t i = 0; i < golden->length; i++)
        if (golden->computed.boundary[i] != expected[i]) {
            different++;
            farthest = fmax(farthest, fabs((double)golden->computed.prob[i] - 0.5));
        }
    printf("different %zu of %zu (bound %zu)", different, golden->length, bound);
    return verify_verdict(different <= bound && farthest <= golden->bounds->prob);
}

/* Prints a line of the table; 1 when the tensor is within its bounds. */
static int check(const struct golden *golden, enum quantity q)
{
    const struct ldar_outputs *o = &golden->computed;
    const float *computed[] = {o->logits, o->hidden, o->encoder, o->chunks, o->prob};
    size_t rows = q == CHUNKS ? golden->chunks : golden->length;
    size_t columns = q == LOGITS ? LDAR_SYMBOLS : q == PROB || q == BOUNDARY ? 0 : golden->width;
    printf("%s  %-8s  ", golden->path, names[q]);
    if (!has_shape(&golden->tensor[q], rows, columns)) {
        printf("its shape is not (%zu%s", rows, columns > 0 ? ", " : "");
        if (columns > 0)
            printf("%zu", columns);
        fputs(")", stdout);
        return verify_verdict(0);
    }
    if (q == PROB)
        return check_prob(golden);
    return q == BOUNDARY ? check_boundary(golden) : check_rows(golden, q, computed[q]);
}

static enum ldar_status verify_forward(const char *path, const ldar_tensors *file, const struct session *session,
                                       const struct bounds *bounds, size_t *outside, struct ldar_error *error)
{
    struct golden golden = {.path = path, .file = file, .bounds = bounds, .computed = {.size = sizeof golden.computed}};
    golden.width = session->info.config.stage[0].width;
    enum ldar_status status = read_ids(&golden, error);
    if (status == LDAR_OK)
        status = find_tensors(&golden, error);
    if (status == LDAR_OK)
        status = compute(&golden, session->context, error);
    for (size_t q = 0; q < QUANTITIES && status == LDAR_OK; q++)
        if (golden.present[q] && !check(&golden, (enum quantity)q))
            ++*outside;
    golden_free(&golden);
    return status;
}

/* Prints the file's part of the table. *outside grows by the number of tensors out of bounds. */
static enum ldar_status verify(const char *path, const struct common *common, const struct session *session,
                               size_t *outside, struct ldar_error *error)
{
    ldar_tensors *file;
    enum ldar_status status = ldar_tensors_open(path, 0, &file, error);
    if (status != LDAR_OK)
        return status;
    if (ldar_tensors_find(file, "ids.0") < ldar_tensors_count(file))
        status = verify_training(path, file, common, session->model, outside, error);
    else
        status = verify_forward(path, file, session, &bounds_of[common->dtype], outside, error);
    ldar_tensors_close(file);
    return status;
}

static enum exit_status run(void *settings)
{
    struct common *common = settings;
    struct session session;
    struct ldar_error error;
    size_t outside = 0;
    common->model = common->files[0];
    enum exit_status status = session_open(common, &session);
    if (status != EXIT_DONE)
        return status;
    for (size_t i = 1; i < common->file_count; i++)
        if (verify(common->files[i], common, &session, &outside, &error) != LDAR_OK)
            status = failed(&error);
    if (outside > 0) {
        say_error("%zu tensors are out of bounds%s", outside,
                  session.info.dtype == LDAR_BF16
                      ? "; the model's matrices are stored as bf16: were the golden files made from the same?"
                      : "");
        status = EXIT_FAILED;
    }
    session_close(&session);
    return status;
}

static const struct option *const options[] = {OPTIONS_COMPUTE, OPTIONS_MESSAGES, NULL};

const struct command command_verify = {
    .name = "verify",
    .files = "MODEL GOLDEN.safetensors...",
    .summary = "Recompute golden files and compare",
    .description =
        "A golden file holds ids and any of logits, hidden, encoder, chunks, prob and boundary, computed in double "
        "precision. Each is recomputed and a line says how far off it is. Bounds: relative L2 error 2e-5 and largest "
        "error 1e-3 of the root mean square for logits, hidden, encoder and chunks; largest error 1e-5 for prob; "
        "boundary must be equal. With --dtype bf16: 2e-2, 0.2 of the root mean square and 2e-2, of what follows "
        "from the boundaries of the file; one boundary in 200 may differ where prob is within 2e-2 of 0.5. "
        "The exit status is 1 when anything is out of bounds or cannot be checked.\n"
        "\n"
        "A golden file of training holds a batch, ids.0 and labels.0 and so on, and any of loss, mlm, ratio, the "
        "gradients of parameters (grad.NAME) and their values after two steps at the rate 1e-3 (adamw2.NAME). Bounds: "
        "relative error 1e-6 for losses; relative L2 error 5e-5 and cosine 0.999999 for each gradient; relative L2 "
        "error 2e-3 of what the two steps change of each parameter. With --dtype bf16: 2e-3 for losses, 3e-2 and "
        "0.999 for gradients, with the boundaries that float32 finds; neither the steps nor gradients of a single "
        "number are judged.\n"
        "\n"
        "  ldar verify tiny.safetensors tiny-forward-L1000.safetensors tiny-train.safetensors\n",
    .min_files = 2,
    .max_files = INT_MAX,
    .options = options,
    .settings = sizeof(struct common),
    .run = run,
};
