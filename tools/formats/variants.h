/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_VARIANTS_H
#define FORMATS_VARIANTS_H

#include "contigs.h"
#include "provenance.h"

/*
 * Variants: VCF and BCF, read and written by htslib. What is read may be plain,
 * gzip, BGZF or BCF, whatever its name; what htslib finds wrong with a record is
 * an error that names it. A record goes from reader to writer as its line of
 * VCF: of VCF that is read, the very bytes; of BCF, what htslib prints, numbers
 * of type float with six digits.
 */

/* ---- reading ---- */

typedef struct variant_reader variant_reader;

enum { VARIANT_PLOIDY = 2 };

struct variant {
    const char *line; /* (bytes) the record as a line of VCF, without its line break; NULL: there are no more records */
    size_t bytes;
    uint64_t number;           /* of the record, from 1 */
    const char *contig;        /* as the file calls it */
    int64_t position;          /* 0-based; -1 where the file says 0 */
    size_t alleles;            /* REF and each ALT; an ALT of '.' alone is none */
    const char *const *allele; /* (alleles) as the file has them; allele[0] is REF */
    /* Of the sample that variant_reader_sample chose: */
    int carried[VARIANT_PLOIDY]; /* the allele on each of the two haplotypes; -1: none, not known, or not diploid */
    bool phased;                 /* which is on which is told: '|', or both are the same */
    int64_t phase_set;           /* PS; -1: none, and all that is phased belongs together */
};

/*
 * "-" is the standard input. A file that is neither VCF nor BCF, or whose header is damaged, is an error. On failure
 * *reader is NULL.
 */
LDAR_MUST_USE enum ldar_status variant_reader_open(const char *path, variant_reader **reader, struct ldar_error *error);

/* From here on genotypes of that sample are told; NULL: of the first. A file without it is an error. */
LDAR_MUST_USE enum ldar_status variant_reader_sample(variant_reader *reader, const char *sample,
                                                     struct ldar_error *error);

/* The next record, which is the reader's until the next call. A file that was cut off is an error. */
LDAR_MUST_USE enum ldar_status variant_reader_next(variant_reader *reader, struct variant *variant,
                                                   struct ldar_error *error);

/* A field of INFO that is added: a line of the header. `number` as in VCF, as "A" or ".". */
struct variant_field {
    const char *id, *number, *type, *description;
};

/*
 * The reader's header as text, with fields[0..count) in place of such that it may have, a line ##ldar= that says what
 * made the file, and a line for each of the contigs that it lacks, of which *added says how many there were. NULL on
 * failure; the caller frees it.
 */
char *variant_reader_header(const variant_reader *reader, const struct contigs *contigs,
                            const struct variant_field *fields, size_t count, const struct provenance *provenance,
                            size_t *added, struct ldar_error *error);

/* Does nothing for NULL. */
void variant_reader_close(variant_reader *reader);

/* ---- changing a line ---- */

/* Text that grows. Zeroed is empty; bytes is the owner's to free. */
struct variant_text {
    char *bytes;
    size_t length, capacity;
};

/* False without memory. */
bool variant_text_add(struct variant_text *text, const char *bytes, size_t count);

/* A field of INFO: its name and value. */
struct variant_info {
    const char *id, *value; /* a value of NULL takes the field away */
};

/*
 * Adds line[0..bytes) to `text`, and a line break, with info[0..count) at the end of INFO, in place of fields of these
 * names. The line is one that a reader gave. False without memory.
 */
bool variant_line_with(const char *line, size_t bytes, const struct variant_info *info, size_t count,
                       struct variant_text *text);

/* ---- writing ---- */

/*
 * The form is told by the name: .vcf.gz and .bcf are BGZF and have an index (.csi) beside them, everything else is
 * plain VCF. The file and its index have their names only once they are complete.
 */
typedef struct variant_writer variant_writer;

/* Whether what is written there has an index, so that records must come sorted by contig and position. */
bool variant_path_is_indexed(const char *path);

/* "-" is the standard output. `header` as variant_reader_header makes it. On failure *writer is NULL. */
LDAR_MUST_USE enum ldar_status variant_writer_create(const char *path, const char *header, variant_writer **writer,
                                                     struct ldar_error *error);

/* Whole lines of records, each with its line break. */
LDAR_MUST_USE enum ldar_status variant_writer_put(variant_writer *writer, const char *lines, size_t bytes,
                                                  struct ldar_error *error);

/* Both free `writer`, whatever comes of it. */
LDAR_MUST_USE enum ldar_status variant_writer_commit(variant_writer *writer, struct ldar_error *error);
void variant_writer_abandon(variant_writer *writer); /* does nothing for NULL */

#endif
