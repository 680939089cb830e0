/* SPDX-License-Identifier: Apache-2.0 */
/* sluice logits: token ids to logits, into an HDF5 file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "sluice/local_runner.h"
#include "sluice/matrix_file.h"

enum {
    OPTION_MODEL = 256,
    OPTION_IDS,
    OPTION_IDS_FILE,
    OPTION_DEVICE,
    OPTION_DTYPE,
    OPTION_KV_DTYPE
};
enum { IDS_FILE_MAX_BYTES = 64 << 20 };

struct logits_arguments {
    const char *model, *ids, *ids_file, *output;
    const struct backend_kind *device; /* NULL: auto */
    int dtype, kv_dtype;               /* enum weight_format and enum dtype, -1: auto */
};

static const struct argp_option options[] = {
    {"model", OPTION_MODEL, "PATH", 0, "model directory or .gguf file", 0},
    {"ids", OPTION_IDS, "LIST", 0, "token ids: 5,17,9", 0},
    {"ids-file", OPTION_IDS_FILE, "FILE", 0,
     "a text file of token ids with commas or white space between them", 0},
    {"device", OPTION_DEVICE, "auto|cpu|cuda", 0, "what computes (default cpu)", 0},
    {"dtype", OPTION_DTYPE, "auto|float32|bfloat16|float16|fp8", 0, "type of weights", 0},
    {"kv-dtype", OPTION_KV_DTYPE, "auto|float32|bfloat16|float16|fp8", 0, "of the KV cache", 0},
    {"output", 'o', "FILE", 0, "HDF5 file to write", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct logits_arguments *arguments = state->input;
    error_t error = 0;
    switch (key) {
    case OPTION_MODEL:
        arguments->model = argument;
        return 0;
    case OPTION_IDS:
        arguments->ids = argument;
        return 0;
    case OPTION_IDS_FILE:
        arguments->ids_file = argument;
        return 0;
    case OPTION_DEVICE:
        return cli_device("device", argument, &arguments->device);
    case OPTION_DTYPE:
        return cli_weight_format("dtype", argument, &arguments->dtype);
    case OPTION_KV_DTYPE:
        return cli_dtype("kv-dtype", argument, &arguments->kv_dtype);
    case 'o':
        arguments->output = argument;
        return 0;
    case ARGP_KEY_END:
        error = cli_require("--model", arguments->model);
        if (error == 0) {
            bool either = (arguments->ids == NULL) != (arguments->ids_file == NULL);
            error = cli_require("one of --ids and --ids-file", either ? "" : NULL);
        }
        return error != 0 ? error : cli_require("-o FILE", arguments->output);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .doc = "Runs the model over a list of token ids and writes the float32 dataset \"logits\" [n, "
           "vocabulary]: row i is the model's prediction after the first i + 1 ids."};

static status parse_ids(const char *text, int32_t **ids, size_t *count)
{
    size_t capacity = 0;
    for (;;) {
        text += strspn(text, ", \t\r\n");
        if (*text == '\0') {
            return STATUS_OK;
        }
        char *end;
        errno = 0;
        long id = strtol(text, &end, 10);
        if (end == text || errno != 0 || id < 0 || id > INT32_MAX ||
            strchr(", \t\r\n", *end) == NULL) {
            return status_fail(STATUS_INVALID, "expected token ids such as 5,17,9, not \"%.20s\"",
                               text);
        }
        void *items = *ids;
        status s = array_grow(&items, &capacity, *count + 1, sizeof **ids);
        *ids = items;
        TRY(s);
        (*ids)[(*count)++] = (int32_t)id;
        text = end;
    }
}

static status read_ids(const struct logits_arguments *arguments, int32_t **ids, size_t *count)
{
    if (arguments->ids != NULL) {
        return status_context(parse_ids(arguments->ids, ids, count), "--ids");
    }
    struct buffer text = {0};
    status s = file_read(arguments->ids_file, IDS_FILE_MAX_BYTES, &text);
    if (s == STATUS_OK) {
        s = status_context(parse_ids(text.data, ids, count), "%s", arguments->ids_file);
    }
    buffer_destroy(&text);
    return s;
}

static status write_rows(void *context, int64_t first, int64_t count, const float *logits)
{
    return matrix_file_write(context, first, count, logits);
}

static status write_logits(struct local_runner *runner, const int32_t *ids, size_t count,
                           const char *path)
{
    struct matrix_file *file;
    TRY(matrix_file_create(path, "logits", (int64_t)count,
                           model_config(local_runner_model(runner))->vocabulary, &file));
    status s = local_runner_logits(runner, ids, count, write_rows, file);
    if (s != STATUS_OK) {
        matrix_file_abandon(file);
        return s;
    }
    return matrix_file_finish(file);
}

/* No more context and cache than the ids need. */
static status run_model(const struct logits_arguments *arguments, const int32_t *ids, size_t count)
{
    struct job job;
    status s = job_initialize(&job);
    struct local_runner *runner = NULL;
    if (s == STATUS_OK) {
        job.model.path = arguments->model;
        job.model.max_model_len = (int64_t)count;
        job.engine.max_sequences = 64;
        job.engine.max_batch_tokens = 64;
        job.engine.device = arguments->device;
        job.model.dtype = arguments->dtype;
        job.model.kv_dtype = arguments->kv_dtype;
        s = local_runner_create(&job, &runner);
    }
    if (s == STATUS_OK) {
        s = write_logits(runner, ids, count, arguments->output);
    }
    local_runner_destroy(runner);
    job_destroy(&job);
    return s;
}

int command_logits(int argc, char **argv)
{
    struct logits_arguments arguments = {
        .device = backend_kind_host(), .dtype = -1, .kv_dtype = -1};
    int exit_status;
    if (!cli_parse(&argp, argc, argv, &arguments, &exit_status)) {
        return exit_status;
    }
    int32_t *ids = NULL;
    size_t count = 0;
    status s = read_ids(&arguments, &ids, &count);
    exit_status = EXIT_BAD_USAGE;
    if (s == STATUS_OK && count == 0) {
        s = status_fail(STATUS_INVALID, "no token ids");
    } else if (s == STATUS_OK) {
        exit_status = EXIT_FAILED;
        s = job_check_output("-o", arguments.output, arguments.model, arguments.ids_file);
    }
    if (s == STATUS_OK) {
        s = run_model(&arguments, ids, count);
    }
    free(ids);
    return s == STATUS_OK ? EXIT_DONE : cli_fail(exit_status);
}
