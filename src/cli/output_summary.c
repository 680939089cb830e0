/* SPDX-License-Identifier: Apache-2.0 */
/* What the results of an output file come to: counted in one pass, shown on one screen. */
#include "cli/output_summary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "sluice/json.h"

enum { LINE_CHARACTERS = 67, ERRORS_SHOWN = 3 };

/* ---- Counting ---- */

static status count_result(void *context, const struct result *result)
{
    struct output_summary *self = context;
    self->results++;
    self->rows += result->row != self->last_row;
    self->last_row = result->row;
    self->finished[result->finish_reason]++;
    if (result->finish_reason == FINISH_ERROR) {
        self->error_rows += result->row != self->last_error;
        self->last_error = result->row;
        return error_tally_add(&self->errors, result->row, result->error, result->error_length);
    }
    if (result->row != self->last_prompt) {
        self->last_prompt = result->row;
        spread_add(&self->prompt_tokens, result->prompt_tokens);
    }
    spread_add(&self->answer_tokens, result->completion_tokens);
    spread_add(&self->seconds, result->seconds);
    return STATUS_OK;
}

status output_summary_read(struct output_reader *reader, struct output_summary *out)
{
    *out = (struct output_summary){.last_row = -1, .last_prompt = -1, .last_error = -1};
    TRY(spread_create(&out->prompt_tokens));
    TRY(spread_create(&out->answer_tokens));
    TRY(spread_create(&out->seconds));
    return output_visit(reader, count_result, out);
}

void output_summary_destroy(struct output_summary *summary)
{
    spread_destroy(&summary->prompt_tokens);
    spread_destroy(&summary->answer_tokens);
    spread_destroy(&summary->seconds);
    error_tally_destroy(&summary->errors);
    *summary = (struct output_summary){0};
}

/* ---- The screen ---- */

static void print_line(const char *name, const struct buffer *line)
{
    printf("%-10s %s\n", name, line->length > 0 ? line->data : "-");
}

/* What the lines are made of. */
struct screen {
    struct output_reader *reader;
    struct arena arena;
    struct buffer line, excerpt;
};

static const char *attribute(struct screen *self, const char *name)
{
    const char *text = output_attribute_text(self->reader, name, &self->arena);
    return text != NULL ? text : "";
}

static double attribute_number(struct screen *self, const char *name)
{
    return strtod(attribute(self, name), NULL);
}

/* Prints what stands in self->line, cut to the width of a terminal. */
static status print_cut(struct screen *self, const char *name)
{
    buffer_clear(&self->excerpt);
    TRY(cli_append_excerpt(self->line.data, self->line.length, LINE_CHARACTERS, &self->excerpt));
    print_line(name, &self->excerpt);
    buffer_clear(&self->line);
    return STATUS_OK;
}

static status print_origin(struct screen *self)
{
    struct buffer *line = &self->line;
    TRY(buffer_format(line, "%s; computes in %s, KV cache %s", attribute(self, "model_path"),
                      attribute(self, "compute_dtype"), attribute(self, "kv_dtype")));
    TRY(print_cut(self, "model"));
    TRY(buffer_append_text(line, attribute(self, "data_path")));
    TRY(print_cut(self, "data"));
    TRY(buffer_format(line, "%s on %s: %s; %s", attribute(self, "device"), attribute(self, "host"),
                      cli_layout_text(attribute(self, "layout"), &self->arena),
                      attribute(self, "created")));
    return print_cut(self, "ran on");
}

/* Of "7% by tokens, 93% by reading the cache" the largest part, of `length` bytes. */
static const char *largest_part(const char *bound, int *length)
{
    const char *largest = bound;
    for (const char *part = bound; part != NULL; part = strchr(part, ',')) {
        part += strspn(part, ", ");
        largest = strtod(part, NULL) > strtod(largest, NULL) ? part : largest;
    }
    *length = (int)strcspn(largest, ",");
    return largest;
}

/* What the rows took, beside what was expected of them. */
static status print_prediction(struct screen *self)
{
    const double took = attribute_number(self, "rows_seconds");
    const double expected = attribute_number(self, "predicted_seconds");
    char text[24];
    if (!(expected > 0)) {
        return STATUS_OK;
    }
    int length;
    const char *bound = largest_part(attribute(self, "predicted_bound"), &length);
    TRY(buffer_format(&self->line, "%s at most, %.1f tokens/s; %.*s",
                      format_seconds(expected, text),
                      attribute_number(self, "predicted_output_tokens") / expected, length, bound));
    TRY(print_cut(self, "predicted"));
    bound = largest_part(attribute(self, "bound"), &length);
    TRY(buffer_format(&self->line, "%s of rows, %.1f tokens/s%s%.*s", format_seconds(took, text),
                      took > 0 ? attribute_number(self, "wall_output_tokens") / took : 0,
                      length > 0 ? "; " : "", length, bound));
    return print_cut(self, "took");
}

static status print_totals(struct screen *self, const struct output_summary *summary)
{
    struct buffer *line = &self->line;
    char seconds[24];
    double wall = attribute_number(self, "wall_seconds");
    double kept = attribute_number(self, "resumed_rows");
    TRY(buffer_format(line, "%lld, %lld with errors, %.0f kept from earlier starts; %lld results",
                      (long long)summary->rows, (long long)summary->error_rows, kept,
                      (long long)summary->results));
    TRY(print_cut(self, "rows"));
    TRY(buffer_format(line, "%.0f of prompts, %.0f of answers",
                      attribute_number(self, "prompt_tokens"),
                      attribute_number(self, "output_tokens")));
    TRY(print_cut(self, "tokens"));
    TRY(buffer_format(line, "%s of the last start", format_seconds(wall, seconds)));
    if (wall > 0) {
        TRY(buffer_format(line, ": %.1f rows/s, %.1f tokens/s",
                          ((double)summary->rows - kept) / wall,
                          attribute_number(self, "wall_output_tokens") / wall));
    }
    TRY(print_cut(self, "time"));
    TRY(print_prediction(self));
    for (int reason = 0; reason <= FINISH_ERROR && summary->results > 0; reason++) {
        TRY(buffer_format(line, "%s%s %lld (%.1f%%)", reason > 0 ? ", " : "",
                          finish_reason_name((enum finish_reason)reason),
                          (long long)summary->finished[reason],
                          100 * (double)summary->finished[reason] / (double)summary->results));
    }
    return print_cut(self, "finished");
}

static void print_spread(const char *name, const struct spread *spread, int digits)
{
    printf("%-14s", name);
    for (size_t i = 0; i < SPREAD_PERCENTILES; i++) {
        printf(" %10.*f", digits, spread_value(spread, &spread_percentiles[i]));
    }
    putchar('\n');
}

static void print_spreads(const struct output_summary *summary)
{
    if (summary->answer_tokens.count == 0) {
        return;
    }
    printf("\n%-14s", "");
    for (size_t i = 0; i < SPREAD_PERCENTILES; i++) {
        printf(" %10s", spread_percentiles[i].name);
    }
    putchar('\n');
    print_spread("prompt tokens", &summary->prompt_tokens, 0);
    print_spread("answer tokens", &summary->answer_tokens, 0);
    if (summary->seconds.count > 0) {
        print_spread("seconds", &summary->seconds, 3);
    }
}

static status print_commonest_errors(struct screen *self, struct output_summary *summary)
{
    struct error_group group;
    for (size_t i = 0; i < ERRORS_SHOWN && error_tally_get(&summary->errors, i, &group); i++) {
        printf("%s", i == 0 ? "\n" : "");
        TRY(buffer_format(&self->line, "%lld %s%s%s: %s", (long long)group.rows,
                          group.rows == 1 ? "row" : "rows",
                          group.place[0] == '\0' ? ""
                          : group.rows == 1      ? ", "
                                                 : ", first: ",
                          group.place, group.text));
        TRY(print_cut(self, i == 0 ? "errors" : ""));
    }
    if (error_tally_get(&summary->errors, ERRORS_SHOWN, &group)) {
        printf("%-10s ... and other kinds; --errors lists all\n", "");
    }
    return STATUS_OK;
}

/* ---- Ranks ---- */

static bool leads(const struct rank_metrics *rank)
{
    return rank->tp == 0 && rank->pp == 0;
}

/* Tokens a second of what the job gives: of prompts where it generates none. */
static double rank_rate(const struct rank_metrics *rank, bool of_answers)
{
    int64_t tokens = of_answers ? rank->output_tokens : rank->prompt_tokens;
    return rank->seconds_total > 0 ? (double)tokens / rank->seconds_total : 0;
}

/* The first rank of the slowest replica, and the mean rate of the others; NULL where there is one
 * replica alone. */
static const struct rank_metrics *find_slowest(const struct rank_metrics *ranks, size_t count,
                                               double *rate, double *others)
{
    const struct rank_metrics *slowest = NULL;
    bool of_answers = false;
    double sum = 0;
    int64_t replicas = 0;
    for (size_t i = 0; i < count; i++) {
        of_answers = of_answers || ranks[i].output_tokens > 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (leads(&ranks[i])) {
            double its = rank_rate(&ranks[i], of_answers);
            sum += its;
            replicas++;
            if (slowest == NULL || its < *rate) {
                slowest = &ranks[i];
                *rate = its;
            }
        }
    }
    if (replicas < 2) {
        return NULL;
    }
    *others = (sum - *rate) / (double)(replicas - 1);
    return slowest;
}

static status print_ranks(struct screen *self, const struct rank_metrics *ranks, size_t count)
{
    const struct rank_metrics *fullest = NULL;
    double rate = 0, others = 0;
    for (size_t i = 0; i < count; i++) {
        bool more = fullest == NULL || ranks[i].peak_memory_bytes > fullest->peak_memory_bytes;
        fullest = more ? &ranks[i] : fullest;
    }
    if (fullest == NULL) {
        return STATUS_OK;
    }
    char memory[24];
    TRY(buffer_format(&self->line, "%zu; at most %s (rank %d), KV cache %.1f%% full there", count,
                      format_bytes(fullest->peak_memory_bytes, memory), fullest->rank,
                      100 * fullest->kv_peak_use));
    putchar('\n');
    TRY(print_cut(self, "ranks"));
    const struct rank_metrics *slowest = find_slowest(ranks, count, &rate, &others);
    if (slowest == NULL) {
        return STATUS_OK;
    }
    TRY(buffer_format(&self->line, "rank %d: %.1f tokens/s, %.0f%% below the others' %.1f (%s)",
                      slowest->rank, rate, others > 0 ? 100 * (1 - rate / others) : 0, others,
                      slowest->host));
    return print_cut(self, "slowest");
}

static status print_screen(struct screen *self, const char *path, struct output_summary *summary,
                           const struct rank_metrics *ranks, size_t rank_count)
{
    TRY(buffer_append_text(&self->line, path));
    TRY(print_cut(self, "file"));
    TRY(print_origin(self));
    TRY(print_totals(self, summary));
    print_spreads(summary);
    TRY(print_commonest_errors(self, summary));
    return print_ranks(self, ranks, rank_count);
}

status output_summary_print(const char *path, struct output_reader *reader,
                            struct output_summary *summary, const struct rank_metrics *ranks,
                            size_t rank_count)
{
    struct screen screen = {.reader = reader};
    status s = print_screen(&screen, path, summary, ranks, rank_count);
    arena_destroy(&screen.arena);
    buffer_destroy(&screen.line);
    buffer_destroy(&screen.excerpt);
    return s;
}

status output_summary_print_errors(struct output_summary *summary)
{
    struct error_group group;
    struct buffer text = {0};
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && error_tally_get(&summary->errors, i, &group); i++) {
        buffer_clear(&text);
        s = cli_append_excerpt(group.text, strlen(group.text), INT32_MAX, &text);
        if (s == STATUS_OK) {
            printf("%lld %s%s%s\n    ", (long long)group.rows, group.rows == 1 ? "row" : "rows",
                   group.place[0] != '\0' ? ", first: " : "", group.place);
            cli_print_wrapped(text.length > 0 ? text.data : "", 4, 4);
        }
    }
    buffer_destroy(&text);
    if (s == STATUS_OK && summary->errors.uncounted > 0) {
        printf("%lld rows with errors of further kinds\n", (long long)summary->errors.uncounted);
    }
    if (summary->errors.count == 0) {
        puts("no errors");
    }
    return s;
}

/* ---- JSON ---- */

static status append_spread(const char *name, const struct spread *spread, struct buffer *out)
{
    TRY(buffer_format(out, ",\"%s\":", name));
    if (spread->count == 0) {
        return buffer_append_text(out, "null");
    }
    for (size_t i = 0; i < SPREAD_PERCENTILES; i++) {
        TRY(buffer_format(out, "%s\"%s\":", i > 0 ? "," : "{", spread_percentiles[i].json));
        double value = spread_value(spread, &spread_percentiles[i]);
        TRY(value == floor(value) ? buffer_format(out, "%.0f", value)
                                  : json_write_double(value, out));
    }
    return buffer_append_byte(out, '}');
}

static status append_errors(struct output_summary *summary, struct buffer *out)
{
    struct error_group group;
    for (size_t i = 0; error_tally_get(&summary->errors, i, &group); i++) {
        TRY(buffer_format(out, "%s{\"rows\":%lld,\"first\":", i > 0 ? "," : "",
                          (long long)group.rows));
        TRY(json_write_string(group.place, strlen(group.place), out));
        TRY(buffer_append_text(out, ",\"error\":"));
        TRY(json_write_string(group.text, strlen(group.text), out));
        TRY(buffer_append_byte(out, '}'));
    }
    return STATUS_OK;
}

status output_summary_append_json(struct output_summary *summary, struct buffer *out)
{
    TRY(buffer_append_text(out, "{\"finish_reasons\":{"));
    for (int reason = 0; reason <= FINISH_ERROR; reason++) {
        TRY(buffer_format(out, "%s\"%s\":%lld", reason > 0 ? "," : "",
                          finish_reason_name((enum finish_reason)reason),
                          (long long)summary->finished[reason]));
    }
    TRY(buffer_append_byte(out, '}'));
    TRY(append_spread("prompt_tokens", &summary->prompt_tokens, out));
    TRY(append_spread("answer_tokens", &summary->answer_tokens, out));
    TRY(append_spread("seconds", &summary->seconds, out));
    TRY(buffer_append_text(out, ",\"errors\":["));
    TRY(append_errors(summary, out));
    return buffer_append_text(out, "]}");
}
