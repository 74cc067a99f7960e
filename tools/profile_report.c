/* SPDX-License-Identifier: Apache-2.0 */
#include "profile_report.h"
#include "page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL_HEIGHT = 216, PATH_BYTES = 4200, TABLES = 5 };

static const char *const anchor_words[] = {"centre", "5' end", "3' end"};
static const char *const background_words[] = {"shuffled, same dinucleotides", "random positions", "none"};
static const char *const reading_words[] = {"the site's own strand", "the opposite strand", "both strands, averaged"};

static bool has_background(const struct profile_results *results)
{
    return results->plan->background != BACKGROUND_NONE;
}

static enum ldar_status write_text(output *out, const char *text, struct ldar_error *error)
{
    return output_write(out, text, strlen(text), error);
}

/* ---- tables ---- */

/* A cell; what is not known is NA, which both R and Python read. */
static enum ldar_status write_number(output *out, double value, struct ldar_error *error)
{
    return isfinite(value) ? output_print(out, error, "\t%.6f", value) : output_print(out, error, "\tNA");
}

static enum ldar_status write_estimate(output *out, struct estimate estimate, struct ldar_error *error)
{
    enum ldar_status status = write_number(out, estimate.mean, error);
    if (status == LDAR_OK)
        status = write_number(out, estimate.low, error);
    return status == LDAR_OK ? write_number(out, estimate.high, error) : status;
}

/* A text that must not hold a tab or the end of a line. */
static enum ldar_status write_plain(output *out, const char *text, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (; *text && status == LDAR_OK; text++)
        status = output_write(out, (unsigned char)*text < 0x20 || *text == 0x7f ? "?" : text, 1, error);
    return status;
}

static enum ldar_status write_provenance(output *out, const struct profile_results *results, struct ldar_error *error)
{
    char *line = provenance_line(results->provenance);
    enum ldar_status status =
        line ? write_text(out, "# ", error) : fail(error, LDAR_ERROR_MEMORY, "no memory for the provenance");
    if (status == LDAR_OK)
        status = write_text(out, line, error);
    free(line);
    return status == LDAR_OK ? write_text(out, "\n", error) : status;
}

static const char profile_columns[] =
    "set\toffset\tn\tmean\tlow\thigh\tbackground_n\tbackground_mean\tbackground_low\tbackground_high\t"
    "difference\tdifference_low\tdifference_high\topens\topens_low\topens_high\t"
    "background_opens\tbackground_opens_low\tbackground_opens_high\n";

static enum ldar_status write_offset(output *out, const struct profile_results *results, const struct profile_set *set,
                                     size_t i, struct ldar_error *error)
{
    static const int order[PROFILE_VALUES] = {PROFILE_NATIVE, PROFILE_BACKGROUND, PROFILE_DIFFERENCE, PROFILE_OPENS,
                                              PROFILE_OPENS_BACKGROUND};
    enum ldar_status status = write_text(out, set->name, error);
    if (status == LDAR_OK)
        status = output_print(out, error, "\t%lld", (long long)i - (long long)results->plan->flank);
    for (int v = 0; v < PROFILE_VALUES && status == LDAR_OK; v++) {
        const struct moments *moments = &set->profile.curve[order[v]][i];
        if (v < PROFILE_DIFFERENCE)
            status = output_print(out, error, "\t%llu", (unsigned long long)moments->n);
        if (status == LDAR_OK)
            status = write_estimate(out, moments_estimate(moments), error);
    }
    return status == LDAR_OK ? write_text(out, "\n", error) : status;
}

static enum ldar_status write_profile_table(output *out, const struct profile_results *results, size_t unused,
                                            struct ldar_error *error)
{
    (void)unused;
    enum ldar_status status = write_provenance(out, results, error);
    if (status == LDAR_OK)
        status = write_text(out, profile_columns, error);
    for (size_t s = 0; s < results->set_count; s++)
        for (size_t i = 0; i < results->sets[s].profile.offsets && status == LDAR_OK; i++)
            status = write_offset(out, results, &results->sets[s], i, error);
    return status;
}

static const char summary_columns[] =
    "set\torigin\tgiven\tabsent\tbeyond\toutside\trepeated\tunstranded\tsites\tpartial\tmean\tlow\thigh\t"
    "background_mean\tbackground_low\tbackground_high\tdifference\tdifference_low\tdifference_high\t"
    "token_length\ttoken_length_low\ttoken_length_high\t"
    "background_token_length\tbackground_token_length_low\tbackground_token_length_high\n";

static enum ldar_status write_summary_row(output *out, const struct profile_set *set, struct ldar_error *error)
{
    const struct site_counts *c = &set->sites.counts;
    const unsigned long long counts[] = {c->given,    c->absent,     c->beyond,       c->outside,
                                         c->repeated, c->unstranded, set->sites.used, set->profile.partial};
    const struct estimate estimates[] = {moments_estimate(&set->profile.whole[PROFILE_NATIVE]),
                                         moments_estimate(&set->profile.whole[PROFILE_BACKGROUND]),
                                         moments_estimate(&set->profile.whole[PROFILE_DIFFERENCE]),
                                         tally_token_length(&set->profile.native),
                                         tally_token_length(&set->profile.background)};
    enum ldar_status status = write_text(out, set->name, error);
    if (status == LDAR_OK)
        status = write_text(out, "\t", error);
    if (status == LDAR_OK)
        status = write_plain(out, set->origin, error);
    for (size_t i = 0; i < sizeof counts / sizeof *counts && status == LDAR_OK; i++)
        status = output_print(out, error, "\t%llu", counts[i]);
    for (size_t i = 0; i < sizeof estimates / sizeof *estimates && status == LDAR_OK; i++)
        status = write_estimate(out, estimates[i], error);
    return status == LDAR_OK ? write_text(out, "\n", error) : status;
}

static enum ldar_status write_summary(output *out, const struct profile_results *results, size_t unused,
                                      struct ldar_error *error)
{
    (void)unused;
    enum ldar_status status = write_provenance(out, results, error);
    if (status == LDAR_OK)
        status = write_text(out, summary_columns, error);
    for (size_t s = 0; s < results->set_count && status == LDAR_OK; s++)
        status = write_summary_row(out, &results->sets[s], error);
    return status;
}

static const char *contig_of(const struct profile_results *results, const struct locus *locus)
{
    return reference_contigs(results->reference)->names[locus->contig];
}

static enum ldar_status write_locus_rows(output *out, const struct profile_results *results, size_t number,
                                         struct ldar_error *error)
{
    const struct locus *locus = &results->loci[number].locus;
    const size_t count = (size_t)(locus->end - locus->start);
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < count && status == LDAR_OK; i++) {
        const unsigned long long position = locus->minus ? locus->end - i : locus->start + i + 1;
        status = output_print(out, error, "%zu\t", number + 1);
        if (status == LDAR_OK)
            status = write_text(out, contig_of(results, locus), error);
        if (status == LDAR_OK)
            status = output_print(out, error, "\t%llu\t%c\t%c\t%.6f\t%d\n", position, locus->minus ? '-' : '+',
                                  locus->letters[i], (double)locus->prob[i], locus->boundary[i]);
    }
    return status;
}

static enum ldar_status write_locus_table(output *out, const struct profile_results *results, size_t unused,
                                          struct ldar_error *error)
{
    (void)unused;
    enum ldar_status status = write_provenance(out, results, error);
    if (status == LDAR_OK)
        status = write_text(out, "locus\tcontig\tposition\tstrand\tletter\tprobability\topens\n", error);
    for (size_t i = 0; i < results->locus_count && status == LDAR_OK; i++)
        status = write_locus_rows(out, results, i, error);
    return status;
}

/* ---- the curves ---- */

/* A curve's numbers, which the caller frees by `mean`; NULL without memory. */
static struct draw_curve curve_of(const struct moments *moments, size_t count, const char *name, int colour)
{
    double *values = malloc(3 * count * sizeof *values);
    for (size_t i = 0; values && i < count; i++) {
        const struct estimate estimate = moments_estimate(&moments[i]);
        values[i] = estimate.mean;
        values[count + i] = estimate.low;
        values[2 * count + i] = estimate.high;
    }
    return (struct draw_curve){
        name, colour, count, values, values ? values + count : NULL, values ? values + 2 * count : NULL};
}

/* Of each set two curves, background and genome, and then of each set its difference. */
struct figure {
    struct draw_curve *curves; /* (3 * sets) */
    size_t sets;
};

static void figure_free(struct figure *figure)
{
    for (size_t i = 0; figure->curves && i < 3 * figure->sets; i++)
        free((double *)(uintptr_t)figure->curves[i].mean);
    free(figure->curves);
}

static enum ldar_status figure_make(const struct profile_results *results, struct figure *figure,
                                    struct ldar_error *error)
{
    *figure = (struct figure){calloc(3 * results->set_count, sizeof *figure->curves), results->set_count};
    bool complete = figure->curves != NULL;
    for (size_t s = 0; s < results->set_count && complete; s++) {
        const struct profile_set *set = &results->sets[s];
        const size_t count = set->profile.offsets;
        const int colour = (int)(s % DRAW_COLOURS);
        struct draw_curve *pair = &figure->curves[2 * s], *difference = &figure->curves[2 * results->set_count + s];
        pair[0] = curve_of(set->profile.curve[PROFILE_BACKGROUND], count, background_words[results->plan->background],
                           DRAW_GREY);
        pair[1] = curve_of(set->profile.curve[PROFILE_NATIVE], count, "genome", colour);
        *difference = curve_of(set->profile.curve[PROFILE_DIFFERENCE], count, set->name, colour);
        complete = pair[0].mean && pair[1].mean && difference->mean;
    }
    if (complete)
        return LDAR_OK;
    figure_free(figure);
    return fail(error, LDAR_ERROR_MEMORY, "no memory for the drawing; a smaller --flank needs less");
}

static enum ldar_status draw_panels(output *out, const struct profile_results *results, const struct figure *figure,
                                    struct ldar_error *error)
{
    const size_t sets = results->set_count, skip = has_background(results) ? 0 : 1;
    char label[120], title[200];
    struct draw_field field = {.width = DRAW_WIDTH,
                               .height = PANEL_HEIGHT,
                               .title = title,
                               .x_label = label,
                               .y_label = "boundary probability",
                               .first = -(double)results->plan->flank,
                               .last = (double)results->plan->flank};
    enum ldar_status status = LDAR_OK;
    snprintf(label, sizeof label, "offset from the site's %s, nt, 5' to 3'", anchor_words[results->plan->anchor]);
    draw_span(figure->curves, 2 * sets, &field.low, &field.high);
    for (size_t s = 0; s < sets && status == LDAR_OK; s++, field.y += PANEL_HEIGHT) {
        snprintf(title, sizeof title, "%.120s, %zu sites", results->sets[s].name, results->sets[s].sites.used);
        status = draw_curves(out, &field, &figure->curves[2 * s + skip], 2 - skip, error);
    }
    if (status != LDAR_OK || !has_background(results))
        return status;
    draw_span(&figure->curves[2 * sets], sets, &field.low, &field.high);
    field.title = "Genome minus background, site by site";
    field.y_label = "difference";
    return draw_curves(out, &field, &figure->curves[2 * sets], sets, error);
}

static enum ldar_status draw_profile(output *out, const struct profile_results *results, size_t unused,
                                     struct ldar_error *error)
{
    (void)unused;
    struct figure figure;
    const size_t panels = results->set_count + has_background(results);
    char *made_by = provenance_line(results->provenance);
    enum ldar_status status = figure_make(results, &figure, error);
    if (status != LDAR_OK) {
        free(made_by);
        return status;
    }
    status = draw_begin(out, DRAW_WIDTH, (double)(panels * PANEL_HEIGHT), "Boundary probability around sites", made_by,
                        error);
    free(made_by);
    if (status == LDAR_OK)
        status = draw_panels(out, results, &figure, error);
    if (status == LDAR_OK)
        status = draw_end(out, error);
    figure_free(&figure);
    return status;
}

/* ---- the loci ---- */

/* Lanes of the sets that have a mark here, in their order; the marks come to point to them. */
static size_t take_lanes(const struct profile_results *results, const struct profile_locus *place,
                         struct draw_mark *marks, const char **lanes)
{
    size_t count = 0;
    for (size_t s = 0; s < results->set_count; s++) {
        bool any = false;
        for (size_t m = 0; m < place->mark_count; m++)
            if (place->marks[m].lane == s) {
                marks[m] = place->marks[m];
                marks[m].lane = count;
                any = true;
            }
        if (any)
            lanes[count++] = results->sets[s].name;
    }
    return count;
}

static enum ldar_status draw_place(output *out, const struct profile_results *results, size_t number,
                                   struct ldar_error *error)
{
    const struct profile_locus *place = &results->loci[number];
    const struct locus *locus = &place->locus;
    char title[400];
    struct draw_mark *marks = calloc(place->mark_count + 1, sizeof *marks);
    const char **lanes = calloc(results->set_count, sizeof *lanes);
    enum ldar_status status = LDAR_OK;
    if (!marks || !lanes) {
        free(marks);
        free(lanes);
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the drawing of a locus");
    }
    snprintf(title, sizeof title, "%.200s:%llu-%llu (%c), probability that a token begins, and the tokens",
             contig_of(results, locus), (unsigned long long)locus->start + 1, (unsigned long long)locus->end,
             locus->minus ? '-' : '+');
    const struct draw_locus drawing = {.title = title,
                                       .count = (size_t)(locus->end - locus->start),
                                       .letters = locus->letters,
                                       .probability = locus->prob,
                                       .boundary = locus->boundary,
                                       .position = locus->minus ? locus->end : locus->start + 1,
                                       .step = locus->minus ? -1 : 1,
                                       .lane_count = take_lanes(results, place, marks, lanes),
                                       .lanes = lanes,
                                       .marks = marks,
                                       .mark_count = place->mark_count};
    char *made_by = provenance_line(results->provenance);
    status = draw_begin(out, DRAW_WIDTH, draw_locus_height(&drawing), title, made_by, error);
    free(made_by);
    if (status == LDAR_OK)
        status = draw_locus(out, &drawing, error);
    if (status == LDAR_OK)
        status = draw_end(out, error);
    free(marks);
    free(lanes);
    return status;
}

/* ---- the page ---- */

static enum ldar_status write_cell(output *out, struct estimate e, int decimals, struct ldar_error *error)
{
    if (!isfinite(e.mean))
        return output_print(out, error, "<td>-</td>");
    if (!isfinite(e.low))
        return output_print(out, error, "<td>%.*f</td>", decimals, e.mean);
    return output_print(out, error, "<td>%.*f (%.*f to %.*f)</td>", decimals, e.mean, decimals, e.low, decimals,
                        e.high);
}

static enum ldar_status write_page_row(output *out, const struct profile_set *set, struct ldar_error *error)
{
    enum ldar_status status = write_text(out, "<tr><td>", error);
    if (status == LDAR_OK)
        status = page_escaped(out, set->name, error);
    if (status == LDAR_OK)
        status = output_print(out, error, "</td><td>%zu</td>", set->sites.used);
    for (int v = PROFILE_NATIVE; v <= PROFILE_DIFFERENCE && status == LDAR_OK; v++)
        status = write_cell(out, moments_estimate(&set->profile.whole[v]), 4, error);
    if (status == LDAR_OK)
        status = write_cell(out, tally_token_length(&set->profile.native), 3, error);
    if (status == LDAR_OK)
        status = write_cell(out, tally_token_length(&set->profile.background), 3, error);
    return status == LDAR_OK ? write_text(out, "</tr>\n", error) : status;
}

static enum ldar_status write_page_summary(output *out, const struct profile_results *results, struct ldar_error *error)
{
    enum ldar_status status = output_print(
        out, error,
        "<h2>Over the whole flank</h2>\n<div class=\"scroll\"><table>\n<tr><th>set</th><th>sites</th>"
        "<th>boundary probability, genome</th><th>background</th><th>difference</th><th>bases per token, genome</th>"
        "<th>background</th></tr>\n");
    for (size_t s = 0; s < results->set_count && status == LDAR_OK; s++)
        status = write_page_row(out, &results->sets[s], error);
    if (status == LDAR_OK)
        status = write_text(out,
                            "</table></div>\n<p>Means over sites, each the mean of its offsets, with 95 % intervals. "
                            "An interval of the difference that leaves out 0 tells the sites from their background."
                            "</p>\n",
                            error);
    return status;
}

static enum ldar_status write_pair(output *out, const char *name, const char *text, struct ldar_error *error)
{
    enum ldar_status status = output_print(out, error, "<tr><td>%s</td><td>", name);
    if (status == LDAR_OK)
        status = page_escaped(out, text, error);
    return status == LDAR_OK ? write_text(out, "</td></tr>\n", error) : status;
}

static enum ldar_status write_asked(output *out, const struct profile_results *results, struct ldar_error *error)
{
    const struct profile_plan *plan = results->plan;
    char flank[120], window[80], background[160];
    snprintf(flank, sizeof flank, "%zu nt on either side of the site's %s", plan->flank, anchor_words[plan->anchor]);
    snprintf(window, sizeof window, "%zu nt, the site in the middle", plan->window);
    snprintf(background, sizeof background, "%s; %zu for each site, seed %llu", background_words[plan->background],
             plan->draws, (unsigned long long)plan->seed);
    const char *const pairs[][2] = {
        {"genome", reference_path(results->reference)},
        {"model", results->provenance->model},
        {"its SHA-256", results->provenance->sha256},
        {"drawn", flank},
        {"the model sees", window},
        {"it reads", reading_words[plan->reading]},
        {"background", has_background(results) ? background : background_words[BACKGROUND_NONE]},
    };
    enum ldar_status status = write_text(out, "\n<h2>What was asked</h2>\n<table>\n", error);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && status == LDAR_OK; i++)
        status = write_pair(out, pairs[i][0], pairs[i][1], error);
    return status == LDAR_OK ? write_text(out, "</table>\n", error) : status;
}

static enum ldar_status write_page_sites(output *out, const struct profile_results *results, struct ldar_error *error)
{
    enum ldar_status status = write_text(
        out,
        "<div class=\"scroll\"><table>\n<tr><th>set</th><th>from</th><th>given</th><th>no such contig</th>"
        "<th>beyond its end</th><th>outside the regions</th><th>repeated</th><th>without strand, taken for +</th>"
        "<th>used</th><th>at a contig's end, in part</th></tr>\n",
        error);
    for (size_t s = 0; s < results->set_count && status == LDAR_OK; s++) {
        const struct profile_set *set = &results->sets[s];
        const struct site_counts *c = &set->sites.counts;
        status = write_text(out, "<tr><td>", error);
        if (status == LDAR_OK)
            status = page_escaped(out, set->name, error);
        if (status == LDAR_OK)
            status = write_text(out, "</td><td>", error);
        if (status == LDAR_OK)
            status = page_escaped(out, set->origin, error);
        if (status == LDAR_OK)
            status = output_print(out, error,
                                  "</td><td>%llu</td><td>%llu</td><td>%llu</td><td>%llu</td><td>%llu</td><td>%llu</td>"
                                  "<td>%zu</td><td>%llu</td></tr>\n",
                                  (unsigned long long)c->given, (unsigned long long)c->absent,
                                  (unsigned long long)c->beyond, (unsigned long long)c->outside,
                                  (unsigned long long)c->repeated, (unsigned long long)c->unstranded, set->sites.used,
                                  (unsigned long long)set->profile.partial);
    }
    return status == LDAR_OK ? write_text(out, "</table></div>\n", error) : status;
}

static const char how_to_read[] =
    "<p>A line is the mean over all sites of the probability that a token begins at that offset, and the band its 95 % "
    "interval (mean &#177; 1.96 standard errors). Sites on the minus strand are read on the reverse complement, so "
    "that 5' "
    "is on the left for all. The background says what the model makes of the same composition without the order of the "
    "genome, or of other places of it.</p>\n";

static enum ldar_status write_page(output *out, const struct profile_results *results, size_t unused,
                                   struct ldar_error *error)
{
    (void)unused;
    enum ldar_status status = page_begin(out, "Boundary probability around sites", results->provenance->command, error);
    if (status == LDAR_OK)
        status = write_asked(out, results, error);
    if (status == LDAR_OK)
        status = write_page_sites(out, results, error);
    if (status == LDAR_OK)
        status = write_text(out, "<h2>Around the sites</h2>\n", error);
    if (status == LDAR_OK)
        status = draw_profile(out, results, 0, error);
    if (status == LDAR_OK)
        status = write_text(out, how_to_read, error);
    if (status == LDAR_OK)
        status = write_page_summary(out, results, error);
    if (status == LDAR_OK)
        status = write_text(out, "<h2>In one place</h2>\n", error);
    for (size_t i = 0; i < results->locus_count && status == LDAR_OK; i++)
        status = draw_place(out, results, i, error);
    return status == LDAR_OK ? page_end(out, error) : status;
}

/* ---- files ---- */

typedef enum ldar_status writer(output *out, const struct profile_results *results, size_t number,
                                struct ldar_error *error);

/* Files that are written and do not bear their names yet. */
struct files {
    output **list;
    size_t count;
};

static enum ldar_status write_file(const struct profile_results *results, const char *folder, const char *name,
                                   writer *write, size_t number, struct files *files, struct ldar_error *error)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return fail(error, LDAR_ERROR_ARGUMENT, "%.200s...: the path is too long", folder);
    output *out;
    enum ldar_status status = output_create(path, &out, error);
    if (status != LDAR_OK)
        return status;
    files->list[files->count++] = out;
    status = write(out, results, number, error);
    return status == LDAR_OK ? output_sync(out, error) : status;
}

static enum ldar_status write_files(const struct profile_results *results, const char *folder, struct files *files,
                                    struct ldar_error *error)
{
    static const struct {
        const char *name;
        writer *write;
    } tables[TABLES] = {{"profile.tsv", write_profile_table},
                        {"summary.tsv", write_summary},
                        {"profile.svg", draw_profile},
                        {"locus.tsv", write_locus_table},
                        {"report.html", write_page}};
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < results->locus_count && status == LDAR_OK; i++) {
        char name[40] = "locus.svg";
        if (i > 0)
            snprintf(name, sizeof name, "locus-%zu.svg", i + 1);
        status = write_file(results, folder, name, draw_place, i, files, error);
    }
    for (size_t i = 0; i < TABLES && status == LDAR_OK; i++)
        status = write_file(results, folder, tables[i].name, tables[i].write, 0, files, error);
    return status;
}

enum ldar_status profile_report(const struct profile_results *results, const char *folder, struct ldar_error *error)
{
    struct files files = {calloc(TABLES + results->locus_count, sizeof(output *)), 0};
    if (!files.list)
        return fail(error, LDAR_ERROR_MEMORY, "no memory to write the results");
    enum ldar_status status = write_files(results, folder, &files, error);
    for (size_t i = 0; i < files.count; i++) {
        if (status == LDAR_OK)
            status = output_commit(files.list[i], error);
        else
            output_abandon(files.list[i]);
    }
    free(files.list);
    return status;
}
