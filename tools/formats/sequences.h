/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_SEQUENCES_H
#define FORMATS_SEQUENCES_H

#include "source.h"
#include "stream.h"

/*
 * FASTA and FASTQ, plain, gzip or BGZF, each recognised by content; "-" is
 * standard input. Both may break their lines anywhere; CRLF, blank lines, text
 * after the name and a missing last newline are fine.
 *
 * Letters: ldar_encode's. Any other byte is an error naming file, record and
 * position (1-based). Errors too: a file without a record, a record without a
 * name, a name that holds control characters or more than SEQUENCES_NAME_MAX
 * bytes, gzip or BGZF data that is cut or damaged, a FASTQ record whose quality
 * is shorter or longer than its sequence. Warnings, the first few of each kind:
 * an empty record, a name that occurred before.
 *
 * Memory: 256 KiB of buffers, and up to 8 MiB for the hash table by which names
 * that occur twice are found: those of the first SEQUENCES_NAMES_KEPT records
 * are remembered, so that reads may come without end. Names are told apart by
 * 64 bits; of half a million names two share them by chance once in 1e8 files,
 * and all that follows is a needless warning.
 */
enum { SEQUENCES_NAME_MAX = 65535, SEQUENCES_NAMES_KEPT = 1 << 19 };

/* `warnings` may be NULL. On failure *sequences is NULL. */
LDAR_MUST_USE enum ldar_status sequences_open(const char *path, const struct warnings *warnings, source **sequences,
                                              struct ldar_error *error);

/* The same for a file that is open and of which nothing is read. The source owns it; on failure it is closed, too. */
LDAR_MUST_USE enum ldar_status sequences_from(stream *stream, const struct warnings *warnings, source **sequences,
                                              struct ldar_error *error);

#endif
