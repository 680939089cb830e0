/* SPDX-License-Identifier: Apache-2.0 */
/* What each rank spent its time on, as a table with a bar a rank. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report/chart.h"
#include "cli/report/html.h"
#include "cli/report/sections.h"

enum { RANKS_MOST = 256 };

static const struct phase_of_rank {
    const char *color, *name;
    size_t seconds; /* place in struct rank_metrics */
} phases[] = {
    {"main", "prompts", offsetof(struct rank_metrics, seconds_prefill)},
    {"third", "answers", offsetof(struct rank_metrics, seconds_decode)},
    {"fourth", "waiting for other ranks", offsetof(struct rank_metrics, seconds_communication)},
    {"idle", "idle", offsetof(struct rank_metrics, seconds_idle)},
};

static double phase_seconds(const struct rank_metrics *rank, size_t phase)
{
    return *(const double *)(const void *)((const char *)rank + phases[phase].seconds);
}

static status write_phases(const struct rank_metrics *rank, double longest, struct buffer *out)
{
    struct chart_part parts[COUNT_OF(phases)];
    char labels[COUNT_OF(phases)][64];
    for (size_t i = 0; i < COUNT_OF(phases); i++) {
        const double seconds = phase_seconds(rank, i);
        snprintf(labels[i], sizeof labels[i], "%s: %.2f s", phases[i].name, seconds);
        parts[i] = (struct chart_part){longest > 0 && isfinite(seconds) ? seconds / longest : 0,
                                       phases[i].color, labels[i]};
    }
    return chart_bar(parts, COUNT_OF(parts), out);
}

static status write_place(const struct report *report, const struct rank_metrics *rank,
                          struct buffer *out)
{
    TRY(html_text(rank->host, strlen(rank->host), out));
    for (size_t i = 0; i < report->rank_count; i++) {
        if (strcmp(report->ranks[i].device, report->ranks[0].device) != 0) {
            TRY(buffer_append_text(out, "<br>"));
            return html_text(rank->device, strlen(rank->device), out);
        }
    }
    return STATUS_OK;
}

static status write_rank(const struct report *report, size_t index, double longest,
                         struct buffer *out)
{
    const struct rank_metrics *rank = &report->ranks[index];
    const struct rank_verdict *verdict = &report->verdicts[index];
    char memory[24];
    TRY(buffer_format(out, "<tr%s><td>%d%s</td><td class=\"t\">",
                      verdict->is_slow ? " class=\"slow\"" : "", rank->rank,
                      verdict->is_slow ? " <span class=\"slow-mark\">slow</span>" : ""));
    TRY(write_place(report, rank, out));
    TRY(buffer_format(out, "</td><td class=\"more\">%d.%d.%d</td><td>", rank->dp, rank->tp,
                      rank->pp));
    if (verdict->leads) {
        TRY(html_number(verdict->rate, out));
        TRY(buffer_append_text(out, "</td><td>"));
        TRY(html_count(rank->rows, out));
    } else {
        TRY(buffer_append_text(out, "</td><td>"));
    }
    TRY(buffer_append_text(out, "</td><td style=\"width:34%\">"));
    TRY(write_phases(rank, longest, out));
    TRY(buffer_format(out, "</td><td>%s</td><td class=\"more\">",
                      format_bytes(rank->peak_memory_bytes, memory)));
    if (verdict->leads) {
        TRY(buffer_format(out, "%.0f%%", 100 * rank->kv_peak_use));
    }
    TRY(buffer_append_text(out, "</td></tr>\n"));
    if (!verdict->is_slow) {
        return STATUS_OK;
    }
    TRY(buffer_append_text(
        out, "<tr class=\"slow\"><td></td><td class=\"t\" colspan=\"7\"><div class=\"why\">"));
    TRY(html_text(verdict->reason, strlen(verdict->reason), out));
    return buffer_append_text(out, "</div></td></tr>\n");
}

/* All of a few; of very many the slow ones, then the first ones. */
static status write_rows(const struct report *report, double longest, struct buffer *out)
{
    const bool all = report->rank_count <= RANKS_MOST;
    size_t shown = 0;
    for (int pass = all ? 1 : 0; pass <= 1; pass++) {
        for (size_t i = 0; i < report->rank_count && shown < RANKS_MOST; i++) {
            const bool is_slow = report->verdicts[i].is_slow;
            if (all || is_slow == (pass == 0)) {
                TRY(write_rank(report, i, longest, out));
                shown++;
            }
        }
    }
    TRY(buffer_append_text(out, "</table></div>\n"));
    return shown < report->rank_count
               ? buffer_format(out,
                               "<p class=\"soft\">%zu ranks more; <code>sluice inspect "
                               "--ranks</code> lists all.</p>\n",
                               report->rank_count - shown)
               : STATUS_OK;
}

static status write_legend(struct buffer *out)
{
    TRY(buffer_append_text(out, "<div class=\"key\">"));
    for (size_t i = 0; i < COUNT_OF(phases); i++) {
        TRY(buffer_format(out, "<span><i style=\"background:var(--%s)\"></i>%s</span>",
                          phases[i].color, phases[i].name));
    }
    return buffer_append_text(out, "</div>\n");
}

status report_write_ranks(struct report *report, struct buffer *out)
{
    double longest = 0;
    if (report->rank_count == 0) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < report->rank_count; i++) {
        const double seconds = report->ranks[i].seconds_total;
        longest = isfinite(seconds) && seconds > longest ? seconds : longest;
    }
    TRY(html_section("Ranks", out));
    TRY(write_legend(out));
    TRY(buffer_append_text(
        out, "<div class=\"wide\"><table><tr><th>rank</th><th class=\"t\">host</th>"
             "<th class=\"more\" title=\"replica, tensor rank, "
             "stage\">place</th><th>tokens/s</th><th>rows</th>"
             "<th class=\"t\">time</th><th>memory</th><th class=\"more\">KV peak</th></tr>\n"));
    TRY(write_rows(report, longest, out));
    return html_section_end(out);
}
