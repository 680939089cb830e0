/* sluice bench: throughput on synthetic prompts of fixed lengths. */
#include <stdio.h>

#include "cli/cli.h"
#include "sluice/local_runner.h"

enum {
    OPTION_MODEL = 256,
    OPTION_RANDOM_WEIGHTS,
    OPTION_PROMPT_TOKENS,
    OPTION_NEW_TOKENS,
    OPTION_REQUESTS,
    OPTION_MAX_SEQUENCES,
    OPTION_MAX_BATCH_TOKENS,
    OPTION_REPEAT,
};

struct arguments {
    const char *model, *random_weights;
    int64_t prompt_tokens, new_tokens, requests, max_sequences, max_batch_tokens, repeat;
};

static const struct argp_option options[] = {
    {"model", OPTION_MODEL, "PATH", 0, "model directory or .gguf file", 0},
    {"random-weights", OPTION_RANDOM_WEIGHTS, "CONFIG", 0,
     "a config.json instead of a model: weights are random", 0},
    {"prompt-tokens", OPTION_PROMPT_TOKENS, "N", 0, "tokens a prompt (default 128)", 0},
    {"new-tokens", OPTION_NEW_TOKENS, "N", 0, "tokens generated for each (default 64)", 0},
    {"requests", OPTION_REQUESTS, "N", 0, "prompts (default 64)", 0},
    {"max-sequences", OPTION_MAX_SEQUENCES, "N", 0, "that run at once (default as for a job)", 0},
    {"max-batch-tokens", OPTION_MAX_BATCH_TOKENS, "N", 0, "a step (default as for a job)", 0},
    {"repeat", OPTION_REPEAT, "N", 0, "measure N times (default 1)", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case OPTION_MODEL:
        arguments->model = argument;
        return 0;
    case OPTION_RANDOM_WEIGHTS:
        arguments->random_weights = argument;
        return 0;
    case OPTION_PROMPT_TOKENS:
        return cli_integer("prompt-tokens", argument, 1, 1 << 24, &arguments->prompt_tokens);
    case OPTION_NEW_TOKENS:
        return cli_integer("new-tokens", argument, 1, 1 << 24, &arguments->new_tokens);
    case OPTION_REQUESTS:
        return cli_integer("requests", argument, 1, 1 << 24, &arguments->requests);
    case OPTION_MAX_SEQUENCES:
        return cli_integer("max-sequences", argument, 1, 1 << 16, &arguments->max_sequences);
    case OPTION_MAX_BATCH_TOKENS:
        return cli_integer("max-batch-tokens", argument, 1, 1 << 20, &arguments->max_batch_tokens);
    case OPTION_REPEAT:
        return cli_integer("repeat", argument, 1, 1000, &arguments->repeat);
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
    .doc = "Generates from synthetic prompts of fixed length, greedily and without stop tokens, in "
           "this process and without MPI, and prints the throughput.\vLines that start with # are "
           "for people; the others are columns with their names in the line above."};

static double rate(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static void print_phase(const char *name, const struct step_totals *phase)
{
    double milliseconds = phase->steps > 0 ? 1e3 * phase->seconds / (double)phase->steps : 0;
    printf("%-8s %8lld %10lld %10.3f %12.1f %10.3f\n", name, (long long)phase->steps,
           (long long)phase->tokens, phase->seconds, rate(phase->tokens, phase->seconds),
           milliseconds);
}

static void print_totals(const struct local_runner_totals *totals)
{
    const struct {
        const char *name;
        double seconds;
    } parts[] = {{"plan", totals->plan_seconds},
                 {"forward", totals->forward_seconds},
                 {"sample", totals->sample_seconds},
                 {"complete", totals->complete_seconds}};
    struct step_totals all = {.steps = totals->prefill.steps + totals->decode.steps,
                              .tokens = totals->prefill.tokens + totals->decode.tokens,
                              .seconds = totals->prefill.seconds + totals->decode.seconds};
    printf("\n%-8s %8s %10s %10s %12s %10s\n", "steps", "count", "tokens", "seconds", "tokens/s",
           "ms/step");
    print_phase("prefill", &totals->prefill);
    print_phase("decode", &totals->decode);
    print_phase("all", &all);
    printf("\n%-8s %10s %9s\n", "part", "seconds", "share");
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        double share = totals->seconds > 0 ? 100 * parts[i].seconds / totals->seconds : 0;
        printf("%-8s %10.3f %8.1f%%\n", parts[i].name, parts[i].seconds, share);
    }
    printf("\n%-10s %10s %10s %10s %14s %14s\n", "requests", "prompt", "output", "seconds",
           "prompt+out/s", "output/s");
    printf("%-10lld %10lld %10lld %10.3f %14.1f %14.1f\n", (long long)totals->samples,
           (long long)totals->prompt_tokens, (long long)totals->output_tokens, totals->seconds,
           rate(totals->prompt_tokens + totals->output_tokens, totals->seconds),
           rate(totals->output_tokens, totals->seconds));
}

static void print_head(const struct arguments *arguments, const struct local_runner *runner)
{
    const struct plan *plan = local_runner_plan(runner);
    char weights[32], kv[32];
    printf("# model    %s%s\n# device   %s, %s\n",
           arguments->model != NULL ? arguments->model : arguments->random_weights,
           arguments->model != NULL ? "" : " with random weights", local_runner_device(runner),
           dtype_name(plan->compute));
    printf("# memory   weights %s, KV cache %s; loaded in %.2f s\n",
           cli_size(plan->weight_bytes, weights), cli_size(plan->kv_bytes, kv),
           local_runner_load_seconds(runner));
    printf("# load     %lld requests of %lld + %lld tokens, %d at once, %d tokens a step\n",
           (long long)arguments->requests, (long long)arguments->prompt_tokens,
           (long long)arguments->new_tokens, plan->max_sequences, plan->max_batch_tokens);
}

static status measure(const struct arguments *arguments, struct local_runner *runner)
{
    print_head(arguments, runner);
    for (int64_t i = 0; i < arguments->repeat; i++) {
        struct local_runner_totals totals;
        TRY(local_runner_generate(runner, (int)arguments->requests, (int)arguments->prompt_tokens,
                                  (int)arguments->new_tokens, &totals));
        print_totals(&totals);
    }
    return STATUS_OK;
}

static status bench(const struct arguments *arguments)
{
    struct job job;
    struct local_runner *runner = NULL;
    status s = job_initialize(&job);
    if (s == STATUS_OK) {
        bool random = arguments->model == NULL;
        job.model.path = random ? arguments->random_weights : arguments->model;
        job.model.max_model_len = arguments->prompt_tokens + arguments->new_tokens;
        job.engine.max_sequences = arguments->max_sequences;
        job.engine.max_batch_tokens = arguments->max_batch_tokens;
        job.engine.prefix_cache = false; /* every prompt is computed, also when repeated */
        s = local_runner_create(&job, random, &runner);
    }
    if (s == STATUS_OK) {
        s = measure(arguments, runner);
    }
    local_runner_destroy(runner);
    job_destroy(&job);
    return s;
}

int command_bench(int argc, char **argv)
{
    struct arguments arguments = {.prompt_tokens = 128,
                                  .new_tokens = 64,
                                  .requests = 64,
                                  .max_sequences = -1,
                                  .max_batch_tokens = -1,
                                  .repeat = 1};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    return bench(&arguments) == STATUS_OK ? cli_finish_output(EXIT_DONE) : cli_fail(EXIT_FAILED);
}
