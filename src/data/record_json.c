/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of columns to JSON. */
#include "data/record_json.h"

#include <string.h>

#include "sluice/data.h"

/* Columns of texts that stand for something else: no other form has a place for them there. */
static const char *const structured_names[] = {"messages", "prompt_token_ids", "tools", "documents",
                                               "chat_template_kwargs"};

static bool is_structured(const char *key, const char *text, size_t length)
{
    size_t start = 0;
    while (start < length && strchr(" \t\r\n", text[start]) != NULL && text[start] != '\0') {
        start++;
    }
    bool opens = start < length && (text[start] == '[' || text[start] == '{');
    for (size_t i = 0; opens && i < COUNT_OF(structured_names); i++) {
        if (strcmp(structured_names[i], key) == 0) {
            return true;
        }
    }
    return false;
}

status record_write_text(const char *key, const char *text, size_t length, struct buffer *json)
{
    if (is_structured(key, text, length)) {
        struct arena arena = {0};
        struct json *value;
        status s = json_parse(text, length, &arena, &value);
        if (s == STATUS_OK) {
            s = json_write(value, json);
        }
        arena_destroy(&arena);
        if (s != STATUS_INVALID) {
            return s;
        }
    }
    return json_write_string(text, length, json);
}

status record_spoil(struct record *record, status s)
{
    if (s != STATUS_INVALID && s != STATUS_LIMIT) {
        return s;
    }
    record->kind = RECORD_BAD;
    buffer_clear(&record->bytes);
    return buffer_append_text(&record->bytes, status_message());
}
