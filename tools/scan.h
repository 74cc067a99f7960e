/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_SCAN_H
#define LDAR_TOOLS_SCAN_H

#include "formats/contigs.h"
#include "formats/provenance.h"

/*
 * The files of a scan, PREFIX and a suffix each:
 *
 *   .A.bw .C.bw .G.bw .T.bw        the probability of each letter
 *   .information.bw                bits: 2 less the entropy of the four
 *   .boundary.bw                   the probability that a token begins
 *   .snv.tsv.gz, and its index     all single-nucleotide variants (snvs.h)
 *   .hub.txt                       the bigWigs as a track hub (hub.h)
 *   .json                          what made them
 *
 * A base that is N has a value in .boundary.bw alone. All files bear their names
 * only when all are complete; the hub comes last.
 */
enum scan_part { SCAN_BASES = 1, SCAN_INFORMATION = 2, SCAN_BOUNDARY = 4, SCAN_SNV = 8 };

/* Those that need to know what letters are probable. */
enum { SCAN_OF_MARGINALS = SCAN_BASES | SCAN_INFORMATION | SCAN_SNV };

struct scan_plan {
    const char *prefix;
    unsigned parts; /* enum scan_part, ored */
    const struct contigs *contigs;
    const struct provenance *provenance;
    const char *about;  /* one line: where the probabilities are from */
    const char *genome; /* what genome browsers call it */
};

typedef struct scan_files scan_files;

/* All of `plan` is read only in this call. On failure *files is NULL. */
LDAR_MUST_USE enum ldar_status scan_create(const struct scan_plan *plan, scan_files **files, struct ldar_error *error);

/*
 * The bases that follow lie from `start` on in the contig `name`; records come in the order of the contigs, sorted and
 * without overlap.
 */
LDAR_MUST_USE enum ldar_status scan_record(scan_files *files, const char *name, uint64_t start,
                                           struct ldar_error *error);

/*
 * The next `count` bases: what they are (enum ldar_symbol), log p of A, C, G, T (count, 4), and the probability that a
 * token begins (count). What no part needs may be NULL.
 */
LDAR_MUST_USE enum ldar_status scan_rows(scan_files *files, const uint8_t *ids, const float *log_p, const float *prob,
                                         size_t count, struct ldar_error *error);

/* Both free `files`, whatever comes of it. */
LDAR_MUST_USE enum ldar_status scan_commit(scan_files *files, struct ldar_error *error);
void scan_abandon(scan_files *files); /* does nothing for NULL */

#endif
