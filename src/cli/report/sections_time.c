/* SPDX-License-Identifier: Apache-2.0 */
/* What happened over time: tokens a second of all replicas and of each, gaps, sequences at once,
 * use of the KV cache. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/report/chart.h"
#include "cli/report/html.h"
#include "cli/report/sections.h"

enum { LINES_MOST = 16, GAPS_LISTED = 10 };

/* Whether the replica led by this rank is marked. */
static bool is_slow(const struct report *report, int32_t rank)
{
    for (size_t i = 0; i < report->rank_count; i++) {
        if (report->ranks[i].rank == rank) {
            return report->verdicts[i].leads && report->verdicts[i].is_slow;
        }
    }
    return false;
}

static bool any_slow(const struct report *report)
{
    for (size_t r = 0; r < report->series.replicas; r++) {
        if (is_slow(report, report->series.ranks[r])) {
            return true;
        }
    }
    return false;
}

/* Seconds, minutes or hours, as suits the job's length. */
struct time_unit {
    double seconds;
    const char *name;
};

static struct time_unit time_unit(const struct series *series)
{
    return series->end < 300     ? (struct time_unit){1, " s"}
           : series->end < 18000 ? (struct time_unit){60, " min"}
                                 : (struct time_unit){3600, " h"};
}

static struct chart chart_over_time(const struct series *series, double most)
{
    return (struct chart){.x_most = series->end / time_unit(series).seconds, .y_most = most};
}

/* ---- Throughput ---- */

static status write_total(struct report *report, struct buffer *out)
{
    const struct series *series = &report->series;
    double *sum;
    TRY(series_join(series, series->rate, SERIES_SUM, &report->arena, &sum));
    struct chart chart = chart_over_time(series, series_peak(sum, series->pieces));
    TRY(chart_begin(&chart,
                    report->of_answers ? "Answer tokens a second, all ranks"
                                       : "Prompt tokens a second, all ranks",
                    out));
    TRY(chart_draw(&chart));
    TRY(chart_area(&chart, sum, series->pieces, "main"));
    return chart_end(&chart, time_unit(series).name);
}

static status mark_gaps(const struct series *series, struct chart *chart)
{
    char label[96], seconds[24];
    const double unit = time_unit(series).seconds;
    for (size_t i = 0; i < series->gap_count; i++) {
        const struct series_gap *gap = &series->gaps[i];
        snprintf(label, sizeof label, "rank %d: %s for %s", gap->rank,
                 gap->had_rows ? "no token" : "no rows",
                 format_seconds(gap->to - gap->from, seconds));
        TRY(chart_mark(chart, gap->from / unit, gap->to / unit, gap->had_rows ? "slow" : "idle",
                       label));
    }
    return STATUS_OK;
}

/* Each replica's line, those of slow ones last and on top. */
static status draw_lines(const struct report *report, struct chart *chart, bool some_slow)
{
    static const char *const palette[] = {"main", "second", "third", "fourth"};
    const struct series *series = &report->series;
    for (int slow = 0; slow <= 1; slow++) {
        for (size_t r = 0; r < series->replicas; r++) {
            if (is_slow(report, series->ranks[r]) != (slow == 1)) {
                continue;
            }
            TRY(chart_line(chart, series->rate + r * series->pieces, series->pieces,
                           slow == 1   ? "slow"
                           : some_slow ? "main"
                                       : palette[r % COUNT_OF(palette)],
                           slow == 1 ? 3 : 1.4));
        }
    }
    return STATUS_OK;
}

/* So many replicas that lines would be a knot: from the least to the most, and the slow ones. */
static status draw_band(struct report *report, struct chart *chart)
{
    const struct series *series = &report->series;
    double *least, *most;
    TRY(series_join(series, series->rate, SERIES_LEAST, &report->arena, &least));
    TRY(series_join(series, series->rate, SERIES_MOST, &report->arena, &most));
    TRY(chart_band(chart, least, most, series->pieces, "main"));
    size_t drawn = 0;
    for (size_t r = 0; r < series->replicas && drawn < LINES_MOST; r++) {
        if (is_slow(report, series->ranks[r])) {
            TRY(chart_line(chart, series->rate + r * series->pieces, series->pieces, "slow", 2));
            drawn++;
        }
    }
    return STATUS_OK;
}

static status write_keys(const struct report *report, struct chart *chart, bool some_slow)
{
    struct chart_key keys[4];
    char slow[160] = "slow: rank";
    size_t count = 0;
    int named = 0;
    for (size_t r = 0; r < report->series.replicas; r++) {
        if (is_slow(report, report->series.ranks[r]) && named++ < 8) {
            const size_t used = strlen(slow);
            snprintf(slow + used, sizeof slow - used, "%s %d", named > 1 ? "," : "",
                     report->series.ranks[r]);
        }
    }
    if (some_slow) {
        keys[count++] = (struct chart_key){"slow", slow};
        keys[count++] = (struct chart_key){"main", "the others"};
    }
    if (report->series.gap_count > 0) {
        keys[count++] = (struct chart_key){"idle", "shaded: nothing computed; grey without rows, "
                                                   "red with rows at hand"};
    }
    return count > 0 ? chart_keys(chart, keys, count) : STATUS_OK;
}

static status write_replicas(struct report *report, struct buffer *out)
{
    const struct series *series = &report->series;
    const bool some_slow = any_slow(report);
    struct chart chart =
        chart_over_time(series, series_peak(series->rate, series->replicas * series->pieces));
    if (series->replicas < 2 && series->gap_count == 0) {
        return STATUS_OK;
    }
    TRY(chart_begin(&chart, "The same by replica, named by its first rank", out));
    TRY(write_keys(report, &chart, some_slow));
    TRY(chart_draw(&chart));
    TRY(mark_gaps(series, &chart));
    TRY(series->replicas <= LINES_MOST ? draw_lines(report, &chart, some_slow)
                                       : draw_band(report, &chart));
    return chart_end(&chart, time_unit(series).name);
}

static status write_gap(const struct series_gap *gap, struct buffer *out)
{
    char length[24], from[24];
    return buffer_format(out, "<li>rank %d: %s for %s, from %s on</li>\n", gap->rank,
                         gap->had_rows ? "no token computed, with rows at hand" : "no rows",
                         format_seconds(gap->to - gap->from, length),
                         format_seconds(gap->from, from));
}

/* The first ones; the chart has all. */
static status list_gaps(const struct series *series, struct buffer *out)
{
    const size_t shown = series->gap_count < GAPS_LISTED ? series->gap_count : GAPS_LISTED;
    if (shown == 0) {
        return STATUS_OK;
    }
    TRY(buffer_append_text(out, "<p>Gaps:</p><ul>\n"));
    for (size_t i = 0; i < shown; i++) {
        TRY(write_gap(&series->gaps[i], out));
    }
    const size_t left = series->gap_count + series->gaps_left_out - shown;
    if (left > 0) {
        TRY(buffer_format(out, "<li>and %zu more</li>\n", left));
    }
    return buffer_append_text(out, "</ul>\n");
}

/* ---- The engines ---- */

static status write_sequences(struct report *report, struct buffer *out)
{
    const struct series *series = &report->series;
    static const struct chart_key keys[] = {
        {"third", "running"}, {"fourth", "waiting"}, {"soft", "dashed: as many as may run"}};
    double *running, *waiting;
    TRY(series_join(series, series->running, SERIES_SUM, &report->arena, &running));
    TRY(series_join(series, series->waiting, SERIES_SUM, &report->arena, &waiting));
    const double most =
        fmax(series_peak(running, series->pieces), series_peak(waiting, series->pieces));
    const double limit = report_number(report, "max_sequences") * (double)series->replicas;
    const bool has_limit = limit > 0 && limit <= most * 1.5;
    struct chart chart = chart_over_time(series, has_limit ? fmax(most, limit) : most);
    TRY(chart_begin(&chart, "Sequences in the engines, all ranks", out));
    TRY(chart_keys(&chart, keys, has_limit ? 3 : 2));
    TRY(chart_draw(&chart));
    TRY(chart_area(&chart, running, series->pieces, "third"));
    TRY(chart_line(&chart, waiting, series->pieces, "fourth", 1.8));
    if (has_limit) {
        TRY(chart_level(&chart, limit, "soft"));
    }
    return chart_end(&chart, time_unit(series).name);
}

static status write_cache(struct report *report, struct buffer *out)
{
    const struct series *series = &report->series;
    static const struct chart_key keys[] = {{"second", "fullest replica"}, {"main", "mean"}};
    const double blocks = report_number(report, "kv_blocks");
    double *most, *sum;
    if (!(blocks > 0)) {
        return STATUS_OK;
    }
    TRY(series_join(series, series->kv_blocks, SERIES_MOST, &report->arena, &most));
    TRY(series_join(series, series->kv_blocks, SERIES_SUM, &report->arena, &sum));
    for (size_t i = 0; i < series->pieces; i++) {
        most[i] *= 100 / blocks;
        sum[i] *= 100 / blocks / (double)series->replicas;
    }
    struct chart chart = chart_over_time(series, series_peak(most, series->pieces));
    TRY(chart_begin(&chart, "KV cache in use, %", out));
    TRY(chart_keys(&chart, keys, series->replicas > 1 ? 2 : 1));
    TRY(chart_draw(&chart));
    TRY(chart_area(&chart, most, series->pieces, "second"));
    if (series->replicas > 1) {
        TRY(chart_line(&chart, sum, series->pieces, "main", 1.8));
    }
    return chart_end(&chart, time_unit(series).name);
}

status report_write_time(struct report *report, struct buffer *out)
{
    if (report->series.replicas == 0) {
        return STATUS_OK;
    }
    TRY(html_section("Over time", out));
    TRY(write_total(report, out));
    TRY(write_replicas(report, out));
    TRY(list_gaps(&report->series, out));
    TRY(buffer_append_text(out, "<div class=\"halves\">\n"));
    TRY(write_sequences(report, out));
    TRY(write_cache(report, out));
    TRY(buffer_append_text(out, "</div>\n"));
    if (report_number(report, "resumed_rows") > 0) {
        TRY(buffer_append_text(out, "<p class=\"soft\">Times are those of the last start.</p>\n"));
    }
    return html_section_end(out);
}
