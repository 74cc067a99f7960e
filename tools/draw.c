/* SPDX-License-Identifier: Apache-2.0 */
#include "draw.h"
#include "page.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- colours ---- */

/* Each is told from the others by readers who do not tell red from green, on white and, the second, on black. */
static const struct {
    const char *light, *dark;
} palette[DRAW_COLOURS] = {
    {"#6b46c1", "#b794f4"}, {"#d9480f", "#ff9d66"}, {"#0b6e99", "#5cb8e0"}, {"#2f855a", "#68d391"},
    {"#b83280", "#f687b3"}, {"#975a16", "#ecc94b"}, {"#0f766e", "#4fd1c5"}, {"#c53030", "#fc8181"},
};

enum ink { INK, FAINT, RULE, PAPER, GREY, SHADE, SHADE_NEXT, LETTER_A, LETTER_C, LETTER_G, LETTER_T, INKS };

static const struct {
    const char *class, *light, *dark;
} inks[INKS] = {
    [INK] = {"ink", "#1a202c", "#e8eaec"},           [FAINT] = {"faint", "#4a5568", "#a0a8b0"},
    [RULE] = {"rule", "#e2e8f0", "#33383d"},         [PAPER] = {"paper", "#ffffff", "#16181a"},
    [GREY] = {"grey", "#a0aec0", "#718096"},         [SHADE] = {"shade", "#e9d8fd", "#44337a"},
    [SHADE_NEXT] = {"shade2", "#d6bcfa", "#553c9a"}, [LETTER_A] = {"a", "#22744c", "#9ae6b4"},
    [LETTER_C] = {"c", "#2b6cb0", "#90cdf4"},        [LETTER_G] = {"g", "#8a5a00", "#f6e05e"},
    [LETTER_T] = {"t", "#c53030", "#feb2b2"},
};

static const char *colour_of(int colour)
{
    return colour == DRAW_GREY ? "#718096" : palette[colour % DRAW_COLOURS].light;
}

/* Its class in the style for dark screens. */
static int class_of(int colour)
{
    return colour == DRAW_GREY ? DRAW_COLOURS : colour % DRAW_COLOURS;
}

static enum ldar_status draw_style(output *out, struct ldar_error *error)
{
    enum ldar_status status = output_print(out, error, "<style>@media (prefers-color-scheme: dark) {\n");
    for (int i = 0; i < INKS && status == LDAR_OK; i++)
        status = output_print(out, error, ".d-%s { fill: %s } .d-%s-line { stroke: %s }\n", inks[i].class, inks[i].dark,
                              inks[i].class, inks[i].dark);
    for (int i = 0; i <= DRAW_COLOURS && status == LDAR_OK; i++) {
        const char *dark = i < DRAW_COLOURS ? palette[i].dark : "#a0a8b0";
        status = output_print(out, error, ".d-%d { fill: %s } .d-%d-line { stroke: %s }\n", i, dark, i, dark);
    }
    return status == LDAR_OK ? output_print(out, error, "}</style>\n") : status;
}

/* ---- elements ---- */

static enum ldar_status draw_text(output *out, double x, double y, const char *anchor, int size, enum ink ink,
                                  const char *text, struct ldar_error *error)
{
    enum ldar_status status = output_print(
        out, error, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\" class=\"d-%s\" fill=\"%s\">", x, y,
        anchor, size, inks[ink].class, inks[ink].light);
    if (status == LDAR_OK)
        status = page_escaped(out, text, error);
    return status == LDAR_OK ? output_print(out, error, "</text>\n") : status;
}

static enum ldar_status draw_rule(output *out, double x0, double y0, double x1, double y1, enum ink ink,
                                  const char *dashes, struct ldar_error *error)
{
    return output_print(out, error,
                        "<path d=\"M%.1f %.1fL%.1f %.1f\" fill=\"none\" class=\"d-%s-line\" stroke=\"%s\"%s%s%s/>\n",
                        x0, y0, x1, y1, inks[ink].class, inks[ink].light, dashes ? " stroke-dasharray=\"" : "",
                        dashes ? dashes : "", dashes ? "\"" : "");
}

enum ldar_status draw_begin(output *out, double width, double height, const char *label, const char *made_by,
                            struct ldar_error *error)
{
    enum ldar_status status =
        output_print(out, error,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
                     "height=\"%.0f\" role=\"img\" "
                     "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" aria-label=\"",
                     width, height, width, height);
    if (status == LDAR_OK)
        status = page_escaped(out, label, error);
    if (status == LDAR_OK)
        status = output_print(out, error, "\">\n<desc>");
    if (status == LDAR_OK && made_by)
        status = page_escaped(out, made_by, error);
    if (status == LDAR_OK)
        status = output_print(out, error, "</desc>\n");
    if (status == LDAR_OK)
        status = draw_style(out, error);
    if (status == LDAR_OK)
        status = output_print(out, error, "<rect width=\"%.0f\" height=\"%.0f\" class=\"d-paper\" fill=\"%s\"/>\n",
                              width, height, inks[PAPER].light);
    return status;
}

enum ldar_status draw_end(output *out, struct ldar_error *error)
{
    return output_print(out, error, "</svg>\n");
}

/* ---- curves ---- */

/* Room that axes and labels take around the values. */
static const double left = 62, right = 16, top = 34, bottom = 44;

static double x_of(const struct draw_field *field, double place)
{
    const double span = field->last - field->first;
    return field->x + left + (field->width - left - right) * (span > 0 ? (place - field->first) / span : 0.5);
}

static double y_of(const struct draw_field *field, double value)
{
    const double inside = (value - field->low) / (field->high - field->low);
    return field->y + field->height - bottom - (field->height - top - bottom) * fmin(fmax(inside, 0), 1);
}

/* 1, 2 or 5 times a power of ten, of which about `count` make up the range. */
static double tick_of(double range, double count)
{
    const double rough = range / count, power = pow(10, floor(log10(rough))), ratio = rough / power;
    return power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
}

static enum ldar_status draw_y_axis(output *out, const struct draw_field *field, struct ldar_error *error)
{
    const double tick = tick_of(field->high - field->low, 4), begin = x_of(field, field->first);
    enum ldar_status status = LDAR_OK;
    for (double i = ceil(field->low / tick); i * tick <= field->high && status == LDAR_OK; i++) {
        char number[32];
        snprintf(number, sizeof number, "%.6g", fabs(i * tick) < tick / 2 ? 0 : i * tick);
        status = draw_rule(out, begin, y_of(field, i * tick), x_of(field, field->last), y_of(field, i * tick), RULE,
                           NULL, error);
        if (status == LDAR_OK)
            status = draw_text(out, begin - 8, y_of(field, i * tick) + 4, "end", 11, FAINT, number, error);
    }
    const double middle = field->y + top + (field->height - top - bottom) / 2;
    if (status == LDAR_OK)
        status = output_print(out, error, "<g transform=\"rotate(-90 %.1f %.1f)\">", field->x + 14, middle);
    if (status == LDAR_OK)
        status = draw_text(out, field->x + 14, middle, "middle", 11, FAINT, field->y_label, error);
    return status == LDAR_OK ? output_print(out, error, "</g>\n") : status;
}

static enum ldar_status draw_x_axis(output *out, const struct draw_field *field, struct ldar_error *error)
{
    const double tick = fmax(tick_of(fmax(field->last - field->first, 1), 8), 1);
    const double base = field->y + field->height - bottom;
    enum ldar_status status = LDAR_OK;
    for (double i = ceil(field->first / tick); i * tick <= field->last && status == LDAR_OK; i++) {
        char number[32];
        snprintf(number, sizeof number, i > 0 ? "+%.0f" : "%.0f", i == 0 ? 0 : i * tick);
        status = draw_rule(out, x_of(field, i * tick), base, x_of(field, i * tick), base + 4, FAINT, NULL, error);
        if (status == LDAR_OK)
            status = draw_text(out, x_of(field, i * tick), base + 17, "middle", 11, FAINT, number, error);
    }
    if (status == LDAR_OK && field->first <= 0 && field->last >= 0)
        status = draw_rule(out, x_of(field, 0), field->y + top, x_of(field, 0), base, FAINT, "3 3", error);
    if (status == LDAR_OK && field->low < 0 && field->high > 0)
        status = draw_rule(out, x_of(field, field->first), y_of(field, 0), x_of(field, field->last), y_of(field, 0),
                           FAINT, NULL, error);
    if (status == LDAR_OK)
        status = draw_text(out, (x_of(field, field->first) + x_of(field, field->last)) / 2, base + 36, "middle", 11,
                           FAINT, field->x_label, error);
    return status;
}

static double place_of(const struct draw_field *field, const struct draw_curve *curve, size_t i)
{
    return curve->count < 2 ? field->first
                            : field->first + (field->last - field->first) * (double)i / (double)(curve->count - 1);
}

/* Whether the i-th value can be drawn, with its band where `band`. */
static bool drawable(const struct draw_curve *curve, size_t i, bool band)
{
    return isfinite(curve->mean[i]) && (!band || (isfinite(curve->low[i]) && isfinite(curve->high[i])));
}

/* Where the run of values that can be drawn from `begin` on ends. */
static size_t run_end(const struct draw_curve *curve, size_t begin, bool band)
{
    size_t end = begin;
    while (end < curve->count && drawable(curve, end, band))
        end++;
    return end;
}

static enum ldar_status draw_band(output *out, const struct draw_field *field, const struct draw_curve *curve,
                                  struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t begin = 0, end; begin < curve->count && status == LDAR_OK; begin = end + 1) {
        end = run_end(curve, begin, true);
        if (end == begin)
            continue;
        const size_t run = end - begin;
        status = output_print(out, error, "<path class=\"d-%d\" fill=\"%s\" fill-opacity=\"0.22\" d=\"",
                              class_of(curve->colour), colour_of(curve->colour));
        for (size_t j = 0; j < 2 * run && status == LDAR_OK; j++) {
            const size_t i = j < run ? begin + j : end - 1 - (j - run);
            status = output_print(out, error, "%c%.1f %.1f", j == 0 ? 'M' : 'L', x_of(field, place_of(field, curve, i)),
                                  y_of(field, j < run ? curve->high[i] : curve->low[i]));
        }
        if (status == LDAR_OK)
            status = output_print(out, error, "Z\"/>\n");
    }
    return status;
}

static enum ldar_status draw_line(output *out, const struct draw_field *field, const struct draw_curve *curve,
                                  struct ldar_error *error)
{
    enum ldar_status status = output_print(
        out, error,
        "<path class=\"d-%d-line\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.4\" stroke-linejoin=\"round\" d=\"",
        class_of(curve->colour), colour_of(curve->colour));
    bool drawing = false;
    for (size_t i = 0; i < curve->count && status == LDAR_OK; i++) {
        const bool draws = drawable(curve, i, false);
        if (draws)
            status = output_print(out, error, "%c%.1f %.1f", drawing ? 'L' : 'M',
                                  x_of(field, place_of(field, curve, i)), y_of(field, curve->mean[i]));
        drawing = draws;
    }
    return status == LDAR_OK ? output_print(out, error, "\"/>\n") : status;
}

/* The title, and behind it the curves' names in their colours. */
static enum ldar_status draw_names(output *out, const struct draw_field *field, const struct draw_curve *curves,
                                   size_t count, struct ldar_error *error)
{
    enum ldar_status status =
        output_print(out, error, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"13\" class=\"d-ink\" fill=\"%s\">",
                     field->x + left, field->y + 20, inks[INK].light);
    if (status == LDAR_OK)
        status = page_escaped(out, field->title, error);
    for (size_t i = 0; i < count && status == LDAR_OK; i++) {
        status = output_print(out, error, "<tspan dx=\"16\" font-size=\"12\" class=\"d-%d\" fill=\"%s\">&#9632; ",
                              class_of(curves[i].colour), colour_of(curves[i].colour));
        if (status == LDAR_OK)
            status = page_escaped(out, curves[i].name, error);
        if (status == LDAR_OK)
            status = output_print(out, error, "</tspan>");
    }
    return status == LDAR_OK ? output_print(out, error, "</text>\n") : status;
}

enum ldar_status draw_curves(output *out, const struct draw_field *field, const struct draw_curve *curves, size_t count,
                             struct ldar_error *error)
{
    enum ldar_status status = draw_names(out, field, curves, count, error);
    if (status == LDAR_OK)
        status = draw_y_axis(out, field, error);
    if (status == LDAR_OK)
        status = draw_x_axis(out, field, error);
    for (size_t i = 0; i < count && status == LDAR_OK; i++)
        if (curves[i].low && curves[i].high)
            status = draw_band(out, field, &curves[i], error);
    for (size_t i = 0; i < count && status == LDAR_OK; i++)
        status = draw_line(out, field, &curves[i], error);
    return status;
}

void draw_span(const struct draw_curve *curves, size_t count, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t c = 0; c < count; c++)
        for (size_t i = 0; i < curves[c].count; i++) {
            *low = fmin(*low, curves[c].mean[i]);
            *high = fmax(*high, curves[c].mean[i]);
            if (curves[c].low && curves[c].high) {
                *low = fmin(*low, curves[c].low[i]);
                *high = fmax(*high, curves[c].high[i]);
            }
        }
    if (!isfinite(*low) || !isfinite(*high)) {
        *low = 0;
        *high = 1;
    }
    const double margin = fmax(0.05 * (*high - *low), 1e-3);
    *low -= margin;
    *high += margin;
}

/* ---- bars ---- */

static const double bars_left = 232, bars_right = 64, bars_top = 58, bars_bottom = 44, bar_height = 24;

static double bars_x(const struct draw_bars *bars, double value)
{
    const double inside = (value - bars->low) / (bars->high - bars->low);
    return bars_left + (DRAW_WIDTH - bars_left - bars_right) * fmin(fmax(inside, 0), 1);
}

double draw_bars_height(const struct draw_bars *bars)
{
    return bars_top + bar_height * (double)bars->count + bars_bottom;
}

static enum ldar_status draw_bars_axis(output *out, const struct draw_bars *bars, struct ldar_error *error)
{
    const double tick = tick_of(bars->high - bars->low, 8), end = draw_bars_height(bars) - bars_bottom;
    enum ldar_status status = LDAR_OK;
    for (double i = ceil(bars->low / tick); i * tick <= bars->high && status == LDAR_OK; i++) {
        const double x = bars_x(bars, i * tick);
        char number[32];
        snprintf(number, sizeof number, "%.6g", i == 0 ? 0 : i * tick);
        status = draw_rule(out, x, bars_top, x, end, i == 0 ? FAINT : RULE, NULL, error);
        if (status == LDAR_OK)
            status = draw_text(out, x, end + 16, "middle", 11, FAINT, number, error);
    }
    return status == LDAR_OK ? draw_text(out, (bars_left + DRAW_WIDTH - bars_right) / 2, end + 34, "middle", 11, FAINT,
                                         bars->x_label, error)
                             : status;
}

/* A line from value - half to value + half. */
static enum ldar_status draw_interval(output *out, const struct draw_bars *bars, const struct draw_point *point,
                                      double y, int colour, struct ldar_error *error)
{
    if (!isfinite(point->half))
        return LDAR_OK;
    if (colour < 0)
        return draw_rule(out, bars_x(bars, point->value - point->half), y, bars_x(bars, point->value + point->half), y,
                         INK, NULL, error);
    return output_print(out, error, "<path d=\"M%.1f %.1fH%.1f\" fill=\"none\" class=\"d-%d-line\" stroke=\"%s\"/>\n",
                        bars_x(bars, point->value - point->half), y, bars_x(bars, point->value + point->half),
                        class_of(colour), colour_of(colour));
}

static enum ldar_status draw_bar_value(output *out, const struct draw_bars *bars, const struct draw_bar *bar, double y,
                                       struct ldar_error *error)
{
    const double zero = bars_x(bars, 0), x = bars_x(bars, bar->point.value);
    char number[40];
    if (!isfinite(bar->point.value))
        return draw_text(out, DRAW_WIDTH - bars_right + 8, y + 4, "start", 11, FAINT, "-", error);
    snprintf(number, sizeof number, "%.1f", bar->point.value);
    enum ldar_status status =
        output_print(out, error,
                     "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"d-0\" fill=\"%s\" "
                     "fill-opacity=\"0.45\"/>\n",
                     fmin(zero, x), y - bar_height / 2 + 4, fabs(x - zero), bar_height - 8, colour_of(0));
    if (status == LDAR_OK)
        status = draw_interval(out, bars, &bar->point, y, DRAW_GREY, error);
    return status == LDAR_OK ? draw_text(out, DRAW_WIDTH - bars_right + 8, y + 4, "start", 11, INK, number, error)
                             : status;
}

static enum ldar_status draw_bar_mark(output *out, const struct draw_bars *bars, const struct draw_bar *bar,
                                      size_t mark, double y, struct ldar_error *error)
{
    const struct draw_point *point = &bar->marks[mark];
    const int colour = (int)mark + 1;
    if (!isfinite(point->value))
        return LDAR_OK;
    enum ldar_status status = draw_interval(out, bars, point, y, colour, error);
    if (status == LDAR_OK)
        status = output_print(out, error, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" class=\"d-%d\" fill=\"%s\"><title>",
                              bars_x(bars, point->value), y, class_of(colour), colour_of(colour));
    if (status == LDAR_OK)
        status = page_escaped(out, bars->marks[mark], error);
    return status == LDAR_OK ? output_print(out, error, ": %.1f</title></circle>\n", point->value) : status;
}

/* The title, and the names of bars and marks in their colours. */
static enum ldar_status draw_bars_head(output *out, const struct draw_bars *bars, struct ldar_error *error)
{
    enum ldar_status status = draw_text(out, 16, 22, "start", 14, INK, bars->title, error);
    if (status == LDAR_OK)
        status = output_print(out, error, "<text x=\"16\" y=\"43\" font-size=\"12\">");
    for (size_t i = 0; i <= bars->mark_count && status == LDAR_OK; i++) {
        const char *colour = colour_of((int)i);
        status = output_print(out, error, "<tspan class=\"d-%d\" fill=\"%s\"%s>%s ", class_of((int)i), colour,
                              i > 0 ? " dx=\"14\"" : "", i > 0 ? "&#9679;" : "&#9632;");
        if (status == LDAR_OK)
            status = page_escaped(out, i > 0 ? bars->marks[i - 1] : bars->name, error);
        if (status == LDAR_OK)
            status = output_print(out, error, "</tspan>");
    }
    return status == LDAR_OK ? output_print(out, error, "</text>\n") : status;
}

enum ldar_status draw_bars(output *out, const struct draw_bars *bars, struct ldar_error *error)
{
    enum ldar_status status = draw_bars_head(out, bars, error);
    if (status == LDAR_OK)
        status = draw_bars_axis(out, bars, error);
    for (size_t i = 0; i < bars->count && status == LDAR_OK; i++) {
        const double y = bars_top + bar_height * ((double)i + 0.5);
        status = draw_text(out, bars_left - 10, y + 4, "end", 12, INK, bars->bars[i].name, error);
        if (status == LDAR_OK)
            status = draw_bar_value(out, bars, &bars->bars[i], y, error);
        for (size_t mark = 0; mark < bars->mark_count && status == LDAR_OK; mark++)
            status = draw_bar_mark(out, bars, &bars->bars[i], mark, y, error);
    }
    return status;
}

/* ---- a locus ---- */

/* Letters of a row at most, and where its parts lie below its top. */
enum { ROW_LETTERS = 90 };
static const double margin = 56, step = 10, head = 34, bars = 92, blocks = 20, scale = 20, lane = 16, gap = 20;

static double row_height(const struct draw_locus *locus)
{
    return bars + 10 + blocks + scale + lane * (double)locus->lane_count + gap;
}

static size_t row_count(const struct draw_locus *locus)
{
    return (locus->count + ROW_LETTERS - 1) / ROW_LETTERS;
}

/* Letters of each row but the last: the rows are equally long, as far as can be. */
static size_t row_letters(const struct draw_locus *locus)
{
    const size_t rows = row_count(locus);
    return rows > 0 ? (locus->count + rows - 1) / rows : 0;
}

double draw_locus_height(const struct draw_locus *locus)
{
    return head + row_height(locus) * (double)row_count(locus);
}

/* A row: letters [begin, end) of the locus, from y on. */
struct row {
    size_t begin, end;
    double y;
};

static double column(const struct row *row, size_t i)
{
    return margin + step * (double)(i - row->begin);
}

static enum ldar_status draw_probability(output *out, const struct draw_locus *locus, const struct row *row,
                                         struct ldar_error *error)
{
    static const char *const levels[] = {"0", "0.5", "1"};
    enum ldar_status status = LDAR_OK;
    for (int level = 0; level <= 2 && status == LDAR_OK; level++) {
        const double y = row->y + bars * (1 - level / 2.0);
        status = draw_rule(out, margin, y, column(row, row->end), y, level == 1 ? GREY : RULE,
                           level == 1 ? "4 3" : NULL, error);
        if (status == LDAR_OK)
            status = draw_text(out, margin - 6, y + 4, "end", 11, FAINT, levels[level], error);
    }
    for (size_t i = row->begin; i < row->end && status == LDAR_OK; i++) {
        const double height = bars * fmin(fmax((double)locus->probability[i], 0), 1);
        const int begins = locus->boundary[i] != 0;
        status = output_print(
            out, error, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"d-%s\" fill=\"%s\"/>\n",
            column(row, i) + 1.5, row->y + bars - height, step - 3, height, begins ? "0" : "grey",
            begins ? palette[0].light : "#cbd5e0");
    }
    return status;
}

static enum ldar_status draw_tokens(output *out, const struct draw_locus *locus, const struct row *row, size_t tokens,
                                    struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t i = row->begin, end; i < row->end && status == LDAR_OK; i = end) {
        tokens += locus->boundary[i] != 0;
        for (end = i + 1; end < row->end && !locus->boundary[end];)
            end++;
        const enum ink shade = tokens % 2 ? SHADE : SHADE_NEXT;
        status = output_print(
            out, error,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\" rx=\"4\" class=\"d-%s\" fill=\"%s\"/>\n",
            column(row, i) + 0.5, row->y + bars + 10, step * (double)(end - i) - 1, blocks, inks[shade].class,
            inks[shade].light);
    }
    return status;
}

static enum ink ink_of(char letter)
{
    switch (letter) {
    case 'A':
        return LETTER_A;
    case 'C':
        return LETTER_C;
    case 'G':
        return LETTER_G;
    case 'T':
        return LETTER_T;
    default:
        return FAINT;
    }
}

static enum ldar_status draw_letters(output *out, const struct draw_locus *locus, const struct row *row,
                                     struct ldar_error *error)
{
    enum ldar_status status =
        output_print(out, error, "<g font-family=\"ui-monospace, Menlo, Consolas, monospace\">\n");
    for (size_t i = row->begin; i < row->end && status == LDAR_OK; i++) {
        const char letter[2] = {locus->letters[i], '\0'};
        const double x = column(row, i) + step / 2;
        const unsigned long long position = locus->step > 0 ? locus->position + i : locus->position - i;
        status = draw_text(out, x, row->y + bars + 25, "middle", 12, ink_of(letter[0]), letter, error);
        if (status == LDAR_OK && position % 10 == 0) {
            char number[24];
            snprintf(number, sizeof number, "%llu", position);
            status = draw_text(out, x, row->y + bars + 10 + blocks + 14, "middle", 10, FAINT, number, error);
        }
    }
    return status == LDAR_OK ? output_print(out, error, "</g>\n") : status;
}

/* A mark, as far as the row holds it: a bar, with a point at the end that it reads to. */
static enum ldar_status draw_mark(output *out, const struct row *row, const struct draw_mark *mark, double y,
                                  struct ldar_error *error)
{
    const int64_t first = (int64_t)row->begin, last = (int64_t)row->end;
    const int64_t begin = mark->start > first ? mark->start : first, end = mark->end < last ? mark->end : last;
    if (begin >= end)
        return LDAR_OK;
    const double x0 = column(row, (size_t)begin) + 0.5, x1 = column(row, (size_t)end) - 0.5, point = 5, low = y + 9;
    const double to = mark->direction > 0 && end == mark->end ? point : 0;
    const double from = mark->direction < 0 && begin == mark->start ? point : 0;
    return output_print(out, error,
                        "<path class=\"d-%d\" fill=\"%s\" d=\"M%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f "
                        "%.1fZ\"/>\n",
                        class_of((int)(mark->lane % DRAW_COLOURS)), colour_of((int)(mark->lane % DRAW_COLOURS)),
                        x0 + from, y, x1 - to, y, x1, (y + low) / 2, x1 - to, low, x0 + from, low, x0, (y + low) / 2);
}

static enum ldar_status draw_lanes(output *out, const struct draw_locus *locus, const struct row *row,
                                   struct ldar_error *error)
{
    const double y = row->y + bars + 10 + blocks + scale;
    enum ldar_status status = LDAR_OK;
    for (size_t m = 0; m < locus->mark_count && status == LDAR_OK; m++)
        status = draw_mark(out, row, &locus->marks[m], y + lane * (double)locus->marks[m].lane + 3, error);
    return status;
}

/* What stands in the lanes, in their colours, behind the title. */
static enum ldar_status draw_locus_title(output *out, const struct draw_locus *locus, struct ldar_error *error)
{
    enum ldar_status status = output_print(
        out, error, "<text x=\"%.1f\" y=\"20\" font-size=\"13\" class=\"d-ink\" fill=\"%s\">", margin, inks[INK].light);
    if (status == LDAR_OK)
        status = page_escaped(out, locus->title, error);
    for (size_t i = 0; i < locus->lane_count && status == LDAR_OK; i++) {
        const int colour = (int)(i % DRAW_COLOURS);
        status = output_print(out, error, "<tspan dx=\"16\" font-size=\"12\" class=\"d-%d\" fill=\"%s\">&#9632; ",
                              class_of(colour), colour_of(colour));
        if (status == LDAR_OK)
            status = page_escaped(out, locus->lanes[i], error);
        if (status == LDAR_OK)
            status = output_print(out, error, "</tspan>");
    }
    return status == LDAR_OK ? output_print(out, error, "</text>\n") : status;
}

enum ldar_status draw_locus(output *out, const struct draw_locus *locus, struct ldar_error *error)
{
    enum ldar_status status = draw_locus_title(out, locus, error);
    size_t tokens = 0;
    for (size_t r = 0; r < row_count(locus) && status == LDAR_OK; r++) {
        struct row row = {r * row_letters(locus), (r + 1) * row_letters(locus), head + row_height(locus) * (double)r};
        row.end = row.end < locus->count ? row.end : locus->count;
        status = draw_probability(out, locus, &row, error);
        if (status == LDAR_OK)
            status = draw_tokens(out, locus, &row, tokens, error);
        if (status == LDAR_OK)
            status = draw_letters(out, locus, &row, error);
        if (status == LDAR_OK)
            status = draw_lanes(out, locus, &row, error);
        for (size_t i = row.begin; i < row.end; i++)
            tokens += locus->boundary[i] != 0;
    }
    return status;
}
