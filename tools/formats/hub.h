/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_HUB_H
#define FORMATS_HUB_H

#include "provenance.h"

/*
 * A track hub in one file ("useOneFile on"), which the UCSC genome browser and
 * IGV open by its address: what tracks there are, where, and how they are to be
 * drawn. Files are named relative to the hub's own.
 */

/* A bigWig. */
struct hub_track {
    const char *suffix; /* of its file, which is the hub's prefix with this behind it, as ".A.bw" */
    const char *name;   /* a short word of letters and digits */
    const char *label;  /* one line that says what it is */
    const char *color;  /* "R,G,B" */
    const char *limits; /* what is drawn, as "0:1" */
    const char *mark;   /* where a line is drawn across, as "0.5", or NULL */
    bool overlaid;      /* those that are, one behind the other, are drawn as one track, stacked */
};

struct hub {
    const char *prefix;             /* a path; its last part names the hub */
    const char *genome;             /* as the browser calls it: "hg38", "sacCer3" */
    const char *overlay;            /* one line that says what the overlaid tracks are together */
    const struct hub_track *tracks; /* (count) */
    size_t count;
    const struct provenance *provenance;
};

/* PREFIX.hub.txt, written and to be committed; its first line is the provenance. On failure *output is NULL. */
LDAR_MUST_USE enum ldar_status hub_begin(const struct hub *hub, output **output, struct ldar_error *error);

/*
 * What browsers most likely call a genome, of its file's path: the name without folders and without the endings of
 * FASTA and its compression. The caller frees it; NULL without memory.
 */
char *hub_genome(const char *path);

#endif
