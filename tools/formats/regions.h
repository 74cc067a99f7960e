/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_REGIONS_H
#define FORMATS_REGIONS_H

#include "reference.h"

/*
 * Regions of a genome as a source: records bear the contig's name as the genome
 * writes it, `start` and `length` say where they lie, progress counts
 * nucleotides. Each reads from the reference, which must outlive it; the
 * sources of one reference are used by one thread at a time.
 */

/* The whole genome, a record for each contig. */
LDAR_MUST_USE enum ldar_status regions_all(reference *reference, source **regions, struct ldar_error *error);

/*
 * Regions as in samtools, 1-based and closed: "NAME", "NAME:FROM", "NAME:FROM-TO";
 * numbers may have commas. A contig whose name is the whole text comes first, so
 * that names may hold colons. A region that does not lie in its contig whole is an error.
 */
LDAR_MUST_USE enum ldar_status regions_parse(reference *reference, const char *const *text, size_t count,
                                             source **regions, struct ldar_error *error);

/* The intervals of a BED file (bed.h), in its order. Errors name the file and the line. Memory: 24 bytes a line. */
LDAR_MUST_USE enum ldar_status regions_from_bed(reference *reference, const char *path, source **regions,
                                                struct ldar_error *error);

/* Those of them whose fourth column is `label`; of all when that is NULL. */
LDAR_MUST_USE enum ldar_status regions_from_bed_label(reference *reference, const char *path, const char *label,
                                                      source **regions, struct ldar_error *error);

/*
 * Both change regions that were made here and of which none is read yet. The first sorts them into the genome's order
 * and makes one of those that overlap or touch; the second adds up to `flank` nucleotides at either end, as far as the
 * contig reaches, that are context alone (struct record).
 */
void regions_merge(source *regions);
void regions_widen(source *regions, uint64_t flank);

/* "FROM", "FROM-" or "FROM-TO" of a sequence of `length`, as half-open bounds from 0; false for any other text. */
bool regions_parse_range(const char *text, uint64_t length, uint64_t *start, uint64_t *end);

#endif
