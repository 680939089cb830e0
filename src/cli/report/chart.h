/* SPDX-License-Identifier: Apache-2.0 */
/* Charts as inline SVG. The drawing is stretched to its place, its labels are text beside it, so
 * that both can be read on a phone and on paper. Colours are names of the style in html.c. */
#ifndef SLUICE_CLI_REPORT_CHART_H
#define SLUICE_CLI_REPORT_CHART_H

#include "sluice/base.h"

struct chart {
    struct buffer *out;
    double x_most, y_most; /* both begin at 0 */
};

/* Begins a figure with a caption, which is HTML. `y_most` is rounded up to a round number. */
status chart_begin(struct chart *self, const char *caption, struct buffer *out) MUST_CHECK;
/* A line of names and colours before the drawing: name may hold HTML, and comes with its colour. */
struct chart_key {
    const char *color, *name;
};
status chart_keys(struct chart *self, const struct chart_key *keys, size_t count) MUST_CHECK;
/* Begins the drawing; then come any of: */
status chart_draw(struct chart *self) MUST_CHECK;
/* n values at equal steps, [0, x_most] cut into n pieces; NaN: none. */
status chart_line(struct chart *self, const double *y, size_t count, const char *color,
                  double width) MUST_CHECK;
status chart_area(struct chart *self, const double *y, size_t count, const char *color) MUST_CHECK;
status chart_bars(struct chart *self, const double *y, size_t count, const char *color) MUST_CHECK;
/* The area between two lines. */
status chart_band(struct chart *self, const double *low, const double *high, size_t count,
                  const char *color) MUST_CHECK;
/* A stretch of x that is marked from top to bottom; `label` is said of it (escaped). */
status chart_mark(struct chart *self, double from, double to, const char *color,
                  const char *label) MUST_CHECK;
status chart_level(struct chart *self, double y, const char *color) MUST_CHECK; /* dashed */
/* Ends the drawing, with labels at round numbers; `unit` stands behind the last one of x. */
status chart_end(struct chart *self, const char *unit) MUST_CHECK;

/* A bar of parts side by side, alone: `parts` are shares of 1. */
struct chart_part {
    double share;
    const char *color, *label; /* label: what it is said to be (escaped) */
};
status chart_bar(const struct chart_part *parts, size_t count, struct buffer *out) MUST_CHECK;

#endif
