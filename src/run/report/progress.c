/* SPDX-License-Identifier: Apache-2.0 */
/* Rates, the line and the file. */
#include "run/report/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "run/ranks/world.h"

static const double LINE_SECONDS = 5.0;
static const double SAMPLE_SECONDS = 15.0; /* PROGRESS_SAMPLES of them are about a minute */
/* Without a commit the file is written this often, as a sign of life. */
static const double WRITE_SECONDS = 10.0;

static void take_sample(struct progress *self, double time)
{
    struct progress_sample *samples = self->samples;
    int count = self->sample_count;
    if (count > 0 && time - samples[count - 1].time < SAMPLE_SECONDS) {
        return;
    }
    if (count == PROGRESS_SAMPLES) {
        memmove(samples, samples + 1, (PROGRESS_SAMPLES - 1) * sizeof *samples);
        count--;
    }
    samples[count] = (struct progress_sample){time, self->now.rows_done, self->now.output_tokens};
    self->sample_count = count + 1;
}

static void set_rates(struct progress *self, double time)
{
    const struct progress_sample *oldest = &self->samples[0];
    double seconds = time - oldest->time;
    if (seconds > 0) {
        self->now.rows_per_second = (double)(self->now.rows_done - oldest->rows) / seconds;
        self->now.tokens_per_second = (double)(self->now.output_tokens - oldest->tokens) / seconds;
    }
}

static void take_totals(struct progress *self, struct journal_totals totals)
{
    self->now.rows_done = totals.rows;
    self->now.error_rows = totals.error_rows;
    self->now.output_tokens = totals.output_tokens;
    snprintf(self->now.last_error, sizeof self->now.last_error, "%s", totals.last_error);
}

/* A job does not end because nobody can be told how it stands. */
static void write_file(struct progress *self, double now)
{
    self->last_write = now;
    self->now.updated = time(NULL);
    self->now.seconds = now - self->start;
    if (!self->failed && job_progress_write(self->directory.data, &self->now) != STATUS_OK) {
        self->failed = true;
        log_write(LOG_WARNING, "%s; `sluice status` will not know how the job stands",
                  status_message());
    }
}

status progress_begin(struct progress *self, const struct progress_options *options,
                      struct journal_totals totals, int64_t rows)
{
    const struct plan *plan = options->plan;
    self->quiet = options->quiet;
    TRY(buffer_append_text(&self->directory, options->directory));
    self->now = (struct job_progress){.rows = rows,
                                      .rows_kept = totals.rows,
                                      .tokens_kept = totals.output_tokens,
                                      .started = time(NULL),
                                      .ranks = plan->ranks,
                                      .dp = plan->dp,
                                      .tp = plan->tp,
                                      .pp = plan->pp,
                                      .process = getpid()};
    snprintf(self->now.host, sizeof self->now.host, "%s", world_get()->host);
    take_totals(self, totals);
    self->start = self->last_line = clock_seconds();
    write_file(self, self->start);
    return STATUS_OK;
}

/* Of the whole job, so that it never goes back; the speed is of about the last minute. */
static void write_line(struct progress *self, double now)
{
    const struct job_progress *p = &self->now;
    char total[48] = "", left[48] = "", errors[40] = "", since[24], text[24];
    self->last_line = now;
    if (p->rows >= 0) {
        snprintf(total, sizeof total, " of %lld", (long long)p->rows);
    }
    if (p->rows > p->rows_done && p->rows_per_second > 0) {
        double seconds = (double)(p->rows - p->rows_done) / p->rows_per_second;
        snprintf(left, sizeof left, ", about %s left", format_seconds(seconds, text));
    }
    if (p->error_rows > 0) {
        snprintf(errors, sizeof errors, ", %lld with errors", (long long)p->error_rows);
    }
    log_write(LOG_INFO, "%lld%s rows done%s, %lld handed out, %.1f rows/s, %.1f tokens/s, %s%s",
              (long long)p->rows_done, total, errors, (long long)p->rows_handed, p->rows_per_second,
              p->tokens_per_second, format_seconds(now - self->start, since), left);
}

void progress_report(struct progress *self, struct journal_totals totals, int64_t rows,
                     int64_t handed, bool committed)
{
    double now = clock_seconds();
    if (self->sample_count == 0) { /* ranks are ready: what came before is start-up */
        take_sample(self, now);
    }
    bool line = !self->quiet && now - self->last_line >= LINE_SECONDS;
    bool file = committed || now - self->last_write >= WRITE_SECONDS;
    if (!line && !file) {
        return;
    }
    self->now.rows = rows;
    self->now.rows_handed = handed;
    take_totals(self, totals);
    set_rates(self, now);
    take_sample(self, now);
    if (file) {
        write_file(self, now);
    }
    if (line) {
        write_line(self, now);
    }
}

void progress_end(struct progress *self)
{
    buffer_destroy(&self->directory);
}
