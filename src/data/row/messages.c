/* SPDX-License-Identifier: Apache-2.0 */
/* What a message may hold. */
#include "sluice/messages.h"

#include <stdio.h>

/* Parts that are text, and the member that it stands in: the forms of OpenAI's two interfaces. */
static const struct {
    const char *type, *key;
} text_parts[] = {
    {"text", "text"},
    {"input_text", "text"},
    {"output_text", "text"},
    {"refusal", "refusal"},
};

/* The member that holds the text of an object of this type; NULL: it is no text. */
static const char *text_key(const struct json *part)
{
    for (size_t i = 0; i < COUNT_OF(text_parts); i++) {
        if (json_is_string(json_get(part, "type"), text_parts[i].type)) {
            return text_parts[i].key;
        }
    }
    return NULL;
}

const struct json *message_part_text(const struct json *part)
{
    const char *key = text_key(part);
    const struct json *text = part->type == JSON_STRING ? part
                              : key != NULL             ? json_get(part, key)
                                                        : NULL;
    return text != NULL && text->type == JSON_STRING ? text : NULL;
}

static status check_part(const char *where, const struct json *part)
{
    if (message_part_text(part) != NULL) {
        return STATUS_OK;
    }
    if (part->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID,
                           "%s: expected a part such as {\"type\": \"text\", "
                           "\"text\": …}, not %s",
                           where, json_kind(part));
    }
    const char *type = json_string(json_get(part, "type")), *key = text_key(part);
    if (type == NULL) {
        return status_fail(STATUS_INVALID, "%s: a part without a type", where);
    }
    if (key != NULL) {
        const struct json *text = json_get(part, key);
        return status_fail(STATUS_INVALID, "%s.%s: expected a string, not %s", where, key,
                           text == NULL ? "nothing" : json_kind(text));
    }
    return status_fail(STATUS_INVALID, "%s: a part of type %.60s; the model reads text alone",
                       where, type);
}

static status check_content(const char *name, size_t index, const struct json *content)
{
    enum { PLACE_BYTES = 160 };
    char where[PLACE_BYTES];
    if (content == NULL || content->type == JSON_STRING || content->type == JSON_NULL) {
        return STATUS_OK;
    }
    if (content->type != JSON_ARRAY) {
        return status_fail(STATUS_INVALID,
                           "%.80s[%zu].content: expected a string, null or a list, not %s", name,
                           index, json_kind(content));
    }
    for (size_t i = 0; i < content->length; i++) {
        snprintf(where, sizeof where, "%.80s[%zu].content[%zu]", name, index, i);
        TRY(check_part(where, content->items[i]));
    }
    return STATUS_OK;
}

status messages_check(const char *name, const struct json *messages)
{
    for (size_t i = 0; i < messages->length; i++) {
        const struct json *message = messages->items[i];
        if (message->type != JSON_OBJECT) {
            return status_fail(STATUS_INVALID, "%.80s[%zu]: expected an object, not %s", name, i,
                               json_kind(message));
        }
        const struct json *role = json_get(message, "role");
        if (role == NULL || role->type != JSON_STRING) {
            return status_fail(STATUS_INVALID, "%.80s[%zu].role: expected a string, not %s", name,
                               i, role == NULL ? "null" : json_kind(role));
        }
        TRY(check_content(name, i, json_get(message, "content")));
    }
    return STATUS_OK;
}
