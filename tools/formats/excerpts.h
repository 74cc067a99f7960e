/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_EXCERPTS_H
#define FORMATS_EXCERPTS_H

#include "source.h"

/*
 * Regions of a file of sequences that has no random access, as a source: it is read into memory whole, a byte a
 * nucleotide. Records are those that regions.h would give.
 */
struct excerpts_options {
    const char *const *regions; /* (count) as regions_parse takes them */
    size_t count;
    const char *bed;   /* or a BED file, when count is 0 */
    const char *label; /* of its intervals those whose fourth column says so; NULL: all */
};

/* `warnings` may be NULL. On failure *source is NULL. */
LDAR_MUST_USE enum ldar_status excerpts_open(const char *path, const struct excerpts_options *options,
                                             const struct warnings *warnings, source **source,
                                             struct ldar_error *error);

#endif
