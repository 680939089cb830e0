/* SPDX-License-Identifier: Apache-2.0 */
/* The lines about silent hosts, and the file for scripts that leave them out. */
#include "run/hosts/silence_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMED_HOSTS = 8 };

bool silence_speaks(const struct silence_report *report)
{
    for (int host = 0; host < report->own_host; host++) {
        const struct silence *silence = &report->silences[host];
        if (silence->was_heard && !silence->is_warned) {
            return false;
        }
    }
    return report->is_first_rank;
}

void silence_say(const struct silence_report *report, int host, enum silence_event event,
                 const struct silence_limits *limits)
{
    const struct silence *silence = &report->silences[host];
    char ranks[96], end[96];
    const char *name = host_name(report->table, host);
    host_describe_ranks(&report->table->hosts[host], ranks, sizeof ranks);
    switch (event) {
    case SILENCE_MISSING:
        log_write(LOG_WARNING,
                  "not one sign of life has come from host %s (%s): is UDP between the hosts "
                  "blocked? Should that host vanish, this job will not notice",
                  name, ranks);
        break;
    case SILENCE_WARN:
        snprintf(end, sizeof end, "the job ends after %.0f s of it", limits->limit);
        log_write(LOG_WARNING, "host %s (%s) has been silent for %.0f s; %s", name, ranks,
                  silence->seconds,
                  limits->limit > 0 ? end : "the job waits for it (run.silence_limit: off)");
        break;
    case SILENCE_BACK:
        log_write(LOG_WARNING, "host %s (%s) is heard again, after %.0f s", name, ranks,
                  silence->before);
        break;
    case SILENCE_NOTHING:
    case SILENCE_END:
        break;
    }
}

static bool is_silent(const struct silence_report *report, int host)
{
    const struct silence *silence = &report->silences[host];
    return host != report->own_host && silence->was_heard && silence->is_warned;
}

static int count_silent(const struct silence_report *report)
{
    int count = 0;
    for (int host = 0; host < report->table->count; host++) {
        count += is_silent(report, host);
    }
    return count;
}

/* "host hb (ranks 2-3), host hc (ranks 4-5) and 3 more" */
static void list_silent(const struct silence_report *report, int count, char *text, size_t size)
{
    int named = 0;
    size_t length = 0;
    text[0] = '\0';
    for (int host = 0; host < report->table->count && named < NAMED_HOSTS; host++) {
        if (is_silent(report, host) && length < size) {
            char ranks[96];
            host_describe_ranks(&report->table->hosts[host], ranks, sizeof ranks);
            length +=
                (size_t)snprintf(text + length, size - length, "%shost %s (%s)",
                                 named++ > 0 ? ", " : "", host_name(report->table, host), ranks);
        }
    }
    if (count > named && length < size) {
        snprintf(text + length, size - length, " and %d more", count - named);
    }
}

static void write_names(const struct silence_report *report)
{
    const char *path = getenv("SLUICE_SILENT_HOSTS");
    FILE *file = path != NULL && path[0] != '\0' ? fopen(path, "w") : NULL;
    if (file == NULL) {
        return;
    }
    for (int host = 0; host < report->table->count; host++) {
        if (is_silent(report, host)) {
            fprintf(file, "%s\n", host_name(report->table, host));
        }
    }
    fclose(file);
}

void silence_say_end(const struct silence_report *report)
{
    const int count = count_silent(report);
    double seconds = 0;
    char line[1400], hosts[1024];
    for (int host = 0; host < report->table->count; host++) {
        const double here = is_silent(report, host) ? report->silences[host].seconds : 0;
        seconds = here > seconds ? here : seconds;
    }
    list_silent(report, count, hosts, sizeof hosts);
    if (count == 0) {
        snprintf(line, sizeof line,
                 "sluice: stopped: the other hosts hear nothing of host %s; finished rows are "
                 "kept, and the same command continues without it",
                 host_name(report->table, report->own_host));
    } else if (2 * count > report->table->count) {
        snprintf(line, sizeof line,
                 "sluice: stopped: nothing was heard of %s, which is most of the job: host %s may "
                 "be the one that is cut off; finished rows are kept, and the same command "
                 "continues on hosts that reach each other",
                 hosts, host_name(report->table, report->own_host));
    } else {
        write_names(report);
        snprintf(line, sizeof line,
                 "sluice: stopped: nothing was heard of %s for %.0f s; finished rows are kept, and "
                 "the same command continues without %s: leave out the line in mpirun's hostfile, "
                 "or under Slurm --exclude",
                 hosts, seconds, count == 1 ? "it" : "them");
    }
    log_put_line(line);
}
