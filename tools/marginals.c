/* SPDX-License-Identifier: Apache-2.0 */
#include "marginals.h"

#include "batch_size.h"

#include "formats/failure.h"
#include "formats/strands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * A pass over one sequence: which bases are hidden or, with `hidden` 0, told without being hidden: first, first + step,
 * ...
 */
struct pass {
    size_t length, first, step;
    int hidden, reverse;
    float *log_p; /* the row of base `first`, and of each base after it; NULL: none is wanted */
    float *prob;  /* (length), or NULL */
};

struct marginals {
    ldar_context *context;
    size_t batch;
    /* The passes that wait for a forward pass, back to back. */
    struct pass *passes; /* (pass_room) */
    size_t *offsets;     /* (pass_room + 1) */
    size_t count, pass_room;
    uint8_t *ids;         /* (room) */
    float *logits, *prob; /* (room, 7), (room) */
    size_t room;
    double nucleotides; /* put through the model so far */
};

/* Beside the context's: an id, logits and a probability. */
static const size_t row_bytes = 1 + (LDAR_SYMBOLS + 1) * sizeof(float);

/* ---- memory ---- */

enum ldar_status marginals_plan(const ldar_context *context, size_t window, size_t max_bytes, size_t other,
                                size_t *batch, struct ldar_error *error)
{
    const struct batch_need need = {.window = window, .row = row_bytes, .other = other, .max_bytes = max_bytes};
    return batch_size(context, &need, batch, error);
}

enum ldar_status marginals_create(ldar_context *context, size_t batch, marginals **out, struct ldar_error *error)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    (*out)->context = context;
    (*out)->batch = batch;
    return LDAR_OK;
}

static void free_rows(marginals *marginals)
{
    free(marginals->ids);
    free(marginals->logits);
    free(marginals->prob);
    marginals->ids = NULL;
    marginals->logits = marginals->prob = NULL;
    marginals->room = 0;
}

void marginals_destroy(marginals *marginals)
{
    if (!marginals)
        return;
    free_rows(marginals);
    free(marginals->passes);
    free(marginals->offsets);
    free(marginals);
}

double marginals_nucleotides(const marginals *marginals)
{
    return marginals->nucleotides;
}

/* Only while no pass waits. */
static enum ldar_status reserve_rows(marginals *marginals, size_t nucleotides, struct ldar_error *error)
{
    if (nucleotides <= marginals->room)
        return LDAR_OK;
    free_rows(marginals);
    marginals->ids = malloc(nucleotides);
    marginals->logits = calloc(nucleotides, LDAR_SYMBOLS * sizeof(float));
    marginals->prob = calloc(nucleotides, sizeof(float));
    if (!marginals->ids || !marginals->logits || !marginals->prob) {
        free_rows(marginals);
        return fail(error, LDAR_ERROR_MEMORY,
                    "no memory for the results of %zu nucleotides; a smaller --window needs less", nucleotides);
    }
    marginals->room = nucleotides;
    return LDAR_OK;
}

static enum ldar_status reserve_pass(marginals *marginals, struct ldar_error *error)
{
    if (marginals->count < marginals->pass_room)
        return LDAR_OK;
    const size_t room = marginals->pass_room ? 2 * marginals->pass_room : 16;
    struct pass *passes = realloc(marginals->passes, room * sizeof *passes);
    if (passes)
        marginals->passes = passes;
    size_t *offsets = passes ? realloc(marginals->offsets, (room + 1) * sizeof *offsets) : NULL;
    if (!offsets)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    offsets[0] = 0;
    marginals->offsets = offsets;
    marginals->pass_room = room;
    return LDAR_OK;
}

/* ---- results ---- */

/* log_p[0..4) less the logarithm of what their exponentials sum to. */
static void normalise(double log_p[MARGINAL_LETTERS])
{
    double most = log_p[0], sum = 0;
    for (size_t a = 1; a < MARGINAL_LETTERS; a++)
        most = log_p[a] > most ? log_p[a] : most;
    for (size_t a = 0; a < MARGINAL_LETTERS; a++)
        sum += exp(log_p[a] - most);
    for (size_t a = 0; a < MARGINAL_LETTERS; a++)
        log_p[a] -= most + log(sum);
}

/* A row of the forward strand is written; one of the reverse strand is averaged with what the forward strand left. */
static void take_row(const struct pass *pass, const float *logits, float *row)
{
    double log_p[MARGINAL_LETTERS];
    for (size_t a = 0; a < MARGINAL_LETTERS; a++)
        log_p[a] = logits[pass->reverse ? complement((uint8_t)a) : a];
    normalise(log_p);
    if (pass->reverse) {
        for (size_t a = 0; a < MARGINAL_LETTERS; a++)
            log_p[a] = (log_p[a] + (double)row[a]) / 2;
        normalise(log_p);
    }
    for (size_t a = 0; a < MARGINAL_LETTERS; a++)
        row[a] = (float)log_p[a];
}

static void take_pass(const struct pass *pass, const float *logits, const float *prob)
{
    for (size_t i = pass->first; pass->log_p && i < pass->length; i += pass->step) {
        const size_t at = pass->reverse ? pass->length - 1 - i : i;
        take_row(pass, logits + at * LDAR_SYMBOLS, pass->log_p + (i - pass->first) * MARGINAL_LETTERS);
        if (pass->step >= pass->length - i)
            break;
    }
    if (pass->prob)
        memcpy(pass->prob, prob, pass->length * sizeof *prob);
}

/* Puts the passes that wait through the model. */
static enum ldar_status flush(marginals *marginals, struct ldar_error *error)
{
    const struct ldar_batch batch = {marginals->ids, marginals->offsets, marginals->count};
    struct ldar_outputs outputs = {.size = sizeof outputs};
    for (size_t p = 0; p < marginals->count; p++) {
        outputs.logits = marginals->passes[p].log_p ? marginals->logits : outputs.logits;
        outputs.prob = marginals->passes[p].prob ? marginals->prob : outputs.prob;
    }
    const enum ldar_status status =
        marginals->count > 0 ? ldar_forward(marginals->context, &batch, NULL, &outputs, error) : LDAR_OK;
    marginals->nucleotides += marginals->count > 0 ? (double)marginals->offsets[marginals->count] : 0;
    for (size_t p = 0; p < marginals->count && status == LDAR_OK; p++) {
        const size_t begin = marginals->offsets[p];
        take_pass(&marginals->passes[p], marginals->logits + begin * LDAR_SYMBOLS, marginals->prob + begin);
    }
    marginals->count = 0;
    return status;
}

/* ---- passes ---- */

/* Writes the letters that the model sees. */
static void hide(const struct pass *pass, const uint8_t *ids, uint8_t *to)
{
    if (pass->reverse)
        reverse_complement(ids, pass->length, to);
    else
        memcpy(to, ids, pass->length);
    for (size_t i = pass->first; pass->hidden && i < pass->length; i += pass->step) {
        to[pass->reverse ? pass->length - 1 - i : i] = LDAR_MASK;
        if (pass->step >= pass->length - i)
            break;
    }
}

/* Lets the pass wait, when there is room with the others; they go first when there is not. */
static enum ldar_status add_pass(marginals *marginals, const struct pass *pass, const uint8_t *ids,
                                 struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (pass->first >= pass->length)
        return LDAR_OK;
    const size_t most = pass->length > marginals->batch ? pass->length : marginals->batch;
    if (marginals->count > 0 && marginals->offsets[marginals->count] + pass->length > marginals->batch)
        status = flush(marginals, error);
    if (status == LDAR_OK && marginals->count == 0)
        status = reserve_rows(marginals, most, error);
    if (status == LDAR_OK)
        status = reserve_pass(marginals, error);
    if (status != LDAR_OK)
        return status;
    const size_t begin = marginals->offsets[marginals->count];
    marginals->passes[marginals->count++] = *pass;
    marginals->offsets[marginals->count] = begin + pass->length;
    hide(pass, ids, marginals->ids + begin);
    return LDAR_OK;
}

/* The pass on the forward strand and, when wished, on the reverse one, which has no boundaries to tell. */
static enum ldar_status add_strands(marginals *marginals, struct pass pass, const uint8_t *ids, int both,
                                    struct ldar_error *error)
{
    enum ldar_status status = add_pass(marginals, &pass, ids, error);
    pass.reverse = 1;
    pass.prob = NULL;
    return status == LDAR_OK && both && pass.log_p ? add_pass(marginals, &pass, ids, error) : status;
}

static enum ldar_status add_interleaved(marginals *marginals, const struct ldar_batch *batch,
                                        const struct marginals_wish *wish, size_t s, struct ldar_error *error)
{
    const size_t begin = batch->offsets[s], length = batch->offsets[s + 1] - begin;
    const uint64_t start = wish->starts ? wish->starts[s] : 0;
    enum ldar_status status = LDAR_OK;
    for (size_t k = 0; k < MARGINAL_PASSES && status == LDAR_OK; k++) {
        const size_t first = (size_t)((k + MARGINAL_PASSES - start % MARGINAL_PASSES) % MARGINAL_PASSES);
        if (first >= length || (wish->passes && !(wish->passes[s] >> k & 1)))
            continue;
        const struct pass pass = {.length = length,
                                  .first = first,
                                  .step = MARGINAL_PASSES,
                                  .hidden = 1,
                                  .log_p = wish->log_p + (begin + first) * MARGINAL_LETTERS};
        status = add_strands(marginals, pass, batch->ids + begin, wish->both_strands, error);
    }
    return status;
}

static enum ldar_status add_exact(marginals *marginals, const struct ldar_batch *batch, size_t s, size_t position,
                                  int both_strands, float *log_p, struct ldar_error *error)
{
    const size_t begin = batch->offsets[s], length = batch->offsets[s + 1] - begin;
    const struct pass pass = {.length = length, .first = position, .step = length, .hidden = 1, .log_p = log_p};
    return add_strands(marginals, pass, batch->ids + begin, both_strands, error);
}

/* What the model says of a sequence that it sees whole. */
static enum ldar_status add_whole(marginals *marginals, const struct ldar_batch *batch, size_t s, int both_strands,
                                  float *log_p, float *prob, struct ldar_error *error)
{
    const size_t begin = batch->offsets[s];
    const struct pass pass = {.length = batch->offsets[s + 1] - begin,
                              .step = 1,
                              .log_p = log_p ? log_p + begin * MARGINAL_LETTERS : NULL,
                              .prob = prob ? prob + begin : NULL};
    return log_p || prob ? add_strands(marginals, pass, batch->ids + begin, both_strands, error) : LDAR_OK;
}

static enum ldar_status add_sequence(marginals *marginals, const struct ldar_batch *batch,
                                     const struct marginals_wish *wish, size_t s, struct ldar_error *error)
{
    const size_t length = batch->offsets[s + 1] - batch->offsets[s];
    enum ldar_status status = LDAR_OK;
    switch (wish->mode) {
    case MARGINALS_WT:
        return add_whole(marginals, batch, s, wish->both_strands, wish->log_p, wish->prob, error);
    case MARGINALS_INTERLEAVED:
        return wish->log_p ? add_interleaved(marginals, batch, wish, s, error) : LDAR_OK;
    case MARGINALS_EXACT:
        for (size_t i = 0; i < length && wish->log_p && status == LDAR_OK; i++)
            status = add_exact(marginals, batch, s, i, wish->both_strands,
                               wish->log_p + (batch->offsets[s] + i) * MARGINAL_LETTERS, error);
        return status;
    }
    return fail(error, LDAR_ERROR_ARGUMENT, "%d is no mode of marginals", (int)wish->mode);
}

/* Passes that wait when a call fails are none of the next call's. */
static enum ldar_status finish(marginals *marginals, enum ldar_status status, struct ldar_error *error)
{
    if (status == LDAR_OK)
        status = flush(marginals, error);
    marginals->count = 0;
    return status;
}

enum ldar_status marginals_of_all(marginals *marginals, const struct ldar_batch *batch,
                                  const struct marginals_wish *wish, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t s = 0; s < batch->sequences && status == LDAR_OK; s++)
        status = add_sequence(marginals, batch, wish, s, error);
    /* Boundaries that no pass above told: with nothing else in the batch, nothing beyond the router is computed. */
    if (status == LDAR_OK && wish->mode != MARGINALS_WT && wish->prob)
        status = flush(marginals, error);
    for (size_t s = 0; s < batch->sequences && status == LDAR_OK && wish->mode != MARGINALS_WT; s++)
        status = add_whole(marginals, batch, s, 0, NULL, wish->prob, error);
    return finish(marginals, status, error);
}

enum ldar_status marginals_of_sites(marginals *marginals, const struct ldar_batch *batch,
                                    const struct marginal_site *sites, size_t count, int both_strands, float *log_p,
                                    struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < count && status == LDAR_OK; i++) {
        const size_t s = sites[i].sequence;
        status =
            s < batch->sequences && sites[i].position < batch->offsets[s + 1] - batch->offsets[s]
                ? add_exact(marginals, batch, s, sites[i].position, both_strands, log_p + i * MARGINAL_LETTERS, error)
                : fail(error, LDAR_ERROR_ARGUMENT, "site %zu is not in the batch", i);
    }
    return finish(marginals, status, error);
}
