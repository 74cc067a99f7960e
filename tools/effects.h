/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_EFFECTS_H
#define LDAR_TOOLS_EFFECTS_H

#include "marginals.h"

#include "formats/reference.h"

/*
 * What a variant does, as a model sees it: three numbers for each ALT, of the
 * same stretch of the genome with REF and with ALT in it. docs/variants.md says
 * what they mean, and which windows are taken.
 *
 * The numbers of an ALT depend on the genome, the ALT, the model and the options
 * alone: not on the other variants, unless they are its edits.
 */

enum {
    EFFECT_NEAR = 64,        /* nucleotides on each side of a variant whose hidden states count */
    EFFECT_BOUNDARIES = 128, /* on each side, whose boundary probabilities count */
    EFFECT_WINDOW_MIN = 1024,
    EFFECT_ALLELE_PART = 4 /* a trimmed allele has at most this part of the window's letters */
};

/* An allele in place of letters of the genome. */
struct edit {
    uint64_t position; /* 0-based, of its contig */
    size_t removed;    /* letters of the genome from there on */
    const uint8_t *added;
    size_t added_count;
};

/* One ALT. */
struct effect {
    size_t contig;              /* of the reference */
    struct edit edit;           /* trimmed: neither ends nor begins REF and ALT with a letter in common */
    const struct edit *context; /* (context_count) other edits of its haplotype, sorted; none reaches into another one
                                   or into `edit`. NULL unless phased */
    size_t context_count;
    /* What is computed: */
    float llr; /* log p(ALT) - log p(REF); only when effect_has_llr */
    float dist, dtok;
};

/* Whether it is one letter for another. */
int effect_has_llr(const struct effect *effect);

struct effects_options {
    enum marginal_mode mode;
    int phased;        /* each ALT has windows of its own, with its context in them */
    size_t window;     /* nucleotides, at least EFFECT_WINDOW_MIN: of the windows that bases are hidden in, and with
                          exact or phased of all */
    size_t max_memory; /* of all that is computed with; 0: no limit */
};

typedef struct effects effects;

/* Context and reference are borrowed. `width`: D of the model's outermost stage. On failure *effects is NULL. */
LDAR_MUST_USE enum ldar_status effects_create(ldar_context *context, reference *reference, size_t width,
                                              const struct effects_options *options, effects **effects,
                                              struct ldar_error *error);

/* Does nothing for NULL. */
void effects_destroy(effects *effects);

/* Most letters of a trimmed allele. */
size_t effects_allele_max(const effects *effects);

/* Letters [start, start + count) of a contig, valid until the next call of this or effects_compute. */
LDAR_MUST_USE enum ldar_status effects_letters(effects *effects, size_t contig, uint64_t start, size_t count,
                                               const char **letters, struct ldar_error *error);

/* Fills in llr, dist and dtok of list[0..count); cheapest when neighbours stand together. */
LDAR_MUST_USE enum ldar_status effects_compute(effects *effects, struct effect *list, size_t count,
                                               struct ldar_error *error);

/*
 * Where the window begins in which a base of the contig is hidden when windows are shared: records of one window are
 * best computed together. 0 for what is no base of the genome (contig SIZE_MAX: none).
 */
uint64_t effects_window(const effects *effects, size_t contig, int64_t position);

/*
 * With `counting`, effects_compute only counts the nucleotides that it would put through the model, and computes
 * nothing.
 */
void effects_count(effects *effects, int counting);

/* Nucleotides put through the model, or counted, so far. */
double effects_nucleotides(const effects *effects);

#endif
