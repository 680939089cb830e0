/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations as people write them: a list of messages, each with a role and a content. */
#ifndef SLUICE_MESSAGES_H
#define SLUICE_MESSAGES_H

#include "sluice/base.h"
#include "sluice/json.h"

/* The text of a part of a message's content: a plain string, or {"type": "text", "text": …} and its
 * relations (input_text, output_text, refusal). NULL where it has none. */
const struct json *message_part_text(const struct json *part);

/* Whether the list can go through a chat template: every message an object with a role, its content
 * a text, null or a list of text parts. `name` ("body.messages") stands in messages. STATUS_INVALID
 * names the place: "messages[2].content[1]: a part of type image_url; only text can be read". */
status messages_check(const char *name, const struct json *messages) MUST_CHECK;

#endif
