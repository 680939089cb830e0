/* SPDX-License-Identifier: Apache-2.0 */
/* What later starts make of what earlier ones have left: a finished output, a journal with rows, an
 * output some rows of which run again, or whose data set has grown. */
#include "command_checks.h"
#include "sluice/data.h"

#define MODEL SLUICE_SOURCE_DIR "/tests/data/models/llama"

static const char rows[] = "{\"id\": \"a\", \"prompt_token_ids\": [4, 5, 7], \"note\": \"n\"}\n"
                           "{\"id\": \"b\", \"prompt_token_ids\": [5, 5, 7], \"max_tokens\": 3}\n"
                           "{\"id\": \"bad\", \"prompt_token_ids\": [100000]}\n"
                           "{\"id\": \"c\", \"prompt_token_ids\": [6]}\n"
                           "{\"prompt\": 5}\n"
                           "{\"id\": \"twin\", \"prompt_token_ids\": [6]}\n";

static const char job[] =
    "model: {path: \"" MODEL "\"}\n"
    "data: {input: data.jsonl, template_time: 2026-01-02T03:04:05Z}\n"
    "generate: {max_new_tokens: 2, temperature: 0, ignore_eos: true}\n"
    "engine: {max_sequences: 4, kv_memory: 1MiB}\n"
    "output: {path: out.h5, metrics: metrics.prom, include_token_ids: true}\n";

static const char answers[] =
    "{\"id\":\"a\",\"row\":0,\"sample\":0,\"text\":\"\",\"finish_reason\":\"length\",\"prompt_"
    "tokens\":3,"
    "\"completion_tokens\":2,\"token_ids\":[55,55],\"note\":\"n\"}\n"
    "{\"id\":\"b\",\"row\":1,\"sample\":0,\"text\":\"\",\"finish_reason\":\"length\",\"prompt_"
    "tokens\":3,"
    "\"completion_tokens\":3,\"token_ids\":[83,8,234]}\n"
    "{\"id\":\"bad\",\"row\":2,\"sample\":0,\"text\":\"\",\"finish_reason\":\"error\",\"prompt_"
    "tokens\":0,"
    "\"completion_tokens\":0,\"error\":\"line 3: prompt token 0 is 100000; the vocabulary has "
    "320\"}\n"
    "{\"id\":\"c\",\"row\":3,\"sample\":0,\"text\":\"\",\"finish_reason\":\"length\",\"prompt_"
    "tokens\":1,"
    "\"completion_tokens\":2,\"token_ids\":[6,6]}\n"
    "{\"id\":\"4\",\"row\":4,\"sample\":0,\"text\":\"\",\"finish_reason\":\"error\",\"prompt_"
    "tokens\":0,"
    "\"completion_tokens\":0,\"error\":\"line 5: prompt: expected a string, a list of messages or "
    "token ids, not a number\"}\n"
    "{\"id\":\"twin\",\"row\":5,\"sample\":0,\"text\":\"\",\"finish_reason\":\"length\","
    "\"prompt_tokens\":1,\"completion_tokens\":2,\"token_ids\":[6,6]}\n";

static int enter(void **state)
{
    return commands_enter_job(state, job, rows);
}

/* ---- Starts after other starts ---- */

static void a_finished_job_stays(void **state)
{
    (void)state;
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    expect_code(COMMAND("run", "job.yaml"), 0);
    assert_string_equal(command_err, "sluice: out.h5 is complete: this very job has written it; "
                                     "set output.overwrite=true to run it again\n");
    expect_code(COMMAND("run", "job.yaml", "--fresh"), 1);
    assert_string_equal(
        command_err,
        "sluice: output.path: out.h5 exists; set output.overwrite=true to replace it\n");
    expect_code(COMMAND("run", "job.yaml", "--set", "generate.seed=3"), 1);
    assert_string_equal(command_err,
                        "sluice: output.path: out.h5 exists; set output.overwrite=true to replace "
                        "it: it holds rows of another job: the default there, \"generate.seed: "
                        "3\" now\n");
    expect_code(COMMAND("check", "job.yaml"), 0);
    printed("output     out.h5 is complete: this very job has written it; nothing is left to\n"
            "           run\n");
    expect_code(COMMAND("run", "job.yaml", "--set", "output.overwrite=true"), 0);
    said("out.h5: 6 rows (2 with errors), 8 prompt and 9 output tokens in ");
    EXPORTED(answers, "out.h5");
    write_file("plain.h5", "text\n");
    expect_code(COMMAND("run", "job.yaml", "--set", "output.path=plain.h5"), 1);
    assert_string_equal(
        command_err,
        "sluice: output.path: plain.h5 exists; set output.overwrite=true to replace it\n");
    assert_int_equal(mkdir("folder", 0777), 0);
    expect_code(COMMAND("run", "job.yaml", "--set", "output.path=folder"), 1);
    said("sluice: output.path: folder is a folder\n");
    assert_int_equal(symlink("nowhere", "link.h5"), 0);
    expect_code(COMMAND("run", "job.yaml", "--set", "output.path=link.h5"), 1);
    said("sluice: output.path: link.h5 is a link to what is not there; remove it, or set "
         "output.overwrite=true to replace it\n");
    expect_code(COMMAND("run", "job.yaml", "--set", "output.path=plain.h5/x.h5"), 1);
    expect_code(COMMAND("run", "job.yaml", "--set", "output.path=/dev/null"), 1);
    said("sluice: output.path: /dev/null is no file but a device, pipe or socket\n");
}

/* A job whose output has no answer is a failure, again and again. */
static void no_answers(void **state)
{
    (void)state;
    write_file("data.jsonl", "{\"id\": \"x\"}\n{\"prompt\": 5}\n");
    for (int i = 0; i < 2; i++) {
        expect_code(COMMAND("run", "job.yaml"), 1);
        said("sluice: out.h5: no row has an answer: 1 row: no prompt: expected");
    }
    expect_code(COMMAND("check", "job.yaml"), 1);
    said("out.h5 is complete, and no row has an answer: 1 row: no prompt: expected");
    expect_code(COMMAND("check", "job.yaml", "--set", "output.path=other.h5"), 1);
    said("data.jsonl: no row would have an answer: 1 row: no prompt: expected");
}

/* The output cannot be written: all rows stay in the journal, and the next start writes them. */
static void kept_rows(void **state)
{
    (void)state;
    assert_int_equal(mkdir("out.h5.partial", 0777), 0);
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 1);
    said("sluice: out.h5.partial: Is a directory\n");
    expect_code(COMMAND("status", "out.h5"), 0);
    printed("out.h5: stopped; the command that started it continues it\n"
            "  rows     6, 2 with errors\n");
    expect_code(COMMAND("status", "out.h5", "--json"), 0);
    printed(
        "{\"output\":\"out.h5\",\"state\":\"stopped\",\"rows\":6,\"rows_done\":6,\"rows_kept\":0,"
        "\"rows_handed\":6,\"error_rows\":2,\"output_tokens\":9,\"tokens_kept\":0,\"seconds\":");
    printed("\"ranks\":1,\"dp\":1,\"tp\":1,\"pp\":1,\"process\":");
    printed("\"last_error\":\"line 5: prompt: expected a string, a list of messages or token ids, "
            "not a number\",\"running\":0,\"waiting\":0,\"kv_use\":0,");
    expect_code(COMMAND("run", "job.yaml", "--set", "generate.seed=3"), 1);
    said(
        "out.h5.sluice/journal: holds rows of another job: the default there, \"generate.seed: 3\" "
        "now; start afresh with --fresh or choose another output\n");
    expect_code(COMMAND("check", "job.yaml"), 0);
    printed("6 rows");
    assert_int_equal(rmdir("out.h5.partial"), 0);
    assert_int_equal(system("cp -r out.h5.sluice left"), 0);
    expect_code(COMMAND("run", "job.yaml"), 0);
    said("info: 6 rows kept from an earlier start\n");
    said("out.h5: 6 rows (2 with errors), 8 prompt and 9 output tokens; this start: 0 output "
         "tokens in ");
    not_said("predicted");
    measured("rows_kept", 6);
    measured("output_tokens_total", 9);
    EXPORTED(answers, "out.h5");
    expect_code(COMMAND("inspect", "out.h5"), 0);
    printed("rows       6, 2 with errors, 6 kept from earlier starts; 6 results\n");
    /* It died between the output's appearance and the journal's end. */
    assert_int_equal(rename("left", "out.h5.sluice"), 0);
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    assert_false(is_there("out.h5.sluice"));
}

static void a_bad_row_ends_it(void **state)
{
    (void)state;
    expect_code(COMMAND("run", "job.yaml", "--quiet", "--set", "data.skip_bad_rows=false"), 1);
    assert_string_equal(
        command_err,
        "sluice: data.jsonl: line 3: prompt token 0 is 100000; the vocabulary has 320\n");
    assert_false(is_there("out.h5"));
    expect_code(COMMAND("status", "out.h5"), 0);
    printed(" of 6 (");
    expect_code(COMMAND("check", "job.yaml", "--set", "data.skip_bad_rows=false", "--set",
                        "output.path=other.h5"),
                1);
    said("sluice: data.jsonl: 2 bad rows, and data.skip_bad_rows is false: 1 row: prompt token 0 "
         "is ");
    expect_code(COMMAND("run", "job.yaml", "--quiet", "--fresh"), 0);
    not_said("kept");
    EXPORTED(answers, "out.h5");
}

/* ---- Parts of an output ---- */

static void rows_run_again(void **state)
{
    (void)state;
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    expect_code(COMMAND("rerun", "out.h5", "-o", "again.h5", "--where", "finish=length"), 0);
    said("info: 4 rows of out.h5 run again\n");
    said("again.h5: 4 rows (0 with errors), 8 prompt and 9 output tokens in ");
    EXPORTED("{\"id\":\"a\",\"row\":0}\n{\"id\":\"b\",\"row\":1}\n"
             "{\"id\":\"c\",\"row\":3}\n{\"id\":\"twin\",\"row\":5}\n",
             "again.h5", "--columns", "id,row");
    expect_code(COMMAND("rerun", "again.h5", "-o", "error.h5", "--where", "error"), 0);
    said("no row of again.h5 is to be run again; nothing is written\n");
    assert_false(is_there("error.h5"));
    expect_code(COMMAND("rerun", "out.h5", "-o", "third.h5", "--where", "error"), 1);
    said("info: 2 rows of out.h5 run again\n");
    said("third.h5: no row has an answer: 1 row: prompt token 0");
    expect_code(COMMAND("append", "again.h5"), 1);
    said("again.h5: holds a part of its data set's rows\n");
    write_file("data.jsonl", "{}\n");
    expect_code(COMMAND("rerun", "out.h5", "-o", "fourth.h5", "--where", "ok"), 1);
    said("data.jsonl: another data set than the one that out.h5 was made from\n");
}

/* What steps cost is kept, and the next start predicts from it. */
static void steps_are_remembered(void **state)
{
    (void)state;
    write_file("data.jsonl", "{\"prompt_token_ids\": [4], \"max_tokens\": 80}\n");
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    expect_code(COMMAND("run", "job.yaml", "--set", "output.path=next.h5"), 0);
    said("\nsluice: predicted: ");
    said(" s with every answer at its limit, ");
    said("% by the number of steps); the rows took ");
    expect_code(COMMAND("inspect", "next.h5", "--json"), 0);
    printed("\"predicted_output_tokens\":80,\"predicted_bound\":\"");
    expect_code(COMMAND("check", "job.yaml", "--sample", "1", "--set", "output.path=third.h5"), 0);
    printed(" if every answer runs to its limit\n");
    expect_code(COMMAND("inspect", "next.h5"), 0);
    printed("\npredicted  ");
}

/* Replaces the data set: `text`, and what is behind it. */
static void set_data(const char *text, const char *more)
{
    char all[8192];
    snprintf(all, sizeof all, "%s%s", text, more);
    write_file("data.jsonl", all);
}

static void rows_are_appended(void **state)
{
    (void)state;
    static const char more[] = "{\"id\":\"new\",\"prompt_token_ids\":[4,5],\"max_tokens\":1}\n";
    char all[8192];
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    expect_code(COMMAND("append", "out.h5"), 0);
    said("out.h5 has all rows of the data set; nothing is to be appended\n");
    set_data(rows, more);
    expect_code(COMMAND("append", "out.h5", "--set", "generate.seed=3"), 1);
    said("the output was made otherwise: the default there, \"generate.seed: 3\" now\n");
    expect_code(COMMAND("append", "out.h5"), 0);
    said("info: out.h5 has the first 6 rows; those behind them are appended\n");
    said("out.h5: 7 rows (2 with errors), 10 prompt and 10 output tokens; this start: 1 output "
         "tokens in ");
    snprintf(all, sizeof all,
             "%s{\"id\":\"new\",\"row\":6,\"sample\":0,\"text\":\"\",\"finish_reason\":\"length\","
             "\"prompt_tokens\":2,\"completion_tokens\":1,\"token_ids\":[135]}\n",
             answers);
    EXPORTED(all, "out.h5");
    expect_code(COMMAND("append", "out.h5"), 0);
    said("nothing is to be appended\n");
    expect_code(COMMAND("inspect", "out.h5", "--job"), 0);
    assert_null(strstr(command_out, "rows appended"));
    snprintf(all, sizeof all, "%s%s", rows, more);
    all[2] = 'e';
    write_file("data.jsonl", all);
    expect_code(COMMAND("append", "out.h5"), 1);
    said("data.jsonl: its first 304 bytes are not what the output was made from\n");
    write_file("data.jsonl", rows);
    expect_code(COMMAND("append", "out.h5"), 1);
    said("data.jsonl: is shorter than it was\n");
}

static void a_last_line_that_goes_on(void **state)
{
    (void)state;
    write_file("data.jsonl", "{\"prompt_token_ids\":[4,5]}");
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    write_file("data.jsonl", "{\"prompt_token_ids\":[4,5]} \n");
    expect_code(COMMAND("append", "out.h5"), 1);
    said("data.jsonl: what was its last line did not end, and goes on now\n");
    write_file("data.jsonl", "{\"prompt_token_ids\":[4,5]}\n{\"prompt_token_ids\":[4,5]}\n");
    expect_code(COMMAND("append", "out.h5", "--quiet"), 0);
    EXPORTED("{\"row\":0,\"token_ids\":[135,301]}\n{\"row\":1,\"token_ids\":[135,301]}\n", "out.h5",
             "--columns", "row,token_ids");
    expect_code(COMMAND("run", "job.yaml", "--quiet", "--set", "output.path=first.h5", "--set",
                        "data.limit=1"),
                0);
    expect_code(COMMAND("append", "first.h5"), 1);
    said("data.limit: first.h5 was made from the first 1 rows; what is behind them is not new\n");
}

static void files_are_appended(void **state)
{
    (void)state;
    static const char one[] = "{\"prompt_token_ids\":[4,5]}\n";
    write_file("a.jsonl", one);
    write_file("b.jsonl", one);
    expect_code(COMMAND("run", "job.yaml", "--quiet", "--set", "data.input=\"?.jsonl\""), 0);
    write_file("c.jsonl", one);
    expect_code(COMMAND("append", "out.h5"), 0);
    EXPORTED("{\"row\":0,\"file\":\"a.jsonl\"}\n{\"row\":1,\"file\":\"b.jsonl\"}\n"
             "{\"row\":2,\"file\":\"c.jsonl\"}\n",
             "out.h5", "--columns", "row,file");
    write_file("b.jsonl", rows);
    write_file("d.jsonl", one);
    expect_code(COMMAND("append", "out.h5"), 1);
    said("another data set than the one that out.h5 was made from\n");
    assert_int_equal(unlink("d.jsonl"), 0);
    expect_code(COMMAND("append", "out.h5"), 1);
    said("another data set than the one that out.h5 was made from\n");
}

/* ---- Rows that ranks have died of ---- */

/* A start of the job whose output this was died with these rows under way. */
static void die_with(const int64_t *under_way, size_t count, int64_t alone)
{
    struct output_reader *reader;
    struct journal *journal;
    struct attempts *attempts;
    struct arena arena = {0};
    assert_int_equal(output_open("model.h5", &reader), STATUS_OK);
    const char *identity = output_attribute_text(reader, "identity", &arena);
    assert_non_null(identity);
    assert_int_equal(journal_open("out.h5.sluice", identity, 0, &journal), STATUS_OK);
    assert_int_equal(attempts_open("out.h5.sluice", journal, false, &attempts), STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(attempts_begin(attempts, under_way[i], 0), STATUS_OK);
    }
    assert_int_equal(attempts_write(attempts), STATUS_OK);
    if (alone >= 0) {
        assert_int_equal(attempts_begin_alone(attempts, alone), STATUS_OK);
    }
    attempts_close(attempts, ATTEMPTS_DIED);
    journal_close(journal, false);
    arena_destroy(&arena);
    output_reader_close(reader);
}

/* They run once more, in smaller groups and last; one that runs alone and dies again is set aside.
 */
static void rows_that_ranks_died_of(void **state)
{
    (void)state;
    expect_code(COMMAND("run", "job.yaml", "--quiet", "--set", "output.path=model.h5"), 0);
    die_with((const int64_t[]){0, 1, 3}, 3, -1);
    die_with((const int64_t[]){0, 1, 3}, 3, -1);
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    EXPORTED(answers, "out.h5");
    assert_int_equal(unlink("out.h5"), 0);
    die_with((const int64_t[]){0, 1}, 2, -1);
    die_with((const int64_t[]){0, 1}, 2, -1);
    for (int i = 0; i < 3; i++) {
        die_with(NULL, 0, 1);
    }
    expect_code(COMMAND("run", "job.yaml"), 0);
    said("warning: line 2: ");
    said("out.h5: 6 rows (3 with errors), 5 prompt and 6 output tokens in ");
    expect_code(COMMAND("export", "out.h5", "--where", "error", "--columns", "id,row,error"), 0);
    printed("{\"id\":\"b\",\"row\":1,\"error\":\"line 2: ");
    printed("{\"id\":\"bad\",\"row\":2,");
    EXPORTED("{\"id\":\"a\",\"token_ids\":[55,55]}\n{\"id\":\"c\",\"token_ids\":[6,6]}\n"
             "{\"id\":\"twin\",\"token_ids\":[6,6]}\n",
             "out.h5", "--columns", "id,token_ids", "--where", "ok");
}

/* ---- What is said and what is left ---- */

static void starts_say_what_they_have(void **state)
{
    (void)state;
    assert_int_equal(system("gzip -k data.jsonl"), 0);
    expect_code(COMMAND("run", "job.yaml", "--set", "data.input=data.jsonl.gz", "--set",
                        "data.limit=4", "--set", "model.path=" MODEL "/", "--keep-mixed"),
                0);
    said("sluice: info: model llama (llama): computes in float32, weights float32, KV cache "
         "float32\n");
    said("sluice: info: data data.jsonl.gz, at most 4 rows\n");
    said("out.h5: 4 rows (1 with errors), 7 prompt and 7 output tokens in ");
    measured("rows", 4);
    expect_code(COMMAND("export", "out.h5", "--columns", "row,arithmetic"), 0);
    printed("{\"row\":0,\"arithmetic\":\"");
    printed("{\"row\":3,\"arithmetic\":\"");
    expect_code(COMMAND("run", "job.yaml", "--set", "data.input=[data.jsonl]", "--set",
                        "data.limit=10", "--set", "output.path=all.h5"),
                0);
    said("sluice: info: data data.jsonl, 6 rows\n");
}

static void what_others_have_left(void **state)
{
    (void)state;
    assert_int_equal(mkdir("out.h5.partial", 0777), 0);
    expect_code(COMMAND("run", "job.yaml", "--quiet", "--set", "generate.seed=3"), 1);
    assert_int_equal(rmdir("out.h5.partial"), 0);
    assert_int_equal(rename("out.h5.sluice", "left"), 0);
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    not_said("another job");
    /* Another job's rows stay, and it is said. */
    assert_int_equal(system("cp -r left out.h5.sluice"), 0);
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    said("warning: out.h5.sluice/journal: holds rows of another job: \"generate.seed: 3\" there, "
         "the default now");
    assert_true(is_there("out.h5.sluice"));
    /* An output that has all rows needs no journal, whosever it is. */
    expect_code(COMMAND("append", "out.h5"), 0);
    said("nothing is to be appended\n");
    assert_false(is_there("out.h5.sluice"));
}

/* With an argument only the tests whose names it matches. */
int main(int argc, char **argv)
{
    commands_start();
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_finished_job_stays, enter, commands_leave),
        cmocka_unit_test_setup_teardown(no_answers, enter, commands_leave),
        cmocka_unit_test_setup_teardown(kept_rows, enter, commands_leave),
        cmocka_unit_test_setup_teardown(a_bad_row_ends_it, enter, commands_leave),
        cmocka_unit_test_setup_teardown(steps_are_remembered, enter, commands_leave),
        cmocka_unit_test_setup_teardown(rows_run_again, enter, commands_leave),
        cmocka_unit_test_setup_teardown(rows_are_appended, enter, commands_leave),
        cmocka_unit_test_setup_teardown(a_last_line_that_goes_on, enter, commands_leave),
        cmocka_unit_test_setup_teardown(files_are_appended, enter, commands_leave),
        cmocka_unit_test_setup_teardown(rows_that_ranks_died_of, enter, commands_leave),
        cmocka_unit_test_setup_teardown(starts_say_what_they_have, enter, commands_leave),
        cmocka_unit_test_setup_teardown(what_others_have_left, enter, commands_leave),
    };
    return commands_end(cmocka_run_group_tests(tests, NULL, NULL));
}
