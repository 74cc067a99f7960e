/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_BED_H
#define FORMATS_BED_H

#include <ldar/status.h>

#include <stdint.h>

/*
 * A reader of BED files: plain, gzip or BGZF; "-" is standard input. Columns are
 * split at tabs, or at blanks where a line has no tab; the first three count, and the
 * fourth and sixth where a caller asks for them.
 * Blank lines and those that begin with '#', "track" or "browser" are passed
 * over. Errors name file and line: fewer than three columns, a number that is
 * none or negative, start >= end, a NUL, a line of more than BED_LINE_MAX bytes.
 */
typedef struct bed_reader bed_reader;

enum { BED_LINE_MAX = 1 << 20 };

struct bed_interval {
    const char *name;    /* NULL: there are no more. Owned by the reader, until the next bed_next */
    uint64_t start, end; /* 0-based, half-open, start < end <= INT64_MAX */
    const char *label;   /* the fourth column, or NULL; as `name` */
    const char *strand;  /* the sixth column, any text, or NULL; as `name` */
    uint64_t line;       /* 1-based */
};

/* On failure *bed is NULL. */
LDAR_MUST_USE enum ldar_status bed_open(const char *path, bed_reader **bed, struct ldar_error *error);

LDAR_MUST_USE enum ldar_status bed_next(bed_reader *bed, struct bed_interval *interval, struct ldar_error *error);

/* Does nothing for NULL. */
void bed_close(bed_reader *bed);

#endif
