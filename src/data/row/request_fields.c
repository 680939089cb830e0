/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a request's fields, and which values ask for nothing. */
#include "data/row/request_fields.h"

#include <stdlib.h>
#include <string.h>

#define SAME    "the same"
#define UNKNOWN "does not know it"
#define IGNORES "ignores it"
#define HONOURS "honours it"

#define PROMPT(text, vllm, says)                                                                   \
    {                                                                                              \
        .name = (text), .use = REQUEST_PROMPT, .here = (says), .in_vllm = (vllm)                   \
    }
#define PARAMETER(text, vllm)                                                                      \
    {                                                                                              \
        .name = (text), .use = REQUEST_PARAMETER, .in_vllm = (vllm)                                \
    }
#define TEMPLATE(text, kind, member, says)                                                         \
    {                                                                                              \
        .name = (text), .use = REQUEST_TEMPLATE, .type = (kind),                                   \
        .offset = offsetof(struct row, member), .here = (says), .in_vllm = SAME                    \
    }
#define BODY_MEMBER(text, kind, member, says)                                                      \
    {                                                                                              \
        .name = (text), .use = REQUEST_MEMBER, .body_only = true, .type = (kind),                  \
        .offset = offsetof(struct row, member), .here = (says), .in_vllm = HONOURS                 \
    }
#define FORM(text, vllm, says)                                                                     \
    {                                                                                              \
        .name = (text), .use = REQUEST_FORM, .here = (says), .in_vllm = (vllm)                     \
    }
/* Refused in every row, or in the body of an OpenAI line only. */
#define REFUSED(text, vllm, ...)                                                                   \
    {                                                                                              \
        .name = (text), .use = REQUEST_REFUSED, .in_vllm = (vllm), .fine = { __VA_ARGS__ }         \
    }
#define BODY_REFUSED(text, vllm, ...)                                                              \
    {                                                                                              \
        .name = (text), .use = REQUEST_REFUSED, .body_only = true, .in_vllm = (vllm), .fine = {    \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
/* As above where the value that asks for nothing is true. */
#define BODY_REFUSED_FALSE(text, vllm)                                                             \
    {                                                                                              \
        .name = (text), .use = REQUEST_REFUSED, .body_only = true, .in_vllm = (vllm),              \
        .fine = {"true"}, .asks = "false"                                                          \
    }
#define HARMLESS(text, vllm, says)                                                                 \
    {                                                                                              \
        .name = (text), .use = REQUEST_HARMLESS, .body_only = true, .here = (says),                \
        .in_vllm = (vllm)                                                                          \
    }

static const struct request_field table[] = {
    /* The prompt. */
    PROMPT("prompt", SAME, "text, or a list of token ids; also a list of messages"),
    PROMPT("text", UNKNOWN, "as prompt"),
    PROMPT("messages", SAME, "goes through the chat template"),
    PROMPT("prompt_token_ids", UNKNOWN, "token ids"),
    PROMPT("input", SAME, "as prompt, where the job embeds"),

    /* Parameters: generate.c says what each means. */
    PARAMETER("max_new_tokens", UNKNOWN),
    PARAMETER("max_tokens", SAME),
    PARAMETER("max_completion_tokens", SAME),
    PARAMETER("temperature", SAME),
    PARAMETER("top_k", SAME),
    PARAMETER("top_p", SAME),
    PARAMETER("min_p", SAME),
    PARAMETER("repetition_penalty", SAME),
    PARAMETER("presence_penalty", SAME),
    PARAMETER("frequency_penalty", SAME),
    PARAMETER("seed", SAME),
    PARAMETER("n", SAME),
    PARAMETER("stop", SAME),
    PARAMETER("stop_token_ids", SAME),
    PARAMETER("min_tokens", SAME),
    PARAMETER("allowed_token_ids", SAME),
    PARAMETER("logit_bias", SAME),
    PARAMETER("ignore_eos", SAME),
    PARAMETER("include_stop_str_in_output", SAME),
    PARAMETER("skip_special_tokens", SAME),
    PARAMETER("truncate_prompt", UNKNOWN),
    PARAMETER("truncate_prompt_tokens", SAME),
    PARAMETER("logprobs", SAME),
    PARAMETER("top_logprobs", SAME),
    PARAMETER("continue_final_message", SAME),
    PARAMETER("structured", UNKNOWN),

    /* The form of the answer: structured.c says what each means. */
    FORM("response_format", HONOURS, "`text`, `json_object` or `json_schema`"),
    FORM("structured_outputs", HONOURS,
         "one of `json`, `json_object`, `regex`, `choice`, `grammar`"),
    FORM("guided_json", "older versions honour it", "a JSON schema, or its text"),
    FORM("guided_regex", "older versions honour it", "a regular expression of the whole answer"),
    FORM("guided_choice", "older versions honour it", "a list of answers"),
    FORM("guided_grammar", "older versions honour it", "GBNF or Lark"),
    FORM("guided_decoding", "older versions honour it", "as `structured_outputs`"),
    FORM("tool_choice", HONOURS,
         "`required` or a function: calls in the form of the model's family; `none` and `auto` "
         "change nothing"),

    /* What the chat template sees besides the messages. */
    TEMPLATE("tools", JSON_ARRAY, tools, "the template's `tools`"),
    TEMPLATE("documents", JSON_ARRAY, documents, "the template's `documents`"),
    TEMPLATE("chat_template_kwargs", JSON_OBJECT, template_variables, "variables of the template"),
    TEMPLATE("reasoning_effort", JSON_STRING, reasoning_effort, "the template's variable"),
    TEMPLATE("chat_template", JSON_STRING, template_, "a template, or the name of the model's"),
    TEMPLATE("add_generation_prompt", JSON_BOOLEAN, add_generation_prompt,
             "whether an answer is invited"),

    /* What else a row may ask for. */
    BODY_MEMBER("add_special_tokens", JSON_BOOLEAN, add_special_tokens,
                "whether the tokenizer adds its special tokens; usual: to texts, not to chats"),
    BODY_MEMBER("truncation_side", JSON_STRING, truncation_side,
                "left, or right where texts are embedded; the other side is an error"),
    BODY_MEMBER("return_token_ids", JSON_BOOLEAN, return_token_ids,
                "the answer's token ids, as output.include_token_ids for all rows"),
    BODY_MEMBER("dimensions", JSON_NUMBER, dimensions,
                "the vectors' own length; another one is an error"),

    /* What would change the answer and is not built in. */
    REFUSED("guided_whitespace_pattern", "older versions honour it", NULL),
    BODY_REFUSED("bad_words", HONOURS, NULL),
    REFUSED("logits_processors", "older versions honour it", NULL),
    REFUSED("use_beam_search", HONOURS, NULL),
    REFUSED("length_penalty", "counts with beam search", "1"),
    BODY_REFUSED("early_stopping", "older versions: with beam search", NULL),
    BODY_REFUSED("best_of", "older versions honour it", NULL),
    {.name = "prompt_logprobs", .use = REQUEST_REFUSED, .asks = "0", .in_vllm = HONOURS},
    BODY_REFUSED("logprob_token_ids", HONOURS, NULL),
    BODY_REFUSED("echo", HONOURS, NULL),
    BODY_REFUSED("suffix", "an error", NULL),
    BODY_REFUSED("prompt_embeds", HONOURS, NULL),
    REFUSED("stream", "an error", NULL),
    BODY_REFUSED_FALSE("parallel_tool_calls", HONOURS),
    BODY_REFUSED("functions", IGNORES, NULL),
    BODY_REFUSED("function_call", IGNORES, "none", "auto"),
    BODY_REFUSED("modalities", IGNORES, "text"),
    BODY_REFUSED("audio", IGNORES, NULL),
    BODY_REFUSED("web_search_options", IGNORES, NULL),
    BODY_REFUSED("verbosity", IGNORES, "medium"),
    BODY_REFUSED("thinking_token_budget", HONOURS, NULL),
    BODY_REFUSED_FALSE("include_reasoning", HONOURS),
    BODY_REFUSED("watermarking", HONOURS, NULL),
    BODY_REFUSED("repetition_detection", HONOURS, NULL),
    BODY_REFUSED("vllm_xargs", "hands it to plug-ins", NULL),
    BODY_REFUSED("return_tokens_as_token_ids", HONOURS, NULL),
    BODY_REFUSED("return_prompt_text", HONOURS, NULL),
    BODY_REFUSED("encoding_format", HONOURS, "float", "base64"),
    BODY_REFUSED("embed_dtype", HONOURS, "float32"),
    BODY_REFUSED("endianness", HONOURS, "native", "little"),
    {.name = "normalize",
     .use = REQUEST_REFUSED,
     .body_only = true,
     .asks = "false",
     .in_vllm = HONOURS},
    BODY_REFUSED("input_type", UNKNOWN, NULL),
    BODY_REFUSED("instruction", UNKNOWN, NULL),
    BODY_REFUSED("prompt_name", UNKNOWN, NULL),
    /* Of other interfaces, whose lines look alike. */
    BODY_REFUSED("system", UNKNOWN, NULL),
    BODY_REFUSED("instructions", UNKNOWN, NULL),
    BODY_REFUSED("previous_response_id", UNKNOWN, NULL),
    BODY_REFUSED("max_output_tokens", UNKNOWN, NULL),
    BODY_REFUSED("stop_sequences", UNKNOWN, NULL),
    BODY_REFUSED("thinking", UNKNOWN, NULL),
    {.name = "enable_thinking",
     .use = REQUEST_REFUSED,
     .body_only = true,
     .asks = "false",
     .in_vllm = "ignores it: chat_template_kwargs has it"},
    BODY_REFUSED("reasoning", UNKNOWN, NULL),
    REFUSED("sampling_params", UNKNOWN, NULL),
    BODY_REFUSED("parameters", UNKNOWN, NULL),
    /* SGLang's, llama.cpp's, TGI's and transformers' names. */
    BODY_REFUSED("regex", UNKNOWN, NULL),
    BODY_REFUSED("ebnf", UNKNOWN, NULL),
    BODY_REFUSED("grammar", UNKNOWN, NULL),
    BODY_REFUSED("json_schema", UNKNOWN, NULL),
    BODY_REFUSED("min_new_tokens", UNKNOWN, NULL),
    BODY_REFUSED("no_stop_trim", UNKNOWN, NULL),
    BODY_REFUSED("stop_regex", UNKNOWN, NULL),
    BODY_REFUSED("lora_path", UNKNOWN, NULL),
    BODY_REFUSED("custom_logit_processor", UNKNOWN, NULL),
    BODY_REFUSED("return_hidden_states", UNKNOWN, NULL),
    BODY_REFUSED("max_length", UNKNOWN, NULL),
    BODY_REFUSED("min_length", UNKNOWN, NULL),
    BODY_REFUSED("no_repeat_ngram_size", UNKNOWN, NULL),
    BODY_REFUSED("num_beams", UNKNOWN, "1"),
    BODY_REFUSED_FALSE("do_sample", UNKNOWN),
    BODY_REFUSED("typical_p", UNKNOWN, "1"),
    BODY_REFUSED("top_a", UNKNOWN, NULL),
    BODY_REFUSED("top_n_sigma", UNKNOWN, "-1"),
    BODY_REFUSED("mirostat", UNKNOWN, NULL),
    BODY_REFUSED("dry_multiplier", UNKNOWN, NULL),
    BODY_REFUSED("xtc_probability", UNKNOWN, NULL),
    BODY_REFUSED("dynatemp_range", UNKNOWN, NULL),
    BODY_REFUSED("repeat_penalty", UNKNOWN, "1"),
    BODY_REFUSED("n_predict", UNKNOWN, "-1"),

    /* What changes no answer. */
    HARMLESS("model", "an error where it is not the server's", "this job's model answers"),
    HARMLESS("user", IGNORES, "travels on"),
    HARMLESS("metadata", IGNORES, "travels on"),
    HARMLESS("store", IGNORES, "travels on"),
    HARMLESS("service_tier", IGNORES, "travels on"),
    HARMLESS("safety_identifier", IGNORES, "travels on"),
    HARMLESS("prompt_cache_key", IGNORES, "travels on"),
    HARMLESS("prompt_cache_retention", IGNORES, "travels on"),
    HARMLESS("prediction", IGNORES, "would only be faster"),
    HARMLESS("stream_options", IGNORES, "nothing is streamed"),
    HARMLESS("stream_interval", IGNORES, "nothing is streamed"),
    HARMLESS("priority", "orders requests by it", "all rows are answered"),
    HARMLESS("request_id", "names the request", "travels on"),
    HARMLESS("session_id", "names the session", "travels on"),
    HARMLESS("rid", UNKNOWN, "travels on"),
    HARMLESS("cache_salt", "parts its prefix cache", "the cache changes no answer"),
    HARMLESS("cache_prompt", UNKNOWN, "the cache changes no answer"),
    HARMLESS("kv_transfer_params", "moves caches between servers", "there is no server"),
    HARMLESS("ec_transfer_params", "moves caches between servers", "there is no server"),
    HARMLESS("mm_processor_kwargs", HONOURS, "a prompt with media is refused"),
    HARMLESS("media_io_kwargs", HONOURS, "a prompt with media is refused"),
    HARMLESS("guided_decoding_backend", "older versions honour it", "there is one way here"),
    HARMLESS("separate_reasoning", UNKNOWN, "model.reasoning says it"),
    HARMLESS("stream_reasoning", UNKNOWN, "nothing is streamed"),
    HARMLESS("return_mm_kwargs", IGNORES, "travels on"),
    HARMLESS("return_token_offsets", IGNORES, "travels on"),
    HARMLESS("routed_experts_prompt_start", "with routed experts", "travels on"),
    HARMLESS("spaces_between_special_tokens", "with slow tokenizers", "none are added"),
    HARMLESS("extra_body", IGNORES, "its fields count as the body's"),
    HARMLESS("extra_headers", IGNORES, "of the client's"),
    HARMLESS("extra_query", IGNORES, "of the client's"),
    HARMLESS("timeout", IGNORES, "of the client's"),
};

const struct request_field *request_field_find(const char *name, size_t length)
{
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const struct request_field *request_field_at(size_t index)
{
    return index < COUNT_OF(table) ? &table[index] : NULL;
}

const char *request_use_name(enum request_use use)
{
    static const char *const names[] = {
        [REQUEST_PROMPT] = "prompt",     [REQUEST_PARAMETER] = "honoured",
        [REQUEST_TEMPLATE] = "honoured", [REQUEST_MEMBER] = "honoured",
        [REQUEST_FORM] = "honoured",     [REQUEST_REFUSED] = "refused",
        [REQUEST_HARMLESS] = "harmless",
    };
    return names[use];
}

/* ---- Values that ask for nothing ---- */

static bool is_this(const struct json *value, const char *text)
{
    double number;
    switch (value->type) {
    case JSON_STRING:
        return json_is_string(value, text);
    case JSON_BOOLEAN:
        return strcmp(text, value->boolean ? "true" : "false") == 0;
    case JSON_NUMBER: {
        char *end;
        const double wanted = strtod(text, &end);
        return *end == '\0' && json_double(value, &number) && number == wanted;
    }
    default:
        return false;
    }
}

static bool is_nothing(const struct json *value)
{
    double number;
    switch (value->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOLEAN:
        return !value->boolean;
    case JSON_NUMBER:
        return json_double(value, &number) && number == 0;
    default:
        return value->length == 0;
    }
}

static bool is_fine(const struct request_field *field, const struct json *value)
{
    for (size_t i = 0; i < COUNT_OF(field->fine) && field->fine[i] != NULL; i++) {
        if (is_this(value, field->fine[i])) {
            return true;
        }
    }
    return false;
}

bool request_field_asks_nothing(const struct request_field *field, const struct json *value)
{
    if (field->asks != NULL && is_this(value, field->asks)) {
        return false;
    }
    if (is_nothing(value) || is_fine(field, value)) {
        return true;
    }
    if (value->type == JSON_OBJECT) { /* {"type": "text"} */
        const struct json *type = json_get(value, "type");
        return type != NULL && is_fine(field, type);
    }
    if (value->type != JSON_ARRAY) {
        return false;
    }
    for (size_t i = 0; i < value->length; i++) { /* ["text"] */
        if (!is_fine(field, value->items[i])) {
            return false;
        }
    }
    return true;
}
