/* SPDX-License-Identifier: Apache-2.0 */
/* What a model's answer is made of: what it thought, what it says, which tools it calls. Families
 * write this in forms of their own; two tables say how. */
#ifndef SLUICE_ANSWER_H
#define SLUICE_ANSWER_H

#include "sluice/base.h"
#include "sluice/json.h"
#include "sluice/tokenizer.h"

/* ---- Forms: src/text/answer/forms.c ---- */

/* Thinking stands between two markers before the answer; each is one token of the vocabulary. */
struct reasoning_form {
    const char *name, *begin, *end;
    bool has_channels; /* gpt-oss: every part of an answer is a message of a channel */
    const char *families;
};

/* A call is, from left to right: `open` once before all calls, then for each `call`, the name up to
 * `name_end`, the JSON, `call_end`; `between` two of them; and `close`. */
struct tool_call_form {
    const char *name;
    const char *marker;     /* the model's chat template has it */
    const char *not_marker; /* and does not have this; NULL */
    const char *open, *call, *call_end, *between, *close;
    const char *name_end;  /* NULL: the JSON is an object of "name" and arguments */
    const char *arguments; /* the key of the arguments, where name_end is NULL */
    bool is_list;          /* of such objects */
    bool has_channels;     /* as in struct reasoning_form */
    const char *families;
};

/* By index: NULL past the end. By name: NULL for another. */
const struct reasoning_form *reasoning_form_at(size_t index);
const struct reasoning_form *reasoning_form_find(const char *name);
/* The form whose markers the vocabulary has, NULL for none. */
const struct reasoning_form *reasoning_form_of(const struct tokenizer *tokenizer);

const struct tool_call_form *tool_call_form_at(size_t index);
const struct tool_call_form *tool_call_form_find(const char *name);
/* The form that a chat template's text is written for, NULL for none. */
const struct tool_call_form *tool_call_form_of(const char *text, size_t length);

/* Appends both tables in Markdown: what `sluice help answers` prints and docs/chat.md holds. */
status answer_forms_describe(struct buffer *out) MUST_CHECK;

/* ---- Answers: src/text/answer/split.c ---- */

struct answer_parts {
    struct text_span reasoning; /* data NULL: none */
    struct text_span text;
    /* A JSON list of {"name", "arguments"}, the arguments as the text of an object; data NULL: no
     * calls. */
    struct text_span tool_calls;
};

/* Parts of an answer's text, in which special tokens that are markers stand by their names. Either
 * form may be NULL. `is_thinking`: the prompt ended within the thinking. What is no call as the
 * form has them stays text. Parts point into `text` or live in the arena. */
status answer_split(const struct reasoning_form *reasoning, const struct tool_call_form *calls,
                    bool is_thinking, const char *text, size_t length, struct arena *arena,
                    struct answer_parts *out) MUST_CHECK;

/* Whether a prompt's last token, or the one before a last one of white space, is this one. */
bool answer_ends_with(const char *token, const struct tokenizer *tokenizer, const int32_t *prompt,
                      size_t count);
/* Whether a prompt ends within the thinking: answer_ends_with what begins it. */
bool answer_is_thinking(const struct reasoning_form *form, const struct tokenizer *tokenizer,
                        const int32_t *prompt, size_t count);

/* Appends the text of an answer's tokens for answer_split: as tokenizer_decode gives it, but with
 * the names of those special tokens that the forms' markers are made of. */
status answer_decode(const struct reasoning_form *reasoning, const struct tool_call_form *calls,
                     const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                     struct buffer *out) MUST_CHECK;
/* Whether that can differ from the text without special tokens. */
bool answer_needs_special(const struct reasoning_form *reasoning,
                          const struct tool_call_form *calls, const struct tokenizer *tokenizer);

#endif
