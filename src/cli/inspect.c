/* SPDX-License-Identifier: Apache-2.0 */
/* sluice inspect OUT.h5: one screen about it, or its job, ranks, errors, answers and scores. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output_summary.h"
#include "sluice/grade.h"
#include "sluice/progress.h"

enum {
    OPTION_JSON = 256,
    OPTION_SCORE,
    OPTION_BY,
    OPTION_ROWS,
    OPTION_JOB,
    OPTION_RANKS,
    OPTION_ERRORS
};

struct inspect_arguments {
    const char *path, *score, *by;
    int64_t rows;
    bool json;
    bool job, ranks, errors; /* in the screen's place */
};

static const struct argp_option options[] = {
    {"json", OPTION_JSON, NULL, 0, "one JSON object instead of text", 0},
    {"job", OPTION_JOB, NULL, 0,
     "instead of the screen: what identifies the run, its totals, and the job as it was run", 0},
    {"ranks", OPTION_RANKS, NULL, 0, "instead of the screen: a line for each rank", 0},
    {"errors", OPTION_ERRORS, NULL, 0, "instead of the screen: all errors, alike ones together", 0},
    {"rows", OPTION_ROWS, "N", 0, "also show the first N answers", 0},
    {"score", OPTION_SCORE, "FIELD", 0,
     "the share of answers that, white space around them aside, equal the data set's field FIELD",
     0},
    {"by", OPTION_BY, "FIELD", 0, "with --score: also by each value of this field", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct inspect_arguments *arguments = state->input;
    switch (key) {
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case OPTION_JOB:
        arguments->job = true;
        return 0;
    case OPTION_RANKS:
        arguments->ranks = true;
        return 0;
    case OPTION_ERRORS:
        arguments->errors = true;
        return 0;
    case OPTION_ROWS:
        return cli_integer("rows", argument, 0, INT64_MAX, &arguments->rows);
    case OPTION_SCORE:
        arguments->score = argument;
        return 0;
    case OPTION_BY:
        arguments->by = argument;
        return 0;
    case ARGP_KEY_ARG:
        return cli_positional(argument, &arguments->path);
    case ARGP_KEY_END:
        if (arguments->by != NULL) {
            error_t error = cli_require("--score, which --by belongs to,", arguments->score);
            return error != 0 ? error : cli_require("the output file", arguments->path);
        }
        return cli_require("the output file", arguments->path);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .args_doc = "OUT.h5",
    .doc = "Says what an output file holds, on one screen: where it comes from, totals, finish "
           "reasons, lengths, the commonest errors, the slowest rank."};

/* The attributes of the root group, in the order in which they are shown. */
static const struct attribute {
    const char *name;
    bool number;
} attributes[] = {
    {"format_version", true},
    {"sluice_version", false},
    {"created", false},
    {"template_time", false},
    {"model_path", false},
    {"model_config_sha256", false},
    {"model_weights_sha256", false},
    {"data_path", false},
    {"data_bytes", true},
    {"data_sha256", false},
    {"layout", false},
    {"device", false},
    {"compute_dtype", false},
    {"kv_dtype", false},
    {"max_model_len", true},
    {"host", false},
    {"slurm", false},
    {"rows", true},
    {"error_rows", true},
    {"errors", false},
    {"prompt_tokens", true},
    {"output_tokens", true},
    {"resumed_rows", true},
    {"wall_seconds", true},
    {"wall_output_tokens", true},
    {"journal_seconds", true},
    {"rows_seconds", true},
    {"bound", false},
    {"predicted_seconds", true},
    {"predicted_output_tokens", true},
    {"predicted_bound", false},
    {"job", false},
};

static double rate(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

/* ---- Text ---- */

static void print_attributes(struct output_reader *reader, struct arena *arena)
{
    for (size_t i = 0; i < COUNT_OF(attributes); i++) {
        const char *text = output_attribute_text(reader, attributes[i].name, arena);
        if (text == NULL || *text == '\0') {
            continue;
        }
        if (strchr(text, '\n') == NULL) {
            printf("%-22s ", attributes[i].name);
            cli_print_wrapped(text, 23, 23);
            continue;
        }
        printf("%s\n", attributes[i].name);
        for (const char *line = text; *line != '\0';) {
            int length = (int)strcspn(line, "\n");
            fputs("    ", stdout);
            cli_print_text(line, (size_t)length);
            putchar('\n');
            line += length + (line[length] == '\n');
        }
    }
}

/* Two tables, so that each fits a terminal. */
static void print_ranks(const struct rank_metrics *ranks, size_t count)
{
    puts("rank  dp  tp  pp      rows   prompt tok   output tok     tok/s  host");
    for (size_t i = 0; i < count; i++) {
        const struct rank_metrics *rank = &ranks[i];
        printf("%4d %3d %3d %3d %9lld %12lld %12lld %9.1f  ", rank->rank, rank->dp, rank->tp,
               rank->pp, (long long)rank->rows, (long long)rank->prompt_tokens,
               (long long)rank->output_tokens, rate(rank->output_tokens, rank->seconds_total));
        cli_print_text(rank->host, strnlen(rank->host, sizeof rank->host));
        putchar('\n');
    }
    puts("\nrank  prefill s   decode s     comm s     idle s    peak mem   kv use");
    for (size_t i = 0; i < count; i++) {
        const struct rank_metrics *rank = &ranks[i];
        char memory[24];
        printf("%4d %10.2f %10.2f %10.2f %10.2f %11s %7.1f%%\n", rank->rank, rank->seconds_prefill,
               rank->seconds_decode, rank->seconds_communication, rank->seconds_idle,
               format_bytes(rank->peak_memory_bytes, memory), 100 * rank->kv_peak_use);
    }
}

static void print_group(const struct grade_group *group, int width)
{
    int length = (int)strlen(group->name);
    cli_print_text(group->name, (size_t)length);
    printf("%*s %10lld %10lld %8.2f%%\n", length < width ? width - length : 0, "",
           (long long)group->right, (long long)group->results,
           100.0 * (double)group->right / (double)group->results);
}

static void print_grades(const struct inspect_arguments *arguments, const struct grade_table *table)
{
    int width = 24;
    for (size_t i = 0; i < table->group_count; i++) {
        int length = (int)strlen(table->groups[i].name);
        width = length > width && length <= 60 ? length : width;
    }
    printf("\nscore: answers that equal \"%s\"\n%-*s %10s %10s %9s\n", arguments->score, width,
           arguments->by != NULL ? arguments->by : "", "right", "answers", "share");
    for (size_t i = 0; i < table->group_count; i++) {
        print_group(&table->groups[i], width);
    }
    print_group(&table->total, width);
    if (table->ungraded > 0) {
        printf("%lld answers belong to rows without that field\n", (long long)table->ungraded);
    }
}

/* ---- JSON ---- */

static status append_field(struct buffer *out, const char *name, const char *text)
{
    TRY(json_write_string(name, strlen(name), out));
    TRY(buffer_append_byte(out, ':'));
    return json_write_string(text, strlen(text), out);
}

static status append_number(struct buffer *out, const char *name, double value)
{
    TRY(buffer_format(out, ",\"%s\":", name));
    bool integer = value == floor(value) && fabs(value) < 0x1p53;
    return integer ? buffer_format(out, "%.0f", value) : json_write_double(value, out);
}

static status append_attributes(struct output_reader *reader, struct arena *arena,
                                struct buffer *out)
{
    bool first = true;
    for (size_t i = 0; i < COUNT_OF(attributes); i++) {
        const char *text = output_attribute_text(reader, attributes[i].name, arena);
        if (text == NULL) {
            continue;
        }
        TRY(buffer_append_text(out, first ? "" : ","));
        first = false;
        TRY(attributes[i].number ? buffer_format(out, "\"%s\":%s", attributes[i].name, text)
                                 : append_field(out, attributes[i].name, text));
    }
    return STATUS_OK;
}

static status append_rank(const struct rank_metrics *rank, struct buffer *out)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"rank", rank->rank},
        {"dp", rank->dp},
        {"tp", rank->tp},
        {"pp", rank->pp},
        {"rows", (double)rank->rows},
        {"prompt_tokens", (double)rank->prompt_tokens},
        {"output_tokens", (double)rank->output_tokens},
        {"steps", (double)rank->steps},
        {"preemptions", (double)rank->preemptions},
        {"seconds_total", rank->seconds_total},
        {"seconds_prefill", rank->seconds_prefill},
        {"seconds_decode", rank->seconds_decode},
        {"seconds_communication", rank->seconds_communication},
        {"seconds_idle", rank->seconds_idle},
        {"peak_memory_bytes", (double)rank->peak_memory_bytes},
        {"kv_bytes", (double)rank->kv_bytes},
        {"kv_peak_use", rank->kv_peak_use},
        {"energy_joules", rank->energy_joules},
    };
    TRY(buffer_append_byte(out, '{'));
    TRY(append_field(out, "host", rank->host));
    TRY(buffer_append_byte(out, ','));
    TRY(append_field(out, "device", rank->device));
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        TRY(append_number(out, numbers[i].name, numbers[i].value));
    }
    return buffer_append_byte(out, '}');
}

static status append_group(const struct grade_group *group, struct buffer *out)
{
    TRY(json_write_string(group->name, strlen(group->name), out));
    return buffer_format(out, ":{\"right\":%lld,\"answers\":%lld}", (long long)group->right,
                         (long long)group->results);
}

static status append_grades(const struct grade_table *table, struct buffer *out)
{
    TRY(buffer_append_text(out, ",\"score\":{"));
    TRY(append_group(&table->total, out));
    TRY(buffer_format(out, ",\"unscored\":%lld,\"groups\":{", (long long)table->ungraded));
    for (size_t i = 0; i < table->group_count; i++) {
        TRY(buffer_append_text(out, i > 0 ? "," : ""));
        TRY(append_group(&table->groups[i], out));
    }
    return buffer_append_text(out, "}}");
}

static status append_json(struct output_reader *reader, struct arena *arena,
                          const struct rank_metrics *ranks, size_t count,
                          const struct grade_table *grades, struct output_summary *summary,
                          struct buffer *out)
{
    TRY(buffer_append_text(out, "{\"attributes\":{"));
    TRY(append_attributes(reader, arena, out));
    TRY(buffer_format(out, "},\"results\":%lld,\"ranks\":[",
                      (long long)output_result_count(reader)));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_append_text(out, i > 0 ? "," : ""));
        TRY(append_rank(&ranks[i], out));
    }
    TRY(buffer_append_text(out, "],\"summary\":"));
    TRY(output_summary_append_json(summary, out));
    if (grades != NULL) {
        TRY(append_grades(grades, out));
    }
    return buffer_append_text(out, "}\n");
}

/* ---- The command ---- */

/* Stops the visit once enough is shown; the status is this file's own. */
struct shown_rows {
    int64_t left;
};

static status print_answer(void *context, const struct result *result)
{
    struct shown_rows *shown = context;
    if (shown->left-- == 0) {
        return STATUS_STOPPED;
    }
    fputs("\n-- ", stdout);
    cli_print_text(result->id, result->id_length);
    if (result->prompt != NULL) {
        putchar('\n');
        cli_print_text(result->prompt, result->prompt_length);
    }
    bool failed = result->finish_reason == FINISH_ERROR;
    printf(" [%s]\n", finish_reason_name(result->finish_reason));
    cli_print_text(failed ? result->error : result->text,
                   failed ? result->error_length : result->text_length);
    putchar('\n');
    return STATUS_OK;
}

static status print_answers(struct output_reader *reader, int64_t rows)
{
    struct shown_rows shown = {rows};
    status s = output_visit(reader, print_answer, &shown);
    return s == STATUS_STOPPED ? STATUS_OK : s;
}

/* What was read of the file once. */
struct inspection {
    struct arena arena;
    const struct rank_metrics *ranks;
    size_t rank_count;
    struct output_summary summary;
    struct grade_table grades;
};

static status print_json(const struct inspect_arguments *arguments, struct output_reader *reader,
                         struct inspection *self)
{
    struct buffer out = {0};
    status s = append_json(reader, &self->arena, self->ranks, self->rank_count,
                           arguments->score != NULL ? &self->grades : NULL, &self->summary, &out);
    if (s == STATUS_OK) {
        fputs(out.data, stdout);
    }
    buffer_destroy(&out);
    return s;
}

static status print_parts(const struct inspect_arguments *arguments, struct output_reader *reader,
                          struct inspection *self)
{
    if (!arguments->job && !arguments->ranks && !arguments->errors) {
        TRY(output_summary_print(arguments->path, reader, &self->summary, self->ranks,
                                 self->rank_count));
    }
    if (arguments->job) {
        printf("%-22s %s\n%-22s %lld\n", "file", arguments->path, "results",
               (long long)output_result_count(reader));
        print_attributes(reader, &self->arena);
    }
    if (arguments->ranks) {
        fputs(arguments->job ? "\n" : "", stdout);
        print_ranks(self->ranks, self->rank_count);
    }
    if (arguments->errors) {
        fputs(arguments->job || arguments->ranks ? "\n" : "", stdout);
        TRY(output_summary_print_errors(&self->summary));
    }
    if (arguments->rows > 0) {
        TRY(print_answers(reader, arguments->rows));
    }
    if (arguments->score != NULL) {
        print_grades(arguments, &self->grades);
    }
    return STATUS_OK;
}

static status inspect_reader(const struct inspect_arguments *arguments,
                             struct output_reader *reader, struct inspection *self)
{
    TRY(output_rank_metrics(reader, &self->arena, &self->ranks, &self->rank_count));
    if (arguments->score != NULL) {
        TRY(grade_output(reader, arguments->score, arguments->by, &self->grades));
    }
    /* The job and the table of ranks need no look at the results. */
    if (arguments->json || arguments->errors || (!arguments->job && !arguments->ranks)) {
        TRY(output_summary_read(reader, &self->summary));
    }
    return arguments->json ? print_json(arguments, reader, self)
                           : print_parts(arguments, reader, self);
}

static status inspect(const struct inspect_arguments *arguments)
{
    struct output_reader *reader;
    TRY(job_output_open(arguments->path, &reader));
    struct inspection inspection = {0};
    status s = inspect_reader(arguments, reader, &inspection);
    grade_table_destroy(&inspection.grades);
    output_summary_destroy(&inspection.summary);
    arena_destroy(&inspection.arena);
    output_reader_close(reader);
    return status_context(s, "%s", arguments->path);
}

int command_inspect(int argc, char **argv)
{
    struct inspect_arguments arguments = {0};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    return inspect(&arguments) == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(EXIT_FAILED);
}
