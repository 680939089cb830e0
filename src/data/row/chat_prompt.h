/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts that become messages though the row has none: data.chat and data.system. */
#ifndef SLUICE_DATA_ROW_CHAT_PROMPT_H
#define SLUICE_DATA_ROW_CHAT_PROMPT_H

#include "sluice/data.h"

/* The text is the row's prompt: as it is, or as one user message where `chat` is always. Borrowed.
 */
status chat_prompt_set_text(const char *text, size_t length, enum chat_mode chat,
                            struct arena *arena, struct row *row) MUST_CHECK;

/* data.system: a system message before the row's messages, unless they have one. STATUS_INVALID for
 * a row of token ids. */
status chat_prompt_add_system(const char *system, struct arena *arena, struct row *row) MUST_CHECK;

#endif
