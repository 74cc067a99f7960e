/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "forecast.h"
#include "message.h"
#include "results.h"
#include "score.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

/* ALTs that --dry-run computes. */
enum { SAMPLE = 24 };

/* All that is open while the command runs. */
struct work {
    const struct score *score;
    struct session session;
    struct scoring scoring;
    struct score_survey survey;
    char *header;
    variant_writer *writer;
    results *results;
};

/* ---- usage ---- */

static int same_file(const char *a, const char *b)
{
    struct stat x, y;
    return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev
           && x.st_ino == y.st_ino;
}

static enum exit_status check(struct score *score)
{
    const struct common *common = &score->common;
    const char *const read[] = {common->files[0], score->genome, score->bed, common->model};
    if (!score->genome) {
        say_error("option -f is missing: the genome that the variants are of, as -f REF.fa");
        return EXIT_USAGE;
    }
    if (score->regions.count > 0 && score->bed) {
        say_error("options -r and -R exclude each other");
        return EXIT_USAGE;
    }
    if (score->sample && !score->phased) {
        say_error("option --sample has a meaning with --phased alone");
        return EXIT_USAGE;
    }
    if (score->phased && !option_given(common, "mode"))
        score->mode = MARGINALS_EXACT;
    if (score->phased && score->mode == MARGINALS_INTERLEAVED) {
        say_error(
            "option --mode: with --phased each variant has windows of its own, which share no passes: exact or wt");
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (same_file(common->output, read[i])) {
            say_error("option -o: %s is read and would be replaced: name another file", common->output);
            return EXIT_USAGE;
        }
    return shards_check(common, common->files[0]);
}

/* ---- output ---- */

static const char *output_of(const struct score *score)
{
    return score->common.output ? score->common.output : "-";
}

static enum ldar_status make_header(struct work *work, struct ldar_error *error)
{
    const struct contigs *contigs = reference_contigs(work->scoring.genome);
    size_t added;
    work->header = variant_reader_header(work->scoring.reader, contigs, score_fields, SCORE_FIELDS,
                                         &work->session.provenance, &added, error);
    if (!work->header)
        return error->status;
    if (added > 0)
        say_warning("%s: its header lacks %zu of the %zu contigs of the genome, which are added",
                    work->score->common.files[0], added, contigs->count);
    return LDAR_OK;
}

static enum ldar_status open_writer(void *user, struct ldar_error *error)
{
    struct work *work = user;
    return variant_writer_create(output_of(work->score), work->header, &work->writer, error);
}

static enum ldar_status put_lines(void *user, const void *blob, size_t bytes, struct ldar_error *error)
{
    struct work *work = user;
    return variant_writer_put(work->writer, blob, bytes, error);
}

static enum ldar_status commit(struct work *work, struct ldar_error *error)
{
    variant_writer *writer = work->writer;
    work->writer = NULL;
    return writer ? variant_writer_commit(writer, error) : LDAR_OK;
}

/* The parts hold the lines, and before them the header. */
static enum ldar_status merge_parts(struct work *work, struct ldar_error *error)
{
    const struct replay *replay = work->score->common.replay;
    const struct applier applier = {NULL, put_lines, work};
    size_t bytes;
    const void *header = replay_prologue(replay, &bytes);
    work->header = calloc(bytes + 1, 1);
    if (!work->header)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    memcpy(work->header, header, bytes);
    enum ldar_status status = open_writer(work, error);
    if (status == LDAR_OK)
        status = replay_apply(replay, &applier, error);
    return status == LDAR_OK ? commit(work, error) : status;
}

/* ---- computing ---- */

static uint32_t checksum_of(const struct contigs *contigs)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < contigs->count; i++) {
        sum = (uint32_t)crc32_z(sum, (const Bytef *)contigs->names[i], strlen(contigs->names[i]) + 1);
        sum = (uint32_t)crc32_z(sum, (const Bytef *)&contigs->lengths[i], sizeof contigs->lengths[i]);
    }
    return sum;
}

/* What is computed, of all units or those of a shard, and how two shards know that they are of one run. */
static enum ldar_status settle(struct work *work, struct workload *load, struct shard shard, struct ldar_error *error)
{
    const struct common *common = &work->score->common;
    load->prologue = work->header;
    load->prologue_bytes = strlen(work->header);
    if (!common->shard && !common->resume)
        return LDAR_OK;
    const enum ldar_status status = scoring_survey(&work->scoring, &work->survey, error);
    load->units = work->survey.units;
    load->first = shard_border(work->survey.units, shard);
    identity_add_session(&load->identity, common, &work->session);
    identity_add(&load->identity, "number of records", "%llu", (unsigned long long)work->survey.records);
    identity_add(&load->identity, "records' checksum", "%08lx", (unsigned long)work->survey.checksum);
    identity_add(&load->identity, "genome's contigs", "%08lx",
                 (unsigned long)checksum_of(reference_contigs(work->scoring.genome)));
    return status;
}

/* Units `first` .. `past` - 1. */
static enum ldar_status compute_units(struct work *work, uint64_t first, uint64_t past, struct ldar_error *error)
{
    struct scoring *scoring = &work->scoring;
    struct variant_text blob = {0};
    enum ldar_status status = LDAR_OK;
    int there = 0;
    uint64_t unit = 0;
    progress_begin("variants");
    do {
        status = scoring_read(scoring, &there, &unit, error);
        if (status != LDAR_OK || !there || unit >= past)
            break;
        if (unit >= first)
            status = scoring_compute(scoring, &blob, error);
        if (status == LDAR_OK && unit >= first)
            status = results_put(work->results, blob.bytes, blob.length, error);
        scoring_pass(scoring);
        progress_update((double)scoring->records, -1);
    } while (status == LDAR_OK);
    free(blob.bytes);
    if (status == LDAR_OK)
        progress_end((double)scoring->records);
    return status;
}

static enum ldar_status compute(struct work *work, struct ldar_error *error)
{
    const struct shard shard = shard_of(&work->score->common), next = {shard.index + 1, shard.count};
    struct workload load = {
        .common = &work->score->common, .session = &work->session, .applier = {open_writer, put_lines, work}};
    uint64_t done;
    enum ldar_status status = settle(work, &load, shard, error);
    const uint64_t past = shard.index + 1 < shard.count ? shard_border(load.units, next) : UINT64_MAX;
    if (status == LDAR_OK)
        status = results_begin(&load, &work->results, &done, error);
    if (status == LDAR_OK && done != RESULTS_ALL) {
        status = compute_units(work, load.first + done, past, error);
        if (status == LDAR_OK)
            status = results_complete(work->results, error);
    }
    if (status == LDAR_OK)
        status = commit(work, error);
    results_close(work->results, status == LDAR_OK);
    identity_free(&load.identity);
    return status;
}

/* ---- --dry-run ---- */

static enum ldar_status try_sample(void *user, struct ldar_error *error)
{
    struct work *work = user;
    return scoring_try(&work->scoring, SAMPLE, error);
}

/* The nucleotides that the shard's units come to, and seconds for each, as the first of them tells. */
static enum ldar_status count_units(struct work *work, uint64_t first, uint64_t past, double *seconds, double *counted,
                                    struct ldar_error *error)
{
    const struct forecast_pass pass = {try_sample, work};
    struct scoring *scoring = &work->scoring;
    int there, measured = 0;
    uint64_t unit;
    enum ldar_status status = scoring_read(scoring, &there, &unit, error);
    double before = 0, sample = 0;
    *counted = *seconds = 0;
    while (status == LDAR_OK && there && unit < past) {
        if (unit >= first && !measured) {
            status = forecast_seconds(&pass, seconds, error);
            effects_count(scoring->effects, 1);
            before = effects_nucleotides(scoring->effects);
            if (status == LDAR_OK)
                status = try_sample(work, error);
            sample = effects_nucleotides(scoring->effects) - before;
            before += sample;
            measured = 1;
        }
        if (status == LDAR_OK && unit >= first)
            status = scoring_try(scoring, SIZE_MAX, error);
        scoring_pass(scoring);
        if (status == LDAR_OK)
            status = scoring_read(scoring, &there, &unit, error);
    }
    *counted = measured ? effects_nucleotides(scoring->effects) - before : 0;
    *seconds = sample > 0 ? *seconds / sample : 0;
    return status;
}

/* Characters that the fields add to a record. */
static const double added_bytes = 58;

static enum ldar_status foretell(struct work *work, struct ldar_error *error)
{
    const struct shard shard = shard_of(&work->score->common), next = {shard.index + 1, shard.count};
    const struct ldar_config *config = ldar_model_config(work->session.model);
    enum ldar_status status = scoring_survey(&work->scoring, &work->survey, error);
    const double share = 1 / (double)shard.count, records = share * (double)work->survey.records;
    const size_t window = (size_t)work->score->window;
    double seconds, counted;
    if (status == LDAR_OK)
        status = count_units(work, shard_border(work->survey.units, shard), shard_border(work->survey.units, next),
                             &seconds, &counted, error);
    if (status != LDAR_OK)
        return status;
    const double lines = share * (double)work->survey.bytes + records * added_bytes + (double)strlen(work->header);
    forecast_print(&(struct forecast){
        .records = (uint64_t)(records + 0.5),
        .bases = (uint64_t)(share * (double)work->survey.letters + 0.5),
        .windows = (uint64_t)(counted / (double)window + 0.5),
        .computed = counted,
        .passes = 1,
        .flop = counted * ldar_forward_flops(config, window, 4),
        .rate = seconds > 0 ? 1 / seconds : -1,
        .seconds = counted * seconds,
        .memory = forecast_resident(),
        .output = variant_path_is_indexed(output_of(work->score)) ? -1 : lines,
    });
    return LDAR_OK;
}

/* ---- the end ---- */

/* How many ALTs have no numbers, by reason. */
static void say_notes(const struct scoring *scoring)
{
    char list[512] = "";
    uint64_t noted = 0, odd = 0;
    for (int n = NOTE_NONE + 1; n < NOTES; n++) {
        const size_t length = strlen(list);
        if (scoring->notes[n] > 0)
            snprintf(list + length, sizeof list - length, "%s%llu %s", noted > 0 ? ", " : "",
                     (unsigned long long)scoring->notes[n], call_note_name((enum call_note)n));
        noted += scoring->notes[n];
        odd += n <= NOTE_REF_MISMATCH ? scoring->notes[n] : 0;
    }
    const char *const format = "%llu records; %llu ALTs have numbers, %llu have none: %s";
    if (noted == 0)
        say_note("%llu records; all %llu ALTs have numbers", (unsigned long long)scoring->records,
                 (unsigned long long)scoring->notes[NOTE_NONE]);
    else if (odd > 0)
        say_warning(format, (unsigned long long)scoring->records, (unsigned long long)scoring->notes[NOTE_NONE],
                    (unsigned long long)noted, list);
    else
        say_note(format, (unsigned long long)scoring->records, (unsigned long long)scoring->notes[NOTE_NONE],
                 (unsigned long long)noted, list);
}

static enum ldar_status score_variants(struct work *work, struct ldar_error *error)
{
    const struct common *common = &work->score->common;
    const int ordered = common->output && !common->shard && variant_path_is_indexed(common->output);
    if (common->replay)
        return merge_parts(work, error);
    enum ldar_status status = scoring_open(work->score, &work->session, ordered, &work->scoring, error);
    if (status == LDAR_OK)
        status = make_header(work, error);
    if (status != LDAR_OK || common->dry_run)
        return status == LDAR_OK ? foretell(work, error) : status;
    status = compute(work, error);
    if (status == LDAR_OK) {
        say_detail("%.0f nt put through the model", effects_nucleotides(work->scoring.effects));
        say_notes(&work->scoring);
    }
    return status;
}

static enum exit_status run(void *settings)
{
    struct score *score = settings;
    struct work work = {.score = score};
    struct ldar_error error;
    enum exit_status status = score->common.replay ? EXIT_DONE : check(score);
    if (status == EXIT_DONE)
        status = session_open(&score->common, &work.session);
    if (status != EXIT_DONE)
        return status;
    if (score_variants(&work, &error) != LDAR_OK)
        status = failed(&error);
    variant_writer_abandon(work.writer);
    scoring_close(&work.scoring);
    session_close(&work.session);
    free(work.header);
    return status;
}

/* ---- options ---- */

static const struct option reference_option = {
    .name = "reference",
    .letter = 'f',
    .kind = OPTION_TEXT,
    .argument = "REF.fa",
    .place = offsetof(struct score, genome),
    .help = "The genome that the variants are of (FASTA, plain or BGZF). Its .fai index is made when absent.",
};

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "FILE",
    .place = offsetof(struct common, output),
    .help =
        "The file to write, in the form that its name says: .vcf.gz and .bcf with an index (.csi), anything else as "
        "plain VCF (default: the standard output).",
};

static const struct option region_option = {
    .name = "region",
    .letter = 'r',
    .kind = OPTION_TEXTS,
    .argument = "REGION",
    .place = offsetof(struct score, regions),
    .help = "Only records whose REF touches this region, as chr:from-to, 1-based and closed; may be given again. The "
            "file is read from its beginning all the same, and needs no index.",
};

static const struct option regions_option = {
    .name = "regions",
    .letter = 'R',
    .kind = OPTION_TEXT,
    .argument = "FILE.bed",
    .place = offsetof(struct score, bed),
    .help = "Only records that touch the regions of a BED file.",
};

static const struct option mode_option = {
    .name = "mode",
    .kind = OPTION_CHOICE,
    .argument = MARGINAL_MODES,
    .place = offsetof(struct score, mode),
    .initial = "interleaved",
    .help = "How bases are hidden for LDAR_LLR. exact: one variant a pass, in the middle of its window. interleaved: "
            "every eighth base of a window, so that its variants share the passes. wt: not at all, one pass.",
};

static const struct option window_option = {
    .name = "window",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct score, window),
    .initial = "4096",
    .min = EFFECT_WINDOW_MIN,
    .max = 1 << 24,
    .help = "Nucleotides of the windows in which bases are hidden; with --mode exact and --phased of all windows. "
            "Alleles of "
            "more than a fourth of it have no numbers.",
};

static const struct option phased_option = {
    .name = "phased",
    .kind = OPTION_FLAG,
    .place = offsetof(struct score, phased),
    .help = "A variant that a phased genotype puts on a haplotype is seen among the other variants of that haplotype "
            "('|' and the same PS, or homozygous) instead of in the genome. --mode is then exact, or wt.",
};

static const struct option sample_option = {
    .name = "sample",
    .kind = OPTION_TEXT,
    .argument = "NAME",
    .place = offsetof(struct score, sample),
    .help = "With --phased, whose genotypes are meant (default: the first sample).",
};

static const struct option strict_option = {
    .name = "strict",
    .kind = OPTION_FLAG,
    .place = offsetof(struct score, strict),
    .help = "The first ALT that cannot have numbers is an error, not a note.",
};

static const struct option *const options[] = {&option_model,    &reference_option,
                                               &output_option,   &region_option,
                                               &regions_option,  &mode_option,
                                               &window_option,   &phased_option,
                                               &sample_option,   &strict_option,
                                               OPTIONS_LONG,     OPTIONS_COMPUTE,
                                               OPTIONS_MESSAGES, NULL};

const struct command command_score = {
    .name = "score",
    .files = "IN.vcf",
    .summary = "What the model makes of the variants of a VCF file",
    .description =
        "Reads VCF or BCF ('-' is the standard input) and writes it again with three numbers for each ALT in INFO. "
        "LDAR_LLR: log p(ALT) - log p(REF) of a single base that the model does not see, both strands averaged. "
        "LDAR_DIST: how far the mean hidden state around the variant moves. LDAR_DTOK: how much the probability "
        "that a token begins changes at most, of the bases around it. The last two serve insertions and deletions as "
        "well.\n"
        "\n"
        "Everything else in the file stays as it is, and records stay in their order. An ALT that has no numbers (REF "
        "that is not what the genome says, symbolic and '*' alleles, contigs that the genome lacks, ...) has '.' and "
        "the "
        "reason in LDAR_NOTE, and is counted at the end; with --strict it is an error.\n"
        "\n"
        "  ldar score -f genome.fa calls.vcf.gz -o scored.vcf.gz\n"
        "  ldar score -f genome.fa -r chr2:1000001-2000000 --mode exact calls.bcf -o locus.bcf\n"
        "  bcftools view -i 'INFO/LDAR_LLR < -3' scored.vcf.gz\n",
    .min_files = 1,
    .max_files = 1,
    .options = options,
    .settings = sizeof(struct score),
    .run = run,
};
