/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_GENOMES_H
#define FORMATS_GENOMES_H

#include "bed.h"
#include "contigs.h"
#include "spans.h"

/*
 * Genomes that are in memory whole, a byte a nucleotide: files of sequences
 * (sequences.h) one behind the other, in one line of nucleotides that spans
 * count in.
 */
struct genome {
    char *path;
    const char *name; /* what follows the path's last slash */
    double weight;
    size_t first, records;
};

struct genomes {
    uint8_t *ids; /* (length) enum ldar_symbol */
    uint64_t length, capacity;
    uint64_t unknown; /* letters that became N */
    struct genome *list;
    size_t count;
    struct contigs records;
    uint64_t *starts; /* (records.count) where each begins */
    struct warnings warnings;
    struct contig_name *sorted; /* by name, once the first was looked for */
    bool renamed;               /* a name was matched with or without "chr", and a warning has said so */
};

/* Reads one more file. `text` is its path, or "PATH:WEIGHT" with a positive number; without, the weight is 1. */
LDAR_MUST_USE enum ldar_status genomes_add(struct genomes *genomes, const char *text, struct ldar_error *error);

/*
 * The record of that name, or of "FILE:NAME" where several genomes have it; FILE is a genome's path or what follows the
 * last slash of it. A name that none has is looked for with "chr" put before it or taken away, and a warning says so.
 */
LDAR_MUST_USE enum ldar_status genomes_find(struct genomes *genomes, const char *name, size_t *record,
                                            struct ldar_error *error);

/* The genome of that path, or of that name; NULL when there is none. */
const struct genome *genomes_named(const struct genomes *genomes, const char *name);

/* Where "NAME", "NAME:FROM" or "NAME:FROM-TO" (1-based, closed) lies. NAME is what genomes_find takes. */
LDAR_MUST_USE enum ldar_status genomes_region(struct genomes *genomes, const char *text, struct span *span,
                                              struct ldar_error *error);

/* Where an interval of the BED file `path` lies; errors name the line. */
LDAR_MUST_USE enum ldar_status genomes_interval(struct genomes *genomes, const char *path,
                                                const struct bed_interval *interval, struct span *span,
                                                struct ldar_error *error);

/* The record that holds the position, which is less than `length`. */
size_t genomes_record_at(const struct genomes *genomes, uint64_t position);

/* The genome that holds the record. */
size_t genomes_of_record(const struct genomes *genomes, size_t record);

/* Frees all and zeroes the struct. */
void genomes_free(struct genomes *genomes);

#endif
