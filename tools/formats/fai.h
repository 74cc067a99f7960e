/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_FAI_H
#define FORMATS_FAI_H

#include "contigs.h"

/*
 * The .fai index of a genome, as far as it must be known before htslib may work
 * with it: names and lengths, and that its numbers agree with each other and
 * with the size of the genome's file (`genome_bytes`, uncompressed; 0: not
 * known). Errors name file and line: columns that are missing or no numbers, an
 * index of FASTQ, a line width of 0 or less than its letters, a sequence that
 * ends beyond the file, a name that occurs twice.
 */
LDAR_MUST_USE enum ldar_status fai_read(const char *path, uint64_t genome_bytes, struct contigs *contigs,
                                        struct ldar_error *error);

#endif
