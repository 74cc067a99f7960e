/* SPDX-License-Identifier: Apache-2.0 */
#include "regions.h"

#include "bed.h"
#include "failure.h"
#include "number.h"
#include "source_class.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Letters that are fetched at a time: what a seek costs is then lost among them. */
enum { PIECE = 1 << 18 };

/* ---- the source ---- */

struct region {
    size_t contig;
    uint64_t start, end; /* 0-based, half-open */
};

struct regions {
    source base;
    reference *reference;
    const char *path; /* these two are the reference's */
    const struct contigs *contigs;
    struct region *list;
    size_t count, capacity, next;
    struct region current; /* what is left of it to fetch */
    uint64_t flank;        /* context at either end of each */
    uint64_t total;        /* nucleotides of all, context included */
    char *piece;           /* letters fetched and not yet read: [at, end) of it; the caller's of reference_fetch */
    size_t at, end;
};

static enum ldar_status fetch(struct regions *regions, struct ldar_error *error)
{
    struct region *current = &regions->current;
    const uint64_t left = current->end - current->start;
    const size_t count = left < PIECE ? (size_t)left : PIECE;
    free(regions->piece);
    regions->at = regions->end = 0;
    const enum ldar_status status =
        reference_fetch(regions->reference, current->contig, current->start, count, &regions->piece, error);
    if (!status) {
        regions->end = count;
        current->start += count;
    }
    return status;
}

static enum ldar_status fail_letter(const struct regions *regions, struct ldar_error *error)
{
    const struct region *current = &regions->current;
    return fail(error, LDAR_ERROR_FORMAT,
                "%s: sequence \"%.200s\", position %" PRIu64
                ": %s is no nucleotide; if the file holds none there, its index is of another file",
                regions->path, regions->contigs->names[current->contig],
                current->start - (regions->end - regions->at) + 1, byte_name(regions->piece[regions->at]).text);
}

static enum ldar_status read_region(source *base, uint8_t *ids, size_t capacity, size_t *count,
                                    struct ldar_error *error)
{
    struct regions *regions = (struct regions *)base;
    while (*count < capacity) {
        if (regions->at == regions->end) {
            if (regions->current.start == regions->current.end) {
                break;
            }
            const enum ldar_status status = fetch(regions, error);
            if (status) {
                return status;
            }
        }
        const size_t have = regions->end - regions->at;
        const size_t run = have < capacity - *count ? have : capacity - *count;
        const size_t legal = source_encode(base, regions->piece + regions->at, run, ids + *count);
        regions->at += legal;
        *count += legal;
        if (legal < run) {
            return fail_letter(regions, error);
        }
    }
    return LDAR_OK;
}

/* A region and its flanks. */
static struct region with_context(const struct regions *regions, const struct region *region)
{
    const uint64_t left = region->start, right = regions->contigs->lengths[region->contig] - region->end;
    return (struct region){region->contig, region->start - (left < regions->flank ? left : regions->flank),
                           region->end + (right < regions->flank ? right : regions->flank)};
}

static enum ldar_status next_region(source *base, struct record *record, struct ldar_error *error)
{
    (void)error;
    struct regions *regions = (struct regions *)base;
    base->progress.nucleotides += regions->current.end - regions->current.start + (regions->end - regions->at);
    regions->at = regions->end = 0;
    regions->current = (struct region){0};
    if (regions->next == regions->count) {
        return LDAR_OK;
    }
    const struct region *region = &regions->list[regions->next++];
    regions->current = with_context(regions, region);
    record->name = regions->contigs->names[region->contig];
    record->start = regions->current.start;
    record->length = regions->current.end - regions->current.start;
    record->before = region->start - regions->current.start;
    record->after = regions->current.end - region->end;
    if (record->length == 0) {
        source_remark(base, REMARK_EMPTY, regions->path, record->name);
    }
    return LDAR_OK;
}

static void advance(const source *base, uint64_t *done, uint64_t *total)
{
    *done = base->progress.nucleotides;
    *total = ((const struct regions *)base)->total;
}

static void destroy(source *base)
{
    struct regions *regions = (struct regions *)base;
    free(regions->piece);
    free(regions->list);
    free(regions);
}

/* ---- making it ---- */

static enum ldar_status create(reference *reference, struct regions **regions, struct ldar_error *error)
{
    static const struct source_class class = {next_region, read_region, advance, destroy};
    *regions = calloc(1, sizeof **regions);
    if (!*regions) {
        return fail_memory(error, reference_path(reference), "its regions");
    }
    source_init(&(*regions)->base, &class, reference_warnings(reference));
    (*regions)->reference = reference;
    (*regions)->path = reference_path(reference);
    (*regions)->contigs = reference_contigs(reference);
    return LDAR_OK;
}

/* Hands the source over, or destroys it when making it failed. */
static enum ldar_status finish(struct regions *regions, enum ldar_status status, source **out)
{
    *out = NULL;
    if (status && regions) {
        destroy(&regions->base);
    } else if (!status) {
        *out = &regions->base;
    }
    return status;
}

static enum ldar_status add(struct regions *regions, struct region region, struct ldar_error *error)
{
    if (regions->count == regions->capacity) {
        const size_t capacity = regions->capacity ? 2 * regions->capacity : 64;
        struct region *list =
            capacity > SIZE_MAX / sizeof *list / 2 ? NULL : realloc(regions->list, capacity * sizeof *list);
        if (!list) {
            return fail_memory(error, regions->path, "its regions");
        }
        regions->list = list;
        regions->capacity = capacity;
    }
    regions->list[regions->count++] = region;
    regions->total += region.end - region.start;
    return LDAR_OK;
}

enum ldar_status regions_all(reference *reference, source **out, struct ldar_error *error)
{
    struct regions *regions;
    enum ldar_status status = create(reference, &regions, error);
    const struct contigs *contigs = reference_contigs(reference);
    for (size_t i = 0; !status && i < contigs->count; ++i) {
        status = add(regions, (struct region){i, 0, contigs->lengths[i]}, error);
    }
    return finish(regions, status, out);
}

/* ---- text ---- */

/* A number of digits and commas from *text on, which is moved behind it. */
static bool parse_position(const char **text, uint64_t *value)
{
    char digits[24];
    size_t count = 0;
    for (; **text && **text != '-'; ++*text) {
        if (**text != ',') {
            if (count == sizeof digits) {
                return false;
            }
            digits[count++] = **text;
        }
    }
    return parse_number(digits, count, value);
}

bool regions_parse_range(const char *text, uint64_t length, uint64_t *start, uint64_t *end)
{
    uint64_t from, to = length;
    if (!parse_position(&text, &from)) {
        return false;
    }
    if (*text == '-' && *++text && (!parse_position(&text, &to) || *text)) {
        return false;
    }
    *start = from - 1;
    *end = to;
    return from >= 1 && from <= to && to <= length;
}

static enum ldar_status fail_name(const reference *reference, const char *text, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_ARGUMENT, "region \"%.200s\": no such sequence in %s", text,
                reference_path(reference));
}

/* "NAME:RANGE", whose last colon is at `colon`. */
static enum ldar_status parse_part(reference *reference, const char *text, const char *colon, struct region *region,
                                   struct ldar_error *error)
{
    char *name = strdup(text);
    if (!name) {
        return fail_memory(error, reference_path(reference), "its regions");
    }
    name[colon - text] = '\0';
    const bool found = reference_find(reference, name, &region->contig);
    free(name);
    if (!found) {
        return fail_name(reference, text, error);
    }
    const struct contigs *contigs = reference_contigs(reference);
    const uint64_t length = contigs->lengths[region->contig];
    if (!regions_parse_range(colon + 1, length, &region->start, &region->end)) {
        return fail(error, LDAR_ERROR_ARGUMENT,
                    "region \"%.200s\": not NAME:FROM-TO with 1 <= FROM <= TO <= %" PRIu64
                    ", the length of \"%.200s\" in %s",
                    text, length, contigs->names[region->contig], reference_path(reference));
    }
    return LDAR_OK;
}

static enum ldar_status parse_region(reference *reference, const char *text, struct region *region,
                                     struct ldar_error *error)
{
    const char *colon = strrchr(text, ':');
    if (colon ? reference_has(reference, text, &region->contig) : reference_find(reference, text, &region->contig)) {
        region->start = 0;
        region->end = reference_contigs(reference)->lengths[region->contig];
        return LDAR_OK;
    }
    return colon ? parse_part(reference, text, colon, region, error) : fail_name(reference, text, error);
}

enum ldar_status regions_parse(reference *reference, const char *const *text, size_t count, source **out,
                               struct ldar_error *error)
{
    struct regions *regions;
    enum ldar_status status = create(reference, &regions, error);
    for (size_t i = 0; !status && i < count; ++i) {
        struct region region;
        status = parse_region(reference, text[i], &region, error);
        if (!status) {
            status = add(regions, region, error);
        }
    }
    return finish(regions, status, out);
}

/* ---- BED ---- */

static enum ldar_status add_interval(struct regions *regions, const char *path, const struct bed_interval *interval,
                                     struct ldar_error *error)
{
    size_t contig;
    if (!reference_find(regions->reference, interval->name, &contig)) {
        return fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": no sequence \"%.200s\" in %s", path, interval->line,
                    interval->name, regions->path);
    }
    const uint64_t length = regions->contigs->lengths[contig];
    if (interval->end > length) {
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s:%" PRIu64 ": end %" PRIu64 " lies beyond the %" PRIu64 " nucleotides of \"%.200s\" in %s", path,
                    interval->line, interval->end, length, regions->contigs->names[contig], regions->path);
    }
    return add(regions, (struct region){contig, interval->start, interval->end}, error);
}

static enum ldar_status add_intervals(struct regions *regions, bed_reader *bed, const char *path, const char *label,
                                      struct ldar_error *error)
{
    struct bed_interval interval;
    enum ldar_status status;
    while (!(status = bed_next(bed, &interval, error)) && interval.name) {
        if (!label || (interval.label && strcmp(interval.label, label) == 0)) {
            status = add_interval(regions, path, &interval, error);
        }
        if (status) {
            return status;
        }
    }
    if (!status && regions->count == 0) {
        status = fail(error, LDAR_ERROR_FORMAT, "%s: holds no interval%s%s", path, label ? " called " : "",
                      label ? label : "");
    }
    return status;
}

enum ldar_status regions_from_bed(reference *reference, const char *path, source **out, struct ldar_error *error)
{
    return regions_from_bed_label(reference, path, NULL, out, error);
}

enum ldar_status regions_from_bed_label(reference *reference, const char *path, const char *label, source **out,
                                        struct ldar_error *error)
{
    struct regions *regions = NULL;
    bed_reader *bed;
    enum ldar_status status = bed_open(path, &bed, error);
    if (!status) {
        status = create(reference, &regions, error);
        if (!status) {
            status = add_intervals(regions, bed, path, label, error);
        }
        bed_close(bed);
    }
    return finish(regions, status, out);
}

/* ---- changing them ---- */

static int compare(const void *left, const void *right)
{
    const struct region *a = left, *b = right;
    if (a->contig != b->contig) {
        return a->contig < b->contig ? -1 : 1;
    }
    return a->start != b->start ? (a->start < b->start ? -1 : 1) : (a->end > b->end) - (a->end < b->end);
}

static void count_total(struct regions *regions)
{
    regions->total = 0;
    for (size_t i = 0; i < regions->count; ++i) {
        const struct region region = with_context(regions, &regions->list[i]);
        regions->total += region.end - region.start;
    }
}

void regions_merge(source *base)
{
    struct regions *regions = (struct regions *)base;
    size_t kept = 0;
    if (regions->count > 0) {
        qsort(regions->list, regions->count, sizeof *regions->list, compare);
    }
    for (size_t i = 0; i < regions->count; ++i) {
        const struct region next = regions->list[i];
        struct region *last = kept > 0 ? &regions->list[kept - 1] : NULL;
        if (last && last->contig == next.contig && next.start <= last->end) {
            last->end = next.end > last->end ? next.end : last->end;
        } else {
            regions->list[kept++] = next;
        }
    }
    regions->count = kept;
    count_total(regions);
}

void regions_widen(source *base, uint64_t flank)
{
    struct regions *regions = (struct regions *)base;
    regions->flank = flank;
    count_total(regions);
}
