/* SPDX-License-Identifier: Apache-2.0 */
/* A row's prompt as the chat template takes it: a text in a message, the job's system message
 * before the others. */
#include "data/row/chat_prompt.h"

#include <string.h>

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a row");
}

/* {"role": role, "content": text} */
static struct json *make_message(const char *role, const char *text, size_t length,
                                 struct arena *arena)
{
    struct json *values = arena_allocate_array(arena, 3, sizeof *values);
    struct json_member *members = arena_allocate_array(arena, 2, sizeof *members);
    if (values == NULL || members == NULL) {
        return NULL;
    }
    values[1] = (struct json){.type = JSON_STRING, .text = role, .length = strlen(role)};
    values[2] = (struct json){.type = JSON_STRING, .text = text, .length = length};
    members[0] = (struct json_member){"role", strlen("role"), &values[1]};
    members[1] = (struct json_member){"content", strlen("content"), &values[2]};
    values[0] = (struct json){.type = JSON_OBJECT, .length = 2, .members = members};
    return values;
}

/* A list of `first`, then what `rest` (NULL: nothing) has. */
static status prepend_message(struct json *first, const struct json *rest, struct arena *arena,
                              const struct json **out)
{
    size_t count = rest != NULL ? rest->length : 0;
    struct json *list = arena_allocate(arena, sizeof *list);
    struct json **items = arena_allocate_array(arena, count + 1, sizeof(struct json *));
    if (first == NULL || list == NULL || items == NULL) {
        return no_memory();
    }
    items[0] = first;
    for (size_t i = 0; i < count; i++) {
        items[i + 1] = rest->items[i];
    }
    *list = (struct json){.type = JSON_ARRAY, .length = count + 1, .items = items};
    *out = list;
    return STATUS_OK;
}

status chat_prompt_set_text(const char *text, size_t length, enum chat_mode chat,
                            struct arena *arena, struct row *row)
{
    row->kind = PROMPT_TEXT;
    row->text = text;
    row->text_length = length;
    if (chat != CHAT_ALWAYS) {
        return STATUS_OK;
    }
    row->kind = PROMPT_MESSAGES;
    return prepend_message(make_message("user", text, length, arena), NULL, arena, &row->messages);
}

static bool has_system_message(const struct json *messages)
{
    for (size_t i = 0; i < messages->length; i++) {
        const struct json *role = json_get(messages->items[i], "role");
        if (json_is_string(role, "system") || json_is_string(role, "developer")) {
            return true;
        }
    }
    return false;
}

status chat_prompt_add_system(const char *system, struct arena *arena, struct row *row)
{
    if (row->kind != PROMPT_MESSAGES) {
        return status_fail(STATUS_INVALID,
                           "token ids go to the model as they are, and data.system asks for a "
                           "message before them");
    }
    return has_system_message(row->messages)
               ? STATUS_OK
               : prepend_message(make_message("system", system, strlen(system), arena),
                                 row->messages, arena, &row->messages);
}
