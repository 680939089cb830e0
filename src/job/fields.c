/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys and the one mechanism that reads, checks and writes by it. */
#include "job/fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/yaml.h"
#include "sluice/backend_kind.h"

/* What the table of weight formats has names for in jobs. */
static const struct field_choice weight_choices[] = {
    {"auto", -1},
    {"float32", WEIGHT_FLOAT32},
    {"bfloat16", WEIGHT_BFLOAT16},
    {"float16", WEIGHT_FLOAT16},
    {"fp8", WEIGHT_FP8},
    {NULL, 0},
};
static const struct field_choice cache_choices[] = {
    {"auto", -1},
    {"float32", DTYPE_FLOAT32},
    {"bfloat16", DTYPE_BFLOAT16},
    {"float16", DTYPE_FLOAT16},
    {"fp8", DTYPE_FLOAT8_E4M3},
    {NULL, 0},
};
static const struct field_choice chat_choices[] = {
    {"auto", CHAT_AUTO},
    {"always", CHAT_ALWAYS},
    {"never", CHAT_NEVER},
    {NULL, 0},
};
static const struct field_choice task_choices[] = {
    {"auto", -1},
    {"generate", TASK_GENERATE},
    {"classify", TASK_CLASSIFY},
    {"rerank", TASK_RERANK},
    {"reward", TASK_REWARD},
    {"embed", TASK_EMBED},
    {NULL, 0},
};
static const struct field_choice strings_choices[] = {
    {"variable", STRINGS_VARIABLE},
    {"packed", STRINGS_PACKED},
    {NULL, 0},
};
static const struct field_choice order_choices[] = {
    {"prefix", ORDER_PREFIX},
    {"file", ORDER_FILE},
    {NULL, 0},
};
static const struct field_choice admission_choices[] = {
    {"need", ADMIT_BY_NEED},
    {"room", ADMIT_BY_ROOM},
    {NULL, 0},
};
/* In the order of the tables in src/text/answer/forms.c. */
static const struct field_choice reasoning_choices[] = {
    {"auto", -1}, {"none", -2},     {"think", 0},   {"seed", 1},
    {"kimi", 2},  {"magistral", 3}, {"harmony", 4}, {NULL, 0},
};
static const struct field_choice tool_call_choices[] = {
    {"auto", -1},        {"none", -2},       {"harmony", 0},  {"hermes", 1},
    {"mistral_args", 2}, {"mistral", 3},     {"deepseek", 4}, {"phi4", 5},
    {"granite", 6},      {"llama3_json", 7}, {NULL, 0},
};
static const struct field_choice share_choices[] = {
    {"auto", SHARE_AUTO}, {"always", SHARE_ALWAYS}, {"never", SHARE_NEVER}, {NULL, 0}};
static const struct field_choice slice_choices[] = {
    {"auto", -1}, {"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}, {NULL, 0},
};

#define AT(member) offsetof(struct job, member)

static const struct job_field job_field_table[] = {
    {"task", "", FIELD_CHOICE, AT(task), "auto",
     "generate: tokens, generated or scored; classify: scores of labels; rerank: how well "
     "documents "
     "answer a query; reward: one value of a conversation; embed: a vector for each row; auto: "
     "what "
     "the model is made for",
     NULL, 0, 0, task_choices},
    {"model", "path", FIELD_PATH, AT(model.path), NULL,
     "the model: a directory with `config.json` and `*.safetensors`, or a `.gguf` file", NULL, 0, 0,
     NULL},
    {"model", "dtype", FIELD_CHOICE, AT(model.dtype), "auto",
     "type of the weights; auto: float32 on the CPU (16-bit checkpoints stay in 16 bits and are "
     "widened without loss), bfloat16, or the checkpoint's float16 or fp8, on a GPU; fp8 "
     "needs compute capability 8.9",
     NULL, 0, 0, weight_choices},
    {"model", "kv_dtype", FIELD_CHOICE, AT(model.kv_dtype), "auto",
     "type of cached keys and values; auto: float32 on the CPU, 16 bits on a GPU; fp8 divides them "
     "by the static scales that FP8 checkpoints have (`k_scale`, `v_scale`), where there are none "
     "by 1",
     NULL, 0, 0, cache_choices},
    {"model", "max_model_len", FIELD_INTEGER, AT(model.max_model_len), "auto",
     "tokens of prompt and answer together at most; auto: what the model was made for, or what "
     "memory holds where that is less",
     "auto", 2, INT32_MAX / 2, NULL},
    {"model", "reasoning", FIELD_CHOICE, AT(model.reasoning), "auto",
     "how answers mark what the model thought, which then stands in a column of its own and not in "
     "`text`; auto: by the markers that are tokens of the vocabulary; none: answers stay whole",
     NULL, 0, 0, reasoning_choices},
    {"model", "tool_calls", FIELD_CHOICE, AT(model.tool_calls), "auto",
     "how answers to rows with tools call them; the calls then stand in a column of their own; "
     "auto: as the chat template has it; none: answers stay whole",
     NULL, 0, 0, tool_call_choices},
    {"data", "input", FIELD_PATHS, AT(data.input), NULL,
     "the data set: `.jsonl`, `.csv`, `.tsv` (each also `.gz` or `.zst`) or `.h5`; several files "
     "of "
     "a kind as a list or as patterns with `*`, `?`, `[…]`",
     NULL, 0, 0, NULL},
    {"data", "prompt_template", FIELD_STRING, AT(data.prompt_template), "null",
     "makes prompts of columns: `\"Translate: {text}\"`; `{{` and `}}` are braces; a null or "
     "missing "
     "column is an error of its row",
     NULL, 0, 0, NULL},
    {"data", "system", FIELD_STRING, AT(data.system), "null",
     "system message before every prompt that has none of its own; text prompts then go through "
     "the "
     "chat template",
     NULL, 0, 0, NULL},
    {"data", "prompt_field", FIELD_STRING, AT(data.prompt_field), "null",
     "field with the prompt; null: `prompt`, `text`, `messages` or `prompt_token_ids`, the first "
     "that a row has",
     NULL, 0, 0, NULL},
    {"data", "completion_field", FIELD_STRING, AT(data.completion_field), "null",
     "where texts are scored (`generate.mode: score`): field with what comes after the prompt and "
     "alone is scored; null: `completion`, where a row has it",
     NULL, 0, 0, NULL},
    {"data", "id_field", FIELD_STRING, AT(data.id_field), "null",
     "field with the row's id; null: `id` or `custom_id`, else the row's index", NULL, 0, 0, NULL},
    {"data", "chat", FIELD_CHOICE, AT(data.chat), "auto",
     "always: a text prompt becomes a user message for the model's chat template; auto: only "
     "`messages` go through the template; never: `messages` are an error",
     NULL, 0, 0, chat_choices},
    {"data", "chat_template", FIELD_PATH, AT(data.chat_template), "null",
     "the chat template of rows that name none: one of the model's by its name (`default`, "
     "`tool_use`, `rag`…), or a file; null: `tool_use` for rows with tools where the model has it, "
     "else `default`",
     NULL, 0, 0, NULL},
    {"data", "template_time", FIELD_TIME, AT(data.template_time), "auto",
     "the moment that templates take for now (`strftime_now`), in UTC; auto: the job's first start",
     "auto", 0, INT64_MAX, NULL},
    {"data", "row_parameters", FIELD_BOOLEAN, AT(data.row_parameters), "true",
     "plain rows may have parameters of their own, such as `temperature` or `max_tokens`, and one "
     "warning says which columns were taken for them; false: such columns are data and travel on; "
     "bodies of OpenAI lines are requests in any case",
     NULL, 0, 0, NULL},
    {"data", "order", FIELD_CHOICE, AT(data.order), "prefix",
     "in which rows run; the output stands in input order in any case; prefix: rows that begin "
     "alike one after the other, so that the common part is computed once, and long rows early; "
     "file: as they are read",
     NULL, 0, 0, order_choices},
    {"data", "limit", FIELD_INTEGER, AT(data.limit), "all", "rows to run, from the first", "all", 0,
     INT64_MAX, NULL},
    {"data", "skip_bad_rows", FIELD_BOOLEAN, AT(data.skip_bad_rows), "true",
     "a row that cannot be run becomes a result with an error; false: it ends the job", NULL, 0, 0,
     NULL},
    {"layout", "tp", FIELD_CHOICE, AT(layout.tp), "auto",
     "tensor parallelism: ranks that share every layer; auto: 1, or the least that fits in memory; "
     "within a host as long as stages can do the rest",
     NULL, 0, 0, slice_choices},
    {"layout", "pp", FIELD_INTEGER, AT(layout.pp), "auto",
     "pipeline stages: ranks that share the layers out; auto: 1, or the least that fits in memory",
     "auto", 1, 4096, NULL},
    {"layout", "tp_slices", FIELD_CHOICE, AT(layout.tp_slices), "auto",
     "fixed parts that row-parallel sums are taken in; `tp` must divide it, and results are the "
     "same bits for every `tp` that does; auto: 8 on the CPU, 2 (or `tp` where that is more) on a "
     "GPU",
     NULL, 0, 0, slice_choices},
    {"engine", "device", FIELD_DEVICE, AT(engine.device), "auto",
     "auto: GPUs where the program was built for them and every rank finds one; ranks of a host "
     "take "
     "its GPUs in turn",
     "auto", 0, 0, NULL},
    {"engine", "max_batch_tokens", FIELD_INTEGER, AT(engine.max_batch_tokens), "auto",
     "tokens of a step at most, at least `max_sequences`; auto: 512 on the CPU, 8192 on a GPU",
     "auto", 1, 1 << 20, NULL},
    {"engine", "max_sequences", FIELD_INTEGER, AT(engine.max_sequences), "auto",
     "sequences that run at once on a replica at most; auto: 64 on the CPU, 512 on a "
     "GPU, 2048 on one of 40 GB or more",
     "auto", 1, 1 << 16, NULL},
    {"engine", "kv_block_tokens", FIELD_INTEGER, AT(engine.kv_block_tokens), "auto",
     "positions in a block of the KV cache; auto: 16", "auto", 1, 1024, NULL},
    {"engine", "kv_memory", FIELD_BYTES, AT(engine.kv_memory), "auto",
     "memory of a rank's KV cache; auto: on the CPU the less of 4 GiB and a quarter of the rank's "
     "memory, on a GPU what is left, and not more than `max_sequences` sequences of "
     "`max_model_len` can fill",
     "auto", 1 << 12, (int64_t)1 << 50, NULL},
    {"engine", "prefix_cache", FIELD_BOOLEAN, AT(engine.prefix_cache), "true",
     "prompts that start alike share the cached keys and values of the common part", NULL, 0, 0,
     NULL},
    {"engine", "copy_equal_rows", FIELD_BOOLEAN, AT(engine.copy_equal_rows), "true",
     "rows that ask the same of the model, down to the last parameter, and are under way on a "
     "replica at one time are computed once; the column `copied_from` says which are copies",
     NULL, 0, 0, NULL},
    {"engine", "admission", FIELD_CHOICE, AT(engine.admission), "need",
     "when a sequence starts beside others; need: when all that run will fit into the cache until "
     "they end, as far as lengths are known or can be told from rows that have ended; room: when "
     "its prompt fits now",
     NULL, 0, 0, admission_choices},
    {"output", "path", FIELD_PATH, AT(output.path), NULL, "the HDF5 file to write", NULL, 0, 0,
     NULL},
    {"output", "include_prompt", FIELD_BOOLEAN, AT(output.include_prompt), "false",
     "adds a column with the prompt as the model saw it", NULL, 0, 0, NULL},
    {"output", "include_token_ids", FIELD_BOOLEAN, AT(output.include_token_ids), "false",
     "adds columns with the token ids of the answers", NULL, 0, 0, NULL},
    {"output", "strings", FIELD_CHOICE, AT(output.strings), "variable",
     "how texts are stored; variable: as HDF5's strings, read as they are, not compressed; packed: "
     "as compressed bytes with offsets, a fraction of the size",
     NULL, 0, 0, strings_choices},
    {"output", "overwrite", FIELD_BOOLEAN, AT(output.overwrite), "false",
     "replaces an existing output file", NULL, 0, 0, NULL},
    {"output", "metrics", FIELD_PATH, AT(output.metrics), "null",
     "a file `NAME.prom` that says how the job stands while it runs, in the form that the textfile "
     "collector of Prometheus' node exporter reads; null: none",
     NULL, 0, 0, NULL},
    {"run", "silence_warn", FIELD_INTEGER, AT(run.silence_warn), "15",
     "seconds without a sign of life from a host until a warning names it", NULL, 1, 86400, NULL},
    {"run", "silence_limit", FIELD_INTEGER, AT(run.silence_limit), "90",
     "seconds until the job ends with status 75 and can be continued without that host; ranks "
     "that wait for a GPU's message that does not come end 10 s later; off: the job waits for "
     "ever",
     "off", 3, 86400, NULL},
    {"run", "share_reads", FIELD_CHOICE, AT(run.share_reads), "auto",
     "whether the ranks of a host read each byte of the weights once, through shared memory of "
     "up to 256 MiB, or each for itself; auto: where the files lie on a file system that hosts "
     "share "
     "(NFS, Lustre, FUSE…)",
     NULL, 0, 0, share_choices},
};

const struct job_field *job_field_at(size_t index)
{
    return index < COUNT_OF(job_field_table) ? &job_field_table[index] : NULL;
}

/* ---- Where a value lives: choices are int or int64_t, the rest has one type each ---- */

static void *field_address(const struct job_field *field, const struct job *job)
{
    return (char *)job + field->offset;
}

static bool choice_is_wide(const struct job_field *field)
{
    return field->choices == slice_choices;
}

static void store_choice(const struct job_field *field, struct job *job, int value)
{
    if (choice_is_wide(field)) {
        *(int64_t *)field_address(field, job) = value;
    } else {
        memcpy(field_address(field, job), &value, sizeof value);
    }
}

static int64_t load_choice(const struct job_field *field, const struct job *job)
{
    int value;
    memcpy(&value, field_address(field, job), sizeof value);
    return choice_is_wide(field) ? *(int64_t *)field_address(field, job) : value;
}

/* ---- Types in words ---- */

static status write_bytes(int64_t bytes, struct buffer *out)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < COUNT_OF(units)) {
        bytes /= 1024;
        unit++;
    }
    return buffer_format(out, "%lld%s", (long long)bytes, units[unit]);
}

static status write_choices(const struct job_field *field, struct buffer *out)
{
    for (const struct field_choice *choice = field->choices; choice->name != NULL; choice++) {
        bool last = choice[1].name == NULL;
        TRY(buffer_format(out, "%s%s", choice->name, last ? "" : choice[2].name ? ", " : " or "));
    }
    return STATUS_OK;
}

/* "auto, cpu or cuda" */
static status write_devices(const struct job_field *field, struct buffer *out)
{
    TRY(buffer_append_text(out, field->word));
    for (size_t i = 0; backend_kind_at(i) != NULL; i++) {
        const bool last = backend_kind_at(i + 1) == NULL;
        TRY(buffer_format(out, "%s%s", last ? " or " : ", ", backend_kind_at(i)->name));
    }
    return STATUS_OK;
}

status job_field_write_type(const struct job_field *field, struct buffer *out)
{
    switch (field->type) {
    case FIELD_STRING:
    case FIELD_PATH:
        return buffer_append_text(out, "string");
    case FIELD_PATHS:
        return buffer_append_text(out, "string or list of strings");
    case FIELD_BOOLEAN:
        return buffer_append_text(out, "true or false");
    case FIELD_TIME:
        TRY(buffer_append_text(out, "time such as 2026-01-31T12:00:00Z"));
        break;
    case FIELD_CHOICE:
        return write_choices(field, out);
    case FIELD_DEVICE:
        return write_devices(field, out);
    case FIELD_INTEGER:
        TRY(buffer_format(out, "integer of at least %lld", (long long)field->least));
        if (field->most < INT32_MAX / 2) {
            TRY(buffer_format(out, " and at most %lld", (long long)field->most));
        }
        break;
    case FIELD_BYTES:
        TRY(buffer_append_text(out, "size such as 512MiB or 4GiB, at least "));
        TRY(write_bytes(field->least, out));
        break;
    }
    return field->word != NULL ? buffer_format(out, ", or %s", field->word) : STATUS_OK;
}

static status expected(const struct job_field *field, const struct json *value)
{
    struct buffer type = {0}, found = {0};
    status s = job_field_write_type(field, &type);
    if (s == STATUS_OK) {
        s = value->type == JSON_ARRAY  ? buffer_append_text(&found, "a list")
            : value->type == JSON_NULL ? buffer_append_text(&found, "nothing")
                                       : json_write(value, &found);
    }
    if (s == STATUS_OK) {
        bool article = field->type != FIELD_BOOLEAN && field->type != FIELD_CHOICE &&
                       field->type != FIELD_DEVICE;
        bool vowel = type.data[0] == 'i';
        s = status_fail(STATUS_INVALID, "%s%s%s: expected %s%s, not %.80s", field->section,
                        field->key[0] != '\0' ? "." : "", field->key,
                        article ? vowel ? "an " : "a " : "", type.data, found.data);
    }
    buffer_destroy(&type);
    buffer_destroy(&found);
    return s;
}

/* ---- Reading ---- */

static status copy_path(struct job *job, const char *text, const char **out)
{
    struct buffer path = {0};
    status s = path_from_home(text, &path);
    if (s == STATUS_OK && (*out = arena_copy(&job->arena, path.data, path.length)) == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for the job");
    }
    buffer_destroy(&path);
    return s;
}

static status check_text(const struct job_field *field, const struct json *value)
{
    if (value->length == 0 || strlen(value->text) != value->length) {
        return status_fail(STATUS_INVALID, "%s.%s: %s", field->section, field->key,
                           value->length == 0 ? "is empty" : "holds a NUL character");
    }
    return STATUS_OK;
}

static status set_string(const struct job_field *field, struct job *job, const struct json *value)
{
    if (value->type != JSON_STRING) {
        status s = expected(field, value);
        bool quotable = value->type == JSON_NUMBER || value->type == JSON_BOOLEAN;
        return quotable ? status_fail(s, "%s; put it in quotes", status_message()) : s;
    }
    TRY(check_text(field, value));
    const char *copy = NULL;
    if (field->type == FIELD_PATH) {
        TRY(status_context(copy_path(job, value->text, &copy), "%s.%s", field->section,
                           field->key));
    } else if ((copy = arena_copy(&job->arena, value->text, value->length)) == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the job");
    }
    *(const char **)field_address(field, job) = copy;
    return STATUS_OK;
}

static status describe_paths(struct job *job, struct job_paths *paths)
{
    enum { SHOWN = 3 };
    struct buffer text = {0};
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < paths->count && i < SHOWN; i++) {
        s = buffer_format(&text, "%s%s", i > 0 ? ", " : "", paths->items[i]);
    }
    if (s == STATUS_OK && paths->count > SHOWN) {
        s = buffer_format(&text, " and %zu more", paths->count - SHOWN);
    }
    if (s == STATUS_OK && (paths->text = arena_copy(&job->arena, text.data, text.length)) == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for the job");
    }
    buffer_destroy(&text);
    return s;
}

static status set_paths(const struct job_field *field, struct job *job, const struct json *value)
{
    struct json *const one[] = {(struct json *)value};
    bool is_list = value->type == JSON_ARRAY;
    size_t count = is_list ? value->length : 1;
    const char **items = arena_allocate_array(&job->arena, count + 1, sizeof *items);
    struct job_paths paths = {.items = items, .count = count};
    if (items == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the job");
    }
    if (count == 0) {
        return status_fail(STATUS_INVALID, "%s.%s: an empty list", field->section, field->key);
    }
    for (size_t i = 0; i < count; i++) {
        const struct json *item = is_list ? value->items[i] : one[i];
        if (item->type != JSON_STRING) {
            return expected(field, item);
        }
        TRY(check_text(field, item));
        TRY(status_context(copy_path(job, item->text, &items[i]), "%s.%s", field->section,
                           field->key));
    }
    TRY(describe_paths(job, &paths));
    *(struct job_paths *)field_address(field, job) = paths;
    return STATUS_OK;
}

/* "4GiB", "1.5 GB", "1048576". */
static bool parse_bytes(const char *text, int64_t *bytes)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {
        {"", 1},     {"B", 1},    {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
        {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},     {"TiB", 0x1p40}, {"TB", 1e12},
    };
    size_t digits = strspn(text, "0123456789.");
    if (digits == 0 || digits > 20 || text[0] == '.') {
        return false;
    }
    char *end;
    double number = strtod(text, &end);
    if (end != text + digits) {
        return false;
    }
    end += strspn(end, " ");
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            double product = number * units[i].factor;
            *bytes = product < 0x1p62 ? (int64_t)product : INT64_MAX;
            return true;
        }
    }
    return false;
}

static status set_integer(const struct job_field *field, struct job *job, const struct json *value)
{
    int64_t integer = -1;
    bool is_word = field->word != NULL && json_is_string(value, field->word);
    if (!is_word) {
        bool read = field->type == FIELD_BYTES && value->type == JSON_STRING
                        ? parse_bytes(value->text, &integer)
                        : json_int64(value, &integer);
        if (!read || integer < field->least || integer > field->most) {
            return expected(field, value);
        }
    }
    *(int64_t *)field_address(field, job) = integer;
    return STATUS_OK;
}

static status set_time(const struct job_field *field, struct job *job, const struct json *value)
{
    int64_t seconds = -1;
    if (!json_is_string(value, field->word) &&
        (value->type != JSON_STRING || !clock_read_timestamp(value->text, &seconds))) {
        return expected(field, value);
    }
    *(int64_t *)field_address(field, job) = seconds;
    return STATUS_OK;
}

static status set_choice(const struct job_field *field, struct job *job, const struct json *value)
{
    bool has_text = value->type == JSON_STRING || value->type == JSON_NUMBER;
    for (const struct field_choice *choice = field->choices; choice->name != NULL; choice++) {
        if (has_text && strcmp(choice->name, value->text) == 0) {
            store_choice(field, job, choice->value);
            return STATUS_OK;
        }
    }
    return expected(field, value);
}

static status set_device(const struct job_field *field, struct job *job, const struct json *value)
{
    const struct backend_kind *kind =
        value->type == JSON_STRING ? backend_kind_find(value->text) : NULL;
    if (kind == NULL && !json_is_string(value, field->word)) {
        return expected(field, value);
    }
    *(const struct backend_kind **)field_address(field, job) = kind;
    return STATUS_OK;
}

status job_field_set(const struct job_field *field, struct job *job, const struct json *value)
{
    if (value->type == JSON_NULL) {
        return field->default_text != NULL ? job_field_set_default(field, job)
                                           : expected(field, value);
    }
    switch (field->type) {
    case FIELD_STRING:
    case FIELD_PATH:
        return set_string(field, job, value);
    case FIELD_PATHS:
        return set_paths(field, job, value);
    case FIELD_INTEGER:
    case FIELD_BYTES:
        return set_integer(field, job, value);
    case FIELD_TIME:
        return set_time(field, job, value);
    case FIELD_BOOLEAN:
        return json_bool(value, field_address(field, job)) ? STATUS_OK : expected(field, value);
    case FIELD_CHOICE:
        return set_choice(field, job, value);
    case FIELD_DEVICE:
        return set_device(field, job, value);
    }
    return status_fail(STATUS_INTERNAL, "%s.%s: a key of no known type", field->section,
                       field->key);
}

status job_field_set_default(const struct job_field *field, struct job *job)
{
    if (field->default_text == NULL || strcmp(field->default_text, "null") == 0) {
        *(const char **)field_address(field, job) = NULL; /* these are strings */
        return STATUS_OK;
    }
    const struct json *value;
    TRY(yaml_read_value(field->default_text, strlen(field->default_text), &job->arena, &value));
    return job_field_set(field, job, value);
}

bool job_field_is_set(const struct job_field *field, const struct job *job)
{
    bool is_text = field->type == FIELD_STRING || field->type == FIELD_PATH ||
                   field->type == FIELD_PATHS; /* whose text comes first */
    return !is_text || *(const char **)field_address(field, job) != NULL;
}

/* ---- Writing ---- */

static status write_paths(const struct job_paths *paths, struct buffer *out)
{
    if (paths->count == 1) {
        return yaml_write_string(paths->items[0], strlen(paths->items[0]), out);
    }
    TRY(buffer_append_text(out, paths->count == 0 ? "null" : "["));
    for (size_t i = 0; i < paths->count; i++) {
        TRY(buffer_append_text(out, i > 0 ? ", " : ""));
        TRY(yaml_write_string(paths->items[i], strlen(paths->items[i]), out));
    }
    return buffer_append_text(out, paths->count == 0 ? "" : "]");
}

status job_field_write(const struct job_field *field, const struct job *job, struct buffer *out)
{
    const void *address = field_address(field, job);
    switch (field->type) {
    case FIELD_STRING:
    case FIELD_PATH: {
        const char *text = *(const char *const *)address;
        return text != NULL ? yaml_write_string(text, strlen(text), out)
                            : buffer_append_text(out, "null");
    }
    case FIELD_PATHS:
        return write_paths(address, out);
    case FIELD_INTEGER:
    case FIELD_BYTES: {
        int64_t integer = *(const int64_t *)address;
        return integer == -1                ? buffer_append_text(out, field->word)
               : field->type == FIELD_BYTES ? write_bytes(integer, out)
                                            : buffer_format(out, "%lld", (long long)integer);
    }
    case FIELD_TIME: {
        int64_t seconds = *(const int64_t *)address;
        char text[21];
        clock_write_timestamp(seconds, text);
        return buffer_append_text(out, seconds == -1 ? field->word : text);
    }
    case FIELD_BOOLEAN:
        return buffer_append_text(out, *(const bool *)address ? "true" : "false");
    case FIELD_CHOICE:
        for (const struct field_choice *choice = field->choices; choice->name != NULL; choice++) {
            if (choice->value == load_choice(field, job)) {
                return buffer_append_text(out, choice->name);
            }
        }
        break;
    case FIELD_DEVICE: {
        const struct backend_kind *kind = *(const struct backend_kind *const *)address;
        return buffer_append_text(out, kind == NULL ? field->word : kind->name);
    }
    }
    return status_fail(STATUS_INTERNAL, "%s.%s: a value of no known name", field->section,
                       field->key);
}
