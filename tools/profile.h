/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PROFILE_H
#define LDAR_TOOLS_PROFILE_H

#include "session.h"

#include "formats/sites.h"

/*
 * Boundary probabilities and decisions averaged around sites, and the same around a background.
 *
 * A site's window is read from 5' to 3': of a site on the minus strand it is the reverse complement. Offset 0 is the
 * anchor, positive offsets lie on its 3' side, and the value at an offset is that of a token beginning there.
 * The first nucleotide of a window, whose token begins by rule, counts nowhere; so a site near an end of its contig
 * counts at the offsets that exist.
 */

enum background { BACKGROUND_SHUFFLED, BACKGROUND_RANDOM, BACKGROUND_NONE };

/* Which strand the model reads. A boundary found on the antisense strand is laid on the same gap between two bases. */
enum reading { READ_SENSE, READ_ANTISENSE, READ_BOTH };

struct profile_plan {
    size_t flank;  /* offsets -flank .. flank */
    size_t window; /* nucleotides that the model sees, the anchor in the middle; more than 2 * flank */
    enum site_anchor anchor;
    enum reading reading;
    enum background background;
    size_t draws; /* background windows of each site */
    uint64_t seed;
    size_t max_bytes;
};

/* Mean and sum of squared deviations of n values, in the order that they came in (Welford). */
struct moments {
    uint64_t n;
    double mean, squares;
};

/* The mean, and mean -+ 1.96 standard errors; NaN where there are too few values. */
struct estimate {
    double mean, low, high;
};
struct estimate moments_estimate(const struct moments *moments);

enum profile_value {
    PROFILE_NATIVE,     /* probability that a token begins */
    PROFILE_BACKGROUND, /* the mean of a site's background windows */
    PROFILE_DIFFERENCE, /* of the two, site by site */
    PROFILE_OPENS,      /* share of sites where a token begins */
    PROFILE_OPENS_BACKGROUND,
    PROFILE_VALUES
};

/* Of sites: bases counted, and tokens that begin there, summed with their products. */
struct tally {
    uint64_t sites;
    double bases, tokens, bases2, both, tokens2;
};

/* Bases per token with its interval (ratio of means over sites, delta method). */
struct estimate tally_token_length(const struct tally *tally);

struct profile {
    size_t offsets;                        /* 2 * flank + 1 */
    struct moments *curve[PROFILE_VALUES]; /* (offsets) */
    struct moments whole[PROFILE_VALUES];  /* of the mean over a site's offsets */
    struct tally native, background;
    uint64_t partial; /* sites whose flank is not whole */
};

/* Sites, or nothing without memory. */
LDAR_MUST_USE enum ldar_status profile_create(const struct profile_plan *plan, struct profile *profile,
                                              struct ldar_error *error);
void profile_free(struct profile *profile);

/* Counts nucleotides as they go through the model. */
struct profile_progress {
    double done, whole;
    uint64_t unknown, read; /* letters of native windows that are N, and all */
};

/* Adds all used sites of a set. */
LDAR_MUST_USE enum ldar_status profile_add(const struct profile_plan *plan, const struct session *session,
                                           reference *reference, const struct site_set *set, struct profile *profile,
                                           struct profile_progress *progress, struct ldar_error *error);

/* ---- one locus ---- */

struct locus {
    size_t contig;
    uint64_t start, end;
    bool minus;    /* read and drawn as the reverse complement */
    char *letters; /* (end - start), NUL-terminated, and so on: in the order of reading */
    float *prob;
    uint8_t *boundary;
};

/* Fills in the arrays; the model sees at least plan->window nucleotides where the contig has them. */
LDAR_MUST_USE enum ldar_status locus_compute(const struct profile_plan *plan, const struct session *session,
                                             reference *reference, struct locus *locus, struct ldar_error *error);
void locus_free(struct locus *locus);

/* Nucleotides that the model sees for it. */
uint64_t locus_nucleotides(const struct profile_plan *plan, reference *reference, const struct locus *locus);

#endif
