/* SPDX-License-Identifier: Apache-2.0 */
#include "genomes.h"

#include "failure.h"
#include "regions.h"
#include "sequences.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Nucleotides that are read at a time. */
enum { PIECE = 1 << 20 };

/* ---- reading ---- */

/* Room for PIECE more nucleotides. */
static enum ldar_status reserve(struct genomes *genomes, const char *path, struct ldar_error *error)
{
    if (genomes->capacity - genomes->length >= PIECE) {
        return LDAR_OK;
    }
    const uint64_t capacity = genomes->capacity + genomes->capacity / 2 + 4 * PIECE;
    uint8_t *ids = capacity > SIZE_MAX ? NULL : realloc(genomes->ids, (size_t)capacity);
    if (!ids) {
        return fail_memory(error, path, "its nucleotides, a byte each");
    }
    genomes->ids = ids;
    genomes->capacity = capacity;
    return LDAR_OK;
}

static enum ldar_status read_record(struct genomes *genomes, source *source, const char *path, struct ldar_error *error)
{
    for (;;) {
        size_t count = 0;
        enum ldar_status status = reserve(genomes, path, error);
        if (!status) {
            status = source_read(source, genomes->ids + genomes->length, PIECE, &count, error);
        }
        genomes->length += count;
        if (status || count < PIECE) {
            return status;
        }
    }
}

static enum ldar_status add_record(struct genomes *genomes, const char *name, uint64_t start, struct ldar_error *error)
{
    uint64_t *starts = realloc(genomes->starts, (genomes->records.count + 1) * sizeof *starts);
    if (!starts) {
        return fail_memory(error, name, "its place");
    }
    genomes->starts = starts;
    starts[genomes->records.count] = start;
    return contigs_add(&genomes->records, name, genomes->length - start, error);
}

static enum ldar_status read_records(struct genomes *genomes, source *source, const char *path,
                                     struct ldar_error *error)
{
    for (;;) {
        struct record record;
        enum ldar_status status = source_next(source, &record, error);
        if (status || !record.name) {
            return status;
        }
        char *name = strdup(record.name);
        const uint64_t start = genomes->length;
        status = name ? read_record(genomes, source, path, error) : fail_memory(error, path, "a name");
        if (!status) {
            status = add_record(genomes, name, start, error);
        }
        free(name);
        if (status) {
            return status;
        }
    }
}

/* "PATH:WEIGHT" or "PATH"; a file whose whole name is the text comes first. */
static size_t split_weight(const char *text, double *weight)
{
    struct stat status;
    const char *colon = strrchr(text, ':');
    char *end;
    *weight = 1;
    if (!colon || colon[1] == '\0' || stat(text, &status) == 0) {
        return strlen(text);
    }
    const double value = strtod(colon + 1, &end);
    if (*end || colon[1 + strspn(colon + 1, "0123456789.eE+-")]) {
        return strlen(text);
    }
    *weight = value;
    return (size_t)(colon - text);
}

static enum ldar_status add_genome(struct genomes *genomes, const char *text, struct ldar_error *error)
{
    double weight;
    const size_t length = split_weight(text, &weight);
    if (!(weight > 0 && weight < 1e12)) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: a weight is a positive number", text);
    }
    struct genome *list = realloc(genomes->list, (genomes->count + 1) * sizeof *list);
    if (!list) {
        return fail_memory(error, text, "its name");
    }
    genomes->list = list;
    struct genome *genome = &list[genomes->count];
    *genome = (struct genome){.path = strndup(text, length), .weight = weight, .first = genomes->records.count};
    if (!genome->path) {
        return fail_memory(error, text, "its name");
    }
    const char *slash = strrchr(genome->path, '/');
    genome->name = slash ? slash + 1 : genome->path;
    ++genomes->count;
    return LDAR_OK;
}

enum ldar_status genomes_add(struct genomes *genomes, const char *text, struct ldar_error *error)
{
    source *source;
    enum ldar_status status = add_genome(genomes, text, error);
    if (status) {
        return status;
    }
    struct genome *genome = &genomes->list[genomes->count - 1];
    status = sequences_open(genome->path, &genomes->warnings, &source, error);
    if (status) {
        return status;
    }
    status = read_records(genomes, source, genome->path, error);
    genome->records = genomes->records.count - genome->first;
    genomes->unknown += source_progress(source).unknown;
    source_destroy(source);
    free(genomes->sorted);
    genomes->sorted = NULL;
    return status;
}

/* ---- names ---- */

size_t genomes_record_at(const struct genomes *genomes, uint64_t position)
{
    /* The last that begins at or before it: those that begin there too and are not the last are empty. */
    size_t low = 0, high = genomes->records.count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (genomes->starts[middle] <= position) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t genomes_of_record(const struct genomes *genomes, size_t record)
{
    size_t index = 0;
    while (record >= genomes->list[index].first + genomes->list[index].records) {
        ++index;
    }
    return index;
}

const struct genome *genomes_named(const struct genomes *genomes, const char *name)
{
    for (size_t i = 0; i < genomes->count; ++i) {
        if (strcmp(genomes->list[i].path, name) == 0 || strcmp(genomes->list[i].name, name) == 0) {
            return &genomes->list[i];
        }
    }
    return NULL;
}

/* Whether the record belongs to the genome, or to any when that is NULL. */
static bool belongs(const struct genome *genome, size_t record)
{
    return !genome || (record >= genome->first && record < genome->first + genome->records);
}

/* Records of the name in a genome, or in all for NULL; *record is the first. */
static size_t count_named(const struct genomes *genomes, const struct genome *genome, const char *name, size_t *record)
{
    const struct contig_name *sorted = genomes->sorted, *end = sorted + genomes->records.count;
    const struct contig_name *at = contigs_find(sorted, genomes->records.count, name);
    size_t count = 0;
    while (at && at > sorted && strcmp(at[-1].name, name) == 0) {
        --at;
    }
    for (; at && at < end && strcmp(at->name, name) == 0; ++at) {
        if (belongs(genome, at->contig)) {
            *record = count == 0 || at->contig < *record ? at->contig : *record;
            ++count;
        }
    }
    return count;
}

/* "FILE:NAME": the genome, and the name by itself. */
static const struct genome *split_genome(const struct genomes *genomes, const char *text, const char **name)
{
    *name = text;
    for (size_t i = 0; i < genomes->count; ++i) {
        const struct genome *genome = &genomes->list[i];
        const char *const forms[] = {genome->path, genome->name};
        for (size_t k = 0; k < 2; ++k) {
            const size_t length = strlen(forms[k]);
            if (strncmp(text, forms[k], length) == 0 && text[length] == ':') {
                *name = text + length + 1;
                return genome;
            }
        }
    }
    return NULL;
}

/* The name under the other of two conventions: 1 and chr1. */
static size_t count_renamed(struct genomes *genomes, const struct genome *genome, const char *name, size_t *record)
{
    char *with_chr = malloc(strlen(name) + 4);
    char message[1000];
    size_t count = 0;
    if (with_chr) {
        strcat(strcpy(with_chr, "chr"), name);
        count = count_named(genomes, genome, strncmp(name, "chr", 3) == 0 ? name + 3 : with_chr, record);
        free(with_chr);
    }
    if (count == 1 && !genomes->renamed && genomes->warnings.warn) {
        snprintf(message, sizeof message, "no genome has a sequence \"%.200s\"; \"%.200s\" is taken for it, and so on",
                 name, genomes->records.names[*record]);
        genomes->warnings.warn(genomes->warnings.user, message);
        genomes->renamed = true;
    }
    return count;
}

/* The number of records that the name can mean. */
static size_t count_meant(struct genomes *genomes, const char *text, size_t *record)
{
    const char *name;
    size_t count = count_named(genomes, NULL, text, record);
    if (count > 0) {
        return count;
    }
    const struct genome *genome = split_genome(genomes, text, &name);
    count = genome ? count_named(genomes, genome, name, record) : 0;
    return count > 0 ? count : count_renamed(genomes, genome, name, record);
}

static enum ldar_status prepare_names(struct genomes *genomes, struct ldar_error *error)
{
    if (!genomes->sorted) {
        genomes->sorted = contigs_sort(&genomes->records);
    }
    return genomes->sorted ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "no memory for the names of sequences");
}

static enum ldar_status fail_name(const struct genomes *genomes, const char *name, size_t count, size_t record,
                                  struct ldar_error *error)
{
    if (count == 0) {
        return fail(error, LDAR_ERROR_ARGUMENT, "no genome has a sequence \"%.200s\"", name);
    }
    return fail(error, LDAR_ERROR_ARGUMENT,
                "%zu sequences are called \"%.200s\"; put the file before it, as in \"%.200s:%.200s\"", count, name,
                genomes->list[genomes_of_record(genomes, record)].name, name);
}

enum ldar_status genomes_find(struct genomes *genomes, const char *name, size_t *record, struct ldar_error *error)
{
    enum ldar_status status = prepare_names(genomes, error);
    if (!status) {
        const size_t count = count_meant(genomes, name, record);
        status = count == 1 ? LDAR_OK : fail_name(genomes, name, count, *record, error);
    }
    return status;
}

enum ldar_status genomes_region(struct genomes *genomes, const char *text, struct span *span, struct ldar_error *error)
{
    size_t record = 0;
    enum ldar_status status = prepare_names(genomes, error);
    const char *colon = strrchr(text, ':');
    if (status || !colon || count_meant(genomes, text, &record) > 0) {
        status = status ? status : genomes_find(genomes, text, &record, error);
        if (!status) {
            *span = (struct span){genomes->starts[record], genomes->starts[record] + genomes->records.lengths[record]};
        }
        return status;
    }
    char *name = strndup(text, (size_t)(colon - text));
    status = name ? genomes_find(genomes, name, &record, error) : fail_memory(error, text, "its name");
    free(name);
    if (status) {
        return status;
    }
    const uint64_t length = genomes->records.lengths[record];
    if (!regions_parse_range(colon + 1, length, &span->start, &span->end)) {
        return fail(error, LDAR_ERROR_ARGUMENT,
                    "region \"%.200s\": not NAME:FROM-TO with 1 <= FROM <= TO <= %" PRIu64 ", its length", text,
                    length);
    }
    span->start += genomes->starts[record];
    span->end += genomes->starts[record];
    return LDAR_OK;
}

enum ldar_status genomes_interval(struct genomes *genomes, const char *path, const struct bed_interval *interval,
                                  struct span *span, struct ldar_error *error)
{
    struct ldar_error cause;
    size_t record;
    const enum ldar_status status = genomes_find(genomes, interval->name, &record, &cause);
    if (status) {
        return fail(error, status, "%.300s:%" PRIu64 ": %s", path, interval->line, cause.message);
    }
    if (interval->end > genomes->records.lengths[record]) {
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s:%" PRIu64 ": end %" PRIu64 " lies beyond the %" PRIu64 " nucleotides of \"%.200s\"", path,
                    interval->line, interval->end, genomes->records.lengths[record], interval->name);
    }
    const uint64_t start = genomes->starts[record];
    *span = (struct span){start + interval->start, start + interval->end};
    return LDAR_OK;
}

void genomes_free(struct genomes *genomes)
{
    for (size_t i = 0; i < genomes->count; ++i) {
        free(genomes->list[i].path);
    }
    free(genomes->list);
    free(genomes->ids);
    free(genomes->starts);
    free(genomes->sorted);
    contigs_free(&genomes->records);
    *genomes = (struct genomes){0};
}
