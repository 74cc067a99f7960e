/* SPDX-License-Identifier: Apache-2.0 */
#include "suite_report.h"
#include "draw.h"
#include "page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES = 4, PATH_BYTES = 4200 };

#define PLUS_MINUS "\u00b1"

static enum ldar_status write_text(output *out, const char *text, struct ldar_error *error)
{
    return output_write(out, text, strlen(text), error);
}

/* ---- the numbers ---- */

static size_t model_count(const struct suite_results *results)
{
    return results->suite ? results->suite->model_count : 0;
}

static const struct published_task *published_of(const struct suite_results *results, const struct suite_task *task)
{
    return results->suite ? published_task(results->suite, task->name) : NULL;
}

static enum metric metric_of(const struct suite_results *results, const struct suite_task *task)
{
    const struct published_task *published = published_of(results, task);
    return published ? published->metric : METRIC_MCC;
}

/* What others reached: NaN where that is not known. */
static struct interval published_interval(const struct suite_results *results, const struct suite_task *task,
                                          size_t model)
{
    const struct published_task *published = published_of(results, task);
    return published ? (struct interval){published->results[model].value, published->results[model].half}
                     : (struct interval){NAN, NAN};
}

/* Over the folds. False without memory. */
static bool own_interval(const struct suite_task *task, enum metric metric, struct interval *interval)
{
    double *values = calloc(task->fold_count + 1, sizeof *values);
    if (!values)
        return false;
    for (size_t i = 0; i < task->fold_count; i++)
        values[i] = metric_value(&task->folds[i], metric);
    *interval = metrics_interval(values, task->fold_count);
    free(values);
    return true;
}

static enum ldar_status fail_numbers(struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_MEMORY, "no memory for the results of the tasks");
}

/* Whether an interval was published for any task, so that a column of them says something. */
static bool has_half(const struct suite_results *results, size_t model)
{
    for (size_t i = 0; i < results->suite->task_count; i++)
        if (isfinite(results->suite->tasks[i].results[model].half))
            return true;
    return false;
}

/* ---- results.tsv ---- */

/* A text that must not hold a tab, the end of a line, or a bar where `bar` is set. */
static enum ldar_status write_plain(output *out, const char *text, bool bar, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (; *text && status == LDAR_OK; text++) {
        const bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        if (bar && *text == '|')
            status = write_text(out, "\\", error);
        if (status == LDAR_OK)
            status = output_write(out, control ? "?" : text, 1, error);
    }
    return status;
}

static enum ldar_status write_number(output *out, double value, struct ldar_error *error)
{
    return isfinite(value) ? output_print(out, error, "\t%.6f", value) : output_print(out, error, "\tNA");
}

static enum ldar_status write_columns(output *out, const struct suite_results *results, struct ldar_error *error)
{
    enum ldar_status status = write_text(out, "task\tmetric\tfolds", error);
    for (int i = 0; i < METRICS && status == LDAR_OK; i++) {
        const char *name = metric_name((enum metric)i);
        status = output_print(out, error, "\t%s\t%s_half", name, name);
    }
    for (size_t i = 0; i < model_count(results) && status == LDAR_OK; i++) {
        status = write_text(out, "\t", error);
        if (status == LDAR_OK)
            status = write_plain(out, results->suite->models[i], false, error);
        if (status == LDAR_OK && has_half(results, i)) {
            status = write_text(out, "\t", error);
            if (status == LDAR_OK)
                status = write_plain(out, results->suite->models[i], false, error);
            if (status == LDAR_OK)
                status = write_text(out, "_half", error);
        }
    }
    return status == LDAR_OK ? write_text(out, "\n", error) : status;
}

static enum ldar_status write_row(output *out, const struct suite_results *results, const struct suite_task *task,
                                  struct ldar_error *error)
{
    enum ldar_status status = write_plain(out, task->name, false, error);
    if (status == LDAR_OK)
        status = output_print(out, error, "\t%s\t%zu", metric_name(metric_of(results, task)), task->fold_count);
    for (int i = 0; i < METRICS && status == LDAR_OK; i++) {
        struct interval interval;
        status = own_interval(task, (enum metric)i, &interval) ? write_number(out, interval.mean, error)
                                                               : fail_numbers(error);
        if (status == LDAR_OK)
            status = write_number(out, interval.half, error);
    }
    for (size_t i = 0; i < model_count(results) && status == LDAR_OK; i++) {
        const struct interval interval = published_interval(results, task, i);
        status = write_number(out, interval.mean, error);
        if (status == LDAR_OK && has_half(results, i))
            status = write_number(out, interval.half, error);
    }
    return status == LDAR_OK ? write_text(out, "\n", error) : status;
}

static enum ldar_status write_tsv(output *out, const struct suite_results *results, struct ldar_error *error)
{
    char *line = provenance_line(results->provenance);
    enum ldar_status status = line ? write_text(out, "# ", error) : fail_numbers(error);
    if (status == LDAR_OK)
        status = write_text(out, line, error);
    free(line);
    if (status == LDAR_OK)
        status = write_text(out, "\n", error);
    if (status == LDAR_OK)
        status = write_columns(out, results, error);
    for (size_t i = 0; i < results->task_count && status == LDAR_OK; i++)
        status = write_row(out, results, &results->tasks[i], error);
    return status;
}

/* ---- tables for people ---- */

/* How a table is written: in Markdown or in HTML. */
struct style {
    const char *head, *head_cell, *head_cell_end, *head_end;
    const char *row, *cell, *cell_end, *row_end;
    const char *end;
    bool html;
};

static const struct style markdown = {"", "| ", " ", "|\n", "", "| ", " ", "|\n", "\n", false};
static const struct style html = {"<div class=\"scroll\"><table>\n<tr>",
                                  "<th>",
                                  "</th>",
                                  "</tr>\n",
                                  "<tr>",
                                  "<td>",
                                  "</td>",
                                  "</tr>\n",
                                  "</table></div>\n",
                                  true};

static enum ldar_status write_cell(output *out, const struct style *style, bool head, const char *text,
                                   struct ldar_error *error)
{
    enum ldar_status status = write_text(out, head ? style->head_cell : style->cell, error);
    if (status == LDAR_OK)
        status = style->html ? page_escaped(out, text, error) : write_plain(out, text, true, error);
    return status == LDAR_OK ? write_text(out, head ? style->head_cell_end : style->cell_end, error) : status;
}

/* Times 100: "81.7 +- 0.8"; "-" for what is not known. */
static enum ldar_status write_interval(output *out, const struct style *style, struct interval interval,
                                       struct ldar_error *error)
{
    char text[80] = "-";
    if (isfinite(interval.mean) && isfinite(interval.half))
        snprintf(text, sizeof text, "%.1f " PLUS_MINUS " %.1f", 100 * interval.mean, 100 * interval.half);
    else if (isfinite(interval.mean))
        snprintf(text, sizeof text, "%.1f", 100 * interval.mean);
    return write_cell(out, style, false, text, error);
}

/* Under the head of a table in Markdown. */
static enum ldar_status write_underline(output *out, const struct style *style, size_t columns,
                                        struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < columns && !style->html && status == LDAR_OK; i++)
        status = write_text(out, "|---", error);
    return status == LDAR_OK && !style->html ? write_text(out, "|\n", error) : status;
}

static enum ldar_status write_comparison_head(output *out, const struct style *style,
                                              const struct suite_results *results, struct ldar_error *error)
{
    const char *const own[] = {"task", "metric", "folds", results->model};
    const size_t own_count = sizeof own / sizeof *own;
    enum ldar_status status = write_text(out, style->head, error);
    for (size_t i = 0; i < own_count + model_count(results) && status == LDAR_OK; i++)
        status = write_cell(out, style, true, i < own_count ? own[i] : results->suite->models[i - own_count], error);
    if (status == LDAR_OK)
        status = write_text(out, style->head_end, error);
    return status == LDAR_OK ? write_underline(out, style, own_count + model_count(results), error) : status;
}

static enum ldar_status write_comparison_row(output *out, const struct style *style,
                                             const struct suite_results *results, const struct suite_task *task,
                                             struct ldar_error *error)
{
    const enum metric metric = metric_of(results, task);
    struct interval interval;
    char folds[32];
    snprintf(folds, sizeof folds, "%zu", task->fold_count);
    enum ldar_status status =
        own_interval(task, metric, &interval) ? write_text(out, style->row, error) : fail_numbers(error);
    if (status == LDAR_OK)
        status = write_cell(out, style, false, task->name, error);
    if (status == LDAR_OK)
        status = write_cell(out, style, false, metric_name(metric), error);
    if (status == LDAR_OK)
        status = write_cell(out, style, false, folds, error);
    if (status == LDAR_OK)
        status = write_interval(out, style, interval, error);
    for (size_t i = 0; i < model_count(results) && status == LDAR_OK; i++)
        status = write_interval(out, style, published_interval(results, task, i), error);
    return status == LDAR_OK ? write_text(out, style->row_end, error) : status;
}

/* This model beside the others, by the metric that was published. */
static enum ldar_status write_comparison(output *out, const struct style *style, const struct suite_results *results,
                                         struct ldar_error *error)
{
    enum ldar_status status = write_comparison_head(out, style, results, error);
    for (size_t i = 0; i < results->task_count && status == LDAR_OK; i++)
        status = write_comparison_row(out, style, results, &results->tasks[i], error);
    return status == LDAR_OK ? write_text(out, style->end, error) : status;
}

/* This model by all metrics. */
static enum ldar_status write_metrics(output *out, const struct style *style, const struct suite_results *results,
                                      struct ldar_error *error)
{
    enum ldar_status status = write_text(out, style->head, error);
    for (int i = -1; i < METRICS && status == LDAR_OK; i++)
        status = write_cell(out, style, true, i < 0 ? "task" : metric_name((enum metric)i), error);
    if (status == LDAR_OK)
        status = write_text(out, style->head_end, error);
    if (status == LDAR_OK)
        status = write_underline(out, style, 1 + METRICS, error);
    for (size_t t = 0; t < results->task_count && status == LDAR_OK; t++) {
        status = write_text(out, style->row, error);
        if (status == LDAR_OK)
            status = write_cell(out, style, false, results->tasks[t].name, error);
        for (int i = 0; i < METRICS && status == LDAR_OK; i++) {
            struct interval interval;
            status = own_interval(&results->tasks[t], (enum metric)i, &interval)
                         ? write_interval(out, style, interval, error)
                         : fail_numbers(error);
        }
        if (status == LDAR_OK)
            status = write_text(out, style->row_end, error);
    }
    return status == LDAR_OK ? write_text(out, style->end, error) : status;
}

/* The source of a model's numbers: that of the first task of these which has one. NULL: none has. */
static const char *source_of(const struct suite_results *results, size_t model)
{
    for (size_t i = 0; i < results->task_count; i++) {
        const struct published_task *published = published_of(results, &results->tasks[i]);
        if (published && published->results[model].source)
            return published->results[model].source;
    }
    return NULL;
}

static enum ldar_status write_sources(output *out, const struct style *style, const struct suite_results *results,
                                      struct ldar_error *error)
{
    enum ldar_status status = write_text(out, style->html ? "<ul>\n" : "", error);
    for (size_t i = 0; i < model_count(results) && status == LDAR_OK; i++) {
        const char *const parts[] = {results->suite->models[i], ": ", source_of(results, i)};
        if (!parts[2])
            continue;
        status = write_text(out, style->html ? "<li>" : "- ", error);
        for (size_t p = 0; p < 3 && status == LDAR_OK; p++)
            status = style->html ? page_escaped(out, parts[p], error) : write_plain(out, parts[p], true, error);
        if (status == LDAR_OK)
            status = write_text(out, style->html ? "</li>\n" : "\n", error);
    }
    return status == LDAR_OK && style->html ? write_text(out, "</ul>\n", error) : status;
}

static const char how_to_read[] = "Values times 100; " PLUS_MINUS
                                  " is the 95 % interval of the mean over folds by Student's t, where there are two or "
                                  "more.";

static enum ldar_status write_markdown(output *out, const struct suite_results *results, struct ldar_error *error)
{
    char *line = provenance_line(results->provenance);
    enum ldar_status status = line ? write_text(out, "# ", error) : fail_numbers(error);
    if (status == LDAR_OK)
        status = write_plain(out, results->title, false, error);
    if (status == LDAR_OK)
        status = write_text(out, "\n\n", error);
    if (status == LDAR_OK)
        status = write_comparison(out, &markdown, results, error);
    if (status == LDAR_OK)
        status = write_metrics(out, &markdown, results, error);
    if (status == LDAR_OK)
        status = write_text(out, how_to_read, error);
    if (status == LDAR_OK)
        status = write_text(out, "\n\n", error);
    if (status == LDAR_OK)
        status = write_sources(out, &markdown, results, error);
    if (status == LDAR_OK)
        status = write_text(out, "\n", error);
    if (status == LDAR_OK)
        status = write_plain(out, line, false, error);
    free(line);
    return status == LDAR_OK ? write_text(out, "\n", error) : status;
}

/* ---- the drawing ---- */

/* Tasks as bars and marks, times 100. */
struct figure {
    struct draw_bar *bars;    /* (task_count) */
    struct draw_point *marks; /* (task_count, shown) */
    const char *names[PUBLISHED_MODELS_MAX];
    size_t models[PUBLISHED_MODELS_MAX]; /* (shown) those of which something is known of these tasks */
    size_t shown;
    double low;
};

static struct draw_point point_of(struct interval interval)
{
    return (struct draw_point){100 * interval.mean, 100 * interval.half};
}

static void figure_free(struct figure *figure)
{
    free(figure->bars);
    free(figure->marks);
}

static bool figure_fill(struct figure *figure, const struct suite_results *results)
{
    *figure = (struct figure){0};
    for (size_t i = 0; i < model_count(results); i++)
        if (source_of(results, i)) {
            figure->names[figure->shown] = results->suite->models[i];
            figure->models[figure->shown++] = i;
        }
    figure->bars = calloc(results->task_count + 1, sizeof *figure->bars);
    figure->marks = calloc(results->task_count * figure->shown + 1, sizeof *figure->marks);
    if (!figure->bars || !figure->marks)
        return false;
    for (size_t i = 0; i < results->task_count; i++) {
        const struct suite_task *task = &results->tasks[i];
        struct draw_point *marks = figure->marks + i * figure->shown;
        struct interval interval;
        if (!own_interval(task, metric_of(results, task), &interval))
            return false;
        figure->bars[i] = (struct draw_bar){task->name, point_of(interval), marks};
        figure->low = fmin(figure->low, figure->bars[i].point.value);
        for (size_t m = 0; m < figure->shown; m++) {
            marks[m] = point_of(published_interval(results, task, figure->models[m]));
            figure->low = fmin(figure->low, marks[m].value);
        }
    }
    return true;
}

static enum ldar_status draw_results(output *out, const struct suite_results *results, const struct figure *figure,
                                     const char *made_by, struct ldar_error *error)
{
    const struct draw_bars bars = {.title = results->title,
                                   .x_label = "metric of the test set, times 100",
                                   .name = results->model,
                                   .marks = figure->names,
                                   .mark_count = figure->shown,
                                   .bars = figure->bars,
                                   .count = results->task_count,
                                   .low = 10 * floor(figure->low / 10),
                                   .high = 100};
    enum ldar_status status = draw_begin(out, DRAW_WIDTH, draw_bars_height(&bars), results->title, made_by, error);
    if (status == LDAR_OK)
        status = draw_bars(out, &bars, error);
    return status == LDAR_OK ? draw_end(out, error) : status;
}

static enum ldar_status write_svg(output *out, const struct suite_results *results, struct ldar_error *error)
{
    struct figure figure;
    char *made_by = provenance_line(results->provenance);
    const enum ldar_status status = figure_fill(&figure, results) && made_by
                                        ? draw_results(out, results, &figure, made_by, error)
                                        : fail_numbers(error);
    figure_free(&figure);
    free(made_by);
    return status;
}

/* ---- the page ---- */

static enum ldar_status write_page(output *out, const struct suite_results *results, struct ldar_error *error)
{
    enum ldar_status status = page_begin(out, results->title, results->provenance->command, error);
    if (status == LDAR_OK)
        status = write_text(out, "\n", error);
    if (status == LDAR_OK)
        status = write_svg(out, results, error);
    if (status == LDAR_OK)
        status = write_comparison(out, &html, results, error);
    if (status == LDAR_OK)
        status = write_text(out, "<p>", error);
    if (status == LDAR_OK)
        status = page_escaped(out, how_to_read, error);
    if (status == LDAR_OK)
        status = write_text(out, "</p>\n", error);
    if (status == LDAR_OK)
        status = write_sources(out, &html, results, error);
    if (status == LDAR_OK)
        status = write_text(out, "<h2>All metrics</h2>\n", error);
    if (status == LDAR_OK)
        status = write_metrics(out, &html, results, error);
    return status == LDAR_OK ? page_end(out, error) : status;
}

/* ---- files ---- */

typedef enum ldar_status writer(output *out, const struct suite_results *results, struct ldar_error *error);

static enum ldar_status write_file(const struct suite_results *results, const char *folder, const char *name,
                                   writer *write, output **out, struct ldar_error *error)
{
    char path[PATH_BYTES];
    *out = NULL;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return fail(error, LDAR_ERROR_ARGUMENT, "%.200s...: the path is too long", folder);
    enum ldar_status status = output_create(path, out, error);
    if (status == LDAR_OK)
        status = write(*out, results, error);
    return status == LDAR_OK ? output_sync(*out, error) : status;
}

enum ldar_status suite_report(const struct suite_results *results, const char *folder, struct ldar_error *error)
{
    static const struct {
        const char *name;
        writer *write;
    } files[FILES] = {{"results.tsv", write_tsv},
                      {"results.md", write_markdown},
                      {"results.svg", write_svg},
                      {"report.html", write_page}};
    output *out[FILES] = {NULL};
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < FILES && status == LDAR_OK; i++)
        status = write_file(results, folder, files[i].name, files[i].write, &out[i], error);
    for (size_t i = 0; i < FILES; i++) {
        if (status == LDAR_OK)
            status = output_commit(out[i], error);
        else
            output_abandon(out[i]);
    }
    return status;
}
