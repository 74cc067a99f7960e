/* SPDX-License-Identifier: Apache-2.0 */
#include "window_result.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 8 };

/* What a blob begins with. */
struct head {
    uint64_t flags; /* 1: first, 2: last */
    uint64_t index, start, length, before, after;
    uint64_t count, chunk_count, sum_rows;
    uint64_t name_bytes; /* with NUL; 0 unless `first` is set */
};

enum ldar_status window_result_hand_over(const struct window_result *result, const struct consumer *consumer,
                                         struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (result->first)
        status = consumer->begin(consumer->user, &result->record, error);
    if (status == LDAR_OK && result->rows.count > 0)
        status = consumer->rows(consumer->user, &result->rows, error);
    if (status == LDAR_OK && result->last)
        status = consumer->end(consumer->user, result->record.length, error);
    return status;
}

/* ---- writing ---- */

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Appends; false without memory. */
static int put(struct blob *blob, const void *data, size_t bytes)
{
    const size_t end = blob->length + aligned(bytes);
    if (bytes > SIZE_MAX / 4 || end > SIZE_MAX / 4)
        return 0;
    if (bytes == 0)
        return 1;
    if (end > blob->capacity) {
        unsigned char *larger = realloc(blob->bytes, end + end / 2);
        if (!larger)
            return 0;
        blob->bytes = larger;
        blob->capacity = end + end / 2;
    }
    memcpy(blob->bytes + blob->length, data, bytes);
    memset(blob->bytes + blob->length + bytes, 0, end - blob->length - bytes);
    blob->length = end;
    return 1;
}

/* The arrays of rows, in the order in which they lie in a blob. */
struct array {
    const void *data;
    size_t elements, size; /* of them, in bytes */
};

enum { ARRAYS = 9 };

static void list_arrays(const struct pipeline_rows *rows, const struct window_shape *shape, struct array arrays[ARRAYS])
{
    const unsigned wishes = shape->wishes;
    const size_t whole = wishes & PIPELINE_SUM ? 0 : rows->count;
    const size_t chunks = wishes & PIPELINE_SUM ? 0 : rows->chunk_count;
    const struct array list[ARRAYS] = {
        {rows->sum, wishes & PIPELINE_SUM ? shape->parts * shape->sum_width : 0, sizeof(double)},
        {rows->logits, wishes & PIPELINE_LOGITS ? whole : 0, LDAR_SYMBOLS * sizeof(float)},
        {rows->hidden, wishes & PIPELINE_HIDDEN ? whole : 0, shape->width * sizeof(float)},
        {rows->encoder, wishes & PIPELINE_ENCODER ? whole : 0, shape->width * sizeof(float)},
        {rows->prob, wishes & PIPELINE_BOUNDARY ? rows->count : 0, sizeof(float)},
        {rows->boundary, wishes & PIPELINE_BOUNDARY ? rows->count : 0, 1},
        {rows->chunks, wishes & PIPELINE_CHUNKS ? chunks : 0, shape->width * sizeof(float)},
        {rows->log_p, wishes & PIPELINE_MARGINALS ? rows->count : 0, PIPELINE_BASES * sizeof(float)},
        {rows->ids, wishes & PIPELINE_LETTERS ? rows->count : 0, 1},
    };
    memcpy(arrays, list, sizeof list);
}

enum ldar_status window_result_write(const struct window_result *result, const struct window_shape *shape,
                                     struct blob *blob, struct ldar_error *error)
{
    const struct pipeline_rows *rows = &result->rows;
    const struct head head = {
        .flags = (result->first ? 1u : 0u) | (result->last ? 2u : 0u),
        .index = result->record.index,
        .start = result->record.start,
        .length = result->record.length,
        .before = result->record.before,
        .after = result->record.after,
        .count = rows->count,
        .chunk_count = rows->chunk_count,
        .sum_rows = rows->sum_rows,
        .name_bytes = result->first ? strlen(result->record.name) + 1 : 0,
    };
    struct array arrays[ARRAYS];
    list_arrays(rows, shape, arrays);
    blob->length = 0;
    int whole = put(blob, &head, sizeof head) && put(blob, result->record.name, (size_t)head.name_bytes);
    for (size_t i = 0; i < ARRAYS && whole && rows->count > 0; i++)
        whole = put(blob, arrays[i].data, arrays[i].elements * arrays[i].size);
    return whole ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "no memory to keep the results of a window");
}

/* ---- reading ---- */

struct cursor {
    const unsigned char *at;
    size_t left;
};

/* The next `elements` of `size` bytes, or NULL when so many are not left. */
static const void *take(struct cursor *cursor, uint64_t elements, size_t size)
{
    if (size > 0 && elements > cursor->left / size)
        return NULL;
    const size_t bytes = aligned((size_t)elements * size);
    const void *data = cursor->at;
    if (bytes > cursor->left)
        return NULL;
    cursor->at += bytes;
    cursor->left -= bytes;
    return data;
}

static enum ldar_status fail_result(struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_FORMAT, "a result is not what this command keeps of a window");
}

static int take_rows(struct cursor *cursor, const struct window_shape *shape, struct pipeline_rows *rows)
{
    struct array arrays[ARRAYS];
    const void *data[ARRAYS];
    list_arrays(rows, shape, arrays);
    for (size_t i = 0; i < ARRAYS; i++) {
        data[i] = take(cursor, arrays[i].elements, arrays[i].size);
        if (!data[i])
            return 0;
        if (arrays[i].elements == 0)
            data[i] = NULL;
    }
    rows->sum = data[0];
    rows->logits = data[1];
    rows->hidden = data[2];
    rows->encoder = data[3];
    rows->prob = data[4];
    rows->boundary = data[5];
    rows->chunks = data[6];
    rows->log_p = data[7];
    rows->ids = data[8];
    return 1;
}

enum ldar_status window_result_read(const void *blob, size_t bytes, const struct window_shape *shape,
                                    struct window_result *result, struct ldar_error *error)
{
    struct cursor cursor = {blob, bytes};
    const struct head *head = take(&cursor, 1, sizeof *head);
    *result = (struct window_result){0};
    if (!head || head->count > SIZE_MAX / 4 || head->chunk_count > head->count)
        return fail_result(error);
    result->first = head->flags & 1;
    result->last = head->flags & 2;
    result->record = (struct record){NULL, head->index, head->start, head->length, head->before, head->after};
    result->rows.count = (size_t)head->count;
    result->rows.chunk_count = (size_t)head->chunk_count;
    result->rows.sum_rows = head->sum_rows;
    const char *name = take(&cursor, head->name_bytes, 1);
    if (!name || (result->first && (head->name_bytes == 0 || !memchr(name, 0, (size_t)head->name_bytes))))
        return fail_result(error);
    result->record.name = result->first ? name : "";
    if (head->count > 0 && !take_rows(&cursor, shape, &result->rows))
        return fail_result(error);
    return cursor.left == 0 ? LDAR_OK : fail_result(error);
}

/* ---- contigs ---- */

enum ldar_status contigs_write(const struct contigs *contigs, struct blob *blob, struct ldar_error *error)
{
    int whole = 1;
    blob->length = 0;
    for (size_t i = 0; i < contigs->count && whole; i++)
        whole = put(blob, &contigs->lengths[i], sizeof contigs->lengths[i])
                && put(blob, contigs->names[i], strlen(contigs->names[i]) + 1);
    return whole ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "no memory for the names of %zu sequences", contigs->count);
}

enum ldar_status contigs_read(const void *blob, size_t bytes, struct contigs *contigs, struct ldar_error *error)
{
    struct cursor cursor = {blob, bytes};
    enum ldar_status status = LDAR_OK;
    *contigs = (struct contigs){0};
    while (status == LDAR_OK && cursor.left > 0) {
        const uint64_t *length = take(&cursor, 1, sizeof *length);
        const unsigned char *end = length ? memchr(cursor.at, 0, cursor.left) : NULL;
        const char *name = end ? take(&cursor, (uint64_t)(end - cursor.at) + 1, 1) : NULL;
        status = name ? contigs_add(contigs, name, *length, error) : fail_result(error);
    }
    if (status != LDAR_OK)
        contigs_free(contigs);
    return status;
}
