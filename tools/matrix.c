/* SPDX-License-Identifier: Apache-2.0 */
#include "matrix.h"

#include "formats/npy.h"

#include <math.h>
#include <stdlib.h>

struct matrix {
    enum matrix_layer layer;
    int pooled;
    size_t width;
    npy *out;
    double *sum; /* (width), of a record so far; where pooled */
    float *mean; /* (width) */
    uint64_t rows;
};

static enum ldar_status open_matrix(void *user, const struct session *session, const struct pipeline *pipeline,
                                    struct ldar_error *error)
{
    struct matrix *matrix = user;
    const size_t width = matrix->layer == MATRIX_LOGITS ? LDAR_SYMBOLS : session->info.config.stage[0].width;
    const enum npy_rows rows = matrix->pooled                   ? NPY_ROW_PER_RECORD
                               : matrix->layer == MATRIX_CHUNKS ? NPY_ROW_PER_TOKEN
                                                                : NPY_ROW_PER_NUCLEOTIDE;
    matrix->width = width;
    if (matrix->pooled) {
        if (!matrix->sum)
            matrix->sum = malloc(width * sizeof *matrix->sum);
        if (!matrix->mean)
            matrix->mean = malloc(width * sizeof *matrix->mean);
        if (!matrix->sum || !matrix->mean)
            return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    }
    return npy_create(pipeline->output, width, rows, &session->provenance, &matrix->out, error);
}

static enum ldar_status begin_record(void *user, const struct record *record, struct ldar_error *error)
{
    struct matrix *matrix = user;
    for (size_t i = 0; matrix->pooled && i < matrix->width; i++)
        matrix->sum[i] = 0;
    matrix->rows = 0;
    return npy_record(matrix->out, record->name, record->start, error);
}

static enum ldar_status take_rows(void *user, const struct pipeline_rows *rows, struct ldar_error *error)
{
    struct matrix *matrix = user;
    for (size_t i = 0; matrix->pooled && i < matrix->width; i++)
        matrix->sum[i] += rows->sum[i];
    matrix->rows += rows->sum_rows;
    if (matrix->pooled)
        return LDAR_OK;
    switch (matrix->layer) {
    case MATRIX_HIDDEN:
        return npy_write(matrix->out, rows->hidden, rows->count, error);
    case MATRIX_ENCODER:
        return npy_write(matrix->out, rows->encoder, rows->count, error);
    case MATRIX_CHUNKS:
        return npy_write(matrix->out, rows->chunks, rows->chunk_count, error);
    case MATRIX_LOGITS:
        return npy_write(matrix->out, rows->logits, rows->count, error);
    }
    return LDAR_OK;
}

static enum ldar_status end_record(void *user, uint64_t length, struct ldar_error *error)
{
    struct matrix *matrix = user;
    if (matrix->pooled) {
        for (size_t i = 0; i < matrix->width; i++)
            matrix->mean[i] = matrix->rows > 0 ? (float)(matrix->sum[i] / (double)matrix->rows) : NAN;
        enum ldar_status status = npy_write(matrix->out, matrix->mean, 1, error);
        if (status != LDAR_OK)
            return status;
    }
    return npy_record_end(matrix->out, length, error);
}

static unsigned wishes_of(enum matrix_layer layer)
{
    static const unsigned wishes[] = {
        [MATRIX_HIDDEN] = PIPELINE_HIDDEN,
        [MATRIX_ENCODER] = PIPELINE_ENCODER,
        [MATRIX_CHUNKS] = PIPELINE_CHUNKS,
        [MATRIX_LOGITS] = PIPELINE_LOGITS,
    };
    return wishes[layer];
}

static enum ldar_status commit_matrix(void *user, struct ldar_error *error)
{
    return npy_commit(((struct matrix *)user)->out, error);
}

static void abandon_matrix(void *user)
{
    npy_abandon(((struct matrix *)user)->out);
}

enum exit_status matrix_write(const struct input *input, enum matrix_layer layer, int pooled)
{
    struct matrix matrix = {.layer = layer, .pooled = pooled};
    const struct consumer consumer = {
        .user = &matrix,
        .open = open_matrix,
        .begin = begin_record,
        .rows = take_rows,
        .end = end_record,
        .commit = commit_matrix,
        .abandon = abandon_matrix,
    };
    const unsigned wishes = wishes_of(layer) | (pooled ? PIPELINE_SUM : 0);
    const enum exit_status status = pipeline_command(input, wishes, &consumer);
    free(matrix.sum);
    free(matrix.mean);
    return status;
}
