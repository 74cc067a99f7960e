/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "message.h"
#include "pipeline.h"

#include "formats/tracks.h"

struct segment {
    struct input input;
    int format; /* enum track_format */
};

static enum ldar_status begin_record(void *user, const struct record *record, struct ldar_error *error)
{
    return track_record(user, record->name, record->start, error);
}

static enum ldar_status take_rows(void *user, const struct pipeline_rows *rows, struct ldar_error *error)
{
    return track_write(user, rows->prob, rows->boundary, rows->count, error);
}

static enum ldar_status end_record(void *user, uint64_t length, struct ldar_error *error)
{
    (void)length;
    return track_record_end(user, error);
}

static enum ldar_status create_track(const struct segment *segment, const struct session *session,
                                     const struct pipeline *pipeline, track **out, struct ldar_error *error)
{
    const struct common *common = &segment->input.common;
    const char *path = common->output ? common->output : "-";
    struct contigs scanned = {0};
    const struct contigs *contigs = pipeline->genome ? reference_contigs(pipeline->genome) : &scanned;
    enum ldar_status status = LDAR_OK;
    if (segment->format == TRACK_BIGWIG && !pipeline->genome)
        status = contigs_scan(common->files[0], &scanned, error);
    if (status == LDAR_OK)
        status = track_create(path, (enum track_format)segment->format, contigs, &session->provenance, out, error);
    contigs_free(&scanned);
    return status;
}

static enum ldar_status write_track(const struct segment *segment, const struct session *session,
                                    struct ldar_error *error)
{
    struct pipeline pipeline;
    track *out = NULL;
    enum ldar_status status = pipeline_open(&segment->input, &pipeline, error);
    if (status != LDAR_OK)
        return status;
    status = create_track(segment, session, &pipeline, &out, error);
    if (status == LDAR_OK) {
        struct consumer consumer = {.user = out, .begin = begin_record, .rows = take_rows, .end = end_record};
        status = pipeline_run(&segment->input, session, &pipeline, PIPELINE_BOUNDARY, &consumer, error);
        if (status == LDAR_OK)
            status = track_commit(out, error);
        else
            track_abandon(out);
    }
    pipeline_close(&pipeline);
    return status;
}

static enum exit_status run(void *settings)
{
    const struct segment *segment = settings;
    struct session session;
    struct ldar_error error;
    enum exit_status status = pipeline_check(&segment->input);
    if (status == EXIT_DONE)
        status = session_open(&segment->input.common, &session);
    if (status != EXIT_DONE)
        return status;
    if (write_track(segment, &session, &error) != LDAR_OK)
        status = failed(&error);
    session_close(&session);
    return status;
}

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "FILE",
    .place = offsetof(struct common, output),
    .help = "The file to write (default: the standard output, which bigWig cannot be).",
};

static const struct option format_option = {
    .name = "output-format",
    .letter = 'O',
    .kind = OPTION_CHOICE,
    .argument = "bed|bedgraph|bigwig",
    .place = offsetof(struct segment, format),
    .initial = "bed",
    .help = "Tokens as BED, or the boundary probability of each base as bedGraph or bigWig.",
};

static const struct option *const options[] = {
    &option_model, &output_option, &format_option, OPTIONS_INPUT, OPTIONS_COMPUTE, OPTIONS_MESSAGES, NULL};

const struct command command_segment = {
    .name = "segment",
    .files = "[IN]",
    .summary = "The learned tokens of sequences, or the probability that one begins",
    .description =
        "Reads the records of IN (FASTA or FASTQ; plain, gzip or BGZF; '-' is the standard input), or with -f regions "
        "of a genome. BED has a line for each token, in order and without gaps: record, start, end (0-based, "
        "half-open), '.', 1000 times the probability of the boundary that opens it, '.'. With -f the coordinates are "
        "those of the genome.\n"
        "\n"
        "  ldar segment genes.fa -o tokens.bed\n"
        "  ldar segment -m model.safetensors -f genome.fa -R loci.bed -O bigwig -o boundaries.bw\n",
    .min_files = 0,
    .max_files = 1,
    .options = options,
    .settings = sizeof(struct segment),
    .run = run,
};
