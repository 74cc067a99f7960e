/* SPDX-License-Identifier: Apache-2.0 */
#include "excerpts.h"

#include "failure.h"
#include "genomes.h"
#include "source_class.h"

#include <ldar/model.h>

#include <stdlib.h>
#include <string.h>

struct excerpts {
    source base;
    struct genomes genomes;
    struct spans spans;
    size_t next;
    struct span current; /* what is left of it to read */
};

static enum ldar_status next_excerpt(source *base, struct record *record, struct ldar_error *error)
{
    (void)error;
    struct excerpts *excerpts = (struct excerpts *)base;
    base->progress.nucleotides += excerpts->current.end - excerpts->current.start;
    excerpts->current = (struct span){0, 0};
    if (excerpts->next == excerpts->spans.count) {
        return LDAR_OK;
    }
    const struct span span = excerpts->spans.list[excerpts->next++];
    const size_t index = genomes_record_at(&excerpts->genomes, span.start);
    excerpts->current = span;
    record->name = excerpts->genomes.records.names[index];
    record->start = span.start - excerpts->genomes.starts[index];
    record->length = span.end - span.start;
    return LDAR_OK;
}

static enum ldar_status read_excerpt(source *base, uint8_t *ids, size_t capacity, size_t *count,
                                     struct ldar_error *error)
{
    (void)error;
    struct excerpts *excerpts = (struct excerpts *)base;
    const uint64_t left = excerpts->current.end - excerpts->current.start;
    *count = left < capacity ? (size_t)left : capacity;
    memcpy(ids, excerpts->genomes.ids + excerpts->current.start, *count);
    excerpts->current.start += *count;
    base->progress.nucleotides += *count;
    for (size_t i = 0; i < *count; ++i) {
        base->progress.unknown += ids[i] == LDAR_N;
    }
    return LDAR_OK;
}

static void advance(const source *base, uint64_t *done, uint64_t *total)
{
    *done = base->progress.nucleotides;
    *total = spans_total(&((const struct excerpts *)base)->spans);
}

static void destroy(source *base)
{
    struct excerpts *excerpts = (struct excerpts *)base;
    genomes_free(&excerpts->genomes);
    spans_free(&excerpts->spans);
    free(excerpts);
}

static enum ldar_status add_intervals(struct excerpts *excerpts, const char *path, const char *label, bed_reader *bed,
                                      struct ldar_error *error)
{
    for (;;) {
        struct bed_interval interval;
        struct span span;
        enum ldar_status status = bed_next(bed, &interval, error);
        if (status || !interval.name) {
            return status;
        }
        if (label && (!interval.label || strcmp(interval.label, label) != 0)) {
            continue;
        }
        status = genomes_interval(&excerpts->genomes, path, &interval, &span, error);
        if (!status) {
            status = spans_add(&excerpts->spans, span.start, span.end, error);
        }
        if (status) {
            return status;
        }
    }
}

static enum ldar_status add_bed(struct excerpts *excerpts, const char *path, const char *label,
                                struct ldar_error *error)
{
    bed_reader *bed;
    enum ldar_status status = bed_open(path, &bed, error);
    if (!status) {
        status = add_intervals(excerpts, path, label, bed, error);
        bed_close(bed);
    }
    if (!status && excerpts->spans.count == 0) {
        status = fail(error, LDAR_ERROR_FORMAT, "%s: holds no interval%s%s", path, label ? " called " : "",
                      label ? label : "");
    }
    return status;
}

static enum ldar_status add_regions(struct excerpts *excerpts, const struct excerpts_options *options,
                                    struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < options->count && !status; ++i) {
        struct span span;
        status = genomes_region(&excerpts->genomes, options->regions[i], &span, error);
        if (!status) {
            status = spans_add(&excerpts->spans, span.start, span.end, error);
        }
    }
    return status;
}

enum ldar_status excerpts_open(const char *path, const struct excerpts_options *options,
                               const struct warnings *warnings, source **source, struct ldar_error *error)
{
    static const struct source_class class = {next_excerpt, read_excerpt, advance, destroy};
    *source = NULL;
    struct excerpts *excerpts = calloc(1, sizeof *excerpts);
    if (!excerpts) {
        return fail_memory(error, path, "its regions");
    }
    source_init(&excerpts->base, &class, warnings);
    excerpts->genomes.warnings = excerpts->base.warnings;
    enum ldar_status status = genomes_add(&excerpts->genomes, path, error);
    if (!status) {
        status = options->count > 0 ? add_regions(excerpts, options, error)
                                    : add_bed(excerpts, options->bed, options->label, error);
    }
    if (status) {
        destroy(&excerpts->base);
        return status;
    }
    *source = &excerpts->base;
    return LDAR_OK;
}
