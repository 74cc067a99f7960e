/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_TABLE_ROWS_H
#define FORMATS_TABLE_ROWS_H

#include "failure.h"
#include "labels.h"
#include "table.h"

/*
 * A table that is being filled, row by row, by table.c: letters are appended,
 * then the row is closed with its label and name. What is wrong with either is
 * told with the place where it stands.
 */
struct table_rows {
    const struct table_options *options;
    struct table *table;
    struct label_set labels;
    size_t *class_sizes; /* (classes_capacity) by the index in `labels` */
    size_t classes_capacity;
    size_t length;         /* nucleotides of all rows, the open one included */
    size_t name_length;    /* bytes of all names, their NULs included */
    size_t ids_capacity;   /* of table->ids */
    size_t rows_capacity;  /* of the arrays with an element per row */
    size_t names_capacity; /* of table->name_text */
};

/* Where a row stands: in a line, or in a record, or neither. */
struct table_place {
    const char *file;
    uint64_t line;      /* 0: none */
    const char *record; /* NULL: none */
};

/* Begins an empty table. On failure, and after all else, table_rows_free follows. */
LDAR_MUST_USE enum ldar_status table_rows_begin(struct table_rows *rows, const struct table_options *options,
                                                struct table *table, struct ldar_error *error);

/* "FILE:LINE: ...", or "FILE: record "NAME": ...". */
enum ldar_status table_fail(const struct table_place *place, struct ldar_error *error, const char *format, ...)
    FORMATS_PRINTF(3, 4);

/* Appends letters to the open row, reversed and complemented when asked. */
LDAR_MUST_USE enum ldar_status table_rows_letters(struct table_rows *rows, const struct table_place *place,
                                                  const char *letters, size_t count, bool reversed,
                                                  struct ldar_error *error);

/* Appends what is left of a source's record. */
LDAR_MUST_USE enum ldar_status table_rows_record(struct table_rows *rows, const struct table_place *place,
                                                 source *source, struct ldar_error *error);

/* Closes the row. */
LDAR_MUST_USE enum ldar_status table_rows_close(struct table_rows *rows, const struct table_place *place,
                                                const char *label, const char *name, size_t name_length,
                                                struct ldar_error *error);

/* All rows are in: sorts the classes and hands them to the table. `path` is for messages. */
LDAR_MUST_USE enum ldar_status table_rows_end(struct table_rows *rows, const char *path, struct ldar_error *error);

void table_rows_free(struct table_rows *rows);

#endif
