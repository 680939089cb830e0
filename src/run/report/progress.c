/* SPDX-License-Identifier: Apache-2.0 */
/* Rates, lines and files. */
#include "run/report/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "run/ranks/world.h"
#include "run/report/live_line.h"
#include "run/report/metrics_file.h"

/* The first line shows that it works; after that there is one a minute. */
static const double FIRST_LINE_SECONDS = 10.0, LINE_SECONDS = 60.0;
/* The line is drawn, and a commit written into the files, this often; less often where the terminal
 * or the file system is so slow that it would take more than COST_SHARE of the time. */
static const double DRAW_SECONDS = 0.5, DRAW_SECONDS_MOST = 2.0, WRITE_SECONDS_LEAST = 1.0,
                    COST_SHARE = 0.002;
static const double SAMPLE_SECONDS = 15.0; /* PROGRESS_SAMPLES of them are about a minute */
/* Without a commit the files are written this often, as a sign of life. */
static const double WRITE_SECONDS = 10.0;

/* ---- Numbers ---- */

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

static void take_paces(struct progress *self)
{
    struct pace_total total = paces_total(&self->paces);
    self->now.running = total.running;
    self->now.waiting = total.waiting;
    self->now.kv_use = total.kv_use;
    self->now.tokens_now = total.tokens_per_second;
}

static void take_news(struct progress *self, const struct progress_news *news, double now)
{
    self->now.rows = news->rows;
    self->now.rows_handed = news->handed;
    self->now.seconds = now - self->start;
    take_totals(self, news->totals);
    take_paces(self);
    set_rates(self, now);
    take_sample(self, now);
}

/* ---- Files ---- */

/* A job does not end because nobody can be told how it stands. */
static void write_metrics(struct progress *self, bool running, double now)
{
    if (self->metrics == NULL || self->metrics_failed) {
        return;
    }
    buffer_clear(&self->text);
    status s = metrics_describe(&self->now, &self->paces, self->output, running, now, &self->text);
    if (s == STATUS_OK) {
        s = metrics_write(self->metrics, &self->text);
    }
    if (s != STATUS_OK) {
        self->metrics_failed = true;
        log_write(LOG_WARNING, "output.metrics: %s; it is not written any more", status_message());
    }
}

/* How long to wait after something that took from `start` until now: at most so long that nobody
 * takes the job for dead. On a busy host it may just have been interrupted. */
static double interval_after(double start, double least, double most)
{
    double wanted = (clock_seconds() - start) / COST_SHARE;
    return wanted < least ? least : wanted > most ? most : wanted;
}

static void write_files(struct progress *self, double now)
{
    self->last_write = now;
    self->now.updated = time(NULL);
    self->now.seconds = now - self->start;
    if (!self->failed && job_progress_write(self->directory.data, &self->now) != STATUS_OK) {
        self->failed = true;
        log_write(LOG_WARNING, "%s; `sluice status` will not know how the job stands",
                  status_message());
    }
    write_metrics(self, true, now);
    self->write_interval = interval_after(now, WRITE_SECONDS_LEAST, WRITE_SECONDS);
}

/* ---- Lines ---- */

/* Of the whole job, so that it never goes back; the speed is of about the last minute. */
static void write_line(struct progress *self, double now)
{
    const struct job_progress *p = &self->now;
    char total[64] = "", left[48] = "", errors[40] = "", since[24], text[24], clock[21];
    struct buffer members = {0};
    if (p->rows >= 0) {
        double share = p->rows > 0 ? 100.0 * (double)p->rows_done / (double)p->rows : 100.0;
        snprintf(total, sizeof total, " of %lld rows done (%.1f%%)", (long long)p->rows, share);
    }
    if (p->rows > p->rows_done && p->rows_per_second > 0) {
        double seconds = (double)(p->rows - p->rows_done) / p->rows_per_second;
        snprintf(left, sizeof left, ", about %s left", format_seconds(seconds, text));
    }
    if (p->error_rows > 0) {
        snprintf(errors, sizeof errors, ", %lld with errors", (long long)p->error_rows);
    }
    clock_timestamp(clock);
    bool told = log_is_json() && job_progress_append_json(p, &members) == STATUS_OK;
    log_event(LOG_INFO, told ? members.data : NULL,
              "%s: %lld%s%s, %lld handed out, %.1f rows/s, %.1f tokens/s, %s%s", clock,
              (long long)p->rows_done, p->rows >= 0 ? total : " rows done", errors,
              (long long)p->rows_handed, p->rows_per_second, p->tokens_per_second,
              format_seconds(now - self->start, since), left);
    buffer_destroy(&members);
}

/* All that is known, for SIGUSR2. */
static void write_snapshot(struct progress *self, double now)
{
    write_line(self, now);
    log_write(LOG_INFO, "%lld sequences running, %lld waiting, KV cache %.1f%% full, %.1f tokens/s",
              (long long)self->now.running, (long long)self->now.waiting, 100 * self->now.kv_use,
              self->now.tokens_now);
    for (int i = 0; i < self->paces.count; i++) {
        const struct replica_state *state = &self->paces.replicas[i].state;
        buffer_clear(&self->text);
        if (pace_describe(&self->paces, i, now, &self->text) == STATUS_OK) {
            log_write(LOG_INFO, "%s; %d running, %d waiting", self->text.data, state->running,
                      state->waiting);
        }
    }
    if (self->now.last_error[0] != '\0') {
        log_write(LOG_INFO, "the last error: %s", self->now.last_error);
    }
}

/* Ranks are named when they become slow, not again and again; and when none is any more. */
static void say_slow(struct progress *self, bool rows_left, double now)
{
    unsigned before = 0, after = 0;
    char text[sizeof self->now.slow] = "";
    for (int i = 0; i < self->paces.count; i++) {
        before += self->paces.replicas[i].pace != PACE_EVEN;
    }
    if (!paces_judge(&self->paces, rows_left, now)) {
        return;
    }
    for (int i = 0; i < self->paces.count; i++) {
        after += self->paces.replicas[i].pace != PACE_EVEN;
    }
    buffer_clear(&self->text);
    if (after > 0 && paces_describe_slow(&self->paces, now, &self->text) == STATUS_OK) {
        snprintf(text, sizeof text, "%s", self->text.data);
    }
    memcpy(self->now.slow, text, sizeof text);
    if (after > before) {
        log_write(LOG_WARNING, "slow: %s", text);
    } else if (after == 0 && before > 0) {
        log_write(LOG_INFO, "no rank is slow any more");
    }
}

/* ---- From start to end ---- */

static void choose_lines(struct progress *self, bool quiet)
{
    bool shown = !quiet && log_shows(LOG_INFO);
    self->live = shown && !log_is_json() && live_line_possible();
    self->lines = shown && !self->live;
    if (self->live) {
        log_before_line(live_line_clear);
    }
}

status progress_begin(struct progress *self, const struct progress_options *options,
                      struct journal_totals totals, int64_t rows)
{
    const struct plan *plan = options->plan;
    self->output = options->output;
    self->metrics = options->metrics;
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
    self->start = clock_seconds();
    self->next_line = self->start + FIRST_LINE_SECONDS;
    TRY(paces_begin(&self->paces, plan->dp, plan->tp * plan->pp, self->start));
    choose_lines(self, options->quiet);
    write_files(self, self->start);
    return STATUS_OK;
}

void progress_take_state(struct progress *self, int replica, const struct replica_state *state)
{
    paces_take(&self->paces, replica, state, clock_seconds());
}

void progress_leader_done(struct progress *self, int replica)
{
    paces_done(&self->paces, replica);
}

/* Lines are due at full minutes since the start, however late one of them is. */
static void plan_line(struct progress *self, double now)
{
    while (self->next_line <= now) {
        double since = self->next_line - self->start;
        self->next_line += since < LINE_SECONDS ? LINE_SECONDS - since : LINE_SECONDS;
    }
}

/* What came before the first report is start-up: rates are counted from there. */
static void begin_rows(struct progress *self, double now)
{
    take_sample(self, now);
    self->paces.started = self->paces.last_judged = now;
}

void progress_report(struct progress *self, const struct progress_news *news)
{
    double now = clock_seconds();
    if (self->sample_count == 0) {
        begin_rows(self, now);
    }
    double written = now - self->last_write;
    bool line = self->lines && now >= self->next_line;
    bool draw = self->live && now - self->last_draw >= self->draw_interval;
    bool file = (news->committed && written >= self->write_interval) || written >= WRITE_SECONDS;
    bool judge = now - self->paces.last_judged >= PACE_SAMPLE_SECONDS;
    if (!line && !draw && !file && !judge && !news->snapshot) {
        return;
    }
    take_news(self, news, now);
    if (judge) {
        say_slow(self, news->rows_left, now);
    }
    if (file) {
        write_files(self, now);
    }
    if (line) {
        plan_line(self, now);
        write_line(self, now);
    }
    if (news->snapshot) {
        write_snapshot(self, now);
    }
    if (draw) {
        double start = clock_seconds();
        live_line_draw(&self->now);
        self->last_draw = now;
        self->draw_interval = interval_after(start, DRAW_SECONDS, DRAW_SECONDS_MOST);
    }
    self->cost += clock_seconds() - now;
}

void progress_rows_end(struct progress *self, const struct progress_news *news, char *slow,
                       size_t size)
{
    double now = clock_seconds();
    take_news(self, news, now);
    write_files(self, now);
    live_line_clear();
    self->live = self->lines = false;
    buffer_clear(&self->text);
    slow[0] = '\0';
    if (paces_summarise(&self->paces, &self->text) == STATUS_OK && self->text.length > 0) {
        snprintf(slow, size, "%s", self->text.data);
    }
    log_write(LOG_DEBUG, "progress, status and metrics took %.6f s of %.3f s", self->cost,
              now - self->start);
}

void progress_end(struct progress *self)
{
    if (self->directory.length > 0) { /* it began */
        live_line_clear();
        log_before_line(NULL);
        take_paces(self);
        write_metrics(self, false, clock_seconds());
    }
    paces_destroy(&self->paces);
    buffer_destroy(&self->directory);
    buffer_destroy(&self->text);
}
