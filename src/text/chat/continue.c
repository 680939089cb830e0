/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts that end with the last message's own text (continue_final_message), as transformers makes
 * them: a mark is set behind that text, the conversation is rendered, and cut at the mark. */
#include <stdlib.h>

#include "sluice/chat_template.h"
#include "sluice/messages.h"
#include "text/template/internal.h"

/* The space at its end tells whether the template trims what it prints. */
static const char mark[] = "CONTINUE_FINAL_MESSAGE_TAG ";

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a conversation");
}

/* The text with the mark behind it. */
static status marked(const struct json *text, struct arena *arena, struct json **out)
{
    size_t length = text->length + strlen(mark);
    struct json *copy = arena_allocate(arena, sizeof *copy);
    char *bytes = arena_allocate(arena, length + 1);
    if (copy == NULL || bytes == NULL) {
        return no_memory();
    }
    memcpy(bytes, text->text, text->length);
    memcpy(bytes + text->length, mark, strlen(mark) + 1);
    *copy = (struct json){.type = JSON_STRING, .text = bytes, .length = length};
    *out = copy;
    return STATUS_OK;
}

/* A list with another item in one place. */
static status with_item(const struct json *list, size_t index, struct json *item,
                        struct arena *arena, struct json **out)
{
    struct json *copy = arena_allocate(arena, sizeof *copy);
    struct json **items = arena_allocate_array(arena, list->length, sizeof(struct json *));
    if (copy == NULL || items == NULL) {
        return no_memory();
    }
    memcpy(items, list->items, list->length * sizeof(struct json *));
    items[index] = item;
    *copy = *list;
    copy->items = items;
    *out = copy;
    return STATUS_OK;
}

/* An object with another value for a key that it has. */
static status with_member(const struct json *object, const char *key, struct json *value,
                          struct arena *arena, struct json **out)
{
    struct json *copy = arena_allocate(arena, sizeof *copy);
    struct json_member *members = arena_allocate_array(arena, object->length, sizeof *members);
    if (copy == NULL || members == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < object->length; i++) {
        members[i] = object->members[i];
        if (strcmp(members[i].key, key) == 0) {
            members[i].value = value;
        }
    }
    *copy = *object;
    copy->members = members;
    *out = copy;
    return STATUS_OK;
}

/* A part of a message's content with the mark behind its text. */
static status mark_part(const struct json *part, struct arena *arena, struct json **out)
{
    struct json *text;
    TRY(marked(message_part_text(part), arena, &text));
    if (part->type == JSON_STRING) {
        *out = text;
        return STATUS_OK;
    }
    const char *key = json_get(part, "text") == message_part_text(part) ? "text" : "refusal";
    return with_member(part, key, text, arena, out);
}

/* The conversation with the mark, and the text that it stands behind. */
static status mark_messages(const struct json *messages, struct arena *arena, struct json **out,
                            const struct json **final)
{
    size_t last = messages != NULL && messages->type == JSON_ARRAY ? messages->length : 0;
    const struct json *message = last > 0 ? messages->items[last - 1] : NULL;
    const struct json *content = json_get(message, "content");
    struct json *changed = NULL;
    *final = content != NULL && content->type == JSON_STRING ? content : NULL;
    if (*final != NULL) {
        TRY(marked(content, arena, &changed));
    }
    for (size_t i = content != NULL && content->type == JSON_ARRAY ? content->length : 0;
         i > 0 && *final == NULL; i--) {
        struct json *part;
        *final = message_part_text(content->items[i - 1]);
        if (*final != NULL) {
            TRY(mark_part(content->items[i - 1], arena, &part));
            TRY(with_item(content, i - 1, part, arena, &changed));
        }
    }
    if (*final == NULL) {
        return status_fail(STATUS_INVALID,
                           "continue_final_message: the last message has no text to continue");
    }
    TRY(with_member(message, "content", changed, arena, &changed));
    return with_item(messages, last - 1, changed, arena, out);
}

/* The prompt up to the mark. Where the template has trimmed the mark it would have trimmed the
 * text. */
static status cut(const char *name, const struct buffer *text, const struct json *final,
                  struct buffer *out)
{
    size_t space = template_space_prefix(final->text, final->length);
    size_t size = final->length - space;
    size -= template_space_suffix(final->text + space, size);
    const char *place = NULL, *next = text->data;
    while (text->length > 0 && (next = memmem(next, (size_t)(text->data + text->length - next),
                                              mark, strlen(mark) - 1)) != NULL) {
        place = next++;
    }
    if (place == NULL ||
        (size > 0 && memmem(text->data, text->length, final->text + space, size) == NULL)) {
        return status_fail(STATUS_INVALID,
                           "%s: continue_final_message: the last message's text is not in the "
                           "prompt as it stands in the row",
                           name);
    }
    size_t length = (size_t)(place - text->data);
    if (text->length - length < strlen(mark) || memcmp(place, mark, strlen(mark)) != 0) {
        length -= template_space_suffix(text->data, length);
    }
    return buffer_append(out, text->data, length);
}

status template_render_continued(const struct chat_template *template_, const char *name,
                                 const struct chat_variables *variables, struct buffer *out)
{
    struct arena arena = {0};
    struct buffer text = {0};
    struct json *messages = NULL;
    const struct json *final;
    struct chat_variables changed = *variables;
    changed.continue_final_message = false;
    status s = mark_messages(variables->messages, &arena, &messages, &final);
    changed.messages = messages;
    s = s != STATUS_OK ? s : chat_template_render(template_, &changed, &text);
    s = s != STATUS_OK ? s : cut(name, &text, final, out);
    buffer_destroy(&text);
    arena_destroy(&arena);
    return s;
}
