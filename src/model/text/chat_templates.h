/* SPDX-License-Identifier: Apache-2.0 */
/* The named chat templates of a model. */
#ifndef SLUICE_MODEL_CHAT_TEMPLATES_H
#define SLUICE_MODEL_CHAT_TEMPLATES_H

#include "model/formats/gguf.h"
#include "sluice/answer.h"
#include "sluice/chat_template.h"
#include "sluice/json.h"

/* A template that cannot be parsed is kept as a reason: prompts without it still work. */
struct named_template {
    const char *name;                /* "default", "tool_use"… */
    struct chat_template *template_; /* or NULL: */
    const char *problem;             /* why it cannot be used */
    status status;
    const struct tool_call_form *calls; /* in which it has tools called; NULL: none that is known */
};

struct template_set {
    struct arena arena;
    struct named_template *items;
    size_t count, capacity;
    const char *chosen;     /* name of the one in place of tool_use and default, or NULL */
    char chosen_sha256[65]; /* of its file, where it has one of its own; else "" */
    const char *names;      /* "default, tool_use"; "" where there is none */
};

/* From a model's directory: chat_template.jinja, else chat_template of tokenizer_config.json (a
 * text, or a list of named ones), else chat_template.json's, and additional_chat_templates/. The
 * set is destroyed in every case. */
status template_set_open_directory(struct template_set *set, const char *path,
                                   const struct json *tokenizer_config) MUST_CHECK;
/* From a GGUF file's metadata: tokenizer.chat_template and tokenizer.chat_template.NAME. */
status template_set_open_gguf(struct template_set *set, const struct gguf *gguf) MUST_CHECK;
void template_set_destroy(struct template_set *set);

/* Chooses one: the template of that name, or the one in a file. */
status template_set_choose(struct template_set *set, const char *name_or_file) MUST_CHECK;

/* The template of that name, or NULL. */
const struct named_template *template_set_find(const struct template_set *set, const char *name,
                                               size_t length);
/* Adds the files that templates may come from to a digest, name and content: those that are there,
 * in order of their names. */
status template_set_digest(const char *path, struct sha256 *hash) MUST_CHECK;

#endif
