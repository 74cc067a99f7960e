/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline_slot.h"

#include "batch_size.h"
#include "pipeline_input.h"

#include <stdlib.h>

/* ---- room for results ---- */

size_t room_row(const struct room *room)
{
    const unsigned wishes = room->wishes;
    const size_t width = room->width;
    size_t floats = 0;
    floats += wishes & PIPELINE_LOGITS ? LDAR_SYMBOLS : 0;
    floats += wishes & PIPELINE_HIDDEN ? width : 0;
    floats += wishes & PIPELINE_ENCODER ? width : 0;
    floats += wishes & PIPELINE_CHUNKS ? width : 0;
    floats += wishes & PIPELINE_BOUNDARY ? 1 : 0;
    floats += wishes & PIPELINE_MARGINALS ? PIPELINE_BASES : 0;
    return floats * sizeof(float) + (wishes & PIPELINE_BOUNDARY ? 1 : 0);
}

void room_free(struct room *room)
{
    struct ldar_outputs *o = &room->outputs;
    void *arrays[] = {o->logits, o->hidden, o->encoder, o->prob, o->boundary, o->chunks, o->chunk_offsets, room->log_p};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
    room->log_p = NULL;
    room->outputs = (struct ldar_outputs){.size = sizeof room->outputs};
    room->nucleotides = room->sequences = 0;
}

/* At least one element, so that NULL means that there is no memory. */
static void *room_for(unsigned wished, size_t count, size_t size)
{
    return wished ? malloc((count > 0 ? count : 1) * size) : NULL;
}

static enum ldar_status room_reserve(struct room *room, const struct ldar_batch *batch, struct ldar_error *error)
{
    size_t count = batch->offsets[batch->sequences], width = room->width, sequences = batch->sequences;
    unsigned wishes = room->wishes;
    if (count <= room->nucleotides && sequences <= room->sequences)
        return LDAR_OK;
    room_free(room);
    struct ldar_outputs *o = &room->outputs;
    o->logits = room_for(wishes & PIPELINE_LOGITS, count, LDAR_SYMBOLS * sizeof(float));
    o->hidden = room_for(wishes & PIPELINE_HIDDEN, count, width * sizeof(float));
    o->encoder = room_for(wishes & PIPELINE_ENCODER, count, width * sizeof(float));
    o->prob = room_for(wishes & PIPELINE_BOUNDARY, count, sizeof(float));
    o->boundary = room_for(wishes & PIPELINE_BOUNDARY, count, 1);
    o->chunks = room_for(wishes & PIPELINE_CHUNKS, count, width * sizeof(float));
    o->chunk_offsets = room_for(wishes & PIPELINE_CHUNKS, sequences + 1, sizeof(size_t));
    room->log_p = room_for(wishes & PIPELINE_MARGINALS, count, PIPELINE_BASES * sizeof(float));
    if ((!o->logits && wishes & PIPELINE_LOGITS) || (!o->hidden && wishes & PIPELINE_HIDDEN)
        || (!o->encoder && wishes & PIPELINE_ENCODER) || ((!o->prob || !o->boundary) && wishes & PIPELINE_BOUNDARY)
        || ((!o->chunks || !o->chunk_offsets) && wishes & PIPELINE_CHUNKS)
        || (!room->log_p && wishes & PIPELINE_MARGINALS)) {
        room_free(room);
        return fail(error, LDAR_ERROR_MEMORY,
                    "no memory for the results of %zu nucleotides; a smaller --window needs less", count);
    }
    room->nucleotides = count;
    room->sequences = sequences;
    return LDAR_OK;
}

/* ---- batches that fit ---- */

enum ldar_status room_plan(const struct room *room, const struct input *input, const struct session *session,
                           struct window_plan *plan, struct ldar_error *error)
{
    /* The results of two batches, and the cutter's four. */
    const struct batch_need need = {
        .window = (size_t)input->window, .row = 2 * room_row(room) + 4, .max_bytes = (size_t)input->common.max_memory};
    *plan = (struct window_plan){.window = need.window, .overlap = (size_t)pipeline_overlap(input)};
    return batch_size(session->context, &need, &plan->batch, error);
}

/* ---- what windows come to ---- */

static size_t count_boundaries(const uint8_t *boundary, size_t begin, size_t end)
{
    size_t count = 0;
    for (size_t i = begin; i < end; i++)
        count += boundary[i];
    return count;
}

static void sum_rows(const float *values, size_t first, size_t end, size_t width, double *sum)
{
    for (size_t i = 0; i < width; i++)
        sum[i] = 0;
    for (size_t row = first; row < end; row++)
        for (size_t i = 0; i < width; i++)
            sum[i] += values[row * width + i];
}

/* What is summed, in its place. */
static struct pipeline_rows summed(struct pipeline_rows rows, const struct window_shape *shape, double *sum)
{
    const float *values = rows.logits ? rows.logits : rows.hidden ? rows.hidden : rows.encoder;
    rows.sum_rows = values ? rows.count : rows.chunk_count;
    values = values ? values : rows.chunks;
    for (size_t part = 0; part < shape->parts; part++) {
        size_t first = 0, end = 0;
        if (rows.sum_rows > 0)
            ldar_head_part(rows.sum_rows, shape->parts, part, &first, &end);
        sum_rows(values, first, end, shape->sum_width, sum + part * shape->sum_width);
    }
    rows.logits = rows.hidden = rows.encoder = rows.chunks = NULL;
    rows.sum = sum;
    return rows;
}

/* The owned rows of a window, the s-th sequence of its batch. */
static struct pipeline_rows owned_rows(const struct room *room, const struct window_batch *batch, size_t s)
{
    const struct ldar_outputs *o = &room->outputs;
    const struct window *window = &batch->windows[s];
    size_t begin = batch->input.offsets[s], first = begin + window->owned_begin, end = begin + window->owned_end;
    struct pipeline_rows rows = {.count = end - first, .ids = batch->input.ids + first};
    rows.logits = o->logits ? o->logits + first * LDAR_SYMBOLS : NULL;
    rows.hidden = o->hidden ? o->hidden + first * room->width : NULL;
    rows.encoder = o->encoder ? o->encoder + first * room->width : NULL;
    rows.prob = o->prob ? o->prob + first : NULL;
    rows.boundary = o->boundary ? o->boundary + first : NULL;
    rows.log_p = room->log_p ? room->log_p + first * PIPELINE_BASES : NULL;
    if (o->chunks) {
        size_t chunk = o->chunk_offsets[s] + count_boundaries(o->boundary, begin, first);
        rows.chunks = o->chunks + chunk * room->width;
        rows.chunk_count = count_boundaries(o->boundary, first, end);
    }
    return rows;
}

struct window_result slot_result(const struct slot *slot, size_t index, const struct window_shape *shape, double *sum)
{
    const struct window *window = &slot->batch.windows[index];
    struct window_result result = {window->record, window->first, window->last, {0}};
    if (window->owned_end > window->owned_begin)
        result.rows = owned_rows(&slot->room, &slot->batch, index);
    if (result.rows.count > 0 && shape->wishes & PIPELINE_SUM)
        result.rows = summed(result.rows, shape, sum);
    return result;
}

enum ldar_status slot_compute(struct slot *slot, const struct session *session, const struct consumer *consumer,
                              struct ldar_error *error)
{
    const struct window_batch *batch = &slot->batch;
    struct room *room = &slot->room;
    const enum ldar_status status = room_reserve(room, &batch->input, error);
    if (status != LDAR_OK)
        return status;
    return consumer->compute
               ? consumer->compute(consumer->user, &batch->input, batch->windows, &room->outputs, room->log_p, error)
               : ldar_forward(session->context, &batch->input, NULL, &room->outputs, error);
}
