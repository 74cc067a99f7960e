/* SPDX-License-Identifier: Apache-2.0 */
#include "survey.h"

#include "formats/failure.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PIECE = 1 << 16 };

static void sum(struct survey *survey, const void *data, size_t bytes)
{
    survey->checksum = (uint32_t)crc32_z(survey->checksum, data, bytes);
}

/* The letters of a record whose length only reading tells. */
static enum ldar_status read_letters(source *source, uint8_t *ids, struct survey *survey, uint64_t *length,
                                     struct ldar_error *error)
{
    size_t count;
    *length = 0;
    do {
        const enum ldar_status status = source_read(source, ids, PIECE, &count, error);
        if (status != LDAR_OK)
            return status;
        sum(survey, ids, count);
        *length += count;
    } while (count > 0);
    return LDAR_OK;
}

static void add_record(struct survey *survey, const struct window_plan *plan, const struct record *record)
{
    const uint64_t length = record->length, windows = window_count(length, plan->window, plan->overlap);
    const uint64_t place[] = {record->start, length, record->before, record->after};
    sum(survey, place, sizeof place);
    survey->records++;
    survey->bases += length - record->before - record->after;
    survey->windows += windows;
    survey->computed += windows > 1 ? windows * plan->window : length;
}

enum ldar_status survey_source(source *source, const struct window_plan *plan, struct survey *survey,
                               struct ldar_error *error)
{
    uint8_t *ids = malloc(PIECE);
    enum ldar_status status = ids ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "out of memory");
    *survey = (struct survey){0};
    while (status == LDAR_OK) {
        struct record record;
        status = source_next(source, &record, error);
        if (status != LDAR_OK || !record.name)
            break;
        sum(survey, record.name, strlen(record.name) + 1);
        if (record.length == SOURCE_LENGTH_UNKNOWN)
            status = read_letters(source, ids, survey, &record.length, error);
        if (status == LDAR_OK)
            add_record(survey, plan, &record);
    }
    free(ids);
    return status;
}
