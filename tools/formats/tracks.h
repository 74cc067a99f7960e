/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_TRACKS_H
#define FORMATS_TRACKS_H

#include "contigs.h"
#include "provenance.h"

#include <stdint.h>

/*
 * Tokens and boundary probabilities along sequences. Coordinates are 0-based and
 * half-open, those of the reference where a record is a region of one.
 *
 * BED        a line per token: name, start, end, '.', round(1000 p) of the boundary that opens it, '.'.
 *            The tokens of a record cover it from end to end.
 * bedGraph   name, start, end, p for each run of bases whose p is the same float; 9 digits, which give it back exactly.
 * bigWig     p of each base as float32.
 *
 * BED and bedGraph begin with the provenance as a '#' line, which bedtools and
 * the genome browsers pass over; beside a bigWig stands a .json with it.
 *
 *   track_create, then for each record track_record, track_write..., track_record_end,
 *   then track_commit or track_abandon.
 *
 * Output grows under a temporary name and is renamed by track_commit. "-" is
 * standard output, which a bigWig cannot be. Memory: a buffer of 64 KiB; for a
 * bigWig see bigwig.h.
 */
typedef struct track track;

enum track_format { TRACK_BED, TRACK_BEDGRAPH, TRACK_BIGWIG };

/* "bed", "bedgraph", "bigwig". */
const char *track_format_name(enum track_format format);
LDAR_MUST_USE enum ldar_status track_format_parse(const char *name, enum track_format *format,
                                                  struct ldar_error *error);

/*
 * `contigs` is used by bigWig alone, which needs it before all else, and is read only in this
 * call: contigs_scan of a file, reference_contigs of a genome. A name that occurs twice there,
 * or a length beyond 2^32 - 1, is an error for a bigWig. On failure *track is NULL.
 */
LDAR_MUST_USE enum ldar_status track_create(const char *path, enum track_format format, const struct contigs *contigs,
                                            const struct provenance *provenance, track **track,
                                            struct ldar_error *error);

/*
 * Begins a record that lies at `start` of the sequence `name`. In a bigWig
 * records must come in the order of the contigs, sorted by start and without
 * overlap; what does not is an error that says so.
 */
LDAR_MUST_USE enum ldar_status track_record(track *track, const char *name, uint64_t start, struct ldar_error *error);

/*
 * The next `count` bases of the record: their probability, and 1 where a token
 * begins. `boundary` is used by BED alone and may be NULL elsewhere; the first base of a record begins a token anyhow.
 */
LDAR_MUST_USE enum ldar_status track_write(track *track, const float *prob, const uint8_t *boundary, size_t count,
                                           struct ldar_error *error);

LDAR_MUST_USE enum ldar_status track_record_end(track *track, struct ldar_error *error);

/* Completes the file and gives it its name; frees `track`, whatever comes of it. */
LDAR_MUST_USE enum ldar_status track_commit(track *track, struct ldar_error *error);

/* Removes the file; frees `track`. Does nothing for NULL. */
void track_abandon(track *track);

#endif
