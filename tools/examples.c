/* SPDX-License-Identifier: Apache-2.0 */
#include "examples.h"
#include "folds.h"

#include "formats/failure.h"
#include "formats/strands.h"

#include <stdlib.h>
#include <string.h>

bool examples_all(const struct table *table, struct examples *examples, size_t **row)
{
    *row = malloc((table->count > 0 ? table->count : 1) * sizeof **row);
    for (size_t i = 0; *row && i < table->count; i++)
        (*row)[i] = i;
    *examples = (struct examples){table, *row, *row ? table->count : 0};
    return *row != NULL;
}

static enum ldar_status no_memory(const char *path, struct ldar_error *error)
{
    return fail_memory(error, path, "the list of examples");
}

enum ldar_status examples_fold(const struct table *table, const char *path, size_t fold, struct examples *rest,
                               size_t **rest_rows, struct examples *held, size_t **held_rows, struct ldar_error *error)
{
    const size_t count = table->count;
    *rest_rows = *held_rows = NULL;
    if (count < FOLDS_PUBLISHED)
        return fail(error, LDAR_ERROR_ARGUMENT,
                    "%s: %zu examples are too few to hold out a tenth of them: name a table that validates", path,
                    count);
    uint32_t *fold_of = malloc(count * sizeof *fold_of);
    *rest_rows = malloc(count * sizeof **rest_rows);
    *held_rows = malloc(count * sizeof **held_rows);
    const bool split =
        fold_of && *rest_rows && *held_rows && folds_split(count, FOLDS_PUBLISHED, FOLDS_PUBLISHED_SEED, fold_of);
    *rest = (struct examples){table, *rest_rows, 0};
    *held = (struct examples){table, *held_rows, 0};
    for (size_t i = 0; split && i < count; i++) {
        if (fold_of[i] == fold)
            (*held_rows)[held->count++] = i;
        else
            (*rest_rows)[rest->count++] = i;
    }
    free(fold_of);
    return split ? LDAR_OK : no_memory(path, error);
}

double examples_target(const struct examples *examples, size_t i)
{
    const struct table *table = examples->table;
    const size_t row = examples->row[i];
    return table->kind == TABLE_CLASSES ? (double)table->labels[row] : table->values[row];
}

static size_t length_of(const struct examples *examples, size_t i)
{
    const size_t row = examples->row[i];
    return examples->table->offsets[row + 1] - examples->table->offsets[row];
}

size_t examples_longest(const struct examples *examples)
{
    size_t longest = 0;
    for (size_t i = 0; i < examples->count; i++)
        longest = length_of(examples, i) > longest ? length_of(examples, i) : longest;
    return longest;
}

size_t examples_nucleotides(const struct examples *examples)
{
    size_t sum = 0;
    for (size_t i = 0; i < examples->count; i++)
        sum += length_of(examples, i);
    return sum;
}

void pack_clear(struct pack *pack)
{
    pack->batch = (struct ldar_batch){pack->ids, pack->offsets, 0};
}

/* Twice what is needed, so that a batch that is filled one by one moves seldom. */
static bool reserve(struct pack *pack, size_t nucleotides, size_t sequences)
{
    if (nucleotides > pack->nucleotides) {
        uint8_t *ids = realloc(pack->ids, 2 * nucleotides);
        if (!ids)
            return false;
        pack->ids = ids;
        pack->nucleotides = 2 * nucleotides;
    }
    if (sequences > pack->sequences) {
        size_t *offsets = realloc(pack->offsets, (2 * sequences + 1) * sizeof *offsets);
        if (offsets)
            pack->offsets = offsets;
        float *targets = realloc(pack->targets, 2 * sequences * sizeof *targets);
        if (targets)
            pack->targets = targets;
        if (!offsets || !targets)
            return false;
        pack->sequences = 2 * sequences;
    }
    return true;
}

bool pack_add(struct pack *pack, const struct examples *examples, size_t i, enum strand strand)
{
    const size_t length = length_of(examples, i), at = pack->batch.sequences;
    const size_t end = at > 0 ? pack->offsets[at] : 0;
    const uint8_t *ids = examples->table->ids + examples->table->offsets[examples->row[i]];
    if (!reserve(pack, end + length, at + 1))
        return false;
    if (strand == STRAND_REVERSE)
        reverse_complement(ids, length, pack->ids + end);
    else
        memcpy(pack->ids + end, ids, length);
    pack->offsets[0] = 0;
    pack->offsets[at + 1] = end + length;
    pack->targets[at] = (float)examples_target(examples, i);
    pack->batch = (struct ldar_batch){pack->ids, pack->offsets, at + 1};
    return true;
}

void pack_free(struct pack *pack)
{
    free(pack->ids);
    free(pack->offsets);
    free(pack->targets);
    *pack = (struct pack){0};
}
