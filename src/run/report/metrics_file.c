/* SPDX-License-Identifier: Apache-2.0 */
/* Two tables of metrics, of the job and of its replicas, and the file. The form is Prometheus' text
 * exposition format 0.0.4. */
#include "run/report/metrics_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sluice/json.h"

enum metric_type { METRIC_INTEGER, METRIC_REAL };

#define AT(member) offsetof(struct job_progress, member)

static const struct metric {
    const char *name, *type, *help;
    enum metric_type value;
    size_t offset; /* in struct job_progress */
} metrics[] = {
    {"rows", "gauge", "Rows of the data set, where that is known.", METRIC_INTEGER, AT(rows)},
    {"rows_done_total", "counter", "Rows with a result, of all starts.", METRIC_INTEGER,
     AT(rows_done)},
    {"rows_kept", "gauge", "Rows that earlier starts did.", METRIC_INTEGER, AT(rows_kept)},
    {"rows_handed", "gauge", "Rows given to ranks, or done before.", METRIC_INTEGER,
     AT(rows_handed)},
    {"error_rows_total", "counter", "Rows done whose result is an error.", METRIC_INTEGER,
     AT(error_rows)},
    {"output_tokens_total", "counter", "Tokens of the rows done.", METRIC_INTEGER,
     AT(output_tokens)},
    {"rows_per_second", "gauge", "Rows done a second, over about the last minute.", METRIC_REAL,
     AT(rows_per_second)},
    {"tokens_per_second", "gauge", "Tokens of rows done a second, over about the last minute.",
     METRIC_REAL, AT(tokens_per_second)},
    {"sequences_running", "gauge", "Sequences at work, of all replicas.", METRIC_INTEGER,
     AT(running)},
    {"sequences_waiting", "gauge", "Sequences that wait for a place, of all replicas.",
     METRIC_INTEGER, AT(waiting)},
    {"kv_cache_use_ratio", "gauge", "Share of the KV cache's blocks in use.", METRIC_REAL,
     AT(kv_use)},
    {"run_seconds", "gauge", "Seconds of this start.", METRIC_REAL, AT(seconds)},
    {"start_time_seconds", "gauge", "When this start began, Unix time.", METRIC_INTEGER,
     AT(started)},
    {"update_time_seconds", "gauge", "When these numbers were taken, Unix time.", METRIC_INTEGER,
     AT(updated)},
    {"ranks", "gauge", "MPI ranks.", METRIC_INTEGER, AT(ranks)},
};

static status append_head(const char *name, const char *type, const char *help, struct buffer *out)
{
    return buffer_format(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and newline are written with a backslash. */
static status append_label(const char *name, const char *text, struct buffer *out)
{
    TRY(buffer_format(out, "%s=\"", name));
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            TRY(buffer_append_text(out, "\\n"));
            continue;
        }
        TRY(*text == '\\' || *text == '"' ? buffer_append_byte(out, '\\') : STATUS_OK);
        TRY(buffer_append_byte(out, *text));
    }
    return buffer_append_byte(out, '"');
}

static status append_metric(const struct metric *metric, const struct job_progress *progress,
                            const char *labels, struct buffer *out)
{
    const void *at = (const char *)progress + metric->offset;
    if (metric->value == METRIC_INTEGER && *(const int64_t *)at < 0) {
        return STATUS_OK; /* not known */
    }
    TRY(append_head(metric->name, metric->type, metric->help, out));
    TRY(buffer_format(out, "sluice_%s{%s} ", metric->name, labels));
    TRY(metric->value == METRIC_INTEGER
            ? buffer_format(out, "%lld", (long long)*(const int64_t *)at)
            : json_write_double(*(const double *)at, out));
    return buffer_append_byte(out, '\n');
}

/* ---- Replicas ---- */

static double pace_rate(const struct replica_pace *pace, double now)
{
    (void)now;
    return pace->rate;
}

static double pace_is_slow(const struct replica_pace *pace, double now)
{
    (void)now;
    return pace->pace != PACE_EVEN;
}

static double pace_silence(const struct replica_pace *pace, double now)
{
    return now - pace->heard;
}

static const struct {
    const char *name, *help;
    double (*value)(const struct replica_pace *pace, double now);
} replica_metrics[] = {
    {"replica_tokens_per_second",
     "Tokens of prompts and answers that a replica computes a second of work.", pace_rate},
    {"replica_slow", "1: slower than four fifths of its peers' rate, or silent.", pace_is_slow},
    {"replica_silent_seconds", "Seconds since a replica was heard of.", pace_silence},
};

static status append_replica(const struct paces *paces, int replica, size_t metric,
                             const char *labels, double now, struct buffer *out)
{
    const struct replica_pace *pace = &paces->replicas[replica];
    if (!pace->known) {
        return STATUS_OK;
    }
    TRY(buffer_format(out, "sluice_%s{%s,replica=\"%d\",rank=\"%d\",", replica_metrics[metric].name,
                      labels, replica, replica * paces->ranks));
    TRY(append_label("host", pace->state.host, out));
    TRY(buffer_append_text(out, "} "));
    TRY(json_write_double(replica_metrics[metric].value(pace, now), out));
    return buffer_append_byte(out, '\n');
}

static status describe(const struct job_progress *progress, const struct paces *paces,
                       const char *labels, bool running, double now, struct buffer *out)
{
    TRY(append_head("job_running", "gauge", "1 while the job is at work.", out));
    TRY(buffer_format(out, "sluice_job_running{%s} %d\n", labels, running ? 1 : 0));
    for (size_t i = 0; i < COUNT_OF(metrics); i++) {
        TRY(append_metric(&metrics[i], progress, labels, out));
    }
    for (size_t i = 0; i < COUNT_OF(replica_metrics); i++) {
        TRY(append_head(replica_metrics[i].name, "gauge", replica_metrics[i].help, out));
        for (int replica = 0; replica < paces->count; replica++) {
            TRY(append_replica(paces, replica, i, labels, now, out));
        }
    }
    return STATUS_OK;
}

status metrics_describe(const struct job_progress *progress, const struct paces *paces,
                        const char *output, bool running, double now, struct buffer *out)
{
    struct buffer labels = {0};
    status s = append_label("output", output, &labels);
    if (s == STATUS_OK) {
        s = describe(progress, paces, labels.data, running, now, out);
    }
    buffer_destroy(&labels);
    return s;
}

/* ---- The file ---- */

static status write_all(const char *path, const struct buffer *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return status_fail_errno(STATUS_IO, "%s", path);
    }
    size_t written = 0;
    ssize_t step = 0;
    while (written < text->length &&
           (step = write(fd, text->data + written, text->length - written)) > 0) {
        written += (size_t)step;
    }
    status s = written == text->length ? STATUS_OK : status_fail_errno(STATUS_IO, "%s", path);
    if (close(fd) != 0 && s == STATUS_OK) {
        s = status_fail_errno(STATUS_IO, "%s", path);
    }
    return s;
}

status metrics_write(const char *path, const struct buffer *text)
{
    struct buffer next = {0};
    status s = buffer_format(&next, "%s.next", path);
    if (s == STATUS_OK) {
        s = write_all(next.data, text);
    }
    if (s == STATUS_OK && rename(next.data, path) != 0) {
        s = status_fail_errno(STATUS_IO, "%s", path);
    }
    buffer_destroy(&next);
    return s;
}
