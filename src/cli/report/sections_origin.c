/* SPDX-License-Identifier: Apache-2.0 */
/* Where an output comes from, and the commands that make it again. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report/html.h"
#include "cli/report/sections.h"

/* A word that the job has as a whole line cannot end its text in the shell. */
static void choose_delimiter(const char *job, char word[32])
{
    snprintf(word, 32, "JOB");
    for (int i = 2; strstr(job, word) != NULL && i < 1000; i++) {
        snprintf(word, 32, "JOB_%d", i);
    }
}

static int64_t count_ranks(struct report *report)
{
    return report->rank_count > 0 ? (int64_t)report->rank_count : 1;
}

/* The moment that templates took for now, where the job leaves it open. */
static status append_settings(struct report *report, struct buffer *out)
{
    const char *moment = report_text(report, "template_time");
    TRY(buffer_append_text(out, " --set output.path=again.h5"));
    /* It is written by the program, but the file may come from anywhere. */
    int64_t seconds;
    return clock_read_timestamp(moment, &seconds)
               ? buffer_format(out, " --set data.template_time=%s", moment)
               : STATUS_OK;
}

static status append_command(struct report *report, struct buffer *out)
{
    const char *job = report_text(report, "job");
    char word[32];
    choose_delimiter(job, word);
    TRY(buffer_format(out, "cat > again.yaml <<'%s'\n%s", word, job));
    const size_t length = strlen(job);
    TRY(length > 0 && job[length - 1] != '\n' ? buffer_append_byte(out, '\n') : STATUS_OK);
    TRY(buffer_format(out, "%s\n", word));
    if (report_text(report, "slurm")[0] != '\0') {
        TRY(buffer_format(out, "srun --mpi=pmix -n %lld ", (long long)count_ranks(report)));
    } else if (count_ranks(report) > 1) {
        TRY(buffer_format(out, "mpirun -n %lld ", (long long)count_ranks(report)));
    }
    TRY(buffer_append_text(out, "sluice run again.yaml"));
    TRY(append_settings(report, out));
    TRY(buffer_append_text(out, "\nsluice compare '"));
    for (const char *at = report->path; *at != '\0'; at++) {
        TRY(*at == '\'' ? buffer_append_text(out, "'\\''") : buffer_append_byte(out, *at));
    }
    return buffer_append_text(out, "' again.h5\n");
}

static status write_facts(struct report *report, struct buffer *out)
{
    static const struct {
        const char *name, *attribute;
    } facts[] = {
        {"program", "sluice_version"},
        {"created", "created"},
        {"model", "model_path"},
        {"model config", "model_config_sha256"},
        {"model weights", "model_weights_sha256"},
        {"data", "data_path"},
        {"data sha256", "data_sha256"},
        {"device", "device"},
        {"computed in", "compute_dtype"},
        {"KV cache in", "kv_dtype"},
        {"longest sequence", "max_model_len"},
        {"rank 0 on", "host"},
        {"Slurm", "slurm"},
    };
    TRY(buffer_append_text(out, "<table class=\"facts\">\n"));
    for (size_t i = 0; i < COUNT_OF(facts); i++) {
        TRY(html_row(facts[i].name, report_text(report, facts[i].attribute), out));
    }
    TRY(html_row("layout", cli_layout_text(report_text(report, "layout"), &report->arena), out));
    return buffer_append_text(out, "</table>\n");
}

status report_write_origin(struct report *report, struct buffer *out)
{
    struct buffer command = {0};
    TRY(html_section("Where it comes from", out));
    TRY(write_facts(report, out));
    if (report_text(report, "job")[0] == '\0') {
        return html_section_end(out);
    }
    TRY(buffer_append_text(out, "<p>To make it again, on a device of the same kind, and compare:"
                                "</p>\n<pre>"));
    status s = append_command(report, &command);
    if (s == STATUS_OK) {
        s = html_text(command.data, command.length, out);
    }
    buffer_destroy(&command);
    TRY(s);
    TRY(buffer_append_text(out, "</pre>\n"));
    return html_section_end(out);
}
