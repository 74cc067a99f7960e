/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline.h"
#include "interrupt.h"
#include "message.h"

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

enum { BASES = 4 }; /* A, C, G, T */

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
    return EXIT_DONE;
}

static void warn(void *user, const char *message)
{
    (void)user;
    say_warning("%s", message);
}

enum ldar_status pipeline_open(const struct input *input, struct pipeline *pipeline, struct ldar_error *error)
{
    static const struct warnings warnings = {warn, NULL};
    *pipeline = (struct pipeline){NULL, NULL};
    if (!input->genome)
        return sequences_open(input->common.files[0], &warnings, &pipeline->source, error);
    interrupt_watch(input->genome);
    enum ldar_status status = reference_open(input->genome, &warnings, &pipeline->genome, error);
    if (status != LDAR_OK)
        return status;
    if (input->bed)
        status = regions_from_bed(pipeline->genome, input->bed, &pipeline->source, error);
    else if (input->regions.count > 0)
        status = regions_parse(pipeline->genome, input->regions.item, input->regions.count, &pipeline->source, error);
    else
        status = regions_all(pipeline->genome, &pipeline->source, error);
    if (status != LDAR_OK)
        pipeline_close(pipeline);
    return status;
}

void pipeline_close(struct pipeline *pipeline)
{
    source_destroy(pipeline->source);
    reference_close(pipeline->genome);
    *pipeline = (struct pipeline){NULL, NULL};
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
    floats += wishes & PIPELINE_MARGINALS ? BASES : 0;
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
    room->log_p = room_for(wishes & PIPELINE_MARGINALS, count, BASES * sizeof(float));
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
    rows.log_p = room->log_p ? room->log_p + first * BASES : NULL;
    if (o->chunks) {
        size_t chunk = o->chunk_offsets[s] + count_boundaries(o->boundary, begin, first);
        rows.chunks = o->chunks + chunk * room->width;
        rows.chunk_count = count_boundaries(o->boundary, first, end);
    }
    return rows;
}

static enum ldar_status hand_over(const struct room *room, const struct window_batch *batch,
                                  const struct consumer *consumer, struct ldar_error *error)
{
    for (size_t s = 0; s < batch->input.sequences; s++) {
        const struct window *window = &batch->windows[s];
        enum ldar_status status = window->first ? consumer->begin(consumer->user, &window->record, error) : LDAR_OK;
        if (status == LDAR_OK && window->owned_end > window->owned_begin) {
            struct pipeline_rows rows = owned_rows(room, batch, s);
            status = consumer->rows(consumer->user, &rows, error);
        }
        if (status == LDAR_OK && window->last)
            status = consumer->end(consumer->user, window->record.length, error);
        if (status != LDAR_OK)
            return status;
    }
    return LDAR_OK;
}

/* Of the whole input, of which more is read than computed; negative when its end is not known. */
static double fraction_done(const source *source, double nucleotides)
{
    struct source_progress progress = source_progress(source);
    if (progress.total == 0 || progress.nucleotides == 0)
        return -1;
    return nucleotides / (double)progress.nucleotides * (double)progress.done / (double)progress.total;
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
    window_cutter *cutter;
    struct slot *slot; /* the batch before, to be handed over; then the batch after */
    double done;       /* nucleotides handed over */
    double seconds;    /* that reading and writing took */
    enum ldar_status over, cut;
    struct ldar_error over_error, cut_error;
};

static enum ldar_status cut_slot(struct files *files, struct slot *slot, struct ldar_error *error)
{
    const double start = seconds_now();
    const enum ldar_status status = window_cutter_next(files->cutter, &slot->batch, error);
    files->seconds += seconds_now() - start;
    return status;
}

static enum ldar_status hand_over_slot(struct files *files, const struct slot *slot, struct ldar_error *error)
{
    const struct window_batch *batch = &slot->batch;
    const double start = seconds_now();
    const enum ldar_status status = hand_over(&slot->room, batch, files->consumer, error);
    files->seconds += seconds_now() - start;
    for (size_t s = 0; s < batch->input.sequences; s++)
        files->done += (double)(batch->windows[s].owned_end - batch->windows[s].owned_begin);
    if (status == LDAR_OK && batch->input.sequences > 0)
        progress_update(files->done, fraction_done(files->pipeline->source, files->done));
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

enum ldar_status pipeline_run(const struct input *input, const struct session *session, const struct pipeline *pipeline,
                              unsigned wishes, const struct consumer *consumer, struct ldar_error *error)
{
    /* The tokens of a window are told by its boundaries. */
    if (wishes & PIPELINE_CHUNKS)
        wishes |= PIPELINE_BOUNDARY;
    const struct room room = {.outputs = {.size = sizeof room.outputs},
                              .wishes = wishes,
                              .width = ldar_model_config(session->model)->stage[0].width};
    struct slot slots[2] = {{.room = room}, {.room = room}};
    struct files files = {.pipeline = pipeline, .consumer = consumer};
    struct account account = {.started = seconds_now()};
    struct window_plan plan;
    enum ldar_status status = plan_windows(input, session, &room, &plan, error);
    if (status == LDAR_OK)
        status = window_cutter_create(pipeline->source, &plan, &files.cutter, error);
    if (status == LDAR_OK) {
        progress_begin("nt");
        status = run_batches(session, &files, slots, &account, error);
    }
    if (status == LDAR_OK) {
        progress_end(files.done);
        say_account(session, &files, &account);
        say_unknown(pipeline->source);
    }
    window_cutter_destroy(files.cutter);
    room_free(&slots[0].room);
    room_free(&slots[1].room);
    return status;
}
