/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_CALLS_H
#define LDAR_TOOLS_CALLS_H

#include "effects.h"

#include "formats/variants.h"

/*
 * The records of a VCF file on their way through ldar score: each ALT is either
 * an edit of the genome, whose effects are computed, or has a note that says why
 * not. Records stand in a queue in the order of the file; with phasing, those
 * around a record are the context of its haplotype.
 */

/* Why an ALT has no numbers. */
enum call_note {
    NOTE_NONE,
    NOTE_NO_CONTIG,    /* the genome has no such contig */
    NOTE_OUTSIDE,      /* REF does not lie in the contig whole */
    NOTE_REF_MISMATCH, /* REF is not what the genome says */
    NOTE_REF_N,        /* REF or the genome there has a letter other than A, C, G, T */
    NOTE_NO_ALT,
    NOTE_SYMBOLIC, /* <DEL> and the like */
    NOTE_STAR,     /* '*': a deletion upstream */
    NOTE_BREAKEND, /* letters with [ or ], or a single breakend */
    NOTE_ALT_N,    /* ALT has a letter other than A, C, G, T */
    NOTE_ALT_IS_REF,
    NOTE_TOO_LONG, /* more letters than effects_allele_max */
    NOTES
};

/* The note as INFO has it, and in words that follow "REF A at chr1:5: ". */
const char *call_note_name(enum call_note note);
const char *call_note_words(enum call_note note);

struct alt {
    enum call_note note;
    struct edit edit; /* when the note is NOTE_NONE */
};

/* A record that is kept; it owns all it points to. */
struct call {
    char *line;
    size_t bytes;
    uint64_t number;
    size_t contig;    /* of the reference; SIZE_MAX: it has none */
    int64_t position; /* as the file has it, 0-based */
    size_t alts;      /* at least 1: where the file has none, one with NOTE_NO_ALT */
    size_t file_alts; /* of the file */
    struct alt *alt;  /* (alts) */
    int carried[VARIANT_PLOIDY];
    bool phased;
    int64_t phase_set;
    size_t ref_length; /* letters of REF */
    uint64_t unit;     /* of work that it is in; score.h */
};

/* Makes a call of a record: finds its contig, compares REF and trims alleles. On failure *call is NULL. */
LDAR_MUST_USE enum ldar_status call_create(const struct variant *variant, reference *reference, effects *effects,
                                           struct call **call, struct ldar_error *error);
void call_destroy(struct call *call); /* does nothing for NULL */

/* Calls in the order of the file. Zeroed is empty. */
struct calls {
    struct call **item;
    size_t count, room;
};

LDAR_MUST_USE enum ldar_status calls_add(struct calls *calls, struct call *call, struct ldar_error *error);
/* Frees the first `count`. */
void calls_drop(struct calls *calls, size_t count);
void calls_free(struct calls *calls);

/*
 * The other edits of the haplotype that ALT `alt` of call `index` is phased on, within `reach` of it, as struct effect
 * wants them, into a new array at *edits, which the caller frees; none when it is on none. Calls must be sorted. False
 * without memory.
 */
bool calls_context(const struct calls *calls, size_t index, size_t alt, uint64_t reach, struct edit **edits,
                   size_t *count);

#endif
