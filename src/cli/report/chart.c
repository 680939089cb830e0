/* SPDX-License-Identifier: Apache-2.0 */
/* SVG of lines, areas and bars in a box of 1000 by 1000, whatever its place is. */
#include "cli/report/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/report/html.h"

enum { BOX = 1000, Y_LABELS = 4, X_LABELS = 5 };

/* A round step of which at least `most` / steps: 1, 1.5, 2, … times a power of ten. */
static double round_step(double most, int steps)
{
    static const double factors[] = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10};
    const double step = most / steps, power = pow(10, floor(log10(step > 0 ? step : 1)));
    for (size_t i = 0; step > 0 && i < COUNT_OF(factors); i++) {
        if (factors[i] * power >= step * (1 - 1e-9)) {
            return factors[i] * power;
        }
    }
    return 1;
}

status chart_begin(struct chart *self, const char *caption, struct buffer *out)
{
    self->out = out;
    self->y_most = Y_LABELS * round_step(self->y_most, Y_LABELS);
    return buffer_format(out, "<figure><figcaption>%s</figcaption>\n", caption);
}

status chart_keys(struct chart *self, const struct chart_key *keys, size_t count)
{
    TRY(buffer_append_text(self->out, "<div class=\"key\">"));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(self->out, "<span><i style=\"background:var(--%s)\"></i>%s</span>",
                          keys[i].color, keys[i].name));
    }
    return buffer_append_text(self->out, "</div>\n");
}

status chart_draw(struct chart *self)
{
    TRY(buffer_format(self->out,
                      "<div class=\"chart\"><svg viewBox=\"0 0 %d %d\" "
                      "preserveAspectRatio=\"none\" role=\"img\">",
                      BOX, BOX));
    for (int i = 1; i <= Y_LABELS; i++) {
        const int y = BOX - BOX * i / Y_LABELS;
        TRY(buffer_format(self->out,
                          "<path d=\"M0 %dH%d\" stroke=\"var(--line)\" "
                          "vector-effect=\"non-scaling-stroke\"/>",
                          y, BOX));
    }
    return STATUS_OK;
}

static double place_y(const struct chart *self, double y)
{
    const double share = self->y_most > 0 ? y / self->y_most : 0;
    return BOX * (1 - fmin(fmax(share, 0), 1));
}

static double place_x(const struct chart *self, double x)
{
    return self->x_most > 0 ? BOX * fmin(fmax(x / self->x_most, 0), 1) : 0;
}

/* The middle of the i-th of `count` pieces. */
static double middle(size_t i, size_t count)
{
    return BOX * ((double)i + 0.5) / (double)count;
}

/* M or L and a point; M after a value that is none. */
static status append_points(struct chart *self, const double *y, size_t count)
{
    bool open = false;
    for (size_t i = 0; i < count; i++) {
        if (isfinite(y[i])) {
            TRY(buffer_format(self->out, "%c%.1f %.1f", open ? 'L' : 'M', middle(i, count),
                              place_y(self, y[i])));
        }
        open = isfinite(y[i]);
    }
    return STATUS_OK;
}

status chart_line(struct chart *self, const double *y, size_t count, const char *color,
                  double width)
{
    TRY(buffer_append_text(self->out, "<path d=\""));
    TRY(append_points(self, y, count));
    return buffer_format(self->out,
                         "\" fill=\"none\" stroke=\"var(--%s)\" stroke-width=\"%.1f\" "
                         "stroke-linejoin=\"round\" vector-effect=\"non-scaling-stroke\"/>",
                         color, width);
}

status chart_band(struct chart *self, const double *low, const double *high, size_t count,
                  const char *color)
{
    TRY(buffer_append_text(self->out, "<path d=\""));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(self->out, "%c%.1f %.1f", i > 0 ? 'L' : 'M', middle(i, count),
                          place_y(self, isfinite(high[i]) ? high[i] : 0)));
    }
    for (size_t i = count; i-- > 0;) {
        TRY(buffer_format(self->out, "L%.1f %.1f", middle(i, count),
                          place_y(self, low != NULL && isfinite(low[i]) ? low[i] : 0)));
    }
    return buffer_format(self->out, "Z\" fill=\"var(--%s)\" fill-opacity=\".3\"/>", color);
}

status chart_area(struct chart *self, const double *y, size_t count, const char *color)
{
    TRY(chart_band(self, NULL, y, count, color));
    return chart_line(self, y, count, color, 1.8);
}

status chart_bars(struct chart *self, const double *y, size_t count, const char *color)
{
    const double width = (double)BOX / (double)count;
    for (size_t i = 0; i < count; i++) {
        if (y[i] > 0) {
            /* What is there is seen, however little. */
            const double top = fmin(place_y(self, y[i]), BOX - 8);
            TRY(buffer_format(self->out,
                              "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                              "fill=\"var(--%s)\"/>",
                              (double)i * width + width * 0.06, top, width * 0.88, BOX - top,
                              color));
        }
    }
    return STATUS_OK;
}

static status append_title(const char *label, struct buffer *out)
{
    TRY(buffer_append_text(out, "<title>"));
    TRY(html_text(label, strlen(label), out));
    return buffer_append_text(out, "</title>");
}

status chart_mark(struct chart *self, double from, double to, const char *color, const char *label)
{
    const double left = place_x(self, from), right = place_x(self, to);
    TRY(buffer_format(self->out,
                      "<rect x=\"%.1f\" y=\"0\" width=\"%.1f\" height=\"%d\" fill=\"var(--%s)\" "
                      "fill-opacity=\".28\">",
                      left, fmax(right - left, 3), BOX, color));
    TRY(append_title(label, self->out));
    return buffer_append_text(self->out, "</rect>");
}

status chart_level(struct chart *self, double y, const char *color)
{
    return buffer_format(self->out,
                         "<path d=\"M0 %.1fH%d\" stroke=\"var(--%s)\" stroke-dasharray=\"5 4\" "
                         "vector-effect=\"non-scaling-stroke\"/>",
                         place_y(self, y), BOX, color);
}

static status append_y_labels(const struct chart *self)
{
    for (int i = 0; i <= Y_LABELS; i++) {
        TRY(buffer_format(self->out, "<span class=\"y\" style=\"top:%d%%\">",
                          100 - 100 * i / Y_LABELS));
        TRY(html_number(self->y_most * i / Y_LABELS, self->out));
        TRY(buffer_append_text(self->out, "</span>"));
    }
    return STATUS_OK;
}

static status append_x_label(const struct chart *self, double x, const char *unit)
{
    TRY(buffer_format(self->out, "<span class=\"x\" style=\"left:%.1f%%\">",
                      place_x(self, x) * 100 / BOX));
    TRY(html_number(x, self->out));
    return buffer_format(self->out, "%s</span>", unit);
}

status chart_end(struct chart *self, const char *unit)
{
    const double step = round_step(self->x_most, X_LABELS);
    const int last = self->x_most > 0 ? (int)floor(self->x_most / step + 1e-9) : 0;
    TRY(buffer_append_text(self->out, "</svg>"));
    TRY(append_y_labels(self));
    for (int i = 0; i <= last; i++) {
        TRY(append_x_label(self, step * i, i == last ? unit : ""));
    }
    return buffer_append_text(self->out, "</div></figure>\n");
}

status chart_bar(const struct chart_part *parts, size_t count, struct buffer *out)
{
    double left = 0;
    TRY(buffer_format(out,
                      "<svg class=\"bar\" viewBox=\"0 0 %d 10\" preserveAspectRatio=\"none\" "
                      "role=\"img\">",
                      BOX));
    for (size_t i = 0; i < count; i++) {
        const double width = BOX * fmin(fmax(parts[i].share, 0), 1);
        if (width > 0) {
            TRY(buffer_format(out,
                              "<rect x=\"%.1f\" y=\"0\" width=\"%.1f\" height=\"10\" "
                              "fill=\"var(--%s)\">",
                              left, width, parts[i].color));
            TRY(append_title(parts[i].label, out));
            TRY(buffer_append_text(out, "</rect>"));
        }
        left += width;
    }
    return buffer_append_text(out, "</svg>");
}
