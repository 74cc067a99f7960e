/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_DELIMITED_H
#define FORMATS_DELIMITED_H

#include "stream.h"

/*
 * Rows of CSV, TSV and plain lines. A field may be quoted, "" is a quote within,
 * and a quoted field may hold separators and line breaks. CRLF, a byte order
 * mark, blank lines and a missing last newline are fine; blanks around a field
 * are no part of it.
 *
 * Errors name file and line: a row of more than `limit` bytes or of more than
 * DELIMITED_FIELDS_MAX fields, a NUL, a quote that is not closed, or is followed by anything but a separator.
 * Memory: the longest row and a pointer per field.
 */
typedef struct delimited delimited;

enum { DELIMITED_FIELDS_MAX = 4096 };

enum separator {
    SEPARATOR_FOUND = -1, /* a tab when the first line holds one, else a comma */
    SEPARATOR_NONE = 0    /* a line is one field */
};

struct delimited_row {
    size_t count;        /* 0: there are no more rows */
    char *const *fields; /* (count) each ends in NUL; the caller may write into them. Until the next delimited_next */
    uint64_t line;       /* 1-based; of a row with line breaks in it the first */
};

/* `separator` is a character or an enum separator. The stream is borrowed. On failure *delimited is NULL. */
LDAR_MUST_USE enum ldar_status delimited_open(stream *stream, int separator, size_t limit, delimited **delimited,
                                              struct ldar_error *error);

LDAR_MUST_USE enum ldar_status delimited_next(delimited *delimited, struct delimited_row *row,
                                              struct ldar_error *error);

/* Does nothing for NULL. */
void delimited_close(delimited *delimited);

#endif
