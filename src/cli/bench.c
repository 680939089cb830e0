/* SPDX-License-Identifier: Apache-2.0 */
/* sluice bench: throughput on synthetic prompts, on all ranks that MPI started. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench_report.h"
#include "cli/cli.h"
#include "sluice/run.h"

enum {
    OPTION_MODEL = 256,
    OPTION_RANDOM_WEIGHTS,
    OPTION_PROMPT_TOKENS,
    OPTION_NEW_TOKENS,
    OPTION_REQUESTS,
    OPTION_LENGTHS,
    OPTION_MAX_SEQUENCES,
    OPTION_MAX_BATCH_TOKENS,
    OPTION_KV_BLOCK_TOKENS,
    OPTION_DTYPE,
    OPTION_KV_DTYPE,
    OPTION_DEVICE,
    OPTION_TP,
    OPTION_PP,
    OPTION_TP_SLICES,
    OPTION_ADMISSION,
    OPTION_REPEAT,
    OPTION_COMPARE_ONE,
    OPTION_NO_PHASES,
    OPTION_PROFILE,
    OPTION_JSON,
};

struct bench_arguments {
    const char *model, *random_weights, *profile;
    int64_t prompt_tokens, new_tokens, requests, repeat;
    int64_t max_sequences, max_batch_tokens, kv_block_tokens, tp, pp, tp_slices;
    int dtype, kv_dtype, admission, lengths;
    const struct backend_kind *device; /* NULL: auto */
    bool compare_one, no_phases, json;
};

static const char *const lengths[] = {
    [BENCH_EQUAL] = "equal", [BENCH_SPREAD] = "spread", [BENCH_SPREAD_KNOWN] = "spread-known"};

static const struct argp_option options[] = {
    {"model", OPTION_MODEL, "PATH", 0, "model directory or .gguf file", 0},
    {"random-weights", OPTION_RANDOM_WEIGHTS, "CONFIG.json", 0,
     "a config.json instead of a model: weights are random", 0},
    {"prompt-tokens", OPTION_PROMPT_TOKENS, "N", 0, "tokens a prompt (default 128)", 0},
    {"new-tokens", OPTION_NEW_TOKENS, "N", 0, "tokens generated for each (default 64)", 0},
    {"requests", OPTION_REQUESTS, "N", 0, "prompts, over all replicas (default 64)", 0},
    {"lengths", OPTION_LENGTHS, "equal|spread|spread-known", 0,
     "equal (default), or log-normal about those as means, ten times as many at most; of spread "
     "answers the scheduler does not know the end",
     0},
    {"max-sequences", OPTION_MAX_SEQUENCES, "N", 0, "that run at once (default as for a job)", 0},
    {"max-batch-tokens", OPTION_MAX_BATCH_TOKENS, "N", 0, "a step (default as for a job)", 0},
    {"kv-block-tokens", OPTION_KV_BLOCK_TOKENS, "N", 0, "a block (default as for a job)", 0},
    {"dtype", OPTION_DTYPE, "auto|float32|bfloat16|float16|fp8", 0, "type of weights", 0},
    {"kv-dtype", OPTION_KV_DTYPE, "auto|float32|bfloat16|float16|fp8", 0, "of the KV cache", 0},
    {"device", OPTION_DEVICE, "auto|cpu|cuda", 0, "what computes (default auto)", 0},
    {"tp", OPTION_TP, "N", 0, "tensor-parallel ranks (default as for a job)", 0},
    {"pp", OPTION_PP, "N", 0, "pipeline stages (default as for a job)", 0},
    {"tp-slices", OPTION_TP_SLICES, "N", 0, "slices of sums (default as for a job)", 0},
    {"admission", OPTION_ADMISSION, "need|room", 0, "when sequences start (default as for a job)",
     0},
    {"repeat", OPTION_REPEAT, "N", 0, "measure N times; the median counts (default 1)", 0},
    {"compare-one", OPTION_COMPARE_ONE, NULL, 0,
     "first the first replica alone, for the share of linear scaling", 0},
    {"no-phases", OPTION_NO_PHASES, NULL, 0, "no steps with every operation timed", 0},
    {"profile", OPTION_PROFILE, "FILE", 0,
     "a timeline of steps, host, gaps and operations, for chrome://tracing or Perfetto", 0},
    {"json", OPTION_JSON, NULL, 0, "one JSON object instead of text", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct bench_arguments *arguments = state->input;
    const struct {
        int key;
        const char *name;
        int64_t least, most;
        int64_t *out;
    } integers[] = {
        {OPTION_PROMPT_TOKENS, "prompt-tokens", 1, 1 << 24, &arguments->prompt_tokens},
        {OPTION_NEW_TOKENS, "new-tokens", 1, 1 << 24, &arguments->new_tokens},
        {OPTION_REQUESTS, "requests", 1, 1 << 24, &arguments->requests},
        {OPTION_MAX_SEQUENCES, "max-sequences", 1, 1 << 16, &arguments->max_sequences},
        {OPTION_MAX_BATCH_TOKENS, "max-batch-tokens", 1, 1 << 20, &arguments->max_batch_tokens},
        {OPTION_KV_BLOCK_TOKENS, "kv-block-tokens", 1, 1024, &arguments->kv_block_tokens},
        {OPTION_TP, "tp", 1, MAX_SLICES, &arguments->tp},
        {OPTION_PP, "pp", 1, 1 << 10, &arguments->pp},
        {OPTION_TP_SLICES, "tp-slices", 1, MAX_SLICES, &arguments->tp_slices},
        {OPTION_REPEAT, "repeat", 1, 1000, &arguments->repeat},
    };
    for (size_t i = 0; i < COUNT_OF(integers); i++) {
        if (integers[i].key == key) {
            return cli_integer(integers[i].name, argument, integers[i].least, integers[i].most,
                               integers[i].out);
        }
    }
    switch (key) {
    case OPTION_MODEL:
        arguments->model = argument;
        return 0;
    case OPTION_RANDOM_WEIGHTS:
        arguments->random_weights = argument;
        return 0;
    case OPTION_DTYPE:
        return cli_weight_format("dtype", argument, &arguments->dtype);
    case OPTION_KV_DTYPE:
        return cli_dtype("kv-dtype", argument, &arguments->kv_dtype);
    case OPTION_DEVICE:
        return cli_device("device", argument, &arguments->device);
    case OPTION_ADMISSION:
        return cli_admission("admission", argument, &arguments->admission);
    case OPTION_LENGTHS:
        return cli_choose("lengths", argument, lengths, COUNT_OF(lengths), &arguments->lengths);
    case OPTION_COMPARE_ONE:
        arguments->compare_one = true;
        return 0;
    case OPTION_NO_PHASES:
        arguments->no_phases = true;
        return 0;
    case OPTION_PROFILE:
        arguments->profile = argument;
        return 0;
    case OPTION_JSON:
        arguments->json = true;
        return 0;
    case ARGP_KEY_END: {
        bool either = (arguments->model == NULL) != (arguments->random_weights == NULL);
        return cli_require("one of --model and --random-weights", either ? "" : NULL);
    }
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .doc = "Generates from synthetic prompts, greedily and without stop tokens, and prints the "
           "throughput, its share of what the device allows, times of steps and where they go, "
           "and memory.\vStarted alone it is one rank; `mpirun -n N sluice bench` "
           "makes it N, and each of N / (tp x pp) replicas runs its share of the requests."};

/* A power of two, as sums over ranks need it; the job file's key says the same. */
static status check_tensor_ranks(const char *name, int64_t value)
{
    return value < 0 || (value & (value - 1)) == 0
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "--%s: expected 1, 2, 4 or 8, not %lld", name,
                             (long long)value);
}

static void fill_job(const struct bench_arguments *arguments, struct job *job)
{
    job->model.path = arguments->model != NULL ? arguments->model : arguments->random_weights;
    const int64_t longest = arguments->lengths == BENCH_EQUAL ? 1 : BENCH_SPREAD_MOST;
    job->model.max_model_len = longest * (arguments->prompt_tokens + arguments->new_tokens);
    job->model.dtype = arguments->dtype;
    job->model.kv_dtype = arguments->kv_dtype;
    job->engine.device = arguments->device;
    job->engine.max_sequences = arguments->max_sequences;
    job->engine.max_batch_tokens = arguments->max_batch_tokens;
    job->engine.kv_block_tokens = arguments->kv_block_tokens;
    job->engine.admission = (enum engine_admission)arguments->admission;
    job->engine.prefix_cache = false; /* every prompt is computed, also when repeated */
    job->layout.tp = arguments->tp;
    job->layout.pp = arguments->pp;
    job->layout.tp_slices = arguments->tp_slices;
}

/* The file of --profile, which is there before anything is measured. */
static status open_profile(const char *path, int rank, FILE **out)
{
    *out = NULL;
    if (path == NULL || rank != 0) {
        return STATUS_OK;
    }
    *out = fopen(path, "wbe");
    return *out != NULL ? STATUS_OK
                        : status_fail(STATUS_IO, "--profile %s: %s", path, strerror(errno));
}

/* `text` NULL: there is nothing to write, and the file goes. */
static status close_profile(const char *path, FILE *file, const struct buffer *text)
{
    if (file == NULL) {
        return STATUS_OK;
    }
    if (text == NULL) {
        (void)fclose(file);
        (void)remove(path);
        return STATUS_OK;
    }
    bool written = fwrite(text->data, 1, text->length, file) == text->length;
    return fclose(file) == 0 && written
               ? STATUS_OK
               : status_fail(STATUS_IO, "--profile %s: %s", path, strerror(errno));
}

/* The message of a failure that all ranks share is rank 0's to print. */
static int bench_on_rank(const struct bench_arguments *arguments, int rank)
{
    struct job job;
    struct bench_report report = {0};
    const struct bench_options bench = {.random_weights = arguments->model == NULL,
                                        .prompt_tokens = (int)arguments->prompt_tokens,
                                        .new_tokens = (int)arguments->new_tokens,
                                        .requests = (int)arguments->requests,
                                        .lengths = (enum bench_lengths)arguments->lengths,
                                        .repeat = (int)arguments->repeat,
                                        .compare_one = arguments->compare_one,
                                        .phases = !arguments->no_phases,
                                        .timeline = arguments->profile != NULL};
    bool failed_alone = false;
    FILE *profile = NULL;
    status s = run_agree(job_initialize(&job));
    if (s == STATUS_OK) {
        s = run_agree(open_profile(arguments->profile, rank, &profile));
    }
    if (s == STATUS_OK) {
        fill_job(arguments, &job);
        s = bench_run(&job, &bench, &report, &failed_alone);
    }
    if (s != STATUS_OK) {
        (void)close_profile(arguments->profile, profile, NULL);
    }
    int exit_status = EXIT_DONE;
    if (s == STATUS_OK && rank == 0) {
        const struct bench_title title = {
            .model = job.model.path, .lengths = lengths[bench.lengths], .options = &bench};
        s = arguments->json ? bench_report_json(&title, &report)
                            : bench_report_print(&title, &report);
        if (s == STATUS_OK) {
            s = close_profile(arguments->profile, profile, &report.timeline);
        }
        exit_status = s == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(EXIT_FAILED);
    } else if (s != STATUS_OK) {
        exit_status = EXIT_FAILED;
        if (rank == 0 || failed_alone) {
            cli_fail(exit_status);
        }
    }
    if (failed_alone) {
        run_abort(exit_status); /* the other ranks wait in the middle of a step */
    }
    bench_report_destroy(&report);
    job_destroy(&job);
    return exit_status;
}

int command_bench(int argc, char **argv)
{
    struct bench_arguments arguments = {.prompt_tokens = 128,
                                        .new_tokens = 64,
                                        .requests = 64,
                                        .repeat = 1,
                                        .max_sequences = -1,
                                        .max_batch_tokens = -1,
                                        .kv_block_tokens = -1,
                                        .tp = -1,
                                        .pp = -1,
                                        .tp_slices = -1,
                                        .dtype = -1,
                                        .kv_dtype = -1};
    bool help_printed;
    status s = cli_parse_quietly(&argp, argc, argv, &arguments, &help_printed);
    if (help_printed) {
        return cli_finish_output(EXIT_DONE);
    }
    if (s == STATUS_OK) {
        s = check_tensor_ranks("tp", arguments.tp);
    }
    if (s == STATUS_OK) {
        s = check_tensor_ranks("tp-slices", arguments.tp_slices);
    }
    char usage[256];
    snprintf(usage, sizeof usage, "%s", s != STATUS_OK ? status_message() : "");
    int rank = 0, size;
    status started = run_start(&argc, &argv, &rank, &size);
    if (started != STATUS_OK) {
        return cli_fail_start(started, rank);
    }
    int exit_status = EXIT_BAD_USAGE;
    if (s == STATUS_OK) {
        exit_status = bench_on_rank(&arguments, rank);
    } else if (rank == 0) {
        s = status_fail(s, "%s", usage);
        cli_fail(exit_status);
    }
    run_end();
    return exit_status;
}
