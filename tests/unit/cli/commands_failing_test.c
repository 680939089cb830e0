/* SPDX-License-Identifier: Apache-2.0 */
/* Every command on small jobs, with each allocation and each system call of its own failing in
 * turn: no crash, no leak, no descriptor left open, and one line that says what went wrong. */
#include "commands.h"

#define MODELS      SLUICE_SOURCE_DIR "/tests/data/models"
#define SMALL_MODEL SLUICE_SOURCE_DIR "/data/small-model"

struct walked {
    const char *arguments[COMMAND_ARGUMENTS + 1];
    const char *remove[4]; /* what a run leaves, to begin anew */
};

static status act(void *context)
{
    const struct walked *walked = context;
    const int code = command_run_list(walked->arguments);
    return code == 0 ? STATUS_OK : status_fail(STATUS_IO, "%s", command_error());
}

static void begin_anew(void *context)
{
    const struct walked *walked = context;
    for (size_t i = 0; i < COUNT_OF(walked->remove) && walked->remove[i] != NULL; i++) {
        nftw(walked->remove[i], scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}

/* Places that go on without what they were denied. */
static const char *const survivors[] = {
    "is_there",                     /* a tokenizer that cannot be looked for is not there */
    "job_progress_write",           /* progress of a moment ago */
    "metrics_describe",             /* the same for a monitor */
    "metrics_write",                /* */
    "host_memory_available",        /* counted from other files, or from what the host has */
    "process_start",                /* whether a lock's holder lives is found out otherwise */
    "cpu_host_name",                /* the device is called CPU */
    "model_weights_create",         /* a layout that cannot be measured does not fit; another may */
    "cli_layout_text",              /* as it stands in the file */
    "pread read_runs",              /* reads it once more */
    "describe_self",                /* a lock that says less of its holder */
    "start_line_log",               /* says less of the host */
    "open check_job",               /* whether a file may be made is found out later */
    "check_model",                  /* a look at what is in the way of the output */
    "row_order_begin",              /* the first rows go out as they come, and not sorted */
    "malloc output_attribute_text", /* an attribute that is not there */
    "journal_folder_empty",         /* the job is done; the folder stays */
    "run_thread",                   /* a prediction that comes to nothing */
    "step_cost_load",               /* nothing is predicted */
    "pthread_create job_prediction_start",
    "cli_print_wrapped",   /* printed as it is */
    "cpu_host_name_below", /* the device is called CPU */
    NULL};

static void walk(const struct walked *walked, unsigned kinds, unsigned optional)
{
    const struct failing_walk how = {.once = true,
                                     .name = walked->arguments[0],
                                     .kinds = kinds,
                                     .act = act,
                                     .context = (void *)walked,
                                     .prepare = begin_anew,
                                     .optional = optional,
                                     .survived_by = survivors};
    print_message("%s: %d failures\n", walked->arguments[0], failing_walk(&how));
}

/* ---- What they work on ---- */

static const char *const row_lines =
    "{\"id\": \"r1\", \"prompt_token_ids\": [4, 5, 7], \"note\": \"n1\"}\n"
    "{\"id\": \"r2\", \"prompt_token_ids\": [5, 5, 7], \"note\": \"n2\"}\n"
    "{\"prompt_token_ids\": [100000], \"id\": \"bad\"}\n";

static void write_job(void)
{
    write_file("data.jsonl", row_lines);
    write_file("job.yaml", "model: {path: \"" MODELS "/llama\"}\n"
                           "data: {input: data.jsonl}\n"
                           "generate: {max_new_tokens: 2, ignore_eos: true, logprobs: 1}\n"
                           "engine: {max_sequences: 4, kv_memory: 1MiB}\n"
                           "output: {path: out.h5, include_token_ids: true, include_prompt: true, "
                           "metrics: metrics.prom}\n");
}

static void write_output(void)
{
    write_job();
    if (COMMAND("run", "job.yaml", "--quiet") != 0) {
        fail_msg("%s", command_err);
    }
}

/* ---- Jobs ---- */

static const struct walked run = {.arguments = {"run", "job.yaml", "--quiet"},
                                  .remove = {"out.h5", "out.h5.sluice", "out.h5.partial"}};

static void a_run_without_memory(void **state)
{
    (void)state;
    write_job();
    walk(&run, FAIL_MEMORY, 0);
}

static void a_run_without_files(void **state)
{
    (void)state;
    write_job();
    walk(&run, FAIL_FILES | FAIL_THREAD | FAIL_LOCK | FAIL_MAP | FAIL_UNLINK,
         FAIL_UNLINK | FAIL_STAT | FAIL_CLOSE | FAIL_LOCK);
}

static void a_part_again(void **state)
{
    (void)state;
    write_output();
    const struct walked rerun = {
        .arguments = {"rerun", "out.h5", "-o", "again.h5", "--where", "ok", "--quiet"},
        .remove = {"again.h5", "again.h5.sluice", "again.h5.partial"}};
    walk(&rerun, FAIL_MEMORY | FAIL_OPEN | FAIL_READ, 0);
}

/* ---- Looks at a job and its output ---- */

static void looks(void **state)
{
    (void)state;
    static const struct walked all[] = {
        {.arguments = {"check", "job.yaml", "--set", "output.path=other.h5"}},
        {.arguments = {"status", "out.h5"}},
        {.arguments = {"inspect", "out.h5"}},
        {.arguments = {"inspect", "out.h5", "--rows", "2"}},
        {.arguments = {"report", "out.h5", "-o", "page.html", "--overwrite"}},
        {.arguments = {"compare", "out.h5", "out.h5"}},
        {.arguments = {"export", "out.h5"}},
        {.arguments = {"export", "out.h5", "--format", "openai"}},
        {.arguments = {"export", "out.h5", "--rejoin", "data.jsonl", "-o", "out.csv.gz",
                       "--overwrite"}},
        {.arguments = {"export", "out.h5", "-o", "out.parquet", "--overwrite"}},
        {.arguments = {"export", "out.h5", "-o", "out.jsonl.zst", "--overwrite"}},
        {.arguments = {"help", "job"}},
        {.arguments = {"help", "--man", "run"}},
    };
    write_output();
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        walk(&all[i], FAIL_MEMORY | FAIL_FILES, FAIL_STAT | FAIL_CLOSE);
    }
}

/* With an argument only the tests whose names it matches. */
int main(int argc, char **argv)
{
    commands_start();
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_without_memory, commands_enter, commands_leave),
        cmocka_unit_test_setup_teardown(a_run_without_files, commands_enter, commands_leave),
        cmocka_unit_test_setup_teardown(a_part_again, commands_enter, commands_leave),
        cmocka_unit_test_setup_teardown(looks, commands_enter, commands_leave),
    };
    return commands_end(cmocka_run_group_tests(tests, NULL, NULL));
}
