/* SPDX-License-Identifier: Apache-2.0 */
/* Whole jobs on one rank, in the test's own process: what every kind of row becomes, and what is
 * said and counted of it. */
#include "command_checks.h"

#define MODEL SLUICE_SOURCE_DIR "/data/small-model"

static const char rows[] =
    "{\"id\": \"a\", \"prompt\": \"reverse: abc\", \"stop\": [\"9\"], \"note\": {\"x\": [1, 2.5, "
    "null]}}\n"
    "{\"id\": 7, \"prompt\": \"reverse: abcd\", \"note\": \"first\"}\n"
    "{\"id\": \"twin\", \"prompt\": \"reverse: abcd\"}\n"
    "{\"prompt\": \"reverse: qwerty\", \"n\": 2, \"temperature\": 0.8, \"seed\": 5}\n"
    "{\"id\": \"chat\", \"messages\": [{\"role\": \"user\", \"content\": \"reverse: dog\"}]}\n"
    "{\"id\": \"ids\", \"prompt_token_ids\": [5, 6, 7], \"max_tokens\": 3, \"ignore_eos\": "
    "true}\n"
    "{\"id\": \"none\", \"note\": 1}\n"
    "{\"id\": \"kept\", \"prompt\": \"reverse: abc\", \"stop\": [\"9\"], "
    "\"include_stop_str_in_output\": true, \"skip_special_tokens\": false}\n"
    "{\"id\": \"special\", \"prompt\": \"reverse: abc\", \"skip_special_tokens\": false}\n"
    "{\"id\": \"bad\", \"prompt\": 5}\n"
    "{\"id\": \"top\", \"prompt\": \"reverse: no\", \"logprobs\": 2, \"max_tokens\": 2}\n"
    "{\"id\": \"form\", \"prompt\": \"reverse: no\", \"structured_outputs\": {\"choice\": "
    "[\"yes\", \"no\"]}}\n";

static const char job[] = "model: {path: \"" MODEL "\"}\n"
                          "data: {input: data.jsonl, template_time: 2026-01-02T03:04:05Z}\n"
                          "generate: {max_new_tokens: 8, temperature: 0}\n"
                          "engine: {max_sequences: 4, kv_memory: 16MiB}\n"
                          "output: {path: out.h5, include_token_ids: true, include_prompt: true, "
                          "metrics: metrics.prom}\n";

static int enter(void **state)
{
    return commands_enter_job(state, job, rows);
}

/* ---- What becomes of rows ---- */

static const char answers[] =
    "{\"id\":\"a\",\"row\":0,\"sample\":0,\"prompt\":\"reverse: "
    "abc\",\"text\":\"er\\n\",\"finish_reason\":\"stop\",\"prompt_tokens\":7,\"completion_tokens\":"
    "3,\"token_ids\":[260,201,27],\"note\":{\"x\":[1,2.5,null]}}\n"
    "{\"id\":7,\"row\":1,\"sample\":0,\"prompt\":\"reverse: "
    "abcd\",\"text\":\"\\n9\",\"finish_reason\":\"stop\",\"prompt_tokens\":8,\"completion_tokens\":"
    "3,\"token_ids\":[201,27,2],\"note\":\"first\"}\n"
    "{\"id\":\"twin\",\"row\":2,\"sample\":0,\"prompt\":\"reverse: "
    "abcd\",\"text\":\"\\n9\",\"finish_reason\":\"stop\",\"prompt_tokens\":8,\"completion_tokens\":"
    "3,\"token_ids\":[201,27,2]}\n"
    "{\"id\":\"3\",\"row\":3,\"sample\":0,\"prompt\":\"reverse: "
    "qwerty\",\"text\":\"\",\"finish_reason\":\"stop\",\"prompt_tokens\":9,\"completion_tokens\":1,"
    "\"token_ids\":[2]}\n"
    "{\"id\":\"3\",\"row\":3,\"sample\":1,\"prompt\":\"reverse: qwerty\",\"text\":\"\\n0 "
    "qawerat0\",\"finish_reason\":\"stop\",\"prompt_tokens\":9,\"completion_tokens\":8,\"token_"
    "ids\":[201,18,725,589,260,293,18,2]}\n"
    "{\"id\":\"chat\",\"row\":4,\"sample\":0,\"prompt\":\"<|im_start|>user\\nreverse: "
    "dog<|im_end|>\\n<|im_start|>assistant\\n\",\"text\":\"dog\",\"finish_reason\":\"stop\","
    "\"prompt_tokens\":13,\"completion_tokens\":3,\"token_ids\":[70,543,2]}\n"
    "{\"id\":\"ids\",\"row\":5,\"sample\":0,\"prompt\":\"\",\"text\":\", "
    "=6\",\"finish_reason\":\"length\",\"prompt_tokens\":3,\"completion_tokens\":3,\"token_ids\":["
    "14,672,24]}\n"
    "{\"id\":\"none\",\"row\":6,\"sample\":0,\"prompt\":\"\",\"text\":\"\",\"finish_reason\":"
    "\"error\",\"prompt_tokens\":0,\"completion_tokens\":0,\"error\":\"line 7: no prompt: expected "
    "one of the fields prompt, text, messages, prompt_token_ids\",\"note\":1}\n"
    "{\"id\":\"kept\",\"row\":7,\"sample\":0,\"prompt\":\"reverse: "
    "abc\",\"text\":\"er\\n9\",\"finish_reason\":\"stop\",\"prompt_tokens\":7,\"completion_"
    "tokens\":3,\"token_ids\":[260,201,27]}\n"
    "{\"id\":\"special\",\"row\":8,\"sample\":0,\"prompt\":\"reverse: "
    "abc\",\"text\":\"er\\n9\",\"finish_reason\":\"stop\",\"prompt_tokens\":7,\"completion_"
    "tokens\":4,\"token_ids\":[260,201,27,2]}\n"
    "{\"id\":\"bad\",\"row\":9,\"sample\":0,\"prompt\":\"\",\"text\":\"\",\"finish_reason\":"
    "\"error\",\"prompt_tokens\":0,\"completion_tokens\":0,\"error\":\"line 10: prompt: expected a "
    "string, a list of messages or token ids, not a number\"}\n"
    "{\"id\":\"top\",\"row\":10,\"sample\":0,\"prompt\":\"reverse: "
    "no\",\"text\":\"areare\",\"finish_reason\":\"length\",\"prompt_tokens\":5,\"completion_"
    "tokens\":2,\"token_ids\":[365,365],\"logprobs\":[-1.2107407,-0.17239323],\"top_logprob_ids\":["
    "[365,25],[365,93]],\"top_logprob_values\":[[-1.2107407,-2.169697],[-0.17239323,-3.946457]]}\n"
    "{\"id\":\"form\",\"row\":11,\"sample\":0,\"prompt\":\"reverse: "
    "no\",\"text\":\"yes\",\"valid\":true,\"finish_reason\":\"stop\",\"prompt_tokens\":5,"
    "\"completion_tokens\":1,\"token_ids\":[717]}\n";

static void every_kind_of_row(void **state)
{
    (void)state;
    setenv("SLURM_JOB_ID", "4711", 1);
    expect_code(COMMAND("run", "job.yaml"), 0);
    unsetenv("SLURM_JOB_ID");
    said("sluice: info: 1 rank on 1 host (dp 1 x tp 1 x pp 1), cpu: ");
    said("model small-model (llama): computes in float32, weights float32, KV cache float32\n");
    said("data data.jsonl, 12 rows\n");
    said("warning: 7 rows: columns taken for parameters: ");
    said("out.h5: 12 rows (2 with errors), 72 prompt and 34 output tokens in ");
    said("errors: 1 row: no prompt: expected one of the fields prompt, text, messages, "
         "prompt_token_ids (line 7); 1 row: prompt: expected a string, a list of messages or token "
         "ids, not a number (line 10)\n");
    not_said("predicted");
    not_said("slow");
    not_said("kept");
    assert_false(is_there("out.h5.sluice"));
    assert_false(is_there("out.h5.partial"));
    measured("job_running", 0);
    measured("rows", 12);
    measured("rows_done_total", 12);
    measured("rows_kept", 0);
    measured("rows_handed", 12);
    measured("error_rows_total", 2);
    measured("output_tokens_total", 34);
    measured("ranks", 1);
    expect_code(COMMAND("inspect", "out.h5", "--json"), 0);
    printed("\"template_time\":\"2026-01-02T03:04:05Z\",");
    printed("\"data_path\":\"data.jsonl\",\"data_bytes\":814,\"data_sha256\":"
            "\"a8ce654d49530ea776edba6be5c12639c5ff0cffe053228c1d7802efd23de9c7\",");
    printed("\"layout\":\"{\\\"ranks\\\":1,\\\"dp\\\":1,\\\"tp\\\":1,\\\"pp\\\":1,"
            "\\\"tp_slices\\\":8}\",\"device\":\"cpu\",\"compute_dtype\":\"float32\","
            "\"kv_dtype\":\"float32\",\"max_model_len\":1024,");
    printed("\"rows\":12,\"error_rows\":2,\"errors\":\"1 row: no prompt: expected one");
    printed("\"prompt_tokens\":72,\"output_tokens\":34,\"resumed_rows\":0,");
    printed("\"wall_output_tokens\":31,"); /* a copied answer was not computed */
    printed("\"results\":13,\"ranks\":[{");
    printed("\"rank\":0,\"dp\":0,\"tp\":0,\"pp\":0,\"rows\":12,\"prompt_tokens\":73,"
            "\"output_tokens\":31,\"steps\":");
    printed("\"preemptions\":0,");
    EXPORTED(answers, "out.h5");
}

static void some_rows_of_a_job(void **state)
{
    (void)state;
    expect_code(COMMAND("run", "job.yaml", "--set", "data.limit=3", "--set",
                        "output.path=a/b/few.h5", "--log-format=json" /* from here on */, "--set",
                        "output.metrics=a/m.prom"),
                0);
    said("\"level\":\"info\",\"message\":\"data data.jsonl, the first 3 rows\"}\n");
    said("\"rows\":3,\"error_rows\":0,\"prompt_tokens\":23,\"output_tokens\":9,\"seconds\":");
    EXPORTED("{\"row\":0,\"copied_from\":-1}\n{\"row\":1,\"copied_from\":-1}\n"
             "{\"row\":2,\"copied_from\":1}\n",
             "a/b/few.h5", "--columns", "row,copied_from");
    expect_code(COMMAND("run", "job.yaml", "--set", "data.limit=3", "--set", "output.path=own.h5",
                        "--set", "engine.copy_equal_rows=false", "--set", "data.order=file"),
                0);
    EXPORTED("{\"id\":\"a\",\"text\":\"er\\n\"}\n{\"id\":7,\"text\":\"\\n9\"}\n"
             "{\"id\":\"twin\",\"text\":\"\\n9\"}\n",
             "own.h5", "--columns", "id,text");
}

static void texts_are_scored(void **state)
{
    (void)state;
    write_file("data.jsonl", "{\"id\":\"c\",\"prompt\":\"reverse: abc\",\"completion\":\"cba\"}\n"
                             "{\"id\":\"w\",\"prompt\":\"reverse: abc\"}\n"
                             "{\"id\":\"t\",\"prompt_token_ids\":[5,6],\"completion\":\"x\"}\n"
                             "{\"id\":\"i\",\"prompt_token_ids\":[5,6,7]}\n");
    write_file("job.yaml", "model: {path: \"" MODEL "\"}\n"
                           "data: {input: data.jsonl}\n"
                           "generate: {mode: score}\n"
                           "engine: {max_sequences: 4, kv_memory: 16MiB}\n"
                           "output: {path: out.h5}\n");
    expect_code(COMMAND("run", "job.yaml", "--quiet"), 0);
    EXPORTED(
        "{\"id\":\"c\",\"row\":0,\"sample\":0,\"text\":\"cba\",\"finish_reason\":\"stop\",\"prompt_"
        "tokens\":7,\"completion_tokens\":3,\"logprob_sum\":-37.627633571624756,\"logprob_mean\":-"
        "12.542544523874918,\"is_greedy\":false,\"bytes\":3,\"bits_per_byte\":18.095066784723368,"
        "\"token_ids\":[69,68,67],\"logprobs\":[-13.019725,-16.700346,-7."
        "9075627]}\n"
        "{\"id\":\"w\",\"row\":1,\"sample\":0,\"text\":\"reverse: "
        "abc\",\"finish_reason\":\"stop\",\"prompt_tokens\":1,\"completion_tokens\":6,\"logprob_"
        "sum\":-83.792457580566406,\"logprob_mean\":-13.965409596761068,\"is_greedy\":false,"
        "\"bytes\":12,"
        "\"bits_per_byte\":10.073913584615166,\"token_ids\":[363,295,28,"
        "223,347,69],\"logprobs\":[-10.865098,-21.91463,-12.105902,-9.638164,-18.285854,-10.982809]"
        "}\n"
        "{\"id\":\"t\",\"row\":2,\"sample\":0,\"text\":\"x\",\"finish_reason\":\"stop\",\"prompt_"
        "tokens\":2,\"completion_tokens\":1,\"logprob_sum\":-7.8663663864135742,\"logprob_mean\":-"
        "7.8663663864135742,\"is_greedy\":false,\"bytes\":1,\"bits_per_byte\":11.348767775494499,"
        "\"token_ids\":[90],\"logprobs\":[-7.8663664]}\n"
        "{\"id\":\"i\",\"row\":3,\"sample\":0,\"text\":\"\",\"finish_reason\":\"stop\",\"prompt_"
        "tokens\":1,\"completion_tokens\":2,\"logprob_sum\":-24.610020637512207,\"logprob_mean\":-"
        "12.305010318756104,\"is_greedy\":false,\"token_ids\":[6,7],\"logprobs\":[-11.331505,-13."
        "278516]}\n",
        "out.h5");
    expect_code(COMMAND("check", "job.yaml", "--set", "output.path=other.h5"), 0);
    printed("data       data.jsonl: 4 rows, 0 bad\n"
            "prompts    11 tokens, the longest 7\n"
            "chat       2 rows are texts and go in as they are; the model has a chat\n"
            "           template, data.chat=always uses it\n"
            "answers    4, at most 12 tokens\n"
            "disk       24.7 kB to 65.9 kB, ");
}

static void several_files(void **state)
{
    (void)state;
    write_file("a.jsonl", "{\"id\": \"one\", \"prompt\": \"reverse: no\", \"max_tokens\": 1}\n");
    write_file("b1.jsonl",
               "{\"id\": \"two\", \"prompt\": \"reverse: no\", \"max_tokens\": 1}\n{}\n");
    write_file("b2.jsonl", "{\"id\": \"three\", \"prompt\": \"reverse: abcd\"}");
    expect_code(COMMAND("run", "job.yaml", "--set", "data.input=[a.jsonl, \"b*.jsonl\"]"), 0);
    said("data a.jsonl, b*.jsonl, 4 rows\n");
    said("errors: 1 row: no prompt: expected one of the fields prompt, text, messages, "
         "prompt_token_ids (b1.jsonl: line 2)\n");
    EXPORTED("{\"file\":\"a.jsonl\",\"row\":0,\"id\":\"one\",\"text\":\"are\"}\n"
             "{\"file\":\"b1.jsonl\",\"row\":1,\"id\":\"two\",\"text\":\"are\"}\n"
             "{\"file\":\"b1.jsonl\",\"row\":2,\"id\":\"2\",\"text\":\"\"}\n"
             "{\"file\":\"b2.jsonl\",\"row\":3,\"id\":\"three\",\"text\":\"\\n9\"}\n",
             "out.h5", "--columns", "file,row,id,text");
}

/* How many rows there are comes out while they run. */
static void packed_rows(void **state)
{
    (void)state;
    assert_int_equal(system("gzip data.jsonl"), 0);
    expect_code(COMMAND("run", "job.yaml", "--set", "data.input=data.jsonl.gz", "--set",
                        "output.strings=packed"),
                0);
    said("data data.jsonl.gz\n");
    measured("rows", 12);
    EXPORTED(answers, "out.h5");
}

/* With an argument only the tests whose names it matches. */
int main(int argc, char **argv)
{
    commands_start();
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_kind_of_row, enter, commands_leave),
        cmocka_unit_test_setup_teardown(texts_are_scored, enter, commands_leave),
        cmocka_unit_test_setup_teardown(several_files, enter, commands_leave),
        cmocka_unit_test_setup_teardown(packed_rows, enter, commands_leave),
        cmocka_unit_test_setup_teardown(some_rows_of_a_job, enter, commands_leave),
    };
    return commands_end(cmocka_run_group_tests(tests, NULL, NULL));
}
