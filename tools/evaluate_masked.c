/* SPDX-License-Identifier: Apache-2.0 */
#include "evaluate.h"

#include "batch_size.h"
#include "interrupt.h"
#include "message.h"

#include "formats/excerpts.h"
#include "formats/sequences.h"

#include <ldar/train.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 4096 }; /* of a batch, at most */

/* ---- what is found ---- */

struct findings {
    double cross_entropy; /* summed over labelled positions, in nats */
    uint64_t labelled, correct;
    uint64_t nucleotides, tokens, windows;
    double least, most; /* nucleotides per token of a whole window */
};

/* -log of the probability that the scores of the seven symbols give to one of them. */
static double cross_entropy(const float scores[LDAR_SYMBOLS], uint8_t label)
{
    double most = scores[0], sum = 0;
    for (int i = 1; i < LDAR_SYMBOLS; i++)
        most = scores[i] > most ? scores[i] : most;
    for (int i = 0; i < LDAR_SYMBOLS; i++)
        sum += exp(scores[i] - most);
    return most + log(sum) - scores[label];
}

static uint8_t likeliest(const float scores[LDAR_SYMBOLS])
{
    uint8_t best = 0;
    for (uint8_t i = 1; i < LDAR_SYMBOLS; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}

/* ---- batches ---- */

struct batch {
    struct ldar_batch input;
    struct ldar_outputs outputs;
    uint8_t *ids, *labels;
    size_t *offsets;
    size_t capacity; /* nucleotides */
};

static void batch_free(struct batch *batch)
{
    free(batch->ids);
    free(batch->labels);
    free(batch->offsets);
    free(batch->outputs.logits);
    free(batch->outputs.boundary);
}

static enum ldar_status batch_make(size_t capacity, struct batch *batch, struct ldar_error *error)
{
    *batch = (struct batch){.ids = malloc(capacity),
                            .labels = malloc(capacity),
                            .offsets = malloc((SEQUENCES + 1) * sizeof *batch->offsets),
                            .outputs = {.size = sizeof batch->outputs},
                            .capacity = capacity};
    batch->outputs.logits = malloc(capacity * LDAR_SYMBOLS * sizeof(float));
    batch->outputs.boundary = malloc(capacity);
    if (!batch->ids || !batch->labels || !batch->offsets || !batch->outputs.logits || !batch->outputs.boundary) {
        batch_free(batch);
        return fail(error, LDAR_ERROR_MEMORY, "no memory for windows of %zu nucleotides; a smaller --window needs less",
                    capacity);
    }
    batch->offsets[0] = 0;
    batch->input = (struct ldar_batch){batch->ids, batch->offsets, 0};
    return LDAR_OK;
}

static enum ldar_status reserve_batch(const struct evaluate *evaluate, const struct session *session,
                                      struct batch *batch, struct ldar_error *error)
{
    const struct input *input = &evaluate->lesson.input;
    const struct batch_need need = {.window = (size_t)input->window,
                                    .row = LDAR_SYMBOLS * sizeof(float) + 3, /* logits; ids, labels, boundary */
                                    .max_bytes = (size_t)input->common.max_memory};
    size_t capacity;
    const enum ldar_status status = batch_size(session->context, &need, &capacity, error);
    return status == LDAR_OK ? batch_make(capacity, batch, error) : status;
}

/* ---- the loop ---- */

struct evaluation {
    const struct evaluate *settings;
    const struct session *session;
    struct ldar_boundaries boundaries;
    source *source;
    struct batch batch;
    struct findings findings;
};

static void add_window(struct evaluation *evaluation, size_t begin, size_t end)
{
    const struct batch *batch = &evaluation->batch;
    struct findings *findings = &evaluation->findings;
    uint64_t tokens = 0;
    for (size_t i = begin; i < end; i++) {
        const float *scores = batch->outputs.logits + i * LDAR_SYMBOLS;
        const uint8_t label = batch->labels[i];
        tokens += batch->outputs.boundary[i];
        if (label != LDAR_UNLABELLED) {
            findings->cross_entropy += cross_entropy(scores, label);
            findings->correct += likeliest(scores) == label;
            findings->labelled++;
        }
    }
    findings->tokens += tokens;
    findings->nucleotides += end - begin;
    if (end - begin == evaluation->settings->lesson.input.window) {
        const double ratio = (double)(end - begin) / (double)tokens;
        findings->least = fmin(findings->least, ratio);
        findings->most = fmax(findings->most, ratio);
    }
}

static void show_progress(const struct evaluation *evaluation)
{
    const struct source_progress progress = source_progress(evaluation->source);
    progress_update((double)evaluation->findings.nucleotides,
                    progress.total > 0 ? (double)progress.done / (double)progress.total : -1);
}

static enum ldar_status compute(struct evaluation *evaluation, struct ldar_error *error)
{
    struct batch *batch = &evaluation->batch;
    const enum ldar_status status =
        ldar_forward(evaluation->session->context, &batch->input, &evaluation->boundaries, &batch->outputs, error);
    for (size_t s = 0; s < batch->input.sequences && status == LDAR_OK; s++)
        add_window(evaluation, batch->offsets[s], batch->offsets[s + 1]);
    batch->input.sequences = 0;
    show_progress(evaluation);
    return status;
}

/* The positions to be guessed that masking left with a nucleotide, right or wrong, become [MASK] too. */
static void hide_labelled(uint8_t *ids, const uint8_t *labels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (labels[i] != LDAR_UNLABELLED)
            ids[i] = LDAR_MASK;
}

/* A window of `count` nucleotides that stand behind the last one. Its number decides its masks. */
static void take_window(struct evaluation *evaluation, size_t count)
{
    struct batch *batch = &evaluation->batch;
    const size_t at = batch->offsets[batch->input.sequences];
    ldar_mask(batch->ids + at, batch->labels + at, count, evaluation->settings->mask,
              evaluation->settings->lesson.input.common.seed, 0, evaluation->findings.windows++);
    if (evaluation->settings->mask_all)
        hide_labelled(batch->ids + at, batch->labels + at, count);
    batch->offsets[++batch->input.sequences] = at + count;
}

/* The windows of a record, end to end; the last may be shorter. */
static enum ldar_status evaluate_record(struct evaluation *evaluation, struct ldar_error *error)
{
    const size_t window = (size_t)evaluation->settings->lesson.input.window;
    struct batch *batch = &evaluation->batch;
    for (;;) {
        size_t count, at = batch->offsets[batch->input.sequences];
        enum ldar_status status = LDAR_OK;
        if (batch->capacity - at < window || batch->input.sequences == SEQUENCES) {
            status = compute(evaluation, error);
            at = 0;
        }
        if (status == LDAR_OK)
            status = source_read(evaluation->source, batch->ids + at, window, &count, error);
        if (status != LDAR_OK || count == 0)
            return status;
        take_window(evaluation, count);
        if (count < window)
            return LDAR_OK;
    }
}

static enum ldar_status evaluate_records(struct evaluation *evaluation, struct ldar_error *error)
{
    for (;;) {
        struct record record;
        enum ldar_status status = source_next(evaluation->source, &record, error);
        if (status != LDAR_OK)
            return status;
        if (!record.name)
            return evaluation->batch.input.sequences > 0 ? compute(evaluation, error) : LDAR_OK;
        status = evaluate_record(evaluation, error);
        if (status != LDAR_OK)
            return status;
    }
}

/* ---- the report ---- */

static void print_text(const struct evaluation *evaluation)
{
    const struct findings *f = &evaluation->findings;
    const double labelled = (double)f->labelled, loss = f->cross_entropy / labelled;
    printf("masked loss       %.6f nats (%.6f bits per base)\n", loss, loss / log(2));
    printf("accuracy          %.6f\n", (double)f->correct / labelled);
    printf("masked positions  %llu of %llu nucleotides in %llu windows\n", (unsigned long long)f->labelled,
           (unsigned long long)f->nucleotides, (unsigned long long)f->windows);
    printf("bases per token   %.4f", (double)f->nucleotides / (double)f->tokens);
    if (f->least <= f->most)
        printf(" (%.4f to %.4f in whole windows)", f->least, f->most);
    printf("\n");
}

static void print_json(const struct evaluation *evaluation)
{
    const struct findings *f = &evaluation->findings;
    const double labelled = (double)f->labelled, loss = f->cross_entropy / labelled;
    char *provenance = provenance_json(&evaluation->session->provenance);
    printf("{\"loss\": %.9g, \"accuracy\": %.9g, \"positions\": %llu, \"ratio\": %.9g, \"bits_per_base\": %.9g, ", loss,
           (double)f->correct / labelled, (unsigned long long)f->labelled, (double)f->nucleotides / (double)f->tokens,
           loss / log(2));
    if (f->least <= f->most)
        printf("\"ratio_min\": %.9g, \"ratio_max\": %.9g, ", f->least, f->most);
    printf("\"nucleotides\": %llu, \"windows\": %llu, %s}\n", (unsigned long long)f->nucleotides,
           (unsigned long long)f->windows, provenance ? provenance : "\"version\": null");
    free(provenance);
}

/* ---- the command ---- */

/* All records of the genome, or regions of it. */
static enum ldar_status open_records(const struct evaluate *evaluate, struct pipeline *pipeline,
                                     struct ldar_error *error)
{
    const struct input *input = &evaluate->lesson.input;
    const char *bed = evaluate->windows ? evaluate->windows : input->bed;
    char part[8];
    choice_word("all|train|valid|test", (size_t)evaluate->part, part, sizeof part);
    *pipeline = (struct pipeline){0};
    if (!bed && input->regions.count == 0)
        return sequences_open(evaluate->mlm, &said_warnings, &pipeline->source, error);
    const char *label = evaluate->part == EVALUATE_ALL ? NULL : part;
    if (reference_is_sequential(evaluate->mlm)) {
        const struct excerpts_options excerpts = {input->regions.item, input->regions.count, bed, label};
        return excerpts_open(evaluate->mlm, &excerpts, &said_warnings, &pipeline->source, error);
    }
    interrupt_watch(evaluate->mlm);
    enum ldar_status status = reference_open(evaluate->mlm, &said_warnings, &pipeline->genome, error);
    if (status != LDAR_OK)
        return status;
    if (bed)
        status = regions_from_bed_label(pipeline->genome, bed, label, &pipeline->source, error);
    else
        status = regions_parse(pipeline->genome, input->regions.item, input->regions.count, &pipeline->source, error);
    if (status != LDAR_OK)
        pipeline_close(pipeline);
    return status;
}

static enum ldar_status evaluate_all(struct evaluation *evaluation, struct ldar_error *error)
{
    const struct evaluate *settings = evaluation->settings;
    struct pipeline pipeline;
    enum ldar_status status = open_records(settings, &pipeline, error);
    if (status != LDAR_OK)
        return status;
    status = reserve_batch(settings, evaluation->session, &evaluation->batch, error);
    if (status == LDAR_OK) {
        evaluation->source = pipeline.source;
        progress_begin("nt");
        status = evaluate_records(evaluation, error);
        batch_free(&evaluation->batch);
    }
    pipeline_close(&pipeline);
    if (status != LDAR_OK)
        return status;
    progress_end((double)evaluation->findings.nucleotides);
    return evaluation->findings.labelled > 0
               ? LDAR_OK
               : fail(error, LDAR_ERROR_ARGUMENT, "%s: no nucleotide was masked: there is nothing to guess",
                      settings->mlm);
}

static enum exit_status check(const struct evaluate *evaluate)
{
    const struct input *input = &evaluate->lesson.input;
    if ((evaluate->windows != NULL) + (input->bed != NULL) + (input->regions.count > 0) > 1) {
        say_error("options --windows, -r and -R exclude each other");
        return EXIT_USAGE;
    }
    if (evaluate->part != EVALUATE_ALL && !evaluate->windows) {
        say_error("option --part needs --windows W.bed, whose fourth column it reads");
        return EXIT_USAGE;
    }
    if (evaluate->mask == 0) {
        say_error("option --mask: a share of the nucleotides above 0, at most 1");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static int is_json(const struct evaluate *settings)
{
    const char *form = settings->lesson.input.common.output;
    return form && strcmp(form, "json") == 0;
}

enum exit_status evaluate_masked(const struct evaluate *settings)
{
    struct session session;
    struct evaluation evaluation = {.settings = settings,
                                    .session = &session,
                                    .boundaries = {.size = sizeof evaluation.boundaries},
                                    .findings = {.least = INFINITY, .most = -INFINITY}};
    struct ldar_error error;
    enum exit_status status = check(settings);
    if (status == EXIT_DONE && !boundaries_parse(settings->boundaries, &evaluation.boundaries.every))
        status = EXIT_USAGE;
    if (status == EXIT_DONE)
        status = session_open(&settings->lesson.input.common, &session);
    if (status != EXIT_DONE)
        return status;
    if (evaluate_all(&evaluation, &error) != LDAR_OK)
        status = failed(&error);
    else if (is_json(settings))
        print_json(&evaluation);
    else
        print_text(&evaluation);
    session_close(&session);
    return status;
}
