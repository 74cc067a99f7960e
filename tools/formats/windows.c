/* SPDX-License-Identifier: Apache-2.0 */
#include "windows.h"

#include "failure.h"

#include <stdlib.h>
#include <string.h>

/* A batch ends at these too: with very short records it is they that take memory. */
enum { BATCH_WINDOWS = 4096, BATCH_NAMES = 1 << 18 };

/* Twice of it still is a size. */
#define WINDOW_MAX (SIZE_MAX / 4)

/* The arrays of a batch. */
struct arrays {
    uint8_t *ids; /* (batch) */
    size_t *offsets;
    struct window *windows;
    char *names;
};

struct window_cutter {
    source *source;
    size_t window, stride, batch;
    /*
     * The part of the current record that is needed to cut its next window, [base, base + have):
     * where that window's owned range ends is settled once `stride` bases more are known, or the record's end.
     */
    uint8_t *ahead; /* (window + stride) */
    uint64_t base;
    size_t have;
    uint64_t owned;       /* the first base of the record that has no owner yet */
    struct record record; /* name NULL: none is being cut */
    bool complete;        /* `ahead` reaches the end of the record */
    bool pending;         /* `next` is cut and not yet in a batch */
    struct window next;
    struct window_position passed;
    uint64_t stop;           /* no window from here on, in bases */
    struct arrays arrays[2]; /* they take turns */
    struct arrays *current;
    size_t count, names_used; /* in them */
};

uint64_t window_count(uint64_t length, size_t window, size_t overlap)
{
    const uint64_t stride = window - overlap;
    return length <= window ? 1 : 1 + (length - window - 1) / stride + 1;
}

/* ---- cutting ---- */

/* Reads ahead as far as the next window needs. */
static enum ldar_status look_ahead(window_cutter *cutter, struct ldar_error *error)
{
    const size_t wanted = cutter->window + cutter->stride - cutter->have;
    if (cutter->complete || wanted == 0) {
        return LDAR_OK;
    }
    size_t count;
    const enum ldar_status status = source_read(cutter->source, cutter->ahead + cutter->have, wanted, &count, error);
    cutter->have += count;
    cutter->complete = count < wanted;
    return status;
}

static enum ldar_status begin_record(window_cutter *cutter, struct ldar_error *error)
{
    cutter->base = cutter->owned = 0;
    cutter->have = 0;
    cutter->complete = false;
    return source_next(cutter->source, &cutter->record, error);
}

/* Where in `ahead` the window after this one begins; 0: this is the last. */
static size_t next_offset(const window_cutter *cutter)
{
    if (cutter->have <= cutter->window) {
        return 0;
    }
    const size_t last = cutter->have - cutter->window;
    return last < cutter->stride ? last : cutter->stride;
}

/* Takes from a window's owned range what of its record is context alone. */
static void disown_context(const struct record *record, struct window *window)
{
    const uint64_t begin = record->before;
    const uint64_t end = record->after > 0 ? record->length - record->after : UINT64_MAX;
    uint64_t first = window->start + window->owned_begin, past = window->start + window->owned_end;
    first = first < begin ? begin : first;
    past = past > end ? end : past;
    const bool some = first < past;
    window->owned_begin = some ? (size_t)(first - window->start) : 0;
    window->owned_end = some ? (size_t)(past - window->start) : 0;
}

/* Cuts the window at the head of `ahead`. */
static void cut(window_cutter *cutter)
{
    const size_t offset = next_offset(cutter);
    const size_t length = cutter->have < cutter->window ? cutter->have : cutter->window;
    const size_t shared = length - offset;
    struct window *next = &cutter->next;
    next->record = cutter->record;
    next->start = cutter->base;
    next->length = length;
    next->first = cutter->base == 0;
    next->last = offset == 0;
    next->owned_begin = (size_t)(cutter->owned - cutter->base);
    next->owned_end = next->last ? length : offset + shared - shared / 2;
    if (next->last) {
        next->record.length = cutter->base + length;
    }
    cutter->owned = cutter->base + next->owned_end;
    disown_context(&cutter->record, next);
    cutter->pending = true;
}

/* Drops from `ahead` what lies before the next window; forgets the record after its last one. */
static void advance(window_cutter *cutter)
{
    if (cutter->next.last) {
        cutter->record.name = NULL;
        return;
    }
    const size_t offset = next_offset(cutter);
    cutter->have -= offset;
    memmove(cutter->ahead, cutter->ahead + offset, cutter->have);
    cutter->base += offset;
}

/* Takes the pending window away. */
static void pass(window_cutter *cutter)
{
    ++cutter->passed.windows;
    cutter->passed.bases += cutter->next.owned_end - cutter->next.owned_begin;
    cutter->pending = false;
    advance(cutter);
}

/* Cuts the next window unless one is pending; leaves none pending when all records are done. */
static enum ldar_status next_window(window_cutter *cutter, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (cutter->pending) {
        return LDAR_OK;
    }
    if (!cutter->record.name) {
        status = begin_record(cutter, error);
        if (status || !cutter->record.name) {
            return status;
        }
    }
    status = look_ahead(cutter, error);
    if (!status) {
        cut(cutter);
    }
    return status;
}

/* ---- packing ---- */

/* The name of the pending window in the batch's own memory; NULL when it does not fit. */
static const char *keep_name(window_cutter *cutter)
{
    const struct window *before = cutter->count ? &cutter->current->windows[cutter->count - 1] : NULL;
    if (before && before->record.index == cutter->next.record.index) {
        return before->record.name;
    }
    const size_t size = strlen(cutter->next.record.name) + 1;
    if (size > BATCH_NAMES - cutter->names_used) {
        return NULL;
    }
    char *name = memcpy(cutter->current->names + cutter->names_used, cutter->next.record.name, size);
    cutter->names_used += size;
    return name;
}

/* Moves the pending window into the batch; false when it does not fit. */
static bool pack(window_cutter *cutter)
{
    const struct arrays *arrays = cutter->current;
    const size_t used = arrays->offsets[cutter->count];
    if (cutter->count == BATCH_WINDOWS || cutter->next.length > cutter->batch - used) {
        return false;
    }
    const char *name = keep_name(cutter);
    if (!name) {
        return false;
    }
    memcpy(arrays->ids + used, cutter->ahead, cutter->next.length);
    cutter->next.record.name = name;
    arrays->windows[cutter->count++] = cutter->next;
    arrays->offsets[cutter->count] = used + cutter->next.length;
    pass(cutter);
    return true;
}

enum ldar_status window_cutter_next(window_cutter *cutter, struct window_batch *batch, struct ldar_error *error)
{
    cutter->current = &cutter->arrays[cutter->current == cutter->arrays];
    cutter->count = cutter->names_used = 0;
    do {
        const enum ldar_status status = next_window(cutter, error);
        if (status) {
            return status;
        }
    } while (cutter->pending && cutter->passed.bases < cutter->stop && pack(cutter));
    batch->input = (struct ldar_batch){cutter->current->ids, cutter->current->offsets, cutter->count};
    batch->windows = cutter->current->windows;
    return LDAR_OK;
}

/* ---- passing over ---- */

struct window_position window_cutter_position(const window_cutter *cutter)
{
    return cutter->passed;
}

void window_cutter_stop(window_cutter *cutter, uint64_t bases)
{
    cutter->stop = bases;
}

/* Passes over a record of which nothing is read yet, if all its windows lie before. */
static bool pass_record(window_cutter *cutter, struct window_position before)
{
    const struct record *record = &cutter->record;
    if (record->length == SOURCE_LENGTH_UNKNOWN || cutter->have > 0 || cutter->base > 0) {
        return false;
    }
    const uint64_t count = window_count(record->length, cutter->window, cutter->window - cutter->stride);
    const uint64_t owned = record->length - record->before - record->after;
    /* Before the last window lies at least one base less; all of them when it is empty or context alone. */
    const uint64_t bases =
        cutter->passed.bases + (record->before + record->after == 0 && owned > 0 ? owned - 1 : owned);
    if (cutter->passed.windows + count > before.windows && bases >= before.bases) {
        return false;
    }
    cutter->passed.windows += count;
    cutter->passed.bases += owned;
    cutter->record.name = NULL;
    return true;
}

enum ldar_status window_cutter_pass(window_cutter *cutter, struct window_position before, struct ldar_error *error)
{
    while (cutter->passed.windows < before.windows || cutter->passed.bases < before.bases) {
        enum ldar_status status = LDAR_OK;
        if (!cutter->pending && !cutter->record.name) {
            status = begin_record(cutter, error);
        }
        if (status || (!cutter->pending && !cutter->record.name)) {
            return status;
        }
        if (!cutter->pending && pass_record(cutter, before)) {
            continue;
        }
        status = next_window(cutter, error);
        if (status) {
            return status;
        }
        pass(cutter);
    }
    return LDAR_OK;
}

/* ---- the cutter ---- */

static enum ldar_status check_plan(const struct window_plan *plan, struct ldar_error *error)
{
    if (plan->window == 0 || plan->window > WINDOW_MAX || plan->batch > WINDOW_MAX) {
        return fail(error, LDAR_ERROR_ARGUMENT,
                    "window %zu, batch %zu: a window is 1 to %zu nucleotides, a batch no more", plan->window,
                    plan->batch, WINDOW_MAX);
    }
    if (plan->overlap >= plan->window) {
        return fail(error, LDAR_ERROR_ARGUMENT, "overlap %zu: must be less than the window, %zu nucleotides",
                    plan->overlap, plan->window);
    }
    return LDAR_OK;
}

static bool arrays_create(struct arrays *arrays, size_t batch)
{
    arrays->ids = malloc(batch);
    arrays->offsets = calloc(BATCH_WINDOWS + 1, sizeof *arrays->offsets);
    arrays->windows = malloc(BATCH_WINDOWS * sizeof *arrays->windows);
    arrays->names = malloc(BATCH_NAMES);
    return arrays->ids && arrays->offsets && arrays->windows && arrays->names;
}

static void arrays_free(struct arrays *arrays)
{
    free(arrays->ids);
    free(arrays->offsets);
    free(arrays->windows);
    free(arrays->names);
}

enum ldar_status window_cutter_create(source *source, const struct window_plan *plan, window_cutter **out,
                                      struct ldar_error *error)
{
    *out = NULL;
    const enum ldar_status status = check_plan(plan, error);
    if (status) {
        return status;
    }
    window_cutter *cutter = calloc(1, sizeof *cutter);
    bool complete = cutter != NULL;
    if (cutter) {
        cutter->source = source;
        cutter->window = plan->window;
        cutter->stride = plan->window - plan->overlap;
        cutter->stop = UINT64_MAX;
        cutter->batch = plan->batch < plan->window ? plan->window : plan->batch;
        cutter->ahead = malloc(cutter->window + cutter->stride);
        cutter->current = cutter->arrays;
        complete = cutter->ahead && arrays_create(&cutter->arrays[0], cutter->batch)
                   && arrays_create(&cutter->arrays[1], cutter->batch);
    }
    if (!complete) {
        window_cutter_destroy(cutter);
        return fail(error, LDAR_ERROR_MEMORY,
                    "no memory for a window of %zu and a batch of %zu nucleotides; take a smaller one", plan->window,
                    plan->batch);
    }
    *out = cutter;
    return LDAR_OK;
}

void window_cutter_destroy(window_cutter *cutter)
{
    if (cutter) {
        free(cutter->ahead);
        arrays_free(&cutter->arrays[0]);
        arrays_free(&cutter->arrays[1]);
        free(cutter);
    }
}
