/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_BIGWIG_H
#define FORMATS_BIGWIG_H

#include "contigs.h"

/*
 * A writer of bigWig files (Kent et al., Bioinformatics 2010, supplement), one float per base.
 *
 * The road not taken is libBigWig's writer: to make its zoom levels it loads all
 * values of a sequence (15 bytes a base: 3.7 GB for human chromosome 1), its errors
 * go unseen, and a full disk ends in a corrupted heap (0.4.7). Here values stream:
 * zoom levels grow along with the data, and their blocks lie between those of the
 * data, which the format's indexes allow. Memory: 512 KiB, the table of contigs,
 * and of each block its index entry, 0.01 bytes a base.
 */
typedef struct bigwig bigwig;

/*
 * The contigs are copied. Errors: a name that occurs twice or has more than 255 bytes, a length beyond 2^32 - 1,
 * standard output or a pipe as the path. On failure *bigwig is NULL.
 */
LDAR_MUST_USE enum ldar_status bigwig_create(const char *path, const struct contigs *contigs, bigwig **bigwig,
                                             struct ldar_error *error);

/* The next values begin at `start` of the contig `name`: never before those that are there. */
LDAR_MUST_USE enum ldar_status bigwig_seek(bigwig *bigwig, const char *name, uint64_t start, struct ldar_error *error);

/* The next `count` bases; none beyond the contig's end. */
LDAR_MUST_USE enum ldar_status bigwig_write(bigwig *bigwig, const float *values, size_t count,
                                            struct ldar_error *error);

/*
 * Writes all that is still to be written, so that a commit has only to give the file its name: for several files that
 * are committed together. Only bigwig_commit or bigwig_abandon may follow.
 */
LDAR_MUST_USE enum ldar_status bigwig_finish(bigwig *bigwig, struct ldar_error *error);

/* Both free `bigwig`, whatever comes of it. */
LDAR_MUST_USE enum ldar_status bigwig_commit(bigwig *bigwig, struct ldar_error *error);
void bigwig_abandon(bigwig *bigwig); /* does nothing for NULL */

#endif
