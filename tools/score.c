/* SPDX-License-Identifier: Apache-2.0 */
#include "score.h"
#include "interrupt.h"
#include "message.h"

#include "formats/regions.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    /* Records of a unit: enough to keep all threads busy, and to share windows. A unit ends with a window. */
    UNIT = 256,
    UNIT_MOST = 4096, /* where one window holds more records than that */
    VALUE = 24        /* characters of a number */
};

const struct variant_field score_fields[SCORE_FIELDS] = {
    {"LDAR_LLR", "A", "Float",
     "ldar: log p(ALT) - log p(REF) of a single base, natural logarithm; negative: the model finds ALT less likely"},
    {"LDAR_DIST", "A", "Float",
     "ldar: Euclidean distance of the mean last hidden states within 64 nt of the variant, REF against ALT"},
    {"LDAR_DTOK", "A", "Float",
     "ldar: largest change of the probability that a token begins, of the bases within 128 nt of the variant"},
    {"LDAR_NOTE", ".", "String", "ldar: why an ALT has no numbers, for each ALT; '.' where there is no reason"},
};
/* ---- opening ---- */

static enum ldar_status open_regions(struct scoring *scoring, struct ldar_error *error)
{
    const struct score *score = scoring->score;
    source *regions = NULL;
    enum ldar_status status = LDAR_OK;
    if (score->bed)
        status = regions_from_bed(scoring->genome, score->bed, &regions, error);
    else if (score->regions.count > 0)
        status = regions_parse(scoring->genome, score->regions.item, score->regions.count, &regions, error);
    if (status == LDAR_OK && regions) {
        regions_merge(regions);
        status = stretches_gather(scoring->genome, regions, &scoring->within, error);
    }
    source_destroy(regions);
    return status;
}

enum ldar_status scoring_open(const struct score *score, const struct session *session, int ordered,
                              struct scoring *scoring, struct ldar_error *error)
{
    const struct effects_options options = {.mode = (enum marginal_mode)score->mode,
                                            .phased = score->phased,
                                            .window = (size_t)score->window,
                                            .max_memory = (size_t)score->common.max_memory};
    const size_t width = ldar_model_config(session->model)->stage[0].width;
    *scoring = (struct scoring){.score = score, .ordered = ordered || score->phased};
    interrupt_watch(score->genome);
    enum ldar_status status = reference_open(score->genome, &said_warnings, &scoring->genome, error);
    if (status == LDAR_OK)
        status = open_regions(scoring, error);
    if (status == LDAR_OK)
        status = variant_reader_open(score->common.files[0], &scoring->reader, error);
    if (status == LDAR_OK && score->phased)
        status = variant_reader_sample(scoring->reader, score->sample, error);
    return status == LDAR_OK
               ? effects_create(session->context, scoring->genome, width, &options, &scoring->effects, error)
               : status;
}

void scoring_close(struct scoring *scoring)
{
    calls_free(&scoring->calls);
    effects_destroy(scoring->effects);
    variant_reader_close(scoring->reader);
    stretches_free(&scoring->within);
    reference_close(scoring->genome);
}

/* ---- reading ---- */

/* Whether REF, from `position` on, touches one of the regions. */
static int wanted(const struct scoring *scoring, size_t contig, int64_t position, size_t ref_length)
{
    if (!scoring->within.list)
        return 1;
    const uint64_t start = position < 0 ? 0 : (uint64_t)position, end = start + ref_length;
    size_t low = 0, high = scoring->within.count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct stretch *stretch = &scoring->within.list[middle];
        if (stretch->contig < contig || (stretch->contig == contig && stretch->end <= start))
            low = middle + 1;
        else
            high = middle;
    }
    return low < scoring->within.count && scoring->within.list[low].contig == contig
           && scoring->within.list[low].start < end;
}

/* The number of the unit that the next record is of. */
static uint64_t cut(struct scoring *scoring, size_t contig, int64_t position)
{
    struct score_cutter *cutter = &scoring->cutter;
    const uint64_t window = effects_window(scoring->effects, contig, position);
    const int apart = cutter->contig != contig || cutter->window != window;
    if (cutter->units == 0 || cutter->in_unit == UNIT_MOST || (cutter->in_unit >= UNIT && apart)) {
        cutter->units++;
        cutter->in_unit = 0;
    }
    cutter->in_unit++;
    cutter->contig = contig;
    cutter->window = window;
    return cutter->units - 1;
}

static const char *contig_name(const struct scoring *scoring, const struct call *call)
{
    return call->contig == SIZE_MAX ? "?" : reference_contigs(scoring->genome)->names[call->contig];
}

/* The first ALT that has a note, as an error. */
static enum ldar_status check_strictly(const struct scoring *scoring, const struct call *call, struct ldar_error *error)
{
    for (size_t i = 0; i < call->alts; i++)
        if (call->alt[i].note != NOTE_NONE) {
            const int shown = (int)(call->bytes < 60 ? call->bytes : 60);
            return fail(error, LDAR_ERROR_FORMAT, "%s: record %llu, \"%.*s...\": %s (without --strict: a note in INFO)",
                        scoring->score->common.files[0], (unsigned long long)call->number, shown, call->line,
                        call_note_words(call->alt[i].note));
        }
    return LDAR_OK;
}

static enum ldar_status check_order(const struct scoring *scoring, const struct call *call, struct ldar_error *error)
{
    const struct calls *calls = &scoring->calls;
    const struct call *before = calls->count > 0 ? calls->item[calls->count - 1] : NULL;
    if (!scoring->ordered || !before || before->contig != call->contig || before->position <= call->position)
        return LDAR_OK;
    return fail(error, LDAR_ERROR_FORMAT,
                "%s: record %llu, %s:%lld: stands behind one of position %lld; %s: sort the file first (bcftools sort)",
                scoring->score->common.files[0], (unsigned long long)call->number, contig_name(scoring, call),
                (long long)call->position + 1, (long long)before->position + 1,
                scoring->score->phased ? "--phased needs sorted records" : "an index needs sorted records");
}

/* Adds the next record that is wanted to the calls, or says that there is none. */
static enum ldar_status read_call(struct scoring *scoring, struct ldar_error *error)
{
    struct variant variant;
    struct call *call = NULL;
    enum ldar_status status = variant_reader_next(scoring->reader, &variant, error);
    if (status != LDAR_OK || !variant.line) {
        scoring->ended = status == LDAR_OK;
        return status;
    }
    status = call_create(&variant, scoring->genome, scoring->effects, &call, error);
    if (status == LDAR_OK && !wanted(scoring, call->contig, call->position, call->ref_length)) {
        call_destroy(call);
        return LDAR_OK;
    }
    if (status == LDAR_OK)
        status = check_order(scoring, call, error);
    if (status == LDAR_OK && scoring->score->strict)
        status = check_strictly(scoring, call, error);
    if (status == LDAR_OK)
        call->unit = cut(scoring, call->contig, call->position);
    if (status == LDAR_OK)
        status = calls_add(&scoring->calls, call, error);
    if (status != LDAR_OK)
        call_destroy(call);
    return status;
}

/* Past the last call of the unit that is next, or 0 when calls that are not read yet may belong to it. */
static size_t unit_end(const struct scoring *scoring)
{
    const struct calls *calls = &scoring->calls;
    size_t end = scoring->begun;
    if (calls->count == scoring->begun)
        return scoring->ended ? end : 0;
    const uint64_t unit = calls->item[scoring->begun]->unit;
    if (calls->item[calls->count - 1]->unit == unit)
        return scoring->ended ? calls->count : 0;
    while (calls->item[end]->unit == unit)
        end++;
    return end;
}

/* How far from a variant the others of its haplotype are looked for: a window, and the letters that it may lose. */
static uint64_t reach(const struct scoring *scoring)
{
    return scoring->score->phased ? scoring->score->window + effects_allele_max(scoring->effects) : 0;
}

static int within_reach(const struct scoring *scoring, const struct call *a, const struct call *b)
{
    const int64_t distance = (int64_t)reach(scoring);
    return a->contig == b->contig && a->position <= b->position + distance && b->position <= a->position + distance;
}

/* Whether calls that are not read yet may be the context of the unit that ends at `end`. */
static int reaches_on(const struct scoring *scoring, size_t end)
{
    const struct calls *calls = &scoring->calls;
    return scoring->score->phased && end > scoring->begun
           && within_reach(scoring, calls->item[end - 1], calls->item[calls->count - 1]);
}

enum ldar_status scoring_read(struct scoring *scoring, int *there, uint64_t *unit, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    int known = 0;
    do {
        scoring->end = unit_end(scoring);
        known = scoring->ended || (scoring->end > 0 && !reaches_on(scoring, scoring->end));
        if (!known)
            status = read_call(scoring, error);
    } while (status == LDAR_OK && !known);
    *there = status == LDAR_OK && scoring->end > scoring->begun;
    *unit = *there ? scoring->calls.item[scoring->begun]->unit : 0;
    return status;
}

/* Forgets the calls that no haplotype of a later unit reaches. */
static void forget_calls(struct scoring *scoring)
{
    const struct calls *calls = &scoring->calls;
    size_t count = 0;
    while (count < scoring->begun
           && (scoring->begun == calls->count || !scoring->score->phased
               || !within_reach(scoring, calls->item[count], calls->item[scoring->begun])))
        count++;
    calls_drop(&scoring->calls, count);
    scoring->begun -= count;
}

void scoring_pass(struct scoring *scoring)
{
    scoring->begun = scoring->end;
    forget_calls(scoring);
}

static void count_record(struct scoring *scoring, const struct variant *variant, struct score_survey *survey)
{
    const size_t ref_length = strlen(variant->allele[0]);
    size_t contig;
    if (!reference_find(scoring->genome, variant->contig, &contig))
        contig = SIZE_MAX;
    if (!wanted(scoring, contig, variant->position, ref_length))
        return;
    cut(scoring, contig, variant->position);
    survey->records++;
    survey->letters += ref_length;
    survey->bytes += variant->bytes + 1;
    survey->checksum = (uint32_t)crc32_z(survey->checksum, (const Bytef *)variant->line, variant->bytes);
    survey->checksum = (uint32_t)crc32_z(survey->checksum, (const Bytef *)"\n", 1);
}

enum ldar_status scoring_survey(struct scoring *scoring, struct score_survey *survey, struct ldar_error *error)
{
    variant_reader *reader = NULL;
    struct variant variant;
    enum ldar_status status = variant_reader_open(scoring->score->common.files[0], &reader, error);
    *survey = (struct score_survey){0};
    while (status == LDAR_OK && (status = variant_reader_next(reader, &variant, error)) == LDAR_OK && variant.line)
        count_record(scoring, &variant, survey);
    variant_reader_close(reader);
    survey->units = scoring->cutter.units;
    scoring->cutter = (struct score_cutter){0};
    return status;
}

/* ---- computing ---- */

/* The effects of a unit's ALTs, in order; contexts[i] is effect i's to free. */
struct unit {
    struct effect *effects;
    struct edit **contexts;
    size_t count;
};

static void unit_free(struct unit *unit)
{
    for (size_t i = 0; i < unit->count && unit->contexts; i++)
        free(unit->contexts[i]);
    free(unit->contexts);
    free(unit->effects);
}

static enum ldar_status gather(const struct scoring *scoring, struct unit *unit, struct ldar_error *error)
{
    size_t alts = 1;
    *unit = (struct unit){0};
    for (size_t i = scoring->begun; i < scoring->end; i++)
        alts += scoring->calls.item[i]->alts;
    unit->effects = calloc(alts, sizeof *unit->effects);
    unit->contexts = calloc(alts, sizeof *unit->contexts);
    int made = unit->effects && unit->contexts;
    for (size_t i = scoring->begun; i < scoring->end && made; i++) {
        const struct call *call = scoring->calls.item[i];
        for (size_t a = 0; a < call->alts && made; a++) {
            if (call->alt[a].note != NOTE_NONE)
                continue;
            struct effect *effect = &unit->effects[unit->count];
            effect->contig = call->contig;
            effect->edit = call->alt[a].edit;
            if (scoring->score->phased)
                made = calls_context(&scoring->calls, i, a, reach(scoring), &unit->contexts[unit->count],
                                     &effect->context_count);
            effect->context = unit->contexts[unit->count];
            unit->count++;
        }
    }
    return made ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "out of memory");
}

/* The value of a field for an ALT; `effect` NULL: it has a note. */
static void value_of(int field, const struct effect *effect, enum call_note note, char text[VALUE])
{
    const float values[] = {[SCORE_LLR] = effect ? effect->llr : 0,
                            [SCORE_DIST] = effect ? effect->dist : 0,
                            [SCORE_DTOK] = effect ? effect->dtok : 0};
    if (field == SCORE_NOTE)
        snprintf(text, VALUE, "%s", note == NOTE_NONE ? "." : call_note_name(note));
    else if (!effect || (field == SCORE_LLR && !effect_has_llr(effect)))
        snprintf(text, VALUE, ".");
    else
        snprintf(text, VALUE, "%.6g", (double)values[field]);
}

static int has_note(const struct call *call)
{
    int noted = 0;
    for (size_t a = 0; a < call->alts; a++)
        noted |= call->alt[a].note != NOTE_NONE;
    return noted;
}

/* Adds the call's line to the blob, with its values; effects[0..) are those of its ALTs without a note. */
static int write_call(const struct call *call, const struct effect *effects, struct variant_text *blob)
{
    struct variant_text values[SCORE_FIELDS] = {{0}};
    struct variant_info info[SCORE_FIELDS];
    char text[VALUE];
    int made = 1;
    for (size_t f = 0; f < SCORE_FIELDS; f++) {
        const struct effect *effect = effects;
        const int shown = f == SCORE_NOTE ? has_note(call) : call->file_alts > 0;
        for (size_t a = 0; a < call->alts && shown && made; a++) {
            const enum call_note note = call->alt[a].note;
            value_of((int)f, note == NOTE_NONE ? effect++ : NULL, note, text);
            made = (a == 0 || variant_text_add(&values[f], ",", 1)) && variant_text_add(&values[f], text, strlen(text));
        }
        made = made && (!shown || variant_text_add(&values[f], "", 1));
        info[f] = (struct variant_info){score_fields[f].id, shown ? values[f].bytes : NULL};
    }
    made = made && variant_line_with(call->line, call->bytes, info, SCORE_FIELDS, blob);
    for (size_t f = 0; f < SCORE_FIELDS; f++)
        free(values[f].bytes);
    return made;
}

enum ldar_status scoring_compute(struct scoring *scoring, struct variant_text *blob, struct ldar_error *error)
{
    struct unit unit;
    enum ldar_status status = gather(scoring, &unit, error);
    if (status == LDAR_OK)
        status = effects_compute(scoring->effects, unit.effects, unit.count, error);
    const struct effect *effect = unit.effects;
    blob->length = 0;
    for (size_t i = scoring->begun; i < scoring->end && status == LDAR_OK; i++) {
        const struct call *call = scoring->calls.item[i];
        if (!write_call(call, effect, blob))
            status = fail(error, LDAR_ERROR_MEMORY, "out of memory");
        for (size_t a = 0; a < call->alts; a++) {
            effect += call->alt[a].note == NOTE_NONE;
            scoring->notes[call->alt[a].note]++;
        }
        scoring->records++;
    }
    unit_free(&unit);
    return status;
}

enum ldar_status scoring_try(struct scoring *scoring, size_t most, struct ldar_error *error)
{
    struct unit unit;
    enum ldar_status status = gather(scoring, &unit, error);
    if (status == LDAR_OK)
        status = effects_compute(scoring->effects, unit.effects, unit.count < most ? unit.count : most, error);
    unit_free(&unit);
    return status;
}
