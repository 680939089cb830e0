/* SPDX-License-Identifier: Apache-2.0 */
/* Least squares in three terms, and a file with a line for each model and device. */
#include "run/predict/step_cost.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first steps choose algorithms and fill caches. */
enum { WARM_UP = 16, LEAST_STEPS = 48 };
enum { FILE_BYTES = 1 << 20, LINE_BYTES = 2048 };
/* Steps of about one size that tell what it costs, and steps until costs are renewed first. */
enum { BUCKET_STEPS = 8, FIRST_RENEWAL = 256 };

/* Two and a half an octave. */
static void note_bucket(struct step_fit *self, int64_t tokens, int64_t positions, double seconds)
{
    int i = (int)(2.5 * log2((double)(tokens > 0 ? tokens : 1)));
    struct step_bucket *bucket = &self->buckets[i < ROW_COSTS_MOST ? i : ROW_COSTS_MOST - 1];
    bucket->tokens += (double)tokens;
    bucket->positions += (double)positions;
    bucket->seconds += seconds;
    bucket->steps++;
}

void step_fit_note(struct step_fit *self, int64_t tokens, int64_t positions, double seconds)
{
    if (self->skipped < WARM_UP || !(seconds > 0)) {
        self->skipped++;
        return;
    }
    const double terms[STEP_COST_TERMS] = {1 / seconds, (double)tokens / seconds,
                                           (double)positions / seconds};
    for (int i = 0; i < STEP_COST_TERMS; i++) {
        for (int j = 0; j < STEP_COST_TERMS; j++) {
            self->products[i][j] += terms[i] * terms[j];
        }
        self->values[i] += terms[i];
    }
    const double own[STEP_COST_TERMS] = {1, (double)tokens, (double)positions};
    for (int i = 0; i < STEP_COST_TERMS; i++) {
        self->sums[i] += own[i];
    }
    note_bucket(self, tokens, positions, seconds);
    self->seconds += seconds;
    self->squares++;
    self->steps++;
}

/* Solves for the terms in `chosen`, the others 0, by elimination; false where they cannot be told
 * apart. *error is what remains of the squares. */
static bool solve_for(const struct step_fit *self, unsigned chosen, double out[STEP_COST_TERMS],
                      double *error)
{
    double rows[STEP_COST_TERMS][STEP_COST_TERMS + 1];
    for (int i = 0; i < STEP_COST_TERMS; i++) {
        for (int j = 0; j < STEP_COST_TERMS; j++) {
            bool counts = (chosen >> i & 1) != 0 && (chosen >> j & 1) != 0;
            rows[i][j] = counts ? self->products[i][j] : i == j;
        }
        rows[i][STEP_COST_TERMS] = (chosen >> i & 1) != 0 ? self->values[i] : 0;
    }
    for (int i = 0; i < STEP_COST_TERMS; i++) { /* positive definite: no pivots are looked for */
        if (!(rows[i][i] > 1e-9 * (self->products[i][i] + 1e-300)) && (chosen >> i & 1) != 0) {
            return false;
        }
        for (int k = 0; k < STEP_COST_TERMS; k++) {
            double factor = k != i ? rows[k][i] / rows[i][i] : 0;
            for (int j = i; j <= STEP_COST_TERMS && k != i; j++) {
                rows[k][j] -= factor * rows[i][j];
            }
        }
    }
    *error = self->squares;
    for (int i = 0; i < STEP_COST_TERMS; i++) {
        out[i] = rows[i][STEP_COST_TERMS] / rows[i][i];
        *error -= out[i] * self->values[i];
    }
    return out[0] >= 0 && out[1] >= 0 && out[2] >= 0;
}

/* More rows never cost less. */
static void find_row_costs(const struct step_fit *self, struct step_cost *cost)
{
    double before = 0;
    cost->rows.count = 0;
    for (int i = 0; i < ROW_COSTS_MOST; i++) {
        const struct step_bucket *bucket = &self->buckets[i];
        if (bucket->steps < BUCKET_STEPS) {
            continue;
        }
        const double steps = (double)bucket->steps;
        before = fmax(before, (bucket->seconds - cost->position * bucket->positions) / steps);
        cost->rows.points[cost->rows.count++] =
            (struct row_cost){(int)(bucket->tokens / steps), before};
    }
}

bool step_fit_solve(const struct step_fit *self, struct step_cost *out)
{
    double best = INFINITY;
    for (unsigned chosen = 1; chosen < 1 << STEP_COST_TERMS && self->steps >= LEAST_STEPS;
         chosen++) {
        double terms[STEP_COST_TERMS], error;
        if (solve_for(self, chosen, terms, &error) && error < best) {
            const double sum =
                terms[0] * self->sums[0] + terms[1] * self->sums[1] + terms[2] * self->sums[2];
            const double scale = self->seconds / sum;
            best = error;
            *out = (struct step_cost){.fixed = terms[0] * scale,
                                      .row = terms[1] * scale,
                                      .position = terms[2] * scale,
                                      .steps = self->steps};
        }
    }
    if (isfinite(best)) {
        find_row_costs(self, out);
    }
    return isfinite(best);
}

bool step_fit_renew(struct step_fit *self, struct step_cost *out)
{
    self->next_renewal = self->next_renewal > 0 ? self->next_renewal : FIRST_RENEWAL;
    if (self->steps < self->next_renewal) {
        return false;
    }
    self->next_renewal *= 4;
    return step_fit_solve(self, out);
}

struct step_bound step_fit_bound(const struct step_fit *self, const struct step_cost *solution)
{
    const double seconds = self->seconds > 0 ? self->seconds : 1;
    return (struct step_bound){.row = solution->row * self->sums[1] / seconds,
                               .position = solution->position * self->sums[2] / seconds,
                               .rest = solution->fixed * self->sums[0] / seconds};
}

const char *step_bound_describe(const struct step_bound *bound, char text[STEP_BOUND_BYTES])
{
    snprintf(text, STEP_BOUND_BYTES,
             "%.0f%% by tokens, %.0f%% by reading the cache, %.0f%% by the number of steps",
             100 * bound->row, 100 * bound->position, 100 * bound->rest);
    return text;
}

/* ---- The file ---- */

/* False where the user has no such place. */
static bool find_path(char path[1200])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[1024];
    if (cache != NULL && cache[0] == '/') {
        snprintf(folder, sizeof folder, "%s", cache);
    } else if (home != NULL && home[0] == '/') {
        snprintf(folder, sizeof folder, "%s/.cache", home);
    } else {
        return false;
    }
    (void)mkdir(folder, 0777);
    snprintf(path, 1200, "%s/sluice", folder);
    (void)mkdir(path, 0777);
    snprintf(path, 1200, "%s/sluice/steps", folder);
    return true;
}

static uint64_t key_of(const struct plan *plan, const struct model_config *config)
{
    char text[512];
    int length =
        snprintf(text, sizeof text, "%s %d %d %d %d %d %lld %d %d %d", plan->arithmetic,
                 (int)plan->stored, (int)plan->compute, (int)plan->kv_dtype, plan->tp, plan->pp,
                 (long long)plan->weight_bytes, config->layers, config->hidden, config->vocabulary);
    return hash_bytes(text, (size_t)length, 0);
}

/* " ROWS:SECONDS …" as far as it makes sense. */
static void read_row_costs(const char *text, struct row_costs *out)
{
    int rows, length;
    double seconds;
    out->count = 0;
    while (out->count < ROW_COSTS_MOST &&
           sscanf(text, " %d:%lf%n", &rows, &seconds, &length) == 2 && seconds >= 0 &&
           seconds < 1e6 && rows > (out->count > 0 ? out->points[out->count - 1].rows : 0)) {
        out->points[out->count++] = (struct row_cost){rows, seconds};
        text += length;
    }
}

/* A line of the file: false where it is damaged. */
static bool read_line(const char *line, uint64_t *key, struct step_cost *cost)
{
    unsigned long long number;
    long long steps;
    int length = 0;
    bool is_whole = sscanf(line, "%16llx %lf %lf %lf %lld%n", &number, &cost->fixed, &cost->row,
                           &cost->position, &steps, &length) == 5;
    read_row_costs(is_whole ? line + length : "", &cost->rows);
    *key = number;
    cost->steps = is_whole ? steps : 0;
    return is_whole && cost->fixed >= 0 && cost->row >= 0 && cost->position >= 0 &&
           cost->fixed < 1e6 && cost->row < 1e6 && cost->position < 1e6;
}

bool step_cost_load(const struct plan *plan, const struct model_config *config,
                    struct step_cost *out)
{
    char path[1200], line[LINE_BYTES];
    FILE *file = find_path(path) ? fopen(path, "re") : NULL;
    bool found = false;
    const uint64_t wanted = key_of(plan, config);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        struct step_cost cost;
        uint64_t key;
        if (read_line(line, &key, &cost) && key == wanted) {
            *out = cost;
            found = true;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* All lines but that of `key`, and then this one. */
static bool write_lines(FILE *from, FILE *to, uint64_t key, const struct step_cost *cost)
{
    char line[LINE_BYTES];
    while (from != NULL && ftell(to) < FILE_BYTES && fgets(line, sizeof line, from) != NULL) {
        struct step_cost other;
        uint64_t other_key;
        if (read_line(line, &other_key, &other) && other_key != key) {
            fputs(line, to);
        }
    }
    fprintf(to, "%016llx %.9g %.9g %.9g %lld", (unsigned long long)key, cost->fixed, cost->row,
            cost->position, (long long)cost->steps);
    for (int i = 0; i < cost->rows.count; i++) {
        fprintf(to, " %d:%.6g", cost->rows.points[i].rows, cost->rows.points[i].seconds);
    }
    fputc('\n', to);
    return ferror(to) == 0;
}

void step_cost_save(const struct plan *plan, const struct model_config *config,
                    const struct step_cost *cost)
{
    char path[1200], fresh[1240];
    if (!find_path(path)) {
        return;
    }
    snprintf(fresh, sizeof fresh, "%s.%ld", path, (long)getpid());
    FILE *from = fopen(path, "re"), *to = fopen(fresh, "we");
    bool written = to != NULL && write_lines(from, to, key_of(plan, config), cost);
    if (to != NULL) {
        written = fclose(to) == 0 && written;
        if (!written || rename(fresh, path) != 0) {
            unlink(fresh);
        }
    }
    if (from != NULL) {
        fclose(from);
    }
}
