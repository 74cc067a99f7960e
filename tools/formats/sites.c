/* SPDX-License-Identifier: Apache-2.0 */
#include "sites.h"

#include "bed.h"
#include "failure.h"

#include <ldar/model.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

uint64_t site_anchor(const struct site *site, enum site_anchor anchor)
{
    const uint64_t length = site->end - site->start;
    const uint64_t steps = anchor == SITE_START ? 0 : anchor == SITE_END ? length - 1 : length / 2;
    return site->minus ? site->end - 1 - steps : site->start + steps;
}

static enum ldar_status add(struct site_set *set, struct site site, struct ldar_error *error)
{
    if (set->count == set->capacity) {
        const size_t capacity = set->capacity ? 2 * set->capacity : 256;
        struct site *list = capacity > SIZE_MAX / sizeof *list / 2 ? NULL : realloc(set->list, capacity * sizeof *list);
        if (!list) {
            return fail(error, LDAR_ERROR_MEMORY, "no memory for %zu sites", capacity);
        }
        set->list = list;
        set->capacity = capacity;
    }
    set->list[set->count++] = site;
    return LDAR_OK;
}

const struct site *sites_at(const struct site_set *set, size_t i)
{
    /* Beyond 2^32 sites the product would pass 64 bits; a list of them would take 128 GiB. */
    return &set->list[(uint64_t)i * set->count / set->used];
}

static void choose(struct site_set *set, size_t most)
{
    set->used = most > 0 && most < set->count ? most : set->count;
}

void sites_free(struct site_set *set)
{
    free(set->list);
    *set = (struct site_set){0};
}

/* ---- stretches ---- */

enum ldar_status stretches_gather(const reference *reference, source *regions, struct stretches *stretches,
                                  struct ldar_error *error)
{
    size_t capacity = 0;
    *stretches = (struct stretches){0};
    for (;;) {
        struct record record;
        struct stretch stretch;
        enum ldar_status status = source_next(regions, &record, error);
        if (status || !record.name) {
            return status;
        }
        if (stretches->count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            struct stretch *list = realloc(stretches->list, capacity * sizeof *list);
            if (!list) {
                return fail_memory(error, reference_path(reference), "its regions");
            }
            stretches->list = list;
        }
        (void)reference_has(reference, record.name, &stretch.contig);
        stretch.start = record.start;
        stretch.end = record.start + record.length;
        stretches->list[stretches->count++] = stretch;
    }
}

void stretches_free(struct stretches *stretches)
{
    free(stretches->list);
    *stretches = (struct stretches){0};
}

static bool holds(const struct stretches *stretches, size_t contig, uint64_t position)
{
    size_t low = 0, high = stretches->count; /* those before `low` begin at or before the position */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct stretch *stretch = &stretches->list[middle];
        if (stretch->contig < contig || (stretch->contig == contig && stretch->start <= position)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && stretches->list[low - 1].contig == contig && position < stretches->list[low - 1].end;
}

/* ---- BED ---- */

/* What a site is told by. */
struct key {
    size_t contig;
    uint64_t anchor;
    bool minus;
    size_t index;
};

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    if (a->contig != b->contig) {
        return a->contig < b->contig ? -1 : 1;
    }
    if (a->anchor != b->anchor) {
        return a->anchor < b->anchor ? -1 : 1;
    }
    if (a->minus != b->minus) {
        return a->minus ? 1 : -1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

/* Leaves the first of those that are told apart by nothing; the order of the rest stays. */
static enum ldar_status drop_repeated(struct site_set *set, enum site_anchor anchor, struct ldar_error *error)
{
    struct key *keys = set->count > 0 ? calloc(set->count, sizeof *keys) : NULL;
    if (set->count > 0 && !keys) {
        return fail(error, LDAR_ERROR_MEMORY, "no memory to compare %zu sites", set->count);
    }
    for (size_t i = 0; i < set->count; ++i) {
        const struct site *site = &set->list[i];
        keys[i] = (struct key){site->contig, site_anchor(site, anchor), site->minus, i};
    }
    if (keys) {
        qsort(keys, set->count, sizeof *keys, compare_keys);
    }
    for (size_t i = set->count; i > 1; --i) {
        const struct key *a = &keys[i - 2], *b = &keys[i - 1];
        if (a->contig == b->contig && a->anchor == b->anchor && a->minus == b->minus) {
            set->list[b->index].end = 0; /* no site ends there */
            ++set->counts.repeated;
        }
    }
    free(keys);
    size_t kept = 0;
    for (size_t i = 0; i < set->count; ++i) {
        if (set->list[i].end > 0) {
            set->list[kept++] = set->list[i];
        }
    }
    set->count = kept;
    return LDAR_OK;
}

static enum ldar_status read_strand(const struct bed_interval *interval, const char *path, struct site_set *set,
                                    struct site *site, struct ldar_error *error)
{
    const char *strand = interval->strand;
    const bool none = !strand || strcmp(strand, ".") == 0 || *strand == '\0';
    set->counts.unstranded += none;
    site->minus = !none && strcmp(strand, "-") == 0;
    if (none || site->minus || strcmp(strand, "+") == 0) {
        return LDAR_OK;
    }
    return fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": \"%.40s\" is no strand; the sixth column is +, - or .", path,
                interval->line, strand);
}

static enum ldar_status add_interval(reference *reference, const struct bed_interval *interval, const char *path,
                                     enum site_anchor anchor, const struct stretches *within, struct site_set *set,
                                     struct ldar_error *error)
{
    struct site site = {0, interval->start, interval->end, false};
    ++set->counts.given;
    const enum ldar_status status = read_strand(interval, path, set, &site, error);
    if (status) {
        return status;
    }
    if (!reference_find(reference, interval->name, &site.contig)) {
        ++set->counts.absent;
        return LDAR_OK;
    }
    if (site.end > reference_contigs(reference)->lengths[site.contig]) {
        ++set->counts.beyond;
        return LDAR_OK;
    }
    if (within && !holds(within, site.contig, site_anchor(&site, anchor))) {
        ++set->counts.outside;
        return LDAR_OK;
    }
    return add(set, site, error);
}

enum ldar_status sites_from_bed(reference *reference, const char *path, enum site_anchor anchor,
                                const struct stretches *within, size_t most, struct site_set *set,
                                struct ldar_error *error)
{
    bed_reader *bed;
    struct bed_interval interval;
    *set = (struct site_set){0};
    enum ldar_status status = bed_open(path, &bed, error);
    if (status) {
        return status;
    }
    while (!(status = bed_next(bed, &interval, error)) && interval.name) {
        status = add_interval(reference, &interval, path, anchor, within, set, error);
        if (status) {
            break;
        }
    }
    bed_close(bed);
    if (!status) {
        status = drop_repeated(set, anchor, error);
    }
    choose(set, most);
    return status;
}

/* ---- motifs ---- */

/* The bases that a letter stands for; 0 for one that is no letter of the alphabet. */
static uint8_t bases_of(char letter)
{
    static const char letters[] = "ACGTURYSWKMBDHVN";
    enum { A = 1 << LDAR_A, C = 1 << LDAR_C, G = 1 << LDAR_G, T = 1 << LDAR_T };
    static const uint8_t bases[] = {A,     C,     G,     T,         T,         A | G,     C | T,     C | G,
                                    A | T, G | T, A | C, C | G | T, A | G | T, A | C | T, A | C | G, A | C | G | T};
    const char upper = letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
    const char *found = upper ? strchr(letters, upper) : NULL;
    return found ? bases[found - letters] : 0;
}

/* A with T, C with G. */
static uint8_t complement_of(uint8_t bases)
{
    return (uint8_t)((bases & 1) << 3 | (bases & 2) << 1 | (bases & 4) >> 1 | (bases & 8) >> 3);
}

bool motif_parse(const char *text, struct motif *motif)
{
    const size_t length = strlen(text);
    *motif = (struct motif){.length = length};
    if (length == 0 || length > MOTIF_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; ++i) {
        motif->plus[i] = bases_of(text[i]);
        motif->minus[length - 1 - i] = complement_of(motif->plus[i]);
        if (motif->plus[i] == 0) {
            return false;
        }
    }
    motif->palindrome = memcmp(motif->plus, motif->minus, length) == 0;
    return true;
}

bool motif_at(const struct motif *motif, const uint8_t *ids, bool minus)
{
    const uint8_t *bases = minus ? motif->minus : motif->plus;
    size_t i = 0;
    /* Beyond T no base is meant: the bit of N is in no set. */
    while (i < motif->length && bases[i] >> ids[i] & 1) {
        ++i;
    }
    return i == motif->length;
}

/* Sites that stream by, of which every stride-th is held. */
struct sample {
    struct site_set *set;
    size_t most;
    uint64_t stride;
};

static enum ldar_status take(struct sample *sample, struct site site, struct ldar_error *error)
{
    struct site_set *set = sample->set;
    if (set->counts.given++ % sample->stride != 0) {
        return LDAR_OK;
    }
    const enum ldar_status status = add(set, site, error);
    if (!status && sample->most > 0 && set->count == 2 * sample->most) {
        for (size_t i = 0; i < sample->most; ++i) {
            set->list[i] = set->list[2 * i];
        }
        set->count = sample->most;
        sample->stride *= 2;
    }
    return status;
}

static enum ldar_status take_at(struct sample *sample, const struct motif *motif, const uint8_t *ids, size_t contig,
                                uint64_t start, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (int minus = 0; minus <= !motif->palindrome && !status; ++minus) {
        if (motif_at(motif, ids, minus)) {
            status = take(sample, (struct site){contig, start, start + motif->length, minus}, error);
        }
    }
    return status;
}

/* A record in pieces, each of which begins with the bases before it that a motif may begin in. */
static enum ldar_status search_record(struct sample *sample, const struct motif *motif, source *regions, size_t contig,
                                      uint64_t start, struct ldar_error *error)
{
    enum { PIECE = 1 << 14 };
    uint8_t ids[MOTIF_MAX + PIECE];
    size_t kept = 0, count;
    do {
        enum ldar_status status = source_read(regions, ids + kept, PIECE, &count, error);
        const size_t have = kept + count;
        size_t i = 0;
        for (; i + motif->length <= have && !status; ++i) {
            status = take_at(sample, motif, ids + i, contig, start + i, error);
        }
        if (status) {
            return status;
        }
        kept = have - i;
        memmove(ids, ids + i, kept);
        start += i;
    } while (count == PIECE);
    return LDAR_OK;
}

enum ldar_status sites_from_motif(const reference *reference, const struct motif *motif, source *regions, size_t most,
                                  struct site_set *set, struct ldar_error *error)
{
    struct sample sample = {set, most, 1};
    *set = (struct site_set){0};
    for (;;) {
        struct record record;
        size_t contig = 0;
        enum ldar_status status = source_next(regions, &record, error);
        if (!status && record.name) {
            (void)reference_has(reference, record.name, &contig);
            status = search_record(&sample, motif, regions, contig, record.start, error);
        }
        if (status || !record.name) {
            choose(set, most);
            return status;
        }
    }
}
