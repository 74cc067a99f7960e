/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PROFILE_REPORT_H
#define LDAR_TOOLS_PROFILE_REPORT_H

#include "draw.h"
#include "profile.h"

/* What `ldar profile` found, and the folder that it is written to. Everything here is borrowed. */

struct profile_set {
    char *name;
    const char *origin;  /* the BED file, or the motif */
    struct motif *motif; /* NULL: a BED file */
    struct site_set sites;
    struct profile profile;
};

struct profile_locus {
    struct locus locus;
    struct draw_mark *marks; /* lanes are indices of sets */
    size_t mark_count, mark_capacity;
};

struct profile_results {
    const struct profile_plan *plan;
    const struct provenance *provenance;
    const reference *reference;
    const struct profile_set *sets;
    size_t set_count;
    const struct profile_locus *loci;
    size_t locus_count;
};

/*
 * Writes locus.svg, locus-2.svg, ..., profile.tsv, summary.tsv, profile.svg, locus.tsv and report.html, which holds the
 * drawings and tables. They get their names once all of them are on the disk.
 */
LDAR_MUST_USE enum ldar_status profile_report(const struct profile_results *results, const char *folder,
                                              struct ldar_error *error);

#endif
