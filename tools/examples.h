/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_EXAMPLES_H
#define LDAR_TOOLS_EXAMPLES_H

#include "formats/table.h"

#include <ldar/context.h>

/*
 * Labelled sequences as a trainer or a context takes them: some rows of a table,
 * packed into batches without padding.
 */

/* Rows of a table, in an order of their own. Borrows both. */
struct examples {
    const struct table *table;
    const size_t *row; /* (count) */
    size_t count;
};

/* Every row in its order; the caller frees row. False without memory. */
bool examples_all(const struct table *table, struct examples *examples, size_t **row);

/*
 * The rows of one of the published folds of a table, and all others; each in its order, and the caller frees
 * rest_rows and held_rows. A table with fewer rows than folds is an error.
 */
LDAR_MUST_USE enum ldar_status examples_fold(const struct table *table, const char *path, size_t fold,
                                             struct examples *rest, size_t **rest_rows, struct examples *held,
                                             size_t **held_rows, struct ldar_error *error);

/* What row i is to be: the index of its class, or its value. */
double examples_target(const struct examples *examples, size_t i);

/* Most and sum of nucleotides over the examples. */
size_t examples_longest(const struct examples *examples);
size_t examples_nucleotides(const struct examples *examples);

/* A batch of examples while it is used; it grows as it must. Zeroed is empty. */
struct pack {
    struct ldar_batch batch;
    float *targets; /* (batch.sequences) */
    uint8_t *ids;
    size_t *offsets;
    size_t nucleotides, sequences; /* that there is room for */
};

/* The strand that an example is read on. */
enum strand { STRAND_GIVEN, STRAND_REVERSE };

/* Empties the pack. */
void pack_clear(struct pack *pack);

/* Adds example i, or its reverse complement. False without memory: the pack is as before. */
bool pack_add(struct pack *pack, const struct examples *examples, size_t i, enum strand strand);

/* Frees what the pack owns and zeroes it. */
void pack_free(struct pack *pack);

#endif
