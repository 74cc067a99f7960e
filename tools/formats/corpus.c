/* SPDX-License-Identifier: Apache-2.0 */
#include "corpus.h"

#include "bed.h"
#include "failure.h"
#include "mixing.h"
#include "strands.h"

#include <ldar/model.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A piece of what is held out that is shorter than this says little of a model. */
enum { VALIDATION_LEAST = 64 };

/* A window fits into `places` places of a stretch. */
struct stretch {
    uint64_t start, length, places;
    double until; /* lengths times weights of the stretches up to this one, summed */
};

struct corpus {
    struct genomes genomes;
    size_t window;
    struct spans excluded;   /* never trained on */
    struct spans validation; /* the part of them that windows to validate with are taken from, then these windows */
    struct spans intervals;  /* to train on, of the genomes that the BED file names */
    bool *named;             /* (genomes.count) whether it does */
    struct stretch *stretches;
    size_t count, capacity;
    uint64_t hash;
};

enum ldar_status corpus_create(const struct warnings *warnings, corpus **out, struct ldar_error *error)
{
    corpus *corpus = calloc(1, sizeof *corpus);
    *out = corpus;
    if (!corpus) {
        return fail(error, LDAR_ERROR_MEMORY, "no memory for genomes");
    }
    corpus->genomes.warnings = warnings ? *warnings : (struct warnings){0};
    return LDAR_OK;
}

void corpus_destroy(corpus *corpus)
{
    if (corpus) {
        genomes_free(&corpus->genomes);
        spans_free(&corpus->excluded);
        spans_free(&corpus->validation);
        spans_free(&corpus->intervals);
        free(corpus->named);
        free(corpus->stretches);
        free(corpus);
    }
}

enum ldar_status corpus_add(corpus *corpus, const char *genome, struct ldar_error *error)
{
    return genomes_add(&corpus->genomes, genome, error);
}

/* ---- what is held out, and what the BED file says ---- */

enum part { PART_TRAIN, PART_VALID, PART_TEST, PARTS };

static enum ldar_status part_of(const char *path, const struct bed_interval *interval, enum part *part,
                                struct ldar_error *error)
{
    static const char *const names[PARTS] = {"train", "valid", "test"};
    *part = PART_TRAIN;
    if (!interval->label || !*interval->label) {
        return LDAR_OK;
    }
    for (int i = 0; i < PARTS; ++i) {
        if (strcmp(interval->label, names[i]) == 0) {
            *part = (enum part)i;
            return LDAR_OK;
        }
    }
    return fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": the fourth column is train, valid or test, not \"%.40s\"",
                path, interval->line, interval->label);
}

static enum ldar_status add_span(corpus *corpus, struct span span, enum part part, struct ldar_error *error)
{
    if (part == PART_TRAIN) {
        return spans_add(&corpus->intervals, span.start, span.end, error);
    }
    enum ldar_status status = spans_add(&corpus->excluded, span.start, span.end, error);
    if (!status && part == PART_VALID) {
        status = spans_add(&corpus->validation, span.start, span.end, error);
    }
    return status;
}

/* All intervals of a BED file; `parts` says whether the fourth column tells which they are, else all are validated. */
static enum ldar_status read_intervals(corpus *corpus, const char *path, bed_reader *bed, bool parts,
                                       struct ldar_error *error)
{
    for (;;) {
        struct bed_interval interval;
        struct span span;
        enum part part = PART_VALID;
        enum ldar_status status = bed_next(bed, &interval, error);
        if (status || !interval.name) {
            return status;
        }
        status = genomes_interval(&corpus->genomes, path, &interval, &span, error);
        if (!status && parts) {
            const size_t record = genomes_record_at(&corpus->genomes, span.start);
            corpus->named[genomes_of_record(&corpus->genomes, record)] = true;
            status = part_of(path, &interval, &part, error);
        }
        if (!status) {
            status = add_span(corpus, span, part, error);
        }
        if (status) {
            return status;
        }
    }
}

static enum ldar_status read_bed(corpus *corpus, const char *path, bool parts, struct ldar_error *error)
{
    bed_reader *bed;
    enum ldar_status status = bed_open(path, &bed, error);
    if (!status) {
        status = read_intervals(corpus, path, bed, parts, error);
        bed_close(bed);
    }
    return status;
}

/* A genome, a BED file, or a region. */
static enum ldar_status hold_out(corpus *corpus, const char *text, struct ldar_error *error)
{
    const struct genomes *genomes = &corpus->genomes;
    const struct genome *genome = genomes_named(genomes, text);
    struct stat file;
    struct span span;
    enum ldar_status status = LDAR_OK;
    if (genome) {
        for (size_t i = genome->first; i < genome->first + genome->records && !status; ++i) {
            span = (struct span){genomes->starts[i], genomes->starts[i] + genomes->records.lengths[i]};
            status = add_span(corpus, span, PART_VALID, error);
        }
        return status;
    }
    if (stat(text, &file) == 0 && !S_ISDIR(file.st_mode)) {
        return read_bed(corpus, text, false, error);
    }
    status = genomes_region(&corpus->genomes, text, &span, error);
    return status ? status : add_span(corpus, span, PART_VALID, error);
}

/* ---- stretches ---- */

static enum ldar_status add_stretch(corpus *corpus, uint64_t start, uint64_t length, double weight,
                                    struct ldar_error *error)
{
    if (corpus->count == corpus->capacity) {
        const size_t capacity = corpus->capacity ? 2 * corpus->capacity : 256;
        struct stretch *stretches = capacity > SIZE_MAX / sizeof *stretches / 2
                                        ? NULL
                                        : realloc(corpus->stretches, capacity * sizeof *stretches);
        if (!stretches) {
            return fail(error, LDAR_ERROR_MEMORY, "no memory for %zu stretches to train on", capacity);
        }
        corpus->stretches = stretches;
        corpus->capacity = capacity;
    }
    const double before = corpus->count ? corpus->stretches[corpus->count - 1].until : 0;
    const uint64_t places = length > corpus->window ? length - corpus->window + 1 : 1;
    corpus->stretches[corpus->count++] = (struct stretch){start, length, places, before + (double)length * weight};
    return LDAR_OK;
}

/* The next stretch of A, C, G and T outside `avoid` from `at` on; of length 0 when there is none before `end`. */
static struct span next_clean(const corpus *corpus, const struct spans *avoid, uint64_t at, uint64_t end)
{
    const uint8_t *ids = corpus->genomes.ids;
    const struct span *held = spans_from(avoid, at);
    while (at < end && (ids[at] > LDAR_T || (held && at >= held->start))) {
        at = held && at >= held->start ? held->end : at + 1;
        held = held && at >= held->end ? spans_from(avoid, at) : held;
    }
    const uint64_t limit = held && held->start < end ? held->start : end;
    struct span span = {at, at};
    while (span.end < limit && ids[span.end] <= LDAR_T) {
        ++span.end;
    }
    return span;
}

/* Adds what is clean of [start, end) in pieces of at least `least`. */
static enum ldar_status add_clean(corpus *corpus, uint64_t start, uint64_t end, uint64_t least, double weight,
                                  struct ldar_error *error)
{
    while (start < end) {
        const struct span span = next_clean(corpus, &corpus->excluded, start, end);
        if (span.end > span.start && span.end - span.start >= least) {
            const enum ldar_status status = add_stretch(corpus, span.start, span.end - span.start, weight, error);
            if (status) {
                return status;
            }
        }
        start = span.end > span.start ? span.end : end;
    }
    return LDAR_OK;
}

/* Of a genome that the BED file names, the intervals that lie in it. */
static enum ldar_status add_intervals(corpus *corpus, const struct genome *genome, struct span whole,
                                      struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < corpus->intervals.count && !status; ++i) {
        const struct span *span = &corpus->intervals.list[i];
        const uint64_t length = span->end - span->start;
        if (span->start >= whole.start && span->end <= whole.end) {
            status = add_clean(corpus, span->start, span->end, length < corpus->window ? length : corpus->window,
                               genome->weight, error);
        }
    }
    return status;
}

static enum ldar_status add_records(corpus *corpus, const struct genome *genome, struct ldar_error *error)
{
    const struct genomes *genomes = &corpus->genomes;
    enum ldar_status status = LDAR_OK;
    for (size_t i = genome->first; i < genome->first + genome->records && !status; ++i) {
        const uint64_t start = genomes->starts[i], length = genomes->records.lengths[i];
        status = add_clean(corpus, start, start + length, corpus->window, genome->weight, error);
    }
    return status;
}

/* Whether the whole genome is held out, which is no reason to complain that it has nothing to train on. */
static bool is_held_out(const corpus *corpus, struct span whole)
{
    const struct span *held = spans_from(&corpus->excluded, whole.start);
    uint64_t at = whole.start;
    for (; held && held->start <= at && at < whole.end; held = spans_from(&corpus->excluded, at)) {
        at = held->end;
    }
    return at >= whole.end;
}

static enum ldar_status add_stretches(corpus *corpus, size_t index, struct ldar_error *error)
{
    const struct genomes *genomes = &corpus->genomes;
    const struct genome *genome = &genomes->list[index];
    const size_t after = genome->first + genome->records, before = corpus->count;
    const struct span whole = {genomes->starts[genome->first],
                               after < genomes->records.count ? genomes->starts[after] : genomes->length};
    const enum ldar_status status =
        corpus->named[index] ? add_intervals(corpus, genome, whole, error) : add_records(corpus, genome, error);
    if (status || corpus->count > before || (is_held_out(corpus, whole) && genomes->count > 1)) {
        return status;
    }
    return fail(error, LDAR_ERROR_ARGUMENT,
                "%s: no window of %zu nucleotides without N lies outside what is held out; a shorter --window may",
                genome->path, corpus->window);
}

/* ---- windows to validate with ---- */

/* Cuts the clean pieces of `spans` into windows end to end; a piece shorter than one is one. */
static enum ldar_status cut_windows(const corpus *corpus, const struct spans *spans, struct spans *windows,
                                    struct ldar_error *error)
{
    static const struct spans nothing = {0};
    for (size_t i = 0; i < spans->count; ++i) {
        uint64_t at = spans->list[i].start;
        while (at < spans->list[i].end) {
            const struct span piece = next_clean(corpus, &nothing, at, spans->list[i].end);
            const uint64_t length = piece.end - piece.start;
            const uint64_t most = length < corpus->window ? length : corpus->window;
            at = piece.start;
            for (; length >= VALIDATION_LEAST && at + most <= piece.end; at += most) {
                const enum ldar_status status = spans_add(windows, at, at + most, error);
                if (status) {
                    return status;
                }
            }
            at = length > 0 ? piece.end : spans->list[i].end;
        }
    }
    return LDAR_OK;
}

static enum ldar_status plan_validation(corpus *corpus, size_t most, struct ldar_error *error)
{
    struct spans windows = {0};
    spans_merge(&corpus->validation);
    const enum ldar_status status = cut_windows(corpus, &corpus->validation, &windows, error);
    const size_t all = windows.count, count = all < most ? all : most;
    for (size_t i = 0; i < count; ++i) {
        windows.list[i] = windows.list[(size_t)((double)i / (double)count * (double)all)];
    }
    windows.count = count;
    spans_free(&corpus->validation);
    corpus->validation = windows;
    if (!status && all == 0 && corpus->excluded.count > 0 && corpus->genomes.warnings.warn) {
        corpus->genomes.warnings.warn(corpus->genomes.warnings.user,
                                      "what is held out has no stretch without N that is worth validating with");
    }
    return status;
}

/* ---- the plan ---- */

static uint64_t hash_plan(const corpus *corpus)
{
    uint64_t hash = mix_bytes(corpus->window, corpus->genomes.ids, (size_t)corpus->genomes.length);
    for (size_t i = 0; i < corpus->count; ++i) {
        const struct stretch *stretch = &corpus->stretches[i];
        uint64_t words[3] = {stretch->start, stretch->length, 0};
        memcpy(&words[2], &stretch->until, sizeof words[2]);
        hash = mix_bytes(hash, words, sizeof words);
    }
    return mix_bytes(hash, corpus->validation.list, corpus->validation.count * sizeof *corpus->validation.list);
}

enum ldar_status corpus_plan(corpus *corpus, const struct corpus_options *options, struct ldar_error *error)
{
    struct genomes *genomes = &corpus->genomes;
    enum ldar_status status = LDAR_OK;
    corpus->window = options->window;
    corpus->named = calloc(genomes->count + 1, sizeof *corpus->named);
    if (!corpus->named) {
        return fail(error, LDAR_ERROR_MEMORY, "no memory for genomes");
    }
    if (options->windows) {
        status = read_bed(corpus, options->windows, true, error);
    }
    for (size_t i = 0; i < options->held_count && !status; ++i) {
        status = hold_out(corpus, options->held[i], error);
    }
    spans_merge(&corpus->excluded);
    for (size_t i = 0; i < genomes->count && !status; ++i) {
        status = add_stretches(corpus, i, error);
    }
    if (!status && corpus->count == 0) {
        status = fail(error, LDAR_ERROR_ARGUMENT, "all of the genomes is held out: nothing is left to train on");
    }
    if (!status) {
        status = plan_validation(corpus, options->validation, error);
    }
    if (!status) {
        corpus->hash = hash_plan(corpus);
    }
    return status;
}

/* Nucleotides of a window out of a stretch, which may be shorter than one. */
static size_t window_of(const corpus *corpus, const struct stretch *stretch)
{
    return stretch->length < corpus->window ? (size_t)stretch->length : corpus->window;
}

struct corpus_summary corpus_summary(const corpus *corpus)
{
    struct corpus_summary summary = {
        .nucleotides = corpus->genomes.length,
        .unknown = corpus->genomes.unknown,
        .held_out = spans_total(&corpus->excluded),
        .stretches = corpus->count,
        .records = corpus->genomes.records.count,
        .validation = corpus->validation.count,
        .bytes = corpus->genomes.capacity + corpus->capacity * sizeof *corpus->stretches,
        .hash = corpus->hash,
    };
    double weighed = 0, before = 0;
    for (size_t i = 0; i < corpus->count; ++i) {
        const struct stretch *stretch = &corpus->stretches[i];
        summary.trained += stretch->length;
        weighed += (stretch->until - before) * (double)window_of(corpus, stretch);
        before = stretch->until;
    }
    summary.mean_window = corpus->count > 0 ? weighed / before : 0;
    return summary;
}

/* ---- draws ---- */

enum choice { CHOICE_STRETCH, CHOICE_PLACE, CHOICE_STRAND };

static double chance(uint64_t seed, uint64_t step, uint64_t sample, enum choice choice)
{
    const uint64_t counters[] = {seed, step, sample, choice};
    return chance_of(counters, sizeof counters / sizeof *counters);
}

/* The first stretch whose end in the sum of weights lies beyond the point. */
static const struct stretch *stretch_at(const corpus *corpus, double point)
{
    size_t low = 0, high = corpus->count - 1;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (corpus->stretches[middle].until <= point) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return &corpus->stretches[low];
}

size_t corpus_draw(const corpus *corpus, uint64_t seed, uint64_t step, uint64_t sample, uint8_t *ids)
{
    const double all = corpus->stretches[corpus->count - 1].until;
    const struct stretch *stretch = stretch_at(corpus, all * chance(seed, step, sample, CHOICE_STRETCH));
    const uint64_t place = (uint64_t)((double)stretch->places * chance(seed, step, sample, CHOICE_PLACE));
    const size_t count = window_of(corpus, stretch);
    memcpy(ids, corpus->genomes.ids + stretch->start + place, count);
    if (chance(seed, step, sample, CHOICE_STRAND) < 0.5) {
        reverse_complement(ids, count, ids);
    }
    return count;
}

size_t corpus_validation(const corpus *corpus, size_t index, uint8_t *ids)
{
    const struct span *window = &corpus->validation.list[index];
    const size_t count = (size_t)(window->end - window->start);
    memcpy(ids, corpus->genomes.ids + window->start, count);
    return count;
}
