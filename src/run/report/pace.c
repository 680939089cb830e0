/* SPDX-License-Identifier: Apache-2.0 */
/* Rates of replicas, and their median. */
#include "run/report/pace.h"

#include <stdlib.h>
#include <string.h>

enum { TICKS = COUNT_OF(((struct paces *)NULL)->ticks) };

/* A replica that was slow for less than this in a job that it was not slow in is not spoken of. */
static const double WORTH_SECONDS = 60, WORTH_SHARE = 0.1;
/* Less work than this says little of a replica. */
static const double LEAST_SECONDS = 10;

status paces_begin(struct paces *self, int replicas, int replica_ranks, double now)
{
    self->ranks = replica_ranks;
    self->started = self->last_judged = now;
    self->replicas = calloc((size_t)replicas, sizeof *self->replicas);
    self->rates = calloc((size_t)replicas, sizeof *self->rates);
    if (self->replicas == NULL || self->rates == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the rates of %d replicas",
                           replicas);
    }
    self->count = replicas; /* until then there is none to walk over */
    return STATUS_OK;
}

void paces_destroy(struct paces *self)
{
    free(self->replicas);
    free(self->rates);
    *self = (struct paces){0};
}

static void take_tick(struct paces *self, double now)
{
    struct pace_tick *ticks = self->ticks;
    if (self->tick_count > 0 && now - ticks[self->tick_count - 1].time < 1) {
        return;
    }
    if (self->tick_count == TICKS) {
        memmove(ticks, ticks + 1, (TICKS - 1) * sizeof *ticks);
        self->tick_count--;
    }
    ticks[self->tick_count++] = (struct pace_tick){now, paces_total(self).output_tokens};
}

void paces_take(struct paces *self, int replica, const struct replica_state *state, double now)
{
    if (replica < 0 || replica >= self->count) {
        return;
    }
    struct replica_pace *pace = &self->replicas[replica];
    pace->state = *state;
    pace->state.host[sizeof pace->state.host - 1] = '\0';
    pace->heard = now;
    pace->known = true;
    take_tick(self, now);
}

void paces_done(struct paces *self, int replica)
{
    if (replica >= 0 && replica < self->count) {
        struct replica_state *state = &self->replicas[replica].state;
        self->replicas[replica].done = true;
        state->running = state->waiting = state->kv_blocks_used = 0;
    }
}

/* ---- Rates ---- */

static double rate_of(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static void take_sample(struct replica_pace *pace)
{
    struct pace_sample *samples = pace->samples;
    if (pace->sample_count == PACE_SAMPLES) {
        memmove(samples, samples + 1, (PACE_SAMPLES - 1) * sizeof *samples);
        pace->sample_count--;
    }
    samples[pace->sample_count++] =
        (struct pace_sample){pace->state.busy_seconds, pace->state.tokens};
    const struct pace_sample *last = &samples[pace->sample_count - 1];
    pace->rate =
        rate_of(last->tokens - samples->tokens, last->busy_seconds - samples->busy_seconds);
}

static int compare_rates(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Puts the rates that are known in order; returns their number. */
static int sort_rates(struct paces *self, double (*rate)(const struct replica_pace *))
{
    int known = 0;
    for (int i = 0; i < self->count; i++) {
        double value = rate(&self->replicas[i]);
        if (value > 0) {
            self->rates[known++] = value;
        }
    }
    qsort(self->rates, (size_t)known, sizeof *self->rates, compare_rates);
    return known;
}

/* The median of `count` rates in order but for one of the value `own`; 0 where there is no other.
 */
static double median_of_others(const double *rates, int count, double own)
{
    int others = count - 1;
    if (others < 1) {
        return 0;
    }
    int middle = others / 2, at = 0;
    while (at < count - 1 && rates[at] < own) {
        at++;
    }
    double upper = rates[middle < at ? middle : middle + 1];
    if (others % 2 == 1) {
        return upper;
    }
    double lower = rates[middle - 1 < at ? middle - 1 : middle];
    return (lower + upper) / 2;
}

static double rate_now(const struct replica_pace *pace)
{
    return pace->rate;
}

static double rate_ever(const struct replica_pace *pace)
{
    return rate_of(pace->state.tokens, pace->state.busy_seconds);
}

/* ---- Judgement ---- */

static void judge(struct replica_pace *pace, double since_start, double seconds, bool rows_left,
                  double now)
{
    double silent = pace->known ? now - pace->heard : since_start;
    bool has_window = pace->sample_count >= PACE_SAMPLES / 2;
    bool slow = rows_left && has_window && pace->rate > 0 &&
                pace->rate < PACE_SLOW_SHARE * pace->peers_rate;
    pace->pace = pace->done                     ? PACE_EVEN
                 : silent > PACE_SILENT_SECONDS ? PACE_SILENT
                 : slow                         ? PACE_SLOW
                                                : PACE_EVEN;
    pace->slow_seconds += pace->pace != PACE_EVEN ? seconds : 0;
}

bool paces_judge(struct paces *self, bool rows_left, double now)
{
    double seconds = now - self->last_judged;
    if (seconds < PACE_SAMPLE_SECONDS) {
        return false;
    }
    self->last_judged = now;
    for (int i = 0; i < self->count; i++) {
        take_sample(&self->replicas[i]);
    }
    int known = sort_rates(self, rate_now);
    for (int i = 0; i < self->count; i++) {
        struct replica_pace *pace = &self->replicas[i];
        pace->peers_rate = pace->rate > 0 ? median_of_others(self->rates, known, pace->rate) : 0;
        judge(pace, now - self->started, seconds, rows_left, now);
    }
    return true;
}

/* ---- Words ---- */

struct pace_total paces_total(const struct paces *self)
{
    struct pace_total total = {0};
    int64_t used = 0, blocks = 0;
    for (int i = 0; i < self->count; i++) {
        const struct replica_state *state = &self->replicas[i].state;
        total.output_tokens += state->output_tokens;
        total.running += state->running;
        total.waiting += state->waiting;
        used += state->kv_blocks_used;
        blocks += state->kv_blocks;
    }
    total.kv_use = blocks > 0 ? (double)used / (double)blocks : 0;
    if (self->tick_count > 1) {
        const struct pace_tick *first = self->ticks, *last = first + self->tick_count - 1;
        total.tokens_per_second =
            rate_of(last->output_tokens - first->output_tokens, last->time - first->time);
    }
    return total;
}

static status describe_ranks(const struct paces *self, int replica, struct buffer *out)
{
    const struct replica_pace *pace = &self->replicas[replica];
    int first = replica * self->ranks, last = first + self->ranks - 1;
    TRY(first == last ? buffer_format(out, "rank %d", first)
                      : buffer_format(out, "ranks %d to %d", first, last));
    return pace->known ? buffer_format(out, " on %s", pace->state.host) : STATUS_OK;
}

static status describe_rate(double own, double peers, struct buffer *out)
{
    TRY(buffer_format(out, "%.1f tokens/s", own));
    double below = peers > 0 ? 1 - own / peers : 0;
    return below > 0 ? buffer_format(out, ", %.0f%% below its peers' %.1f", 100 * below, peers)
                     : STATUS_OK;
}

status pace_describe(const struct paces *self, int replica, double now, struct buffer *out)
{
    const struct replica_pace *pace = &self->replicas[replica];
    char text[24];
    TRY(describe_ranks(self, replica, out));
    TRY(buffer_append_text(out, ": "));
    if (pace->pace != PACE_SILENT) {
        return describe_rate(pace->rate, pace->peers_rate, out);
    }
    double since = now - (pace->known ? pace->heard : self->started);
    return buffer_format(out, "not heard of for %s", format_seconds(since, text));
}

status paces_describe_slow(const struct paces *self, double now, struct buffer *out)
{
    const char *between = "";
    for (int i = 0; i < self->count; i++) {
        if (self->replicas[i].pace != PACE_EVEN) {
            TRY(buffer_append_text(out, between));
            TRY(pace_describe(self, i, now, out));
            between = "; ";
        }
    }
    return STATUS_OK;
}

static status summarise(const struct paces *self, int replica, int known, struct buffer *out)
{
    const struct replica_pace *pace = &self->replicas[replica];
    char text[24];
    double own = rate_ever(pace), seconds = pace->slow_seconds;
    double peers = own > 0 ? median_of_others(self->rates, known, own) : 0;
    double all = pace->heard - self->started;
    bool was_slow = seconds > WORTH_SECONDS || seconds > WORTH_SHARE * all;
    bool is_slow = pace->state.busy_seconds > LEAST_SECONDS && own < PACE_SLOW_SHARE * peers;
    if (!is_slow && !was_slow) {
        return STATUS_OK;
    }
    TRY(out->length > 0 ? buffer_append_text(out, "; ") : STATUS_OK);
    TRY(describe_ranks(self, replica, out));
    TRY(buffer_append_text(out, ": "));
    TRY(describe_rate(own, peers, out));
    return seconds > 0
               ? buffer_format(out, ", slow or silent for %s", format_seconds(seconds, text))
               : STATUS_OK;
}

status paces_summarise(struct paces *self, struct buffer *out)
{
    int known = sort_rates(self, rate_ever);
    for (int i = 0; known > 1 && i < self->count; i++) {
        TRY(summarise(self, i, known, out));
    }
    return STATUS_OK;
}
