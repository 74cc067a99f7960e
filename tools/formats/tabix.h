/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_TABIX_H
#define FORMATS_TABIX_H

#include "contigs.h"

/*
 * A writer of tables that tabix finds rows in: lines of columns separated by
 * tabs, the first a sequence's name and the second a 1-based position, sorted,
 * in BGZF. The index grows along with the data, so that the table is not read
 * again for it; PATH.tbi, or PATH.csi where a contig is longer than the 2^29
 * bases that a .tbi can address. It holds what `tabix -s 1 -b 2 -e 2 PATH` would have written.
 *
 *   tabix_create, tabix_text for lines that begin with '#', then for each stretch
 *   tabix_sequence, tabix_line..., then tabix_commit or tabix_abandon.
 *
 * Table and index grow under temporary names; the index is renamed first, so
 * that a table that stands has its index. Memory: 128 KiB, and of the index 8
 * bytes for each 16 kb of sequence and some 100 for each block of 64 KiB of text.
 */
typedef struct tabix tabix;

/* `contigs` is read only in this call. Errors: standard output as the path. On failure *tabix is NULL. */
LDAR_MUST_USE enum ldar_status tabix_create(const char *path, const struct contigs *contigs, tabix **tabix,
                                            struct ldar_error *error);

/* Text that the index passes over: whole lines that begin with '#'. */
LDAR_MUST_USE enum ldar_status tabix_text(tabix *tabix, const char *text, size_t bytes, struct ldar_error *error);

/* The lines that follow are of the sequence `name`. All lines of a sequence must follow one another. */
LDAR_MUST_USE enum ldar_status tabix_sequence(tabix *tabix, const char *name, struct ldar_error *error);

/*
 * The next line, its line break included, about the base at the 0-based `position`: not before that of the line before.
 */
LDAR_MUST_USE enum ldar_status tabix_line(tabix *tabix, uint64_t position, const char *line, size_t bytes,
                                          struct ldar_error *error);

/*
 * Writes all that is still to be written, so that a commit has only to give the files their names: for several files
 * that are committed together. Only tabix_commit or tabix_abandon may follow.
 */
LDAR_MUST_USE enum ldar_status tabix_finish(tabix *tabix, struct ldar_error *error);

/* Both free `tabix`, whatever comes of it. */
LDAR_MUST_USE enum ldar_status tabix_commit(tabix *tabix, struct ldar_error *error);
void tabix_abandon(tabix *tabix); /* does nothing for NULL */

#endif
