/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_TABLE_H
#define FORMATS_TABLE_H

#include "reference.h"

/*
 * Labelled tables: sequences, each with a class or a value, whole in memory (a
 * byte per nucleotide). What lies at the path tells the form:
 *
 *   a file      CSV or TSV whose header names the columns `sequence` and `label`
 *               (in any order and case; others are passed over, but for `name`
 *               or `id`); or `region`, `start`, `end`, perhaps `strand`, and
 *               `label`: intervals of a reference genome
 *   a file      FASTA or FASTQ, the names ending in |label
 *   a folder    of folders, each a class: the sequences in its files, which are
 *               FASTA, FASTQ, or text with a sequence per line (.txt)
 *   a folder    of tables without `label`, CLASS.csv or CLASS.tsv, as the
 *               Genomic Benchmarks have them for their intervals
 *
 * Each file may be gzip or BGZF. "-" is standard input, in the first two forms.
 *
 * A table is separated by tabs when its header holds one, else by commas. Fields
 * may be quoted, "" is a quote within, and a quoted field may hold line breaks.
 * CRLF, a byte order mark, blank lines and a missing last newline are fine;
 * blanks around a field are no part of it.
 *
 * Intervals are 0-based and half-open, `strand` is + - . or empty, and - is the
 * reverse complement; names are matched as in reference_find.
 *
 * Rows come in the order of the file; files and folders in the order of their
 * names, byte by byte.
 *
 * Errors name the file and the line (in FASTA the record): a column or a field
 * that is missing, a column named twice, a quote that is not closed, an empty
 * sequence or class, a letter that is no nucleotide, a value that is no finite
 * number, a NUL, a line or a sequence of more than TABLE_LINE_MAX bytes, an interval that is
 * not in the reference whole, a class that `classes` lacks, a class name longer than
 * TABLE_CLASS_NAME_MAX bytes, with control characters or not in UTF-8, more than
 * TABLE_CLASSES_MAX classes; a table without a row, and one of a single class
 * where `classes` is NULL.
 */
enum { TABLE_LINE_MAX = 64 << 20, TABLE_CLASSES_MAX = 10000, TABLE_CLASS_NAME_MAX = 255 };

enum table_kind {
    TABLE_CLASSES = 1, /* labels are names of classes */
    TABLE_VALUES = 2   /* labels are numbers; a folder per class has none */
};

struct table_options {
    enum table_kind kind;
    /*
     * (class_count) the classes that may occur, in the order of their indices, as those of the table that a model was
     * trained on. NULL: those that do occur, in numeric order when all are whole numbers, else byte by byte.
     */
    const char *const *classes;
    size_t class_count;
    reference *reference;            /* for intervals; may be NULL */
    const struct warnings *warnings; /* of records that are odd but no error; may be NULL */
};

/*
 * Rows i = 0 .. count - 1. Row i is ids[offsets[i] .. offsets[i + 1]), never
 * empty: ids, offsets and count are what a struct ldar_batch of the whole table
 * would hold.
 */
struct table {
    enum table_kind kind;
    size_t count;
    uint8_t *ids;     /* (offsets[count]) enum ldar_symbol, A C G T N */
    size_t *offsets;  /* (count + 1) */
    uint32_t *labels; /* (count) indices into `classes`; NULL: TABLE_VALUES */
    double *values;   /* (count) finite; NULL: TABLE_CLASSES */
    char **classes;   /* (class_count) names; NULL: TABLE_VALUES */
    size_t class_count;
    size_t *class_sizes; /* (class_count) rows of each; 0 is possible where the caller gave the classes */
    size_t longest;      /* nucleotides of the longest row */
    size_t unknown;      /* letters that became N */
    char *name_text;     /* names back to back, each ending in NUL; */
    size_t *name_starts; /* (count) where in it each row's begins; table_name reads them */
};

/* On failure *table is zeroed. */
LDAR_MUST_USE enum ldar_status table_read(const char *path, const struct table_options *options, struct table *table,
                                          struct ldar_error *error);

/* The row's name: of its column `name` or `id`, its record or its file; "" where there is none. */
const char *table_name(const struct table *table, size_t row);

/* Frees what the table owns and zeroes it. */
void table_free(struct table *table);

#endif
