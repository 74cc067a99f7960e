/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_CORPUS_H
#define FORMATS_CORPUS_H

#include "genomes.h"

/*
 * What a model is trained on: windows of genomes that are in memory, drawn at
 * random, and others that are held out to see how well it does.
 *
 * Trained on are the stretches of A, C, G and T of at least a window that hold
 * no held-out base: of all records, or of genomes that a BED file of windows
 * names only the intervals in it (its fourth column: train, valid or test; no
 * fourth column is train; "valid" and "test" are held out). Such an interval
 * may be shorter than a window, and is then taken whole.
 *
 * A draw takes a stretch with probability in proportion to its length times its
 * genome's weight, a place in it where a window fits, and with probability 1/2
 * the other strand. It depends on (seed, step, sample) and the corpus alone.
 */
typedef struct corpus corpus;

struct corpus_options {
    size_t window;           /* nucleotides, at least 1 */
    const char *windows;     /* a BED file, or NULL */
    const char *const *held; /* (held_count) regions (genomes_region), genomes, or BED files */
    size_t held_count;
    size_t validation; /* at most this many windows, spread evenly over what is held out to validate with */
};

/* `warnings` may be NULL. On failure *corpus is NULL. */
LDAR_MUST_USE enum ldar_status corpus_create(const struct warnings *warnings, corpus **corpus,
                                             struct ldar_error *error);
void corpus_destroy(corpus *corpus); /* does nothing for NULL */

/* genomes_add. */
LDAR_MUST_USE enum ldar_status corpus_add(corpus *corpus, const char *genome, struct ldar_error *error);

/* Once all genomes are there: decides what is trained on. A genome without a window is an error. */
LDAR_MUST_USE enum ldar_status corpus_plan(corpus *corpus, const struct corpus_options *options,
                                           struct ldar_error *error);

struct corpus_summary {
    uint64_t nucleotides, unknown;
    uint64_t trained;  /* in stretches that windows are drawn from */
    uint64_t held_out; /* never trained on */
    size_t stretches, records;
    size_t validation;  /* windows */
    double mean_window; /* nucleotides of a window that is drawn, on average */
    uint64_t bytes;     /* of memory */
    uint64_t hash;      /* of every nucleotide and of the plan: equal for what draws the same windows */
};
struct corpus_summary corpus_summary(const corpus *corpus);

/* A window into ids (window); returns its length. */
size_t corpus_draw(const corpus *corpus, uint64_t seed, uint64_t step, uint64_t sample, uint8_t *ids);

/* The index-th window to validate with, index < summary.validation, as it stands in its genome. */
size_t corpus_validation(const corpus *corpus, size_t index, uint8_t *ids);

#endif
