/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_STREAM_H
#define FORMATS_STREAM_H

#include <ldar/status.h>

#include <stddef.h>
#include <stdint.h>

/*
 * The bytes of a file, inflated when it is gzip or BGZF, which its content
 * tells. "-" is standard input. Data that is cut (also where a BGZF file lacks
 * its end-of-file block) or damaged is an error. Memory: 192 KiB.
 */
typedef struct stream stream;

/* On failure *stream is NULL. htslib's own messages are switched off: what it has to say comes as our errors. */
LDAR_MUST_USE enum ldar_status stream_open(const char *path, stream **stream, struct ldar_error *error);

/* The next bytes of the file, valid until the next call; *count is 0 at its end, there and ever after. */
LDAR_MUST_USE enum ldar_status stream_read(stream *stream, const char **bytes, size_t *count, struct ldar_error *error);

/* What the next stream_read will give, which it still does: by the first bytes of a file its form is told. */
LDAR_MUST_USE enum ldar_status stream_peek(stream *stream, const char **bytes, size_t *count, struct ldar_error *error);

/* The path, or "standard input". */
const char *stream_name(const stream *stream);

/* Bytes of the file, as it is stored, that were read so far, and in all; total 0: not known. */
void stream_progress(const stream *stream, uint64_t *done, uint64_t *total);

/* Does nothing for NULL. */
void stream_close(stream *stream);

#endif
