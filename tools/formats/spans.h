/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_SPANS_H
#define FORMATS_SPANS_H

#include <ldar/status.h>

#include <stddef.h>
#include <stdint.h>

/* Half-open stretches of a line of nucleotides. */
struct span {
    uint64_t start, end;
};

/* A list of them; zeroed is empty. */
struct spans {
    struct span *list;
    size_t count, capacity;
};

LDAR_MUST_USE enum ldar_status spans_add(struct spans *spans, uint64_t start, uint64_t end, struct ldar_error *error);

/* Sorts them and makes one of those that overlap; neighbours that only touch stay two. */
void spans_merge(struct spans *spans);

/* Of merged spans the first that ends beyond `position`, or NULL. */
const struct span *spans_from(const struct spans *spans, uint64_t position);

/* Their lengths, summed. */
uint64_t spans_total(const struct spans *spans);

/* Frees the list and zeroes the struct. */
void spans_free(struct spans *spans);

#endif
