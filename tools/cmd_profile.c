/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "forecast.h"
#include "interrupt.h"
#include "message.h"
#include "profile_report.h"

#include "formats/regions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A locus that is not asked for shows the first site, this far on either side: two rows of letters. */
enum { LOCUS_FLANK = 89, LOCUS_MAX = 20000, SETS = 2 * OPTION_LIST };

struct profile_settings {
    struct common common;
    const char *genome;
    struct texts sites, names, motifs, loci, regions;
    const char *bed;
    int anchor, reading, background;
    uint64_t flank, window, draws, most;
};

/* All that is open while the command runs. */
struct work {
    const struct profile_settings *settings;
    struct profile_plan plan;
    struct session session;
    reference *genome;
    struct stretches within;
    struct profile_set sets[SETS];
    size_t set_count;
    struct profile_locus loci[OPTION_LIST];
    size_t locus_count;
};

static void work_free(struct work *work)
{
    for (size_t i = 0; i < work->set_count; i++) {
        free(work->sets[i].name);
        free(work->sets[i].motif);
        sites_free(&work->sets[i].sites);
        profile_free(&work->sets[i].profile);
    }
    for (size_t i = 0; i < work->locus_count; i++) {
        locus_free(&work->loci[i].locus);
        free(work->loci[i].marks);
    }
    stretches_free(&work->within);
    reference_close(work->genome);
}

/* ---- usage ---- */

static enum exit_status check(const struct profile_settings *settings)
{
    if (!settings->genome) {
        say_error("name the genome that the sites lie in: -f REF.fa");
        return EXIT_USAGE;
    }
    if (settings->sites.count == 0 && settings->motifs.count == 0) {
        say_error("name the sites: --sites SITES.bed, or --motif NAME=LETTERS");
        return EXIT_USAGE;
    }
    if (!settings->common.output && !settings->common.dry_run) {
        say_error("name the folder to write: -o DIR");
        return EXIT_USAGE;
    }
    if (settings->names.count > 0 && settings->names.count != settings->sites.count) {
        say_error("option --name: one for each --sites, in their order, or none");
        return EXIT_USAGE;
    }
    if (settings->regions.count > 0 && settings->bed) {
        say_error("options -r and -R exclude each other");
        return EXIT_USAGE;
    }
    if (settings->window < 2 * (settings->flank + 1)) {
        say_error("option --window: %llu is not enough for a flank of %llu; at least %llu are",
                  (unsigned long long)settings->window, (unsigned long long)settings->flank,
                  (unsigned long long)(2 * (settings->flank + 1)));
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* ---- sets ---- */

/* What follows the last slash, without the endings of a compressed BED file. */
static char *name_of_file(const char *path)
{
    static const char *const endings[] = {".gz", ".bgz", ".bed"};
    const char *slash = strrchr(path, '/');
    char *name = strdup(strcmp(path, "-") == 0 ? "sites" : slash ? slash + 1 : path);
    for (size_t i = 0; name && i < sizeof endings / sizeof *endings; i++) {
        const size_t length = strlen(name), ending = strlen(endings[i]);
        if (length > ending && strcmp(name + length - ending, endings[i]) == 0)
            name[length - ending] = '\0';
    }
    return name;
}

/* The set comes to own `name`. */
static enum exit_status add_set(struct work *work, char *name, const char *origin, struct motif *motif)
{
    struct profile_set *set = &work->sets[work->set_count++];
    *set = (struct profile_set){.name = name, .origin = origin, .motif = motif};
    if (!name) {
        say_error("out of memory");
        return EXIT_FAILED;
    }
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            say_error("the name of '%s' holds a control character; give another with --name", origin);
            return EXIT_USAGE;
        }
    for (size_t i = 0; i + 1 < work->set_count; i++)
        if (strcmp(work->sets[i].name, name) == 0) {
            say_error("two sets of sites are called '%s'; name them with --name, or before the = of --motif", name);
            return EXIT_USAGE;
        }
    return EXIT_DONE;
}

/* NAME=LETTERS, or letters that are their own name. */
static enum exit_status add_motif(struct work *work, const char *text)
{
    const char *equals = strrchr(text, '='), *letters = equals ? equals + 1 : text;
    struct motif *motif = malloc(sizeof *motif);
    if (!motif) {
        say_error("out of memory");
        return EXIT_FAILED;
    }
    if (equals == text || !motif_parse(letters, motif)) {
        say_error("option --motif: '%s' is not NAME=LETTERS with 1 to %d letters of the IUPAC alphabet, as in "
                  "TATA=TATAWAWR",
                  text, MOTIF_MAX);
        free(motif);
        return EXIT_USAGE;
    }
    return add_set(work, equals ? strndup(text, (size_t)(equals - text)) : strdup(text), letters, motif);
}

static enum exit_status name_sets(struct work *work)
{
    const struct profile_settings *settings = work->settings;
    enum exit_status status = EXIT_DONE;
    for (size_t i = 0; i < settings->sites.count && status == EXIT_DONE; i++) {
        const char *path = settings->sites.item[i];
        status =
            add_set(work, settings->names.count > 0 ? strdup(settings->names.item[i]) : name_of_file(path), path, NULL);
    }
    for (size_t i = 0; i < settings->motifs.count && status == EXIT_DONE; i++)
        status = add_motif(work, settings->motifs.item[i]);
    return status;
}

/* ---- sites ---- */

static bool has_regions(const struct profile_settings *settings)
{
    return settings->bed || settings->regions.count > 0;
}

/* The regions that -r or -R name, merged, or the whole genome. */
static enum ldar_status open_regions(const struct work *work, source **regions, struct ldar_error *error)
{
    const struct profile_settings *settings = work->settings;
    enum ldar_status status;
    if (settings->bed)
        status = regions_from_bed(work->genome, settings->bed, regions, error);
    else if (settings->regions.count > 0)
        status = regions_parse(work->genome, settings->regions.item, settings->regions.count, regions, error);
    else
        status = regions_all(work->genome, regions, error);
    if (status == LDAR_OK)
        regions_merge(*regions);
    return status;
}

static enum ldar_status gather_within(struct work *work, struct ldar_error *error)
{
    source *regions;
    enum ldar_status status = open_regions(work, &regions, error);
    if (status == LDAR_OK) {
        status = stretches_gather(work->genome, regions, &work->within, error);
        source_destroy(regions);
    }
    return status;
}

static enum ldar_status find_motif(const struct work *work, struct profile_set *set, struct ldar_error *error)
{
    source *regions;
    enum ldar_status status = open_regions(work, &regions, error);
    if (status == LDAR_OK) {
        status = sites_from_motif(work->genome, set->motif, regions, (size_t)work->settings->most, &set->sites, error);
        source_destroy(regions);
    }
    return status;
}

static void say_left_out(const struct profile_set *set)
{
    const struct site_counts *c = &set->sites.counts;
    if (c->absent > 0)
        say_warning("%s: %llu of %llu sites lie on contigs that the genome lacks; they are left out", set->origin,
                    (unsigned long long)c->absent, (unsigned long long)c->given);
    if (c->beyond > 0)
        say_warning("%s: %llu of %llu sites end beyond their contig; they are left out", set->origin,
                    (unsigned long long)c->beyond, (unsigned long long)c->given);
    if (c->outside > 0)
        say_note("%s: %llu of %llu sites lie outside the regions; they are left out", set->origin,
                 (unsigned long long)c->outside, (unsigned long long)c->given);
    if (c->repeated > 0)
        say_note("%s: %llu sites have the place and strand of one before, and count once", set->origin,
                 (unsigned long long)c->repeated);
    if (c->unstranded > 0)
        say_note("%s: %llu sites have no strand; they are taken for +", set->origin, (unsigned long long)c->unstranded);
    const unsigned long long found = set->motif ? c->given : set->sites.count;
    if (set->sites.used < found)
        say_note("%s: %zu of %llu sites, spread evenly, are used (--max-sites)", set->name, set->sites.used, found);
}

static enum ldar_status load_set(struct work *work, struct profile_set *set, struct ldar_error *error)
{
    const struct profile_settings *settings = work->settings;
    const struct stretches *within = has_regions(settings) ? &work->within : NULL;
    enum ldar_status status;
    if (set->motif)
        status = find_motif(work, set, error);
    else
        status = sites_from_bed(work->genome, set->origin, work->plan.anchor, within, (size_t)settings->most,
                                &set->sites, error);
    if (status != LDAR_OK)
        return status;
    say_left_out(set);
    if (set->sites.used > 0)
        return LDAR_OK;
    const struct site_counts *c = &set->sites.counts;
    if (set->motif)
        return fail(error, LDAR_ERROR_FORMAT, "motif %s stands nowhere in what is searched of %s", set->origin,
                    settings->genome);
    return fail(
        error, LDAR_ERROR_FORMAT,
        "%s: none of its %llu intervals is a site of %s: %llu on contigs that it lacks, %llu beyond their contig, "
        "%llu outside the regions",
        set->origin, (unsigned long long)c->given, settings->genome, (unsigned long long)c->absent,
        (unsigned long long)c->beyond, (unsigned long long)c->outside);
}

/* ---- loci ---- */

/* "chr:from-to", with "(-)" behind it for the other strand. */
static enum ldar_status parse_locus(struct work *work, const char *text, struct ldar_error *error)
{
    struct locus *locus = &work->loci[work->locus_count].locus;
    const size_t length = strlen(text);
    const bool stranded =
        length > 3 && (strcmp(text + length - 3, "(-)") == 0 || strcmp(text + length - 3, "(+)") == 0);
    char *region = strndup(text, stranded ? length - 3 : length);
    source *regions = NULL;
    struct record record;
    if (!region)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for --locus %.100s", text);
    enum ldar_status status = regions_parse(work->genome, (const char *const *)&region, 1, &regions, error);
    free(region);
    if (status == LDAR_OK)
        status = source_next(regions, &record, error);
    if (status == LDAR_OK) {
        (void)reference_has(work->genome, record.name, &locus->contig);
        locus->start = record.start;
        locus->end = record.start + record.length;
        locus->minus = stranded && text[length - 2] == '-';
        work->locus_count++;
        if (record.length == 0 || record.length > LOCUS_MAX)
            status = fail(error, LDAR_ERROR_ARGUMENT, "--locus %.100s: %llu nucleotides; 1 to %d can be drawn", text,
                          (unsigned long long)record.length, LOCUS_MAX);
    }
    source_destroy(regions);
    return status;
}

/* The first site of the first set that is not too near to an end of its contig, or the first of all. */
static void choose_locus(struct work *work)
{
    const struct site_set *sites = &work->sets[0].sites;
    const uint64_t *lengths = reference_contigs(work->genome)->lengths;
    const struct site *site = sites_at(sites, 0);
    for (size_t i = 0; i < sites->used; i++) {
        const struct site *other = sites_at(sites, i);
        const uint64_t anchor = site_anchor(other, work->plan.anchor);
        if (anchor >= LOCUS_FLANK && lengths[other->contig] - anchor > LOCUS_FLANK) {
            site = other;
            break;
        }
    }
    const uint64_t anchor = site_anchor(site, work->plan.anchor), length = lengths[site->contig];
    work->loci[work->locus_count++].locus =
        (struct locus){.contig = site->contig,
                       .start = anchor > LOCUS_FLANK ? anchor - LOCUS_FLANK : 0,
                       .end = length - anchor > LOCUS_FLANK ? anchor + LOCUS_FLANK + 1 : length,
                       .minus = site->minus};
}

/* [start, end) of the contig, in the locus's own sense of reading, where the two overlap. */
static enum ldar_status add_mark(struct profile_locus *place, size_t set, uint64_t start, uint64_t end, bool minus,
                                 struct ldar_error *error)
{
    const struct locus *locus = &place->locus;
    if (start >= locus->end || end <= locus->start)
        return LDAR_OK;
    if (place->mark_count == place->mark_capacity) {
        const size_t capacity = place->mark_capacity ? 2 * place->mark_capacity : 16;
        struct draw_mark *marks = realloc(place->marks, capacity * sizeof *marks);
        if (!marks)
            return fail(error, LDAR_ERROR_MEMORY, "no memory for the sites of a locus");
        place->marks = marks;
        place->mark_capacity = capacity;
    }
    const int64_t first = (int64_t)locus->start, last = (int64_t)locus->end;
    struct draw_mark mark = {set, (int64_t)start - first, (int64_t)end - first, minus == locus->minus ? 1 : -1};
    if (locus->minus) {
        mark.start = last - (int64_t)end;
        mark.end = last - (int64_t)start;
    }
    place->marks[place->mark_count++] = mark;
    return LDAR_OK;
}

/* A motif's places in the locus; its set may hold a sample of them only. */
static enum ldar_status mark_motif(struct profile_locus *place, size_t set, const struct motif *motif,
                                   struct ldar_error *error)
{
    const struct locus *locus = &place->locus;
    const size_t length = (size_t)(locus->end - locus->start);
    uint8_t *ids = malloc(length);
    enum ldar_status status = LDAR_OK;
    if (!ids)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the sites of a locus");
    (void)ldar_encode(locus->letters, length, ids, NULL);
    for (size_t i = 0; i + motif->length <= length && status == LDAR_OK; i++)
        for (int minus = 0; minus <= !motif->palindrome && status == LDAR_OK; minus++)
            if (motif_at(motif, ids + i, minus)) {
                const uint64_t start = locus->minus ? locus->end - i - motif->length : locus->start + i;
                status = add_mark(place, set, start, start + motif->length, (minus != 0) != locus->minus, error);
            }
    free(ids);
    return status;
}

static enum ldar_status mark_sites(struct work *work, struct profile_locus *place, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t s = 0; s < work->set_count && status == LDAR_OK; s++) {
        const struct profile_set *set = &work->sets[s];
        if (set->motif)
            status = mark_motif(place, s, set->motif, error);
        for (size_t i = 0; i < set->sites.count && !set->motif && status == LDAR_OK; i++) {
            const struct site *site = &set->sites.list[i];
            if (site->contig == place->locus.contig)
                status = add_mark(place, s, site->start, site->end, site->minus, error);
        }
    }
    return status;
}

/* ---- the work ---- */

static enum ldar_status load(struct work *work, struct ldar_error *error)
{
    const struct profile_settings *settings = work->settings;
    enum ldar_status status = has_regions(settings) ? gather_within(work, error) : LDAR_OK;
    for (size_t i = 0; i < settings->loci.count && status == LDAR_OK; i++)
        status = parse_locus(work, settings->loci.item[i], error);
    for (size_t i = 0; i < work->set_count && status == LDAR_OK; i++)
        status = load_set(work, &work->sets[i], error);
    if (status == LDAR_OK && work->locus_count == 0)
        choose_locus(work);
    return status;
}

/* Windows of a site, its background's too, on each strand that is read. */
static size_t windows_of_site(const struct profile_plan *plan)
{
    const size_t strands = plan->reading == READ_BOTH ? 2 : 1;
    return strands * (1 + (plan->background == BACKGROUND_NONE ? 0 : plan->draws));
}

static size_t all_sites(const struct work *work)
{
    size_t sites = 0;
    for (size_t i = 0; i < work->set_count; i++)
        sites += work->sets[i].sites.used;
    return sites;
}

static double nucleotides_of_sites(const struct work *work)
{
    return (double)all_sites(work) * (double)windows_of_site(&work->plan) * (double)work->plan.window;
}

static enum ldar_status compute(struct work *work, struct profile_progress *progress, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < work->set_count && status == LDAR_OK; i++) {
        struct profile_set *set = &work->sets[i];
        status = profile_create(&work->plan, &set->profile, error);
        if (status == LDAR_OK)
            status =
                profile_add(&work->plan, &work->session, work->genome, &set->sites, &set->profile, progress, error);
    }
    for (size_t i = 0; i < work->locus_count && status == LDAR_OK; i++) {
        status = locus_compute(&work->plan, &work->session, work->genome, &work->loci[i].locus, error);
        if (status == LDAR_OK)
            status = mark_sites(work, &work->loci[i], error);
    }
    return status;
}

static void say_computed(const struct work *work, const struct profile_progress *progress)
{
    progress_end(progress->done);
    if (progress->unknown > 0)
        say_note("%llu of %llu letters around the sites are N to the model", (unsigned long long)progress->unknown,
                 (unsigned long long)progress->read);
    for (size_t i = 0; i < work->set_count; i++)
        if (work->sets[i].profile.partial > 0)
            say_note("%s: %llu sites lie so near to an end of their contig that they count at some offsets only",
                     work->sets[i].name, (unsigned long long)work->sets[i].profile.partial);
}

static enum ldar_status write_results(const struct work *work, const char *folder, struct ldar_error *error)
{
    const struct profile_results results = {.plan = &work->plan,
                                            .provenance = &work->session.provenance,
                                            .reference = work->genome,
                                            .sets = work->sets,
                                            .set_count = work->set_count,
                                            .loci = work->loci,
                                            .locus_count = work->locus_count};
    return profile_report(&results, folder, error);
}

/* The folder is there before anything is computed; *made says that it was not before. */
static enum ldar_status make_folder(const char *folder, bool *made, struct ldar_error *error)
{
    struct stat status;
    *made = mkdir(folder, 0777) == 0;
    if (*made || (errno == EEXIST && stat(folder, &status) == 0 && S_ISDIR(status.st_mode)))
        return LDAR_OK;
    return fail(error, LDAR_ERROR_IO, "%s: the folder cannot be made: %s", folder, strerror(errno));
}

static enum ldar_status produce(struct work *work, struct ldar_error *error)
{
    struct profile_progress progress = {.whole = nucleotides_of_sites(work)};
    const char *folder = work->settings->common.output;
    bool made = false;
    enum ldar_status status = make_folder(folder, &made, error);
    if (status == LDAR_OK)
        interrupt_watch_folder(folder, made);
    progress_begin("nt");
    if (status == LDAR_OK)
        status = compute(work, &progress, error);
    if (status == LDAR_OK) {
        say_computed(work, &progress);
        status = write_results(work, folder, error);
    }
    if (status != LDAR_OK && made)
        (void)rmdir(folder); /* unless something is in it */
    return status;
}

/* ---- what it will take ---- */

/* The first set, over and over. */
struct rehearsal {
    struct work *work;
    double nucleotides; /* of a pass */
};

static enum ldar_status rehearse(void *own, struct ldar_error *error)
{
    struct rehearsal *rehearsal = own;
    const struct work *work = rehearsal->work;
    struct profile_progress progress = {.whole = 1};
    struct profile profile;
    enum ldar_status status = profile_create(&work->plan, &profile, error);
    if (status != LDAR_OK)
        return status;
    status = profile_add(&work->plan, &work->session, work->genome, &work->sets[0].sites, &profile, &progress, error);
    rehearsal->nucleotides = progress.done;
    profile_free(&profile);
    return status;
}

/* A batch of the first set, which tells the rate, and of the others two sites, which make rows with intervals. */
static void use_few_sites(struct work *work)
{
    enum { FEW = 2 };
    const size_t site = windows_of_site(&work->plan) * work->plan.window;
    const size_t batch = 1 + (ldar_context_batch(work->session.context) - 1) / site;
    for (size_t i = 0; i < work->set_count; i++) {
        struct site_set *sites = &work->sets[i].sites;
        const size_t most = i == 0 && batch > FEW ? batch : FEW;
        sites->used = sites->used < most ? sites->used : most;
    }
}

/* Bytes of what is written, which depend little on the number of sites. */
static enum ldar_status rehearse_output(struct work *work, double *bytes, struct ldar_error *error)
{
    struct profile_progress progress = {.whole = 1};
    enum ldar_status status = compute(work, &progress, error);
    const char *folder = status == LDAR_OK ? forecast_folder() : NULL;
    *bytes = -1;
    if (!folder)
        return status;
    status = write_results(work, folder, error);
    *bytes = forecast_empty_folder(folder);
    (void)rmdir(folder);
    return status;
}

static enum ldar_status foretell(struct work *work, struct ldar_error *error)
{
    struct rehearsal rehearsal = {work, 0};
    const struct forecast_pass pass = {rehearse, &rehearsal};
    const struct ldar_config *config = ldar_model_config(work->session.model);
    const size_t sites = all_sites(work), windows = windows_of_site(&work->plan);
    double computed = nucleotides_of_sites(work), bases = (double)sites * (double)work->plan.window, seconds, bytes;
    for (size_t i = 0; i < work->locus_count; i++) {
        const double seen = (double)locus_nucleotides(&work->plan, work->genome, &work->loci[i].locus);
        computed += seen;
        bases += seen;
    }
    use_few_sites(work);
    enum ldar_status status = forecast_seconds(&pass, &seconds, error);
    if (status == LDAR_OK)
        status = rehearse_output(work, &bytes, error);
    if (status != LDAR_OK)
        return status;
    const double rate = rehearsal.nucleotides / seconds;
    const struct forecast forecast = {
        .records = sites,
        .bases = (uint64_t)bases,
        .windows = sites * windows + work->locus_count,
        .computed = computed,
        .passes = 1,
        .flop = computed * forecast_boundary_flops(config, work->plan.window),
        .rate = rate,
        .seconds = computed / rate,
        .memory = forecast_resident(),
        .output = bytes,
    };
    forecast_print(&forecast);
    return LDAR_OK;
}

static enum ldar_status work_all(struct work *work, struct ldar_error *error)
{
    interrupt_watch(work->settings->genome);
    enum ldar_status status = reference_open(work->settings->genome, &said_warnings, &work->genome, error);
    if (status == LDAR_OK)
        status = load(work, error);
    if (status != LDAR_OK)
        return status;
    return work->settings->common.dry_run ? foretell(work, error) : produce(work, error);
}

static struct profile_plan plan_of(const struct profile_settings *settings)
{
    return (struct profile_plan){.flank = (size_t)settings->flank,
                                 .window = (size_t)settings->window,
                                 .anchor = (enum site_anchor)settings->anchor,
                                 .reading = (enum reading)settings->reading,
                                 .background = (enum background)settings->background,
                                 .draws = (size_t)settings->draws,
                                 .seed = settings->common.seed,
                                 .max_bytes = (size_t)settings->common.max_memory};
}

static enum exit_status run(void *place)
{
    const struct profile_settings *settings = place;
    struct ldar_error error;
    enum exit_status status = check(settings);
    struct work *work = status == EXIT_DONE ? calloc(1, sizeof *work) : NULL;
    if (!work) {
        if (status == EXIT_DONE)
            say_error("out of memory");
        return status == EXIT_DONE ? EXIT_FAILED : status;
    }
    work->settings = settings;
    work->plan = plan_of(settings);
    status = name_sets(work);
    if (status == EXIT_DONE)
        status = session_open(&settings->common, &work->session);
    if (status == EXIT_DONE) {
        if (work_all(work, &error) != LDAR_OK)
            status = failed(&error);
        session_close(&work->session);
    }
    work_free(work);
    free(work);
    return status;
}

static const struct option reference_option = {
    .name = "reference",
    .letter = 'f',
    .kind = OPTION_TEXT,
    .argument = "REF.fa",
    .place = offsetof(struct profile_settings, genome),
    .help = "The genome (FASTA, plain or BGZF). Its .fai index is made when absent.",
};

static const struct option sites_option = {
    .name = "sites",
    .kind = OPTION_TEXTS,
    .argument = "SITES.bed",
    .place = offsetof(struct profile_settings, sites),
    .help = "Intervals with a strand (BED; plain, gzip or BGZF); may be given again: each file is a curve.",
};

static const struct option name_option = {
    .name = "name",
    .kind = OPTION_TEXTS,
    .argument = "NAME",
    .place = offsetof(struct profile_settings, names),
    .help = "What the sites of the first, second, ... file are called; by default as the file.",
};

static const struct option motif_option = {
    .name = "motif",
    .kind = OPTION_TEXTS,
    .argument = "NAME=LETTERS",
    .place = offsetof(struct profile_settings, motifs),
    .help = "Sites are where these IUPAC letters stand on either strand of the genome, or of its regions; may be given "
            "again.",
};

static const struct option region_option = {
    .name = "region",
    .letter = 'r',
    .kind = OPTION_TEXTS,
    .argument = "REGION",
    .place = offsetof(struct profile_settings, regions),
    .help = "Only sites in this region of the genome, as chr:from-to, 1-based and closed; may be given again.",
};

static const struct option regions_option = {
    .name = "regions",
    .letter = 'R',
    .kind = OPTION_TEXT,
    .argument = "FILE.bed",
    .place = offsetof(struct profile_settings, bed),
    .help = "Only sites in the regions of a BED file.",
};

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "DIR",
    .place = offsetof(struct common, output),
    .help =
        "The folder to write, which is made when absent: profile.tsv, summary.tsv, profile.svg, locus.tsv, locus.svg "
        "(a second locus: locus-2.svg) and report.html.",
};

static const struct option anchor_option = {
    .name = "anchor",
    .kind = OPTION_CHOICE,
    .argument = "centre|start|end",
    .place = offsetof(struct profile_settings, anchor),
    .initial = "centre",
    .help = "The base of an interval that is offset 0: the middle one, the 5' end or the 3' end, by the site's strand.",
};

static const struct option flank_option = {
    .name = "flank",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct profile_settings, flank),
    .initial = "200",
    .max = 1 << 20,
    .help = "Nucleotides on either side of the anchor.",
};

static const struct option window_option = {
    .name = "window",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct profile_settings, window),
    .initial = "4096",
    .min = 2,
    .max = 1 << 24,
    .help = "Nucleotides that the model sees of each site, the anchor in the middle.",
};

static const struct option reading_option = {
    .name = "read",
    .kind = OPTION_CHOICE,
    .argument = "sense|antisense|both",
    .place = offsetof(struct profile_settings, reading),
    .initial = "sense",
    .help = "The strand that the model reads: the site's own, the opposite one (a boundary is laid on the same gap "
            "between two bases), or both, averaged for each site.",
};

static const struct option background_option = {
    .name = "background",
    .kind = OPTION_CHOICE,
    .argument = "shuffled|random|none",
    .place = offsetof(struct profile_settings, background),
    .initial = "shuffled",
    .help = "What to compare with: each site's window, shuffled with the count of every dinucleotide kept; windows at "
            "random places of the genome; or nothing.",
};

static const struct option draws_option = {
    .name = "draws",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct profile_settings, draws),
    .initial = "1",
    .min = 1,
    .max = 1000,
    .help = "Background windows of each site.",
};

static const struct option most_option = {
    .name = "max-sites",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct profile_settings, most),
    .initial = "10000",
    .max = 1 << 28,
    .help = "Of a set with more sites use this many, spread evenly over it. 0: all.",
};

static const struct option locus_option = {
    .name = "locus",
    .kind = OPTION_TEXTS,
    .argument = "REGION",
    .place = offsetof(struct profile_settings, loci),
    .help = "A region to draw letter by letter, as chr:from-to, or chr:from-to(-) for the other strand; may be given "
            "again. By default that around the first site.",
};

static const struct option *const options[] = {&option_model,   &reference_option,  &sites_option,    &name_option,
                                               &motif_option,   &region_option,     &regions_option,  &output_option,
                                               &option_dry_run, &anchor_option,     &flank_option,    &window_option,
                                               &reading_option, &background_option, &draws_option,    &most_option,
                                               &locus_option,   OPTIONS_COMPUTE,    OPTIONS_MESSAGES, NULL};

const struct command command_profile = {
    .name = "profile",
    .files = "",
    .summary = "The boundary probability around sites, beside a shuffled background",
    .description = "Averages the probability that a token begins over the sites of BED files or of motifs, base by "
                   "base from 5' to "
                   "3' (sites on the minus strand are read on the reverse complement), and the same over a background. "
                   "Writes tables, "
                   "drawings and a page that holds them, each with means and their 95 % intervals.\n"
                   "\n"
                   "  ldar profile -f yeast.fa --sites tata.bed --sites tss.bed --anchor start -o around\n"
                   "  ldar profile -f yeast.fa --motif TATA=TATAWAWR --motif Kozak=GCCRCCATGG -r XV --locus "
                   "XV:721866-721956 -o xv\n",
    .min_files = 0,
    .max_files = 0,
    .options = options,
    .settings = sizeof(struct profile_settings),
    .run = run,
};
