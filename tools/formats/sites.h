/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_SITES_H
#define FORMATS_SITES_H

#include "reference.h"

/*
 * Sites of a genome: intervals that have a strand, and in each one base, the anchor, by which sites are laid over one
 * another. They come from a BED file or are the places where a motif stands.
 */

struct site {
    size_t contig;
    uint64_t start, end; /* 0-based, half-open, within the contig */
    bool minus;          /* reads from end to start, on the complement */
};

/* The base at the 5' end, at the 3' end, or in the middle; of an even number the one on the 3' side of the middle. */
enum site_anchor { SITE_CENTRE, SITE_START, SITE_END };

uint64_t site_anchor(const struct site *site, enum site_anchor anchor);

/* Stretches of contigs, in the genome's order, none of which overlap. */
struct stretch {
    size_t contig;
    uint64_t start, end;
};
struct stretches {
    struct stretch *list;
    size_t count;
};

/* Reads them off merged regions (regions.h), of which none is read yet. */
LDAR_MUST_USE enum ldar_status stretches_gather(const reference *reference, source *regions,
                                                struct stretches *stretches, struct ldar_error *error);
void stretches_free(struct stretches *stretches);

/* What became of the lines of a BED file, or of a motif's places. */
struct site_counts {
    uint64_t given;
    uint64_t absent;     /* left out: the genome has no such contig */
    uint64_t beyond;     /* left out: ends behind its contig */
    uint64_t outside;    /* left out: the anchor is in none of the stretches */
    uint64_t repeated;   /* left out: contig, anchor and strand of one before */
    uint64_t unstranded; /* taken for the plus strand */
};

struct site_set {
    struct site *list; /* (count) in the order of the file, or of the genome */
    size_t count, capacity;
    size_t used; /* at most `most`, spread evenly over the list: sites_at */
    struct site_counts counts;
};

/*
 * The intervals of a BED file; `within` may be NULL. The sixth column is '+', '-', or '.' or absent, which are taken
 * for '+'; any other text is an error naming the line. `most` 0: all are used.
 */
LDAR_MUST_USE enum ldar_status sites_from_bed(reference *reference, const char *path, enum site_anchor anchor,
                                              const struct stretches *within, size_t most, struct site_set *set,
                                              struct ldar_error *error);

/* ---- motifs ---- */

enum { MOTIF_MAX = 64 };

/* Each letter as the set of bases that it stands for, bit LDAR_A.. of A, C, G and T; N is any of the four. */
struct motif {
    size_t length;
    uint8_t plus[MOTIF_MAX], minus[MOTIF_MAX]; /* and its reverse complement */
    bool palindrome;                           /* both are the same: it is found on the plus strand alone */
};

/* False for a text that is no 1..MOTIF_MAX letters of the IUPAC alphabet. */
bool motif_parse(const char *text, struct motif *motif);

/* Whether the motif stands at ids[0..length), read forwards or as its reverse complement. */
bool motif_at(const struct motif *motif, const uint8_t *ids, bool minus);

/*
 * The places of a motif in records of the genome (regions.h). With `most` at most twice as many are held in memory
 * while the genome is read: every second, fourth, ... as they become too many.
 */
LDAR_MUST_USE enum ldar_status sites_from_motif(const reference *reference, const struct motif *motif, source *regions,
                                                size_t most, struct site_set *set, struct ldar_error *error);

/* The i-th of the sites that are used, i < set->used. */
const struct site *sites_at(const struct site_set *set, size_t i);

/* Frees the list and zeroes the struct. */
void sites_free(struct site_set *set);

#endif
