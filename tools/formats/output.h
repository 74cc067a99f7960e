/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_OUTPUT_H
#define FORMATS_OUTPUT_H

#include "failure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where results go: an ldar_file, which has its name only once it is complete,
 * or standard output, which "-" stands for. Buffered.
 */
typedef struct output output;

/* On failure *output is NULL. */
LDAR_MUST_USE enum ldar_status output_create(const char *path, output **output, struct ldar_error *error);

LDAR_MUST_USE enum ldar_status output_write(output *output, const void *data, size_t bytes, struct ldar_error *error);

/* At most 1 KiB of text. */
LDAR_MUST_USE enum ldar_status output_print(output *output, struct ldar_error *error, const char *format, ...)
    FORMATS_PRINTF(3, 4);

/* Bytes written so far. */
uint64_t output_length(const output *output);

/* Whether output_rewrite can work: not on a pipe, and not on standard output that is appended to. */
bool output_can_rewrite(const output *output);

/* Writes over [offset, offset + bytes), which was written before. */
LDAR_MUST_USE enum ldar_status output_rewrite(output *output, uint64_t offset, const void *data, size_t bytes,
                                              struct ldar_error *error);

/* Whether a second file can stand beside the one at `path`: not for standard output and devices. */
bool output_has_neighbour(const char *path);

/* PATH.json; the caller frees it. NULL without memory. */
char *output_neighbour(const char *path);

/* All that was written so far to the disk: before several outputs are committed together. */
LDAR_MUST_USE enum ldar_status output_sync(output *output, struct ldar_error *error);

/* Both free `output`, whatever comes of it. What was sent to standard output stays sent. */
LDAR_MUST_USE enum ldar_status output_commit(output *output, struct ldar_error *error);
void output_abandon(output *output); /* does nothing for NULL */

#endif
