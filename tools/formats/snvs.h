/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_SNVS_H
#define FORMATS_SNVS_H

#include "contigs.h"
#include "provenance.h"

/*
 * All single-nucleotide variants of the bases of a genome as a table (tabix.h):
 *
 *   ## the provenance, and what the numbers are
 *   #chrom  pos  ref  alt  llr  p_ref  p_alt
 *   chrI    101  A    C    -0.8755  0.36000  0.15000
 *
 * A row for each ALT, three of a base, in the order A, C, G, T; a base that is N has none. `pos` is 1-based; `llr` is
 * the natural logarithm of p_alt / p_ref, to four decimals, from the floats that it is given and not from the rounded
 * columns; p_ref and p_alt have five. A number that is none is ".".
 */
typedef struct snvs snvs;

/* `about`: one line without a line break that says where the probabilities are from. On failure *snvs is NULL. */
LDAR_MUST_USE enum ldar_status snvs_create(const char *path, const struct contigs *contigs,
                                           const struct provenance *provenance, const char *about, snvs **snvs,
                                           struct ldar_error *error);

/* The next bases begin at `start` of the contig `name`: never before those that are there. */
LDAR_MUST_USE enum ldar_status snvs_seek(snvs *snvs, const char *name, uint64_t start, struct ldar_error *error);

/* The next `count` bases: what they are (enum ldar_symbol), and log p of A, C, G, T for each, (count, 4). */
LDAR_MUST_USE enum ldar_status snvs_write(snvs *snvs, const uint8_t *ids, const float *log_p, size_t count,
                                          struct ldar_error *error);

/* As tabix_finish. */
LDAR_MUST_USE enum ldar_status snvs_finish(snvs *snvs, struct ldar_error *error);

/* Both free `snvs`, whatever comes of it. */
LDAR_MUST_USE enum ldar_status snvs_commit(snvs *snvs, struct ldar_error *error);
void snvs_abandon(snvs *snvs); /* does nothing for NULL */

#endif
