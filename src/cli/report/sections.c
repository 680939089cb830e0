/* SPDX-License-Identifier: Apache-2.0 */
/* A report's first screen, and what the results came to: why answers ended, how long they are,
 * which errors there were. */
#include "cli/report/sections.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report/chart.h"
#include "cli/report/html.h"

enum { HISTOGRAM_BARS = 30, ERRORS_MOST = 50, EXCERPT_CHARACTERS = 300 };

const char *report_text(struct report *report, const char *name)
{
    const char *text = output_attribute_text(report->reader, name, &report->arena);
    return text != NULL ? text : "";
}

double report_number(struct report *report, const char *name)
{
    const char *text = report_text(report, name);
    return text[0] != '\0' ? strtod(text, NULL) : NAN;
}

/* ---- Head ---- */

static status write_tile(const char *name, const char *value, struct buffer *out)
{
    TRY(buffer_append_text(out, "<div><span>"));
    TRY(buffer_append_text(out, name));
    TRY(buffer_append_text(out, "</span><b>"));
    TRY(html_text(value, strlen(value), out));
    return buffer_append_text(out, "</b></div>\n");
}

static status write_number_tile(const char *name, double value, struct buffer *out)
{
    struct buffer text = {0};
    status s = html_number(value, &text);
    if (s == STATUS_OK) {
        s = write_tile(name, text.data, out);
    }
    buffer_destroy(&text);
    return s;
}

static status write_tiles(struct report *report, struct buffer *out)
{
    const struct output_summary *summary = &report->summary;
    const double wall = report_number(report, "wall_seconds");
    const double kept = report_number(report, "resumed_rows");
    const double tokens = report_number(report, "wall_output_tokens");
    char text[24];
    TRY(buffer_append_text(out, "<div class=\"tiles\">\n"));
    TRY(write_number_tile("rows", (double)summary->rows, out));
    TRY(write_number_tile("rows with errors", (double)summary->error_rows, out));
    TRY(write_number_tile("answer tokens", report_number(report, "output_tokens"), out));
    TRY(write_number_tile("prompt tokens", report_number(report, "prompt_tokens"), out));
    if (wall > 0) {
        TRY(write_tile("last start", format_seconds(wall, text), out));
        if (tokens > 0) {
            TRY(write_number_tile("answer tokens/s", tokens / wall, out));
        }
        TRY(write_number_tile("rows/s",
                              ((double)summary->rows - (isfinite(kept) ? kept : 0)) / wall, out));
    }
    if (kept > 0) {
        TRY(write_number_tile("of earlier starts", kept, out));
    }
    TRY(write_number_tile("ranks", (double)report->rank_count, out));
    return buffer_append_text(out, "</div>\n");
}

/* The slow ranks before everything else. */
static status write_alarm(const struct report *report, struct buffer *out)
{
    enum { NAMED = 5 };
    size_t slow = 0;
    for (size_t i = 0; i < report->rank_count; i++) {
        const struct rank_verdict *verdict = &report->verdicts[i];
        if (!verdict->is_slow || ++slow > NAMED) {
            continue;
        }
        TRY(buffer_format(out, "<div class=\"alarm\"><b>Rank %d is slow</b>",
                          report->ranks[i].rank));
        if (verdict->leads && verdict->peers > 0) {
            TRY(buffer_format(out, ": %.1f %s tokens/s, %.0f%% below the others’ %.1f",
                              verdict->rate, report->of_answers ? "answer" : "prompt",
                              100 * (1 - verdict->rate / verdict->peers), verdict->peers));
        }
        TRY(buffer_append_text(out, ". Why: "));
        TRY(html_text(verdict->reason, strlen(verdict->reason), out));
        TRY(buffer_append_text(out, ".</div>\n"));
    }
    return slow > NAMED ? buffer_format(out,
                                        "<p class=\"slow-mark\">%zu more ranks are slow; the table "
                                        "has them.</p>\n",
                                        slow - NAMED)
                        : STATUS_OK;
}

status report_write_head(struct report *report, struct buffer *out)
{
    const char *model = report_text(report, "model_path");
    const char *created = report_text(report, "created");
    TRY(buffer_append_text(out, "<h1>"));
    TRY(html_text(report->path, strlen(report->path), out));
    TRY(buffer_append_text(out, "</h1>\n<div class=\"soft\">"));
    TRY(html_text(model, strlen(model), out));
    TRY(buffer_append_text(out, " · finished "));
    TRY(html_text(created, strlen(created), out));
    TRY(buffer_append_text(out, "</div>\n"));
    TRY(write_alarm(report, out));
    return write_tiles(report, out);
}

/* ---- Predicted against actual ---- */

static status write_expectation(const char *name, const char *predicted, const char *actual,
                                struct buffer *out)
{
    TRY(buffer_format(out, "<tr><th class=\"t\">%s</th><td class=\"t\">", name));
    TRY(html_text(predicted, strlen(predicted), out));
    TRY(buffer_append_text(out, "</td><td class=\"t\">"));
    TRY(html_text(actual, strlen(actual), out));
    return buffer_append_text(out, "</td></tr>\n");
}

static void format_rate(double tokens, double seconds, char text[32])
{
    snprintf(text, 32, tokens >= 100 * seconds ? "%.0f" : "%.1f", tokens / seconds);
}

status report_write_prediction(struct report *report, struct buffer *out)
{
    const double expected = report_number(report, "predicted_seconds");
    const double took = report_number(report, "rows_seconds");
    char predicted[32], actual[32];
    if (!(expected > 0 && took > 0)) {
        return STATUS_OK;
    }
    TRY(html_section("Predicted and actual", out));
    TRY(buffer_append_text(out, "<table><tr><th></th><th class=\"t\">predicted, with every answer "
                                "at its limit</th><th class=\"t\">actual</th></tr>\n"));
    TRY(write_expectation("time of the rows", format_seconds(expected, predicted),
                          format_seconds(took, actual), out));
    format_rate(report_number(report, "predicted_output_tokens"), expected, predicted);
    format_rate(report_number(report, "wall_output_tokens"), took, actual);
    TRY(write_expectation("answer tokens/s", predicted, actual, out));
    const char *bound = report_text(report, "bound");
    TRY(write_expectation("bounded", report_text(report, "predicted_bound"),
                          bound[0] != '\0' ? bound : "not known: too few steps", out));
    TRY(buffer_append_text(out, "</table>\n"));
    return html_section_end(out);
}

/* ---- Results ---- */

static status write_finish_reasons(const struct report *report, struct buffer *out)
{
    static const char *const colors[] = {"third", "fourth", "slow"};
    const struct output_summary *summary = &report->summary;
    struct chart_part parts[FINISH_ERROR + 1];
    char labels[FINISH_ERROR + 1][64];
    TRY(buffer_append_text(out, "<figure><figcaption>Why answers ended</figcaption>\n<div "
                                "class=\"key\">"));
    for (int i = 0; i <= FINISH_ERROR; i++) {
        const double share = (double)summary->finished[i] / (double)summary->results;
        snprintf(labels[i], sizeof labels[i], "%s: %lld (%.1f%%)",
                 finish_reason_name((enum finish_reason)i), (long long)summary->finished[i],
                 100 * share);
        parts[i] = (struct chart_part){share, colors[(size_t)i % COUNT_OF(colors)], labels[i]};
        TRY(buffer_format(out, "<span><i style=\"background:var(--%s)\"></i>%s</span>",
                          parts[i].color, labels[i]));
    }
    TRY(buffer_append_text(out, "</div>\n"));
    TRY(chart_bar(parts, COUNT_OF(parts), out));
    return buffer_append_text(out, "</figure>\n");
}

/* Bars from 0 to where all but a hundredth is, the longest ones in the last bar. */
static status write_histogram(const char *name, const struct spread *spread, struct buffer *out)
{
    char caption[120];
    if (spread->count == 0) {
        return STATUS_OK;
    }
    const double top = spread_percentile(spread, 0.99) * 1.02;
    const double most = fmax(top, spread->most < top * 1.5 ? spread->most : top);
    const double all = most > 0 ? most : 1;
    /* Whole numbers that are few have a bar each. */
    const bool is_whole = all >= 1 && all < HISTOGRAM_BARS &&
                          spread->least == floor(spread->least) &&
                          spread->most == floor(spread->most);
    const size_t bars = is_whole ? (size_t)floor(all) + 1 : HISTOGRAM_BARS;
    const double width = is_whole ? 1 : all / HISTOGRAM_BARS;
    double counts[HISTOGRAM_BARS + 1] = {0};
    for (size_t i = 0; i < bars; i++) {
        const bool is_last = i + 1 == bars;
        counts[i] = (double)spread_between(spread, width * (double)i,
                                           is_last ? INFINITY : width * (double)(i + 1));
    }
    struct chart chart = {.x_most = width * (double)bars};
    for (size_t i = 0; i < bars; i++) {
        chart.y_most = fmax(chart.y_most, counts[i]);
    }
    snprintf(caption, sizeof caption,
             spread->most > chart.x_most ? "%s; the last bar: %.3g to %.3g" : "%s", name,
             width * (double)(bars - 1), spread->most);
    TRY(chart_begin(&chart, caption, out));
    TRY(chart_draw(&chart));
    TRY(chart_bars(&chart, counts, bars, "main"));
    return chart_end(&chart, "");
}

static status write_percentile_row(const char *name, const struct spread *spread, int digits,
                                   struct buffer *out)
{
    if (spread->count == 0) {
        return STATUS_OK;
    }
    TRY(buffer_format(out, "<tr><td class=\"t\">%s</td>", name));
    for (size_t i = 0; i < SPREAD_PERCENTILES; i++) {
        TRY(buffer_format(out, "<td>%.*f</td>", digits,
                          spread_value(spread, &spread_percentiles[i])));
    }
    return buffer_append_text(out, "</tr>\n");
}

static status write_percentiles(const struct output_summary *summary, struct buffer *out)
{
    TRY(buffer_append_text(out, "<div class=\"wide\"><table><tr><th></th>"));
    for (size_t i = 0; i < SPREAD_PERCENTILES; i++) {
        TRY(buffer_format(out, "<th>%s</th>", spread_percentiles[i].name));
    }
    TRY(buffer_append_text(out, "</tr>\n"));
    TRY(write_percentile_row("prompt tokens", &summary->prompt_tokens, 0, out));
    TRY(write_percentile_row("answer tokens", &summary->answer_tokens, 0, out));
    TRY(write_percentile_row("seconds", &summary->seconds, 2, out));
    return buffer_append_text(out, "</table></div>\n");
}

static status write_error(const struct error_group *group, struct buffer *out)
{
    TRY(buffer_append_text(out, "<tr><td>"));
    TRY(html_count(group->rows, out));
    TRY(buffer_append_text(out, "</td><td class=\"t\">"));
    TRY(html_excerpt(group->text, EXCERPT_CHARACTERS, out));
    TRY(buffer_append_text(out, "</td><td class=\"t\">"));
    TRY(html_excerpt(group->place, EXCERPT_CHARACTERS, out));
    return buffer_append_text(out, "</td></tr>\n");
}

static status write_errors(struct output_summary *summary, struct buffer *out)
{
    struct error_group group;
    if (!error_tally_get(&summary->errors, 0, &group)) {
        return STATUS_OK;
    }
    TRY(html_section("Errors", out));
    TRY(buffer_append_text(out, "<div class=\"wide\"><table><tr><th>rows</th><th "
                                "class=\"t\">error</th><th class=\"t\">first</th></tr>\n"));
    size_t i = 0;
    for (; i < ERRORS_MOST && error_tally_get(&summary->errors, i, &group); i++) {
        TRY(write_error(&group, out));
    }
    TRY(buffer_append_text(out, "</table></div>\n"));
    int64_t left = summary->errors.uncounted;
    for (; error_tally_get(&summary->errors, i, &group); i++) {
        left += group.rows;
    }
    if (left > 0) {
        TRY(buffer_append_text(out, "<p class=\"soft\">"));
        TRY(html_count(left, out));
        TRY(buffer_append_text(out, " rows have errors of further kinds.</p>\n"));
    }
    return html_section_end(out);
}

status report_write_results(struct report *report, struct buffer *out)
{
    struct output_summary *summary = &report->summary;
    if (summary->results == 0) {
        return STATUS_OK;
    }
    TRY(html_section("Results", out));
    TRY(write_finish_reasons(report, out));
    TRY(buffer_append_text(out, "<div class=\"halves\">\n"));
    TRY(write_histogram("Prompts, by tokens", &summary->prompt_tokens, out));
    TRY(write_histogram("Answers, by tokens", &summary->answer_tokens, out));
    TRY(write_histogram("Answers, by seconds", &summary->seconds, out));
    TRY(buffer_append_text(out, "</div>\n"));
    TRY(write_percentiles(summary, out));
    TRY(html_section_end(out));
    return write_errors(summary, out);
}
