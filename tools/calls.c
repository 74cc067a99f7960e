/* SPDX-License-Identifier: Apache-2.0 */
#include "calls.h"

#include "formats/failure.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *words;
} notes[NOTES] = {
    [NOTE_NONE] = {"", ""},
    [NOTE_NO_CONTIG] = {"NO_CONTIG", "the genome has no contig of that name"},
    [NOTE_OUTSIDE] = {"OUTSIDE", "REF lies beyond the contig"},
    [NOTE_REF_MISMATCH] = {"REF_MISMATCH", "REF is not what the genome says; is it the same assembly?"},
    [NOTE_REF_N] = {"REF_N", "REF or the genome has a letter other than A, C, G and T there"},
    [NOTE_NO_ALT] = {"NO_ALT", "there is no ALT"},
    [NOTE_SYMBOLIC] = {"SYMBOLIC", "ALT is symbolic and says no sequence"},
    [NOTE_STAR] = {"STAR", "ALT is '*', a deletion that another record tells of"},
    [NOTE_BREAKEND] = {"BREAKEND", "ALT is a breakend"},
    [NOTE_ALT_N] = {"ALT_N", "ALT has a letter other than A, C, G and T"},
    [NOTE_ALT_IS_REF] = {"ALT_IS_REF", "ALT is the same as REF"},
    [NOTE_TOO_LONG] = {"TOO_LONG", "REF or ALT is longer than a fourth of the window"},
};

const char *call_note_name(enum call_note note)
{
    return notes[note].name;
}

const char *call_note_words(enum call_note note)
{
    return notes[note].words;
}

/* ---- what an ALT is ---- */

static enum call_note kind_of_alt(const char *alt)
{
    const size_t length = strlen(alt);
    if (length == 0 || strcmp(alt, ".") == 0)
        return NOTE_NO_ALT;
    if (strcmp(alt, "*") == 0)
        return NOTE_STAR;
    if (alt[0] == '<')
        return NOTE_SYMBOLIC;
    if (strpbrk(alt, "[]") || alt[0] == '.' || alt[length - 1] == '.')
        return NOTE_BREAKEND;
    return alt[strspn(alt, "ACGTacgt")] == '\0' ? NOTE_NONE : NOTE_ALT_N;
}

/* REF against as many letters of the genome. */
static enum call_note compare_ref(const char *ref, const char *genome, size_t length)
{
    enum call_note note = NOTE_NONE;
    for (size_t i = 0; i < length; i++) {
        uint8_t file, truth;
        const int known = ldar_encode(&ref[i], 1, &file, NULL) == 1;
        const int there = ldar_encode(&genome[i], 1, &truth, NULL) == 1;
        if (!known || !there || file > LDAR_T || truth > LDAR_T)
            note = NOTE_REF_N;
        else if (file != truth)
            return NOTE_REF_MISMATCH;
    }
    return note;
}

/* What is wrong with REF, and so with each ALT. */
static enum ldar_status check_ref(const struct call *call, const char *ref, reference *reference, effects *effects,
                                  enum call_note *note, struct ldar_error *error)
{
    const char *genome;
    *note = NOTE_NONE;
    if (call->contig == SIZE_MAX) {
        *note = NOTE_NO_CONTIG;
        return LDAR_OK;
    }
    const uint64_t length = reference_contigs(reference)->lengths[call->contig];
    if (call->position < 0 || call->ref_length == 0 || (uint64_t)call->position >= length
        || call->ref_length > length - (uint64_t)call->position) {
        *note = NOTE_OUTSIDE;
        return LDAR_OK;
    }
    const enum ldar_status status =
        effects_letters(effects, call->contig, (uint64_t)call->position, call->ref_length, &genome, error);
    if (status == LDAR_OK)
        *note = compare_ref(ref, genome, call->ref_length);
    return status;
}

static char upper(char letter)
{
    return letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
}

/* REF and ALT less what both end with, then less what both begin with: so an indel stands as far left as it may. */
static enum call_note trim(const struct call *call, const char *ref, const char *alt, size_t most, uint8_t *ids,
                           struct edit *edit)
{
    size_t removed = call->ref_length, added = strlen(alt), first = 0;
    while (removed > 0 && added > 0 && upper(ref[removed - 1]) == upper(alt[added - 1])) {
        removed--;
        added--;
    }
    while (first < removed && first < added && upper(ref[first]) == upper(alt[first]))
        first++;
    if (removed == first && added == first)
        return NOTE_ALT_IS_REF;
    if (removed - first > most || added - first > most)
        return NOTE_TOO_LONG;
    ldar_encode(alt + first, added - first, ids, NULL);
    *edit = (struct edit){(uint64_t)call->position + first, removed - first, ids, added - first};
    return NOTE_NONE;
}

/* ---- calls ---- */

/* One block holds the call, its ALTs, its line and the letters of each ALT as ids. */
static struct call *allocate(const struct variant *variant, uint8_t **ids)
{
    const size_t alts = variant->alleles > 1 ? variant->alleles - 1 : 1;
    size_t letters = 0;
    for (size_t i = 1; i < variant->alleles; i++)
        letters += strlen(variant->allele[i]);
    struct call *call = calloc(1, sizeof *call + alts * sizeof(struct alt) + variant->bytes + letters);
    if (!call)
        return NULL;
    call->alt = (struct alt *)(call + 1);
    call->line = (char *)(call->alt + alts);
    call->alts = alts;
    *ids = (uint8_t *)call->line + variant->bytes;
    return call;
}

enum ldar_status call_create(const struct variant *variant, reference *reference, effects *effects, struct call **out,
                             struct ldar_error *error)
{
    uint8_t *ids;
    enum call_note wrong;
    struct call *call = *out = allocate(variant, &ids);
    if (!call)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    memcpy(call->line, variant->line, variant->bytes);
    memcpy(call->carried, variant->carried, sizeof call->carried);
    call->bytes = variant->bytes;
    call->number = variant->number;
    call->position = variant->position;
    call->phased = variant->phased;
    call->phase_set = variant->phase_set;
    call->file_alts = variant->alleles - 1;
    call->ref_length = strlen(variant->allele[0]);
    if (!reference_find(reference, variant->contig, &call->contig))
        call->contig = SIZE_MAX;
    const enum ldar_status status = check_ref(call, variant->allele[0], reference, effects, &wrong, error);
    if (status != LDAR_OK) {
        call_destroy(call);
        *out = NULL;
        return status;
    }
    for (size_t i = 0; i < call->alts; i++) {
        const char *text = i < call->file_alts ? variant->allele[i + 1] : ".";
        struct alt *alt = &call->alt[i];
        alt->note = wrong ? wrong : kind_of_alt(text);
        if (!alt->note)
            alt->note = trim(call, variant->allele[0], text, effects_allele_max(effects), ids, &alt->edit);
        ids += strlen(text) * (i < call->file_alts);
    }
    return LDAR_OK;
}

void call_destroy(struct call *call)
{
    free(call);
}

enum ldar_status calls_add(struct calls *calls, struct call *call, struct ldar_error *error)
{
    if (calls->count == calls->room) {
        const size_t room = calls->room ? 2 * calls->room : 256;
        struct call **item = realloc(calls->item, room * sizeof *item);
        if (!item)
            return fail(error, LDAR_ERROR_MEMORY, "out of memory");
        calls->item = item;
        calls->room = room;
    }
    calls->item[calls->count++] = call;
    return LDAR_OK;
}

void calls_drop(struct calls *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        call_destroy(calls->item[i]);
    calls->count -= count;
    if (count > 0)
        memmove(calls->item, calls->item + count, calls->count * sizeof *calls->item);
}

void calls_free(struct calls *calls)
{
    calls_drop(calls, calls->count);
    free(calls->item);
    *calls = (struct calls){0};
}

/* ---- haplotypes ---- */

static bool on_both(const struct call *call)
{
    return call->carried[0] == call->carried[1];
}

/* The edit that the haplotype has there, when it is known to be the haplotype of `of`; else NULL. */
static const struct edit *edit_on(const struct call *call, int haplotype, const struct call *of)
{
    const int allele = call->carried[haplotype];
    const bool together = on_both(call) || (call->phased && call->phase_set == of->phase_set);
    if (allele <= 0 || (size_t)allele > call->alts || !together || call->alt[allele - 1].note != NOTE_NONE)
        return NULL;
    return &call->alt[allele - 1].edit;
}

static bool near(const struct call *a, const struct call *b, uint64_t reach)
{
    const int64_t apart = a->position > b->position ? a->position - b->position : b->position - a->position;
    return a->contig == b->contig && (uint64_t)apart <= reach;
}

/* The haplotype that the ALT is phased on, or -1. */
static int haplotype_of(const struct call *call, size_t alt)
{
    for (int h = 0; h < VARIANT_PLOIDY; h++)
        if (call->phased && call->carried[h] == (int)alt + 1)
            return h;
    return -1;
}

static void reverse(struct edit *edits, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        const struct edit swapped = edits[i];
        edits[i] = edits[count - 1 - i];
        edits[count - 1 - i] = swapped;
    }
}

bool calls_context(const struct calls *calls, size_t index, size_t alt, uint64_t reach, struct edit **edits,
                   size_t *count)
{
    const struct call *call = calls->item[index];
    const int haplotype = haplotype_of(call, alt);
    size_t first = index, past = index + 1;
    *edits = NULL;
    *count = 0;
    if (haplotype < 0)
        return true;
    while (first > 0 && near(calls->item[first - 1], call, reach))
        first--;
    while (past < calls->count && near(calls->item[past], call, reach))
        past++;
    struct edit *list = malloc((past - first) * sizeof *list);
    if (!list)
        return false;
    /* From the ALT outwards: of edits that reach into one another the nearer one stays. */
    struct edit last = call->alt[alt].edit;
    for (size_t i = index; i-- > first;) {
        const struct edit *edit = edit_on(calls->item[i], haplotype, call);
        if (edit && edit->position < last.position && edit->position + edit->removed <= last.position)
            list[(*count)++] = last = *edit;
    }
    reverse(list, *count);
    last = call->alt[alt].edit;
    for (size_t i = index + 1; i < past; i++) {
        const struct edit *edit = edit_on(calls->item[i], haplotype, call);
        if (edit && edit->position > last.position && edit->position >= last.position + last.removed)
            list[(*count)++] = last = *edit;
    }
    *edits = list;
    return true;
}
