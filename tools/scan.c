/* SPDX-License-Identifier: Apache-2.0 */
#include "scan.h"

#include "formats/bigwig.h"
#include "formats/failure.h"
#include "formats/hub.h"
#include "formats/snvs.h"

#include <ldar/model.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LETTERS = 4, PIECE = 4096 };

/* The bigWigs, those of the letters first, in the order of enum ldar_symbol. */
enum wig { WIG_INFORMATION = LETTERS, WIG_BOUNDARY, WIGS };

/* Letters in the colours that browsers give them. */
static const struct wig_kind {
    enum scan_part part;
    struct hub_track track;
} kinds[WIGS] = {
    {SCAN_BASES, {".A.bw", "A", "Probability of A, the base itself hidden", "0,150,0", "0:1", NULL, true}},
    {SCAN_BASES, {".C.bw", "C", "Probability of C, the base itself hidden", "0,0,255", "0:1", NULL, true}},
    {SCAN_BASES, {".G.bw", "G", "Probability of G, the base itself hidden", "209,113,5", "0:1", NULL, true}},
    {SCAN_BASES, {".T.bw", "T", "Probability of T, the base itself hidden", "255,0,0", "0:1", NULL, true}},
    {SCAN_INFORMATION,
     {".information.bw", "information", "Information in bits: 2 less the entropy of the four letters", "60,60,60",
      "0:2", NULL, false}},
    {SCAN_BOUNDARY, {".boundary.bw", "boundary", "Probability that a token begins", "120,60,160", "0:1", "0.5", false}},
};

struct scan_files {
    bigwig *wigs[WIGS]; /* NULL: not wished for */
    snvs *snvs;
    output *hub, *side;
    char *name; /* of the current record's contig */
    uint64_t position;
    float values[LETTERS + 1][PIECE]; /* of the letters, and the information */
};

/* ---- creation ---- */

/* PREFIX and a suffix; the caller frees it. */
static char *path_of(const char *prefix, const char *suffix)
{
    char *path = malloc(strlen(prefix) + strlen(suffix) + 1);
    return path ? strcat(strcpy(path, prefix), suffix) : NULL;
}

static enum ldar_status create_wigs(const struct scan_plan *plan, scan_files *files, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (int i = 0; i < WIGS && status == LDAR_OK; i++) {
        if (!(plan->parts & kinds[i].part))
            continue;
        char *path = path_of(plan->prefix, kinds[i].track.suffix);
        status = path ? bigwig_create(path, plan->contigs, &files->wigs[i], error)
                      : fail_memory(error, plan->prefix, "its tracks");
        free(path);
    }
    return status;
}

static enum ldar_status create_snvs(const struct scan_plan *plan, scan_files *files, struct ldar_error *error)
{
    if (!(plan->parts & SCAN_SNV))
        return LDAR_OK;
    char *path = path_of(plan->prefix, ".snv.tsv.gz");
    const enum ldar_status status =
        path ? snvs_create(path, plan->contigs, plan->provenance, plan->about, &files->snvs, error)
             : fail_memory(error, plan->prefix, "its table");
    free(path);
    return status;
}

static enum ldar_status create_hub(const struct scan_plan *plan, scan_files *files, struct ldar_error *error)
{
    struct hub_track tracks[WIGS];
    struct hub hub = {.prefix = plan->prefix,
                      .genome = plan->genome,
                      .overlay = "Probability of each letter, the base itself hidden: A, C, G and T stacked",
                      .tracks = tracks,
                      .provenance = plan->provenance};
    for (int i = 0; i < WIGS; i++)
        if (plan->parts & kinds[i].part)
            tracks[hub.count++] = kinds[i].track;
    return hub.count > 0 ? hub_begin(&hub, &files->hub, error) : LDAR_OK;
}

static enum ldar_status create_side(const struct scan_plan *plan, scan_files *files, struct ldar_error *error)
{
    char *path = path_of(plan->prefix, ".json"), *members = provenance_json(plan->provenance);
    char *about = quote_json(plan->about);
    const char *const texts[] = {"{", members, ", \"probabilities\": ", about, "}\n"};
    enum ldar_status status = path && members && about ? output_create(path, &files->side, error)
                                                       : fail_memory(error, plan->prefix, "its provenance");
    for (size_t i = 0; i < sizeof texts / sizeof *texts && status == LDAR_OK; i++)
        status = output_write(files->side, texts[i], strlen(texts[i]), error);
    free(path);
    free(members);
    free(about);
    return status;
}

enum ldar_status scan_create(const struct scan_plan *plan, scan_files **out, struct ldar_error *error)
{
    *out = NULL;
    scan_files *files = calloc(1, sizeof *files);
    if (!files)
        return fail_memory(error, plan->prefix, "writing");
    enum ldar_status status = create_wigs(plan, files, error);
    if (status == LDAR_OK)
        status = create_snvs(plan, files, error);
    if (status == LDAR_OK)
        status = create_hub(plan, files, error);
    if (status == LDAR_OK)
        status = create_side(plan, files, error);
    if (status != LDAR_OK) {
        scan_abandon(files);
        return status;
    }
    *out = files;
    return LDAR_OK;
}

/* ---- bases ---- */

enum ldar_status scan_record(scan_files *files, const char *name, uint64_t start, struct ldar_error *error)
{
    free(files->name);
    files->name = strdup(name);
    files->position = start;
    if (!files->name)
        return fail_memory(error, name, "its name");
    return files->snvs ? snvs_seek(files->snvs, name, start, error) : LDAR_OK;
}

/* The probabilities of a base's letters and their information, as the i-th of a piece. */
static void tell_base(scan_files *files, const float *log_p, size_t i)
{
    static const double bits_per_nat = 1.44269504088896340736;
    double information = 2;
    for (int a = 0; a < LETTERS; a++) {
        const double log = (double)log_p[a], p = exp(log);
        files->values[a][i] = (float)p;
        information += p > 0 ? p * log * bits_per_nat : 0;
    }
    /* Four equal letters may come out below 0 by a rounding. */
    files->values[LETTERS][i] = (float)(information < 0 ? 0 : information);
}

/* Bases that are all N, or none: with values or without. */
static size_t run_of(const uint8_t *ids, size_t count)
{
    size_t run = 1;
    while (run < count && (ids[run] <= LDAR_T) == (ids[0] <= LDAR_T))
        run++;
    return run;
}

/* At most a piece of bases, none of them N. */
static enum ldar_status write_piece(scan_files *files, uint64_t start, const float *log_p, size_t count,
                                    struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < count; i++)
        tell_base(files, log_p + i * LETTERS, i);
    for (int w = 0; w <= WIG_INFORMATION && status == LDAR_OK; w++) {
        if (!files->wigs[w])
            continue;
        status = bigwig_seek(files->wigs[w], files->name, start, error);
        if (status == LDAR_OK)
            status = bigwig_write(files->wigs[w], files->values[w], count, error);
    }
    return status;
}

static enum ldar_status write_letters(scan_files *files, const uint8_t *ids, const float *log_p, size_t count,
                                      struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t at = 0, run; at < count && status == LDAR_OK; at += run) {
        run = run_of(ids + at, count - at < PIECE ? count - at : PIECE);
        if (ids[at] <= LDAR_T)
            status = write_piece(files, files->position + at, log_p + at * LETTERS, run, error);
    }
    return status;
}

static enum ldar_status write_boundaries(scan_files *files, const float *prob, size_t count, struct ldar_error *error)
{
    const enum ldar_status status = bigwig_seek(files->wigs[WIG_BOUNDARY], files->name, files->position, error);
    return status == LDAR_OK ? bigwig_write(files->wigs[WIG_BOUNDARY], prob, count, error) : status;
}

enum ldar_status scan_rows(scan_files *files, const uint8_t *ids, const float *log_p, const float *prob, size_t count,
                           struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (files->wigs[0] || files->wigs[WIG_INFORMATION])
        status = write_letters(files, ids, log_p, count, error);
    if (status == LDAR_OK && files->wigs[WIG_BOUNDARY])
        status = write_boundaries(files, prob, count, error);
    if (status == LDAR_OK && files->snvs)
        status = snvs_write(files->snvs, ids, log_p, count, error);
    files->position += count;
    return status;
}

/* ---- the end ---- */

static enum ldar_status commit_output(output **output, struct ldar_error *error)
{
    const enum ldar_status status = *output ? output_commit(*output, error) : LDAR_OK;
    *output = NULL;
    return status;
}

/* All of them to the disk, so that a disk that is full leaves none. */
static enum ldar_status finish(scan_files *files, struct ldar_error *error)
{
    enum ldar_status status = output_sync(files->side, error);
    for (int i = 0; i < WIGS && status == LDAR_OK; i++)
        status = files->wigs[i] ? bigwig_finish(files->wigs[i], error) : LDAR_OK;
    if (status == LDAR_OK && files->snvs)
        status = snvs_finish(files->snvs, error);
    return status == LDAR_OK && files->hub ? output_sync(files->hub, error) : status;
}

enum ldar_status scan_commit(scan_files *files, struct ldar_error *error)
{
    enum ldar_status status = finish(files, error);
    if (status == LDAR_OK)
        status = commit_output(&files->side, error);
    for (int i = 0; i < WIGS && status == LDAR_OK; i++) {
        status = files->wigs[i] ? bigwig_commit(files->wigs[i], error) : LDAR_OK;
        files->wigs[i] = NULL;
    }
    if (status == LDAR_OK && files->snvs) {
        status = snvs_commit(files->snvs, error);
        files->snvs = NULL;
    }
    if (status == LDAR_OK)
        status = commit_output(&files->hub, error);
    scan_abandon(files);
    return status;
}

void scan_abandon(scan_files *files)
{
    if (!files)
        return;
    for (int i = 0; i < WIGS; i++)
        bigwig_abandon(files->wigs[i]);
    snvs_abandon(files->snvs);
    output_abandon(files->hub);
    output_abandon(files->side);
    free(files->name);
    free(files);
}
