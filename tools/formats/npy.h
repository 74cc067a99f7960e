/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_NPY_H
#define FORMATS_NPY_H

#include "provenance.h"

#include <stdint.h>

/*
 * OUT.npy, a matrix of little-endian float32 of which rows are appended, and
 * beside it OUT.npy.json: provenance, "shape", "rows" (what a row is), and
 * "records", for each record in order its name, start (in the reference), length
 * (nucleotides), offset (its first row) and rows.
 *
 *   npy_create, then for each record npy_record, npy_write..., npy_record_end,
 *   then npy_commit or npy_abandon.
 *
 * Both files grow under temporary names and are renamed together by npy_commit,
 * the .json first: an OUT.npy that stands has its .json beside it. "-" is
 * standard output, without a .json, and must be a regular file: the number of
 * rows stands in the header and is written last. Memory: buffers of 128 KiB.
 */
typedef struct npy npy;

/* What a row of the matrix stands for. */
enum npy_rows { NPY_ROW_PER_NUCLEOTIDE, NPY_ROW_PER_TOKEN, NPY_ROW_PER_RECORD };

/* Rows of `width` (at least 1) values. `provenance` is copied out at once. On failure *npy is NULL. */
LDAR_MUST_USE enum ldar_status npy_create(const char *path, size_t width, enum npy_rows rows,
                                          const struct provenance *provenance, npy **npy, struct ldar_error *error);

/* Begins a record. */
LDAR_MUST_USE enum ldar_status npy_record(npy *npy, const char *name, uint64_t start, struct ldar_error *error);

/* Appends `count` rows, contiguous, to the current record. */
LDAR_MUST_USE enum ldar_status npy_write(npy *npy, const float *rows, size_t count, struct ldar_error *error);

/* Ends the current record, which had `length` nucleotides. */
LDAR_MUST_USE enum ldar_status npy_record_end(npy *npy, uint64_t length, struct ldar_error *error);

/* Completes both files and gives them their names; frees `npy`, whatever comes of it. */
LDAR_MUST_USE enum ldar_status npy_commit(npy *npy, struct ldar_error *error);

/* Removes both files; frees `npy`. Does nothing for NULL. */
void npy_abandon(npy *npy);

#endif
