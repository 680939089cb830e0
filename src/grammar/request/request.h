/* SPDX-License-Identifier: Apache-2.0 */
/* Forms of answers, as rows and jobs ask for them, to grammars: each compiled once a replica. */
#ifndef SLUICE_GRAMMAR_REQUEST_REQUEST_H
#define SLUICE_GRAMMAR_REQUEST_REQUEST_H

#include "grammar/grammar.h"
#include "sluice/answer.h"
#include "sluice/structured.h"

/* The grammar of a form that is not STRUCTURED_NONE. `calls` is the form in which the model calls
 * tools, NULL for none that is known. STATUS_INVALID, STATUS_UNSUPPORTED and STATUS_LIMIT are the
 * row's own: the message begins with the kind of form and says what, where. The caller destroys
 * *out. */
status structured_compile(const struct structured_request *request,
                          const struct tool_call_form *calls, struct grammar **out) MUST_CHECK;

/* Grammars with their masks, by what was asked for. One thread at a time. */
struct structured_cache;
struct structured_entry;

/* Borrows vocabulary and form. The caller destroys *out after the last release. */
status structured_cache_create(const struct grammar_vocabulary *vocabulary,
                               const struct tool_call_form *calls,
                               struct structured_cache **out) MUST_CHECK;
void structured_cache_destroy(struct structured_cache *cache);

/* The entry of a form, compiled where it is not there yet; what failed once fails again with the
 * same message. It stays until it is released as often as it was taken. Errors as
 * structured_compile. */
status structured_take(struct structured_cache *cache, const struct structured_request *request,
                       struct structured_entry **out) MUST_CHECK;
void structured_release(struct structured_cache *cache, struct structured_entry *entry);
struct grammar_masks *structured_masks(const struct structured_entry *entry);

#endif
