/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_CONTIGS_H
#define FORMATS_CONTIGS_H

#include "source.h"

/* Names and lengths of sequences. A bigWig begins with them, so that they must be known before its first value. */
struct contigs {
    size_t count;
    char **names;      /* (count) */
    uint64_t *lengths; /* (count) */
    size_t capacity;
};

/* Appends a contig; the name is copied. */
LDAR_MUST_USE enum ldar_status contigs_add(struct contigs *contigs, const char *name, uint64_t length,
                                           struct ldar_error *error);

/*
 * The records of a file of sequences, which is read once for it; "-" is refused,
 * as it could not be read again. Its warnings go unheard: they come when the file is read in earnest.
 */
LDAR_MUST_USE enum ldar_status contigs_scan(const char *path, struct contigs *contigs, struct ldar_error *error);

/* A name and its place in a struct contigs. */
struct contig_name {
    const char *name; /* the contigs' own */
    size_t contig;
};

/* The names in the order of strcmp, for contigs_find; the caller frees the array. NULL without memory. */
struct contig_name *contigs_sort(const struct contigs *contigs);

/* The element of sorted[0..count) with that name, or NULL. */
const struct contig_name *contigs_find(const struct contig_name *sorted, size_t count, const char *name);

/* Frees the arrays and zeroes the struct. */
void contigs_free(struct contigs *contigs);

#endif
