/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include "batch_size.h"
#include "message.h"

#include "formats/shuffle.h"
#include "formats/source_class.h"
#include "formats/strands.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 32 tiles of 64 rows a thread leave little of a step to wait for. */
enum { SEQUENCES = 1024, RANDOM_TRIES = 64 };

/* Streams of random numbers of a site. */
enum { STREAM_SHUFFLE = 1 << 20, STREAM_RANDOM = 2 << 20 };

/* ---- moments ---- */

static const double normal_95 = 1.959963984540054; /* the normal quantile of 0.975 */

static void moments_add(struct moments *moments, double value)
{
    const double before = value - moments->mean;
    moments->mean += before / (double)++moments->n;
    moments->squares += before * (value - moments->mean);
}

static struct estimate around(double mean, double error)
{
    return (struct estimate){mean, mean - normal_95 * error, mean + normal_95 * error};
}

struct estimate moments_estimate(const struct moments *moments)
{
    const double n = (double)moments->n;
    if (moments->n < 2)
        return (struct estimate){moments->n > 0 ? moments->mean : NAN, NAN, NAN};
    return around(moments->mean, sqrt(moments->squares / (n - 1) / n));
}

static void tally_add(struct tally *tally, double bases, double tokens)
{
    tally->sites++;
    tally->bases += bases;
    tally->tokens += tokens;
    tally->bases2 += bases * bases;
    tally->both += bases * tokens;
    tally->tokens2 += tokens * tokens;
}

struct estimate tally_token_length(const struct tally *tally)
{
    const double n = (double)tally->sites, ratio = tally->bases / tally->tokens;
    if (tally->sites == 0 || tally->tokens == 0)
        return (struct estimate){NAN, NAN, NAN};
    if (tally->sites < 2)
        return (struct estimate){ratio, NAN, NAN};
    /* Residuals bases - ratio * tokens sum to zero, so that their squares alone are the variance. */
    const double squares = tally->bases2 - 2 * ratio * tally->both + ratio * ratio * tally->tokens2;
    return around(ratio, sqrt(fmax(squares, 0) * n / (n - 1)) / tally->tokens);
}

/* ---- profiles ---- */

enum ldar_status profile_create(const struct profile_plan *plan, struct profile *profile, struct ldar_error *error)
{
    *profile = (struct profile){.offsets = 2 * plan->flank + 1};
    for (int i = 0; i < PROFILE_VALUES; i++) {
        profile->curve[i] = calloc(profile->offsets, sizeof *profile->curve[i]);
        if (!profile->curve[i]) {
            profile_free(profile);
            return fail(error, LDAR_ERROR_MEMORY, "no memory for the curves; a smaller --flank needs less");
        }
    }
    return LDAR_OK;
}

void profile_free(struct profile *profile)
{
    for (int i = 0; i < PROFILE_VALUES; i++)
        free(profile->curve[i]);
    *profile = (struct profile){0};
}

/* ---- windows ---- */

/* A stretch of a contig as it is read, and where its anchor lies in it. */
struct view {
    size_t length, anchor;
    uint8_t *ids; /* (length) */
};

/* Reads [start, end) of a contig, as its reverse complement where `minus`. */
static enum ldar_status fetch(reference *reference, size_t contig, uint64_t start, uint64_t end, bool minus,
                              uint8_t *ids, size_t *unknown, struct ldar_error *error)
{
    char *letters;
    const size_t count = (size_t)(end - start);
    const enum ldar_status status = reference_fetch(reference, contig, start, count, &letters, error);
    if (status != LDAR_OK)
        return status;
    const size_t legal = ldar_encode(letters, count, ids, unknown);
    const struct byte_name byte = byte_name(legal < count ? letters[legal] : ' ');
    free(letters);
    if (legal < count)
        return fail(error, LDAR_ERROR_FORMAT, "%s: sequence \"%.200s\", position %" PRIu64 ": %s is no nucleotide",
                    reference_path(reference), reference_contigs(reference)->names[contig], start + legal + 1,
                    byte.text);
    if (minus)
        reverse_complement(ids, count, ids);
    return LDAR_OK;
}

/* The window around a base: half of it before the base in the sense of reading, as far as the contig goes. */
static void span_around(const struct profile_plan *plan, uint64_t contig_length, uint64_t base, bool minus,
                        uint64_t *start, uint64_t *end)
{
    const uint64_t before = plan->window / 2, after = plan->window - 1 - before;
    const uint64_t left = minus ? after : before, right = minus ? before : after;
    *start = base > left ? base - left : 0;
    *end = contig_length - base > right ? base + right + 1 : contig_length;
}

static enum ldar_status fetch_around(const struct profile_plan *plan, reference *reference, size_t contig,
                                     uint64_t base, bool minus, struct view *view, size_t *unknown,
                                     struct ldar_error *error)
{
    uint64_t start, end;
    span_around(plan, reference_contigs(reference)->lengths[contig], base, minus, &start, &end);
    view->length = (size_t)(end - start);
    view->anchor = (size_t)(minus ? end - 1 - base : base - start);
    return fetch(reference, contig, start, end, minus, view->ids, unknown, error);
}

/* ---- sequences on their way through the model ---- */

struct sequence {
    size_t site; /* index of the site it belongs to */
    size_t anchor;
    bool background, antisense;
};

/* Sums over the windows of one site. */
struct site_sums {
    double *prob, *opens; /* (offsets) */
    uint32_t *windows;    /* (offsets) that counted there */
};

struct run {
    const struct profile_plan *plan;
    const struct session *session;
    reference *reference;
    const struct site_set *set;
    struct profile *profile;
    struct profile_progress *progress;
    struct view native, other;
    size_t capacity; /* nucleotides of a batch */
    struct ldar_batch batch;
    uint8_t *ids;    /* (capacity) */
    size_t *offsets; /* (SEQUENCES + 1) */
    struct sequence *sequences;
    struct ldar_outputs outputs;
    struct site_sums sums[2]; /* native, background */
    size_t open;              /* the site that they are of */
    bool any;                 /* whether it has begun */
};

static void run_free(struct run *run)
{
    free(run->native.ids);
    free(run->other.ids);
    free(run->ids);
    free(run->offsets);
    free(run->sequences);
    free(run->outputs.prob);
    free(run->outputs.boundary);
    for (int i = 0; i < 2; i++) {
        free(run->sums[i].prob);
        free(run->sums[i].opens);
        free(run->sums[i].windows);
    }
}

static enum ldar_status run_reserve(struct run *run, struct ldar_error *error)
{
    const size_t window = run->plan->window, offsets = run->profile->offsets;
    const struct batch_need need = {
        .window = window, .row = 2 + sizeof(float), .max_bytes = run->plan->max_bytes}; /* ids, boundary; prob */
    const enum ldar_status status = batch_size(run->session->context, &need, &run->capacity, error);
    if (status != LDAR_OK)
        return status;
    run->native.ids = malloc(window);
    run->other.ids = malloc(window);
    run->ids = malloc(run->capacity);
    run->offsets = calloc(SEQUENCES + 1, sizeof *run->offsets);
    run->sequences = calloc(SEQUENCES, sizeof *run->sequences);
    run->outputs.size = sizeof run->outputs;
    run->outputs.prob = malloc(run->capacity * sizeof(float));
    run->outputs.boundary = malloc(run->capacity);
    bool complete = run->native.ids && run->other.ids && run->ids && run->offsets && run->sequences && run->outputs.prob
                    && run->outputs.boundary;
    for (int i = 0; i < 2; i++) {
        struct site_sums *sums = &run->sums[i];
        sums->prob = calloc(offsets, sizeof *sums->prob);
        sums->opens = calloc(offsets, sizeof *sums->opens);
        sums->windows = calloc(offsets, sizeof *sums->windows);
        complete = complete && sums->prob && sums->opens && sums->windows;
    }
    run->batch = (struct ldar_batch){run->ids, run->offsets, 0};
    return complete ? LDAR_OK
                    : fail(error, LDAR_ERROR_MEMORY,
                           "no memory for windows of %zu nucleotides; a smaller --window needs less", window);
}

/* ---- averaging ---- */

/* A window's values at the offsets that it has. A boundary of the other strand lies on the gap before the same base. */
static void add_window(struct run *run, const struct sequence *sequence, const float *prob, const uint8_t *boundary,
                       size_t length)
{
    struct site_sums *sums = &run->sums[sequence->background];
    const size_t flank = run->plan->flank;
    const size_t first = sequence->anchor > flank ? sequence->anchor - flank : 1;
    for (size_t i = first; i < length && i <= sequence->anchor + flank; i++) {
        const size_t at = sequence->antisense ? length - i : i, offset = i + flank - sequence->anchor;
        sums->prob[offset] += (double)prob[at];
        sums->opens[offset] += boundary[at];
        sums->windows[offset]++;
    }
}

/* What the windows of the site that is through amount to at an offset. */
static void add_offset(struct profile *profile, const struct site_sums sums[2], size_t offset)
{
    const double n[2] = {sums[0].windows[offset], sums[1].windows[offset]};
    if (n[0] > 0) {
        moments_add(&profile->curve[PROFILE_NATIVE][offset], sums[0].prob[offset] / n[0]);
        moments_add(&profile->curve[PROFILE_OPENS][offset], sums[0].opens[offset] / n[0]);
    }
    if (n[1] > 0) {
        moments_add(&profile->curve[PROFILE_BACKGROUND][offset], sums[1].prob[offset] / n[1]);
        moments_add(&profile->curve[PROFILE_OPENS_BACKGROUND][offset], sums[1].opens[offset] / n[1]);
    }
    if (n[0] > 0 && n[1] > 0)
        moments_add(&profile->curve[PROFILE_DIFFERENCE][offset],
                    sums[0].prob[offset] / n[0] - sums[1].prob[offset] / n[1]);
}

/* Over all offsets of the site: its mean probability, into *mean; NaN when none counts. */
static uint64_t add_whole(struct tally *tally, const struct site_sums *sums, size_t offsets, double *mean,
                          double *share)
{
    uint64_t bases = 0;
    double prob = 0, opens = 0;
    for (size_t i = 0; i < offsets; i++) {
        const double n = sums->windows[i];
        if (n > 0) {
            bases++;
            prob += sums->prob[i] / n;
            opens += sums->opens[i] / n;
        }
    }
    *mean = bases > 0 ? prob / (double)bases : NAN;
    *share = bases > 0 ? opens / (double)bases : NAN;
    if (bases > 0)
        tally_add(tally, (double)bases, opens);
    return bases;
}

static void finish_site(struct run *run)
{
    struct profile *profile = run->profile;
    const size_t offsets = profile->offsets;
    double mean[2], share[2];
    if (!run->any)
        return;
    for (size_t i = 0; i < offsets; i++)
        add_offset(profile, run->sums, i);
    profile->partial += add_whole(&profile->native, &run->sums[0], offsets, &mean[0], &share[0]) < offsets;
    (void)add_whole(&profile->background, &run->sums[1], offsets, &mean[1], &share[1]);
    const double values[PROFILE_VALUES] = {mean[0], mean[1], mean[0] - mean[1], share[0], share[1]};
    for (int v = 0; v < PROFILE_VALUES; v++)
        if (!isnan(values[v]))
            moments_add(&profile->whole[v], values[v]);
    for (int i = 0; i < 2; i++) {
        memset(run->sums[i].prob, 0, offsets * sizeof *run->sums[i].prob);
        memset(run->sums[i].opens, 0, offsets * sizeof *run->sums[i].opens);
        memset(run->sums[i].windows, 0, offsets * sizeof *run->sums[i].windows);
    }
    run->any = false;
}

static enum ldar_status compute(struct run *run, struct ldar_error *error)
{
    const size_t count = run->batch.sequences;
    if (count == 0)
        return LDAR_OK;
    const enum ldar_status status = ldar_forward(run->session->context, &run->batch, NULL, &run->outputs, error);
    for (size_t s = 0; s < count && status == LDAR_OK; s++) {
        const struct sequence *sequence = &run->sequences[s];
        const size_t begin = run->offsets[s];
        if (sequence->site != run->open)
            finish_site(run);
        run->open = sequence->site;
        run->any = true;
        add_window(run, sequence, run->outputs.prob + begin, run->outputs.boundary + begin,
                   run->offsets[s + 1] - begin);
    }
    run->progress->done += (double)run->offsets[count];
    run->batch.sequences = 0;
    progress_update(run->progress->done, run->progress->done / run->progress->whole);
    return status;
}

/* ---- the sites ---- */

/* Lays a window, on the strands that are to be read, behind the last one. */
static enum ldar_status put(struct run *run, const struct view *view, size_t site, bool background,
                            struct ldar_error *error)
{
    for (int antisense = run->plan->reading == READ_ANTISENSE; antisense <= (run->plan->reading != READ_SENSE);
         antisense++) {
        size_t s = run->batch.sequences;
        if (s == SEQUENCES || run->capacity - run->offsets[s] < view->length) {
            const enum ldar_status status = compute(run, error);
            if (status != LDAR_OK)
                return status;
            s = 0;
        }
        uint8_t *ids = memcpy(run->ids + run->offsets[s], view->ids, view->length);
        if (antisense)
            reverse_complement(ids, view->length, ids);
        run->sequences[s] = (struct sequence){site, view->anchor, background, antisense};
        run->offsets[s + 1] = run->offsets[s] + view->length;
        run->batch.sequences++;
    }
    return LDAR_OK;
}

/* A window around a random base of the genome on a random strand; one that is N is drawn again, but not for ever. */
static enum ldar_status fetch_random(struct run *run, struct draws *draws, struct ldar_error *error)
{
    const struct contigs *contigs = reference_contigs(run->reference);
    uint64_t total = 0;
    for (size_t i = 0; i < contigs->count; i++)
        total += contigs->lengths[i];
    for (int tries = 0;; tries++) {
        uint64_t place = draws_below(draws, total);
        const bool minus = draws_below(draws, 2) != 0;
        size_t contig = 0;
        while (place >= contigs->lengths[contig])
            place -= contigs->lengths[contig++];
        const enum ldar_status status =
            fetch_around(run->plan, run->reference, contig, place, minus, &run->other, NULL, error);
        if (status != LDAR_OK || run->other.ids[run->other.anchor] <= LDAR_T || tries == RANDOM_TRIES)
            return status;
    }
}

/* The d-th background window of a site. */
static enum ldar_status put_background(struct run *run, size_t site, size_t d, struct ldar_error *error)
{
    const uint64_t seed = run->plan->seed;
    enum ldar_status status = LDAR_OK;
    if (run->plan->background == BACKGROUND_RANDOM) {
        struct draws draws = draws_begin(seed, site, STREAM_RANDOM + d);
        status = fetch_random(run, &draws, error);
    } else {
        struct draws draws = draws_begin(seed, site, STREAM_SHUFFLE + d);
        run->other.length = run->native.length;
        run->other.anchor = run->native.anchor;
        memcpy(run->other.ids, run->native.ids, run->native.length);
        shuffle_dinucleotides(run->other.ids, run->other.length, &draws);
    }
    return status == LDAR_OK ? put(run, &run->other, site, true, error) : status;
}

static enum ldar_status put_site(struct run *run, size_t index, struct ldar_error *error)
{
    const struct site *site = sites_at(run->set, index);
    const uint64_t anchor = site_anchor(site, run->plan->anchor);
    size_t unknown = 0;
    enum ldar_status status =
        fetch_around(run->plan, run->reference, site->contig, anchor, site->minus, &run->native, &unknown, error);
    if (status != LDAR_OK)
        return status;
    run->progress->unknown += unknown;
    run->progress->read += run->native.length;
    status = put(run, &run->native, index, false, error);
    for (size_t d = 0; d < run->plan->draws && run->plan->background != BACKGROUND_NONE && status == LDAR_OK; d++)
        status = put_background(run, index, d, error);
    return status;
}

enum ldar_status profile_add(const struct profile_plan *plan, const struct session *session, reference *reference,
                             const struct site_set *set, struct profile *profile, struct profile_progress *progress,
                             struct ldar_error *error)
{
    struct run run = {
        .plan = plan, .session = session, .reference = reference, .set = set, .profile = profile, .progress = progress};
    enum ldar_status status = run_reserve(&run, error);
    for (size_t i = 0; i < set->used && status == LDAR_OK; i++)
        status = put_site(&run, i, error);
    if (status == LDAR_OK)
        status = compute(&run, error);
    if (status == LDAR_OK)
        finish_site(&run);
    run_free(&run);
    return status;
}

/* ---- one locus ---- */

void locus_free(struct locus *locus)
{
    free(locus->letters);
    free(locus->prob);
    free(locus->boundary);
    locus->letters = NULL;
    locus->prob = NULL;
    locus->boundary = NULL;
}

/* Widens the locus to the window, evenly, as far as the contig goes. */
static void span_of_locus(const struct profile_plan *plan, uint64_t contig_length, const struct locus *locus,
                          uint64_t *start, uint64_t *end)
{
    const uint64_t length = locus->end - locus->start;
    const uint64_t spare = plan->window > length ? (plan->window - length) / 2 : 0;
    *start = locus->start > spare ? locus->start - spare : 0;
    *end = contig_length - locus->end > spare ? locus->end + spare : contig_length;
}

uint64_t locus_nucleotides(const struct profile_plan *plan, reference *reference, const struct locus *locus)
{
    uint64_t start, end;
    span_of_locus(plan, reference_contigs(reference)->lengths[locus->contig], locus, &start, &end);
    return end - start;
}

static enum ldar_status locus_forward(const struct session *session, const uint8_t *ids, size_t count, size_t from,
                                      struct locus *locus, struct ldar_error *error)
{
    const size_t offsets[2] = {0, count}, length = (size_t)(locus->end - locus->start);
    const struct ldar_batch batch = {ids, offsets, 1};
    struct ldar_outputs outputs = {.size = sizeof outputs, .prob = locus->prob, .boundary = locus->boundary};
    const enum ldar_status status = ldar_forward(session->context, &batch, NULL, &outputs, error);
    if (status != LDAR_OK)
        return status;
    for (size_t i = 0; i < length; i++)
        locus->letters[i] = "ACGTN"[ids[from + i]];
    locus->letters[length] = '\0';
    memmove(locus->prob, locus->prob + from, length * sizeof(float));
    memmove(locus->boundary, locus->boundary + from, length);
    return LDAR_OK;
}

enum ldar_status locus_compute(const struct profile_plan *plan, const struct session *session, reference *reference,
                               struct locus *locus, struct ldar_error *error)
{
    uint64_t start, end;
    span_of_locus(plan, reference_contigs(reference)->lengths[locus->contig], locus, &start, &end);
    const size_t count = (size_t)(end - start);
    const size_t from = (size_t)(locus->minus ? end - locus->end : locus->start - start);
    uint8_t *ids = malloc(count);
    locus->letters = malloc((size_t)(locus->end - locus->start) + 1);
    locus->prob = malloc(count * sizeof(float));
    locus->boundary = malloc(count);
    enum ldar_status status = LDAR_OK;
    if (!ids || !locus->letters || !locus->prob || !locus->boundary)
        status = fail(error, LDAR_ERROR_MEMORY, "no memory for a locus of %zu nucleotides", count);
    if (status == LDAR_OK)
        status = fetch(reference, locus->contig, start, end, locus->minus, ids, NULL, error);
    if (status == LDAR_OK)
        status = locus_forward(session, ids, count, from, locus, error);
    free(ids);
    if (status != LDAR_OK)
        locus_free(locus);
    return status;
}
