/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_REFERENCE_H
#define FORMATS_REFERENCE_H

#include "contigs.h"

/*
 * A genome in FASTA, plain or BGZF, of which regions are read through its .fai
 * index (and .gzi). Indexes that are absent are made, under a temporary name
 * first; one that is older than the genome draws a warning. What an index
 * claims is checked against the file before and while it is used.
 *
 * A name that the genome lacks is looked for with "chr" put before it or taken
 * away, and MT and chrM are one; a warning says so once.
 */
typedef struct reference reference;

/* `warnings` may be NULL. On failure *reference is NULL. */
LDAR_MUST_USE enum ldar_status reference_open(const char *path, const struct warnings *warnings, reference **reference,
                                              struct ldar_error *error);

/* Whether the file is compressed in a way that has no random access, as gzip but for BGZF is. */
bool reference_is_sequential(const char *path);

/* Names and lengths of all contigs, in the genome's order; owned by the reference. */
const struct contigs *reference_contigs(const reference *reference);

const char *reference_path(const reference *reference);
const struct warnings *reference_warnings(const reference *reference);

/* The contig of that very name; false when there is none. */
bool reference_has(const reference *reference, const char *name, size_t *contig);

/* The same, or the contig that bears the name in the other convention. */
bool reference_find(reference *reference, const char *name, size_t *contig);

/*
 * `count` (at least 1) letters of a contig from the 0-based position `start` on, which must lie in it whole; as the
 * file has them, any byte. The caller frees *letters; on failure it is NULL.
 */
LDAR_MUST_USE enum ldar_status reference_fetch(reference *reference, size_t contig, uint64_t start, size_t count,
                                               char **letters, struct ldar_error *error);

/* Does nothing for NULL. */
void reference_close(reference *reference);

#endif
