/* SPDX-License-Identifier: Apache-2.0 */
#include "chart.h"

#include <math.h>
#include <stdlib.h>

/* The first bins of a long run, where everything falls steeply, would leave no room for what follows. */
enum { BINS = 300, STEEP = 12, TICKS = 5 };

/* In units of the SVG's own: the drawing, and the field in it that the curves have. */
static const double width = 720, height = 260, left = 64, right = 32, top = 34, bottom = 30;

/* ---- curves ---- */

bool curve_add(struct curve *curve, double step, double value)
{
    if (curve->count == curve->capacity) {
        const size_t capacity = curve->capacity ? 2 * curve->capacity : 1024;
        double *steps = realloc(curve->steps, capacity * sizeof *steps);
        if (!steps)
            return false;
        curve->steps = steps;
        double *values = realloc(curve->values, capacity * sizeof *values);
        if (!values)
            return false;
        curve->values = values;
        curve->capacity = capacity;
    }
    curve->steps[curve->count] = step;
    curve->values[curve->count++] = value;
    return true;
}

void curve_free(struct curve *curve)
{
    free(curve->steps);
    free(curve->values);
    curve->steps = curve->values = NULL;
    curve->count = curve->capacity = 0;
}

/* ---- bins ---- */

struct bin {
    double step, mean, least, most;
};

/* The points in as many bins of equal numbers as there are at most. */
static size_t fill_bins(const struct curve *curve, struct bin bins[BINS])
{
    const size_t count = curve->count < BINS ? curve->count : BINS;
    for (size_t b = 0; b < count; b++) {
        const size_t begin = b * curve->count / count, end = (b + 1) * curve->count / count;
        const double points = (double)(end - begin);
        struct bin bin = {0, 0, INFINITY, -INFINITY};
        for (size_t i = begin; i < end; i++) {
            bin.step += curve->steps[i] / points;
            bin.mean += curve->values[i] / points;
            bin.least = fmin(bin.least, curve->values[i]);
            bin.most = fmax(bin.most, curve->values[i]);
        }
        bins[b] = bin;
    }
    return count;
}

/* ---- the field ---- */

struct field {
    double steps, low, high;
};

static double x_of(const struct field *field, double step)
{
    return left + (width - left - right) * step / field->steps;
}

static double y_of(const struct field *field, double value)
{
    const double inside = (value - field->low) / (field->high - field->low);
    /* What leaves the field is drawn at its edge. */
    return height - bottom - (height - top - bottom) * fmin(fmax(inside, 0), 1);
}

/* 1, 2 or 5 times a power of ten, so that `range` has about TICKS of them. */
static double tick_of(double range)
{
    const double rough = range / TICKS, power = pow(10, floor(log10(rough))), ratio = rough / power;
    return power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
}

static struct field field_of(const struct bin *bins, size_t count, const struct curve *marks, double steps)
{
    struct field field = {steps > 0 ? steps : 1, INFINITY, -INFINITY};
    const size_t first = count == BINS ? STEEP : 0;
    for (size_t i = first; i < count; i++) {
        field.low = fmin(field.low, bins[i].mean);
        field.high = fmax(field.high, bins[i].mean);
    }
    for (size_t i = 0; marks && i < marks->count; i++) {
        if (marks->steps[i] < bins[first].step)
            continue;
        field.low = fmin(field.low, marks->values[i]);
        field.high = fmax(field.high, marks->values[i]);
    }
    const double least = 1e-6 * fmax(fabs(field.low), fabs(field.high)) + 1e-30;
    const double margin = fmax(0.05 * (field.high - field.low), least);
    field.low -= margin;
    field.high += margin;
    return field;
}

static enum ldar_status draw_grid(output *page, const struct field *field, struct ldar_error *error)
{
    const double tick = tick_of(field->high - field->low), stride = tick_of(field->steps);
    enum ldar_status status = LDAR_OK;
    for (double i = ceil(field->low / tick); i * tick <= field->high && status == LDAR_OK; i++)
        status = output_print(page, error,
                              "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>"
                              "<text class=\"label\" text-anchor=\"end\" x=\"%.1f\" y=\"%.1f\">%.6g</text>\n",
                              left, y_of(field, i * tick), width - right, left - 8, y_of(field, i * tick) + 4,
                              fabs(i * tick) < tick / 2 ? 0 : i * tick);
    for (double i = 0; i * stride <= field->steps && status == LDAR_OK; i++)
        status = output_print(page, error,
                              "<text class=\"label\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">%.0f</text>\n",
                              x_of(field, i * stride), height - bottom + 18, i * stride);
    return status;
}

/* ---- drawing ---- */

static enum ldar_status draw_band(output *page, const struct field *field, const struct bin *bins, size_t count,
                                  struct ldar_error *error)
{
    enum ldar_status status = output_print(page, error, "<path class=\"band\" d=\"");
    for (size_t i = 0; i < 2 * count && status == LDAR_OK; i++) {
        const struct bin *bin = i < count ? &bins[i] : &bins[2 * count - 1 - i];
        status = output_print(page, error, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(field, bin->step),
                              y_of(field, i < count ? bin->most : bin->least));
    }
    return status == LDAR_OK ? output_print(page, error, "Z\"/>\n") : status;
}

static enum ldar_status draw_line(output *page, const struct field *field, const struct bin *bins, size_t count,
                                  struct ldar_error *error)
{
    enum ldar_status status = output_print(page, error, "<path class=\"line\" d=\"");
    for (size_t i = 0; i < count && status == LDAR_OK; i++)
        status = output_print(page, error, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(field, bins[i].step),
                              y_of(field, bins[i].mean));
    return status == LDAR_OK ? output_print(page, error, "\"/>\n") : status;
}

static enum ldar_status draw_marks(output *page, const struct field *field, const struct curve *marks,
                                   struct ldar_error *error)
{
    enum ldar_status status = output_print(page, error, "<path class=\"marks\" d=\"");
    for (size_t i = 0; i < marks->count && status == LDAR_OK; i++)
        status = output_print(page, error, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(field, marks->steps[i]),
                              y_of(field, marks->values[i]));
    if (status == LDAR_OK)
        status = output_print(page, error, "\"/>\n");
    for (size_t i = 0; i < marks->count && status == LDAR_OK; i++)
        status = output_print(page, error,
                              "<circle class=\"marks\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"><title>step %.0f: %.6g</title>"
                              "</circle>\n",
                              x_of(field, marks->steps[i]), y_of(field, marks->values[i]), marks->steps[i],
                              marks->values[i]);
    return status;
}

static enum ldar_status draw_title(output *page, const char *title, const struct curve *curve,
                                   const struct curve *marks, struct ldar_error *error)
{
    const int both = marks && marks->count > 0;
    enum ldar_status status = output_print(
        page, error,
        "<svg class=\"chart\" viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n<text class=\"title\" x=\"%.0f\" y=\"18\">%s",
        width, height, left, title);
    if (status == LDAR_OK && both)
        status = output_print(page, error, ": <tspan class=\"line\">%s</tspan>, <tspan class=\"marks\">%s</tspan>",
                              curve->name, marks->name);
    return status == LDAR_OK ? output_print(page, error, "</text>\n") : status;
}

enum ldar_status chart_draw(output *page, const char *title, const struct curve *curve, const struct curve *marks,
                            double steps, struct ldar_error *error)
{
    struct bin bins[BINS];
    const size_t count = fill_bins(curve, bins);
    if (count == 0)
        return LDAR_OK;
    const struct field field = field_of(bins, count, marks, steps);
    enum ldar_status status = draw_title(page, title, curve, marks, error);
    if (status == LDAR_OK)
        status = draw_grid(page, &field, error);
    if (status == LDAR_OK)
        status = draw_band(page, &field, bins, count, error);
    if (status == LDAR_OK)
        status = draw_line(page, &field, bins, count, error);
    if (status == LDAR_OK && marks && marks->count > 0)
        status = draw_marks(page, &field, marks, error);
    return status == LDAR_OK ? output_print(page, error, "</svg>\n") : status;
}
