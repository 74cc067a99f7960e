/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "pipeline.h"

#include "formats/tracks.h"

struct segment {
    struct input input;
    int format; /* enum track_format */
};

/* A track in the making. */
struct tracking {
    const struct segment *segment;
    track *out;
};

static enum ldar_status open_track(void *user, const struct session *session, const struct pipeline *pipeline,
                                   struct ldar_error *error)
{
    struct tracking *tracking = user;
    return track_create(pipeline->output, (enum track_format)tracking->segment->format, pipeline->contigs,
                        &session->provenance, &tracking->out, error);
}

static enum ldar_status begin_record(void *user, const struct record *record, struct ldar_error *error)
{
    const struct tracking *tracking = user;
    return track_record(tracking->out, record->name, record->start, error);
}

static enum ldar_status take_rows(void *user, const struct pipeline_rows *rows, struct ldar_error *error)
{
    const struct tracking *tracking = user;
    return track_write(tracking->out, rows->prob, rows->boundary, rows->count, error);
}

static enum ldar_status end_record(void *user, uint64_t length, struct ldar_error *error)
{
    const struct tracking *tracking = user;
    (void)length;
    return track_record_end(tracking->out, error);
}

static enum ldar_status commit_track(void *user, struct ldar_error *error)
{
    const struct tracking *tracking = user;
    return track_commit(tracking->out, error);
}

static void abandon_track(void *user)
{
    const struct tracking *tracking = user;
    track_abandon(tracking->out);
}

static enum exit_status run(void *settings)
{
    const struct segment *segment = settings;
    struct tracking tracking = {segment, NULL};
    const struct consumer consumer = {
        .user = &tracking,
        .open = open_track,
        .begin = begin_record,
        .rows = take_rows,
        .end = end_record,
        .commit = commit_track,
        .abandon = abandon_track,
    };
    const unsigned contigs = segment->format == TRACK_BIGWIG ? PIPELINE_CONTIGS : 0;
    return pipeline_command(&segment->input, PIPELINE_BOUNDARY | contigs, &consumer);
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

static const struct option *const options[] = {&option_model, &output_option,  &format_option,   OPTIONS_INPUT,
                                               OPTIONS_LONG,  OPTIONS_COMPUTE, OPTIONS_MESSAGES, NULL};

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
