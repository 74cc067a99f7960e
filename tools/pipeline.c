/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline.h"
#include "interrupt.h"
#include "message.h"

#include "formats/sequences.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Windows shorter than this share a batch: enough rows for many cores, and a small part of a full window's memory. */
static const size_t batch_nucleotides = 16384;

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
    return floats;
}

static void room_free(struct room *room)
{
    struct ldar_outputs *o = &room->outputs;
    void *arrays[] = {o->logits, o->hidden, o->encoder, o->prob, o->boundary, o->chunks, o->chunk_offsets};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
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
    if ((!o->logits && wishes & PIPELINE_LOGITS) || (!o->hidden && wishes & PIPELINE_HIDDEN)
        || (!o->encoder && wishes & PIPELINE_ENCODER) || ((!o->prob || !o->boundary) && wishes & PIPELINE_BOUNDARY)
        || ((!o->chunks || !o->chunk_offsets) && wishes & PIPELINE_CHUNKS)) {
        room_free(room);
        return fail(error, LDAR_ERROR_MEMORY,
                    "no memory for the results of %zu nucleotides; a smaller --window needs less", count);
    }
    room->nucleotides = count;
    room->sequences = sequences;
    return LDAR_OK;
}

/* ---- batches that fit ---- */

/* Bytes for a batch: the context's, the results', and the cutter's two windows of nucleotides. */
static size_t batch_bytes(const struct session *session, const struct room *room, size_t nucleotides)
{
    return ldar_context_bytes(session->context, nucleotides)
           + nucleotides * (row_floats(room->wishes, room->width) * sizeof(float) + 4);
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
    size_t window = (size_t)input->window, max_bytes = (size_t)input->common.max_memory;
    *plan = (struct window_plan){window, (size_t)overlap_of(input),
                                 window > batch_nucleotides ? window : batch_nucleotides};
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
    struct pipeline_rows rows = {.count = end - first};
    rows.logits = o->logits ? o->logits + first * LDAR_SYMBOLS : NULL;
    rows.hidden = o->hidden ? o->hidden + first * room->width : NULL;
    rows.encoder = o->encoder ? o->encoder + first * room->width : NULL;
    rows.prob = o->prob ? o->prob + first : NULL;
    rows.boundary = o->boundary ? o->boundary + first : NULL;
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

static enum ldar_status run_batches(const struct session *session, const struct pipeline *pipeline, struct room *room,
                                    window_cutter *cutter, const struct consumer *consumer, struct ldar_error *error)
{
    struct window_batch batch;
    double done = 0;
    for (;;) {
        enum ldar_status status = window_cutter_next(cutter, &batch, error);
        if (status == LDAR_OK && batch.input.sequences == 0)
            break;
        if (status == LDAR_OK)
            status = room_reserve(room, &batch.input, error);
        if (status == LDAR_OK)
            status = ldar_forward(session->context, &batch.input, NULL, &room->outputs, error);
        if (status == LDAR_OK)
            status = hand_over(room, &batch, consumer, error);
        if (status != LDAR_OK)
            return status;
        for (size_t s = 0; s < batch.input.sequences; s++)
            done += (double)(batch.windows[s].owned_end - batch.windows[s].owned_begin);
        progress_update(done, fraction_done(pipeline->source, done));
    }
    progress_end(done);
    return LDAR_OK;
}

enum ldar_status pipeline_run(const struct input *input, const struct session *session, const struct pipeline *pipeline,
                              unsigned wishes, const struct consumer *consumer, struct ldar_error *error)
{
    /* The tokens of a window are told by its boundaries. */
    if (wishes & PIPELINE_CHUNKS)
        wishes |= PIPELINE_BOUNDARY;
    struct room room = {.outputs = {.size = sizeof room.outputs},
                        .wishes = wishes,
                        .width = ldar_model_config(session->model)->stage[0].width};
    struct window_plan plan;
    window_cutter *cutter = NULL;
    enum ldar_status status = plan_windows(input, session, &room, &plan, error);
    if (status == LDAR_OK)
        status = window_cutter_create(pipeline->source, &plan, &cutter, error);
    if (status == LDAR_OK) {
        progress_begin("nt");
        status = run_batches(session, pipeline, &room, cutter, consumer, error);
    }
    if (status == LDAR_OK) {
        struct source_progress progress = source_progress(pipeline->source);
        if (progress.unknown > 0)
            say_note("%llu of %llu letters are N to the model", (unsigned long long)progress.unknown,
                     (unsigned long long)progress.nucleotides);
    }
    window_cutter_destroy(cutter);
    room_free(&room);
    return status;
}
