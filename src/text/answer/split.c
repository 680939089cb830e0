/* SPDX-License-Identifier: Apache-2.0 */
/* Answers into parts: thinking first, then calls, the rest is text. */
#include <string.h>

#include "sluice/answer.h"
#include "text/answer/calls.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static struct text_span trim_front(struct text_span text)
{
    while (text.length > 0 && is_blank(text.data[0])) {
        text.data++;
        text.length--;
    }
    return text;
}

static struct text_span trim(struct text_span text)
{
    text = trim_front(text);
    while (text.length > 0 && is_blank(text.data[text.length - 1])) {
        text.length--;
    }
    return text;
}

static bool starts_with(struct text_span text, const char *part)
{
    size_t length = strlen(part);
    return text.length >= length && memcmp(text.data, part, length) == 0;
}

static const char *find(struct text_span text, const char *part)
{
    return memmem(text.data, text.length, part, strlen(part));
}

/* What comes from `at` on. */
static struct text_span rest_from(struct text_span text, const char *at)
{
    return (struct text_span){at, text.length - (size_t)(at - text.data)};
}

/* ---- Thinking between markers ---- */

/* An answer that ends before its thinking does is thinking alone. */
static void split_markers(const struct reasoning_form *form, bool is_thinking,
                          struct text_span whole, struct answer_parts *out)
{
    struct text_span text = trim_front(whole);
    bool begins = starts_with(text, form->begin);
    const char *end = find(text, form->end);
    out->text = whole;
    if (!begins && !is_thinking && end == NULL) {
        return;
    }
    if (begins) {
        text = rest_from(text, text.data + strlen(form->begin));
    }
    if (end == NULL) {
        out->reasoning = trim(text);
        out->text = (struct text_span){whole.data + whole.length, 0};
        return;
    }
    out->reasoning = trim((struct text_span){text.data, (size_t)(end - text.data)});
    out->text = trim_front(rest_from(text, end + strlen(form->end)));
}

/* ---- Channels ---- */

struct channel_message {
    struct text_span head, body; /* "analysis", "commentary to=functions.f <|constrain|>json" */
};

/* The next message of `text`, which goes on behind it; a text before any channel is one of the
 * channel final. */
static bool next_message(struct text_span *text, struct channel_message *out)
{
    static const char *const ends[] = {"<|end|>", "<|return|>", "<|call|>", "<|start|>"};
    const char *channel = find(*text, "<|channel|>");
    if (text->length == 0) {
        return false;
    }
    *out = (struct channel_message){.head = {"final", 5}, .body = *text};
    if (channel != NULL) {
        const char *head = channel + strlen("<|channel|>");
        const char *body = find(rest_from(*text, head), "<|message|>");
        out->head = rest_from(*text, head);
        out->body = (struct text_span){text->data + text->length, 0};
        if (body != NULL) {
            out->head.length = (size_t)(body - head);
            out->body = rest_from(*text, body + strlen("<|message|>"));
        }
    }
    const char *last = text->data + text->length, *end = last;
    size_t marker = 0;
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        const char *found = find(out->body, ends[i]);
        if (found != NULL && found < end) {
            end = found;
            marker = strlen(ends[i]);
        }
    }
    out->body.length = (size_t)(end - out->body.data);
    *text = rest_from(*text, end + marker);
    return true;
}

static status append_message(struct buffer *out, struct text_span body)
{
    if (out->length > 0 && body.length > 0) {
        TRY(buffer_append_byte(out, '\n'));
    }
    return buffer_append(out, body.data, body.length);
}

static status add_channel_call(const struct channel_message *message, struct arena *arena,
                               struct buffer *calls, bool *is_call)
{
    static const char to[] = "to=functions.";
    const char *name = find(message->head, to);
    *is_call = name != NULL;
    if (name == NULL) {
        return STATUS_OK;
    }
    struct text_span function = rest_from(message->head, name + strlen(to));
    size_t length = 0;
    while (length < function.length && !is_blank(function.data[length]) &&
           function.data[length] != '<') {
        length++;
    }
    function.length = length;
    return call_append(function, message->body, arena, calls, is_call);
}

static status keep(struct arena *arena, const struct buffer *text, struct text_span *out)
{
    out->data = arena_copy(arena, text->data != NULL ? text->data : "", text->length);
    out->length = text->length;
    return out->data != NULL ? STATUS_OK
                             : status_fail(STATUS_NO_MEMORY, "out of memory for an answer");
}

static status collect_channels(struct text_span text, bool with_calls, struct arena *arena,
                               struct buffer parts[3])
{
    struct channel_message message;
    while (next_message(&text, &message)) {
        bool is_call = false;
        if (with_calls) {
            TRY(add_channel_call(&message, arena, &parts[2], &is_call));
        }
        if (!is_call) {
            TRY(append_message(&parts[!starts_with(message.head, "analysis")], message.body));
        }
    }
    return parts[2].length > 0 ? buffer_append_byte(&parts[2], ']') : STATUS_OK;
}

static status split_channels(struct text_span text, bool with_calls, struct arena *arena,
                             struct answer_parts *out)
{
    struct buffer parts[3] = {{0}, {0}, {0}}; /* reasoning, text, calls */
    status s = collect_channels(text, with_calls, arena, parts);
    if (s == STATUS_OK && parts[0].length > 0) {
        s = keep(arena, &parts[0], &out->reasoning);
    }
    if (s == STATUS_OK) {
        s = keep(arena, &parts[1], &out->text);
    }
    if (s == STATUS_OK && parts[2].length > 0) {
        s = keep(arena, &parts[2], &out->tool_calls);
    }
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        buffer_destroy(&parts[i]);
    }
    return s;
}

/* ---- Both ---- */

status answer_split(const struct reasoning_form *reasoning, const struct tool_call_form *calls,
                    bool is_thinking, const char *text, size_t length, struct arena *arena,
                    struct answer_parts *out)
{
    const struct text_span whole = {text, length};
    *out = (struct answer_parts){.text = whole};
    bool has_channels =
        (reasoning != NULL && reasoning->has_channels) || (calls != NULL && calls->has_channels);
    if (has_channels) {
        return split_channels(whole, calls != NULL, arena, out);
    }
    if (reasoning != NULL) {
        split_markers(reasoning, is_thinking, whole, out);
    }
    return calls != NULL ? calls_take(calls, arena, &out->text, &out->tool_calls) : STATUS_OK;
}

/* ---- Tokens ---- */

bool answer_ends_with(const char *token, const struct tokenizer *tokenizer, const int32_t *prompt,
                      size_t count)
{
    const int32_t id = tokenizer_token_id(tokenizer, token);
    struct buffer text = {0};
    bool is_last = count > 0 && prompt[count - 1] == id;
    bool is_before = !is_last && count > 1 && prompt[count - 2] == id;
    if (is_before && tokenizer_token_bytes(tokenizer, prompt[count - 1], &text) == STATUS_OK) {
        const struct text_span behind = {text.data, text.length};
        is_last = trim_front(behind).length == 0;
    }
    buffer_destroy(&text);
    return is_last;
}

bool answer_is_thinking(const struct reasoning_form *form, const struct tokenizer *tokenizer,
                        const int32_t *prompt, size_t count)
{
    return form != NULL && !form->has_channels && tokenizer != NULL &&
           answer_ends_with(form->begin, tokenizer, prompt, count);
}

static bool is_in(const char *text, const char *name)
{
    return text != NULL && strstr(text, name) != NULL;
}

/* Whether a special token stands in one of the markers. */
static bool is_marker(const struct reasoning_form *reasoning, const struct tool_call_form *calls,
                      const char *name)
{
    static const char channels[] = "<|channel|><|message|><|start|><|end|><|return|><|call|>"
                                   "<|constrain|>";
    bool has_channels =
        (reasoning != NULL && reasoning->has_channels) || (calls != NULL && calls->has_channels);
    if (has_channels && is_in(channels, name)) {
        return true;
    }
    if (reasoning != NULL && (is_in(reasoning->begin, name) || is_in(reasoning->end, name))) {
        return true;
    }
    return calls != NULL && (is_in(calls->open, name) || is_in(calls->call, name) ||
                             is_in(calls->call_end, name) || is_in(calls->name_end, name) ||
                             is_in(calls->between, name) || is_in(calls->close, name));
}

status answer_decode(const struct reasoning_form *reasoning, const struct tool_call_form *calls,
                     const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                     struct buffer *out)
{
    size_t start = 0;
    for (size_t i = 0; i <= count; i++) {
        const char *name = i < count && tokenizer_is_special(tokenizer, ids[i])
                               ? tokenizer_token(tokenizer, ids[i])
                               : NULL;
        bool is_kept = name != NULL && is_marker(reasoning, calls, name);
        if (i == count || is_kept) {
            TRY(tokenizer_decode(tokenizer, ids + start, i - start, true, out));
            start = i + 1;
        }
        if (is_kept) {
            TRY(buffer_append_text(out, name));
        }
    }
    return STATUS_OK;
}

bool answer_needs_special(const struct reasoning_form *reasoning,
                          const struct tool_call_form *calls, const struct tokenizer *tokenizer)
{
    const size_t count = tokenizer_vocabulary_size(tokenizer);
    for (size_t id = 0; id < count; id++) {
        const char *name = tokenizer_is_special(tokenizer, (int32_t)id)
                               ? tokenizer_token(tokenizer, (int32_t)id)
                               : NULL;
        if (name != NULL && is_marker(reasoning, calls, name)) {
            return true;
        }
    }
    return false;
}
