/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline_forecast.h"
#include "forecast.h"
#include "message.h"
#include "results.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Batches that are tried; the least rows of a window that are written, and the most bytes; bases with a pass each. */
enum { SPOTS = 6, SAMPLE_ROWS = 4096, SAMPLE_BYTES = 1 << 21, SAMPLE_BASES = 8 };

/* Seconds after which a first pass counts, and that passes are measured for. */
static const double long_pass = 3, measuring = 1;

/* What the trials came to. */
struct trials {
    double seconds, nucleotides;           /* of passes: nucleotides of their windows */
    double bases;                          /* that these windows own */
    double sampled_bases, sampled_windows; /* written to the output, or to a blob */
    double blob_bytes;
    double blob_bases, blob_windows;
    size_t batch; /* nucleotides of the largest */
    struct blob blob;
    int opened;
};

/* Whether a pass is made for each base. */
static int alone(const struct rehearsal *rehearsal)
{
    return rehearsal->consumer->compute && rehearsal->consumer->passes == 0;
}

/* ---- trials ---- */

/* Only a few bases of each window, where a pass is made for each. */
static enum ldar_status shorten(struct window_batch *batch, struct window **copy, struct ldar_error *error)
{
    const size_t count = batch->input.sequences;
    *copy = malloc(count * sizeof **copy);
    if (!*copy)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    memcpy(*copy, batch->windows, count * sizeof **copy);
    for (size_t s = 0; s < count; s++)
        if ((*copy)[s].owned_end - (*copy)[s].owned_begin > SAMPLE_BASES)
            (*copy)[s].owned_end = (*copy)[s].owned_begin + SAMPLE_BASES;
    batch->windows = *copy;
    return LDAR_OK;
}

static enum ldar_status compute(const struct rehearsal *rehearsal, struct trials *trials, double *seconds,
                                struct ldar_error *error)
{
    const struct window_batch *batch = &rehearsal->slot->batch;
    const size_t nucleotides = batch->input.offsets[batch->input.sequences];
    const double start = seconds_now();
    const enum ldar_status status = slot_compute(rehearsal->slot, rehearsal->session, rehearsal->consumer, error);
    *seconds = seconds_now() - start;
    trials->seconds += *seconds;
    trials->nucleotides += (double)nucleotides;
    for (size_t s = 0; s < batch->input.sequences; s++)
        trials->bases += (double)(batch->windows[s].owned_end - batch->windows[s].owned_begin);
    trials->batch = nucleotides > trials->batch ? nucleotides : trials->batch;
    return status;
}

/* The first `most` rows of a window as a record of its own. */
static struct window_result sample_of(const struct window_result *result, const struct window *window, size_t most)
{
    struct window_result sample = *result;
    struct pipeline_rows *rows = &sample.rows;
    if (rows->count > most) {
        rows->count = most;
        rows->chunk_count = 0;
        for (size_t i = 0; rows->chunks && i < most; i++)
            rows->chunk_count += rows->boundary[i];
    }
    sample.first = sample.last = true;
    sample.record.start += window->start + window->owned_begin;
    sample.record.length = rows->count;
    sample.record.before = sample.record.after = 0;
    return sample;
}

/* Writes a part of what the batch came to. */
static enum ldar_status write_samples(const struct rehearsal *rehearsal, struct trials *trials,
                                      struct ldar_error *error)
{
    const struct slot *slot = rehearsal->slot;
    const size_t row = room_row(&slot->room), rows = row > 0 ? SAMPLE_BYTES / row : SAMPLE_ROWS;
    enum ldar_status status = LDAR_OK;
    for (size_t s = 0; s < slot->batch.input.sequences && status == LDAR_OK; s++) {
        const struct window_result result = slot_result(slot, s, rehearsal->shape, rehearsal->sum);
        const struct window_result sample =
            sample_of(&result, &slot->batch.windows[s], rows < SAMPLE_ROWS ? SAMPLE_ROWS : rows);
        status = window_result_write(&result, rehearsal->shape, &trials->blob, error);
        trials->blob_bytes += (double)trials->blob.length;
        trials->blob_bases += (double)result.rows.count;
        trials->blob_windows++;
        if (status == LDAR_OK && trials->opened) {
            status = window_result_hand_over(&sample, rehearsal->consumer, error);
            trials->sampled_bases += (double)sample.rows.count;
            trials->sampled_windows++;
        }
    }
    return status;
}

/* A batch, put through the model until enough is measured. *enough: no other batch is needed. */
static enum ldar_status try_batch(const struct rehearsal *rehearsal, struct trials *trials, int first, int *enough,
                                  struct ldar_error *error)
{
    struct window *copy = NULL;
    double seconds = 0;
    enum ldar_status status = LDAR_OK;
    if (alone(rehearsal))
        status = shorten(&rehearsal->slot->batch, &copy, error);
    if (status == LDAR_OK)
        status = compute(rehearsal, trials, &seconds, error);
    *enough = first ? seconds > long_pass : trials->seconds > measuring;
    if (status == LDAR_OK && first && !*enough) {
        /* What warmed up is not measured. */
        trials->seconds = trials->nucleotides = trials->bases = 0;
        status = compute(rehearsal, trials, &seconds, error);
    }
    if (status == LDAR_OK)
        status = write_samples(rehearsal, trials, error);
    free(copy);
    return status;
}

/* Few batches are left: the last one again, until the clock tells something. */
static enum ldar_status repeat(const struct rehearsal *rehearsal, struct trials *trials, struct ldar_error *error)
{
    double seconds;
    enum ldar_status status = LDAR_OK;
    for (int i = 0; i < 1000 && status == LDAR_OK && trials->seconds < measuring && trials->nucleotides > 0; i++)
        status = compute(rehearsal, trials, &seconds, error);
    return status;
}

static enum ldar_status try_batches(const struct rehearsal *rehearsal, struct shard shard, struct trials *trials,
                                    struct ldar_error *error)
{
    const uint64_t bases = rehearsal->survey.bases, begin = shard_border(bases, shard);
    const uint64_t end = shard_border(bases, (struct shard){shard.index + 1, shard.count});
    struct slot *slot = rehearsal->slot;
    enum ldar_status status = LDAR_OK;
    int enough = 0;
    for (uint64_t spot = 0; spot < SPOTS && status == LDAR_OK && !enough; spot++) {
        const struct window_position at = {0, begin + shard_border(end - begin, (struct shard){spot, SPOTS})};
        const struct window_batch before = slot->batch;
        status = window_cutter_pass(rehearsal->cutter, at, error);
        if (status == LDAR_OK)
            status = window_cutter_next(rehearsal->cutter, &slot->batch, error);
        if (status != LDAR_OK || slot->batch.input.sequences == 0) {
            slot->batch = before;
            break;
        }
        status = try_batch(rehearsal, trials, spot == 0, &enough, error);
    }
    /* Windows that were shortened are so no more; their time tells anyhow. */
    return status == LDAR_OK && !alone(rehearsal) ? repeat(rehearsal, trials, error) : status;
}

/* Nucleotides for each token of the last batch. */
static enum ldar_status measure_ratio(const struct rehearsal *rehearsal, double *ratio, struct ldar_error *error)
{
    const struct ldar_batch *batch = &rehearsal->slot->batch.input;
    const size_t count = batch->sequences > 0 ? batch->offsets[batch->sequences] : 0;
    struct ldar_outputs outputs = {.size = sizeof outputs};
    size_t tokens = 0;
    *ratio = 1;
    if (count == 0)
        return LDAR_OK;
    outputs.boundary = malloc(count);
    if (!outputs.boundary)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    const enum ldar_status status = ldar_forward(rehearsal->session->context, batch, NULL, &outputs, error);
    for (size_t i = 0; i < count && status == LDAR_OK; i++)
        tokens += outputs.boundary[i];
    free(outputs.boundary);
    *ratio = tokens > 0 ? (double)count / (double)tokens : 1;
    return status;
}

/* ---- the output ---- */

static enum ldar_status open_output(const struct rehearsal *rehearsal, struct trials *trials, struct ldar_error *error)
{
    const struct consumer *consumer = rehearsal->consumer;
    const enum ldar_status status = consumer->open(consumer->user, rehearsal->session, rehearsal->pipeline, error);
    trials->opened = status == LDAR_OK;
    return status;
}

static enum ldar_status close_output(const struct rehearsal *rehearsal, struct trials *trials, enum ldar_status status,
                                     struct ldar_error *error)
{
    const struct consumer *consumer = rehearsal->consumer;
    if (trials->opened && status == LDAR_OK)
        status = consumer->commit(consumer->user, error);
    else if (trials->opened)
        consumer->abandon(consumer->user);
    trials->opened = 0;
    return status;
}

/* Tries batches with an output in `folder`. *fixed: bytes of one without rows; *sampled: with those of the sample. */
static enum ldar_status try_with_output(const struct rehearsal *rehearsal, const char *folder, struct trials *trials,
                                        double *fixed, double *sampled, struct ldar_error *error)
{
    char path[64];
    snprintf(path, sizeof path, "%s/out", folder);
    rehearsal->pipeline->output = path;
    enum ldar_status status = open_output(rehearsal, trials, error);
    status = close_output(rehearsal, trials, status, error);
    *fixed = forecast_empty_folder(folder);
    if (status == LDAR_OK)
        status = open_output(rehearsal, trials, error);
    if (status == LDAR_OK)
        status = try_batches(rehearsal, shard_of(&rehearsal->input->common), trials, error);
    status = close_output(rehearsal, trials, status, error);
    *sampled = forecast_empty_folder(folder);
    rehearsal->pipeline->output = NULL;
    return status;
}

/* Bytes of all that is written, of `share` of the input; negative when it is not known. */
static enum ldar_status rehearse(const struct rehearsal *rehearsal, double share, struct trials *trials, double *bytes,
                                 struct ldar_error *error)
{
    const struct survey *survey = &rehearsal->survey;
    const int summed = (rehearsal->shape->wishes & PIPELINE_SUM) != 0;
    const char *folder = !rehearsal->input->common.shard && rehearsal->consumer->open ? forecast_folder() : NULL;
    double fixed = 0, sampled = 0, part = 0;
    *bytes = -1;
    enum ldar_status status = folder ? try_with_output(rehearsal, folder, trials, &fixed, &sampled, error)
                                     : try_batches(rehearsal, shard_of(&rehearsal->input->common), trials, error);
    if (folder)
        rmdir(folder);
    if (summed && trials->sampled_windows > 0)
        part = (double)survey->records / trials->sampled_windows;
    else if (!summed && trials->sampled_bases > 0)
        part = (double)survey->bases / trials->sampled_bases;
    if (folder)
        *bytes = fixed + (sampled - fixed) * part;
    else if (rehearsal->input->common.shard && trials->blob_windows > 0)
        *bytes = summed || trials->blob_bases == 0
                     ? trials->blob_bytes / trials->blob_windows * share * (double)survey->windows
                     : trials->blob_bytes / trials->blob_bases * share * (double)survey->bases;
    return status;
}

/* ---- the sum of it ---- */

/* FLOP for a nucleotide of a pass: as far as the model is computed for what is wished for. */
static double flop_of(const struct rehearsal *rehearsal, double length, double ratio)
{
    struct ldar_config config = *ldar_model_config(rehearsal->session->model);
    const unsigned wishes = rehearsal->shape->wishes;
    const size_t nucleotides = (size_t)(length < 1 ? 1 : length);
    if (wishes & (PIPELINE_LOGITS | PIPELINE_HIDDEN | PIPELINE_MARGINALS))
        return ldar_forward_flops(&config, nucleotides, ratio);
    if (!(wishes & PIPELINE_CHUNKS))
        return forecast_boundary_flops(&config, nucleotides);
    config.stage[0].decoder[0] = '\0';
    return ldar_forward_flops(&config, nucleotides, ratio);
}

static double memory_of(const struct rehearsal *rehearsal, const struct trials *trials, double computed)
{
    const struct common *common = &rehearsal->input->common;
    const double row = (double)room_row(&rehearsal->slot->room);
    double bytes = forecast_resident();
    /* The next batch is computed while one is handed over. */
    if (computed > (double)trials->batch)
        bytes += row * (double)trials->batch;
    return common->shard || common->resume ? bytes + row * (double)rehearsal->plan->window : bytes;
}

enum ldar_status pipeline_forecast(struct rehearsal *rehearsal, struct ldar_error *error)
{
    const struct survey *survey = &rehearsal->survey;
    const struct consumer *consumer = rehearsal->consumer;
    const double share = 1 / (double)shard_of(&rehearsal->input->common).count;
    struct trials trials = {0};
    double ratio = 1, bytes;
    enum ldar_status status = rehearse(rehearsal, share, &trials, &bytes, error);
    const double computed = share * (double)survey->computed, bases = share * (double)survey->bases;
    const double memory = memory_of(rehearsal, &trials, computed);
    if (status == LDAR_OK)
        status = measure_ratio(rehearsal, &ratio, error);
    free(trials.blob.bytes);
    if (status != LDAR_OK)
        return status;
    const double length = survey->windows > 0 ? (double)survey->computed / (double)survey->windows : 0;
    const double each = survey->windows > 0 ? (double)survey->bases / (double)survey->windows : 0;
    const double passes = alone(rehearsal) ? each : consumer->compute ? (double)consumer->passes : 1;
    double seconds = 0;
    if (alone(rehearsal) && trials.bases > 0)
        seconds = bases * trials.seconds / trials.bases;
    else if (trials.nucleotides > 0)
        seconds = computed * trials.seconds / trials.nucleotides;
    const struct forecast forecast = {
        .records = (uint64_t)(share * (double)survey->records + 0.5),
        .bases = (uint64_t)(bases + 0.5),
        .windows = (uint64_t)(share * (double)survey->windows + 0.5),
        .computed = computed,
        .passes = passes,
        .flop = computed * passes * flop_of(rehearsal, length, ratio),
        .rate = seconds > 0 ? computed / seconds : -1,
        .seconds = seconds,
        .memory = memory,
        .output = bytes,
    };
    forecast_print(&forecast);
    return LDAR_OK;
}
