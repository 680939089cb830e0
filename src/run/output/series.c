/* SPDX-License-Identifier: Apache-2.0 */
/* Samples to pieces of time. Between two samples tokens come evenly. */
#include "run/output/series.h"

#include <math.h>
#include <stdlib.h>

/* A replica is silent where nothing moves for so many times its usual step between samples. */
static const double GAP_STEPS = 4, GAP_SECONDS = 2;

enum { LEAST_PIECES = 4 };

struct samples {
    const struct timeline_point *points;
    size_t count;
};

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a report's timeline");
}

/* The samples from `at` on that are of one rank. Times that do not rise end it: the file may come
 * from anywhere. */
static struct samples next_run(const struct timeline_point *points, size_t count, size_t at)
{
    struct samples run = {&points[at], 1};
    while (at + run.count < count && points[at + run.count].rank == points[at].rank &&
           points[at + run.count].seconds >= points[at + run.count - 1].seconds) {
        run.count++;
    }
    return run;
}

static int64_t tokens_at(const struct timeline_point *point, bool of_answers)
{
    return of_answers ? point->output_tokens : point->prompt_tokens;
}

/* ---- Pieces ---- */

/* How many tokens there were at a time; *last is the sample before it, -1 for none. */
static double tokens_until(const struct samples *run, double time, bool of_answers, size_t *last)
{
    size_t i = *last;
    while (i + 1 < run->count && run->points[i + 1].seconds <= time) {
        i++;
    }
    *last = i;
    const struct timeline_point *a = &run->points[i];
    const double from = (double)tokens_at(a, of_answers);
    if (i + 1 == run->count || time <= a->seconds) {
        return from;
    }
    const struct timeline_point *b = a + 1;
    const double share = (time - a->seconds) / (b->seconds - a->seconds);
    return from + share * ((double)tokens_at(b, of_answers) - from);
}

static void fill_pieces(const struct samples *run, bool of_answers, size_t replica,
                        struct series *out)
{
    const double width = out->end / (double)out->pieces;
    const double first = run->points[0].seconds, last = run->points[run->count - 1].seconds;
    double before = tokens_until(run, 0, of_answers, &(size_t){0});
    size_t edge = 0, middle = 0;
    for (size_t i = 0; i < out->pieces; i++) {
        const size_t at = replica * out->pieces + i;
        const double end = width * (double)(i + 1), centre = width * ((double)i + 0.5);
        const double after = tokens_until(run, end, of_answers, &edge);
        const bool is_there = end > first && end - width < last;
        tokens_until(run, centre, of_answers, &middle);
        const struct timeline_point *sample = &run->points[middle];
        out->rate[at] = is_there ? fmax(after - before, 0) / width : NAN;
        out->running[at] = is_there ? sample->running : NAN;
        out->waiting[at] = is_there ? sample->waiting : NAN;
        out->kv_blocks[at] = is_there ? sample->kv_blocks_used : NAN;
        before = after;
    }
}

/* ---- Gaps ---- */

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static status usual_step(const struct samples *run, double *out)
{
    double *steps = malloc(run->count * sizeof *steps);
    if (steps == NULL) {
        return no_memory();
    }
    for (size_t i = 1; i < run->count; i++) {
        steps[i - 1] = run->points[i].seconds - run->points[i - 1].seconds;
    }
    qsort(steps, run->count - 1, sizeof *steps, compare_doubles);
    *out = run->count > 1 ? steps[(run->count - 1) / 2] : 0;
    free(steps);
    return STATUS_OK;
}

static bool moved(const struct timeline_point *a, const struct timeline_point *b)
{
    return a->output_tokens != b->output_tokens || a->prompt_tokens != b->prompt_tokens;
}

static void add_gap(struct series *out, const struct samples *run, size_t from, size_t to)
{
    if (out->gap_count == SERIES_MOST_GAPS) {
        out->gaps_left_out++;
        return;
    }
    bool had_rows = false;
    for (size_t i = from; i < to; i++) {
        had_rows |= run->points[i].running > 0 || run->points[i].waiting > 0;
    }
    out->gaps[out->gap_count++] = (struct series_gap){.rank = run->points[0].rank,
                                                      .from = run->points[from].seconds,
                                                      .to = run->points[to].seconds,
                                                      .had_rows = had_rows};
}

static status find_gaps(const struct samples *run, struct series *out)
{
    double step;
    TRY(usual_step(run, &step));
    const double least = fmax(GAP_STEPS * step, GAP_SECONDS);
    size_t since = 0; /* the last sample after which something moved */
    for (size_t i = 1; i < run->count; i++) {
        const bool ends = moved(&run->points[i - 1], &run->points[i]) || i + 1 == run->count;
        if (ends && run->points[i].seconds - run->points[since].seconds > least) {
            add_gap(out, run, since, i);
        }
        since = ends ? i : since;
    }
    return STATUS_OK;
}

/* ---- All replicas ---- */

static status allocate(struct series *out, struct arena *arena)
{
    double **const values[] = {&out->rate, &out->running, &out->waiting, &out->kv_blocks};
    bool all = true;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        *values[i] = arena_allocate_array(arena, out->replicas * out->pieces, sizeof(double));
        all = all && *values[i] != NULL;
    }
    out->gaps = arena_allocate_array(arena, SERIES_MOST_GAPS, sizeof *out->gaps);
    return all && out->gaps != NULL ? STATUS_OK : no_memory();
}

/* How many replicas, the last moment, and pieces as there are samples. */
static void measure_points(const struct timeline_point *points, size_t count, struct series *out)
{
    for (size_t at = 0; at < count;) {
        const struct samples run = next_run(points, count, at);
        const double end = run.points[run.count - 1].seconds;
        out->end = isfinite(end) && end > out->end ? end : out->end;
        out->pieces = run.count > out->pieces ? run.count : out->pieces;
        out->replicas++;
        at += run.count;
    }
    out->pieces = out->pieces < LEAST_PIECES         ? LEAST_PIECES
                  : out->pieces > SERIES_MOST_PIECES ? SERIES_MOST_PIECES
                                                     : out->pieces;
}

status series_make(const struct timeline_point *points, size_t count, bool of_answers,
                   struct arena *arena, struct series *out)
{
    *out = (struct series){0};
    measure_points(points, count, out);
    if (out->end <= 0) {
        out->replicas = 0;
        return STATUS_OK;
    }
    TRY(allocate(out, arena));
    int32_t *ranks = arena_allocate_array(arena, out->replicas, sizeof *ranks);
    if (ranks == NULL) {
        return no_memory();
    }
    size_t replica = 0;
    for (size_t at = 0; at < count; replica++) {
        const struct samples run = next_run(points, count, at);
        ranks[replica] = run.points[0].rank;
        fill_pieces(&run, of_answers, replica, out);
        TRY(find_gaps(&run, out));
        at += run.count;
    }
    out->ranks = ranks;
    return STATUS_OK;
}

status series_join(const struct series *self, const double *values, enum series_join how,
                   struct arena *arena, double **out)
{
    *out = arena_allocate_array(arena, self->pieces, sizeof **out);
    if (*out == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < self->pieces; i++) {
        double joined = NAN;
        for (size_t r = 0; r < self->replicas; r++) {
            const double value = values[r * self->pieces + i];
            if (isfinite(value)) {
                joined = !isfinite(joined)     ? value
                         : how == SERIES_SUM   ? joined + value
                         : how == SERIES_LEAST ? fmin(joined, value)
                                               : fmax(joined, value);
            }
        }
        (*out)[i] = joined;
    }
    return STATUS_OK;
}

double series_peak(const double *values, size_t count)
{
    double peak = 0;
    for (size_t i = 0; i < count; i++) {
        peak = isfinite(values[i]) && values[i] > peak ? values[i] : peak;
    }
    return peak;
}
