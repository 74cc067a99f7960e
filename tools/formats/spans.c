/* SPDX-License-Identifier: Apache-2.0 */
#include "spans.h"

#include "failure.h"

#include <stdlib.h>

enum ldar_status spans_add(struct spans *spans, uint64_t start, uint64_t end, struct ldar_error *error)
{
    if (spans->count == spans->capacity) {
        const size_t capacity = spans->capacity ? 2 * spans->capacity : 64;
        struct span *list =
            capacity > SIZE_MAX / sizeof *list / 2 ? NULL : realloc(spans->list, capacity * sizeof *list);
        if (!list) {
            return fail(error, LDAR_ERROR_MEMORY, "no memory for %zu intervals", capacity);
        }
        spans->list = list;
        spans->capacity = capacity;
    }
    spans->list[spans->count++] = (struct span){start, end};
    return LDAR_OK;
}

static int compare(const void *left, const void *right)
{
    const struct span *a = left, *b = right;
    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    return a->end < b->end ? -1 : a->end > b->end;
}

void spans_merge(struct spans *spans)
{
    size_t count = 0;
    if (spans->count == 0) {
        return;
    }
    qsort(spans->list, spans->count, sizeof *spans->list, compare);
    for (size_t i = 1; i < spans->count; ++i) {
        struct span *last = &spans->list[count];
        const struct span next = spans->list[i];
        if (next.start < last->end) {
            last->end = next.end > last->end ? next.end : last->end;
        } else {
            spans->list[++count] = next;
        }
    }
    spans->count = count + 1;
}

const struct span *spans_from(const struct spans *spans, uint64_t position)
{
    size_t low = 0, high = spans->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (spans->list[middle].end <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < spans->count ? &spans->list[low] : NULL;
}

uint64_t spans_total(const struct spans *spans)
{
    uint64_t total = 0;
    for (size_t i = 0; i < spans->count; ++i) {
        total += spans->list[i].end - spans->list[i].start;
    }
    return total;
}

void spans_free(struct spans *spans)
{
    free(spans->list);
    *spans = (struct spans){0};
}
