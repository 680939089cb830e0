/* SPDX-License-Identifier: Apache-2.0 */
/* What rank 0 says of a job from its start to its end: lines, the progress file, the metrics. Time
 * passes by moving the start of what is being waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "run/report/progress.h"
#include "said.h"
#include "scratch_folder.h"

static const struct plan plan = {.ranks = 4, .dp = 2, .tp = 2, .pp = 1};
static const struct journal_totals kept = {
    .rows = 2, .error_rows = 1, .output_tokens = 10, .last_error = "line 1: no prompt"};

struct job_at_work {
    struct progress progress;
    struct progress_news news;
    char directory[256], metrics[256];
};

static void begin(struct job_at_work *job, void **state, bool quiet)
{
    *job = (struct job_at_work){.news = {.totals = kept, .rows = 100, .handed = 3}};
    snprintf(job->directory, sizeof job->directory, "%s", scratch_path(state, ""));
    snprintf(job->metrics, sizeof job->metrics, "%s", scratch_path(state, "job.prom"));
    const struct progress_options options = {.directory = job->directory,
                                             .output = "out.h5",
                                             .metrics = job->metrics,
                                             .plan = &plan,
                                             .quiet = quiet};
    assert_int_equal(progress_begin(&job->progress, &options, kept, 100), STATUS_OK);
}

/* Everything was that much earlier. */
static void pass(struct job_at_work *job, double seconds)
{
    struct progress *p = &job->progress;
    p->start -= seconds;
    p->next_line -= seconds;
    p->last_draw -= seconds;
    p->last_write -= seconds;
    for (int i = 0; i < p->sample_count; i++) {
        p->samples[i].time -= seconds;
    }
    for (int i = 0; i < p->paces.count; i++) {
        p->paces.replicas[i].heard -= seconds;
    }
    p->paces.started -= seconds;
    p->paces.last_judged -= seconds;
}

static const char *report(struct job_at_work *job)
{
    said_begin();
    progress_report(&job->progress, &job->news);
    return said_end();
}

static struct job_progress read_file(const struct job_at_work *job)
{
    struct job_progress read;
    bool found;
    assert_int_equal(job_progress_read(job->directory, &read, &found), STATUS_OK);
    assert_true(found);
    return read;
}

static bool file_has(const char *path, const char *text)
{
    char all[16384];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    all[fread(all, 1, sizeof all - 1, file)] = '\0';
    fclose(file);
    return strstr(all, text) != NULL;
}

static void expect_line(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL) {
        fail_msg("%s\nis not in %s", wanted, text);
    }
}

static void it_begins_with_what_is_kept(void **state)
{
    struct job_at_work job;
    begin(&job, state, false);
    const struct job_progress read = read_file(&job);
    assert_int_equal(read.rows, 100);
    assert_int_equal(read.rows_done, 2);
    assert_int_equal(read.rows_kept, 2);
    assert_int_equal(read.error_rows, 1);
    assert_int_equal(read.output_tokens, 10);
    assert_int_equal(read.tokens_kept, 10);
    assert_string_equal(read.last_error, "line 1: no prompt");
    assert_int_equal(read.ranks, 4);
    assert_int_equal(read.dp, 2);
    assert_int_equal(read.tp, 2);
    assert_int_equal(read.pp, 1);
    assert_int_equal(read.process, getpid());
    assert_true(read.started > 0 && read.updated >= read.started);
    assert_true(file_has(job.metrics, "\nsluice_job_running{output=\"out.h5\"} 1\n"));
    assert_int_equal(job.progress.paces.ranks, 2);
    progress_end(&job.progress);
    assert_true(file_has(job.metrics, "\nsluice_job_running{output=\"out.h5\"} 0\n"));
}

static void lines_come_at_full_minutes(void **state)
{
    struct job_at_work job;
    begin(&job, state, false);
    progress_leader_done(&job.progress, 0); /* nobody is silent */
    progress_leader_done(&job.progress, 1);
    pass(&job, 9);
    assert_string_equal(report(&job), "");
    pass(&job, 1.1);
    expect_line(report(&job),
                "Z: 2 of 100 rows done (2.0%), 1 with errors, 3 handed out, 0.0 rows/s, 0.0 "
                "tokens/s, 10.1 s\n");
    pass(&job, 48);
    assert_string_equal(report(&job), "");
    pass(&job, 2);
    job.news.totals.rows = 32;
    job.news.totals.error_rows = 0;
    job.news.totals.output_tokens = 110;
    expect_line(report(&job), "Z: 32 of 100 rows done (32.0%), 3 handed out, 0.6 rows/s, 2.0 "
                              "tokens/s, 60.1 s, about 1 min 56 s left\n");
    job.news.rows = -1;
    pass(&job, 200); /* lines that were due meanwhile are one */
    expect_line(report(&job), "Z: 32 rows done, 3 handed out, ");
    assert_string_equal(report(&job), "");
    pass(&job, 30);
    assert_string_equal(report(&job), "");
    pass(&job, 10.5);
    expect_line(report(&job), "Z: 32 rows done, 3 handed out, ");
    job.news.rows = 0;
    job.news.totals = (struct journal_totals){.last_error = ""};
    pass(&job, 60);
    expect_line(report(&job), "Z: 0 of 0 rows done (100.0%), 3 handed out, ");
    progress_end(&job.progress);
    begin(&job, state, true);
    progress_leader_done(&job.progress, 0);
    progress_leader_done(&job.progress, 1);
    pass(&job, 100);
    assert_string_equal(report(&job), "");
    progress_end(&job.progress);
}

static void rates_are_of_the_last_minute(void **state)
{
    struct job_at_work job;
    begin(&job, state, true);
    assert_string_equal(report(&job), "");
    for (int i = 1; i <= 12; i++) {
        pass(&job, 15.01);
        job.news.totals.rows += i > 6 ? 30 : 0;
        job.news.totals.output_tokens += 15;
        job.news.snapshot = true;
        report(&job);
        assert_int_equal(job.progress.sample_count, i < 4 ? i + 1 : 5);
    }
    assert_true(job.progress.now.rows_per_second > 1.9 && job.progress.now.rows_per_second < 2.1);
    assert_true(job.progress.now.tokens_per_second > 0.9 &&
                job.progress.now.tokens_per_second < 1.1);
    pass(&job, 14); /* too early for another sample */
    const double latest = job.progress.samples[4].time;
    report(&job);
    assert_true(job.progress.samples[4].time == latest);
    progress_end(&job.progress);
}

static void files_are_written_when_due(void **state)
{
    struct job_at_work job;
    begin(&job, state, true);
    job.news.totals.rows = 7;
    job.news.committed = true;
    report(&job);
    assert_int_equal(read_file(&job).rows_done, 2);
    pass(&job, 10.1);
    report(&job);
    assert_int_equal(read_file(&job).rows_done, 7);
    assert_int_equal(read_file(&job).rows_handed, 3);
    assert_true(job.progress.write_interval >= 1 && job.progress.write_interval <= 10);
    job.news.totals.rows = 8;
    pass(&job, 1.01);
    job.progress.write_interval = 1;
    job.news.committed = false;
    report(&job);
    assert_int_equal(read_file(&job).rows_done, 7);
    job.news.committed = true;
    report(&job);
    assert_int_equal(read_file(&job).rows_done, 8);
    job.news.committed = false;
    job.news.totals.rows = 9;
    pass(&job, 9);
    report(&job);
    assert_int_equal(read_file(&job).rows_done, 8);
    pass(&job, 1.1); /* a sign of life */
    report(&job);
    assert_int_equal(read_file(&job).rows_done, 9);
    assert_true(read_file(&job).seconds > 21 && read_file(&job).seconds < 80);
    progress_end(&job.progress);
}

static void what_cannot_be_written_is_said_once(void **state)
{
    struct job_at_work job;
    begin(&job, state, true);
    job.progress.metrics = "no/such/folder/job.prom";
    buffer_clear(&job.progress.directory);
    assert_int_equal(buffer_append_text(&job.progress.directory, "no/such/folder"), STATUS_OK);
    pass(&job, 11);
    const char *text = report(&job);
    expect_line(text, "warning: no/such/folder/");
    expect_line(text, "; `sluice status` will not know how the job stands\n");
    expect_line(text, "warning: output.metrics: no/such/folder/job.prom.next: No such file or "
                      "directory; it is not written any more\n");
    pass(&job, 11);
    assert_string_equal(report(&job), "");
    progress_end(&job.progress);
}

/* A state a second of both replicas, for `seconds`; the second computes a `share` of the first's
 * tokens. Returns what was said. */
static const char *work(struct job_at_work *job, int seconds, double share)
{
    static char all[8192];
    all[0] = '\0';
    for (int second = 0; second < seconds; second++) {
        pass(job, 1);
        for (int i = 0; i < 2; i++) {
            struct replica_state state = job->progress.paces.replicas[i].state;
            snprintf(state.host, sizeof state.host, "node%d", i);
            state.tokens += i == 0 ? 100 : (int64_t)(100 * share);
            state.output_tokens = state.tokens / 2;
            state.busy_seconds += 1;
            state.running = 3 + i;
            state.waiting = 5;
            state.kv_blocks = 10;
            state.kv_blocks_used = 4;
            if (share > 0 || i == 0) {
                progress_take_state(&job->progress, i, &state);
            }
        }
        const size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s", report(job));
    }
    return all;
}

static void slow_replicas_are_said(void **state)
{
    struct job_at_work job;
    char slow[64];
    begin(&job, state, true);
    job.news.rows_left = true;
    assert_string_equal(work(&job, 40, 1), "");
    assert_string_equal(read_file(&job).slow, "");
    const char *said = work(&job, 60, 0.5); /* once */
    expect_line(said, "warning: slow: ranks 2 to 3 on node1: ");
    assert_string_equal(strchr(said, '\n'), "\n");
    expect_line(read_file(&job).slow, "ranks 2 to 3 on node1: 50.0 tokens/s, 50% below");
    job.news.snapshot = true;
    const char *text = report(&job);
    job.news.snapshot = false;
    expect_line(text, "info: 7 sequences running, 10 waiting, KV cache 40.0% full, ");
    expect_line(text, "info: ranks 2 to 3 on node1: 50.0 tokens/s, 50% below its peers' 100.0; 4 "
                      "running, 5 waiting\n");
    expect_line(text, "; 3 running, 5 waiting\n");
    expect_line(text, "info: the last error: line 1: no prompt\n");
    expect_line(work(&job, 60, 1), "no rank is slow any more\n");
    assert_string_equal(read_file(&job).slow, "");
    progress_leader_done(&job.progress, 1);
    assert_true(job.progress.paces.replicas[1].done);
    job.news.totals.rows = 99;
    progress_rows_end(&job.progress, &job.news, slow, sizeof slow);
    assert_int_equal(read_file(&job).rows_done, 99);
    assert_false(job.progress.live || job.progress.lines);
    expect_line(slow, "ranks 2 to 3 on node1: ");
    assert_int_equal(read_file(&job).running, 3);
    progress_end(&job.progress);
}

int main(void)
{
    log_configure(LOG_INFO, "");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_begins_with_what_is_kept, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(lines_come_at_full_minutes, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(rates_are_of_the_last_minute, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(files_are_written_when_due, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_said_once, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(slow_replicas_are_said, scratch_create, scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
