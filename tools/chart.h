/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_CHART_H
#define LDAR_TOOLS_CHART_H

#include "formats/output.h"

/* Values over steps, in the order of the steps. */
struct curve {
    const char *name;
    double *steps, *values; /* (count) */
    size_t count, capacity;
};

/* False without memory. */
bool curve_add(struct curve *curve, double step, double value);
void curve_free(struct curve *curve);

/*
 * Draws curves over steps 0 .. `steps` as an SVG element. The first, which may have any number of points, is drawn as
 * the means of a few hundred bins over a band from the least to the greatest value of each; the second, if it has any,
 * point by point. Colours are the page's (page.h): classes line, band, marks, grid, label of a chart.
 */
LDAR_MUST_USE enum ldar_status chart_draw(output *page, const char *title, const struct curve *curve,
                                          const struct curve *marks, double steps, struct ldar_error *error);

#endif
