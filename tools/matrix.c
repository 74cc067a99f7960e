/* SPDX-License-Identifier: Apache-2.0 */
#include "matrix.h"

#include "formats/npy.h"

#include <math.h>
#include <stdlib.h>

struct matrix {
    enum matrix_layer layer;
    size_t width;
    npy *out;
    double *sum; /* (width), or NULL: not pooled */
    float *mean; /* (width) */
    uint64_t rows;
};

static enum ldar_status begin_record(void *user, const struct record *record, struct ldar_error *error)
{
    struct matrix *matrix = user;
    for (size_t i = 0; matrix->sum && i < matrix->width; i++)
        matrix->sum[i] = 0;
    matrix->rows = 0;
    return npy_record(matrix->out, record->name, record->start, error);
}

static enum ldar_status take_rows(void *user, const struct pipeline_rows *rows, struct ldar_error *error)
{
    struct matrix *matrix = user;
    const float *values = rows->hidden;
    size_t count = rows->count;
    switch (matrix->layer) {
    case MATRIX_HIDDEN:
        break;
    case MATRIX_ENCODER:
        values = rows->encoder;
        break;
    case MATRIX_CHUNKS:
        values = rows->chunks;
        count = rows->chunk_count;
        break;
    case MATRIX_LOGITS:
        values = rows->logits;
        break;
    }
    if (!matrix->sum)
        return npy_write(matrix->out, values, count, error);
    for (size_t row = 0; row < count; row++)
        for (size_t i = 0; i < matrix->width; i++)
            matrix->sum[i] += values[row * matrix->width + i];
    matrix->rows += count;
    return LDAR_OK;
}

static enum ldar_status end_record(void *user, uint64_t length, struct ldar_error *error)
{
    struct matrix *matrix = user;
    if (matrix->sum) {
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

static enum ldar_status write_all(const struct input *input, const struct session *session, struct pipeline *pipeline,
                                  struct matrix *matrix, struct ldar_error *error)
{
    const char *path = input->common.output ? input->common.output : "-";
    enum npy_rows rows = matrix->sum                      ? NPY_ROW_PER_RECORD
                         : matrix->layer == MATRIX_CHUNKS ? NPY_ROW_PER_TOKEN
                                                          : NPY_ROW_PER_NUCLEOTIDE;
    enum ldar_status status = npy_create(path, matrix->width, rows, &session->provenance, &matrix->out, error);
    if (status != LDAR_OK)
        return status;
    struct consumer consumer = {.user = matrix, .begin = begin_record, .rows = take_rows, .end = end_record};
    status = pipeline_run(input, session, pipeline, wishes_of(matrix->layer), &consumer, error);
    if (status == LDAR_OK)
        return npy_commit(matrix->out, error);
    npy_abandon(matrix->out);
    return status;
}

static enum ldar_status open_and_write(const struct input *input, const struct session *session, struct matrix *matrix,
                                       struct ldar_error *error)
{
    struct pipeline pipeline;
    enum ldar_status status = pipeline_open(input, &pipeline, error);
    if (status != LDAR_OK)
        return status;
    status = write_all(input, session, &pipeline, matrix, error);
    pipeline_close(&pipeline);
    return status;
}

enum exit_status matrix_write(const struct input *input, enum matrix_layer layer, int pooled)
{
    struct session session;
    struct ldar_error error;
    enum exit_status status = pipeline_check(input);
    if (status == EXIT_DONE)
        status = session_open(&input->common, &session);
    if (status != EXIT_DONE)
        return status;
    struct matrix matrix = {.layer = layer};
    matrix.width = layer == MATRIX_LOGITS ? LDAR_SYMBOLS : session.info.config.stage[0].width;
    if (pooled) {
        matrix.sum = malloc(matrix.width * sizeof *matrix.sum);
        matrix.mean = malloc(matrix.width * sizeof *matrix.mean);
    }
    if (pooled && (!matrix.sum || !matrix.mean))
        status = failed(&(struct ldar_error){LDAR_ERROR_MEMORY, "out of memory"});
    else if (open_and_write(input, &session, &matrix, &error) != LDAR_OK)
        status = failed(&error);
    free(matrix.sum);
    free(matrix.mean);
    session_close(&session);
    return status;
}
