/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of forms in which families of models think and call tools. */
#include <string.h>

#include "sluice/answer.h"

static const struct reasoning_form reasoning_forms[] = {
    {"think", "<think>", "</think>", false,
     "Qwen 3, QwQ, DeepSeek-R1 and its distillates, SmolLM3, GLM 4.5, MiniMax M2"},
    {"seed", "<seed:think>", "</seed:think>", false, "Seed-OSS"},
    {"kimi", "\u25C1think\u25B7", "\u25C1/think\u25B7", false, "Kimi-VL"},
    {"magistral", "[THINK]", "[/THINK]", false, "Magistral, Ministral 3"},
    {"harmony", "<|channel|>", "<|message|>", true, "gpt-oss"},
};

static const struct tool_call_form tool_call_forms[] = {
    {.name = "harmony",
     .marker = "<|channel|>",
     .open = "",
     .call = "<|channel|>commentary to=functions.",
     .call_end = "<|call|>",
     .between = "<|start|>assistant",
     .close = "",
     .name_end = " <|constrain|>json<|message|>",
     .has_channels = true,
     .families = "gpt-oss"},
    {.name = "hermes",
     .marker = "<tool_call>",
     .not_marker = "<function=",
     .open = "",
     .call = "<tool_call>\n",
     .call_end = "\n</tool_call>",
     .between = "\n",
     .close = "",
     .arguments = "arguments",
     .families = "Qwen 2.5, Qwen 3, QwQ, Hermes 2 and 3, Granite 4"},
    {.name = "mistral_args",
     .marker = "[ARGS]",
     .open = "",
     .call = "[TOOL_CALLS]",
     .call_end = "",
     .between = "",
     .close = "",
     .name_end = "[ARGS]",
     .families = "Mistral with tokenizers from version 11 on: Magistral, Devstral, Small 3.2"},
    {.name = "mistral",
     .marker = "[TOOL_CALLS]",
     .open = "[TOOL_CALLS]",
     .call = "",
     .call_end = "",
     .between = ", ",
     .close = "",
     .arguments = "arguments",
     .is_list = true,
     .families = "Mistral 7B from 0.3 on, NeMo, Mixtral 8x22B, Small 3"},
    {.name = "deepseek",
     .marker = "<\uFF5Ctool\u2581calls\u2581begin\uFF5C>",
     .open = "<\uFF5Ctool\u2581calls\u2581begin\uFF5C>",
     .call = "<\uFF5Ctool\u2581call\u2581begin\uFF5C>function<\uFF5Ctool\u2581sep\uFF5C>",
     .call_end = "\n```<\uFF5Ctool\u2581call\u2581end\uFF5C>",
     .between = "\n",
     .close = "<\uFF5Ctool\u2581calls\u2581end\uFF5C>",
     .name_end = "\n```json\n",
     .families = "DeepSeek V3, R1"},
    {.name = "phi4",
     .marker = "<|/tool_call|>",
     .open = "<|tool_call|>",
     .call = "",
     .call_end = "",
     .between = ", ",
     .close = "<|/tool_call|>",
     .arguments = "arguments",
     .is_list = true,
     .families = "Phi-4 mini"},
    {.name = "granite",
     .marker = "<|tool_call|>",
     .open = "<|tool_call|>",
     .call = "",
     .call_end = "",
     .between = ", ",
     .close = "",
     .arguments = "arguments",
     .is_list = true,
     .families = "Granite 3"},
    {.name = "llama3_json",
     .marker = "\"parameters\": dictionary of argument name",
     .open = "",
     .call = "",
     .call_end = "",
     .between = "; ",
     .close = "",
     .arguments = "parameters",
     .families = "Llama 3.1, 3.2, 3.3"},
};

const struct reasoning_form *reasoning_form_at(size_t index)
{
    return index < COUNT_OF(reasoning_forms) ? &reasoning_forms[index] : NULL;
}

const struct reasoning_form *reasoning_form_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(reasoning_forms); i++) {
        if (strcmp(reasoning_forms[i].name, name) == 0) {
            return &reasoning_forms[i];
        }
    }
    return NULL;
}

const struct reasoning_form *reasoning_form_of(const struct tokenizer *tokenizer)
{
    for (size_t i = 0; tokenizer != NULL && i < COUNT_OF(reasoning_forms); i++) {
        if (tokenizer_token_id(tokenizer, reasoning_forms[i].begin) >= 0 &&
            tokenizer_token_id(tokenizer, reasoning_forms[i].end) >= 0) {
            return &reasoning_forms[i];
        }
    }
    return NULL;
}

const struct tool_call_form *tool_call_form_at(size_t index)
{
    return index < COUNT_OF(tool_call_forms) ? &tool_call_forms[index] : NULL;
}

const struct tool_call_form *tool_call_form_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(tool_call_forms); i++) {
        if (strcmp(tool_call_forms[i].name, name) == 0) {
            return &tool_call_forms[i];
        }
    }
    return NULL;
}

static bool contains(const char *text, size_t length, const char *part)
{
    return memmem(text, length, part, strlen(part)) != NULL;
}

const struct tool_call_form *tool_call_form_of(const char *text, size_t length)
{
    for (size_t i = 0; i < COUNT_OF(tool_call_forms); i++) {
        const struct tool_call_form *form = &tool_call_forms[i];
        if (contains(text, length, form->marker)) {
            bool is_other = form->not_marker != NULL && contains(text, length, form->not_marker);
            return is_other ? NULL : form;
        }
    }
    return NULL;
}

/* As a cell of a table, where | has to be escaped. */
static status append_code(struct buffer *out, const char *text)
{
    TRY(buffer_append_byte(out, '`'));
    for (; *text != '\0'; text++) {
        TRY(*text == '|' ? buffer_append_text(out, "\\|") : buffer_append_byte(out, *text));
    }
    return buffer_append_byte(out, '`');
}

status answer_forms_describe(struct buffer *out)
{
    TRY(buffer_append_text(out, "| `model.reasoning` | thinking between | families |\n"
                                "| --- | --- | --- |\n"));
    for (size_t i = 0; i < COUNT_OF(reasoning_forms); i++) {
        const struct reasoning_form *form = &reasoning_forms[i];
        TRY(buffer_format(out, "| `%s` | ", form->name));
        if (form->has_channels) {
            TRY(buffer_append_text(out, "messages of the channel `analysis`"));
        } else {
            TRY(append_code(out, form->begin));
            TRY(buffer_append_text(out, " and "));
            TRY(append_code(out, form->end));
        }
        TRY(buffer_format(out, " | %s |\n", form->families));
    }
    TRY(buffer_append_text(out, "\n| `model.tool_calls` | told by, in the template | families |\n"
                                "| --- | --- | --- |\n"));
    for (size_t i = 0; i < COUNT_OF(tool_call_forms); i++) {
        const struct tool_call_form *form = &tool_call_forms[i];
        TRY(buffer_format(out, "| `%s` | ", form->name));
        TRY(append_code(out, form->marker));
        TRY(buffer_format(out, " | %s |\n", form->families));
    }
    return STATUS_OK;
}
