/* SPDX-License-Identifier: Apache-2.0 */
/* Forms of answers, as rows and jobs ask for them, to grammars: each compiled once a replica. */
#ifndef SLUICE_GRAMMAR_REQUEST_REQUEST_H
#define SLUICE_GRAMMAR_REQUEST_REQUEST_H

#include "grammar/grammar.h"
#include "sluice/answer.h"
#include "sluice/structured.h"

/* How a model writes what has a form. */
struct answer_style {
    const struct tokenizer *tokenizer;      /* whose special tokens are meant where markers of calls
                                               have their names; NULL: markers are texts */
    const struct tool_call_form *calls;     /* NULL: no form of tool calls is known */
    const struct reasoning_form *reasoning; /* NULL: it does not think, or the form's markers are no
                                               texts but special tokens */
};

/* What may come before a form, of the style's reasoning: its text up to the end marker, and white
 * space. */
enum thinking {
    THINKING_NONE,
    THINKING_OPEN,     /* has to: the prompt has begun it */
    THINKING_OPTIONAL, /* may, with the begin marker first */
};

/* The grammar of a form that is not STRUCTURED_NONE. STATUS_INVALID, STATUS_UNSUPPORTED and
 * STATUS_LIMIT are the row's own: the message begins with the kind of form and says what, where.
 * The caller destroys *out. */
status structured_compile(const struct structured_request *request,
                          const struct answer_style *style, enum thinking thinking,
                          struct grammar **out) MUST_CHECK;

/* Grammars with their masks, by what was asked for. One thread at a time. */
struct structured_cache;
struct structured_entry;

/* Borrows the vocabulary. The caller destroys *out after the last release. */
status structured_cache_create(const struct grammar_vocabulary *vocabulary,
                               const struct answer_style *style,
                               struct structured_cache **out) MUST_CHECK;
void structured_cache_destroy(struct structured_cache *cache);

/* The entry of a form, compiled where it is not there yet; what failed once fails again with the
 * same message. It stays until it is released as often as it was taken. Errors as
 * structured_compile. */
status structured_take(struct structured_cache *cache, const struct structured_request *request,
                       enum thinking thinking, struct structured_entry **out) MUST_CHECK;
void structured_release(struct structured_cache *cache, struct structured_entry *entry);
struct grammar_masks *structured_masks(const struct structured_entry *entry);

#endif
