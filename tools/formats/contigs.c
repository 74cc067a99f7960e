/* SPDX-License-Identifier: Apache-2.0 */
#include "contigs.h"

#include "failure.h"
#include "sequences.h"

#include <stdlib.h>
#include <string.h>

static bool grow(struct contigs *contigs)
{
    const size_t capacity = contigs->capacity ? 2 * contigs->capacity : 64;
    if (capacity > SIZE_MAX / sizeof(uint64_t) / 2) {
        return false;
    }
    char **names = realloc(contigs->names, capacity * sizeof *names);
    if (!names) {
        return false;
    }
    contigs->names = names;
    uint64_t *lengths = realloc(contigs->lengths, capacity * sizeof *lengths);
    if (!lengths) {
        return false;
    }
    contigs->lengths = lengths;
    contigs->capacity = capacity;
    return true;
}

enum ldar_status contigs_add(struct contigs *contigs, const char *name, uint64_t length, struct ldar_error *error)
{
    char *copy = contigs->count < contigs->capacity || grow(contigs) ? strdup(name) : NULL;
    if (!copy) {
        return fail_memory(error, name, "the table of sequence lengths");
    }
    contigs->names[contigs->count] = copy;
    contigs->lengths[contigs->count++] = length;
    return LDAR_OK;
}

static enum ldar_status count_letters(source *source, uint8_t *scratch, size_t capacity, uint64_t *length,
                                      struct ldar_error *error)
{
    *length = 0;
    for (;;) {
        size_t count;
        const enum ldar_status status = source_read(source, scratch, capacity, &count, error);
        *length += count;
        if (status || count < capacity) {
            return status;
        }
    }
}

static enum ldar_status scan_records(source *source, struct contigs *contigs, struct ldar_error *error)
{
    uint8_t scratch[1 << 14];
    for (;;) {
        struct record record;
        uint64_t length;
        enum ldar_status status = source_next(source, &record, error);
        if (status || !record.name) {
            return status;
        }
        status = count_letters(source, scratch, sizeof scratch, &length, error);
        if (!status) {
            status = contigs_add(contigs, record.name, length, error);
        }
        if (status) {
            return status;
        }
    }
}

enum ldar_status contigs_scan(const char *path, struct contigs *contigs, struct ldar_error *error)
{
    *contigs = (struct contigs){0};
    if (strcmp(path, "-") == 0) {
        return fail(
            error, LDAR_ERROR_ARGUMENT,
            "standard input: the lengths of its sequences are needed first, and it cannot be read twice; give a file");
    }
    source *source;
    enum ldar_status status = sequences_open(path, NULL, &source, error);
    if (!status) {
        status = scan_records(source, contigs, error);
        source_destroy(source);
    }
    if (status) {
        contigs_free(contigs);
    }
    return status;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct contig_name *)left)->name, ((const struct contig_name *)right)->name);
}

struct contig_name *contigs_sort(const struct contigs *contigs)
{
    struct contig_name *sorted = calloc(contigs->count ? contigs->count : 1, sizeof *sorted);
    for (size_t i = 0; sorted && i < contigs->count; ++i) {
        sorted[i] = (struct contig_name){contigs->names[i], i};
    }
    if (sorted) {
        qsort(sorted, contigs->count, sizeof *sorted, compare_names);
    }
    return sorted;
}

const struct contig_name *contigs_find(const struct contig_name *sorted, size_t count, const char *name)
{
    const struct contig_name key = {name, 0};
    return bsearch(&key, sorted, count, sizeof *sorted, compare_names);
}

void contigs_free(struct contigs *contigs)
{
    for (size_t i = 0; i < contigs->count; ++i) {
        free(contigs->names[i]);
    }
    free(contigs->names);
    free(contigs->lengths);
    *contigs = (struct contigs){0};
}
