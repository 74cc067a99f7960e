/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_SURVEY_H
#define LDAR_TOOLS_SURVEY_H

#include "formats/windows.h"

/* What there is to compute, found by reading the input once: of regions of a genome only where they lie. */
struct survey {
    uint64_t records, bases;
    uint64_t windows;
    uint64_t computed; /* nucleotides of all windows: those that windows share count more than once */
    uint32_t checksum; /* CRC-32 of names, places, lengths and letters */
};

/* Reads all of the source. Of `plan` window and overlap count. */
LDAR_MUST_USE enum ldar_status survey_source(source *source, const struct window_plan *plan, struct survey *survey,
                                             struct ldar_error *error);

#endif
