/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline.h"
#include "message.h"
#include "pipeline_forecast.h"
#include "pipeline_input.h"
#include "results.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- the loop ---- */

/* What goes on beside a forward pass, in a thread of its own: the model waits for no file, as long as files keep up. */
struct files {
    const struct pipeline *pipeline;
    const struct consumer *consumer;
    struct window_shape shape;
    double *sum; /* (shape.parts, shape.sum_width) */
    struct blob blob;
    results *results;
    window_cutter *cutter;
    struct slot *slot; /* the batch before, to be handed over; then the batch after */
    double total;      /* nucleotides to be handed over; 0: not known */
    double done;       /* handed over */
    double seconds;    /* that reading and writing took */
    enum ldar_status over, cut;
    struct ldar_error over_error, cut_error;
};

/* Of the whole input, of which more is read than computed; negative when its end is not known. */
static double fraction_done(const struct files *files)
{
    if (files->total > 0)
        return files->done / files->total;
    struct source_progress progress = source_progress(files->pipeline->source);
    if (progress.total == 0 || progress.nucleotides == 0)
        return -1;
    return files->done / (double)progress.nucleotides * (double)progress.done / (double)progress.total;
}

/* To the consumer, or to where results are kept for it. */
static enum ldar_status hand_over_window(struct files *files, const struct window_result *result,
                                         struct ldar_error *error)
{
    if (results_at_once(files->results))
        return window_result_hand_over(result, files->consumer, error);
    const enum ldar_status status = window_result_write(result, &files->shape, &files->blob, error);
    return status == LDAR_OK ? results_put(files->results, files->blob.bytes, files->blob.length, error) : status;
}

/* Parts of a record whose length is not known yet can't be told. */
static enum ldar_status check_whole(const struct files *files, const struct window_result *result,
                                    struct ldar_error *error)
{
    return files->shape.parts == 1 || (result->first && result->last)
               ? LDAR_OK
               : fail(error, LDAR_ERROR_ARGUMENT,
                      "%s is longer than --window: this classifier tells %zu parts of a sequence apart, and takes none "
                      "that it must cut; give it sequences as those that it learned from, or a longer --window",
                      result->record.name, files->shape.parts);
}

static enum ldar_status hand_over(struct files *files, const struct slot *slot, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t s = 0; s < slot->batch.input.sequences && status == LDAR_OK; s++) {
        const struct window_result result = slot_result(slot, s, &files->shape, files->sum);
        status = check_whole(files, &result, error);
        if (status == LDAR_OK)
            status = hand_over_window(files, &result, error);
        files->done += (double)result.rows.count;
    }
    return status;
}

static enum ldar_status cut_slot(struct files *files, struct slot *slot, struct ldar_error *error)
{
    const double start = seconds_now();
    const enum ldar_status status = window_cutter_next(files->cutter, &slot->batch, error);
    files->seconds += seconds_now() - start;
    return status;
}

static enum ldar_status hand_over_slot(struct files *files, const struct slot *slot, struct ldar_error *error)
{
    const double start = seconds_now();
    const enum ldar_status status = hand_over(files, slot, error);
    files->seconds += seconds_now() - start;
    if (status == LDAR_OK && slot->batch.input.sequences > 0)
        progress_update(files->done, fraction_done(files));
    return status;
}

static void *move_files(void *argument)
{
    struct files *files = argument;
    files->cut = LDAR_OK;
    files->over = hand_over_slot(files, files->slot, &files->over_error);
    if (files->over == LDAR_OK)
        files->cut = cut_slot(files, files->slot, &files->cut_error);
    return NULL;
}

/* Seconds of a run, and nucleotides put through the model, those that windows share more than once. */
struct account {
    double started, computing, waiting, nucleotides;
};

/*
 * Computes `slot`, and beside it moves the files of the other slot. Of several failures the one that would have come
 * first if all had been done in turn is returned.
 */
static enum ldar_status compute_slot(const struct session *session, struct slot *slot, struct files *files,
                                     struct account *account, struct ldar_error *error)
{
    pthread_t thread;
    const int beside = pthread_create(&thread, NULL, move_files, files) == 0;
    const double start = seconds_now();
    const enum ldar_status status = slot_compute(slot, session, files->consumer, error);
    const double end = seconds_now();
    if (beside)
        pthread_join(thread, NULL);
    else
        move_files(files);
    account->computing += end - start;
    account->waiting += seconds_now() - end;
    account->nucleotides += (double)slot->batch.input.offsets[slot->batch.input.sequences];
    if (files->over != LDAR_OK) {
        *error = files->over_error;
        return files->over;
    }
    if (status == LDAR_OK && files->cut != LDAR_OK) {
        *error = files->cut_error;
        return files->cut;
    }
    return status;
}

static enum ldar_status run_batches(const struct session *session, struct files *files, struct slot slots[2],
                                    struct account *account, struct ldar_error *error)
{
    size_t turn = 0;
    enum ldar_status status = cut_slot(files, &slots[turn], error);
    while (status == LDAR_OK && slots[turn].batch.input.sequences > 0) {
        files->slot = &slots[!turn];
        status = compute_slot(session, &slots[turn], files, account, error);
        turn = !turn;
    }
    return status == LDAR_OK ? hand_over_slot(files, &slots[!turn], error) : status;
}

/* Where the time went. */
static void say_account(const struct session *session, const struct files *files, const struct account *account)
{
    const double seconds = seconds_now() - account->started;
    struct ldar_profile profile;
    ldar_context_profile(session->context, &profile);
    say_detail("%.3f s: %.3f s computing, %.3f s waiting for files; reading and writing took %.3f s", seconds,
               account->computing, account->waiting, files->seconds);
    say_detail("%.0f nt computed for %.0f read: windows overlap", account->nucleotides, files->done);
    say_detail("GEMM %.3f s, scan %.3f s, attention %.3f s, other %.3f s, waiting %.3f s, summed over %d threads",
               profile.gemm, profile.scan, profile.attention, profile.other, profile.waiting,
               ldar_context_threads(session->context));
}

static void say_unknown(const source *source)
{
    const struct source_progress progress = source_progress(source);
    if (progress.unknown > 0)
        say_note("%llu of %llu letters are N to the model", (unsigned long long)progress.unknown,
                 (unsigned long long)progress.nucleotides);
}

/* ---- a run ---- */

struct run {
    const struct input *input;
    const struct session *session;
    struct pipeline *pipeline;
    const struct consumer *consumer;
    struct window_plan plan;
    struct slot slots[2];
    struct files files;
    int opened; /* the consumer is, and neither committed nor abandoned */
    int within; /* a record, of results that are applied */
};

static enum ldar_status open_consumer(void *user, struct ldar_error *error)
{
    struct run *run = user;
    const struct consumer *consumer = run->consumer;
    const enum ldar_status status =
        consumer->open ? consumer->open(consumer->user, run->session, run->pipeline, error) : LDAR_OK;
    run->opened = status == LDAR_OK;
    return status;
}

/* Commits what was opened, or when `status` is a failure abandons it. */
static enum ldar_status close_consumer(struct run *run, enum ldar_status status, struct ldar_error *error)
{
    const struct consumer *consumer = run->consumer;
    if (run->opened && status == LDAR_OK && consumer->commit)
        status = consumer->commit(consumer->user, error);
    else if (run->opened && status != LDAR_OK && consumer->abandon)
        consumer->abandon(consumer->user);
    run->opened = 0;
    return status;
}

/* A blob of a window's result on its way to the consumer. */
static enum ldar_status apply_blob(void *user, const void *blob, size_t bytes, struct ldar_error *error)
{
    struct run *run = user;
    struct window_result result;
    const enum ldar_status status = window_result_read(blob, bytes, &run->files.shape, &result, error);
    if (status != LDAR_OK)
        return status;
    if (result.first == run->within)
        return fail(error, LDAR_ERROR_FORMAT, "a result is out of place: the windows of a record follow one another");
    run->within = !result.last;
    return window_result_hand_over(&result, run->consumer, error);
}

static enum ldar_status list_contigs(const struct run *run, struct ldar_error *error)
{
    struct pipeline *pipeline = run->pipeline;
    pipeline->contigs = pipeline->genome ? reference_contigs(pipeline->genome) : &pipeline->listed;
    return pipeline->genome ? LDAR_OK : contigs_scan(run->input->common.files[0], &pipeline->listed, error);
}

static enum ldar_status replay_parts(struct run *run, struct ldar_error *error)
{
    const struct replay *replay = run->input->common.replay;
    const struct applier applier = {open_consumer, apply_blob, run};
    size_t bytes;
    const void *prologue = replay_prologue(replay, &bytes);
    enum ldar_status status = contigs_read(prologue, bytes, &run->pipeline->listed, error);
    run->pipeline->contigs = &run->pipeline->listed;
    if (status == LDAR_OK)
        status = replay_apply(replay, &applier, error);
    return close_consumer(run, status, error);
}

/* Reads the input once, for what must be known before the first window is computed. */
static enum ldar_status survey(const struct run *run, struct survey *survey, struct ldar_error *error)
{
    source *source;
    enum ldar_status status = pipeline_open_source(run->input, run->pipeline->genome, NULL, &source, error);
    if (status != LDAR_OK)
        return status;
    status = survey_source(source, &run->plan, survey, error);
    source_destroy(source);
    return status;
}

/* Settles what is to be computed, of all windows or those of a shard; `work` is then complete but for the applier. */
static enum ldar_status settle(struct run *run, struct workload *work, struct ldar_error *error)
{
    const struct common *common = &run->input->common;
    const struct shard shard = shard_of(common), next = {shard.index + 1, shard.count};
    struct survey found;
    if (!common->shard && !common->resume)
        return LDAR_OK;
    enum ldar_status status = survey(run, &found, error);
    if (status != LDAR_OK)
        return status;
    const uint64_t begin = shard_border(found.bases, shard), end = shard_border(found.bases, next);
    status = window_cutter_pass(run->files.cutter, (struct window_position){0, begin}, error);
    if (shard.index + 1 < shard.count)
        window_cutter_stop(run->files.cutter, end);
    work->units = found.windows;
    work->first = window_cutter_position(run->files.cutter).windows;
    run->files.total = (double)(end - begin);
    identity_add_session(&work->identity, common, run->session);
    identity_add(&work->identity, "window", "%zu", run->plan.window);
    identity_add(&work->identity, "overlap", "%zu", run->plan.overlap);
    identity_add(&work->identity, "number of records", "%llu", (unsigned long long)found.records);
    identity_add(&work->identity, "number of bases", "%llu", (unsigned long long)found.bases);
    identity_add(&work->identity, "input's checksum", "%08lx", (unsigned long)found.checksum);
    return status;
}

/* Passes over the windows whose results are there already. */
static enum ldar_status pass_done(struct run *run, const struct workload *work, uint64_t done, struct ldar_error *error)
{
    const uint64_t before = window_cutter_position(run->files.cutter).bases;
    const enum ldar_status status =
        window_cutter_pass(run->files.cutter, (struct window_position){work->first + done, 0}, error);
    run->files.total -= (double)(window_cutter_position(run->files.cutter).bases - before);
    return status;
}

static enum ldar_status compute_all(struct run *run, struct ldar_error *error)
{
    struct account account = {.started = seconds_now()};
    progress_begin("nt");
    const enum ldar_status status = run_batches(run->session, &run->files, run->slots, &account, error);
    if (status == LDAR_OK) {
        progress_end(run->files.done);
        say_account(run->session, &run->files, &account);
        say_unknown(run->pipeline->source);
    }
    return status;
}

/* From the first result that is not there yet to the complete output, or part of it. */
static enum ldar_status work_through(struct run *run, struct workload *work, struct ldar_error *error)
{
    struct files *files = &run->files;
    uint64_t done;
    enum ldar_status status = results_begin(work, &files->results, &done, error);
    if (status == LDAR_OK && done != RESULTS_ALL) {
        status = pass_done(run, work, done, error);
        if (status == LDAR_OK)
            status = compute_all(run, error);
        if (status == LDAR_OK)
            status = results_complete(files->results, error);
    }
    status = close_consumer(run, status, error);
    results_close(files->results, status == LDAR_OK);
    files->results = NULL;
    return status;
}

static enum ldar_status settle_and_work(struct run *run, struct workload *work, struct ldar_error *error)
{
    const enum ldar_status status = settle(run, work, error);
    return status == LDAR_OK ? work_through(run, work, error) : status;
}

/* Says what it would take. */
static enum ldar_status foretell(struct run *run, struct ldar_error *error)
{
    struct rehearsal rehearsal = {
        .input = run->input,
        .session = run->session,
        .pipeline = run->pipeline,
        .consumer = run->consumer,
        .plan = &run->plan,
        .cutter = run->files.cutter,
        .slot = &run->slots[0],
        .shape = &run->files.shape,
        .sum = run->files.sum,
    };
    const enum ldar_status status = survey(run, &rehearsal.survey, error);
    return status == LDAR_OK ? pipeline_forecast(&rehearsal, error) : status;
}

static enum ldar_status compute_records(struct run *run, struct ldar_error *error)
{
    struct blob prologue = {0};
    struct workload work = {
        .common = &run->input->common, .session = run->session, .applier = {open_consumer, apply_blob, run}};
    enum ldar_status status = room_plan(&run->slots[0].room, run->input, run->session, &run->plan, error);
    if (status == LDAR_OK)
        status = window_cutter_create(run->pipeline->source, &run->plan, &run->files.cutter, error);
    if (status == LDAR_OK && run->files.shape.wishes & PIPELINE_CONTIGS) {
        status = list_contigs(run, error);
        if (status == LDAR_OK)
            status = contigs_write(run->pipeline->contigs, &prologue, error);
    }
    work.prologue = prologue.bytes;
    work.prologue_bytes = prologue.length;
    if (status == LDAR_OK)
        status = run->input->common.dry_run ? foretell(run, error) : settle_and_work(run, &work, error);
    identity_free(&work.identity);
    free(prologue.bytes);
    window_cutter_destroy(run->files.cutter);
    return status;
}

enum ldar_status pipeline_run(const struct input *input, const struct session *session, struct pipeline *pipeline,
                              unsigned wishes, const struct consumer *consumer, struct ldar_error *error)
{
    /* The tokens of a window are told by its boundaries. */
    if (wishes & PIPELINE_CHUNKS)
        wishes |= PIPELINE_BOUNDARY;
    const size_t width = session->info.config.stage[0].width;
    const struct room room = {.outputs = {.size = sizeof room.outputs}, .wishes = wishes, .width = width};
    struct run run = {input, session, pipeline, consumer, .slots = {{.room = room}, {.room = room}}};
    run.files.pipeline = pipeline;
    run.files.consumer = consumer;
    run.files.shape = (struct window_shape){.wishes = wishes,
                                            .width = width,
                                            .sum_width = wishes & PIPELINE_LOGITS ? LDAR_SYMBOLS : width,
                                            .parts = consumer->parts > 1 ? consumer->parts : 1};
    run.files.sum = malloc(run.files.shape.parts * run.files.shape.sum_width * sizeof *run.files.sum);
    enum ldar_status status = LDAR_OK;
    if (!run.files.sum)
        status = fail(error, LDAR_ERROR_MEMORY, "out of memory");
    else
        status = input->common.replay ? replay_parts(&run, error) : compute_records(&run, error);
    room_free(&run.slots[0].room);
    room_free(&run.slots[1].room);
    free(run.files.blob.bytes);
    free(run.files.sum);
    return status;
}

enum exit_status pipeline_command(const struct input *input, unsigned wishes, const struct consumer *consumer)
{
    struct session session;
    struct pipeline pipeline;
    struct ldar_error error;
    enum exit_status status = pipeline_check(input);
    if (status == EXIT_DONE)
        status = session_open(&input->common, &session);
    if (status != EXIT_DONE)
        return status;
    enum ldar_status run = pipeline_open(input, &pipeline, &error);
    if (run == LDAR_OK) {
        run = pipeline_run(input, &session, &pipeline, wishes, consumer, &error);
        pipeline_close(&pipeline);
    }
    if (run != LDAR_OK)
        status = failed(&error);
    session_close(&session);
    return status;
}
