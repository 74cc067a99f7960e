/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline_input.h"
#include "interrupt.h"
#include "message.h"
#include "results.h"

#include "formats/sequences.h"

#include <string.h>
#include <sys/stat.h>

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

uint64_t pipeline_overlap(const struct input *input)
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
    if (pipeline_overlap(input) >= input->window) {
        say_error("option --overlap: %llu is not less than the window of %llu", (unsigned long long)input->overlap,
                  (unsigned long long)input->window);
        return EXIT_USAGE;
    }
    return shards_check(common, input->genome ? NULL : common->files[0]);
}

enum ldar_status pipeline_open_source(const struct input *input, reference *genome, const struct warnings *warnings,
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
    *pipeline = (struct pipeline){.output = input->common.output ? input->common.output : "-"};
    if (input->common.replay)
        return LDAR_OK;
    enum ldar_status status = LDAR_OK;
    if (input->genome) {
        interrupt_watch(input->genome);
        status = reference_open(input->genome, &said_warnings, &pipeline->genome, error);
    }
    if (status == LDAR_OK)
        status = pipeline_open_source(input, pipeline->genome, &said_warnings, &pipeline->source, error);
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
