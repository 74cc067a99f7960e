/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PIPELINE_INPUT_H
#define LDAR_TOOLS_PIPELINE_INPUT_H

#include "pipeline.h"

/* What the pipeline itself asks of its input. */

/* Nucleotides that windows share. */
uint64_t pipeline_overlap(const struct input *input);

/* The records once more; `genome` is open where there is one. `warnings` are those of a file. */
LDAR_MUST_USE enum ldar_status pipeline_open_source(const struct input *input, reference *genome,
                                                    const struct warnings *warnings, source **source,
                                                    struct ldar_error *error);

#endif
