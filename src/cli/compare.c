/* SPDX-License-Identifier: Apache-2.0 */
/* sluice compare A.h5 B.h5: which results of two outputs differ, and how the two went side by side.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/difference.h"
#include "cli/id_index.h"
#include "sluice/json.h"
#include "sluice/progress.h"

enum { OPTION_JSON = 256, OPTION_BY, OPTION_ROWS };

struct compare_arguments {
    const char *paths[2];
    int64_t rows;
    bool json, by_id;
};

static const struct argp_option options[] = {
    {"json", OPTION_JSON, NULL, 0, "one JSON object instead of text", 0},
    {"by", OPTION_BY, "row|id", 0,
     "what belongs together: rows of the same number (default), or of the same id", 0},
    {"rows", OPTION_ROWS, "N", 0, "list N results that differ (10); all are counted", 0},
    {0}};

static error_t parse_by(const char *text, bool *by_id)
{
    *by_id = strcmp(text, "id") == 0;
    if (*by_id || strcmp(text, "row") == 0) {
        return 0;
    }
    status s = status_fail(STATUS_INVALID, "--by: expected row or id, not \"%.40s\"", text);
    return s != STATUS_OK ? EDOM : 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct compare_arguments *arguments = state->input;
    switch (key) {
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_BY:
        return parse_by(argument, &arguments->by_id);
    case OPTION_ROWS:
        return cli_integer("rows", argument, 0, INT64_MAX, &arguments->rows);
    case ARGP_KEY_ARG:
        return cli_positional(argument, &arguments->paths[arguments->paths[0] != NULL]);
    case ARGP_KEY_END: {
        error_t error = cli_require("the first output file", arguments->paths[0]);
        return error != 0 ? error : cli_require("the second output file", arguments->paths[1]);
    }
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .args_doc = "A.h5 B.h5",
    .doc = "Says which results of two output files differ, with the first token or character that "
           "does, and shows totals and rates side by side. Exit status: 0 where all results are "
           "equal, 1 where some differ, 2 where they cannot be compared."};

/* One of the two files, and where in it the walk is. */
struct side {
    const char *path;
    struct output_reader *reader;
    struct output_cursor *cursor;
    const struct result *at; /* NULL behind the last */
    int64_t row, sample;     /* of the last one that was read; -1 before the first */
    int64_t only;            /* results that the other one does not have */
    int64_t errors;          /* results with an error where the other one has an answer */
};

struct comparison {
    const struct compare_arguments *arguments;
    struct side sides[2];
    int64_t matched, differing, kinds[DIFFERENCE_KINDS], listed;
    struct buffer line;
};

/* ---- Side by side ---- */

enum { VALUE_BYTES = 256, VALUE_COLUMNS = 30 };

/* Attributes of the root group in the order in which they are shown. */
static const struct attribute {
    const char *name;
    bool number, digest; /* of a digest the first digits are enough for people */
} attributes[] = {
    {"model_path", false, false},    {"model_weights_sha256", false, true},
    {"data_path", false, false},     {"data_sha256", false, true},
    {"layout", false, false},        {"device", false, false},
    {"compute_dtype", false, false}, {"kv_dtype", false, false},
    {"rows", true, false},           {"error_rows", true, false},
    {"prompt_tokens", true, false},  {"output_tokens", true, false},
    {"wall_seconds", true, false},
};

/* Output tokens a second of the last start; NAN where the file does not say. */
static double token_rate(struct output_reader *reader, struct arena *arena)
{
    const char *tokens = output_attribute_text(reader, "wall_output_tokens", arena);
    const char *seconds = output_attribute_text(reader, "wall_seconds", arena);
    double time = seconds != NULL ? strtod(seconds, NULL) : 0;
    return tokens != NULL && time > 0 ? strtod(tokens, NULL) / time : NAN;
}

static const char *value_text(struct output_reader *reader, const char *name, struct arena *arena)
{
    const char *text = output_attribute_text(reader, name, arena);
    if (text == NULL || *text == '\0') {
        return "-";
    }
    if (strcmp(name, "wall_seconds") == 0) {
        char seconds[24];
        format_seconds(strtod(text, NULL), seconds);
        const char *copy = arena_copy(arena, seconds, strlen(seconds));
        return copy != NULL ? copy : text;
    }
    return strcmp(name, "layout") == 0 ? cli_layout_text(text, arena) : text;
}

/* A value for people: of digests the beginning, of what else is too long the end. */
static void print_value(const char *text, bool digest, int columns)
{
    char shown[VALUE_BYTES];
    size_t length = strlen(text), most = VALUE_COLUMNS - 3;
    if (digest || length <= VALUE_COLUMNS) {
        snprintf(shown, sizeof shown, "%.*s", digest ? 12 : VALUE_COLUMNS, text);
    } else {
        const char *end = text + length - most;
        end += ((unsigned char)*end & 0xC0) == 0x80; /* not within a character */
        snprintf(shown, sizeof shown, "...%s", end);
    }
    utf8_blank_controls(shown, strlen(shown));
    printf(" %-*s", columns, shown);
}

static void print_pair(const char *name, const char *a, const char *b, bool digest)
{
    bool same = strcmp(a, b) == 0;
    static const struct {
        const char *stored, *shown;
    } short_names[] = {{"model_weights_sha256", "weights"}, {"wall_seconds", "wall time"}};
    for (size_t i = 0; i < COUNT_OF(short_names); i++) {
        name = strcmp(name, short_names[i].stored) == 0 ? short_names[i].shown : name;
    }
    printf("%-13.13s", name);
    print_value(a, digest, VALUE_COLUMNS);
    print_value(same ? "same" : b, digest && !same, 0);
    putchar('\n');
}

static void print_sides(struct comparison *self, struct arena *arena)
{
    struct output_reader *readers[2] = {self->sides[0].reader, self->sides[1].reader};
    char rates[2][32];
    print_pair("file", self->sides[0].path, self->sides[1].path, false);
    for (size_t i = 0; i < COUNT_OF(attributes); i++) {
        const char *texts[2];
        for (int side = 0; side < 2; side++) {
            texts[side] = value_text(readers[side], attributes[i].name, arena);
        }
        print_pair(attributes[i].name, texts[0], texts[1], attributes[i].digest);
    }
    for (int side = 0; side < 2; side++) {
        double rate = token_rate(readers[side], arena);
        snprintf(rates[side], sizeof rates[side], isnan(rate) ? "-" : "%.1f", rate);
    }
    print_pair("tokens/s", rates[0], rates[1], false);
    putchar('\n');
}

/* A number as it is formatted for an attribute; the file may hold a text in its place. */
static bool is_number(const char *text)
{
    char *end;
    return strspn(text, "-.0123456789e+") == strlen(text) && isfinite(strtod(text, &end)) &&
           end != text && *end == '\0';
}

static status append_side_json(struct side *side, struct arena *arena, struct buffer *out)
{
    TRY(buffer_append_text(out, "{\"file\":"));
    TRY(json_write_string(side->path, strlen(side->path), out));
    TRY(buffer_format(out, ",\"results\":%lld", (long long)output_result_count(side->reader)));
    for (size_t i = 0; i < COUNT_OF(attributes); i++) {
        const char *text = output_attribute_text(side->reader, attributes[i].name, arena);
        if (text != NULL) {
            TRY(buffer_format(out, ",\"%s\":", attributes[i].name));
            TRY(attributes[i].number && is_number(text)
                    ? buffer_append_text(out, text)
                    : json_write_string(text, strlen(text), out));
        }
    }
    TRY(buffer_append_text(out, ",\"tokens_per_second\":"));
    TRY(json_write_double(token_rate(side->reader, arena), out));
    return buffer_append_byte(out, '}');
}

static status print_sides_json(struct comparison *self, struct arena *arena)
{
    struct buffer *out = &self->line;
    for (int side = 0; side < 2; side++) {
        TRY(buffer_append_text(out, side == 0 ? "{\"a\":" : ",\"b\":"));
        TRY(append_side_json(&self->sides[side], arena, out));
    }
    TRY(buffer_append_text(out, ",\"differences\":["));
    fputs(out->data, stdout);
    return STATUS_OK;
}

/* ---- Differences, listed as they are found ---- */

static bool is_listed(struct comparison *self)
{
    buffer_clear(&self->line);
    return self->listed < self->arguments->rows;
}

static status print_line(struct comparison *self)
{
    if (self->arguments->json && self->listed > 0) {
        putchar(',');
    }
    self->listed++;
    return fwrite(self->line.data, 1, self->line.length, stdout) == self->line.length
               ? STATUS_OK
               : status_fail_errno(STATUS_IO, "standard output");
}

/* A result that only one of the files has. */
static status take_single(struct comparison *self, int side, const struct result *result)
{
    self->sides[side].only++;
    if (!is_listed(self)) {
        return STATUS_OK;
    }
    struct buffer *out = &self->line;
    if (self->arguments->json) {
        TRY(buffer_append_byte(out, '{'));
        TRY(difference_name_result_json(result, out));
        TRY(buffer_format(out, ",\"differs\":[\"missing\"],\"only_in\":\"%s\"}",
                          side == 0 ? "a" : "b"));
    } else {
        TRY(difference_name_result(result, out));
        TRY(buffer_format(out, "\n  only in the %s\n", side == 0 ? "first" : "second"));
    }
    return print_line(self);
}

static status take_pair(struct comparison *self, const struct result *a, const struct result *b)
{
    struct difference difference;
    self->matched++;
    if (!difference_find(a, b, self->arguments->by_id, &difference)) {
        return STATUS_OK;
    }
    self->differing++;
    self->sides[0].errors += a->finish_reason == FINISH_ERROR && b->finish_reason != FINISH_ERROR;
    self->sides[1].errors += b->finish_reason == FINISH_ERROR && a->finish_reason != FINISH_ERROR;
    for (int kind = 0; kind < DIFFERENCE_KINDS; kind++) {
        self->kinds[kind] += difference.kinds[kind];
    }
    if (!is_listed(self)) {
        return STATUS_OK;
    }
    TRY(self->arguments->json ? difference_describe_json(a, b, &difference, &self->line)
                              : difference_describe(a, b, &difference, &self->line));
    return print_line(self);
}

/* ---- By row: both files are in order, and are walked side by side ---- */

static status step(struct side *side)
{
    TRY(output_cursor_next(side->cursor, &side->at));
    if (side->at == NULL) {
        return STATUS_OK;
    }
    int64_t row = side->at->row, sample = side->at->sample;
    if (row < side->row || (row == side->row && sample <= side->sample)) {
        return status_fail(STATUS_INVALID,
                           "%s: row %lld, sample %lld stands behind row %lld, sample %lld",
                           side->path, (long long)row, (long long)sample, (long long)side->row,
                           (long long)side->sample);
    }
    side->row = row;
    side->sample = sample;
    return STATUS_OK;
}

/* Negative where the first file's result is before the second's; a file at its end is behind all.
 */
static int order(const struct side sides[2])
{
    const struct result *a = sides[0].at, *b = sides[1].at;
    if (a == NULL || b == NULL) {
        return a != NULL ? -1 : 1;
    }
    if (a->row != b->row) {
        return a->row < b->row ? -1 : 1;
    }
    return (a->sample > b->sample) - (a->sample < b->sample);
}

static status compare_by_row(struct comparison *self)
{
    struct side *sides = self->sides;
    TRY(step(&sides[0]));
    TRY(step(&sides[1]));
    while (sides[0].at != NULL || sides[1].at != NULL) {
        int which = order(sides);
        if (which == 0) {
            TRY(take_pair(self, sides[0].at, sides[1].at));
        } else {
            int single = which < 0 ? 0 : 1;
            TRY(take_single(self, single, sides[single].at));
        }
        TRY(which <= 0 ? step(&sides[0]) : STATUS_OK);
        TRY(which >= 0 ? step(&sides[1]) : STATUS_OK);
    }
    return STATUS_OK;
}

/* ---- By id: the second file's results are looked up ---- */

static status read_at(struct side *side, int64_t index, const struct result **result)
{
    output_cursor_seek(side->cursor, index);
    return output_cursor_next(side->cursor, result);
}

static status look_up(struct comparison *self, struct id_index *index, const struct result *a)
{
    const struct result *b;
    bool same;
    int64_t at = id_index_take(index, a, &same);
    if (at < 0) {
        return take_single(self, 0, a);
    }
    if (same) {
        self->matched++;
        return STATUS_OK;
    }
    TRY(read_at(&self->sides[1], at, &b));
    return take_pair(self, a, b);
}

static status take_rest(struct comparison *self, struct id_index *index)
{
    int64_t at;
    id_index_begin_rest(index);
    while ((at = id_index_next_rest(index)) >= 0) {
        const struct result *b;
        if (self->listed == self->arguments->rows) {
            self->sides[1].only++;
            continue;
        }
        TRY(read_at(&self->sides[1], at, &b));
        TRY(take_single(self, 1, b));
    }
    return STATUS_OK;
}

static status compare_with_index(struct comparison *self, struct id_index *index)
{
    const struct result *a;
    TRY(id_index_fill(index, self->sides[1].reader));
    while (true) {
        TRY(output_cursor_next(self->sides[0].cursor, &a));
        if (a == NULL) {
            return take_rest(self, index);
        }
        TRY(look_up(self, index, a));
    }
}

static status compare_by_id(struct comparison *self)
{
    struct id_index index = {0};
    status s = compare_with_index(self, &index);
    id_index_destroy(&index);
    return s;
}

/* ---- What it comes to ---- */

static bool all_equal(const struct comparison *self)
{
    return self->differing == 0 && self->sides[0].only == 0 && self->sides[1].only == 0;
}

static void print_outcome(const struct comparison *self)
{
    const struct side *sides = self->sides;
    int64_t total = self->differing + sides[0].only + sides[1].only;
    if (all_equal(self)) {
        printf("equal: %lld results\n", (long long)self->matched);
        return;
    }
    if (self->listed < total) {
        printf("... and %lld more; --rows says how many are listed\n",
               (long long)(total - self->listed));
    }
    printf("%s%lld of %lld results differ", self->listed > 0 ? "\n" : "",
           (long long)self->differing, (long long)self->matched);
    const char *between = ": ";
    for (int kind = 0; kind < DIFFERENCE_KINDS; kind++) {
        if (self->kinds[kind] > 0) {
            printf("%s%s %lld", between, difference_kind_name((enum difference_kind)kind),
                   (long long)self->kinds[kind]);
            between = ", ";
        }
    }
    printf("\nonly in the first: %lld, only in the second: %lld\n"
           "errors in the first alone: %lld, in the second alone: %lld\n",
           (long long)sides[0].only, (long long)sides[1].only, (long long)sides[0].errors,
           (long long)sides[1].errors);
}

static void print_outcome_json(const struct comparison *self)
{
    const struct side *sides = self->sides;
    printf("],\"equal\":%s,\"compared\":%lld,\"differ\":%lld,\"kinds\":{",
           all_equal(self) ? "true" : "false", (long long)self->matched,
           (long long)self->differing);
    for (int kind = 0; kind < DIFFERENCE_KINDS; kind++) {
        printf("%s\"%s\":%lld", kind > 0 ? "," : "",
               difference_kind_name((enum difference_kind)kind), (long long)self->kinds[kind]);
    }
    printf("},\"only_in_a\":%lld,\"only_in_b\":%lld,\"errors_in_a_alone\":%lld,"
           "\"errors_in_b_alone\":%lld}\n",
           (long long)sides[0].only, (long long)sides[1].only, (long long)sides[0].errors,
           (long long)sides[1].errors);
}

/* ---- The command ---- */

static status open_sides(struct comparison *self)
{
    for (int i = 0; i < 2; i++) {
        struct side *side = &self->sides[i];
        *side = (struct side){.path = self->arguments->paths[i], .row = -1, .sample = -1};
        TRY(job_output_open(side->path, &side->reader));
        TRY(output_cursor_open(side->reader, &side->cursor));
    }
    return STATUS_OK;
}

static status compare(struct comparison *self)
{
    const struct compare_arguments *arguments = self->arguments;
    struct arena arena = {0};
    TRY(open_sides(self));
    status s = STATUS_OK;
    if (arguments->json) {
        s = print_sides_json(self, &arena);
    } else {
        print_sides(self, &arena);
    }
    arena_destroy(&arena);
    TRY(s);
    TRY(arguments->by_id ? compare_by_id(self) : compare_by_row(self));
    if (arguments->json) {
        print_outcome_json(self);
    } else {
        print_outcome(self);
    }
    return STATUS_OK;
}

int command_compare(int argc, char **argv)
{
    struct compare_arguments arguments = {.rows = 10};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    struct comparison self = {.arguments = &arguments};
    status s = compare(&self);
    for (int i = 0; i < 2; i++) {
        output_cursor_close(self.sides[i].cursor);
        output_reader_close(self.sides[i].reader);
    }
    buffer_destroy(&self.line);
    /* As cmp and diff have it: 1 is a difference and nothing else. */
    if (s != STATUS_OK) {
        return cli_fail(EXIT_BAD_USAGE);
    }
    exit_status = cli_finish_output(all_equal(&self) ? EXIT_DONE : EXIT_DIFFERENT);
    return ferror(stdout) ? EXIT_BAD_USAGE : exit_status;
}
