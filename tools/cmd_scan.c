/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "marginals.h"
#include "message.h"
#include "pipeline.h"
#include "scan.h"

#include "formats/hub.h"
#include "formats/regions.h"

#include <stdlib.h>
#include <string.h>

struct scan {
    struct input input;
    int mode, strands; /* enum marginal_mode, enum strands */
    struct counts tracks;
    uint64_t flank;
    const char *genome_name;
};

enum strands { STRANDS_BOTH, STRANDS_FORWARD };

/* The parts in the order of the option's words. */
static const enum scan_part parts[] = {SCAN_BASES, SCAN_INFORMATION, SCAN_BOUNDARY, SCAN_SNV};

static unsigned parts_of(const struct scan *scan)
{
    unsigned wanted = 0;
    for (size_t i = 0; i < scan->tracks.count; i++)
        wanted |= parts[scan->tracks.item[i]];
    return wanted;
}

/* One pass that sees every letter is what `wt` is for. */
static int both_strands(const struct scan *scan)
{
    const int given = option_given(&scan->input.common, "strands");
    return given ? scan->strands == STRANDS_BOTH : scan->mode != MARGINALS_WT;
}

/* Where the probabilities are from. */
static const char *about(const struct scan *scan)
{
    static const char *const texts[][2] = {
        [MARGINALS_EXACT] = {"each base hidden by a pass of its own, both strands averaged",
                             "each base hidden by a pass of its own, forward strand"},
        [MARGINALS_INTERLEAVED] = {"every eighth base hidden at a time, both strands averaged",
                                   "every eighth base hidden at a time, forward strand"},
        [MARGINALS_WT] = {"no base hidden, both strands averaged", "no base hidden, forward strand"},
    };
    return texts[scan->mode][!both_strands(scan)];
}

/* ---- computing ---- */

/* What a consumer works with. */
struct scanner {
    const struct scan *scan;
    marginals *marginals;
    scan_files *files;
};

/* Passes that share hidden bases, over whole sequences. */
static enum ldar_status compute_together(const struct scanner *scanner, const struct ldar_batch *batch,
                                         const struct window *windows, float *log_p, float *prob,
                                         struct ldar_error *error)
{
    uint64_t *starts = malloc(batch->sequences * sizeof *starts);
    if (!starts)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    for (size_t s = 0; s < batch->sequences; s++)
        starts[s] = windows[s].record.start + windows[s].start;
    const struct marginals_wish wish = {.mode = (enum marginal_mode)scanner->scan->mode,
                                        .both_strands = both_strands(scanner->scan),
                                        .starts = starts,
                                        .log_p = log_p,
                                        .prob = prob};
    const enum ldar_status status = marginals_of_all(scanner->marginals, batch, &wish, error);
    free(starts);
    return status;
}

/* The bases of a batch that windows own and that are no N; returns how many. */
static size_t list_sites(const struct ldar_batch *batch, const struct window *windows, struct marginal_site *sites)
{
    size_t count = 0;
    for (size_t s = 0; s < batch->sequences; s++)
        for (size_t i = windows[s].owned_begin; i < windows[s].owned_end; i++)
            if (batch->ids[batch->offsets[s] + i] <= LDAR_T)
                sites[count++] = (struct marginal_site){s, i};
    return count;
}

/* A pass for each base: only for those that will be told of. The rows of others are zeros. */
static enum ldar_status compute_alone(const struct scanner *scanner, const struct ldar_batch *batch,
                                      const struct window *windows, float *log_p, struct ldar_error *error)
{
    enum { ROW = MARGINAL_LETTERS * sizeof(float) };
    const size_t nucleotides = batch->offsets[batch->sequences];
    struct marginal_site *sites = malloc((nucleotides + 1) * sizeof *sites);
    float *rows = malloc((nucleotides + 1) * ROW);
    enum ldar_status status = sites && rows ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "out of memory");
    if (status == LDAR_OK) {
        const size_t count = list_sites(batch, windows, sites);
        status = marginals_of_sites(scanner->marginals, batch, sites, count, both_strands(scanner->scan), rows, error);
        memset(log_p, 0, nucleotides * ROW);
        for (size_t i = 0; i < count && status == LDAR_OK; i++)
            memcpy(log_p + (batch->offsets[sites[i].sequence] + sites[i].position) * MARGINAL_LETTERS,
                   rows + i * MARGINAL_LETTERS, ROW);
    }
    free(sites);
    free(rows);
    return status;
}

static enum ldar_status compute(void *user, const struct ldar_batch *batch, const struct window *windows,
                                const struct ldar_outputs *outputs, float *log_p, struct ldar_error *error)
{
    const struct scanner *scanner = user;
    const struct marginals_wish boundaries = {.mode = MARGINALS_EXACT, .prob = outputs->prob};
    enum ldar_status status;
    if (scanner->scan->mode == MARGINALS_EXACT) {
        status = compute_alone(scanner, batch, windows, log_p, error);
        if (status == LDAR_OK && outputs->prob)
            status = marginals_of_all(scanner->marginals, batch, &boundaries, error);
    } else {
        status = compute_together(scanner, batch, windows, log_p, outputs->prob, error);
    }
    for (size_t i = 0; outputs->prob && status == LDAR_OK && i < batch->offsets[batch->sequences]; i++)
        outputs->boundary[i] = outputs->prob[i] > 0.5f;
    return status;
}

/* Over a batch, of boundaries too; 0: for each base. */
static unsigned passes_of(const struct scan *scan)
{
    static const unsigned passes[] = {
        [MARGINALS_EXACT] = 0, [MARGINALS_INTERLEAVED] = MARGINAL_PASSES, [MARGINALS_WT] = 1};
    return passes[scan->mode] * (both_strands(scan) ? 2 : 1);
}

/* ---- writing ---- */

static enum ldar_status begin_record(void *user, const struct record *record, struct ldar_error *error)
{
    const struct scanner *scanner = user;
    return scan_record(scanner->files, record->name, record->start + record->before, error);
}

static enum ldar_status take_rows(void *user, const struct pipeline_rows *rows, struct ldar_error *error)
{
    const struct scanner *scanner = user;
    return scan_rows(scanner->files, rows->ids, rows->log_p, rows->prob, rows->count, error);
}

static enum ldar_status end_record(void *user, uint64_t length, struct ldar_error *error)
{
    (void)user;
    (void)length;
    (void)error;
    return LDAR_OK;
}

static enum ldar_status open_files(void *user, const struct session *session, const struct pipeline *pipeline,
                                   struct ldar_error *error)
{
    struct scanner *scanner = user;
    const struct scan *scan = scanner->scan;
    char *stem = scan->genome_name ? NULL : hub_genome(scan->input.genome);
    const struct scan_plan plan = {.prefix = pipeline->output,
                                   .parts = parts_of(scan),
                                   .contigs = pipeline->contigs,
                                   .provenance = &session->provenance,
                                   .about = about(scan),
                                   .genome = scan->genome_name ? scan->genome_name : stem};
    const enum ldar_status status =
        plan.genome ? scan_create(&plan, &scanner->files, error) : fail(error, LDAR_ERROR_MEMORY, "out of memory");
    free(stem);
    return status;
}

static enum ldar_status commit_files(void *user, struct ldar_error *error)
{
    const struct scanner *scanner = user;
    return scan_commit(scanner->files, error);
}

static void abandon_files(void *user)
{
    const struct scanner *scanner = user;
    scan_abandon(scanner->files);
}

/*
 * Bytes for a nucleotide of a batch beside the passes: results of two batches and the cutter's letters, which are the
 * pipeline's, and sites with their rows.
 */
enum {
    ROOM_BYTES = 2 * ((MARGINAL_LETTERS + 1) * sizeof(float) + 1) + 4,
    SITE_BYTES = sizeof(struct marginal_site) + MARGINAL_LETTERS * sizeof(float)
};

static enum ldar_status create_marginals(const struct scan *scan, const struct session *session, marginals **out,
                                         struct ldar_error *error)
{
    const size_t window = (size_t)scan->input.window, max_bytes = (size_t)scan->input.common.max_memory;
    const size_t each = ROOM_BYTES + (scan->mode == MARGINALS_EXACT ? SITE_BYTES : 0);
    size_t most, batch;
    /* Without a limit, the batch is the largest that the pipeline will cut. */
    enum ldar_status status = marginals_plan(session->context, window, 0, 0, &most, error);
    if (status == LDAR_OK)
        status = marginals_plan(session->context, window, max_bytes, most * each, &batch, error);
    return status == LDAR_OK ? marginals_create(session->context, batch, out, error) : status;
}

static enum ldar_status scan_genome(const struct scan *scan, const struct session *session, struct pipeline *pipeline,
                                    struct ldar_error *error)
{
    const unsigned wanted = parts_of(scan);
    const unsigned wishes = PIPELINE_CONTIGS | (wanted & SCAN_OF_MARGINALS ? PIPELINE_MARGINALS | PIPELINE_LETTERS : 0)
                            | (wanted & SCAN_BOUNDARY ? PIPELINE_BOUNDARY : 0);
    struct scanner scanner = {.scan = scan};
    const struct consumer consumer = {.user = &scanner,
                                      .open = open_files,
                                      .begin = begin_record,
                                      .rows = take_rows,
                                      .end = end_record,
                                      .commit = commit_files,
                                      .abandon = abandon_files,
                                      .compute = wanted & SCAN_OF_MARGINALS ? compute : NULL,
                                      .passes = passes_of(scan)};
    enum ldar_status status = LDAR_OK;
    if (!scan->input.common.replay)
        status = create_marginals(scan, session, &scanner.marginals, error);
    if (status == LDAR_OK)
        status = pipeline_run(&scan->input, session, pipeline, wishes, &consumer, error);
    marginals_destroy(scanner.marginals);
    return status;
}

static enum ldar_status write_scan(const struct scan *scan, const struct session *session, struct ldar_error *error)
{
    struct pipeline pipeline;
    enum ldar_status status = pipeline_open(&scan->input, &pipeline, error);
    if (status != LDAR_OK)
        return status;
    status = scan_genome(scan, session, &pipeline, error);
    pipeline_close(&pipeline);
    return status;
}

/* ---- the command ---- */

static enum exit_status check(const struct scan *scan)
{
    const char *prefix = scan->input.common.output;
    if (!scan->input.genome) {
        say_error("no genome: name one with -f REF.fa");
        return EXIT_USAGE;
    }
    if (!prefix || !*prefix || strcmp(prefix, "-") == 0 || prefix[strlen(prefix) - 1] == '/') {
        say_error("no output: -o PREFIX is what the names of its files begin with, as -o tracks/yeast");
        return EXIT_USAGE;
    }
    if (scan->genome_name && (!*scan->genome_name || strpbrk(scan->genome_name, " \t\r\n"))) {
        say_error("option --genome-name: '%s' is no name of a genome", scan->genome_name);
        return EXIT_USAGE;
    }
    return pipeline_check(&scan->input);
}

static enum exit_status run(void *settings)
{
    struct scan *scan = settings;
    struct session session;
    struct ldar_error error;
    enum exit_status status = check(scan);
    scan->input.in_order = 1;
    scan->input.flank = scan->flank;
    if (status == EXIT_DONE)
        status = session_open(&scan->input.common, &session);
    if (status != EXIT_DONE)
        return status;
    if (write_scan(scan, &session, &error) != LDAR_OK)
        status = failed(&error);
    session_close(&session);
    return status;
}

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "PREFIX",
    .place = offsetof(struct common, output),
    .help = "What the names of all files begin with.",
};

static const struct option mode_option = {
    .name = "mode",
    .kind = OPTION_CHOICE,
    .argument = MARGINAL_MODES,
    .place = offsetof(struct scan, mode),
    .initial = "interleaved",
    .help =
        "How a base is hidden from the model that tells of it: alone, in a pass of its own, which only short regions "
        "can afford; with every eighth base, in eight passes; or, with 'wt', not at all, in one pass.",
};

static const struct option strands_option = {
    .name = "strands",
    .kind = OPTION_CHOICE,
    .argument = "both|forward",
    .place = offsetof(struct scan, strands),
    .help = "Average what the model says of either strand, in twice as many passes (default; with --mode wt: forward).",
};

static const struct option tracks_option = {
    .name = "tracks",
    .kind = OPTION_CHOICES,
    .argument = "bases|information|boundary|snv",
    .place = offsetof(struct scan, tracks),
    .initial = "bases,information,boundary,snv",
    .help = "The files to write: the probability of each letter, information, boundary probability, table of variants. "
            "The boundary probability alone takes one short pass.",
};

static const struct option flank_option = {
    .name = "flank",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct scan, flank),
    .initial = "2048",
    .max = 1 << 30,
    .help =
        "Nucleotides of the genome on either side of a region that the model sees too. At the default every base has "
        "at least the context that it has when the whole genome is scanned.",
};

static const struct option genome_name_option = {
    .name = "genome-name",
    .kind = OPTION_TEXT,
    .argument = "NAME",
    .place = offsetof(struct scan, genome_name),
    .help =
        "What genome browsers call the genome, as hg38 or sacCer3, for the hub (default: the file's name without its "
        "ending).",
};

static const struct option *const options[] = {&option_model,  &output_option,  &mode_option,     &strands_option,
                                               &tracks_option, &flank_option,   OPTIONS_INPUT,    &genome_name_option,
                                               OPTIONS_LONG,   OPTIONS_COMPUTE, OPTIONS_MESSAGES, NULL};

const struct command command_scan = {
    .name = "scan",
    .files = "",
    .summary = "What the model expects at every base of a genome, as tracks and a table",
    .description =
        "For every base of a genome or its regions: the probability of A, C, G and T with the base itself hidden, the "
        "information that they hold, and the probability that a token begins, as bigWig files; and all "
        "single-nucleotide "
        "variants with log(p_alt / p_ref) as a table that tabix finds rows in. Regions are sorted, those that overlap "
        "are merged, and each is computed with the genome on either side of it.\n"
        "\n"
        "  PREFIX.A.bw .C.bw .G.bw .T.bw   probability of each letter, with the base hidden\n"
        "  PREFIX.information.bw           2 less the entropy of the four, in bits\n"
        "  PREFIX.boundary.bw              probability that a token begins\n"
        "  PREFIX.snv.tsv.gz, .tbi         chrom pos ref alt llr p_ref p_alt\n"
        "  PREFIX.hub.txt                  the tracks for the UCSC genome browser and IGV\n"
        "  PREFIX.json                     what made them\n"
        "\n"
        "  ldar scan -f sacCer3.fa -r chrI -o yeast\n"
        "  ldar scan -f hg38.fa -R promoters.bed --tracks snv -o promoters\n"
        "  tabix promoters.snv.tsv.gz chr20:1000000-1000100\n",
    .min_files = 0,
    .max_files = 0,
    .options = options,
    .settings = sizeof(struct scan),
    .run = run,
};
