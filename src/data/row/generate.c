/* SPDX-License-Identifier: Apache-2.0 */
/* Generation parameters: the one table of names, ranges, defaults and meanings. */
#include "data/row/generate_fields.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/row/structured.h"
#include "sluice/task.h"

enum field_kind {
    FIELD_JOB_WORD, /* of the whole job: one of the two words in `type`, an enum from 0 */
    FIELD_INTEGER,
    FIELD_NUMBER,
    FIELD_SEED,
    FIELD_BOOLEAN,
    FIELD_OPPOSITE, /* a boolean that is stored negated */
    FIELD_STOP_STRINGS,
    FIELD_STOP_IDS,
    FIELD_ALLOWED_IDS,
    FIELD_LOGIT_BIAS,
    FIELD_STRUCTURED,
    FIELD_LOGPROBS,
    FIELD_TOP_LOGPROBS,
};

struct generate_field {
    const char *names[4]; /* the first is ours, the others are what OpenAI's API calls it */
    enum field_kind kind;
    size_t offset;    /* of an int, double or bool in generate_params */
    const char *type; /* for documentation; what stands behind " in " is also what is checked */
    const char *default_text; /* JSON; a word without quotes */
    const char *meaning;
    unsigned works; /* bits of the works of tasks that look at it */
};

enum {
    BY_SAMPLING = 1 << WORK_SAMPLE,
    BY_TOKENS = BY_SAMPLING | 1 << WORK_READ,
    BY_ALL = BY_TOKENS | 1 << WORK_POOL,
};

#define AT(member) offsetof(struct generate_params, member)

static const struct generate_field generate_field_table[] = {
    {{"mode"},
     FIELD_JOB_WORD,
     AT(task),
     "generate or score",
     "generate",
     "score: nothing is generated; the row's `completion`, or its whole text where it has none, "
     "gets "
     "the log-probability of each of its tokens",
     BY_ALL},
    {{"defaults"},
     FIELD_JOB_WORD,
     AT(defaults),
     "model or none",
     "model",
     "model: what neither job nor row sets of `temperature`, `top_k`, `top_p`, `min_p`, "
     "`repetition_penalty` and `max_new_tokens` is taken from the model's generation_config.json "
     "where it says so, with a line at the start; none: from this table",
     BY_ALL},
    {{"max_new_tokens", "max_tokens", "max_completion_tokens"},
     FIELD_INTEGER,
     AT(max_new_tokens),
     "integer in [1, 1000000000]",
     "256",
     "tokens generated at most; also max_tokens, max_completion_tokens",
     BY_ALL},
    {{"temperature"},
     FIELD_NUMBER,
     AT(sampling.temperature),
     "number in [0, 100]",
     "1",
     "divides the logits before sampling; 0 takes the most likely token",
     BY_SAMPLING},
    {{"top_k"},
     FIELD_INTEGER,
     AT(sampling.top_k),
     "integer in [-1, 1000000000]",
     "0",
     "samples among the k most likely tokens; 0 or -1 is off",
     BY_SAMPLING},
    {{"top_p"},
     FIELD_NUMBER,
     AT(sampling.top_p),
     "number in (0, 1]",
     "1",
     "samples among the fewest tokens that together have this probability; 1 is off",
     BY_SAMPLING},
    {{"min_p"},
     FIELD_NUMBER,
     AT(sampling.min_p),
     "number in [0, 1]",
     "0",
     "drops tokens less likely than this share of the most likely one; 0 is off",
     BY_SAMPLING},
    {{"repetition_penalty"},
     FIELD_NUMBER,
     AT(sampling.repetition_penalty),
     "number in (0, 100]",
     "1",
     "weakens tokens that the prompt or the output holds; 1 is off",
     BY_SAMPLING},
    {{"presence_penalty"},
     FIELD_NUMBER,
     AT(sampling.presence_penalty),
     "number in [-2, 2]",
     "0",
     "taken from the logit of every token that the output holds; 0 is off",
     BY_SAMPLING},
    {{"frequency_penalty"},
     FIELD_NUMBER,
     AT(sampling.frequency_penalty),
     "number in [-2, 2]",
     "0",
     "taken from a token's logit once for each time the output holds it; 0 is off",
     BY_SAMPLING},
    {{"seed"},
     FIELD_SEED,
     AT(sampling.seed),
     "integer in [-9223372036854775808, 18446744073709551615]",
     "0",
     "of the random numbers: a row's own counts alone, wherever the row stands; the job's counts "
     "together with the row's id and prompt, or its number where it has no id; a negative one "
     "counts "
     "modulo 2^64",
     BY_SAMPLING},
    {{"n"},
     FIELD_INTEGER,
     AT(samples),
     "integer in [1, 1024]",
     "1",
     "answers to each prompt",
     BY_ALL},
    {{"stop"},
     FIELD_STOP_STRINGS,
     0,
     "string or list of at most 16 strings of at most 256 bytes",
     "[]",
     "ends a sample before the first of these strings",
     BY_SAMPLING},
    {{"stop_token_ids"},
     FIELD_STOP_IDS,
     0,
     "list of at most 64 token ids",
     "[]",
     "ends a sample with the first of these tokens",
     BY_SAMPLING},
    {{"min_tokens"},
     FIELD_INTEGER,
     AT(min_tokens),
     "integer in [0, 1000000000]",
     "0",
     "tokens generated at least: until then no end token and none of stop_token_ids is drawn, and "
     "stop strings do not count; at most max_new_tokens",
     BY_SAMPLING},
    {{"allowed_token_ids"},
     FIELD_ALLOWED_IDS,
     0,
     "list of at least one token id",
     "null",
     "only these tokens are drawn",
     BY_SAMPLING},
    {{"logit_bias"},
     FIELD_LOGIT_BIAS,
     0,
     "map of at most 1024 token ids to numbers in [-100, 100]",
     "{}",
     "added to the tokens' logits before penalties and temperature",
     BY_SAMPLING},
    {{"structured"},
     FIELD_STRUCTURED,
     0,
     "map",
     "{}",
     "the form that answers must have: one of `json_schema`, `json_object`, `regex`, `choice`, "
     "`grammar`, and settings (docs/structured-output.md)",
     BY_SAMPLING},
    {{"ignore_eos"},
     FIELD_BOOLEAN,
     AT(ignore_eos),
     "boolean",
     "false",
     "the model's end tokens do not end a sample",
     BY_SAMPLING},
    {{"include_stop_str_in_output"},
     FIELD_BOOLEAN,
     AT(include_stop),
     "boolean",
     "false",
     "the text keeps the stop string that ended it, and the text of a token that did (of a special "
     "one where skip_special_tokens is false)",
     BY_SAMPLING},
    {{"skip_special_tokens"},
     FIELD_OPPOSITE,
     AT(keep_special_tokens),
     "boolean",
     "true",
     "special tokens give no text; false: they give their names",
     BY_ALL},
    {{"truncate_prompt", "truncate_prompt_tokens"},
     FIELD_INTEGER,
     AT(truncate_prompt),
     "integer in [-1, 1000000000]",
     "0",
     "keeps the last k tokens of a longer prompt (where texts are embedded the first; what the "
     "tokenizer puts around a text stays); -1: as many as leave room for max_new_tokens; 0: a "
     "prompt that is too long is an error; also truncate_prompt_tokens",
     BY_ALL},
    {{"logprobs"},
     FIELD_LOGPROBS,
     AT(sampling.logprobs),
     "boolean or integer in [0, 20]",
     "false",
     "log-probability of each generated token; a number k above 0: also of the k most likely",
     BY_TOKENS},
    {{"continue_final_message"},
     FIELD_BOOLEAN,
     AT(continue_final_message),
     "boolean",
     "false",
     "the prompt of a conversation ends with the last message's own text, and the answer goes on "
     "from there",
     BY_ALL},
    {{"top_logprobs"},
     FIELD_TOP_LOGPROBS,
     AT(sampling.logprobs),
     "integer in [0, 20]",
     "0",
     "log-probabilities of the k most likely tokens at each position",
     BY_TOKENS},
};

static const struct generate_field *field_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(generate_field_table); i++) {
        const struct generate_field *field = &generate_field_table[i];
        for (size_t j = 0; j < COUNT_OF(field->names) && field->names[j] != NULL; j++) {
            if (strcmp(field->names[j], name) == 0) {
                return field;
            }
        }
    }
    return NULL;
}

bool generate_name_known(const char *name)
{
    const struct generate_field *field = field_find(name);
    return field != NULL && field->kind != FIELD_JOB_WORD; /* a row's own "mode" travels on */
}

const char *generate_key(const char *name)
{
    const struct generate_field *field = field_find(name);
    return field != NULL ? field->names[0] : NULL;
}

bool generate_is_used(const char *name, enum task task)
{
    const struct generate_field *field = field_find(name);
    return field == NULL || field->works == 0 || (field->works >> task_facts(task)->work & 1) != 0;
}

const char *generate_name_at(size_t index)
{
    for (size_t i = 0; i < COUNT_OF(generate_field_table); i++) {
        const struct generate_field *field = &generate_field_table[i];
        for (size_t j = 0; j < COUNT_OF(field->names) && field->names[j] != NULL; j++) {
            if (field->kind != FIELD_JOB_WORD && index-- == 0) {
                return field->names[j];
            }
        }
    }
    return NULL;
}

/* The interval of a field as text, "(0, 1]". */
static const char *field_range(const struct generate_field *field)
{
    const char *found = strstr(field->type, " in ");
    return found != NULL ? found + strlen(" in ") : "";
}

static status expected(const char *name, const char *what, const struct json *value)
{
    if (value->type == JSON_NUMBER) {
        return status_fail(STATUS_INVALID, "%s: expected %s, not %.40s", name, what, value->text);
    }
    return status_fail(STATUS_INVALID, "%s: expected %s, not %s", name, what, json_kind(value));
}

static status check_range(const struct generate_field *field, const char *name,
                          const struct json *value, double number)
{
    const char *range = field_range(field);
    char *after;
    double least = strtod(range + 1, &after);
    double most = strtod(after + 1, &after);
    bool holds = (range[0] == '[' ? number >= least : number > least) &&
                 (*after == ']' ? number <= most : number < most);
    if (!holds) {
        return status_fail(STATUS_INVALID, "%s: %.40s is not in %s", name, value->text, range);
    }
    return STATUS_OK;
}

static status read_number(const struct generate_field *field, const char *name,
                          const struct json *value, double *out)
{
    if (value->type != JSON_NUMBER) {
        return expected(name, "a number", value);
    }
    if (!json_double(value, out)) { /* past what a double can hold */
        *out = value->text[0] == '-' ? -INFINITY : INFINITY;
    }
    return check_range(field, name, value, *out);
}

static status read_integer(const struct generate_field *field, const char *name,
                           const struct json *value, int *out)
{
    double number;
    int64_t integer;
    if (value->type != JSON_NUMBER || (json_double(value, &number) && number != floor(number))) {
        return expected(name, "an integer", value);
    }
    TRY(read_number(field, name, value, &number));
    if (!json_int64(value, &integer) || integer < INT_MIN || integer > INT_MAX) {
        return expected(name, "an integer", value);
    }
    *out = (int)integer;
    return STATUS_OK;
}

/* All 64 bits count, which neither a double nor an int64 can hold. */
static status read_seed(const struct generate_field *field, const char *name,
                        const struct json *value, uint64_t *out)
{
    int64_t integer;
    if (value->type != JSON_NUMBER) {
        return expected(name, "an integer", value);
    }
    if (json_int64(value, &integer)) {
        *out = (uint64_t)integer;
        return STATUS_OK;
    }
    double number;
    if (json_double(value, &number) && number != floor(number)) {
        return expected(name, "an integer", value);
    }
    uint64_t seed = 0;
    for (const char *digit = value->text; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9' || __builtin_mul_overflow(seed, 10u, &seed) ||
            __builtin_add_overflow(seed, (uint64_t)(*digit - '0'), &seed)) {
            return status_fail(STATUS_INVALID, "%s: %.40s is not in %s", name, value->text,
                               field_range(field));
        }
    }
    *out = seed;
    return STATUS_OK;
}

static status read_stop_string(const char *name, const struct json *value, struct arena *arena,
                               const char **out)
{
    if (value->type != JSON_STRING) {
        return expected(name, "a string or a list of strings", value);
    }
    if (value->length == 0) {
        return status_fail(STATUS_INVALID, "%s: an empty string would end every sample at once",
                           name);
    }
    if (value->length > GENERATE_MAX_STOP_BYTES) {
        return status_fail(STATUS_INVALID, "%s: a string of %zu bytes; at most %d are allowed",
                           name, value->length, GENERATE_MAX_STOP_BYTES);
    }
    if (strlen(value->text) != value->length) {
        return status_fail(STATUS_INVALID, "%s: a string with a NUL character", name);
    }
    *out = arena_copy(arena, value->text, value->length);
    return *out != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory for %s", name);
}

static status read_stop_strings(const char *name, const struct json *value, struct arena *arena,
                                struct generate_params *params)
{
    const char *stop[GENERATE_MAX_STOPS] = {NULL};
    size_t count = 0;
    if (value->type == JSON_ARRAY) {
        count = value->length;
        if (count > GENERATE_MAX_STOPS) {
            return status_fail(STATUS_INVALID, "%s: %zu strings; at most %d are allowed", name,
                               count, GENERATE_MAX_STOPS);
        }
        for (size_t i = 0; i < count; i++) {
            TRY(read_stop_string(name, value->items[i], arena, &stop[i]));
        }
    } else {
        count = 1;
        TRY(read_stop_string(name, value, arena, &stop[0]));
    }
    memcpy(params->stop, stop, sizeof stop);
    params->stop_count = (int)count;
    return STATUS_OK;
}

static status read_stop_ids(const char *name, const struct json *value,
                            struct generate_params *params)
{
    if (value->type != JSON_ARRAY) {
        return expected(name, "a list of token ids", value);
    }
    if (value->length > GENERATE_MAX_STOP_IDS) {
        return status_fail(STATUS_INVALID, "%s: %zu ids; at most %d are allowed", name,
                           value->length, GENERATE_MAX_STOP_IDS);
    }
    int32_t ids[GENERATE_MAX_STOP_IDS] = {0};
    for (size_t i = 0; i < value->length; i++) {
        int64_t id;
        if (!json_int64(value->items[i], &id) || id < 0 || id > INT32_MAX) {
            return expected(name, "token ids of at least 0", value->items[i]);
        }
        ids[i] = (int32_t)id;
    }
    memcpy(params->stop_ids, ids, sizeof ids);
    params->stop_id_count = (int)value->length;
    return STATUS_OK;
}

static status read_allowed_ids(const char *name, const struct json *value, struct arena *arena,
                               struct generate_params *params)
{
    if (value->type != JSON_ARRAY) {
        return expected(name, "a list of token ids", value);
    }
    if (value->length == 0) {
        return status_fail(STATUS_INVALID, "%s: an empty list leaves no token to draw; null is off",
                           name);
    }
    int32_t *ids = arena_allocate_array(arena, value->length, sizeof *ids);
    if (ids == NULL || value->length > INT_MAX) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %s", name);
    }
    for (size_t i = 0; i < value->length; i++) {
        int64_t id;
        if (!json_int64(value->items[i], &id) || id < 0 || id > INT32_MAX) {
            return expected(name, "token ids of at least 0", value->items[i]);
        }
        ids[i] = (int32_t)id;
    }
    params->allowed_ids = ids;
    params->allowed_id_count = (int)value->length;
    return STATUS_OK;
}

/* The id that a member's name is: digits. */
static status read_bias_id(const char *name, const struct json_member *member, int32_t *out)
{
    int64_t id = 0;
    size_t length = member->key_length;
    bool is_id = length > 0 && length <= 10 && strspn(member->key, "0123456789") == length;
    for (size_t i = 0; is_id && i < length; i++) {
        id = 10 * id + (member->key[i] - '0');
    }
    if (!is_id || id > INT32_MAX) {
        return status_fail(STATUS_INVALID, "%s: expected token ids as names, not \"%.40s\"", name,
                           member->key);
    }
    *out = (int32_t)id;
    return STATUS_OK;
}

static int compare_biases(const void *a, const void *b)
{
    const struct logit_bias *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static status read_logit_bias(const struct generate_field *field, const char *name,
                              const struct json *value, struct arena *arena,
                              struct generate_params *params)
{
    if (value->type != JSON_OBJECT) {
        return expected(name, "a map of token ids to numbers", value);
    }
    if (value->length > GENERATE_MAX_BIASES) {
        return status_fail(STATUS_INVALID, "%s: %zu tokens; at most %d are allowed", name,
                           value->length, GENERATE_MAX_BIASES);
    }
    struct logit_bias *biases = NULL;
    if (value->length > 0) {
        biases = arena_allocate_array(arena, value->length, sizeof *biases);
        if (biases == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for %s", name);
        }
    }
    for (size_t i = 0; i < value->length; i++) {
        double number;
        TRY(read_bias_id(name, &value->members[i], &biases[i].id));
        TRY(read_number(field, name, value->members[i].value, &number));
        biases[i].bias = (float)number;
    }
    if (biases != NULL) {
        qsort(biases, value->length, sizeof *biases, compare_biases);
    }
    for (size_t i = 1; i < value->length; i++) {
        if (biases[i].id == biases[i - 1].id) {
            return status_fail(STATUS_INVALID, "%s: token %d is there twice", name,
                               (int)biases[i].id);
        }
    }
    params->biases = biases;
    params->bias_count = (int)value->length;
    return STATUS_OK;
}

/* One of the two words of the field's type: its place there is the enum's value. */
static status read_word(const struct generate_field *field, const char *name,
                        const struct json *value, void *out)
{
    const char *text = json_string(value);
    const char *between = strstr(field->type, " or ");
    size_t first = (size_t)(between - field->type);
    if (text == NULL) {
        return expected(name, field->type, value);
    }
    int word = strlen(text) == first && strncmp(text, field->type, first) == 0 ? 0
               : strcmp(text, between + strlen(" or ")) == 0                   ? 1
                                                                               : -1;
    if (word < 0) {
        return status_fail(STATUS_INVALID, "%s: expected %s, not %.40s", name, field->type, text);
    }
    memcpy(out, &word, sizeof word);
    return STATUS_OK;
}

static status field_set(const struct generate_field *field, const char *name,
                        const struct json *value, struct arena *arena,
                        struct generate_params *params)
{
    void *target = (char *)params + field->offset;
    int integer;
    switch (field->kind) {
    case FIELD_JOB_WORD:
        return read_word(field, name, value, target);
    case FIELD_INTEGER:
        TRY(read_integer(field, name, value, &integer));
        if (target == &params->sampling.top_k && integer == -1) {
            integer = 0; /* as vLLM writes "off" */
        }
        *(int *)target = integer;
        return STATUS_OK;
    case FIELD_NUMBER:
        return read_number(field, name, value, target);
    case FIELD_SEED:
        params->seed_is_own = true;
        return read_seed(field, name, value, target);
    case FIELD_BOOLEAN:
        return json_bool(value, target) ? STATUS_OK : expected(name, "a boolean", value);
    case FIELD_OPPOSITE: {
        bool boolean;
        if (!json_bool(value, &boolean)) {
            return expected(name, "a boolean", value);
        }
        *(bool *)target = !boolean;
        return STATUS_OK;
    }
    case FIELD_STOP_STRINGS:
        return read_stop_strings(name, value, arena, params);
    case FIELD_STOP_IDS:
        return read_stop_ids(name, value, params);
    case FIELD_ALLOWED_IDS:
        return read_allowed_ids(name, value, arena, params);
    case FIELD_LOGIT_BIAS:
        return read_logit_bias(field, name, value, arena, params);
    case FIELD_STRUCTURED:
        return structured_set(&params->structured, value, arena);
    case FIELD_LOGPROBS:
        if (value->type == JSON_BOOLEAN) {
            /* true leaves a larger wish, of the job or of top_logprobs, as it is. */
            if (!value->boolean || params->sampling.logprobs < 0) {
                params->sampling.logprobs = value->boolean ? 0 : -1;
            }
            return STATUS_OK;
        }
        if (value->type != JSON_NUMBER) {
            return expected(name, "a boolean or an integer", value);
        }
        return read_integer(field, name, value, &params->sampling.logprobs);
    case FIELD_TOP_LOGPROBS:
        TRY(read_integer(field, name, value, &integer));
        if (integer > 0 || params->sampling.logprobs > 0) {
            params->sampling.logprobs = integer;
        }
        return STATUS_OK;
    }
    return status_fail(STATUS_INTERNAL, "%s: a parameter of no known kind", name);
}

status generate_params_set(struct generate_params *params, const char *name,
                           const struct json *value, struct arena *arena, bool *known)
{
    const struct generate_field *field = field_find(name);
    *known = field != NULL;
    if (field == NULL || value->type == JSON_NULL) { /* null: as if it were not there */
        return STATUS_OK;
    }
    return field_set(field, name, value, arena, params);
}

void generate_params_defaults(struct generate_params *params)
{
    *params = (struct generate_params){.sampling.logprobs = -1,
                                       .structured.compile_limit = STRUCTURED_COMPILE_LIMIT};
    for (size_t i = 0; i < COUNT_OF(generate_field_table); i++) {
        const struct generate_field *field = &generate_field_table[i];
        const char *text = field->default_text;
        if (strcmp(text, "null") == 0) {
            continue; /* nothing, which is what is there */
        }
        bool is_true = strcmp(text, "true") == 0;
        bool is_boolean = is_true || strcmp(text, "false") == 0;
        struct json value = {.boolean = is_true,
                             .type = text[0] == '['                  ? JSON_ARRAY
                                     : text[0] == '{'                ? JSON_OBJECT
                                     : is_boolean                    ? JSON_BOOLEAN
                                     : strchr("0123456789", text[0]) ? JSON_NUMBER
                                                                     : JSON_STRING};
        if (value.type == JSON_NUMBER || value.type == JSON_STRING) {
            value.text = text;
            value.length = strlen(text);
        }
        /* The table's own defaults are in range: generate_test says so. */
        status s = field_set(field, field->names[0], &value, NULL, params);
        (void)s;
    }
}

bool generate_field_describe(size_t index, const char **name, const char **type,
                             const char **default_text, const char **meaning)
{
    if (index >= COUNT_OF(generate_field_table)) {
        return false;
    }
    const struct generate_field *field = &generate_field_table[index];
    *name = field->names[0];
    *type = field->type;
    *default_text = field->default_text;
    *meaning = field->meaning;
    return true;
}

const char *finish_reason_name(enum finish_reason reason)
{
    static const char *const names[] = {
        [FINISH_STOP] = "stop", [FINISH_LENGTH] = "length", [FINISH_ERROR] = "error"};
    return (unsigned)reason < COUNT_OF(names) ? names[reason] : "unknown";
}
