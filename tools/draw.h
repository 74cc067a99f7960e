/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_DRAW_H
#define LDAR_TOOLS_DRAW_H

#include "formats/output.h"

/*
 * Drawings as SVG, for a file of their own or a place in a page: curves with bands, and a stretch of sequence with its
 * tokens. Nothing is loaded from elsewhere. Colours are attributes, which any viewer knows; a style turns them into
 * light ones on dark where the reader's screen is dark. Lengths are in units of the drawing, pixels at its own size.
 */

enum {
    DRAW_WIDTH = 960,
    DRAW_COLOURS = 8, /* of curves and marks: 0 .. DRAW_COLOURS - 1 */
    DRAW_GREY = -1
};

/* `label` says in words what is drawn, and `made_by`, which may be NULL, what made it. */
LDAR_MUST_USE enum ldar_status draw_begin(output *out, double width, double height, const char *label,
                                          const char *made_by, struct ldar_error *error);
LDAR_MUST_USE enum ldar_status draw_end(output *out, struct ldar_error *error);

/* ---- curves ---- */

/* Values at count places in equal steps; NaN leaves a gap. */
struct draw_curve {
    const char *name;
    int colour;
    size_t count;
    const double *mean, *low, *high; /* (count); low and high, the band around it, may be NULL */
};

/* A field with axes at (x, y), labels included, of the given size. */
struct draw_field {
    double x, y, width, height;
    const char *title, *x_label, *y_label;
    double first, last; /* places of the first and the last value */
    double low, high;   /* what the y axis spans */
};

/* Grid, a line at 0 where the axes hold it, bands, curves in their order, and their names. */
LDAR_MUST_USE enum ldar_status draw_curves(output *out, const struct draw_field *field, const struct draw_curve *curves,
                                           size_t count, struct ldar_error *error);

/* Makes *low .. *high span every value of the curves, bands included, and a margin; NaN is passed over. */
void draw_span(const struct draw_curve *curves, size_t count, double *low, double *high);

/* ---- bars ---- */

/* value +- half; NaN is not drawn. */
struct draw_point {
    double value, half;
};

struct draw_bar {
    const char *name;
    struct draw_point point;
    const struct draw_point *marks; /* (mark_count) */
};

/* Bars one below the other, each with an interval, and marks of others beside it. */
struct draw_bars {
    const char *title, *x_label;
    const char *name;         /* of what the bars show; colour 0 */
    const char *const *marks; /* (mark_count) names of the marks; mark i has colour i + 1 */
    size_t mark_count;
    const struct draw_bar *bars; /* (count) */
    size_t count;
    double low, high; /* what the axis spans, low <= 0 < high */
};

/* Height of the drawing, which is DRAW_WIDTH wide. */
double draw_bars_height(const struct draw_bars *bars);

LDAR_MUST_USE enum ldar_status draw_bars(output *out, const struct draw_bars *bars, struct ldar_error *error);

/* ---- a locus ---- */

/* Something in the stretch, in the coordinates of its letters, half-open; it may reach beyond either end. */
struct draw_mark {
    size_t lane; /* index of its name */
    int64_t start, end;
    int direction; /* 1 reads from left to right, -1 from right to left, 0 neither */
};

struct draw_locus {
    const char *title;
    size_t count;
    const char *letters;           /* (count) */
    const float *probability;      /* (count) that a token begins */
    const unsigned char *boundary; /* (count) 1 where one does */
    unsigned long long position;   /* of the first letter, from 1 */
    int step;                      /* 1, or -1 where positions run backwards: the reverse complement */
    const char *const *lanes;      /* (lane_count) names of kinds of marks; lane i has colour i */
    size_t lane_count;
    const struct draw_mark *marks; /* (mark_count) */
    size_t mark_count;
};

/* Height of the drawing, which is DRAW_WIDTH wide and goes over as many rows as the letters need. */
double draw_locus_height(const struct draw_locus *locus);

/* The probabilities as bars, dark where a token begins, the letters on their tokens, and the marks below. */
LDAR_MUST_USE enum ldar_status draw_locus(output *out, const struct draw_locus *locus, struct ldar_error *error);

#endif
