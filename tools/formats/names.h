/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_NAMES_H
#define FORMATS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A set of names, of each of which 64 bits are kept: two names are taken for one
 * with probability 2^-64. Zeroed is empty. The table grows by doubling and is
 * between a third and two thirds full: 12 to 24 bytes a name.
 */
struct name_set {
    uint64_t *slots; /* 0: free */
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

/* Adds the name; *added is false when it was there. False when memory could not be had: the set is as before. */
bool name_set_add(struct name_set *set, const char *name, size_t length, bool *added);

/* Whether the name is in the set. */
bool name_set_holds(const struct name_set *set, const char *name, size_t length);

/* Frees the table and zeroes the struct. */
void name_set_free(struct name_set *set);

#endif
