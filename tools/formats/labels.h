/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_LABELS_H
#define FORMATS_LABELS_H

#include <ldar/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The names of classes, each with an index, in the order in which they were added. Zeroed is empty. */
struct label_set {
    char **names;    /* (count) */
    uint32_t *order; /* (count) indices in the order of strcmp */
    size_t count, capacity;
};

/* Whether the name is there, and its index. */
bool label_set_find(const struct label_set *set, const char *name, uint32_t *index);

/* Adds a name that is not there; it is copied. False without memory: the set is as before. */
bool label_set_add(struct label_set *set, const char *name);

/*
 * Sorts the names: by number when all are whole numbers, else byte by byte. (count) *moved says where each index went;
 * the caller frees it. False without memory: the set is as before.
 */
bool label_set_sort(struct label_set *set, uint32_t **moved);

/* Frees the arrays and zeroes the struct. */
void label_set_free(struct label_set *set);

#endif
