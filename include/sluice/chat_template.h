/* SPDX-License-Identifier: Apache-2.0 */
/* Chat templates: messages to prompt text, by an interpreter for the Jinja that model directories
 * carry.
 *
 * Sandboxed by construction: no file, no network, no attribute outside the values given, bounded
 * steps, depth and output. A template is immutable once created and may be used by many threads at
 * once. */
#ifndef SLUICE_CHAT_TEMPLATE_H
#define SLUICE_CHAT_TEMPLATE_H

#include "sluice/base.h"
#include "sluice/json.h"

struct chat_template;

/* Parses the template's text. `name` (copied) stands in messages: "chat_template: line 3: unknown
 * filter \"x\"". The caller destroys *out. STATUS_INVALID for a syntax error, STATUS_UNSUPPORTED
 * for a construct that is not built in, STATUS_LIMIT for more than 1 MiB or 150 nested levels. */
status chat_template_create(const char *name, const char *text, size_t length,
                            struct chat_template **out) MUST_CHECK;
void chat_template_destroy(struct chat_template *template_);
/* What it takes in memory. */
size_t chat_template_bytes(const struct chat_template *template_);

struct chat_variables {
    const struct json *messages;  /* an array of {"role", "content", …} */
    const struct json *tools;     /* or NULL: the variable is None */
    const struct json *documents; /* or NULL: the variable is None */
    const struct json *extra;     /* or NULL: an object whose members become variables
                                     (chat_template_kwargs) and     take precedence over all others */
    const char *bos_token,
        *eos_token; /* or NULL: undefined, as when tokenizer_config.json does not name them */
    const char *pad_token, *unk_token; /* likewise */
    const char *reasoning_effort;      /* or NULL: undefined */
    bool add_generation_prompt;
    bool continue_final_message; /* the text ends with that of the last message */
    bool as_given; /* messages go in as they stand, whatever the template takes; as transformers
                      does, for comparing with it */
    int64_t now;   /* Unix seconds for strftime_now, so that a test can fix it */
};

/* Appends the rendered text, as transformers' apply_chat_template(tokenize=False) gives it
 * (trim_blocks, lstrip_blocks, loop controls). STATUS_INVALID with raise_exception's text, or what
 * went wrong and the line; STATUS_LIMIT when a bound is passed: 10 million steps, 1200 levels of
 * evaluation, 16 MiB of output or of one text, 256 MiB of values, integers of 64 bits. After a
 * failure `out` is as it was. raise_exception's text is the whole message, so that it is the one
 * that the template's author wrote; all others begin with the template's name. */
status chat_template_render(const struct chat_template *template_,
                            const struct chat_variables *variables, struct buffer *out) MUST_CHECK;

#endif
