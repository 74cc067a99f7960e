/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_PROVENANCE_H
#define FORMATS_PROVENANCE_H

#include "output.h"

#include <stddef.h>

/* What made an output. The strings are borrowed. */
struct provenance {
    const char *version; /* of ldar: ldar_version() */
    const char *command; /* the command line: provenance_command() */
    const char *model;   /* the model's file, or NULL: no model took part */
    const char *sha256;  /* of the model (struct ldar_model_info), or NULL or "" where it is not known */
};

/*
 * The command line as a shell would take it back: arguments joined by blanks,
 * quoted where they must be. The caller frees it; NULL without memory.
 */
char *provenance_command(int argc, char *const *argv);

/*
 * One line without a line break, for a comment or a header field:
 * "ldar VERSION; COMMAND; model MODEL sha256 HASH". Control characters become '?'.
 * The caller frees it; NULL without memory.
 */
char *provenance_line(const struct provenance *provenance);

/*
 * The members of a JSON object, without its braces:
 * "version": ..., "command": ..., "model": ..., "sha256": ...; those that are not known are null.
 * The caller frees it; NULL without memory.
 */
char *provenance_json(const struct provenance *provenance);

/*
 * `text` as a JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD,
 * so that whatever a file calls its records, the result is JSON. The caller frees it; NULL without memory.
 */
char *quote_json(const char *text);

/* Bytes of the UTF-8 character that `text` begins with, as RFC 3629 allows it; 0 when it is none. A NUL ends any. */
size_t utf8_length(const char *text);

/*
 * PATH.json, an object that holds the provenance alone, beside a binary output at `path`: written, and to be
 * committed with the output. NULL where nothing can stand beside it, and on failure.
 */
LDAR_MUST_USE enum ldar_status provenance_begin_beside(const char *path, const struct provenance *provenance,
                                                       output **side, struct ldar_error *error);

#endif
