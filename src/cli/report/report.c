/* SPDX-License-Identifier: Apache-2.0 */
/* sluice report OUT.h5: one page about a job, for a browser. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report/html.h"
#include "cli/report/sections.h"
#include "sluice/export.h"
#include "sluice/progress.h"

enum { OPTION_OVERWRITE = 256 };

struct report_arguments {
    const char *path, *output;
    bool overwrite;
};

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "the page; OUT.html beside OUT.h5 without it", 0},
    {"overwrite", OPTION_OVERWRITE, 0, 0, "replace a FILE that is there", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct report_arguments *arguments = state->input;
    switch (key) {
    case 'o':
        arguments->output = argument;
        return 0;
    case OPTION_OVERWRITE:
        arguments->overwrite = true;
        return 0;
    case ARGP_KEY_ARG:
        return cli_positional(argument, &arguments->path);
    case ARGP_KEY_END:
        return cli_require("the output file", arguments->path);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .args_doc = "OUT.h5",
    .doc = "Writes a page for a browser: what the job did over time, by rank, and what came of it. "
           "The page needs nothing but itself."};

static status read_output(struct report *self)
{
    const struct timeline_point *points;
    size_t count;
    TRY(output_rank_metrics(self->reader, &self->arena, &self->ranks, &self->rank_count));
    self->verdicts =
        arena_allocate_array(&self->arena, self->rank_count + 1, sizeof *self->verdicts);
    if (self->verdicts == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu ranks", self->rank_count);
    }
    TRY(slow_ranks_find(self->ranks, self->rank_count, self->verdicts));
    self->of_answers = slow_ranks_of_answers(self->ranks, self->rank_count);
    TRY(output_timeline(self->reader, self->ranks, self->rank_count, &self->arena, &points,
                        &count));
    TRY(series_make(points, count, self->of_answers, &self->arena, &self->series));
    return output_summary_read(self->reader, &self->summary);
}

static status write_page(struct report *self, struct buffer *out)
{
    TRY(html_begin(self->path, out));
    TRY(report_write_head(self, out));
    TRY(report_write_time(self, out));
    TRY(report_write_ranks(self, out));
    TRY(report_write_prediction(self, out));
    TRY(report_write_results(self, out));
    TRY(report_write_origin(self, out));
    return html_end(out);
}

static status save(const struct report_arguments *arguments, const struct buffer *page)
{
    struct buffer beside = {0};
    struct export_file *file;
    const char *path = arguments->output;
    if (path == NULL) {
        size_t length = strlen(arguments->path);
        length -= length > 3 && strcmp(arguments->path + length - 3, ".h5") == 0 ? 3 : 0;
        TRY(buffer_format(&beside, "%.*s.html", (int)length, arguments->path));
        path = beside.data;
    }
    status s = export_file_create(path, arguments->overwrite, &file);
    buffer_destroy(&beside);
    TRY(s);
    s = export_file_write(file, page->data, page->length);
    if (s != STATUS_OK) {
        export_file_abandon(file);
        return s;
    }
    return export_file_finish(file);
}

static status report(const struct report_arguments *arguments)
{
    struct report self = {.path = arguments->path};
    struct buffer page = {0};
    TRY(job_output_open(arguments->path, &self.reader));
    status s = read_output(&self);
    if (s == STATUS_OK) {
        s = write_page(&self, &page);
    }
    output_summary_destroy(&self.summary);
    arena_destroy(&self.arena);
    output_reader_close(self.reader);
    if (s == STATUS_OK) {
        s = save(arguments, &page);
    }
    buffer_destroy(&page);
    return s;
}

int command_report(int argc, char **argv)
{
    struct report_arguments arguments = {0};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    return report(&arguments) == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(EXIT_FAILED);
}
