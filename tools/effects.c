/* SPDX-License-Identifier: Apache-2.0 */
#include "effects.h"

#include "formats/failure.h"
#include "formats/windows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    /*
     * The windows of interleaved and wt for DIST and DTOK begin and end at multiples of GRID, at least FLANK beyond the
     * variant (640 nucleotides for one base), so that neighbours share those with REF. docs/variants.md has what was
     * measured.
     */
    GRID = 128,
    FLANK = 256,
    OVERLAP_PARTS = 16, /* of a window in which bases are hidden, one is shared with its neighbour */
    PASSAGE = 1 << 18,  /* letters of the genome read at once */
    PASSAGE_BACK = 8192 /* of these before what is asked for: windows do not only move on */
};

/* Letters of the genome as they were last read. */
struct passage {
    size_t contig;
    uint64_t start;
    size_t count;
    char *letters;
    uint8_t *ids;
};

/* Where a window lies in a contig. */
struct place {
    size_t contig;
    uint64_t start, end;
};

/* Sequences, back to back. */
struct pile {
    uint8_t *ids;
    size_t *offsets;
    size_t sequences, ids_room, room;
};

/* A window with REF and one with ALT: sequences of the pile, or KEPT, and where in them the variant lies. */
struct pair {
    struct effect *effect;
    size_t ref, alt, at;
};

/* In place of a sequence: the window with REF that the batch before ended with. */
#define KEPT SIZE_MAX

/* Room for what the model says of nucleotides. */
struct rows {
    float *hidden, *prob; /* (room, width), (room) */
    size_t room;
};

/* What the model says of a window. */
struct view {
    const float *hidden, *prob; /* (length, width), (length) */
    size_t length;
};

struct effects {
    ldar_context *context;
    reference *reference;
    struct effects_options options;
    marginals *marginals;
    size_t batch, width, overlap;
    struct passage passage;
    struct pile pile;
    double nucleotides; /* beside those of the marginals */
    int counting;
    /* For bases that are hidden: the sequence and position of each effect that waits, and what is computed. */
    struct marginal_site *sites; /* (waiting_room) */
    struct effect **waiting;     /* (waiting_room) */
    size_t waiting_count, waiting_room;
    struct place *tiles; /* (tile_room) of the pile's sequences */
    uint8_t *passes;     /* (tile_room) */
    uint64_t *starts;    /* (tile_room) */
    size_t tile_room;
    float *log_p; /* (log_p_room, 4) */
    size_t log_p_room;
    /* For pairs. */
    struct pair *pairs; /* (pair_room) */
    size_t pair_count, pair_room;
    struct place last_place; /* of the last window with REF, and which sequence that is */
    size_t last_ref;
    struct rows rows, kept; /* of the batch, and of KEPT */
    size_t kept_length;
    double *mean; /* (2, width) */
};

int effect_has_llr(const struct effect *effect)
{
    return effect->edit.removed == 1 && effect->edit.added_count == 1;
}

/* ---- memory ---- */

static enum ldar_status no_memory(struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_MEMORY, "out of memory");
}

/* Room for `needed` elements in an array of *room, which grows by doubling. */
static int grow(void **array, size_t *room, size_t needed, size_t size)
{
    size_t larger = *room ? *room : 64;
    if (needed <= *room)
        return 1;
    while (larger < needed)
        larger *= 2;
    void *moved = larger > SIZE_MAX / 2 / size ? NULL : realloc(*array, larger * size);
    if (!moved)
        return 0;
    *array = moved;
    *room = larger;
    return 1;
}

/*
 * Beside the model's: results of a batch and of a window of the one before, log-probabilities of windows, and the
 * genome's letters.
 */
static size_t other_bytes(size_t batch, size_t window, size_t width)
{
    return (batch + window) * (width * sizeof(float) + 32) + 2 * PASSAGE;
}

static enum ldar_status plan_memory(effects *effects, struct ldar_error *error)
{
    const size_t least = 2 * (FLANK + GRID), wished = effects->options.window;
    const size_t window = (wished > least ? wished : least) + 2 * effects_allele_max(effects),
                 limit = effects->options.max_memory;
    const size_t other = other_bytes(window, window, effects->width);
    size_t batch;
    enum ldar_status status = marginals_plan(effects->context, window, limit, other, &batch, error);
    if (status != LDAR_OK)
        return status;
    /* Results are of a batch: where there is a limit, and not room for a large one, a window at a time. */
    if (limit > 0
        && marginals_plan(effects->context, batch, limit, other_bytes(batch, window, effects->width), &batch, NULL))
        batch = window;
    effects->batch = batch;
    return marginals_create(effects->context, batch, &effects->marginals, error);
}

enum ldar_status effects_create(ldar_context *context, reference *reference, size_t width,
                                const struct effects_options *options, effects **out, struct ldar_error *error)
{
    *out = NULL;
    effects *effects = calloc(1, sizeof *effects);
    if (!effects)
        return no_memory(error);
    effects->context = context;
    effects->reference = reference;
    effects->options = *options;
    effects->width = width;
    effects->overlap = options->window / OVERLAP_PARTS;
    effects->mean = malloc(2 * width * sizeof *effects->mean);
    enum ldar_status status = effects->mean ? plan_memory(effects, error) : no_memory(error);
    if (status != LDAR_OK) {
        effects_destroy(effects);
        return status;
    }
    *out = effects;
    return LDAR_OK;
}

void effects_destroy(effects *effects)
{
    if (!effects)
        return;
    void *arrays[] = {effects->passage.letters, effects->passage.ids, effects->pile.ids,    effects->pile.offsets,
                      effects->sites,           effects->waiting,     effects->tiles,       effects->passes,
                      effects->starts,          effects->log_p,       effects->pairs,       effects->rows.hidden,
                      effects->rows.prob,       effects->mean,        effects->kept.hidden, effects->kept.prob};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    marginals_destroy(effects->marginals);
    free(effects);
}

size_t effects_allele_max(const effects *effects)
{
    return effects->options.window / EFFECT_ALLELE_PART;
}

double effects_nucleotides(const effects *effects)
{
    return effects->nucleotides + marginals_nucleotides(effects->marginals);
}

void effects_count(effects *effects, int counting)
{
    effects->counting = counting;
}

/* ---- the genome ---- */

static uint64_t contig_length(const effects *effects, size_t contig)
{
    return reference_contigs(effects->reference)->lengths[contig];
}

static void forget_passage(struct passage *passage)
{
    free(passage->letters);
    free(passage->ids);
    *passage = (struct passage){0};
}

static enum ldar_status read_passage(effects *effects, size_t contig, uint64_t start, uint64_t end,
                                     struct ldar_error *error)
{
    struct passage *passage = &effects->passage;
    const uint64_t length = contig_length(effects, contig);
    const uint64_t first = start > PASSAGE_BACK ? start - PASSAGE_BACK : 0;
    uint64_t past = end > first + PASSAGE ? end : first + PASSAGE;
    past = past > length ? length : past;
    forget_passage(passage);
    passage->contig = contig;
    passage->start = first;
    passage->count = (size_t)(past - first);
    enum ldar_status status =
        reference_fetch(effects->reference, contig, first, passage->count, &passage->letters, error);
    passage->ids = status == LDAR_OK ? malloc(passage->count) : NULL;
    if (status == LDAR_OK && !passage->ids)
        status = no_memory(error);
    if (status == LDAR_OK) {
        const size_t legal = ldar_encode(passage->letters, passage->count, passage->ids, NULL);
        if (legal < passage->count)
            status =
                fail(error, LDAR_ERROR_FORMAT, "%s: sequence \"%.200s\": byte %d at position %llu is no nucleotide",
                     reference_path(effects->reference), reference_contigs(effects->reference)->names[contig],
                     (unsigned char)passage->letters[legal], (unsigned long long)(first + legal + 1));
    }
    if (status != LDAR_OK)
        forget_passage(passage);
    return status;
}

/* The passage holds [start, end) of the contig then; *at is where. */
static enum ldar_status hold(effects *effects, size_t contig, uint64_t start, uint64_t end, size_t *at,
                             struct ldar_error *error)
{
    const struct passage *passage = &effects->passage;
    enum ldar_status status = LDAR_OK;
    if (!passage->ids || passage->contig != contig || start < passage->start || end > passage->start + passage->count)
        status = read_passage(effects, contig, start, end, error);
    *at = status == LDAR_OK ? (size_t)(start - passage->start) : 0;
    return status;
}

enum ldar_status effects_letters(effects *effects, size_t contig, uint64_t start, size_t count, const char **letters,
                                 struct ldar_error *error)
{
    size_t at;
    const enum ldar_status status = hold(effects, contig, start, start + count, &at, error);
    *letters = status == LDAR_OK ? effects->passage.letters + at : NULL;
    return status;
}

/* ---- windows ---- */

static int same_place(const struct place *a, const struct place *b)
{
    return a->contig == b->contig && a->start == b->start && a->end == b->end;
}

/* The window of the cutting of windows.h in which a base lies deepest. */
static struct place tile_of(const effects *effects, size_t contig, uint64_t position)
{
    const uint64_t length = contig_length(effects, contig), window = effects->options.window;
    const uint64_t overlap = effects->overlap, stride = window - overlap;
    if (length <= window)
        return (struct place){contig, 0, length};
    const uint64_t last = window_count(length, window, overlap) - 1;
    /* The last window ends with the contig: what it shares with the one before may be more than the overlap. */
    const uint64_t last_start = length - window, shared = (last - 1) * stride + window - last_start;
    if (position >= last_start + shared - shared / 2)
        return (struct place){contig, last_start, length};
    uint64_t tile = position < overlap ? 0 : (position - (overlap - overlap / 2)) / stride;
    tile = tile < last ? tile : last - 1;
    return (struct place){contig, tile * stride, tile * stride + window};
}

uint64_t effects_window(const effects *effects, size_t contig, int64_t position)
{
    const uint64_t length = contig < SIZE_MAX ? contig_length(effects, contig) : 0;
    return position < 0 || (uint64_t)position >= length ? 0 : tile_of(effects, contig, (uint64_t)position).start;
}

/* A window with the variant in its middle, as far as the contig allows. */
static struct place centred(const effects *effects, const struct effect *effect)
{
    const uint64_t length = contig_length(effects, effect->contig), window = effects->options.window;
    const uint64_t middle = effect->edit.position + effect->edit.removed / 2;
    uint64_t start = middle > window / 2 ? middle - window / 2 : 0;
    if (length <= window)
        return (struct place){effect->contig, 0, length};
    start = start > length - window ? length - window : start;
    return (struct place){effect->contig, start, start + window};
}

static struct place on_grid(const effects *effects, const struct effect *effect)
{
    const uint64_t length = contig_length(effects, effect->contig), first = effect->edit.position;
    const uint64_t past = first + effect->edit.removed + FLANK;
    const uint64_t start = first > FLANK ? (first - FLANK) / GRID * GRID : 0;
    const uint64_t end = (past + GRID - 1) / GRID * GRID;
    return (struct place){effect->contig, start, end < length ? end : length};
}

/* Each effect has a window of its own, for its base and for the pair. */
static int alone(const effects *effects)
{
    return effects->options.phased || effects->options.mode == MARGINALS_EXACT;
}

/* ---- sequences ---- */

static size_t pile_length(const struct pile *pile)
{
    return pile->sequences > 0 ? pile->offsets[pile->sequences] : 0;
}

static struct ldar_batch pile_batch(const struct pile *pile)
{
    return (struct ldar_batch){pile->ids, pile->offsets, pile->sequences};
}

/* Room for one more sequence of up to `most`; pile_add then says how long it is. */
static int pile_reserve(struct pile *pile, size_t most)
{
    return grow((void **)&pile->ids, &pile->ids_room, pile_length(pile) + most, 1)
           && grow((void **)&pile->offsets, &pile->room, pile->sequences + 2, sizeof *pile->offsets);
}

static void pile_add(struct pile *pile, size_t length)
{
    pile->offsets[pile->sequences + 1] = pile_length(pile) + length;
    pile->offsets[0] = 0;
    pile->sequences++;
}

/* An edit that lies in the window whole. */
static int lies_in(const struct edit *edit, const struct place *place)
{
    return edit->position >= place->start && edit->position + edit->removed <= place->end;
}

/* What is being written: the letters of a window with edits in them. */
struct spelling {
    const uint8_t *genome; /* of the window */
    uint64_t next;         /* the position whose letter comes next */
    uint64_t start;
    uint8_t *to;
    size_t length;
};

static void spell_until(struct spelling *spelling, uint64_t position)
{
    const size_t count = (size_t)(position - spelling->next);
    memcpy(spelling->to + spelling->length, spelling->genome + (spelling->next - spelling->start), count);
    spelling->length += count;
    spelling->next = position;
}

static void spell_edit(struct spelling *spelling, const struct edit *edit)
{
    spell_until(spelling, edit->position);
    if (edit->added_count > 0)
        memcpy(spelling->to + spelling->length, edit->added, edit->added_count);
    spelling->length += edit->added_count;
    spelling->next = edit->position + edit->removed;
}

/* Adds the window with the effect's context in it and, with `alt`, its own edit. *at: where the variant lies. */
static enum ldar_status add_sequence(effects *effects, const struct effect *effect, const struct place *place, int alt,
                                     size_t *at, struct ldar_error *error)
{
    struct pile *pile = &effects->pile;
    size_t most = (size_t)(place->end - place->start) + effect->edit.added_count, genome, i = 0;
    for (size_t c = 0; c < effect->context_count; c++)
        most += effect->context[c].added_count;
    enum ldar_status status = hold(effects, place->contig, place->start, place->end, &genome, error);
    if (status != LDAR_OK)
        return status;
    if (!pile_reserve(pile, most))
        return no_memory(error);
    struct spelling spelling = {effects->passage.ids + genome, place->start, place->start,
                                pile->ids + pile_length(pile), 0};
    for (; i < effect->context_count && effect->context[i].position < effect->edit.position; i++)
        if (lies_in(&effect->context[i], place))
            spell_edit(&spelling, &effect->context[i]);
    spell_until(&spelling, effect->edit.position);
    *at = spelling.length;
    if (alt)
        spell_edit(&spelling, &effect->edit);
    else
        spell_until(&spelling, effect->edit.position + effect->edit.removed);
    for (; i < effect->context_count; i++)
        if (lies_in(&effect->context[i], place))
            spell_edit(&spelling, &effect->context[i]);
    spell_until(&spelling, place->end);
    pile_add(pile, spelling.length);
    return LDAR_OK;
}

/* ---- LDAR_LLR ---- */

static void forget_waiting(effects *effects)
{
    effects->waiting_count = 0;
    effects->pile.sequences = 0;
}

/* Log-probabilities of the bases that wait, or of all bases of the windows that these lie in. */
static enum ldar_status compute_log_p(effects *effects, int of_sites, struct ldar_error *error)
{
    const struct ldar_batch batch = pile_batch(&effects->pile);
    const size_t rows = of_sites ? effects->waiting_count : pile_length(&effects->pile);
    if (!grow((void **)&effects->log_p, &effects->log_p_room, rows, MARGINAL_LETTERS * sizeof(float)))
        return no_memory(error);
    if (of_sites)
        return marginals_of_sites(effects->marginals, &batch, effects->sites, effects->waiting_count, 1, effects->log_p,
                                  error);
    const struct marginals_wish wish = {.mode = effects->options.mode,
                                        .both_strands = effects->options.mode != MARGINALS_WT,
                                        .starts = effects->starts,
                                        .passes = effects->passes,
                                        .log_p = effects->log_p};
    return marginals_of_all(effects->marginals, &batch, &wish, error);
}

static double bits(unsigned value)
{
    double count = 0;
    for (; value > 0; value &= value - 1)
        count++;
    return count;
}

/* Nucleotides that the bases which wait cost. */
static double cost_of_waiting(const effects *effects)
{
    const size_t *offsets = effects->pile.offsets;
    double cost = 0;
    for (size_t i = 0; i < effects->waiting_count && effects->options.mode == MARGINALS_EXACT; i++)
        cost += 2 * (double)(offsets[effects->sites[i].sequence + 1] - offsets[effects->sites[i].sequence]);
    for (size_t s = 0; s < effects->pile.sequences && effects->options.mode != MARGINALS_EXACT; s++)
        cost += (double)(offsets[s + 1] - offsets[s])
                * (effects->options.mode == MARGINALS_WT ? 1 : 2 * bits(effects->passes[s]));
    return cost;
}

static enum ldar_status compute_waiting(effects *effects, struct ldar_error *error)
{
    const int of_sites = effects->options.mode == MARGINALS_EXACT;
    if (effects->counting) {
        effects->nucleotides += cost_of_waiting(effects);
        forget_waiting(effects);
        return LDAR_OK;
    }
    const enum ldar_status status = effects->waiting_count > 0 ? compute_log_p(effects, of_sites, error) : LDAR_OK;
    for (size_t i = 0; i < effects->waiting_count && status == LDAR_OK; i++) {
        const struct marginal_site *site = &effects->sites[i];
        const size_t row = effects->pile.offsets[site->sequence] + site->position;
        const float *log_p = effects->log_p + (of_sites ? i : row) * MARGINAL_LETTERS;
        struct effect *effect = effects->waiting[i];
        effect->llr = log_p[effect->edit.added[0]] - log_p[effects->pile.ids[row]];
    }
    forget_waiting(effects);
    return status;
}

/* The sequence of the window in the pile where it is one of the last, else the pile's count. */
static size_t find_tile(const effects *effects, const struct place *place)
{
    enum { LAST = 4 }; /* neighbours stand together */
    const size_t count = effects->pile.sequences;
    for (size_t back = 1; back <= LAST && back <= count; back++)
        if (same_place(&effects->tiles[count - back], place))
            return count - back;
    return count;
}

static int reserve_tile(effects *effects)
{
    size_t rooms[] = {effects->tile_room, effects->tile_room, effects->tile_room};
    const size_t needed = effects->pile.sequences + 1;
    const int grown = grow((void **)&effects->tiles, &rooms[0], needed, sizeof *effects->tiles)
                      && grow((void **)&effects->passes, &rooms[1], needed, sizeof *effects->passes)
                      && grow((void **)&effects->starts, &rooms[2], needed, sizeof *effects->starts);
    if (grown)
        effects->tile_room = rooms[0];
    return grown;
}

static struct place place_of_base(const effects *effects, const struct effect *effect)
{
    return alone(effects) ? centred(effects, effect) : tile_of(effects, effect->contig, effect->edit.position);
}

/* The sequence in which the effect's base is asked for, and where it lies there. */
static enum ldar_status place_base(effects *effects, const struct effect *effect, struct marginal_site *site,
                                   struct ldar_error *error)
{
    const struct place place = place_of_base(effects, effect);
    const size_t known = alone(effects) ? effects->pile.sequences : find_tile(effects, &place);
    site->sequence = known;
    site->position = (size_t)(effect->edit.position - place.start);
    if (known == effects->pile.sequences) {
        if (!reserve_tile(effects))
            return no_memory(error);
        effects->tiles[known] = place;
        effects->starts[known] = place.start;
        effects->passes[known] = 0;
        const enum ldar_status status = add_sequence(effects, effect, &place, 0, &site->position, error);
        if (status != LDAR_OK)
            return status;
    }
    effects->passes[known] |= (uint8_t)(1 << effect->edit.position % MARGINAL_PASSES);
    return LDAR_OK;
}

static enum ldar_status wait_for(effects *effects, struct effect *effect, struct ldar_error *error)
{
    size_t rooms[] = {effects->waiting_room, effects->waiting_room};
    const size_t needed = effects->waiting_count + 1;
    if (!grow((void **)&effects->sites, &rooms[0], needed, sizeof *effects->sites)
        || !grow((void **)&effects->waiting, &rooms[1], needed, sizeof *effects->waiting))
        return no_memory(error);
    effects->waiting_room = rooms[0];
    effects->waiting[effects->waiting_count] = effect;
    const enum ldar_status status = place_base(effects, effect, &effects->sites[effects->waiting_count], error);
    effects->waiting_count += status == LDAR_OK;
    return status;
}

/* Whether the effect's base is one of another window, for which a batch that has begun has no room. */
static int is_full(const effects *effects, const struct effect *effect)
{
    const struct place place = place_of_base(effects, effect);
    const size_t length = pile_length(&effects->pile);
    return length > 0 && length + (size_t)(place.end - place.start) > effects->batch
           && (alone(effects) || find_tile(effects, &place) == effects->pile.sequences);
}

static enum ldar_status compute_llr(effects *effects, struct effect *list, size_t count, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    forget_waiting(effects);
    for (size_t i = 0; i < count && status == LDAR_OK; i++) {
        if (!effect_has_llr(&list[i]))
            continue;
        if (is_full(effects, &list[i]))
            status = compute_waiting(effects, error);
        if (status == LDAR_OK)
            status = wait_for(effects, &list[i], error);
    }
    return status == LDAR_OK ? compute_waiting(effects, error) : status;
}

/* ---- LDAR_DIST and LDAR_DTOK ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct view view_of(const effects *effects, size_t sequence)
{
    if (sequence == KEPT)
        return (struct view){effects->kept.hidden, effects->kept.prob, effects->kept_length};
    const size_t begin = effects->pile.offsets[sequence], end = effects->pile.offsets[sequence + 1];
    return (struct view){effects->rows.hidden + begin * effects->width, effects->rows.prob + begin, end - begin};
}

/* The mean hidden state of `count` nucleotides at `at` and of those near them. */
static void mean_near(const effects *effects, size_t sequence, size_t at, size_t count, double *mean)
{
    const struct view view = view_of(effects, sequence);
    const size_t first = at - least(at, EFFECT_NEAR), past = least(at + count + EFFECT_NEAR, view.length);
    for (size_t d = 0; d < effects->width; d++)
        mean[d] = 0;
    for (size_t i = first; i < past; i++)
        for (size_t d = 0; d < effects->width; d++)
            mean[d] += (double)view.hidden[i * effects->width + d];
    for (size_t d = 0; d < effects->width; d++)
        mean[d] /= (double)(past - first);
}

static float distance(const effects *effects, const struct pair *pair)
{
    double *ref = effects->mean, *alt = effects->mean + effects->width, sum = 0;
    mean_near(effects, pair->ref, pair->at, pair->effect->edit.removed, ref);
    mean_near(effects, pair->alt, pair->at, pair->effect->edit.added_count, alt);
    for (size_t d = 0; d < effects->width; d++)
        sum += (ref[d] - alt[d]) * (ref[d] - alt[d]);
    return (float)sqrt(sum);
}

static float largest_change(const float *a, const float *b, size_t count)
{
    float largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(a[i] - b[i]));
    return largest;
}

/* Letters before the variant stand at the same places, those behind it where it ends, its own only when as many. */
static float token_change(const effects *effects, const struct pair *pair)
{
    const struct edit *edit = &pair->effect->edit;
    const struct view genome = view_of(effects, pair->ref);
    const float *ref = genome.prob + pair->at, *alt = view_of(effects, pair->alt).prob + pair->at;
    const size_t before = least(pair->at, EFFECT_BOUNDARIES);
    const size_t behind = least(genome.length - pair->at - edit->removed, EFFECT_BOUNDARIES);
    float change = largest_change(ref - before, alt - before, before);
    change = fmaxf(change, largest_change(ref + edit->removed, alt + edit->added_count, behind));
    return edit->removed == edit->added_count ? fmaxf(change, largest_change(ref, alt, edit->removed)) : change;
}

static enum ldar_status reserve_rows(struct rows *rows, size_t count, size_t width, struct ldar_error *error)
{
    if (count <= rows->room)
        return LDAR_OK;
    free(rows->hidden);
    free(rows->prob);
    rows->hidden = malloc(count * width * sizeof(float));
    rows->prob = malloc(count * sizeof(float));
    rows->room = rows->hidden && rows->prob ? count : 0;
    return rows->room > 0 ? LDAR_OK : no_memory(error);
}

/* The last window with REF outlives its batch: the next variants may lie in it, too. */
static enum ldar_status keep_ref(effects *effects, struct ldar_error *error)
{
    const struct view view = view_of(effects, effects->last_ref);
    const enum ldar_status status = reserve_rows(&effects->kept, view.length, effects->width, error);
    if (status != LDAR_OK)
        return status;
    memcpy(effects->kept.hidden, view.hidden, view.length * effects->width * sizeof(float));
    memcpy(effects->kept.prob, view.prob, view.length * sizeof(float));
    effects->kept_length = view.length;
    return LDAR_OK;
}

static void forget_pairs(effects *effects)
{
    effects->pair_count = 0;
    effects->pile.sequences = 0;
}

static enum ldar_status forward_pairs(effects *effects, const struct ldar_batch *batch, size_t rows,
                                      struct ldar_error *error)
{
    const size_t room = rows > effects->batch ? rows : effects->batch;
    const enum ldar_status status = reserve_rows(&effects->rows, room, effects->width, error);
    const struct ldar_outputs outputs = {
        .size = sizeof outputs, .hidden = effects->rows.hidden, .prob = effects->rows.prob};
    return status == LDAR_OK ? ldar_forward(effects->context, batch, NULL, &outputs, error) : status;
}

static enum ldar_status compute_pairs(effects *effects, struct ldar_error *error)
{
    const struct ldar_batch batch = pile_batch(&effects->pile);
    const size_t rows = pile_length(&effects->pile);
    enum ldar_status status = LDAR_OK;
    effects->nucleotides += (double)rows;
    if (!effects->counting && effects->pair_count > 0)
        status = forward_pairs(effects, &batch, rows, error);
    for (size_t i = 0; i < effects->pair_count && status == LDAR_OK && !effects->counting; i++) {
        const struct pair *pair = &effects->pairs[i];
        pair->effect->dist = distance(effects, pair);
        pair->effect->dtok = token_change(effects, pair);
    }
    if (status == LDAR_OK && !effects->counting && effects->pair_count > 0 && effects->last_ref != KEPT)
        status = keep_ref(effects, error);
    effects->last_ref = KEPT;
    forget_pairs(effects);
    return status;
}

/* Adds the effect's window with ALT, and that with REF unless it is the last one. */
static enum ldar_status add_pair(effects *effects, struct effect *effect, const struct place *place, int shares,
                                 struct ldar_error *error)
{
    struct pair pair = {.effect = effect, .ref = effects->last_ref};
    enum ldar_status status = LDAR_OK;
    if (!grow((void **)&effects->pairs, &effects->pair_room, effects->pair_count + 1, sizeof *effects->pairs))
        return no_memory(error);
    if (!shares) {
        pair.ref = effects->pile.sequences;
        status = add_sequence(effects, effect, place, 0, &pair.at, error);
    }
    if (status == LDAR_OK) {
        pair.alt = effects->pile.sequences;
        status = add_sequence(effects, effect, place, 1, &pair.at, error);
    }
    if (status != LDAR_OK)
        return status;
    effects->last_place = *place;
    effects->last_ref = pair.ref;
    effects->pairs[effects->pair_count++] = pair;
    return LDAR_OK;
}

static enum ldar_status compute_distances(effects *effects, struct effect *list, size_t count, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    forget_pairs(effects);
    for (size_t i = 0; i < count && status == LDAR_OK; i++) {
        const struct place place = alone(effects) ? centred(effects, &list[i]) : on_grid(effects, &list[i]);
        const size_t length = (size_t)(place.end - place.start) + list[i].edit.added_count;
        if (effects->pair_count > 0 && pile_length(&effects->pile) + 2 * length > effects->batch)
            status = compute_pairs(effects, error);
        const int shares = i > 0 && !effects->options.phased && same_place(&effects->last_place, &place);
        if (status == LDAR_OK)
            status = add_pair(effects, &list[i], &place, shares, error);
    }
    return status == LDAR_OK ? compute_pairs(effects, error) : status;
}

enum ldar_status effects_compute(effects *effects, struct effect *list, size_t count, struct ldar_error *error)
{
    const enum ldar_status status = compute_llr(effects, list, count, error);
    return status == LDAR_OK ? compute_distances(effects, list, count, error) : status;
}
