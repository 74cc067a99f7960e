/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline.h"
#include "interrupt.h"
#include "message.h"
#include "results.h"
#include "survey.h"
#include "window_result.h"

#include "formats/sequences.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Windows shorter than this share a batch, and so do whole ones when there are many threads: 32 tiles of 64 rows a
 * thread leave little of a step to wait for, and are a small part of a full window's memory.
 */
enum { BATCH_NUCLEOTIDES = 16384, BATCH_OF_THREAD = 2048 };

/* ---- input ---- */

const struct option option_reference = {
    .name = "reference",
    .letter = 'f',
    .kind = OPTION_TEXT,
    .argument = "REF.fa",
    .place = offsetof(struct input, genome),
    .help = "Take sequences from this genome (FASTA, plain or BGZF) by regions instead of all records of a file; "
            "without -r and -R, all of it. Its .fai index is made when absent.",
};

const struct option option_region = {
    .name = "region",
    .letter = 'r',
    .kind = OPTION_TEXTS,
    .argument = "REGION",
    .place = offsetof(struct input, regions),
    .help = "A region of the genome, as chr:from-to, 1-based and closed; may be given again.",
};

const struct option option_regions = {
    .name = "regions",
    .letter = 'R',
    .kind = OPTION_TEXT,
    .argument = "FILE.bed",
    .place = offsetof(struct input, bed),
    .help = "The regions of a BED file.",
};

const struct option option_window = {
    .name = "window",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct input, window),
    .initial = "65536",
    .min = 1,
    .max = 1 << 30,
    .help = "Longer records are cut into windows of this many nucleotides.",
};

const struct option option_overlap = {
    .name = "overlap",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct input, overlap),
    .initial = "4096",
    .max = (1 << 30) - 1,
    .help =
        "Nucleotides that neighbouring windows share; every base is taken from the window in which it lies deepest. "
        "For windows below 16384 the default is a quarter of the window.",
};

static uint64_t overlap_of(const struct input *input)
{
    uint64_t quarter = input->window / 4;
    return option_given(&input->common, "overlap") || quarter > input->overlap ? input->overlap : quarter;
}

/* Whether both names are of one regular file. */
static int same_file(const char *a, const char *b)
{
    struct stat x, y;
    return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev
           && x.st_ino == y.st_ino;
}

enum exit_status pipeline_check(const struct input *input)
{
    const struct common *common = &input->common;
    if (common->replay)
        return EXIT_DONE;
    if (!input->genome && (input->regions.count > 0 || input->bed)) {
        say_error("options -r and -R need the genome that they are regions of: -f REF.fa");
        return EXIT_USAGE;
    }
    if (input->regions.count > 0 && input->bed) {
        say_error("options -r and -R exclude each other");
        return EXIT_USAGE;
    }
    if (input->genome && common->file_count > 0) {
        say_error("unexpected argument '%s': with -f the sequences are regions of the genome", common->files[0]);
        return EXIT_USAGE;
    }
    if (!input->genome && common->file_count == 0) {
        say_error("no input: name a FASTA or FASTQ file ('-' is the standard input), or a genome with -f REF.fa");
        return EXIT_USAGE;
    }
    const char *const read[] = {common->file_count > 0 ? common->files[0] : NULL, input->genome, input->bed,
                                common->model};
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (same_file(common->output, read[i])) {
            say_error("option -o: %s is read and would be replaced: name another file", common->output);
            return EXIT_USAGE;
        }
    if (overlap_of(input) >= input->window) {
        say_error("option --overlap: %llu is not less than the window of %llu", (unsigned long long)input->overlap,
                  (unsigned long long)input->window);
        return EXIT_USAGE;
    }
    return shards_check(common, input->genome ? NULL : common->files[0]);
}

static void warn(void *user, const char *message)
{
    (void)user;
    say_warning("%s", message);
}

/* The records; `genome` is open where there is one. */
static enum ldar_status open_source(const struct input *input, reference *genome, const struct warnings *warnings,
                                    source **source, struct ldar_error *error)
{
    if (!genome)
        return sequences_open(input->common.files[0], warnings, source, error);
    enum ldar_status status = input->bed ? regions_from_bed(genome, input->bed, source, error)
                              : input->regions.count > 0
                                  ? regions_parse(genome, input->regions.item, input->regions.count, source, error)
                                  : regions_all(genome, source, error);
    if (status == LDAR_OK && input->in_order)
        regions_merge(*source);
    if (status == LDAR_OK && input->flank > 0)
        regions_widen(*source, input->flank);
    return status;
}

enum ldar_status pipeline_open(const struct input *input, struct pipeline *pipeline, struct ldar_error *error)
{
    static const struct warnings warnings = {warn, NULL};
    *pipeline = (struct pipeline){0};
    if (input->common.replay)
        return LDAR_OK;
    enum ldar_status status = LDAR_OK;
    if (input->genome) {
        interrupt_watch(input->genome);
        status = reference_open(input->genome, &warnings, &pipeline->genome, error);
    }
    if (status == LDAR_OK)
        status = open_source(input, pipeline->genome, &warnings, &pipeline->source, error);
    if (status != LDAR_OK)
        pipeline_close(pipeline);
    return status;
}

void pipeline_close(struct pipeline *pipeline)
{
    source_destroy(pipeline->source);
    reference_close(pipeline->genome);
    contigs_free(&pipeline->listed);
    *pipeline = (struct pipeline){0};
}

/* ---- room for results ---- */

struct room {
    struct ldar_outputs outputs;
    float *log_p;
    size_t nucleotides, sequences, width;
    unsigned wishes;
};

/* Floats for each nucleotide of a batch. */
static size_t row_floats(unsigned wishes, size_t width)
{
    size_t floats = 0;
    floats += wishes & PIPELINE_LOGITS ? LDAR_SYMBOLS : 0;
    floats += wishes & PIPELINE_HIDDEN ? width : 0;
    floats += wishes & PIPELINE_ENCODER ? width : 0;
    floats += wishes & PIPELINE_CHUNKS ? width : 0;
    floats += wishes & PIPELINE_BOUNDARY ? 1 : 0;
    floats += wishes & PIPELINE_MARGINALS ? PIPELINE_BASES : 0;
    return floats;
}

static void room_free(struct room *room)
{
    struct ldar_outputs *o = &room->outputs;
    void *arrays[] = {o->logits, o->hidden, o->encoder, o->prob, o->boundary, o->chunks, o->chunk_offsets, room->log_p};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
    room->log_p = NULL;
    room->outputs = (struct ldar_outputs){.size = sizeof room->outputs};
    room->nucleotides = room->sequences = 0;
}

/* At least one element, so that NULL means that there is no memory. */
static void *room_for(unsigned wished, size_t count, size_t size)
{
    return wished ? malloc((count > 0 ? count : 1) * size) : NULL;
}

static enum ldar_status room_reserve(struct room *room, const struct ldar_batch *batch, struct ldar_error *error)
{
    size_t count = batch->offsets[batch->sequences], width = room->width, sequences = batch->sequences;
    unsigned wishes = room->wishes;
    if (count <= room->nucleotides && sequences <= room->sequences)
        return LDAR_OK;
    room_free(room);
    struct ldar_outputs *o = &room->outputs;
    o->logits = room_for(wishes & PIPELINE_LOGITS, count, LDAR_SYMBOLS * sizeof(float));
    o->hidden = room_for(wishes & PIPELINE_HIDDEN, count, width * sizeof(float));
    o->encoder = room_for(wishes & PIPELINE_ENCODER, count, width * sizeof(float));
    o->prob = room_for(wishes & PIPELINE_BOUNDARY, count, sizeof(float));
    o->boundary = room_for(wishes & PIPELINE_BOUNDARY, count, 1);
    o->chunks = room_for(wishes & PIPELINE_CHUNKS, count, width * sizeof(float));
    o->chunk_offsets = room_for(wishes & PIPELINE_CHUNKS, sequences + 1, sizeof(size_t));
    room->log_p = room_for(wishes & PIPELINE_MARGINALS, count, PIPELINE_BASES * sizeof(float));
    if ((!o->logits && wishes & PIPELINE_LOGITS) || (!o->hidden && wishes & PIPELINE_HIDDEN)
        || (!o->encoder && wishes & PIPELINE_ENCODER) || ((!o->prob || !o->boundary) && wishes & PIPELINE_BOUNDARY)
        || ((!o->chunks || !o->chunk_offsets) && wishes & PIPELINE_CHUNKS)
        || (!room->log_p && wishes & PIPELINE_MARGINALS)) {
        room_free(room);
        return fail(error, LDAR_ERROR_MEMORY,
                    "no memory for the results of %zu nucleotides; a smaller --window needs less", count);
    }
    room->nucleotides = count;
    room->sequences = sequences;
    return LDAR_OK;
}

/* ---- batches that fit ---- */

/* Bytes for a batch: the context's, the results' of two batches, and the cutter's four of nucleotides. */
static size_t batch_bytes(const struct session *session, const struct room *room, size_t nucleotides)
{
    const size_t row =
        row_floats(room->wishes, room->width) * sizeof(float) + (room->wishes & PIPELINE_BOUNDARY ? 1 : 0);
    return ldar_context_bytes(session->context, nucleotides) + nucleotides * (2 * row + 4);
}

/* The most nucleotides, up to `most`, whose batch fits. */
static size_t fitting(const struct session *session, const struct room *room, size_t most, size_t max_bytes)
{
    size_t fits = 0, exceeds = most + 1;
    while (exceeds - fits > 1) {
        size_t middle = fits + (exceeds - fits) / 2;
        if (batch_bytes(session, room, middle) <= max_bytes)
            fits = middle;
        else
            exceeds = middle;
    }
    return fits;
}

static size_t mebibytes(size_t bytes)
{
    return (bytes >> 20) + 1;
}

static enum ldar_status plan_windows(const struct input *input, const struct session *session, const struct room *room,
                                     struct window_plan *plan, struct ldar_error *error)
{
    const size_t window = (size_t)input->window, max_bytes = (size_t)input->common.max_memory;
    const size_t shared = BATCH_OF_THREAD * (size_t)ldar_context_threads(session->context);
    *plan = (struct window_plan){window, (size_t)overlap_of(input), window};
    plan->batch = plan->batch > BATCH_NUCLEOTIDES ? plan->batch : BATCH_NUCLEOTIDES;
    plan->batch = plan->batch > shared ? plan->batch : shared;
    if (max_bytes == 0)
        return LDAR_OK;
    plan->batch = fitting(session, room, plan->batch, max_bytes);
    if (plan->batch >= window)
        return LDAR_OK;
    if (plan->batch == 0)
        return fail(error, LDAR_ERROR_MEMORY,
                    "--max-memory: the model alone needs more; %zu MiB suffice for --window 1",
                    mebibytes(batch_bytes(session, room, 1)));
    return fail(error, LDAR_ERROR_MEMORY,
                "--max-memory: a window of %zu nucleotides needs %zu MiB and does not fit; --window %zu would", window,
                mebibytes(batch_bytes(session, room, window)), plan->batch);
}

/* ---- the loop ---- */

static size_t count_boundaries(const uint8_t *boundary, size_t begin, size_t end)
{
    size_t count = 0;
    for (size_t i = begin; i < end; i++)
        count += boundary[i];
    return count;
}

/* What is summed, in its place: rows of `width` floats. */
static struct pipeline_rows summed(struct pipeline_rows rows, size_t width, double *sum)
{
    const float *values = rows.logits ? rows.logits : rows.hidden ? rows.hidden : rows.encoder;
    rows.sum_rows = values ? rows.count : rows.chunk_count;
    values = values ? values : rows.chunks;
    for (size_t i = 0; i < width; i++)
        sum[i] = 0;
    for (size_t row = 0; row < rows.sum_rows; row++)
        for (size_t i = 0; i < width; i++)
            sum[i] += values[row * width + i];
    rows.logits = rows.hidden = rows.encoder = rows.chunks = NULL;
    rows.sum = sum;
    return rows;
}

/* The owned rows of a window, the s-th sequence of its batch. */
static struct pipeline_rows owned_rows(const struct room *room, const struct window_batch *batch, size_t s)
{
    const struct ldar_outputs *o = &room->outputs;
    const struct window *window = &batch->windows[s];
    size_t begin = batch->input.offsets[s], first = begin + window->owned_begin, end = begin + window->owned_end;
    struct pipeline_rows rows = {.count = end - first, .ids = batch->input.ids + first};
    rows.logits = o->logits ? o->logits + first * LDAR_SYMBOLS : NULL;
    rows.hidden = o->hidden ? o->hidden + first * room->width : NULL;
    rows.encoder = o->encoder ? o->encoder + first * room->width : NULL;
    rows.prob = o->prob ? o->prob + first : NULL;
    rows.boundary = o->boundary ? o->boundary + first : NULL;
    rows.log_p = room->log_p ? room->log_p + first * PIPELINE_BASES : NULL;
    if (o->chunks) {
        size_t chunk = o->chunk_offsets[s] + count_boundaries(o->boundary, begin, first);
        rows.chunks = o->chunks + chunk * room->width;
        rows.chunk_count = count_boundaries(o->boundary, first, end);
    }
    return rows;
}

/* A batch on its way. Two take turns: while one is computed, the other is handed over and the one after it cut. */
struct slot {
    struct window_batch batch; /* no sequences: not cut yet, or none left */
    struct room room;
};

/* What goes on beside a forward pass, in a thread of its own: the model waits for no file, as long as files keep up. */
struct files {
    const struct pipeline *pipeline;
    const struct consumer *consumer;
    struct window_shape shape;
    double *sum; /* (shape.sum_width) */
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

static enum ldar_status hand_over(struct files *files, const struct slot *slot, struct ldar_error *error)
{
    const struct window_batch *batch = &slot->batch;
    enum ldar_status status = LDAR_OK;
    for (size_t s = 0; s < batch->input.sequences && status == LDAR_OK; s++) {
        const struct window *window = &batch->windows[s];
        struct window_result result = {window->record, window->first, window->last, {0}};
        if (window->owned_end > window->owned_begin)
            result.rows = owned_rows(&slot->room, batch, s);
        if (result.rows.count > 0 && files->shape.wishes & PIPELINE_SUM)
            result.rows = summed(result.rows, files->shape.sum_width, files->sum);
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

static enum ldar_status compute_batch(const struct session *session, const struct consumer *consumer, struct slot *slot,
                                      struct ldar_error *error)
{
    const struct window_batch *batch = &slot->batch;
    struct room *room = &slot->room;
    const enum ldar_status status = room_reserve(room, &batch->input, error);
    if (status != LDAR_OK)
        return status;
    return consumer->compute
               ? consumer->compute(consumer->user, &batch->input, batch->windows, &room->outputs, room->log_p, error)
               : ldar_forward(session->context, &batch->input, NULL, &room->outputs, error);
}

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
    const enum ldar_status status = compute_batch(session, files->consumer, slot, error);
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
    enum ldar_status status = open_source(run->input, run->pipeline->genome, NULL, &source, error);
    if (status != LDAR_OK)
        return status;
    status = survey_source(source, &run->plan, survey, error);
    source_destroy(source);
    return status;
}

/* Settles what is to be computed, of all windows or those of a shard; `work` is then complete but for the applier. */
static enum ldar_status settle(struct run *run, struct work *work, struct ldar_error *error)
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
static enum ldar_status pass_done(struct run *run, const struct work *work, uint64_t done, struct ldar_error *error)
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
static enum ldar_status work_through(struct run *run, struct work *work, struct ldar_error *error)
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

static enum ldar_status compute_records(struct run *run, struct ldar_error *error)
{
    struct blob prologue = {0};
    struct work work = {
        .common = &run->input->common, .session = run->session, .applier = {open_consumer, apply_blob, run}};
    enum ldar_status status = plan_windows(run->input, run->session, &run->slots[0].room, &run->plan, error);
    if (status == LDAR_OK)
        status = window_cutter_create(run->pipeline->source, &run->plan, &run->files.cutter, error);
    if (status == LDAR_OK && run->files.shape.wishes & PIPELINE_CONTIGS) {
        status = list_contigs(run, error);
        if (status == LDAR_OK)
            status = contigs_write(run->pipeline->contigs, &prologue, error);
    }
    if (status == LDAR_OK)
        status = settle(run, &work, error);
    work.prologue = prologue.bytes;
    work.prologue_bytes = prologue.length;
    if (status == LDAR_OK)
        status = work_through(run, &work, error);
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
    run.files.shape = (struct window_shape){wishes, width, wishes & PIPELINE_LOGITS ? LDAR_SYMBOLS : width};
    run.files.sum = malloc(run.files.shape.sum_width * sizeof *run.files.sum);
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
